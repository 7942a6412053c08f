//! Issuing in the GUI, by plain posts of forms as a browser without scripts sends them.

use std::io::{Cursor, Read};

use crate::common::browser::{Browser, PASSWORD, beside, field, issue_form, local, logged_in, went_to};
use crate::common::csr;
use muster_backends::signer::generate;
use muster_ca::operator::Role;
use muster_pki::key::{KeyKind, PrivateKey};

#[tokio::test]
async fn a_key_is_handed_out_to_who_asked_and_then_gone() {
    let (mut browser, server) = logged_in().await;
    let sent = issue_form("mqtt.ak-sg.com", "server", "90 days", "10.0.80.50, emqx.local");
    let place = went_to(&browser.post("/issue", &sent).await);
    assert!(place.starts_with("/issue/"), "{place}");
    let page = browser.get(&place).await;
    assert_eq!(
        (page.status, page.header("cache-control")),
        (200, Some("no-store"))
    );
    let text = page.text();
    assert!(
        text.contains("mqtt.ak-sg.com-certs.zip") && !text.contains("PRIVATE KEY"),
        "{text}"
    );
    let password = text
        .split("id=\"p12-password\">")
        .nth(1)
        .unwrap()
        .split('<')
        .next()
        .unwrap();
    assert!(password.len() >= 20, "{password}");

    let zip = browser
        .get(&format!("{place}/zip?broker=mqtt.example.org&port=8884"))
        .await;
    assert_eq!(zip.header("cache-control"), Some("no-store"));
    let named = "attachment; filename=\"mqtt.ak-sg.com-certs.zip\"";
    assert_eq!(zip.header("content-disposition"), Some(named));
    let mut archive = zip::ZipArchive::new(Cursor::new(zip.body)).unwrap();
    let names: Vec<_> = archive
        .file_names()
        .map(|name| name.unwrap().into_owned())
        .collect();
    let mut want = ["ca.crt", "mqtt.ak-sg.com.crt", "mqtt.ak-sg.com.key", "README.txt"]
        .map(|name| format!("mqtt.ak-sg.com/{name}"))
        .to_vec();
    want.sort();
    let mut sorted = names;
    sorted.sort();
    assert_eq!(sorted, want);
    let mut key = String::new();
    let mut file = archive.by_name("mqtt.ak-sg.com/mqtt.ak-sg.com.key").unwrap();
    file.read_to_string(&mut key).unwrap();
    let key = PrivateKey::from_pem(&key).unwrap();
    let chain = browser.get(&format!("{place}/crt")).await.text();
    let chain = muster_pki::cert::Certificate::all_from_pem(&chain).unwrap();
    assert_eq!(chain[0].key().fingerprint(), key.public().fingerprint());
    let days = chain[0]
        .not_after()
        .duration_since(chain[0].not_before())
        .as_hours()
        / 24;
    assert_eq!(days, 90);
    for form in ["pem", "p12", "der", "key.der", "k8s", "h", "key", "ca.crt"] {
        let answer = browser.get(&format!("{place}/{form}")).await;
        assert_eq!(
            (answer.status, answer.header("cache-control")),
            (200, Some("no-store")),
            "{form}"
        );
        assert!(!answer.body.is_empty(), "{form}");
    }
    assert_eq!(browser.get(&format!("{place}/nothing")).await.status, 404);

    // Another session of the same person gets the certificate, never the key.
    let mut other = Browser::at(&server);
    other.log_in("admin", PASSWORD).await;
    let sent_away = other.get(&place).await;
    assert_eq!(went_to(&sent_away), place.replace("/issue/", "/certificates/"));
    assert_eq!(other.get(&format!("{place}/key")).await.status, 410);
    // Nor does the page that stays.
    let stays = place.replace("/issue/", "/certificates/");
    assert_eq!(browser.get(&format!("{stays}/key")).await.status, 404);
    assert!(
        !browser
            .get(&format!("{stays}/pem"))
            .await
            .text()
            .contains("PRIVATE")
    );

    browser.post(&format!("{place}/forget"), "").await;
    assert_eq!(browser.get(&format!("{place}/key")).await.status, 410);
    server.finish().await;
}

#[tokio::test]
async fn keys_that_wait_are_counted_for_each_operator() {
    let (mut browser, server) = Browser::and_server().await;
    let ca = server.edge.ca();
    ca.add_operator(local(), "olga", Role::Operator).await.unwrap();
    ca.set_password(local(), "olga", PASSWORD).await.unwrap();
    browser.log_in("admin", PASSWORD).await;
    let mut elsewhere = Browser::at(&server);
    elsewhere.log_in("admin", PASSWORD).await;
    let mut places = Vec::new();
    for number in 0..20 {
        let sent = issue_form(&format!("site-{number:03}"), "client", "", "");
        let browser = if number % 2 == 0 {
            &mut browser
        } else {
            &mut elsewhere
        };
        places.push(went_to(&browser.post("/issue", &sent).await));
    }
    let one_more = issue_form("site-020", "client", "", "");
    let refused = browser.post("/issue", &one_more).await;
    assert_eq!(refused.status, 422);
    let text = refused.text();
    assert!(
        text.contains("20 keys that you asked for wait") && text.contains("the first is forgotten at"),
        "{text}"
    );
    let mut olga = Browser::at(&server);
    olga.log_in("olga", PASSWORD).await;
    went_to(&olga.post("/issue", &one_more).await);
    // What the refusal says helps.
    browser.post(&format!("{}/forget", places[0]), "").await;
    went_to(
        &browser
            .post("/issue", &issue_form("site-021", "client", "", ""))
            .await,
    );
    server.finish().await;
}

