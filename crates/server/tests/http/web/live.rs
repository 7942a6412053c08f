//! Live pages: what the stream tells, to whom, and when it ends.

use std::time::Duration;

use crate::common::Server;
use crate::common::browser::{Browser, PASSWORD, local, logged_in};
use jiff::SignedDuration;
use muster_ca::device::DeviceName;
use muster_ca::operator::Role;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// As long as anything may take on a machine that does something else as well.
const PATIENCE: Duration = Duration::from_secs(20);

/// A stream of a browser that is logged in.
struct Stream {
    connection: TcpStream,
    heard: String,
}

impl Stream {
    async fn open(browser: &Browser) -> Self {
        let mut connection = TcpStream::connect(browser.address).await.unwrap();
        let request = browser.request(
            "GET",
            "/live",
            "Accept: text/event-stream\r\nSec-Fetch-Site: same-origin\r\n",
            "",
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut stream = Self {
            connection,
            heard: String::new(),
        };
        stream.until("\r\n\r\n").await;
        stream
    }

    fn status(&self) -> &str {
        self.heard.split(' ').nth(1).unwrap()
    }

    /// Reads until this was said.
    async fn until(&mut self, words: &str) {
        let reading = async {
            while !self.heard.contains(words) {
                assert!(self.read().await, "it ends without {words:?}: {}", self.heard);
            }
        };
        timeout(PATIENCE, reading).await.expect(words);
    }

    /// Reads to the end.
    async fn end(&mut self) {
        let reading = async { while self.read().await {} };
        timeout(PATIENCE, reading).await.expect("it does not end");
    }

    async fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let count = self.connection.read(&mut bytes).await.unwrap_or(0);
        self.heard.push_str(&String::from_utf8_lossy(&bytes[..count]));
        count > 0
    }
}

async fn create(server: &Server, name: &str) {
    let name = DeviceName::parse(name).unwrap();
    let ca = server.edge.ca();
    ca.create_device(local(), name, "client", "").await.unwrap();
}

#[tokio::test]
async fn a_stream_tells_what_changed_and_ends_with_the_session() {
    let (mut browser, server) = Browser::and_server().await;
    // Whoever may not read the log hears as much as they may look up.
    let ca = server.edge.ca();
    ca.add_operator(local(), "looker", Role::Viewer).await.unwrap();
    ca.set_password(local(), "looker", PASSWORD).await.unwrap();
    browser.log_in("looker", PASSWORD).await;
    let mut stream = Stream::open(&browser).await;
    assert_eq!(stream.status(), "200");
    assert!(
        stream.heard.to_lowercase().contains("text/event-stream"),
        "{}",
        stream.heard
    );
    stream.until("retry:").await;
    create(&server, "site-1").await;
    stream.until("about:site-1").await;
    ca.add_operator(local(), "somebody-else", Role::Viewer)
        .await
        .unwrap();
    stream.until("operator").await;
    assert!(!stream.heard.contains("somebody-else"), "{}", stream.heard);
    browser.post("/logout", "").await;
    stream.end().await;
    assert_eq!(
        Stream::open(&browser).await.status(),
        "303",
        "nobody without a session"
    );
    server.finish().await;
}

#[tokio::test]
async fn streams_are_few_and_a_place_is_free_again() {
    let (browser, server) = logged_in().await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        let stream = Stream::open(&browser).await;
        assert_eq!(stream.status(), "200");
        streams.push(stream);
    }
    // 204 tells a browser not to come back by itself.
    assert_eq!(Stream::open(&browser).await.status(), "204");
    let mut other = Browser::at(&server);
    other.log_in("admin", PASSWORD).await;
    assert_eq!(Stream::open(&other).await.status(), "200");
    streams.pop();
    let again = async { while Stream::open(&browser).await.status() != "200" {} };
    timeout(PATIENCE, again).await.expect("the place stays taken");
    // Stopping does not wait for whoever listens.
    server.finish().await;
    for mut stream in streams {
        stream.end().await;
    }
}

#[tokio::test]
async fn pages_say_what_they_show() {
    let (mut browser, server) = Browser::and_server().await;
    create(&server, "site-1").await;
    browser.log_in("admin", PASSWORD).await;
    for (path, part) in [
        ("/", "id=\"overview\" data-live=\"all\""),
        ("/devices", "id=\"rows\" data-live=\"device certificate\""),
        ("/certificates", "id=\"rows\" data-live=\"certificate device\""),
        ("/tokens", "id=\"rows\" data-live=\"token certificate\""),
        ("/audit", "id=\"rows\" data-live=\"all\""),
        ("/devices/site-1", "id=\"device\" data-live=\"about:site-1\""),
    ] {
        let page = browser.get(path).await.text();
        assert!(page.contains(part), "{path}: {page}");
        assert!(page.contains("data-from=\"/live\""), "{path}");
    }
    assert!(!browser.get("/login").await.text().contains("data-from"));
    server.finish().await;
}

#[tokio::test]
async fn an_open_page_does_not_keep_a_session_alive() {
    let (mut browser, server) = logged_in().await;
    server.pass(SignedDuration::from_mins(50));
    assert_eq!(Stream::open(&browser).await.status(), "200");
    let refresh = browser.request("GET", "/", "Muster-Refresh: 1\r\n", "");
    assert_eq!(browser.send(&refresh).await.status, 200);
    server.pass(SignedDuration::from_mins(20));
    assert_eq!(
        browser.get("/").await.status,
        303,
        "nobody did anything for an hour"
    );
    // What somebody does keeps it alive.
    browser.log_in("admin", PASSWORD).await;
    for _ in 0..2 {
        server.pass(SignedDuration::from_mins(50));
        assert_eq!(browser.get("/").await.status, 200);
    }
    server.finish().await;
}
