//! The pages of the GUI, as a browser that runs no script asks for them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use muster_server::web::{self, Method};
use tokio::net::TcpStream;

use crate::Result;
use crate::http::Connection;

/// What `PKI_PASSWORD` gives the first operator, who is called `admin`.
pub(crate) const PASSWORD: &str = "a password of the benchmark";

/// A browser in which the operator has logged in.
pub(crate) struct Browser {
    connection: Connection<TcpStream>,
    port: u16,
    cookie: String,
}

impl Browser {
    pub(crate) async fn log_in(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        stream.set_nodelay(true)?;
        let mut connection = Connection::over(stream);
        let form = format!("name=admin&password={}&code=&next=", PASSWORD.replace(' ', "+"));
        let request = format!(
            "POST /login HTTP/1.1\r\nHost: localhost:{port}\r\nOrigin: http://localhost:{port}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
        let answer = connection.send(request.as_bytes()).await?;
        let cookie = connection.head(&answer)?;
        let cookie = cookie
            .lines()
            .filter_map(|line| line.split_once(": "))
            .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
            .find_map(|(_, value)| {
                value
                    .split(';')
                    .next()
                    .filter(|one| one.contains("muster_session="))
            })
            .ok_or_else(|| format!("nobody could log in: {}", answer.status))?
            .to_owned();
        Ok(Self {
            connection,
            port,
            cookie,
        })
    }

    /// The page and how many milliseconds it took.
    pub(crate) async fn get(&mut self, path: &str) -> Result<(String, f64)> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost:{}\r\nSec-Fetch-Site: same-origin\r\nCookie: {}\r\n\r\n",
            self.port, self.cookie
        );
        let begun = Instant::now();
        let answer = self.connection.send(request.as_bytes()).await?;
        let took = begun.elapsed().as_secs_f64() * 1e3;
        let page = String::from_utf8(self.connection.body(&answer)?)?;
        if answer.status != 200 {
            return Err(format!("{path}: {} {page}", answer.status).into());
        }
        Ok((page, took))
    }
}

/// Where a list goes on.
pub(crate) fn next(page: &str) -> Option<String> {
    let (before, _) = page.split_once("\" rel=\"next\"")?;
    let (_, path) = before.rsplit_once("href=\"")?;
    Some(path.replace("&#38;", "&").replace("&amp;", "&"))
}

/// What is no page of a list's size or a device's: files, what does not end, and what opens once with a secret.
const NO_PAGES: [&str; 13] = [
    "live",
    "static/{file}",
    "setup/{secret}",
    "invitation/{name}/{secret}",
    "issue/{serial}",
    "issue/{serial}/{form}",
    "certificates/{serial}/{form}",
    "ca/certificates/{file}",
    "ca/lists/{file}",
    "users.csv",
    "users.json",
    // The fleet that is measured has no roll-over under way.
    "ca/rollover/{authority}/{step}",
    "ca/rollover/{authority}/revoke",
];

/// What lists are narrowed by, and sorted by.
const LISTS: [(&str, &[&str], &[&str]); 8] = [
    (
        "certificates",
        &[
            "",
            "status=active",
            "status=expired",
            "status=revoked",
            "expires_within=7d",
            "profile=broker",
            "q=site-0001",
            "q=zzz",
        ],
        &["issued", "-issued", "expiry", "-expiry", "name", "-name"],
    ),
    (
        "devices",
        &[
            "",
            "kind=broker",
            "state=new",
            "state=suspended",
            "profile=none",
            "q=site-0001",
            "q=zzz",
        ],
        &["name", "-name", "created", "-created"],
    ),
    (
        "tokens",
        &["", "status=open", "status=expired", "q=region-1", "q=zzz"],
        &["created", "-created"],
    ),
    (
        "audit",
        &[
            "",
            "actor=alice",
            "actor=nobody",
            "action=certificate.revoked",
            "until=2020-01-01",
        ],
        &["at", "-at"],
    ),
    (
        "users",
        &["", "role=viewer", "q=a"],
        &["name", "-role", "created"],
    ),
    (
        "brokers",
        &["", "state=proven", "program=mosquitto", "q=hub"],
        &["state", "-name", "sessions"],
    ),
    (
        "ca/provisioners",
        &["", "profile=client", "q=iot"],
        &["name", "-created"],
    ),
    ("profiles", &["", "kind=client", "q=ser"], &["name", "-validity"]),
];

/// Every page that the router has, with a device, a certificate, a token and a broker of the fleet; of the lists each filter
/// and each order.
pub(crate) fn paths(device: &str, serial: &str, token: &str, broker: &str) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    let pages = web::table()
        .filter(|(method, path, _)| *method == Method::Get && !NO_PAGES.contains(path))
        .filter(|(_, path, _)| !path.contains("/-/") || !path.contains('.'))
        .filter(|(_, path, _)| !path.starts_with("audit/"));
    for (_, path, _) in pages {
        let mut filled = Vec::new();
        for act in ["suspend", "revoke"] {
            let path = path.replace("devices/{name}", &format!("devices/{device}"));
            let path = path.replace("users/{name}", "users/admin").replace("{act}", act);
            let path = path.replace("profiles/{name}", "profiles/client");
            let path = path.replace("brokers/{name}", &format!("brokers/{broker}"));
            let path = path.replace("{serial}", serial).replace("{id}", token);
            if !filled.contains(&path) {
                filled.push(path);
            }
        }
        for path in filled {
            if path.contains('{') {
                return Err(format!("what is {path}? say in gui.rs what to put there").into());
            }
            paths.extend(queries(&path, device, serial).map(|query| format!("/{path}{query}")));
        }
    }
    Ok(paths)
}

/// What is asked of a page, behind its path.
fn queries(path: &str, device: &str, serial: &str) -> impl Iterator<Item = String> {
    let list = LISTS.iter().find(|(list, ..)| *list == path);
    let mut queries: Vec<String> = match path {
        "search" => ["site-1", "zzz", "0123456789abcdef", serial]
            .map(|what| format!("?q={what}"))
            .into(),
        "revoke" => vec![String::new(), format!("?what={device}")],
        "audit" => vec![format!("?subject={device}")],
        "ca/provisioners/-/remove" => vec!["?name=iot-devices".into()],
        path if path.ends_with("/unbind") => vec![format!("?name={device}")],
        _ if list.is_some() => Vec::new(),
        _ => vec![String::new()],
    };
    for (_, filters, sorts) in list.into_iter() {
        for filter in *filters {
            queries.extend(sorts.iter().map(|sort| format!("?sort={sort}&{filter}")));
        }
    }
    queries.into_iter()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    #[test]
    fn every_page_of_the_router_is_asked_for() {
        let paths = super::paths("site-1", "0123456789abcdef", "token-1", "hub-1").unwrap();
        for page in [
            "/",
            "/devices/site-1/revoke",
            "/users/admin",
            "/brokers/hub-1",
            "/settings",
            "/tokens/token-1",
        ] {
            assert!(paths.iter().any(|path| path == page), "{page}: {paths:?}");
        }
    }
}
