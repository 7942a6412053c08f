//! Requests that two readers could take apart differently, and heads without measure. A proxy in front of the API must
//! never count another number of requests than the API does.

use crate::common::requester::{csr, sign_body};
use crate::common::text;
use crate::world::World;

const INNER: &str = "GET /version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[test]
fn a_request_whose_length_is_in_doubt_is_not_answered_twice() {
    let world = World::start();
    let token = world.requester.token("site-001");
    let body = sign_body(&csr("site-001"), &token);
    let before = world.recorded();
    let length = body.len();
    let chunked = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
    for (what, headers, body) in [
        (
            "two lengths",
            format!("Content-Length: {length}\r\nContent-Length: 0\r\n"),
            body.clone(),
        ),
        (
            "two lengths in one line",
            format!("Content-Length: {length}, 0\r\n"),
            body.clone(),
        ),
        (
            "a negative length",
            "Content-Length: -1\r\n".to_owned(),
            body.clone(),
        ),
        (
            "a length with a sign",
            format!("Content-Length: +{length}\r\n"),
            body.clone(),
        ),
        (
            "a length in words",
            "Content-Length: ten\r\n".to_owned(),
            body.clone(),
        ),
        (
            "a length beyond numbers",
            format!("Content-Length: {}\r\n", "9".repeat(40)),
            body.clone(),
        ),
        (
            "an unknown coding",
            "Transfer-Encoding: xchunked\r\n".to_owned(),
            chunked.clone(),
        ),
        (
            "chunked, but not last",
            "Transfer-Encoding: chunked, identity\r\n".to_owned(),
            chunked,
        ),
        (
            "a blank before the colon",
            format!("Content-Length : {length}\r\n"),
            body,
        ),
        ("a folded line", "X-A: b\r\n c: d\r\n".to_owned(), String::new()),
        ("a zero byte", "X-A: b\0c\r\n".to_owned(), String::new()),
    ] {
        let mut wire = world.dialer.tls().unwrap();
        let request = format!("POST /sign HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{body}{INNER}");
        let _ = wire.send(request.as_bytes());
        let answer = text(&wire.rest());
        let statuses = answers(&answer);
        assert!(
            statuses.len() <= 1 && statuses.iter().all(|status| status.starts_with('4')),
            "{what}: {answer}"
        );
    }
    assert_eq!(world.recorded(), before);
    world.still_works(&token, "site-001");
}

/// RFC 9112 section 6.1 lets a server take the chunks; then it must not read on after them.
#[test]
fn chunks_and_a_length_together_end_the_connection() {
    let world = World::start();
    let mut wire = world.dialer.tls().unwrap();
    let body = format!("0\r\n\r\n{INNER}");
    let head = "POST /sign HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n";
    wire.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
        .unwrap();
    let answer = text(&wire.rest());
    let statuses = answers(&answer);
    assert_eq!(statuses.len(), 1, "{answer}");
    assert!(statuses[0].starts_with('4'), "{answer}");
}

#[test]
fn a_head_without_measure_is_refused() {
    let world = World::start();
    let before = world.recorded();
    let many = |count: usize| {
        (0..count)
            .map(|number| format!("X-{number}: a\r\n"))
            .collect::<String>()
    };
    for (what, request) in [
        (
            "10,000 headers",
            format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{}\r\n", many(10_000)),
        ),
        (
            "200 headers",
            format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{}\r\n", many(200)),
        ),
        (
            "a long header",
            format!(
                "GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: {}\r\n\r\n",
                "a".repeat(200_000)
            ),
        ),
        (
            "a long path",
            format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(200_000)),
        ),
        ("no HTTP", "\u{16}\u{3}\u{1} hello\r\n\r\n".to_owned()),
        ("a line that never ends", "G".repeat(200_000)),
        (
            "another version",
            "GET /health HTTP/9.9\r\nHost: localhost\r\n\r\n".to_owned(),
        ),
        ("a lone line feed", "\n\n\n\n".to_owned()),
    ] {
        let mut wire = world.dialer.tls().unwrap();
        let sent = wire.send(request.as_bytes());
        let end = wire.send(b"\r\n\r\n");
        let answer = text(&wire.rest());
        let statuses = answers(&answer);
        let refused = statuses
            .first()
            .is_none_or(|status| status.starts_with('4') || status.starts_with("505"));
        assert!(
            statuses.len() <= 1 && refused,
            "{what} ({sent:?}, {end:?}): {answer}"
        );
    }
    // HTTP where TLS should be: nothing to say, and nothing taken amiss.
    let mut tcp = world.dialer.tcp().unwrap();
    std::io::Write::write_all(&mut tcp, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut said = Vec::new();
    let _ = std::io::Read::read_to_end(&mut tcp, &mut said);
    assert!(!said.starts_with(b"HTTP/1.1 2"), "{}", text(&said));
    assert_eq!(world.recorded(), before);
    world.serves("site-001");
}

/// The status of each answer on a connection.
fn answers(bytes: &str) -> Vec<String> {
    let heads = bytes.split("HTTP/1.1 ").skip(1);
    heads
        .filter_map(|rest| rest.split_whitespace().next().map(str::to_owned))
        .collect()
}
