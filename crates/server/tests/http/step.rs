//! The step protocol from the first root to revocation, and what verifiers fetch.

use std::time::Duration;

use crate::common::{Server, csr, get, post, sign_body};
use muster_backends::signer::generate;
use muster_pki::cert::Certificate;
use muster_pki::key::{KeyKind, sha256};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn trust_is_bootstrapped() {
    let server = Server::start().await;
    let fingerprint = muster_pki::hex(&sha256(&server.root));
    let dashed = format!("{}-{}", &fingerprint[..8], &fingerprint[8..]).to_uppercase();
    for path in [format!("/root/{fingerprint}"), format!("/1.0/root/{dashed}")] {
        let answer = server.api(&get(&path)).await;
        assert_eq!(answer.status, 200);
        let root = Certificate::all_from_pem(answer.json()["ca"].as_str().unwrap()).unwrap();
        assert_eq!(root[0].der(), server.root);
    }
    for path in ["/roots", "/federation", "/intermediates"] {
        let answer = server.api(&get(path)).await;
        assert_eq!(answer.status, 201, "{path}");
        assert_eq!(answer.json()["crts"].as_array().unwrap().len(), 1, "{path}");
    }
    assert_eq!(server.api(&get("/health")).await.text(), "{\"status\":\"ok\"}\n");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn provisioners_are_listed_without_their_keys() {
    let server = Server::start().await;
    let all = server.api(&get("/provisioners?cursor=&limit=100")).await.json();
    let listed = all["provisioners"].as_array().unwrap();
    assert_eq!((listed.len(), &all["nextCursor"]), (2, &json!("")));
    assert_eq!(listed[0]["name"], "iot-devices");
    assert_eq!(listed[0]["claims"]["defaultTLSCertDuration"], "720h0m0s");
    assert!(listed.iter().all(|one| one.get("encryptedKey").is_none()));
    let first = server.api(&get("/provisioners?limit=1")).await.json();
    let next = format!(
        "/provisioners?limit=1&cursor={}",
        first["nextCursor"].as_str().unwrap()
    );
    let second = server.api(&get(&next)).await.json();
    assert_eq!(second["provisioners"][0]["name"], "test");
    assert_eq!(second["nextCursor"], "");
    let kid = listed[0]["key"]["kid"].as_str().unwrap();
    let key = server
        .api(&get(&format!("/provisioners/{kid}/encrypted-key")))
        .await
        .json();
    assert_eq!(key["key"].as_str().unwrap().split('.').count(), 5);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_signed_renewed_rekeyed_and_revoked() {
    let server = Server::start().await;
    let identity = server.enrol("site-001").await;
    assert_eq!(identity.parsed().common_name().as_deref(), Some("site-001"));

    let renewed = server.api_as(&identity, &post("/renew", "")).await;
    assert_eq!(renewed.status, 201, "{}", renewed.text());
    let json = renewed.json();
    assert_eq!(json["certChain"].as_array().unwrap().len(), 2);
    assert_eq!(json["certChain"][0], json["crt"]);
    assert_eq!(json["certChain"][1], json["ca"]);
    assert!((json["tlsOptions"]["minVersion"].as_f64().unwrap() - 1.2).abs() < 1e-6);

    let key = generate(KeyKind::P256).unwrap();
    let body = json!({ "csr": csr("x", &key) }).to_string();
    let rekeyed = server.api_as(&identity, &post("/1.0/rekey", &body)).await;
    assert_eq!(rekeyed.status, 201, "{}", rekeyed.text());

    let serial = identity.serial();
    let revoke = |ott: &str| {
        json!({ "serial": serial, "ott": ott, "reasonCode": 1, "reason": "", "passive": true }).to_string()
    };
    let other = server.token("12345", "revoke");
    let answer = server.api(&post("/revoke", &revoke(&other))).await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(
        answer
            .refusal()
            .starts_with("The request was forbidden by the certificate authority: ")
    );
    let answer = server
        .api(&post("/revoke", &revoke(&server.token(&serial, "revoke"))))
        .await;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "{\"status\":\"ok\"}\n")
    );
    let again = server
        .api(&post("/revoke", &revoke(&server.token(&serial, "revoke"))))
        .await;
    assert_eq!(again.status, 400);
    assert!(again.refusal().contains(&format!(
        "certificate with serial number '{serial}' is already revoked"
    )));
    let unknown = json!({ "serial": "12345", "ott": other, "passive": true }).to_string();
    assert_eq!(server.api(&post("/revoke", &unknown)).await.status, 404);
    assert_eq!(server.api_as(&identity, &post("/renew", "")).await.status, 401);
    listed_soon(&server, &serial).await;
    server.finish().await;
}

