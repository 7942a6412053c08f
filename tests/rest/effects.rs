//! What a look does not do, what a stranger does not get, and what is refused rather than ignored.

use serde_json::{Value, json};

use crate::common::https::Https;
use crate::common::wire::Dialer;
use crate::common::{Muster, wait_for};

struct Keyed {
    https: Https,
    key: String,
}

impl Keyed {
    fn new(muster: &Muster, role: &str) -> Self {
        let create = ["user", "create", role, "--role", role];
        Self {
            https: Https::new(muster.api, &muster.root()),
            key: format!("Bearer {}", muster.ok(&create).trim()),
        }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> crate::common::https::Answer {
        let headers = [("content-type", "application/json"), ("authorization", &self.key)];
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let path = format!("/api/v1{path}");
        self.https.send(method, &path, &headers, body.as_bytes())
    }
}

fn lists_made(muster: &Muster) -> Vec<String> {
    let log = muster.json(&["audit", "list", "--action", "crl.made", "--limit", "500"]);
    let all = log["items"].as_array().unwrap().iter();
    all.map(|one| {
        format!(
            "{} {}",
            one["subject"].as_str().unwrap(),
            one["actor"].as_str().unwrap()
        )
    })
    .collect()
}

#[test]
fn who_only_looks_at_a_crl_makes_none() {
    let muster = Muster::start();
    let (viewer, operator) = (Keyed::new(&muster, "viewer"), Keyed::new(&muster, "operator"));
    let before = lists_made(&muster);
    let path = "/authorities/default/crl";
    let first = viewer.ask("GET", path, &Value::Null).expect(200, "").json();
    let again = viewer.ask("GET", path, &Value::Null).expect(200, "").json();
    assert_eq!(first["number"], again["number"]);
    assert_eq!(
        first["pem"].as_str().unwrap().matches("BEGIN X509 CRL").count(),
        2
    );
    viewer
        .ask("GET", &format!("{path}?generation=7"), &Value::Null)
        .expect(404, "");
    viewer.ask("POST", path, &json!({})).expect(403, "viewer");
    assert_eq!(lists_made(&muster), before);
    let dry = operator.ask("POST", &format!("{path}?dry_run=true"), &json!({}));
    assert_eq!(dry.expect(200, "").json()["number"], first["number"]);
    let fresh = operator.ask("POST", path, &json!({})).expect(200, "").json();
    assert!(fresh["number"].as_u64() > first["number"].as_u64());
    assert_eq!(lists_made(&muster)[0], "default-1 operator", "the log says who");
}

#[test]
fn a_revocation_makes_the_list_that_it_changes() {
    let muster = Muster::start();
    muster.ok(&["cert", "issue", "site-001", "--out", "out"]);
    let before = lists_made(&muster);
    muster.exits(5, &["device", "revoke", "site-001", "--yes"]);
    let number = |muster: &Muster| lists_made(muster).len() - before.len();
    wait_for("the list to be made", || number(&muster) > 0);
    assert!(
        lists_made(&muster)[..number(&muster)]
            .iter()
            .all(|made| made.starts_with("default-1 "))
    );
    // What does not concern brokers is left as it is, at a start, too.
    let mut muster = muster;
    muster.stop();
    let before = lists_made(&muster);
    muster.serve();
    assert_eq!(lists_made(&muster), before);
}

#[test]
fn nothing_is_read_of_a_strangers_body() {
    let muster = Muster::start();
    let mut wire = Dialer::new(muster.api, &muster.root()).tls().unwrap();
    // The body that is announced never comes, and the answer does not wait for it.
    let head = "POST /api/v1/devices HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Authorization: Bearer mk_guessed\r\nContent-Length: 2000000\r\n\r\n{";
    wire.send(head.as_bytes()).unwrap();
    assert_eq!(wire.answer().unwrap().0, 401);
    // Who proves with the body who they are gets room for a token and a request.
    let https = Https::new(muster.api, &muster.root());
    let long = json!({ "token": "x".repeat(100_000), "csr": "" });
    https.post("/api/v1/enrol", &long).expect(413, "");
}

#[test]
fn what_makes_no_sense_is_refused_and_not_ignored() {
    let muster = Muster::start();
    let admin = Keyed::new(&muster, "admin");
    let device = |name: &str, profile: &str, note: &str| {
        let body = json!({ "name": name, "profile": profile, "note": note });
        admin.ask("POST", "/devices", &body)
    };
    device("site-001", "client", "fine, \u{e9}").expect(200, "");
    device("site-002", "emperor", "").expect(404, "choose one of");
    device("site-002", "client", "\u{1b}[2J").expect(400, "control characters");
    device("site-002", "client", "two\nlines").expect(400, "one line");
    let act = |act: &str, body: &Value| admin.ask("POST", &format!("/devices/site-001/{act}"), body);
    let reason = json!({ "reason": "key-compromise" });
    act("suspend", &reason).expect(400, "only revoke has a reason");
    act("suspend", &json!({ "note": "\u{7}" })).expect(400, "control characters");
    muster.exits(2, &["device", "suspend", "site-001", "--reason", "superseded"]);
    assert_eq!(muster.json(&["device", "show", "site-001"])["state"], "new");
    let provisioner = |profiles: Vec<&str>| {
        let body = json!({ "name": "lab", "password": "0123456789abcdefghijklmnop", "profiles": profiles });
        admin.ask("POST", "/provisioners", &body)
    };
    provisioner(vec!["client"; 5000]).expect(400, "twice");
    provisioner(vec!["client", "emperor"]).expect(404, "no profile");
    let issue = ["cert", "issue", "site-003", "--kind", "emperor", "--out", "out"];
    muster.exits(3, &issue);
    assert_eq!(
        muster.json(&["device", "list"])["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_long_log_is_walked_in_stretches() {
    let muster = Muster::start();
    let auditor = Keyed::new(&muster, "auditor");
    let walk = |behind: &str| {
        let path = format!("/audit/verify?behind={behind}");
        auditor.ask("GET", &path, &Value::Null)
    };
    let log = muster.json(&["audit", "list"]);
    let second = log["items"].as_array().unwrap().iter().rev().nth(1).unwrap();
    let hash = second["hash"].as_str().unwrap();
    let whole = auditor
        .ask("GET", "/audit/verify", &Value::Null)
        .expect(200, "")
        .json();
    assert_eq!((&whole["intact"], &whole["next"]), (&json!(true), &Value::Null));
    let rest = walk(&format!("2.{hash}")).expect(200, "").json();
    assert_eq!(rest, whole);
    let wrong = walk(&format!("3.{hash}")).expect(200, "").json();
    assert_eq!(
        (&wrong["intact"], &wrong["broken_at"]),
        (&json!(false), &json!(4))
    );
    for bad in ["", "2", "x.00", "2.zz", &format!("2.{hash}00")] {
        walk(bad).expect(400, "behind");
    }
}
