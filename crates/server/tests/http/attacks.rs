//! What attackers send, on every route that there is: paths that lead elsewhere, and script in every text that is shown.
//!
//! Wrong roles, forms of other sites, planted and stolen sessions, and guessed passwords are in `web.rs` and `api.rs`.

use std::collections::BTreeSet;

use crate::common::browser::{Browser, PASSWORD, local};
use crate::common::crawl::{attributes, crawl};
use crate::common::{Answer, Server};
use jiff::{SignedDuration, Timestamp};
use muster_ca::audit::Act;
use muster_ca::device::{Device, DeviceName, Kind, State};
use muster_ca::operator::{Operator, Role};
use muster_ca::ports::{Change, Write};
use muster_ca::token::EnrolmentToken;
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

/// Every page that a link leads to, none of which runs a script.
async fn look_round(browser: &mut Browser) -> Found {
    let mut found = Found::default();
    crawl(browser, |path, page| {
        inert(path, page);
        let text = page.text();
        found.shown += usize::from(text.contains("&#60;script&#62;alert"));
        found.fields.extend(attributes(&text, "name"));
        found.pages += 1;
    })
    .await;
    found
}

/// What can be reached by links.
#[derive(Default)]
struct Found {
    pages: usize,
    /// The names of the fields of every form.
    fields: BTreeSet<String>,
    /// How many pages show the script, as text.
    shown: usize,
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
    // Every form with script in every field that any page has.
    let again = browser.log_in("admin", PASSWORD).await;
    assert_eq!(again.status, 303, "{}", again.text());
    let fields = look_round(&mut browser).await.fields;
    assert!(fields.len() > 25, "{fields:?}");
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
    // One of those forms may have ended the session.
    let again = browser.log_in("admin", PASSWORD).await;
    assert_eq!(again.status, 303, "{}", again.text());
    let found = look_round(&mut browser).await;
    assert!(found.pages > 40, "{}", found.pages);
    assert!(
        found.shown >= 3,
        "the notes and the wave are shown, as text: {}",
        found.shown
    );
    server.finish().await;
}

/// What somebody may have put into the database by hand, or a rule may let through one day: names of devices, profiles,
/// waves and operators, and whole audit entries.
#[tokio::test]
async fn script_in_records_is_text_too() {
    let created: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    let act = |subject: &str| Act {
        at: created,
        actor: SCRIPT.into(),
        via: SCRIPT.into(),
        source: SCRIPT.into(),
        action: "device.created",
        subject: subject.into(),
        detail: serde_json::json!({ (SCRIPT): SCRIPT, "role": SCRIPT }).to_string(),
        dry_run: false,
    };
    let device = |name: &str| Write::Device {
        device: Device {
            name: DeviceName::restored(name.into()),
            kind: Kind::Client,
            state: State::Suspended,
            armed: false,
            profile: SCRIPT.into(),
            note: SCRIPT.into(),
            created,
            version: 1,
        },
        expected: None,
    };
    let token = EnrolmentToken {
        id: SCRIPT.into(),
        hash: [1; 32],
        device: Some(DeviceName::restored(SCRIPT.into())),
        wave: SCRIPT.into(),
        uses: 2,
        used: 0,
        profile: SCRIPT.into(),
        created,
        expires: created + SignedDuration::from_hours(24),
        withdrawn: None,
        by: SCRIPT.into(),
        recovers: false,
    };
    let operator = Operator {
        name: SCRIPT.into(),
        role: Role::Viewer,
        key: None,
        login: None,
        created,
    };
    let writes = vec![
        device(SCRIPT),
        device("site-1"),
        Write::Token(token),
        Write::Operator(operator),
    ];
    let changes = vec![
        Change {
            writes,
            act: act(SCRIPT),
        },
        Change {
            writes: Vec::new(),
            act: act("site-1"),
        },
    ];
    let server = Server::start_holding("127.0.0.1:0", "/", changes).await;
    assert!(server.edge.ca().set_first_password(PASSWORD).await.unwrap());
    let mut browser = Browser::at(&server);
    browser.log_in("admin", PASSWORD).await;
    let found = look_round(&mut browser).await;
    for page in ["/devices", "/tokens", "/users", "/audit", "/devices/site-1", "/"] {
        let text = browser.get(page).await.text();
        assert!(text.contains("&#60;script&#62;alert"), "{page} shows it: {text}");
    }
    assert!(found.shown > 10, "{}", found.shown);
    let search = browser.get(&format!("/search?q={}", percent(SCRIPT))).await;
    inert("/search", &search);
    for list in ["devices", "tokens", "operators", "audit"] {
        let answer = browser.get(&format!("/api/v1/{list}?format=csv")).await;
        inert(list, &answer);
    }
    server.finish().await;
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
