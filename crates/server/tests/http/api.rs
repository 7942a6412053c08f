//! `/api/v1` from outside: what its description says is what it does, for every route that the router has.

use std::collections::BTreeSet;

use crate::common::browser::{Browser, local};
use crate::common::{Answer, Server, csr};
use muster_backends::signer::generate;
use muster_ca::certificate::Serial;
use muster_ca::operator::Role;
use muster_pki::key::KeyKind;
use muster_server::protocols::rest::{Method, Needs, table};
use serde_json::Value;

/// A program that calls the API by the GUI's port.
struct Program {
    browser: Browser,
    key: String,
    /// The serial number of a certificate that is there.
    serial: String,
}

impl Program {
    fn stranger(server: &Server) -> Self {
        Self {
            browser: Browser::at(server),
            key: String::new(),
            serial: "0123456789abcdef".into(),
        }
    }

    async fn with_role(server: &Server, role: Role) -> Self {
        let name = format!("some-{}", role.as_str());
        let (_, key) = server.edge.ca().add_operator(local(), &name, role).await.unwrap();
        Self {
            key: key.to_string(),
            ..Self::stranger(server)
        }
    }

    async fn call(&mut self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(Value::to_string).unwrap_or_default();
        let key = match self.key.as_str() {
            "" => String::new(),
            key => format!("Authorization: Bearer {key}\r\n"),
        };
        let headers = format!("{key}Content-Type: application/json\r\n");
        let request = self
            .browser
            .request(method, &format!("/api/v1{path}"), &headers, &body);
        self.browser.send(&request).await
    }

    /// Calls a route as its description shows it, for something that is not there, and without changing anything.
    async fn rehearse(&mut self, document: &Value, method: Method, path: &str) -> Answer {
        let described = &document["paths"][path][method.as_str().to_lowercase()];
        let mut body = described["requestBody"]["content"]["application/json"]["example"].clone();
        if !body["csr"].is_null() {
            body["csr"] = csr("site-001", &generate(KeyKind::P256).unwrap()).into();
        }
        let mut path = path.replace("{act}", "suspend").replace("{step}", "activate");
        path = path.replace("{name}", "nobody").replace("{id}", "nothing");
        path = path.replace("{serial}", &self.serial);
        match method {
            Method::Get if path == "/search" => path.push_str("?q=nobody"),
            Method::Get => {}
            Method::Post | Method::Delete => path.push_str("?dry_run=true"),
        }
        self.call(method.as_str(), &path, Some(&body).filter(|body| !body.is_null()))
            .await
    }
}

async fn document(server: &Server) -> Value {
    let mut browser = Browser::at(server);
    let answer = browser.get("/api/v1/openapi.json").await;
    assert_eq!(answer.status, 200);
    answer.json()
}

/// What is wrong with a body or a query, why, and what helps.
#[tokio::test]
async fn what_cannot_be_read_is_refused_in_our_words() {
    let server = Server::start().await;
    let program = Program::with_role(&server, Role::Admin).await;
    let key = format!("Authorization: Bearer {}\r\n", program.key);
    let json = format!("{key}Content-Type: application/json\r\n");
    let long = format!("{{\"name\":\"{}\"}}", "a".repeat(3 << 20));
    for (headers, method, path, body, status, words) in [
        (
            &json,
            "POST",
            "/devices",
            "{",
            400,
            "the body is no JSON: EOF while parsing",
        ),
        (
            &json,
            "POST",
            "/devices",
            "{}",
            422,
            "members that this call takes: missing field `name`",
        ),
        (
            &json,
            "POST",
            "/devices",
            r#"{"name":7}"#,
            422,
            "name: invalid type",
        ),
        (&json, "POST", "/devices", "", 400, "send one JSON object"),
        (
            &json,
            "POST",
            "/devices",
            &long,
            413,
            "too long; send less at once",
        ),
        (
            &key,
            "POST",
            "/devices",
            "{}",
            415,
            "Content-Type: application/json",
        ),
        (
            &key,
            "GET",
            "/devices?limit=x",
            "",
            400,
            "question mark are none of this call: limit: invalid digit",
        ),
    ] {
        let request = program
            .browser
            .request(method, &format!("/api/v1{path}"), headers, body);
        let mut browser = Browser::at(&server);
        let answer = browser.send(&request).await;
        let said = answer.json();
        let message = said["message"].as_str().unwrap();
        assert_eq!(
            (answer.status, &said["status"]),
            (status, &Value::from(status)),
            "{message}"
        );
        assert!(
            message.contains(words) && !message.contains("deserialize"),
            "{message}"
        );
    }
    server.finish().await;
}

#[tokio::test]
async fn the_description_has_every_route_and_no_other() {
    let server = Server::start().await;
    let document = document(&server).await;
    let routes: BTreeSet<_> = table()
        .map(|(method, path, ..)| (path.to_owned(), method.as_str().to_lowercase()))
        .collect();
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<_> = paths
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(|method| (path.clone(), method.clone()))
        })
        .collect();
    assert_eq!(routes, described);
    assert!(routes.len() > 30);
    // The same on both ports.
    let other = server.api(&crate::common::get("/api/v1/openapi.json")).await;
    assert_eq!(other.json(), document);
    let mut nobody = Program::stranger(&server);
    for path in paths.keys() {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let answer = nobody.call(method, &path.replace(['{', '}'], ""), None).await;
            let there = routes.contains(&(path.clone(), method.to_lowercase()));
            assert_eq!(answer.status != 405, there, "{method} {path}: {}", answer.status);
        }
    }
    let places = |path: &str| path.matches('{').count();
    for (path, method) in &routes {
        let parameters = document["paths"][path][method]["parameters"].as_array();
        let in_path = parameters.into_iter().flatten().filter(|one| one["in"] == "path");
        let told = in_path.inspect(|one| assert_ne!(one["description"], "", "{path}"));
        assert_eq!(told.count(), places(path), "{path}");
    }
    server.finish().await;
}

