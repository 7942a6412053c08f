//! The pages of the GUI, as a browser that runs no script asks for them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

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

/// Every page, with a device, a certificate and a token of the fleet; of the lists each filter and each order.
pub(crate) fn paths(device: &str, serial: &str, token: &str) -> Vec<String> {
    let mut paths: Vec<String> = [
        "/",
        "/revoke",
        "/revoke/waiting",
        "/revoke/done",
        "/issue",
        "/ca",
        "/ca/provisioners/-/new",
        "/ca/provisioners/-/remove?name=iot-devices",
        "/profiles",
        "/settings",
        "/users",
        "/add-user",
        "/users/admin",
        "/account",
        "/login",
        "/devices/-/new",
        "/tokens/-/new",
        "/search?q=site-1",
        "/search?q=zzz",
        "/search?q=0123456789abcdef",
    ]
    .map(str::to_owned)
    .into();
    paths.extend([
        format!("/search?q={serial}"),
        format!("/devices/{device}"),
        format!("/devices/{device}/suspend"),
        format!("/devices/{device}/revoke"),
        format!("/certificates/{serial}"),
        format!("/revoke?what={device}"),
        format!("/tokens/{token}"),
        format!("/tokens/{token}/withdraw"),
        format!("/tokens/{token}/unbind?name={device}"),
        format!("/audit?subject={device}"),
    ]);
    let lists: [(&str, &[&str], &[&str]); 4] = [
        (
            "/certificates",
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
            "/devices",
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
            "/tokens",
            &["", "status=open", "status=expired", "q=region-1", "q=zzz"],
            &["created", "-created"],
        ),
        (
            "/audit",
            &[
                "",
                "actor=alice",
                "actor=nobody",
                "action=certificate.revoked",
                "until=2020-01-01",
            ],
            &["at", "-at"],
        ),
    ];
    for (list, filters, sorts) in lists {
        for filter in filters {
            paths.extend(sorts.iter().map(|sort| format!("{list}?sort={sort}&{filter}")));
        }
    }
    paths
}