/// Waits until the published list has an entry.
async fn listed_soon(server: &Server, serial: &str) {
    for _ in 0..50 {
        let answer = server.public(&get("/crl/default-1.crl")).await;
        assert_eq!(answer.header("content-type"), Some("application/pkix-crl"));
        let octets = muster_ca::certificate::Serial::from_go_integer(serial).unwrap();
        if answer
            .body
            .windows(octets.as_bytes().len())
            .any(|window| window == octets.as_bytes())
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the revoked certificate did not come onto the CRL within a second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_revokes_itself_only() {
    let server = Server::start().await;
    let one = server.enrol("site-001").await;
    let other = server.enrol("site-002").await;
    let body = |serial: &str| json!({ "serial": serial, "ott": "", "passive": true }).to_string();
    assert_eq!(
        server
            .api_as(&one, &post("/revoke", &body(&other.serial())))
            .await
            .status,
        403
    );
    assert_eq!(
        server
            .api_as(&one, &post("/revoke", &body(&one.serial())))
            .await
            .status,
        200
    );
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_times_are_judged() {
    let server = Server::start().await;
    let key = generate(KeyKind::P256).unwrap();
    let request = csr("site-001", &key);
    let elsewhere = server
        .issuer
        .token("site-001", "https://elsewhere.example/1.0/sign");
    for (token, not_after, status) in [
        (server.token("site-001", "revoke"), "", 401),
        (elsewhere, "", 401),
        (server.token("site-002", "sign"), "", 403),
        (server.token("site-001", "sign"), "-1h", 400),
        (server.token("site-001", "sign"), "2020-01-01T00:00:00Z", 400),
        (server.token("site-001", "sign"), "1m", 403),
        (server.token("site-001", "sign"), "20000h", 403),
        (server.token("site-001", "sign"), "soon", 400),
        (server.token("site-001", "sign"), "1h", 201),
    ] {
        let body =
            json!({ "csr": request, "ott": token, "notBefore": "", "notAfter": not_after }).to_string();
        let answer = server.api(&post("/sign", &body)).await;
        assert_eq!(answer.status, status, "{not_after}: {}", answer.text());
        if status == 201 {
            let again = server.api(&post("/sign", &body)).await;
            assert_eq!(again.status, 401);
            assert!(again.refusal().contains("used already"));
        }
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verifiers_fetch_lists_and_certificates() {
    let server = Server::start().await;
    for (path, media_type) in [
        ("/crl", "application/pkix-crl"),
        ("/1.0/crl", "application/pkix-crl"),
        ("/crl?pem", "application/x-pem-file"),
        ("/crl/default-1.crl", "application/pkix-crl"),
        ("/crl/default-root.crl", "application/pkix-crl"),
        ("/crl/default-1.pem", "application/x-pem-file"),
        ("/ca/default-1.crt", "application/pkix-cert"),
        ("/ca/default-root.pem", "application/x-pem-file"),
    ] {
        let answer = server.public(&get(path)).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some(media_type)),
            "{path}"
        );
        assert!(
            answer.header("cache-control").unwrap().contains("max-age="),
            "{path}"
        );
        let tag = answer.header("etag").unwrap();
        let known = get(path).replace("\r\n\r\n", &format!("\r\nIf-None-Match: \"x\", W/{tag}\r\n\r\n"));
        let again = server.public(&known).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        if path.contains("/crl") {
            assert!(answer.header("expires").unwrap().ends_with(" GMT"), "{path}");
            assert!(answer.header("last-modified").is_some(), "{path}");
        }
    }
    let roots = server.public(&get("/roots.pem")).await;
    assert_eq!(Certificate::all_from_pem(&roots.text()).unwrap().len(), 1);
    for missing in [
        "/crl/default-9.crl",
        "/crl/default-1.txt",
        "/ca/x",
        "/metrics",
        "/readyz",
        "/sign",
        "/api/v1/status",
    ] {
        let answer = server.public(&get(missing)).await;
        assert_eq!(answer.status, 404, "{missing}");
        answer.refusal();
    }
    assert_eq!(server.public(&get("/healthz")).await.status, 200);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_socket_serves_its_own_user() {
    let server = Server::start().await;
    server.enrol("site-001").await;
    let status = server.local(&get("/api/v1/status")).await;
    assert_eq!(status.status, 200, "{}", status.text());
    assert_eq!(server.api(&get("/api/v1/devices")).await.status, 401);
    assert_eq!(server.local(&get("/sign")).await.status, 404);
    assert_eq!(server.local(&get("/readyz")).await.status, 200);
    let metrics = server.local(&get("/metrics")).await.text();
    for line in [
        "muster_certificates_issued_total 1",
        "muster_requests_total{route=\"/sign\",status=\"2xx\"} 1",
        "muster_certificates{status=\"active\"}",
        "muster_crl_next_update_seconds{authority=\"default\",generation=\"1\"}",
        "muster_request_duration_seconds_bucket",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    assert!(!metrics.contains("site-001"));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_routes_can_be_run_in_the_same_process() {
    let server = Server::start().await;
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let peer = muster_server::peer::Peer::Process { uid: 0 };
    let routes = muster_server::local_service(&server.edge);
    let running = tokio::spawn(muster_server::serve_stream(routes, theirs, peer));
    assert_eq!(
        crate::common::exchange(ours, get("/api/v1/devices").as_bytes())
            .await
            .status,
        200
    );
    running.await.unwrap();
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_client_certificate_obtains_nothing_and_an_unneeded_one_does_not_hurt() {
    let server = Server::start().await;
    let identity = server.enrol("site-001").await;
    assert_eq!(server.api_as(&identity, &get("/health")).await.status, 200);
    let body = sign_body(&csr("site-002", &identity.key), &server.token("site-002", "sign"));
    assert_eq!(server.api_as(&identity, &post("/sign", &body)).await.status, 201);
    let elsewhere = Server::start().await;
    let stranger = elsewhere.enrol("site-001").await;
    let answer = server.api_as(&stranger, &post("/renew", "")).await;
    assert_eq!(answer.status, 401);
    assert_eq!(server.api_as(&stranger, &get("/health")).await.status, 200);
}
