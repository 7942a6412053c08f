//! What the configuration says about the GUI.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

/// What the configuration says about the GUI, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The authority's name, for people.
    pub name: String,
    /// Where clients reach the CA API, such as `https://ca.example.org:9000`.
    pub ca_url: String,
    /// Where they reach the public listener, as far as this machine can know.
    pub public_url: String,
    /// Where the diagnosis listener listens when it is switched on.
    pub diagnosis_listen: SocketAddr,
    /// Where the pages lie, as the browser sees it; begins and ends with a slash.
    pub base_path: String,
    /// Names under which browsers reach it, beside this machine's own: requests for others are refused.
    pub hosts: Vec<String>,
    /// Who may say, in `X-Forwarded-For` and `X-Forwarded-Proto`, from where and how a request came.
    pub trusted_proxies: Vec<IpNet>,
    /// Revoking more certificates or devices than this at once asks for their count.
    pub revoke_limit: usize,
    /// Whether that also needs a second operator.
    pub second_operator: bool,
    /// The file with the setup link, which is removed when it has been used.
    pub setup_link: PathBuf,
    /// The data directory.
    pub data: PathBuf,
    /// What is in force, for who wants to see it; no secrets.
    pub configured: Vec<Configured>,
}

/// A key of the configuration as it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configured {
    /// Its name, as `muster.toml` has it.
    pub key: &'static str,
    /// Its value; a list has commas between its entries.
    pub value: String,
    /// From where it came: `default`, `muster.toml`, `flag`, or a variable's name.
    pub origin: String,
}

impl Settings {
    /// Whether so many are revoked at once only by whoever types their count.
    pub(crate) fn asks_for_count(&self, count: usize) -> bool {
        count > self.revoke_limit
    }

    /// Whether so many are revoked at once only when a second operator agrees.
    pub(crate) fn asks_for_second(&self, count: usize) -> bool {
        self.second_operator && self.asks_for_count(count)
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted_proxies.iter().any(|net| net.contains(&address))
    }

    /// Whether the GUI goes by this name; ports do not count. A page of another name that resolves to this machine (DNS
    /// rebinding) is kept out by this.
    pub(crate) fn answers_to(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        let own = ["localhost", "127.0.0.1", "::1"];
        own.contains(&name) || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn only_known_names_are_answered() {
        let settings = Settings {
            name: "Test".into(),
            ca_url: String::new(),
            public_url: String::new(),
            diagnosis_listen: ([127, 0, 0, 1], 0).into(),
            base_path: "/".into(),
            hosts: vec!["ca.example.org".into(), "fd00::1".into()],
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            revoke_limit: 10,
            second_operator: false,
            setup_link: PathBuf::new(),
            data: PathBuf::new(),
            configured: Vec::new(),
        };
        for host in [
            "localhost",
            "localhost:8502",
            "127.0.0.1:8502",
            "[::1]:8502",
            "CA.example.org",
            "[fd00::1]:1",
        ] {
            assert!(settings.answers_to(host), "{host}");
        }
        for host in [
            "",
            "example.org",
            "ca.example.org.evil.com",
            "evil.com:8502",
            "[::2]",
            "localhost.evil.com",
        ] {
            assert!(!settings.answers_to(host), "{host}");
        }
        assert!(settings.trusts("10.1.2.3".parse().unwrap()));
        assert!(settings.trusts("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!settings.trusts("11.1.2.3".parse().unwrap()));
    }
}
