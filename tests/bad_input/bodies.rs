//! Bodies: cut short, too long, not what they should be.

use std::process::Command;

use crate::common::requester::{csr, sign_body};
use crate::common::{Muster, text, tool};
use crate::world::{World, message};

#[test]
fn a_body_that_is_no_request_is_refused() {
    let world = World::start();
    let token = world.requester.token("site-001");
    let good = sign_body(&csr("site-001"), &token);
    let members = |csr: &str, ott: &str| format!(r#"{{"csr":{csr},"ott":{ott}}}"#);
    let token_text = format!("{token:?}");
    for (what, body, words) in [
        ("nothing", String::new(), "JSON"),
        ("garbage", "\u{0}\u{1}garbage".to_owned(), "JSON"),
        ("half of it", good[..good.len() / 2].to_owned(), "JSON"),
        ("a list", format!("[{good}]"), "JSON"),
        ("a number for a text", members("7", &token_text), "JSON"),
        ("an object for a text", members("{}", &token_text), "JSON"),
        (
            "brackets without end",
            format!("{{\"csr\":{}", "[".repeat(50_000)),
            "JSON",
        ),
        ("a lone surrogate", members(r#""\ud800""#, &token_text), "JSON"),
        ("no members", "{}".to_owned(), "missing csr"),
        ("null", members("null", &token_text), "missing csr"),
        (
            "no token",
            members(&format!("{:?}", csr("site-001")), "null"),
            "missing ott",
        ),
        ("no PEM", members(r#""hello""#, &token_text), "invalid csr"),
        (
            "PEM in a knot",
            members(r#""-----BEGIN -----END -----""#, &token_text),
            "invalid csr",
        ),
        (
            "PEM without an end",
            members(r#""-----BEGIN CERTIFICATE REQUEST-----\nAAAA""#, &token_text),
            "invalid csr",
        ),
    ] {
        world.refuses(what, &body, 400, words);
    }
    world.still_works(&token, "site-001");
}

#[test]
fn a_body_that_is_too_long_is_refused() {
    let world = World::start();
    let token = world.requester.token("site-001");
    let long = |size: usize| sign_body(&format!("{}{}", csr("site-001"), " ".repeat(size)), &token);
    world.refuses("100 KB", &long(100_000), 413, "64 KiB");
    world.refuses("1 MB", &long(1_000_000), 413, "64 KiB");
    // Far more than is read: refused or cut off, whichever the client sees first.
    let before = world.recorded();
    let mut wire = world.dialer.tls().unwrap();
    if let Ok((status, answer)) = wire.post("/sign", &long(50_000_000)) {
        assert_eq!(status, 413, "{}", text(&answer));
    }
    // The same without saying beforehand how long it is.
    let mut wire = world.dialer.tls().unwrap();
    wire.send(b"POST /sign HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    let chunk = [b"4000\r\n", &[b' '; 0x4000][..], b"\r\n"].concat();
    let sent = (0..8)
        .try_for_each(|_| wire.send(&chunk))
        .and_then(|()| wire.send(b"0\r\n\r\n"));
    if sent.is_ok() {
        assert_eq!(wire.answer().unwrap().0, 413);
    }
    assert_eq!(world.recorded(), before);
    world.still_works(&token, "site-001");
}

#[test]
fn a_body_that_breaks_off_changes_nothing() {
    let world = World::start();
    let token = world.requester.token("site-001");
    let body = sign_body(&csr("site-001"), &token);
    let before = world.recorded();
    let head = format!(
        "POST /sign HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    for part in [0, 1, body.len() / 2, body.len() - 1] {
        let mut wire = world.dialer.tls().unwrap();
        wire.send(head.as_bytes()).unwrap();
        wire.send(&body.as_bytes()[..part]).unwrap();
        drop(wire);
    }
    world.serves("site-002");
    let after = world.recorded();
    assert_ne!(after, before, "the other client's certificate is recorded");
    assert!(
        world.muster.json(&["device", "list"])["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|d| d["name"] != "site-001")
    );
    world.still_works(&token, "site-001");
}

#[test]
fn the_house_api_refuses_strangers_and_nonsense() {
    let world = World::start();
    world.refuses_at("/api/v1/certificates", "no API key", "{}", 401, "API key");
    world.refuses_at("/api/v1/enrol", "no token", "{}", 422, "token");
    world.refuses_at("/api/v1/enrol", "garbage", "garbage", 400, "");
    let body = serde_json::json!({ "token": "mt_nobody", "csr": csr("site-001") }).to_string();
    world.refuses_at(
        "/api/v1/enrol",
        "an unknown enrolment token",
        &body,
        401,
        "not known",
    );
    let body = serde_json::json!({ "token": "x", "csr": csr("site-001"), "more": 1 }).to_string();
    world.refuses_at("/api/v1/enrol", "an unknown member", &body, 422, "more");
    let (status, answer) = world.dialer.tls().unwrap().get("/api/v1/devices").unwrap();
    assert_eq!(status, 401);
    assert!(message(&text(&answer)).contains("API key"));
}

/// curl with HTTP/2, which some versions of it give up when an answer comes before the body was read.
fn curl(muster: &Muster, path: &str, more: &[&str]) -> Option<Command> {
    let program = tool("curl")?;
    let version = Command::new(&program).arg("--version").output().unwrap();
    if !text(&version.stdout).contains("HTTP2") {
        eprintln!("skipped: needs a curl with HTTP/2");
        return None;
    }
    let mut curl = Command::new(program);
    curl.args([
        "-sS",
        "--http2",
        "-X",
        "POST",
        "-w",
        "\n%{http_code} %{http_version}",
    ]);
    curl.args([
        "-H",
        "authorization: Bearer mk_wrong",
        "-H",
        "content-type: application/json",
    ]);
    curl.args(more).arg("--cacert").arg(muster.root());
    curl.arg(format!("{}{path}", muster.url()));
    Some(curl)
}

#[test]
fn who_is_refused_before_the_body_is_read_hears_why_over_http_2() {
    let muster = Muster::start();
    let long = muster.path().join("long");
    std::fs::write(&long, " ".repeat(3_000_000)).unwrap();
    let long = format!("@{}", long.display());
    for (path, body, status, words) in [
        ("/api/v1/devices", "{}", "401", "the API key is not known here"),
        ("/api/v1/devices", &long, "401", "the API key is not known here"),
        ("/api/v1/enrol/confirm", "{}", "401", "certificate"),
        ("/api/v1/nothing", "{}", "404", ""),
        ("/api/v1/enrol", &long, "413", ""),
    ] {
        for _ in 0..5 {
            let Some(mut curl) = curl(&muster, path, &["--data-binary", body]) else {
                return;
            };
            let output = curl.output().unwrap();
            let (said, why) = (text(&output.stdout), text(&output.stderr));
            assert!(output.status.success(), "{path}: {said}{why}");
            assert!(said.ends_with(&format!("\n{status} 2")), "{path}: {said}");
            assert!(
                said.contains("\"message\"") && said.contains(words),
                "{path}: {said}"
            );
        }
    }
}
