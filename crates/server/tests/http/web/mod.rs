//! The GUI from outside: what every page carries, and who may see it.

mod audit;
mod authority;
mod brokers;
mod bulk;
mod certificates;
mod diagnosis;
mod fleet;
mod issue;
mod lines;
mod live;
mod login;
mod origin;
mod tokens;
mod upload;
mod users;

use crate::common::Answer;
use crate::common::browser::{Browser, PASSWORD, local, logged_in};
use muster_ca::operator::Role;
use muster_server::web::{Method, Needs};

#[tokio::test]
async fn whoever_logs_in_sees_the_dashboard() {
    let (mut browser, server) = Browser::and_server().await;
    let sent_away = browser.get("/?a=b").await;
    assert_eq!(sent_away.status, 303);
    assert_eq!(sent_away.header("location"), Some("/login?next=%3Fa%3Db"));

    let page = browser.get("/login").await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("Test &#60;CA&#62;"), "{}", page.text());
    let refused = browser.log_in("admin", "wrong horse battery").await;
    assert_eq!(refused.status, 401);
    let stranger = browser.log_in("nobody", "wrong horse battery").await;
    assert_eq!(stranger.status, 401);
    let told = |answer: &Answer| {
        answer
            .text()
            .contains("the name, the password or the code is not right")
    };
    assert!(told(&refused) && told(&stranger));
    assert_eq!(browser.session(), None);

    let done = browser.log_in("admin", PASSWORD).await;
    assert_eq!((done.status, done.header("location")), (303, Some("/")));
    let cookies = done.headers("set-cookie");
    let session = cookies
        .iter()
        .find(|cookie| cookie.starts_with("muster_session="))
        .unwrap();
    assert!(
        session.contains("HttpOnly") && session.contains("SameSite=Strict"),
        "{session}"
    );
    assert!(!session.contains("Secure"), "plain HTTP on loopback: {session}");
    let page = browser.get("/").await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("Dashboard") && page.text().contains("admin"));
    server.finish().await;
}

#[tokio::test]
async fn the_dashboard_says_until_when_everything_works() {
    let (mut browser, server) = Browser::and_server().await;
    let site = server.enrol("site-9").await;
    browser.log_in("admin", PASSWORD).await;
    let page = browser.get("/").await.text();
    let end = site.parsed().not_after();
    let end = jiff::Timestamp::from_second(end.as_second()).unwrap().to_string();
    assert!(page.contains("Everything keeps working until"), "{page}");
    assert!(page.contains(&format!("datetime=\"{end}\"")), "{page}");
    assert!(page.contains("Then the certificate of site-9 ends"), "{page}");
    assert!(
        page.contains("unless somebody sees to it"),
        "step promises nothing: {page}"
    );
    assert!(
        page.contains("Certificates do not say where their revocation list is"),
        "{page}"
    );
    assert!(page.contains("Certificate issued: site-9"), "{page}");
    // Whoever may not read the audit log reads nothing of it here.
    let ca = server.edge.ca();
    ca.add_operator(local(), "looker", Role::Viewer).await.unwrap();
    ca.set_password(local(), "looker", PASSWORD).await.unwrap();
    browser.log_in("looker", PASSWORD).await;
    let page = browser.get("/").await.text();
    assert!(page.contains("Everything keeps working until") && !page.contains("Certificate issued"));
    server.finish().await;
}

#[tokio::test]
async fn every_page_carries_what_keeps_a_browser_in_check() {
    let (mut browser, server) = logged_in().await;
    for path in ["/", "/login", "/nothing", "/setup/guess"] {
        let page = browser.get(path).await;
        let policy = page.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"),
            "{policy}"
        );
        assert!(
            policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8"),
            "{path}"
        );
        let text = page.text();
        assert!(
            !text.contains(" style=") && !text.contains("<style") && !text.contains(" onclick="),
            "{path}"
        );
        assert!(
            !text.contains("//fonts") && !text.contains("src=\"http"),
            "{path}"
        );
    }
    assert_eq!(browser.get("/nothing").await.status, 404);
    // What a page asks for is there, and stays the same for ever.
    let page = browser.get("/").await.text();
    let files: Vec<_> = page
        .split('"')
        .filter(|part| part.starts_with("/static/"))
        .map(str::to_owned)
        .collect();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let answer = browser.get(&file).await;
        assert_eq!(answer.status, 200, "{file}");
        assert!(
            answer.header("cache-control").unwrap().contains("immutable"),
            "{file}"
        );
    }
    server.finish().await;
}

/// Every route that there is, with every role that must not have it: a page that is added later is tried, too.
#[tokio::test]
async fn a_role_goes_no_further_than_its_permissions() {
    let (mut browser, server) = Browser::and_server().await;
    let ca = server.edge.ca().clone();
    let roles = [Role::Admin, Role::Operator, Role::Viewer, Role::Auditor];
    for role in roles {
        let name = format!("some-{}", role.as_str());
        ca.add_operator(local(), &name, role).await.unwrap();
        ca.set_password(local(), &name, PASSWORD).await.unwrap();
    }
    for (method, path, needs) in muster_server::web::table() {
        let Needs::Permission(permission) = needs else {
            continue;
        };
        let path = format!("/{}", path.replace(['{', '}'], ""));
        let mut nobody = Browser::at(&server);
        let answer = ask(&mut nobody, method, &path).await;
        assert_eq!(answer.status, 303, "{path} without a session");
        assert!(answer.header("location").unwrap().starts_with("/login"), "{path}");
        for role in roles {
            if permission.is_given_to(role) {
                continue;
            }
            browser.log_in(&format!("some-{}", role.as_str()), PASSWORD).await;
            let answer = ask(&mut browser, method, &path).await;
            assert_eq!(answer.status, 403, "{path} as {role:?}");
        }
    }
    // The session counts for the GUI alone.
    browser.log_in("some-admin", PASSWORD).await;
    assert_eq!(browser.get("/api/v1/status").await.status, 401);
    let (_, key) = ca.add_operator(local(), "program", Role::Viewer).await.unwrap();
    let header = format!("Authorization: Bearer {}\r\n", *key);
    let request = browser.request("GET", "/api/v1/status", &header, "");
    assert_eq!(browser.send(&request).await.status, 200);
    server.finish().await;
}

