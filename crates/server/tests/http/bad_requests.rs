//! Requests that are not right: each gets its status and its reason in JSON, and changes nothing.

use std::time::Duration;

use crate::common::{Answer, Server, csr, exchange, get, post, read, sign_body};
use muster_backends::signer::generate;
use muster_pki::key::KeyKind;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

/// Every route of the step API that is read.
const READ: [&str; 9] = [
    "/version",
    "/health",
    "/roots",
    "/roots.pem",
    "/intermediates",
    "/intermediates.pem",
    "/federation",
    "/provisioners",
    "/crl",
];

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_their_status_and_say_why_in_json() {
    let server = Server::start().await;
    let key = generate(KeyKind::P256).unwrap();
    let request = csr("site-001", &key);
    let token = server.token("site-001", "sign");
    let long = format!("{{\"csr\":\"{}\"}}", "A".repeat(100_000));
    let no_csr = format!("{{\"ott\":{token:?}}}");
    let no_ott = serde_json::json!({ "csr": request }).to_string();
    let not_pem = sign_body("hello", &token);
    let not_der = sign_body(
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        &token,
    );
    let not_a_token = sign_body(&request, "a.b.c");
    let revoke = |serial: &str, code: i64, passive: bool| {
        serde_json::json!({ "serial": serial, "ott": "x", "reasonCode": code, "passive": passive })
            .to_string()
    };
    for (request, status, message) in [
        (get("/nothing"), 404, "nothing at this path"),
        (get("/1.0/nothing"), 404, "nothing at this path"),
        (get("/admin/admins"), 404, ""),
        (get("/api/v1/nothing"), 404, ""),
        (get("/acme/x/directory"), 404, ""),
        (get("/ssh/roots"), 404, ""),
        (post("/ssh/sign", "{}"), 501, "SSH"),
        (post("/sign-ssh", "{}"), 501, "SSH"),
        (get("/sign"), 405, "method"),
        (post("/health", ""), 405, "method"),
        (get("/root/00ff"), 404, "00ff"),
        (get("/provisioners?limit=x"), 400, "limit"),
        (get("/provisioners/nobody/encrypted-key"), 404, ""),
        (post("/sign", &long), 413, "64 KiB"),
        (post("/sign", ""), 400, "JSON"),
        (post("/sign", "garbage"), 400, "JSON"),
        (post("/sign", "{\"csr\":\"a"), 400, "JSON"),
        (post("/sign", "{\"csr\":7}"), 400, "JSON"),
        (post("/sign", "[]"), 400, "JSON"),
        (
            post("/sign", "{}"),
            400,
            "The request could not be completed: missing csr.",
        ),
        (post("/sign", &no_csr), 400, "missing csr"),
        (post("/sign", &no_ott), 400, "missing ott"),
        (post("/sign", &not_pem), 400, "invalid csr"),
        (post("/sign", &not_der), 400, "certificate request"),
        (post("/sign", &not_a_token), 401, ""),
        (post("/renew", ""), 400, "missing client certificate"),
        (post("/re-sign", ""), 400, "missing client certificate"),
        (post("/rekey", "{}"), 400, "missing client certificate"),
        (post("/revoke", "{}"), 400, "missing serial"),
        (post("/revoke", &revoke("12a", 0, true)), 400, "serial"),
        (post("/revoke", &revoke("12", 7, true)), 400, "reasonCode"),
        (post("/revoke", &revoke("12", 11, true)), 400, "reasonCode"),
        (post("/revoke", &revoke("12", 0, false)), 501, "passive"),
        (post("/revoke", &revoke("12", 0, true)), 401, ""),
        (
            post("/revoke", "{\"serial\":\"1\",\"passive\":true}"),
            400,
            "missing ott or client certificate",
        ),
    ] {
        let answer = server.api(&request).await;
        let line = request.lines().next().unwrap();
        assert_eq!(answer.status, status, "{line}: {}", answer.text());
        assert!(answer.refusal().contains(message), "{line}: {}", answer.text());
        assert!(
            answer.header("x-request-id").is_some_and(|id| id.len() == 36),
            "{line}"
        );
    }
    // None of it has burned the token.
    let answer = server.api(&post("/sign", &sign_body(&request, &token))).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_refused() {
    let server = Server::start().await;
    let mut stream = server.tls(None).await;
    stream
        .write_all(b"POST /sign HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{\"csr\":")
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    let answer = timeout(Duration::from_secs(5), read(stream)).await.unwrap();
    assert_eq!(answer.status, 400);
    assert!(answer.refusal().contains("broke off"), "{}", answer.text());
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_read_route_answers_head_and_both_prefixes() {
    let server = Server::start().await;
    for path in READ {
        let plain = server.api(&get(path)).await;
        let prefixed = server.api(&get(&format!("/1.0{path}"))).await;
        assert!([200, 201].contains(&plain.status), "{path}: {}", plain.text());
        assert_eq!(plain.status, prefixed.status, "{path}");
        assert_eq!(
            plain.header("content-type"),
            prefixed.header("content-type"),
            "{path}"
        );
        let head = server.api(&get(path).replacen("GET", "HEAD", 1)).await;
        assert_eq!((head.status, head.body.len()), (plain.status, 0), "{path}");
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        let head = server.api(&get(path).replacen("GET", "HEAD", 1)).await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_keeps_its_id() {
    let server = Server::start().await;
    for header in ["X-Request-Id", "X-Smallstep-Id"] {
        let request = get("/health").replace("\r\n\r\n", &format!("\r\n{header}: mine-1\r\n\r\n"));
        assert_eq!(server.api(&request).await.header("x-request-id"), Some("mine-1"));
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_listener_tells_browsers_to_do_nothing_with_an_answer() {
    let server = Server::start().await;
    let answers = [
        server.api(&get("/health")).await,
        server.api(&get("/nothing")).await,
        server.public(&get("/roots.pem")).await,
        server.local(&get("/api/v1/status")).await,
    ];
    for answer in answers {
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let policy = answer.header("content-security-policy");
        assert_eq!(policy, Some("default-src 'none'; frame-ancestors 'none'"));
    }
    // What caches shall keep says so.
    let crl = server.public(&get("/crl")).await;
    assert!(crl.header("cache-control").unwrap().contains("max-age="));
    assert_eq!(crl.header("x-content-type-options"), Some("nosniff"));
    server.finish().await;
}

/// One sends a head a byte a second, one a body, and one leaves a kept-alive connection idle: all are closed, and nobody
/// else notices.
#[tokio::test(flavor = "multi_thread")]
async fn slow_and_idle_clients_are_cut() {
    let server = Server::start().await;
    let mut slow = server.tls(None).await;
    let mut idle = server.tls(None).await;
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut body = server.tls(None).await;
    body.write_all(b"POST /sign HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        .await
        .unwrap();
    let body = tokio::spawn(async move {
        let (reading, mut writing) = tokio::io::split(body);
        let dripping = async {
            loop {
                let _ = writing.write_all(b" ").await;
                let _ = writing.flush().await;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            answer = read(reading) => answer,
            () = dripping => unreachable!("it never ends"),
        }
    });
    // A form that never ends is answered with a page.
    let mut form = tokio::net::TcpStream::connect(server.web).await.unwrap();
    let head = format!(
        "POST /login HTTP/1.1\r\nHost: localhost:{}\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 1000\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\nname=",
        server.web.port()
    );
    form.write_all(head.as_bytes()).await.unwrap();
    let form = tokio::spawn(read(form));
    let dripping = tokio::spawn(async move {
        for byte in b"GET /health HTTP/1.1\r\nX-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" {
            if slow.write_all(&[*byte]).await.is_err() || slow.flush().await.is_err() {
                return true;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        false
    });
    let idling = timeout(Duration::from_secs(25), read(idle));
    assert_eq!(server.api(&get("/health")).await.status, 200);
    assert_eq!(idling.await.expect("the idle connection is closed").status, 200);
    let body = timeout(Duration::from_secs(40), body)
        .await
        .expect("the slow body is given up")
        .unwrap();
    assert_eq!(body.status, 408, "{}", body.refusal());
    let page = timeout(Duration::from_secs(40), form)
        .await
        .expect("the form is given up")
        .unwrap();
    assert_eq!(page.status, 408);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(
        page.header("content-security-policy")
            .unwrap()
            .contains("script-src 'self'")
    );
    assert_eq!(page.header("cache-control"), Some("no-store"));
    let said = page.text();
    assert!(
        said.contains("The request took longer than 30 s") && said.contains("Look whether it was done"),
        "{said}"
    );
    assert!(
        timeout(Duration::from_secs(25), dripping).await.unwrap().unwrap(),
        "the slow one was served to its end"
    );
    assert_eq!(server.api(&get("/health")).await.status, 200);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_requests_in_flight_finish() {
    let mut server = Server::start().await;
    let mut stream = server.tls(None).await;
    stream
        .write_all(b"POST /sign HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.stop.take().unwrap().send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(server.try_tls(None).await.is_err(), "new connections are refused");
    let answer: Answer = exchange(stream, b"}").await;
    assert!(answer.refusal().contains("missing csr"));
    timeout(Duration::from_secs(5), server.served)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}
