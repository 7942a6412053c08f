//! What the GUI can do, a program can do: keys made by the server, own account, many at once.

use crate::common::browser::{Browser, PASSWORD, code, local};
use crate::common::{Answer, Server, csr};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muster_backends::signer::generate;
use muster_ca::operator::Role;
use muster_pki::key::KeyKind;
use serde_json::{Value, json};

struct Program {
    browser: Browser,
    key: String,
}

impl Program {
    async fn new(server: &Server, name: &str, role: Role) -> Self {
        let (_, key) = server.edge.ca().add_operator(local(), name, role).await.unwrap();
        Self {
            browser: Browser::at(server),
            key: key.to_string(),
        }
    }

    async fn call(&mut self, method: &str, path: &str, body: &str) -> Answer {
        let headers = format!(
            "Authorization: Bearer {}\r\nContent-Type: application/json\r\n",
            self.key
        );
        let request = self
            .browser
            .request(method, &format!("/api/v1{path}"), &headers, body);
        self.browser.send(&request).await
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.call("GET", path, "").await
    }

    async fn post(&mut self, path: &str, body: Value) -> Answer {
        self.call("POST", path, &body.to_string()).await
    }
}

#[tokio::test]
async fn a_bundle_has_every_file_once_and_the_server_keeps_no_key() {
    let server = Server::start().await;
    let mut program = Program::new(&server, "ci", Role::Operator).await;
    let formats = json!([
        "zip", "p12", "pem", "crt", "ca.crt", "key", "der", "key.der", "k8s", "h"
    ]);
    let wish =
        json!({ "name": "site-1", "validity": "2d", "formats": formats, "broker": "mqtt.example.org" });
    let rehearsed = program.post("/bundles?dry_run=true", wish.clone()).await.json();
    assert_eq!(rehearsed["files"], json!([]));
    assert_eq!(program.get("/devices/site-1").await.status, 404);
    let made = program.post("/bundles", wish).await.json();
    let files = made["files"].as_array().unwrap();
    assert_eq!(files.len(), 10);
    let content = |ending: &str| {
        let found = files
            .iter()
            .find(|file| file["name"].as_str().unwrap().ends_with(ending))
            .unwrap();
        STANDARD.decode(found["content"].as_str().unwrap()).unwrap()
    };
    assert!(content(".zip").starts_with(b"PK"));
    let key = String::from_utf8(content("site-1.key")).unwrap();
    assert!(key.contains("BEGIN PRIVATE KEY"));
    assert!(made["password"].as_str().unwrap().len() >= 20);
    assert_eq!(made["device"], "site-1");
    let serial = made["serial"].as_str().unwrap().to_owned();
    // What is there later is public.
    for format in ["zip", "pem", "crt", "ca.crt", "der", "h"] {
        let file = program.get(&format!("/certificates/{serial}/{format}")).await;
        assert_eq!(file.status, 200, "{format}");
        assert!(file.header("content-disposition").unwrap().contains("attachment"));
        assert!(!file.text().contains("PRIVATE KEY"), "{format}");
    }
    for format in ["key", "key.der", "p12", "docx"] {
        assert_eq!(
            program
                .get(&format!("/certificates/{serial}/{format}"))
                .await
                .status,
            404,
            "{format}"
        );
    }
    // A wish that cannot be met issues nothing.
    for wrong in [
        json!({ "name": "site-2", "formats": ["docx"] }),
        json!({ "name": "site-2", "broker": "a b" }),
        json!({ "name": "site-2", "profile": "none" }),
        json!({ "name": "../site-2" }),
        json!({ "name": "site-2", "validity": "soon" }),
    ] {
        let refused = program.post("/bundles", wrong.clone()).await.status;
        assert!([400, 403].contains(&refused), "{wrong}: {refused}");
    }
    assert_eq!(program.get("/devices/site-2").await.status, 404);
    server.finish().await;
}