#[tokio::test]
async fn a_role_may_what_the_description_says_and_no_more() {
    let server = Server::start().await;
    let document = document(&server).await;
    let roles = [Role::Admin, Role::Operator, Role::Viewer, Role::Auditor];
    let mut programs = Vec::new();
    let site = server.enrol("site-9").await;
    let serial = Serial::from_bytes(site.parsed().serial()).unwrap().hex();
    for role in roles {
        let mut program = Program::with_role(&server, role).await;
        program.serial.clone_from(&serial);
        programs.push((role, program));
    }
    let mut stranger = Program::stranger(&server);
    for (method, path, needs, _) in table() {
        let what = format!("{} {path}", method.as_str());
        stranger.key = String::new();
        let answer = stranger.rehearse(&document, method, path).await;
        assert_eq!(
            answer.status == 401,
            needs != Needs::Nothing,
            "{what} for nobody: {}",
            answer.status
        );
        let Needs::Permission(permission) = needs else {
            continue;
        };
        stranger.key = "mk_guessed".into();
        assert_eq!(
            stranger.rehearse(&document, method, path).await.status,
            401,
            "{what}"
        );
        let told = &document["paths"][path][method.as_str().to_lowercase()]["x-roles"];
        for (role, program) in &mut programs {
            let may = permission.is_given_to(*role);
            let said = told.as_array().unwrap().iter().any(|one| one == role.as_str());
            assert_eq!(said, may, "{what} {role:?}");
            let answer = program.rehearse(&document, method, path).await;
            let refused = answer.status == 401 || answer.text().contains("the role ");
            assert_eq!(
                refused,
                !may,
                "{what} as {role:?}: {} {}",
                answer.status,
                answer.text()
            );
        }
    }
    server.finish().await;
}

/// Whoever may not hears that, and nothing of what else is wrong.
#[tokio::test]
async fn the_role_is_judged_before_anything_else_is_read() {
    let server = Server::start().await;
    let mut viewer = Program::with_role(&server, Role::Viewer).await;
    let mut stranger = Program::stranger(&server);
    let mut judged = 0;
    for (method, path, needs, _) in table() {
        let Needs::Permission(permission) = needs else {
            continue;
        };
        let path = format!("{}?misspelt=1", path.replace(['{', '}'], ""));
        let nonsense = Value::from("nonsense");
        let body = (method != Method::Get).then_some(&nonsense);
        let what = format!("{} {path}", method.as_str());
        let answer = stranger.call(method.as_str(), &path, body).await;
        assert_eq!(answer.status, 401, "{what}: {}", answer.text());
        if !permission.is_given_to(Role::Viewer) {
            let answer = viewer.call(method.as_str(), &path, body).await;
            assert_eq!(answer.status, 403, "{what}: {}", answer.text());
            judged += 1;
        }
    }
    assert!(judged > 20, "{judged}");
    server.finish().await;
}

#[tokio::test]
async fn a_misspelt_word_does_nothing() {
    let server = Server::start().await;
    let document = document(&server).await;
    let mut admin = Program::with_role(&server, Role::Admin).await;
    let all = table().filter(|(_, _, needs, _)| *needs != Needs::Certificate);
    for (method, path, ..) in all {
        let described = &document["paths"][path][method.as_str().to_lowercase()];
        let body = &described["requestBody"]["content"]["application/json"];
        if !body.is_null() {
            let mut example = body["example"].clone();
            example["misspelt"] = true.into();
            let path = path.replace("{act}", "suspend").replace(['{', '}'], "");
            let answer = admin.call("POST", &path, Some(&example)).await;
            assert!([400, 422].contains(&answer.status), "{path}: {}", answer.status);
            assert!(answer.refusal().contains("misspelt"), "{path}: {}", answer.text());
        }
        let has_query = described["parameters"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["in"] == "query"));
        if method == Method::Get && has_query {
            let answer = admin.call("GET", &format!("{path}?misspelt=1"), None).await;
            assert_eq!(answer.status, 400, "{path}: {}", answer.text());
        }
    }
    let answer = admin.call("DELETE", "/tokens/x?dry-run=true", None).await;
    assert_eq!(answer.status, 400);
    server.finish().await;
}

/// `docs/api.md` lists the routes as they are.
#[test]
fn the_page_lists_every_route() {
    let rows: Vec<String> = table()
        .map(|(method, path, needs, does)| {
            let who = match needs {
                Needs::Permission(_) => {
                    let roles: Vec<_> = needs.roles().iter().map(|role| role.as_str()).collect();
                    roles.join(", ")
                }
                Needs::Token => "enrolment token".into(),
                Needs::Certificate => "device certificate".into(),
                Needs::Nothing => "everybody".into(),
            };
            format!(
                "| `{} {path}` | {} | {who} |",
                method.as_str(),
                does.trim_end_matches('.')
            )
        })
        .collect();
    let page = include_str!("../../../../docs/api.md");
    let on_page: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(on_page, rows, "it should say:\n{}", rows.join("\n"));
}