/// Whoever looks at what only takes forms hears what it takes, and not that a role is missing.
#[tokio::test]
async fn what_only_takes_forms_cannot_be_looked_at() {
    let (mut browser, server) = Browser::and_server().await;
    let ca = server.edge.ca().clone();
    ca.add_operator(local(), "looker", Role::Viewer).await.unwrap();
    ca.set_password(local(), "looker", PASSWORD).await.unwrap();
    browser.log_in("looker", PASSWORD).await;
    let routes: Vec<_> = muster_server::web::table().collect();
    let mut tried = 0;
    for (_, path, _) in routes.iter().filter(|(method, ..)| *method == Method::Post) {
        let looked_at = |(method, other, _): &&(Method, &str, Needs)| *method == Method::Get && other == path;
        let address = format!("/{}", path.replace(['{', '}'], ""));
        if routes.iter().any(|route| looked_at(&route)) {
            continue;
        }
        let answer = browser.get(&address).await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("POST")),
            "{address}"
        );
        assert!(
            answer.text().contains("only takes what a form sends"),
            "{address}: {}",
            answer.text()
        );
        tried += 1;
    }
    assert!(tried > 10, "{tried}");
    server.finish().await;
}

async fn ask(browser: &mut Browser, method: Method, path: &str) -> Answer {
    match method {
        Method::Get => browser.get(path).await,
        Method::Post => browser.post(path, "").await,
    }
}

/// A browser asks for compressed answers, and gets what went wrong as a page in words of its own.
#[tokio::test]
async fn what_the_framework_refuses_is_a_page_like_any_other() {
    let (mut browser, server) = logged_in().await;
    let headers = "Sec-Fetch-Site: same-origin\r\nAccept-Encoding: gzip\r\n";
    let request = browser.request("GET", "/devices/%FF", headers, "");
    let zipped = browser.send(&request).await;
    assert_eq!(
        (zipped.status, zipped.header("content-encoding")),
        (400, Some("gzip"))
    );
    let plain = browser.get("/devices/%FF").await.text();
    assert!(
        plain.contains("class=\"shell\"") || plain.contains("<h1"),
        "{plain}"
    );
    let refused = browser.post("/theme", "").await;
    let text = refused.text();
    assert!(
        refused.status == 422 && text.contains("not the form of this page") && !text.contains("deserialize"),
        "{} {text}",
        refused.status
    );
    let long = format!("theme={}", "x".repeat(300 << 10));
    let refused = browser.post("/theme", &long).await;
    assert!(
        refused.status == 413 && refused.text().contains("longer than 256 KiB"),
        "{} {}",
        refused.status,
        refused.text()
    );
    let unknown = browser.get("/api/v1/nothing").await;
    assert_eq!(
        (unknown.status, unknown.refusal().as_str()),
        (404, "there is nothing at this path")
    );
    server.finish().await;
}

#[tokio::test]
async fn colours_are_chosen_and_given_back_to_the_system() {
    let (mut browser, server) = logged_in().await;
    let pressed = |page: &str| {
        let buttons = page.split("name=\"theme\" value=\"").skip(1);
        let pressed = buttons.filter(|button| {
            button
                .split('>')
                .next()
                .unwrap()
                .contains("aria-pressed=\"true\"")
        });
        pressed
            .map(|button| button.split('"').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    for (choice, theme) in [
        ("", None),
        ("light", Some("light")),
        ("dark", Some("dark")),
        ("system", None),
    ] {
        if !choice.is_empty() {
            let done = browser
                .post("/theme", &format!("theme={choice}&back=devices%3Fq%3Da"))
                .await;
            assert_eq!(
                (done.status, done.header("location")),
                (303, Some("/devices?q=a"))
            );
        }
        let page = browser.get("/devices").await.text();
        let said = page.split("<html").nth(1).unwrap().split('>').next().unwrap();
        let expected = theme.map(|theme| format!("data-theme=\"{theme}\""));
        assert!(
            expected.map_or(!said.contains("data-theme"), |text| said.contains(&text)),
            "{choice}: {said}"
        );
        assert_eq!(pressed(&page), [theme.unwrap_or("system")]);
    }
    // To come back to what is shown this once would lose it, so only a script, which stays, may change the colours there.
    let page = browser.get("/tokens/-/new").await.text();
    assert!(page.contains("class=\"menu theme\""), "{page}");
    let made = browser
        .post("/tokens/-/new", "for=one&name=site-1&profile=client&lifetime=24h")
        .await
        .text();
    assert!(made.contains("class=\"menu theme only-script\""), "{made}");
    server.finish().await;
}
