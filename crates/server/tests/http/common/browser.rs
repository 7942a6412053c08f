//! A browser that runs no script.

use std::net::SocketAddr;

use muster_ca::Proof;
use muster_ca::enrol::who::{Evidence, Origin};
use tokio::net::TcpStream;

use super::{Answer, Server, exchange};

pub const PASSWORD: &str = "correct horse battery";

/// A browser: it keeps cookies and says where it is.
pub struct Browser {
    pub address: SocketAddr,
    pub host: String,
    pub cookies: Vec<(String, String)>,
}

impl Browser {
    pub fn at(server: &Server) -> Self {
        Self {
            address: server.web,
            host: format!("localhost:{}", server.web.port()),
            cookies: Vec::new(),
        }
    }

    /// A server on which `admin` can log in, and a browser in which nobody has.
    pub async fn and_server() -> (Self, Server) {
        let server = Server::start().await;
        assert!(server.edge.ca().set_first_password(PASSWORD).await.unwrap());
        (Self::at(&server), server)
    }

    pub fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let cookies = if cookies.is_empty() {
            String::new()
        } else {
            format!("Cookie: {}\r\n", cookies.join("; "))
        };
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{cookies}{headers}Content-Length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        )
    }

    pub async fn send(&mut self, request: &str) -> Answer {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let answer = exchange(stream, request.as_bytes()).await;
        for cookie in answer.headers("set-cookie") {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.cookies.push((name.into(), value.into()));
            }
        }
        answer
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        let request = self.request("GET", path, "Sec-Fetch-Site: same-origin\r\n", "");
        self.send(&request).await
    }

    pub async fn post(&mut self, path: &str, body: &str) -> Answer {
        let from = format!("Origin: http://{}\r\n", self.host);
        self.post_from(path, body, &from).await
    }

    pub async fn post_from(&mut self, path: &str, body: &str, from: &str) -> Answer {
        let headers = format!("Content-Type: application/x-www-form-urlencoded\r\n{from}");
        let request = self.request("POST", path, &headers, body);
        self.send(&request).await
    }

    pub async fn log_in(&mut self, name: &str, password: &str) -> Answer {
        let password = password.replace(' ', "+");
        self.post("/login", &format!("name={name}&password={password}&code=&next="))
            .await
    }

    pub fn session(&self) -> Option<&str> {
        let found = self
            .cookies
            .iter()
            .find(|(name, _)| name.ends_with("muster_session"));
        found.map(|(_, value)| value.as_str())
    }
}

/// A browser in which the admin has logged in.
pub async fn logged_in() -> (Browser, Server) {
    let (mut browser, server) = Browser::and_server().await;
    browser.log_in("admin", PASSWORD).await;
    (browser, server)
}

/// Where a form that was taken leads to.
pub fn went_to(answer: &Answer) -> String {
    assert_eq!(answer.status, 303, "{}", answer.text());
    answer.header("location").unwrap().to_owned()
}

/// What stands between two texts of a page.
pub fn between<'a>(page: &'a str, before: &str, after: &str) -> &'a str {
    page.split(before).nth(1).unwrap().split(after).next().unwrap()
}

/// Text as a form sends it.
pub fn field(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// The form of Issue Certificate, for a key that the server makes.
pub fn issue_form(name: &str, profile: &str, validity: &str, sans: &str) -> String {
    let [name, validity, sans] = [name, validity, sans].map(field);
    format!("name={name}&profile={profile}&validity={validity}&sans={sans}&key=here&csr=")
}

/// What stands beside a field.
pub fn beside(page: &str, field: &str) -> String {
    let start = format!("id=\"{field}-refusal\"");
    let found = page
        .split(&start)
        .nth(1)
        .unwrap_or_else(|| panic!("no place beside {field}"));
    found.split("</p>").next().unwrap().to_owned()
}

pub fn local() -> Proof {
    Proof {
        evidence: Evidence::LocalUser {
            uid: 0,
            trusted: true,
        },
        origin: Origin::default(),
        dry_run: false,
    }
}

/// RFC 6238 with SHA-1 and six digits, as an app makes it.
pub fn code(secret: &[u8], second: i64) -> String {
    use aws_lc_rs::hmac;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let hash = hmac::sign(&key, &(second / 30).to_be_bytes());
    let hash = hash.as_ref();
    let at = usize::from(hash[19] & 15);
    let four: [u8; 4] = hash[at..at + 4].try_into().unwrap();
    format!("{:06}", (u32::from_be_bytes(four) & 0x7fff_ffff) % 1_000_000)
}
