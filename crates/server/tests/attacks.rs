//! What attackers send, on every route that there is: paths that lead elsewhere, and script in every text that is shown.
//!
//! Wrong roles, forms of other sites, planted and stolen sessions, and guessed passwords are in `web.rs` and `api.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod common;

use std::collections::BTreeSet;

use common::Answer;
use common::browser::{Browser, PASSWORD, local};
use muster_server::protocols::rest;
use muster_server::web::{self, Method};

/// Paths that a careless server would take for something else.
const TRICKS: [&str; 12] = [
    "..",
    "%2e%2e",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e%2fsetup-link",
    "..%5csetup-link",
    "%00",
    "site-1%00.pem",
    "%ff%fe",
    "%E2%80%AEsite-1",
    "site-1%0d%0aSet-Cookie:%20muster_session=x",
    "%252e%252e%252fsetup-link",
    "%3Cscript%3Ealert(1)%3C%2Fscript%3E",
];

fn tricks() -> impl Iterator<Item = String> {
    let endless = ["a".repeat(5_000), "%41".repeat(2_000)];
    TRICKS.into_iter().map(str::to_owned).chain(endless)
}

/// A path with a trick in the place of each of its parameters.
fn tricked(path: &str, trick: &str) -> String {
    let part = |part: &str| {
        if part.starts_with('{') {
            trick.to_owned()
        } else {
            part.to_owned()
        }
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

fn harmless(what: &str, answer: &Answer) {
    let text = answer.text();
    assert!(
        answer.status < 500 && answer.status != 200,
        "{what}: {} {text}",
        answer.status
    );
    assert!(
        !text.contains("root:x:") && !text.contains("a secret of the setup"),
        "{what}: {text}"
    );
    inert(what, answer);
    let planted = |cookie: &&str| cookie.starts_with("muster_session=x");
    assert!(!answer.headers("set-cookie").iter().any(planted), "{what}");
}

#[tokio::test]
async fn paths_lead_nowhere_else() {
    let (mut browser, server) = Browser::and_server().await;
    std::fs::write(server.path("setup-link"), "a secret of the setup").unwrap();
    let key = server.edge.ca().renew_api_key(local(), "admin").await.unwrap();
    browser.log_in("admin", PASSWORD).await;
    let before = server.edge.ca().counts().await.unwrap();
    let mut tried = 0;
    for trick in tricks() {
        for (method, path, _) in web::table().filter(|(_, path, _)| path.contains('{')) {
            let path = format!("/{}", tricked(path, &trick));
            let answer = match method {
                Method::Get => browser.get(&path).await,
                Method::Post => browser.post(&path, "").await,
            };
            harmless(&path, &answer);
            tried += 1;
        }
        for (method, path, ..) in rest::table().filter(|(_, path, ..)| path.contains('{')) {
            let path = format!("/api/v1{}", tricked(path, &trick));
            let headers = format!(
                "Authorization: Bearer {}\r\nContent-Type: application/json\r\n",
                *key
            );
            let body = if method == rest::Method::Post { "{}" } else { "" };
            let request = browser.request(method.as_str(), &path, &headers, body);
            harmless(&path, &browser.send(&request).await);
            tried += 1;
        }
    }
    assert!(tried > 500, "{tried}");
    assert_eq!(server.edge.ca().counts().await.unwrap(), before);
    server.finish().await;
}

const SCRIPT: &str = "'\"><script>alert(1)</script><img src=x onerror=alert(2)>";

/// Whether a page shows the text as text.
fn inert(what: &str, page: &Answer) {
    let html = page
        .header("content-type")
        .is_some_and(|kind| kind.starts_with("text/html"));
    let text = page.text();
    let alive = html && (text.contains("<script>alert") || text.contains("<img src=x"));
    assert!(!alive, "{what}: {text}");
    assert!(page.status < 500, "{what}: {}", page.status);
}

#[tokio::test]
async fn script_is_text_wherever_it_is_shown() {
    let (mut browser, server) = Browser::and_server().await;
    let ca = server.edge.ca().clone();
    let key = ca.renew_api_key(local(), "admin").await.unwrap();
    browser.log_in("admin", PASSWORD).await;
    let typed = percent(SCRIPT);
    // Every text of every call of the API; what is refused is repeated, too.
    let mut said = Vec::new();
    let mut document = browser.get("/api/v1/openapi.json").await.json();
    for (method, path, ..) in rest::table() {
        let described = &mut document["paths"][path][method.as_str().to_lowercase()];
        let example = described["requestBody"]["content"]["application/json"]["example"].take();
        for field in example.as_object().into_iter().flat_map(|fields| fields.keys()) {
            let mut body = example.clone();
            body[field] = if body[field].is_array() {
                serde_json::json!([SCRIPT])
            } else {
                SCRIPT.into()
            };
            for place in ["site-001", &typed] {
                let path = path.replace("{act}", "suspend").replace("{step}", "activate");
                let path = path
                    .split('/')
                    .map(|part| if part.starts_with('{') { place } else { part });
                let path = format!("/api/v1{}", path.collect::<Vec<_>>().join("/"));
                let headers = format!(
                    "Authorization: Bearer {}\r\nContent-Type: application/json\r\nUser-Agent: {SCRIPT}\r\n",
                    *key
                );
                let request = browser.request(method.as_str(), &path, &headers, &body.to_string());
                let answer = browser.send(&request).await;
                inert(&path, &answer);
                said.push(answer.status);
            }
        }
    }
    assert!(
        said.iter().filter(|status| **status == 200).count() > 5,
        "{said:?}"
    );
    // One of those calls has changed the password.
    ca.set_password(local(), "admin", PASSWORD).await.unwrap();
    browser.log_in("admin", PASSWORD).await;
    // What takes any words at all.
    server.enrol("site-7").await;
    for (path, form) in [
        (
            "/devices/-/new",
            format!("name=site-8&profile=client&note={typed}"),
        ),
        ("/devices/site-7/suspend", format!("note={typed}&confirm=site-7")),
        (
            "/tokens/-/new",
            format!("for=wave&wave={typed}&uses=5&profile=client&lifetime=24h"),
        ),
    ] {
        inert(path, &browser.post(path, &form).await);
    }
    // Every form with script in every field.
    let fields = [
        "name",
        "note",
        "wave",
        "uses",
        "names",
        "profile",
        "lifetime",
        "validity",
        "sans",
        "csr",
        "key",
        "reason",
        "confirm",
        "what",
        "serial",
        "count",
        "act",
        "at",
        "role",
        "password",
        "repeated",
        "current",
        "code",
        "totp",
        "code_password",
        "theme",
        "next",
        "for",
        "sure",
        "device",
    ];
    let all: Vec<_> = fields.iter().map(|field| format!("{field}={typed}")).collect();
    let all = all.join("&");
    for (method, path, _) in web::table() {
        let path = format!("/{}", tricked(path, &typed));
        match method {
            // It does not end, and what it sends is no page.
            Method::Get if path == "/live" => {}
            Method::Get => inert(
                &path,
                &browser
                    .get(&format!(
                        "{path}?{all}&q={typed}&sort={typed}&status={typed}&cursor={typed}"
                    ))
                    .await,
            ),
            Method::Post if path == "/logout" => {}
            Method::Post => inert(&path, &browser.post(&path, &all).await),
        }
    }
    // Every page that a link leads to.
    let again = browser.log_in("admin", PASSWORD).await;
    assert_eq!(again.status, 303, "{}", again.text());
    let mut seen = BTreeSet::from(["/".to_owned()]);
    let mut ahead: Vec<String> = seen.iter().cloned().collect();
    let mut shown = 0;
    while let Some(path) = ahead.pop() {
        let page = browser.get(&path).await;
        inert(&path, &page);
        let text = page.text();
        assert!(!text.is_empty() || path != "/", "{:?}", page.headers("location"));
        shown += usize::from(text.contains("&#60;script&#62;alert"));
        let links = text
            .split("href=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next());
        for link in links.filter(|link| link.starts_with('/') && !link.starts_with("/static/")) {
            let link = link.replace("&#38;", "&");
            if seen.len() < 400 && seen.insert(link.clone()) {
                ahead.push(link);
            }
        }
    }
    assert!(seen.len() > 40, "{seen:?}");
    assert!(shown >= 3, "the notes and the wave are shown, as text: {shown}");
    server.finish().await;
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
