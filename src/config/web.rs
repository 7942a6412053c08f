//! `[web]`: the GUI.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use muster_pki::name::San;
use serde::Deserialize;

use super::pick::{Picker, Said};
use super::{address, variable};

/// `[web]` of `muster.toml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWeb {
    listen: Option<String>,
    base_path: Option<String>,
    hosts: Option<Vec<String>>,
    trusted_proxies: Option<Vec<String>>,
    revoke_limit: Option<usize>,
    second_operator: Option<bool>,
}

/// Where the GUI is when nobody says anything: on this machine alone, so that plain HTTP will do.
const LISTEN: &str = "127.0.0.1:8502";

/// Revoking more certificates than this at once asks for their count.
const REVOKE_LIMIT: usize = 10;

/// The GUI's configuration, checked.
#[derive(Debug, Clone)]
pub(crate) struct Web {
    pub(crate) listen: SocketAddr,
    pub(crate) settings: muster_server::Settings,
}

/// What the rest of the configuration says that the GUI wants to know.
pub(super) struct Known<'a> {
    pub(super) data: &'a Path,
    pub(super) name: &'a str,
    /// Names that the GUI goes by, too.
    pub(super) dns: &'a [String],
    pub(super) api_port: u16,
    pub(super) public_port: u16,
    pub(super) public_url: Option<&'a str>,
    pub(super) diagnosis_listen: Option<SocketAddr>,
}

/// Checks it; `picker` has the rest of what is configured.
pub(super) fn check(
    raw: RawWeb,
    flag: Option<String>,
    known: &Known<'_>,
    mut picker: Picker,
    mistakes: &mut Vec<String>,
) -> Option<Web> {
    let listen = picker.pick(
        "web.listen",
        Said {
            flag,
            variables: &["MUSTER_WEB_LISTEN"],
            file: raw.listen,
            default: LISTEN,
        },
    );
    let base_path = picker.pick(
        "web.base_path",
        Said {
            flag: None,
            variables: &["MUSTER_WEB_BASE_PATH"],
            file: raw.base_path,
            default: "/",
        },
    );
    let hosts = picker.list("web.hosts", &[], &["MUSTER_WEB_HOSTS"], raw.hosts, "");
    let variables = ["MUSTER_WEB_TRUSTED_PROXIES"];
    let proxies = picker.list("web.trusted_proxies", &[], &variables, raw.trusted_proxies, "");
    let mut in_file = |key, file: Option<String>, default: &str| {
        let said = Said {
            flag: None,
            variables: &[],
            file,
            default,
        };
        picker.pick(key, said)
    };
    let revoke_limit = in_file(
        "web.revoke_limit",
        raw.revoke_limit.map(|limit| limit.to_string()),
        &REVOKE_LIMIT.to_string(),
    );
    let second_operator = in_file(
        "web.second_operator",
        raw.second_operator.map(|second| second.to_string()),
        "false",
    );
    let mut told = Vec::new();
    let listen = address("web.listen", &listen, &mut told);
    check_base_path(&base_path, &mut told);
    for host in &hosts {
        if !matches!(San::parse(host), Ok(San::Dns(_) | San::Ip(_))) {
            told.push(format!(
                "web.hosts: {host:?} is neither a host name nor an address"
            ));
        }
    }
    let mut trusted_proxies = Vec::new();
    for proxy in &proxies {
        match net(proxy) {
            Some(net) => trusted_proxies.push(net),
            None => told.push(format!(
                "web.trusted_proxies: {proxy:?} is neither an address nor a network, such as 10.0.0.0/8"
            )),
        }
    }
    if let Some(password) = first_password()
        && let Err(why) = muster_ca::password::check(&password)
    {
        told.push(format!("PKI_PASSWORD: {why}"));
    }
    let clean = told.is_empty();
    mistakes.extend(told);
    let listen = listen.filter(|_| clean)?;
    let diagnosis_listen = known.diagnosis_listen?;
    Some(Web {
        listen,
        settings: muster_server::Settings {
            name: known.name.to_owned(),
            ca_url: url("https", known.dns, known.api_port),
            public_url: match known.public_url {
                Some(public) => public.to_owned(),
                None => url("http", known.dns, known.public_port),
            },
            diagnosis_listen,
            base_path,
            hosts: known.dns.iter().chain(&hosts).cloned().collect(),
            trusted_proxies,
            revoke_limit: revoke_limit.parse().unwrap_or(REVOKE_LIMIT),
            second_operator: second_operator == "true",
            setup_link: known.data.join(crate::assemble::SETUP_LINK),
            data: known.data.to_owned(),
            configured: picker.picked,
        },
    })
}

/// A port under the first of the CA's names.
fn url(scheme: &str, dns: &[String], port: u16) -> String {
    let host = dns.first().map_or("localhost", String::as_str);
    match host.parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("{scheme}://[{address}]:{port}"),
        Err(_) => format!("{scheme}://{host}:{port}"),
    }
}

/// The password of the operator `admin`, for the first run. A file that cannot be read was told with the other mistakes.
pub(crate) fn first_password() -> Option<zeroize::Zeroizing<String>> {
    variable("PKI_PASSWORD")
        .ok()
        .flatten()
        .map(zeroize::Zeroizing::new)
}

/// It goes into every link, cookie and redirect, so it holds nothing that would have to be escaped.
fn check_base_path(path: &str, mistakes: &mut Vec<String>) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    let clean = path.starts_with('/') && path.ends_with('/') && path.bytes().all(plain);
    if !clean || path.contains("//") || path.split('/').any(|part| part == ".." || part == ".") {
        mistakes.push(format!(
            "web.base_path: {path:?} is no path such as /pki/: it begins and ends with a slash, and has letters, digits, \
             '-', '_', '.' and '~' between"
        ));
    }
}

fn net(text: &str) -> Option<ipnet::IpNet> {
    let alone = |address: IpAddr| ipnet::IpNet::from(address);
    text.parse()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(alone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_path_is_a_path_and_nothing_else() {
        let refused = |path| {
            let mut mistakes = Vec::new();
            check_base_path(path, &mut mistakes);
            !mistakes.is_empty()
        };
        assert!(!refused("/") && !refused("/pki/") && !refused("/a/b-c_1.0/"));
        for path in [
            "", "pki", "/pki", "pki/", "//", "/a//b/", "/a b/", "/a/../b/", "/{x}/", "/\"/", "/ä/",
        ] {
            assert!(refused(path), "{path}");
        }
        assert_eq!(
            net("10.1.2.3").map(|net| net.to_string()).as_deref(),
            Some("10.1.2.3/32")
        );
        assert!(net("10.0.0.0/8").is_some() && net("fd00::/8").is_some());
        assert!(net("10.0.0.0/33").is_none() && net("proxy").is_none());
    }
}