#[tokio::test]
async fn a_preview_says_what_would_be_and_changes_nothing() {
    let (mut browser, server) = logged_in().await;
    let sent = issue_form("site-001", "client", "12h", "");
    let page = browser.post("/issue/preview", &sent).await;
    let text = page.text();
    assert_eq!(page.status, 200);
    assert!(
        text.contains("<!doctype html>") && text.contains("in 12 hours"),
        "{text}"
    );
    assert!(
        text.contains("muster cert issue site-001 --kind client --validity 12h"),
        "{text}"
    );
    // What a shell would take for a command is one word of the line.
    let odd = issue_form("site-001", "client", "12h", "urn:$(id)");
    let text = browser.post("/issue/preview", &odd).await.text();
    assert!(text.contains("--san &#39;urn:$(id)&#39;"), "{text}");
    let odd = issue_form("site-001", "client", "12h", "-x@example.org");
    let text = browser.post("/issue/preview", &odd).await.text();
    assert!(
        text.contains("--san=-x@example.org") || text.contains("--san=&#39;-x@example.org"),
        "{text}"
    );
    let part = browser.request("POST", "/issue/preview", &htmx(&browser), &sent);
    let part = browser.send(&part).await.text();
    assert!(
        part.trim_start().starts_with("<section") && part.contains("in 12 hours"),
        "{part}"
    );
    let list = browser.get("/certificates").await.text();
    assert!(
        list.contains("Certificates stand here") && !list.contains("site-001"),
        "{list}"
    );
    server.finish().await;
}

fn htmx(browser: &Browser) -> String {
    let form = "Content-Type: application/x-www-form-urlencoded";
    format!(
        "{form}\r\nHX-Request: true\r\nOrigin: http://{}\r\n",
        browser.host
    )
}

#[tokio::test]
async fn refusals_stand_beside_the_field() {
    let (mut browser, server) = logged_in().await;
    let script = "<script>alert(1)</script>";
    for (sent, field, why) in [
        (
            issue_form(script, "client", "", ""),
            "name",
            "cannot be a device&#39;s name",
        ),
        (
            issue_form("../etc", "client", "", ""),
            "name",
            "cannot be a device&#39;s name",
        ),
        (issue_form("muster-ca", "client", "", ""), "name", "reserved"),
        (issue_form("site-001", "nothing", "", ""), "profile", "nothing"),
        (
            issue_form("site-001", "client", "soon", ""),
            "validity",
            "write it like 30d",
        ),
        (
            issue_form("site-001", "client", "0d", ""),
            "validity",
            "more than nothing",
        ),
        (
            issue_form("site-001", "client", "9000d", ""),
            "validity",
            "the profile",
        ),
        (
            issue_form("mqtt", "server", "", script),
            "sans",
            "alternative name",
        ),
        (
            "name=site-001&profile=client&key=csr&csr=nonsense".to_owned(),
            "csr",
            "no CERTIFICATE REQUEST",
        ),
    ] {
        let page = browser.post("/issue", &sent).await;
        let text = page.text();
        assert_eq!(page.status, 422, "{sent}: {text}");
        assert!(
            beside(&text, field).contains(why),
            "{field}: {}",
            beside(&text, field)
        );
        assert!(!text.contains(script), "{text}");
        let part = browser.request("POST", "/issue/preview", &htmx(&browser), &sent);
        assert!(
            beside(&browser.send(&part).await.text(), field).contains(why),
            "{field}"
        );
    }
    assert!(
        browser
            .get("/certificates")
            .await
            .text()
            .contains("Certificates stand here")
    );
    server.finish().await;
}

#[tokio::test]
async fn a_request_is_signed_and_its_key_stays_away() {
    let (mut browser, server) = logged_in().await;
    let key = generate(KeyKind::P256).unwrap();
    let sent = format!(
        "name=&profile=client&key=csr&csr={}",
        field(&csr("site-007", &key))
    );
    let place = went_to(&browser.post("/issue", &sent).await);
    assert!(place.starts_with("/certificates/"), "{place}");
    let page = browser.get(&place).await.text();
    assert!(page.contains("site-007") && page.contains("In force"), "{page}");
    // The configuration has the operator's own values, and only such as are names.
    let filled = browser
        .get(&format!("{place}?broker=mqtt.ak-sg.com&port=8884"))
        .await
        .text();
    assert!(filled.contains("address mqtt.ak-sg.com:8884"), "{filled}");
    for (query, field) in [("broker=a%0Ab&port=1", "broker"), ("broker=a&port=70000", "port")] {
        let refused = browser.get(&format!("{place}?{query}")).await.text();
        assert!(beside(&refused, field).contains("icon"), "{refused}");
    }
    let pem = browser.get(&format!("{place}/pem")).await.text();
    let all = muster_pki::cert::Certificate::all_from_pem(&pem).unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!(all[0].key().fingerprint(), key.public().fingerprint());
    assert_eq!(browser.get("/certificates/zz").await.status, 404);
    assert_eq!(browser.get("/certificates/0123456789abcdef").await.status, 404);
    server.finish().await;
}