#[tokio::test]
async fn many_devices_need_the_same() {
    let server = Server::start().await;
    let mut alice = Program::new(&server, "alice", Role::Operator).await;
    let mut bob = Program::new(&server, "bob", Role::Operator).await;
    let names = ["site-1", "site-2", "site-3"];
    for name in names {
        alice.post("/bundles", json!({ "name": name })).await.json();
    }
    for wrong in [
        json!({ "reason": "superseded" }),
        json!({ "devices": names, "serials": ["0123456789abcdef"], "reason": "superseded" }),
        json!({ "serials": ["0123456789abcdef"], "retire": true, "reason": "superseded" }),
        json!({ "devices": names, "reason": "superseded" }),
    ] {
        assert_eq!(
            alice.post("/revocations", wrong.clone()).await.status,
            400,
            "{wrong}"
        );
    }
    let wish = json!({ "devices": names, "reason": "key-compromise", "note": "stolen", "count": 3 });
    assert_eq!(alice.post("/revocations", wish).await.json()["waiting"], true);
    assert_eq!(alice.get("/devices/site-1").await.json()["state"], "active");
    let waiting = bob.get("/revocations").await.json();
    assert_eq!(
        (
            &waiting[0]["devices"],
            &waiting[0]["retire"],
            &waiting[0]["serials"]
        ),
        (&json!(names), &json!(false), &json!([]))
    );
    let at = json!({ "at": waiting[0]["at"] });
    assert_eq!(alice.post("/revocations/agree", at.clone()).await.status, 403);
    let done = bob.post("/revocations/agree", at).await.json();
    assert_eq!(
        (&done["devices"], done["revoked"].as_array().unwrap().len()),
        (&json!(3), 3)
    );
    assert_eq!(alice.get("/devices/site-3").await.json()["state"], "revoked");
    // Few need neither.
    let wish = json!({ "devices": names[..2], "retire": true, "reason": "cessation-of-operation" });
    assert_eq!(alice.post("/revocations", wish).await.json()["devices"], 2);
    assert_eq!(alice.get("/devices/site-1").await.json()["state"], "retired");
    server.finish().await;
}

#[tokio::test]
async fn many_are_revoked_by_count_and_with_a_second_operator() {
    // The configuration of this server: more than 2 need their count and a second operator.
    let server = Server::start().await;
    let mut alice = Program::new(&server, "alice", Role::Operator).await;
    let mut bob = Program::new(&server, "bob", Role::Operator).await;
    let mut serials = Vec::new();
    for number in 0..3 {
        let made = alice
            .post("/bundles", json!({ "name": format!("site-{number}") }))
            .await
            .json();
        serials.push(made["serial"].clone());
    }
    let wish =
        |count: Value| json!({ "serials": serials, "reason": "superseded", "note": "old", "count": count });
    assert!(
        alice
            .post("/revocations", wish(Value::Null))
            .await
            .refusal()
            .contains("--count 3")
    );
    assert_eq!(alice.post("/revocations", wish(2.into())).await.status, 400);
    let asked = alice.post("/revocations", wish(3.into())).await.json();
    assert_eq!(
        asked,
        json!({ "revoked": [], "devices": 0, "before": 0, "waiting": true })
    );
    assert_eq!(alice.post("/revocations", wish(3.into())).await.status, 409);
    let waiting = bob.get("/revocations").await.json();
    assert_eq!(
        (&waiting[0]["by"], waiting[0]["serials"].as_array().unwrap().len()),
        (&json!("alice"), 3)
    );
    let at = json!({ "at": waiting[0]["at"] });
    assert_eq!(alice.post("/revocations/agree", at.clone()).await.status, 403);
    assert_eq!(
        bob.post("/revocations/agree", json!({ "at": "2030-06-01T12:00:00Z" }))
            .await
            .status,
        404
    );
    assert_eq!(bob.post("/revocations/agreed", at.clone()).await.status, 404);
    let done = bob.post("/revocations/agree", at.clone()).await.json();
    assert_eq!(done["revoked"].as_array().unwrap().len(), 3);
    assert_eq!(bob.get("/revocations").await.json(), json!([]));
    // Few need neither.
    let done = bob
        .post(
            "/revocations",
            json!({ "serials": [serials[0]], "reason": "superseded" }),
        )
        .await
        .json();
    assert_eq!(
        done,
        json!({ "revoked": [], "devices": 0, "before": 1, "waiting": false })
    );
    server.finish().await;
}

