//! What a running Muster answers is what its OpenAPI document says; judged by validators that others wrote.
//!
//! `MUSTER_TEST_PYTHON` is the Python that has the package `openapi-spec-validator`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

#[path = "../common/mod.rs"]
mod common;

use std::path::Path;
use std::process::Command;

use common::wire::Wire;
use common::{Muster, python, text};
use muster_backends::signer::generate;
use muster_pki::csr::Csr;
use muster_pki::key::KeyKind;
use muster_pki::pem;
use serde_json::{Value, json};

/// Calls the API by the socket and keeps what was said.
struct Caller<'a> {
    muster: &'a Muster,
    said: Vec<Value>,
}

impl Caller<'_> {
    fn call(&mut self, method: &str, path: &str, body: Option<Value>) -> Value {
        let sent = body.as_ref().map(Value::to_string).unwrap_or_default();
        let request = format!(
            "{method} /api/v1{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{sent}",
            sent.len()
        );
        let mut wire = Wire::local(&self.muster.data()).unwrap();
        let (status, answer) = wire.exchange(request.as_bytes()).unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        self.said.push(json!({
            "method": method.to_lowercase(), "path": path, "body": body, "status": status, "answer": answer,
        }));
        answer
    }

    fn get(&mut self, path: &str) -> Value {
        self.call("GET", path, None)
    }

    fn post(&mut self, path: &str, body: Value) -> Value {
        self.call("POST", path, Some(body))
    }

    fn delete(&mut self, path: &str) {
        self.call("DELETE", path, None);
    }
}

#[test]
fn what_is_said_is_what_is_described() {
    let Some(python) = python(&["openapi_spec_validator"]) else {
        return;
    };
    let muster = Muster::start();
    let mut caller = Caller {
        muster: &muster,
        said: Vec::new(),
    };
    let document = caller.get("/openapi.json");
    a_day(&mut caller);
    let path = muster.path().join("said.json");
    std::fs::write(
        &path,
        json!({ "document": document, "said": caller.said }).to_string(),
    )
    .unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi/judge.py");
    let output = Command::new(python)
        .args(["-B".as_ref(), script.as_os_str(), path.as_os_str()])
        .output()
        .unwrap();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}");
}

