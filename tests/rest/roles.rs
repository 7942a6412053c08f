//! Who may call what over HTTPS: every route, every role, no key and a wrong key.

use serde_json::{Value, json};

use crate::common::Muster;
use crate::common::https::{Answer, Https};
use crate::common::requester::csr;
use crate::last_act;

#[derive(Clone, Copy, PartialEq)]
enum Needs {
    Read,
    ReadAudit,
    Operate,
    Administer,
}

const ROLES: [&str; 4] = ["admin", "operator", "viewer", "auditor"];

impl Needs {
    fn allows(self, role: &str) -> bool {
        match self {
            Self::Read => true,
            Self::ReadAudit => ["admin", "auditor"].contains(&role),
            Self::Operate => ["admin", "operator"].contains(&role),
            Self::Administer => role == "admin",
        }
    }
}

struct Route {
    method: &'static str,
    path: String,
    needs: Needs,
    /// What would do something if it were allowed.
    body: Value,
}

fn route(method: &'static str, path: impl Into<String>, needs: Needs, body: Value) -> Route {
    Route {
        method,
        path: path.into(),
        needs,
        body,
    }
}

/// Every route but `/enrol`, whose proof is a token. `name` is new; `serial` and `device` are there.
fn routes(name: &str, device: &str, serial: &str) -> Vec<Route> {
    use Needs::{Administer, Operate, Read, ReadAudit};
    let mut all = vec![
        route("GET", "/status", Read, Value::Null),
        route("GET", "/expiries", Read, Value::Null),
        route("GET", "/search?q=site", Read, Value::Null),
        route("GET", "/certificates?format=csv", Read, Value::Null),
        route("GET", "/audit?format=jsonl", ReadAudit, Value::Null),
        route("GET", "/certificates", Read, Value::Null),
        route("GET", format!("/certificates/{serial}"), Read, Value::Null),
        route("POST", "/certificates", Operate, json!({ "csr": csr(name) })),
        route("GET", "/devices", Read, Value::Null),
        route("GET", format!("/devices/{device}"), Read, Value::Null),
        route(
            "POST",
            "/devices",
            Operate,
            json!({ "name": format!("{name}-new"), "profile": "client" }),
        ),
        route("GET", "/tokens", Read, Value::Null),
        route(
            "POST",
            "/tokens",
            Operate,
            json!({ "device": name, "lifetime": "1h" }),
        ),
        route("DELETE", "/tokens/none", Operate, Value::Null),
        route("POST", "/tokens/none/unbind", Operate, json!({ "name": device })),
        route("GET", "/authorities", Read, Value::Null),
        route("GET", "/authorities/default/crl", Read, Value::Null),
        route("POST", "/authorities/default/crl", Operate, json!({})),
        route(
            "POST",
            "/authorities/default/rollover/activate",
            Administer,
            json!({}),
        ),
        route(
            "POST",
            "/authorities/default/rollover/finish",
            Administer,
            json!({}),
        ),
        route("GET", "/profiles", Read, Value::Null),
        route("GET", "/provisioners", Read, Value::Null),
        route(
            "POST",
            "/provisioners",
            Administer,
            json!({ "name": name, "password": "0123456789abcdefghijklmnop" }),
        ),
        route("DELETE", "/provisioners/none", Administer, Value::Null),
        route("GET", "/operators", Administer, Value::Null),
        route(
            "POST",
            "/operators",
            Administer,
            json!({ "name": name, "role": "viewer" }),
        ),
        route("DELETE", "/operators/none", Administer, Value::Null),
        route("POST", "/operators/none/invitation", Administer, json!({})),
        route(
            "POST",
            "/operators/none/role",
            Administer,
            json!({ "role": "viewer" }),
        ),
        route("POST", "/operators/none/key", Administer, json!({})),
        route("DELETE", "/operators/none/key", Administer, Value::Null),
        route("GET", "/audit", ReadAudit, Value::Null),
        route("GET", "/audit/verify", ReadAudit, Value::Null),
    ];
    for act in ["suspend", "resume", "rearm", "revoke", "retire"] {
        all.push(route(
            "POST",
            format!("/devices/{device}/{act}"),
            Operate,
            json!({}),
        ));
    }
    all.push(route(
        "POST",
        format!("/certificates/{serial}/revoke"),
        Operate,
        json!({}),
    ));
    all
}