#[tokio::test]
async fn an_operator_minds_its_own_account() {
    let (mut browser, server) = Browser::and_server().await;
    let ca = server.edge.ca().clone();
    let key = ca.renew_api_key(local(), "admin").await.unwrap();
    let mut admin = Program {
        browser: Browser::at(&server),
        key: key.to_string(),
    };
    browser.log_in("admin", PASSWORD).await;
    let account = admin.get("/account").await.json();
    assert_eq!(account["name"], "admin");
    let sessions = account["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 1);
    let path = format!("/account/sessions/{}", sessions[0]["id"].as_str().unwrap());
    assert_eq!(admin.call("DELETE", &path, "").await.status, 200);
    assert_eq!(admin.call("DELETE", &path, "").await.status, 404);
    assert_eq!(browser.get("/").await.status, 303, "the session has ended");

    let secret = admin.get("/account/code").await.json()["secret"]
        .as_str()
        .unwrap()
        .to_owned();
    let bytes = muster_ca::password::read_secret(&secret).unwrap();
    let now = code(&bytes, ca.now().as_second());
    let set = |current: &str, code: &str| json!({ "current": current, "secret": secret, "code": code });
    assert_eq!(admin.post("/account/code", set(PASSWORD, "x")).await.status, 400);
    assert_eq!(
        admin.post("/account/code", set("guessed", &now)).await.status,
        403
    );
    assert_eq!(admin.post("/account/code", set(PASSWORD, &now)).await.status, 200);
    assert_eq!(admin.get("/account").await.json()["second_factor"], true);
    assert_eq!(browser.log_in("admin", PASSWORD).await.status, 401);
    let remove = json!({ "current": PASSWORD });
    assert_eq!(admin.post("/account/code/remove", remove).await.status, 200);
    let change = json!({ "current": PASSWORD, "password": "another horse battery" });
    assert_eq!(admin.post("/account/password", change).await.status, 200);
    assert_eq!(browser.log_in("admin", "another horse battery").await.status, 303);

    // A stolen key does not find the password out by trying, and the GUI's tries count with these.
    let mut tried = 0;
    let wait = loop {
        let answer = admin
            .post(
                "/account/password",
                json!({ "current": format!("guess {tried}"), "password": "x" }),
            )
            .await;
        if answer.status == 429 {
            break answer.refusal();
        }
        tried += 1;
        assert!(tried <= 12);
    };
    assert!(wait.contains("seconds"), "{wait}");
    let page = browser
        .post(
            "/account/password",
            "current=guess&password=a+long+password&repeated=a+long+password",
        )
        .await;
    assert!(page.text().contains("too many attempts"), "{}", page.text());
    server.finish().await;
}

#[tokio::test]
async fn what_is_rehearsed_can_still_be_done() {
    let server = Server::start().await;
    let mut program = Program::new(&server, "ci", Role::Admin).await;
    let csr = csr("any", &generate(KeyKind::P256).unwrap());
    let trials = program.post("/trials", json!({ "csr": csr })).await.json();
    let all = trials["certificates"].as_array().unwrap().clone();
    let revocable = all.iter().find(|one| one["what"] == "revocable").unwrap();
    let path = format!("/trials/{}/revoke", revocable["serial"].as_str().unwrap());
    let rehearse = format!("{path}?dry_run=true");
    for (path, status) in [(&rehearse, 200), (&rehearse, 200), (&path, 200), (&path, 404)] {
        assert_eq!(program.post(path, json!({})).await.status, status, "{path}");
    }
    server.finish().await;
}