/// Everything at least once, and what is refused.
fn a_day(caller: &mut Caller<'_>) {
    let csr = |name: &str| {
        let key = generate(KeyKind::P256).unwrap();
        let der = Csr::build(name, &[], &key).unwrap();
        pem::encode(pem::CSR, &der).unwrap()
    };
    caller.get("/time?nonce=0123456789abcdef");
    caller.get("/time?nonce=0");
    caller.post(
        "/devices",
        json!({ "name": "mqtt.example.org", "profile": "server", "note": "the broker" }),
    );
    let issued = caller.post(
        "/certificates",
        json!({ "name": "site-1", "csr": csr("site-1"), "profile": "client", "validity": "30d", "reuse": false }),
    );
    caller.post(
        "/certificates?dry_run=true",
        json!({ "csr": csr("site-1"), "sans": ["site-1.example.org"] }),
    );
    caller.post("/certificates", json!({ "csr": "nothing" }));
    let serial = issued["serial"].as_str().unwrap().to_owned();
    caller.get(&format!("/certificates/{serial}"));
    caller.post("/authorities/default/crl", json!({ "generation": 1 }));
    for verb in ["suspend", "resume"] {
        caller.post(
            &format!("/devices/site-1/{verb}"),
            json!({ "note": "for a while" }),
        );
    }
    caller.post("/devices/site-1/recover", json!({}));
    caller.post("/devices/nobody/recover", json!({}));
    caller.post(
        &format!("/certificates/{serial}/revoke"),
        json!({ "reason": "superseded", "note": "" }),
    );
    caller.post(
        &format!("/certificates/{serial}/revoke"),
        json!({ "reason": "superseded" }),
    );
    caller.post("/devices/site-1/rearm", json!({}));
    caller.post(
        "/brokers",
        json!({ "name": "hub.example.org", "program": "mosquitto", "profile": "server", "sans": ["10.0.0.5"] }),
    );
    caller.post("/brokers/hub.example.org/join", json!({}));
    caller.post(
        "/devices/site-1/access",
        json!({ "publish": ["plant/7/#"], "subscribe": ["plant/7/commands/#"] }),
    );
    let trials = caller.post("/trials", json!({ "csr": csr("any") }));
    let all = trials["certificates"].as_array().unwrap();
    let revocable = all.iter().find(|one| one["what"] == "revocable").unwrap();
    let serial = revocable["serial"].as_str().unwrap();
    caller.post(&format!("/trials/{serial}/revoke"), json!({}));
    caller.get("/brokers");
    caller.get("/devices/site-1/access");
    caller.get("/devices/site-1/proof");
    caller.delete("/devices/site-1/access");
    caller.get("/devices/site-1/diagnosis");
    caller.post("/diagnosis", json!({ "minutes": 1 }));
    caller.get("/diagnosis");
    caller.delete("/diagnosis");
    caller.post("/brokers/hub.example.org/retire", json!({ "note": "replaced" }));
    let token = caller.post("/tokens", json!({ "device": "site-2", "lifetime": "24h" }));
    let id = token["id"].as_str().unwrap().to_owned();
    caller.post(
        "/enrol",
        json!({ "token": token["secret"], "csr": csr("site-2") }),
    );
    caller.post("/enrol/confirm", json!({}));
    caller.post(
        &format!("/tokens/{id}/unbind"),
        json!({ "name": "site-2", "note": "" }),
    );
    let wave = caller.post(
        "/tokens",
        json!({ "wave": "spring", "uses": 9, "profile": "client", "lifetime": "7d" }),
    );
    caller.delete(&format!("/tokens/{}", wave["id"].as_str().unwrap()));
    caller.post(
        "/provisioners",
        json!({ "name": "makers", "password": "0123456789abcdefghijklmnop", "names": ["site-*"], "may_replace": true }),
    );
    caller.delete("/provisioners/makers");
    caller.post("/authorities/default/rollover/activate", json!({}));
    let bundle = caller.post(
        "/bundles",
        json!({ "name": "site-3", "validity": "30d", "sans": [], "formats": ["zip", "p12", "pem", "k8s", "h"], "broker": "mqtt.example.org" }),
    );
    assert_eq!(bundle["files"].as_array().unwrap().len(), 5, "{bundle}");
    caller.post("/bundles?dry_run=true", json!({ "name": "site-4" }));
    caller.post("/bundles", json!({ "name": "site-4", "formats": ["docx"] }));
    caller.post("/bundles", json!({ "name": "site-4", "broker": "a b" }));
    caller.post("/provisioners", json!({ "name": "others" }));
    let many = caller.post(
        "/tokens/many",
        json!({ "devices": ["site-5", "site-6"], "lifetime": "24h" }),
    );
    caller.get(&format!("/tokens/{}", many[0]["id"].as_str().unwrap()));
    caller.get("/tokens/nothing");
    let serials = json!([bundle["serial"]]);
    caller.post(
        "/revocations",
        json!({ "serials": serials, "reason": "superseded" }),
    );
    caller.post("/revocations/agree", json!({ "at": "2030-06-01T12:00:00Z" }));
    caller.post(
        "/operators",
        json!({ "name": "bob", "role": "viewer", "person": true }),
    );
    caller.post("/operators", json!({ "name": "ci", "role": "operator" }));
    caller.post("/operators/ci/key", json!({}));
    caller.delete("/operators/ci/key");
    caller.post("/operators/bob/invitation", json!({}));
    caller.post(
        "/operators/bob/password",
        json!({ "password": "correct horse battery staple" }),
    );
    caller.post("/operators/bob/role", json!({ "role": "auditor" }));
    for path in [
        "/status",
        "/search?q=site-",
        "/expiries?days=90",
        "/certificates?limit=1",
        "/certificates?status=revoked",
        "/devices",
        "/devices/site-1",
        "/devices/nobody",
        "/tokens",
        "/authorities",
        "/authorities/default/crl",
        "/authorities/default/crl?generation=0",
        "/profiles",
        "/provisioners",
        "/operators",
        "/settings",
        "/revocations",
        "/audit?limit=200",
        "/audit/verify",
    ] {
        caller.get(path);
    }
    caller.delete("/operators/bob");
    caller.delete("/operators/bob");
}