fn call(https: &Https, route: &Route, key: Option<&str>) -> Answer {
    let bearer = key.map(|key| format!("Bearer {key}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(bearer.iter().map(|bearer| ("authorization", bearer.as_str())));
    let body = if route.body.is_null() {
        String::new()
    } else {
        route.body.to_string()
    };
    https.send(
        route.method,
        &format!("/api/v1{}", route.path),
        &headers,
        body.as_bytes(),
    )
}

fn device(muster: &Muster, name: &str) -> String {
    muster.ok(&["cert", "issue", name, "--kind", "client", "--out", name]);
    muster.json(&["device", "show", name])["certificates"][0]["serial"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn every_route_wants_a_key_and_the_right_role() {
    let muster = Muster::start();
    let https = Https::new(muster.api, &muster.root());
    let serial = device(&muster, "somebody");
    let before = last_act(&muster);
    for route in routes("stranger", "somebody", &serial) {
        for key in [
            None,
            Some("mk_0000000000000000000000000000000000000000000"),
            Some(""),
        ] {
            let answer = call(&https, &route, key);
            assert_eq!(
                answer.status,
                401,
                "{} {} with {key:?}: {}",
                route.method,
                route.path,
                answer.text()
            );
            answer.expect(401, "API key");
        }
    }
    assert_eq!(last_act(&muster), before, "nothing was done");
    for role in ROLES {
        let key = muster
            .ok(&["user", "create", &format!("a-{role}"), "--role", role])
            .trim()
            .to_owned();
        let mine = format!("of-{role}");
        let serial = device(&muster, &mine);
        for route in routes(&format!("new-{role}"), &mine, &serial) {
            let answer = call(&https, &route, Some(&key));
            let told = format!(
                "{role}: {} {}: {} {}",
                route.method,
                route.path,
                answer.status,
                answer.text()
            );
            if route.needs.allows(role) {
                // Some meet nothing to do (404, 409); none is refused for its role.
                assert!(
                    ![401, 403].contains(&answer.status) && answer.status < 500,
                    "{told}"
                );
            } else {
                assert_eq!(answer.status, 403, "{told}");
                answer.expect(403, &format!("the role {role} may not"));
            }
        }
        let state = muster.json(&["device", "show", &mine])["state"].clone();
        assert_eq!(
            state,
            if Needs::Operate.allows(role) {
                "retired"
            } else {
                "active"
            },
            "{role}"
        );
    }
}

#[test]
fn a_removed_operator_is_a_stranger() {
    let muster = Muster::start();
    let https = Https::new(muster.api, &muster.root());
    let key = muster
        .ok(&["user", "create", "leaver", "--role", "viewer"])
        .trim()
        .to_owned();
    let status = route("GET", "/status", Needs::Read, Value::Null);
    assert_eq!(call(&https, &status, Some(&key)).status, 200);
    muster.ok(&["user", "remove", "leaver"]);
    call(&https, &status, Some(&key)).expect(401, "not known");
    muster.exits(3, &["user", "remove", "leaver"]);
    muster.exits(2, &["user", "create", "x", "--role", "emperor"]);
}

#[test]
fn the_audit_log_says_who_by_which_door_and_its_chain_holds() {
    let muster = Muster::start();
    let https = Https::new(muster.api, &muster.root());
    let key = muster
        .ok(&["user", "create", "ci", "--role", "operator"])
        .trim()
        .to_owned();
    let make = route(
        "POST",
        "/devices",
        Needs::Operate,
        json!({ "name": "from-ci", "profile": "client" }),
    );
    assert_eq!(call(&https, &make, Some(&key)).status, 200);
    muster.ok(&["device", "create", "from-here"]);
    let log = muster.json(&["audit", "list"]);
    let of = |subject: &str| {
        log["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|entry| entry["subject"] == subject)
            .unwrap()
            .clone()
    };
    assert_eq!(
        (of("from-ci")["actor"].as_str(), of("from-ci")["via"].as_str()),
        (Some("ci"), Some("rest"))
    );
    assert_eq!(of("from-ci")["source"], "127.0.0.1");
    assert_eq!(of("from-here")["via"], "socket");
    assert!(!log.to_string().contains(&key), "no secret in the log");
    let verdict = muster.json(&["audit", "verify"]);
    assert_eq!(verdict["intact"], true);
    assert!(verdict["entries"].as_u64() >= log["items"][0]["sequence"].as_u64());
}

#[test]
fn mistakes_in_requests_are_told_in_json() {
    let muster = Muster::start();
    let https = Https::new(muster.api, &muster.root());
    let key = muster
        .ok(&["user", "create", "root", "--role", "admin"])
        .trim()
        .to_owned();
    let post = |path: &str, body: &str| {
        let bearer = format!("Bearer {key}");
        https.send(
            "POST",
            &format!("/api/v1{path}"),
            &[("authorization", &bearer), ("content-type", "application/json")],
            body.as_bytes(),
        )
    };
    let status = |answer: &Answer| (400..500).contains(&answer.status);
    for (path, body) in [
        ("/devices", "{"),
        ("/devices", "{}"),
        ("/devices", r#"{"name":"a","profile":"client","colour":"red"}"#),
        ("/devices", r#"{"name":"A B","profile":"client"}"#),
        ("/devices", r#"{"name":"a","profile":"emperor"}"#),
        // A dry run that is misspelt must not be a real one.
        ("/devices?dry-run=true", r#"{"name":"a","profile":"client"}"#),
        ("/devices?dry_run=yes", r#"{"name":"a","profile":"client"}"#),
        ("/certificates", r#"{"csr":"no PEM"}"#),
        ("/tokens", r#"{"device":"a","lifetime":"soon"}"#),
        ("/operators", r#"{"name":"a","role":"emperor"}"#),
        ("/certificates/zz/revoke", "{}"),
        ("/nothing", "{}"),
    ] {
        let answer = post(path, body);
        assert!(
            status(&answer),
            "{path} {body}: {} {}",
            answer.status,
            answer.text()
        );
        assert_eq!(
            answer.json()["status"],
            answer.status,
            "{path} {body}: {}",
            answer.text()
        );
        assert!(
            answer.json()["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty()),
            "{path} {body}"
        );
    }
    assert_eq!(
        muster.json(&["device", "list"])["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["name"] == "a")
            .count(),
        0
    );
}
