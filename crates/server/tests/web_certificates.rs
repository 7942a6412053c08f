//! Issuing, looking and revoking in the GUI, by plain posts of forms as a browser without scripts sends them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod common;

use std::io::{Cursor, Read};

use common::browser::{Browser, PASSWORD, local};
use common::{Answer, csr};
use muster_backends::signer::generate;
use muster_ca::operator::Role;
use muster_pki::key::{KeyKind, PrivateKey};

/// Text as a form sends it.
fn field(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn form(name: &str, profile: &str, validity: &str, sans: &str) -> String {
    let [name, validity, sans] = [name, validity, sans].map(field);
    format!("name={name}&profile={profile}&validity={validity}&sans={sans}&key=here&csr=")
}

fn location(answer: &Answer) -> String {
    assert_eq!(answer.status, 303, "{}", answer.text());
    answer.header("location").unwrap().to_owned()
}

/// What stands beside a field.
fn beside(page: &str, field: &str) -> String {
    let start = format!("id=\"{field}-refusal\"");
    let found = page
        .split(&start)
        .nth(1)
        .unwrap_or_else(|| panic!("no place beside {field}"));
    found.split("</p>").next().unwrap().to_owned()
}

#[tokio::test]
async fn a_key_is_handed_out_to_who_asked_and_then_gone() {
    let (mut browser, server) = Browser::and_server().await;
    browser.log_in("admin", PASSWORD).await;
    let sent = form("mqtt.ak-sg.com", "server", "90 days", "10.0.80.50, emqx.local");
    let place = location(&browser.post("/issue", &sent).await);
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
    assert_eq!(location(&sent_away), place.replace("/issue/", "/certificates/"));
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
async fn a_preview_says_what_would_be_and_changes_nothing() {
    let (mut browser, server) = Browser::and_server().await;
    browser.log_in("admin", PASSWORD).await;
    let sent = form("site-001", "client", "12h", "");
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
    let odd = form("site-001", "client", "12h", "urn:$(id)");
    let text = browser.post("/issue/preview", &odd).await.text();
    assert!(text.contains("--san &#39;urn:$(id)&#39;"), "{text}");
    let odd = form("site-001", "client", "12h", "-x@example.org");
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
    let (mut browser, server) = Browser::and_server().await;
    browser.log_in("admin", PASSWORD).await;
    let script = "<script>alert(1)</script>";
    for (sent, field, why) in [
        (
            form(script, "client", "", ""),
            "name",
            "cannot be a device&#39;s name",
        ),
        (
            form("../etc", "client", "", ""),
            "name",
            "cannot be a device&#39;s name",
        ),
        (form("muster-ca", "client", "", ""), "name", "reserved"),
        (form("site-001", "nothing", "", ""), "profile", "nothing"),
        (
            form("site-001", "client", "soon", ""),
            "validity",
            "write it like 30d",
        ),
        (
            form("site-001", "client", "0d", ""),
            "validity",
            "more than nothing",
        ),
        (form("site-001", "client", "9000d", ""), "validity", "the profile"),
        (form("mqtt", "server", "", script), "sans", "alternative name"),
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
    let (mut browser, server) = Browser::and_server().await;
    browser.log_in("admin", PASSWORD).await;
    let key = generate(KeyKind::P256).unwrap();
    let sent = format!(
        "name=&profile=client&key=csr&csr={}",
        field(&csr("site-007", &key))
    );
    let place = location(&browser.post("/issue", &sent).await);
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

#[tokio::test]
async fn whoever_revokes_types_the_name() {
    let (mut browser, server) = Browser::and_server().await;
    browser.log_in("admin", PASSWORD).await;
    let mut serials = Vec::new();
    for _ in 0..2 {
        let place = location(&browser.post("/issue", &form("site-001", "client", "", "")).await);
        serials.push(place.rsplit('/').next().unwrap().to_owned());
    }
    assert_eq!(browser.get("/revoke?what=site-002").await.status, 404);
    // One of two, by its serial number.
    let page = browser.get(&format!("/revoke?what={}", serials[0])).await.text();
    assert!(page.contains("1 certificate of site-001 stops working"), "{page}");
    assert!(
        page.contains("1 certificate of site-001 goes on working"),
        "{page}"
    );
    let revoke =
        |what: &str, confirm: &str| format!("what={what}&reason=key-compromise&note=&confirm={confirm}");
    for wrong in ["", "site-002", "site-001x"] {
        let refused = browser.post("/revoke", &revoke(&serials[0], wrong)).await;
        assert_eq!(refused.status, 422);
        assert!(beside(&refused.text(), "confirm").contains("nothing was changed"));
    }
    let page = browser.get(&format!("/certificates/{}", serials[0])).await.text();
    assert!(page.contains("In force"), "{page}");
    let done = location(&browser.post("/revoke", &revoke(&serials[0], "site-001")).await);
    let done = browser.get(&done).await.text();
    assert!(
        done.contains("Unconfirmed") && done.contains("1 certificate of site-001 revoked."),
        "{done}"
    );
    let page = browser.get(&format!("/certificates/{}", serials[0])).await.text();
    assert!(
        page.contains("Revoked for good") && page.contains("key-compromise"),
        "{page}"
    );
    // A second time is refused, and says why.
    let again = browser.get(&format!("/revoke?what={}", serials[0])).await.text();
    assert!(again.contains("already revoked"), "{again}");

    // The whole device.
    let page = browser.get("/revoke?what=site-001").await.text();
    assert!(page.contains("can neither renew nor enrol again"), "{page}");
    location(&browser.post("/revoke", &revoke("site-001", "site-001")).await);
    let crl = browser.post("/revoke/crl/default", "").await.text();
    assert_eq!(
        crl.matches("BEGIN X509 CRL").count(),
        2,
        "the issuing CA's and the root's"
    );
    let list = browser.get("/certificates?status=revoked").await.text();
    assert!(serials.iter().all(|serial| list.contains(serial)), "{list}");
    let list = browser.get("/certificates?status=active").await.text();
    assert!(serials.iter().all(|serial| !list.contains(serial)), "{list}");
    server.finish().await;
}

#[tokio::test]
async fn a_viewer_looks_and_changes_nothing() {
    let (mut browser, server) = Browser::and_server().await;
    browser.log_in("admin", PASSWORD).await;
    let place = location(&browser.post("/issue", &form("site-001", "client", "", "")).await);
    let place = place.replace("/issue/", "/certificates/");
    let ca = server.edge.ca().clone();
    ca.add_operator(local(), "watcher", Role::Viewer).await.unwrap();
    ca.set_password(local(), "watcher", PASSWORD).await.unwrap();
    let mut watcher = Browser::at(&server);
    watcher.log_in("watcher", PASSWORD).await;
    let page = watcher.get(&place).await.text();
    assert!(
        page.contains("In force") && !page.contains("Shut it out"),
        "{page}"
    );
    let list = watcher.get("/certificates").await.text();
    assert!(
        list.contains("site-001") && !list.contains("Revoke the") && !list.contains("Issue certificate"),
        "{list}"
    );
    let sent = form("site-002", "client", "", "");
    assert_eq!(watcher.post("/issue", &sent).await.status, 403);
    let sent = "what=site-001&reason=unspecified&confirm=site-001";
    assert_eq!(watcher.post("/revoke", sent).await.status, 403);
    assert!(browser.get(&place).await.text().contains("In force"));
    server.finish().await;
}

/// Issues for each of these, and returns the serial numbers as a form sends them.
async fn issue_many(browser: &mut Browser, names: &[&str]) -> String {
    let mut form = String::new();
    for name in names {
        let place = location(&browser.post("/issue", &self::form(name, "client", "", "")).await);
        form.push_str(&format!("serial={}&", place.rsplit('/').next().unwrap()));
    }
    form
}

async fn are_active(browser: &mut Browser) -> usize {
    let list = browser.get("/certificates?status=active").await.text();
    list.matches("name=\"serial\"").count()
}

#[tokio::test]
async fn a_few_at_once_are_shown_first() {
    let (mut browser, server) = Browser::and_server().await;
    browser.log_in("admin", PASSWORD).await;
    let two = issue_many(&mut browser, &["site-001", "site-002"]).await;
    assert_eq!(browser.post("/revoke/many", "serial=").await.status, 400);
    let page = browser.post("/revoke/many", &two).await.text();
    assert!(
        page.contains("2 certificates of 2 devices stop working"),
        "{page}"
    );
    assert_eq!(are_active(&mut browser).await, 2, "looking changes nothing");
    let sure = format!("{two}sure=yes&reason=superseded&note=");
    let done = browser.post("/revoke/many", &sure).await;
    assert_eq!(location(&done), "/revoke/done");
    let page = browser.get("/revoke/done").await.text();
    assert!(
        page.contains("2 certificates revoked.") && page.contains("Unconfirmed"),
        "{page}"
    );
    assert_eq!(are_active(&mut browser).await, 0);
    assert_eq!(
        browser.post("/revoke/many", &sure).await.status,
        409,
        "all are revoked"
    );
    server.finish().await;
}

#[tokio::test]
async fn many_at_once_need_their_count_and_a_second_operator() {
    let (mut browser, server) = Browser::and_server().await;
    browser.log_in("admin", PASSWORD).await;
    let three = issue_many(&mut browser, &["site-001", "site-002", "site-003"]).await;
    let sure = |count: &str| format!("{three}sure=yes&reason=superseded&note=old&count={count}");
    for count in ["", "2", "33"] {
        let refused = browser.post("/revoke/many", &sure(count)).await;
        assert_eq!(refused.status, 422);
        assert!(beside(&refused.text(), "count").contains("nothing was changed"));
    }
    assert_eq!(
        location(&browser.post("/revoke/many", &sure("3")).await),
        "/revoke/waiting"
    );
    assert_eq!(are_active(&mut browser).await, 3, "nobody has agreed");
    let again = browser.post("/revoke/many", &sure("3")).await;
    assert!(
        again.status == 422 && again.text().contains("waits for a second operator"),
        "{}",
        again.text()
    );

    // Whoever asked cannot agree, however the form is sent.
    let page = browser.get("/revoke/waiting").await.text();
    let at = page
        .split("name=\"at\" value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    assert!(!page.contains("value=\"agree\""), "{page}");
    let agree = format!("act=agree&at={}", field(&at));
    let refused = browser.post("/revoke/waiting", &agree).await;
    assert!(
        refused.status == 422 && refused.text().contains("cannot agree"),
        "{}",
        refused.text()
    );

    let ca = server.edge.ca().clone();
    for (name, role) in [("second", Role::Operator), ("watcher", Role::Viewer)] {
        ca.add_operator(local(), name, role).await.unwrap();
        ca.set_password(local(), name, PASSWORD).await.unwrap();
    }
    let mut watcher = Browser::at(&server);
    watcher.log_in("watcher", PASSWORD).await;
    assert_eq!(watcher.post("/revoke/waiting", &agree).await.status, 403);
    let mut second = Browser::at(&server);
    second.log_in("second", PASSWORD).await;
    assert!(
        second
            .get("/revoke")
            .await
            .text()
            .contains("admin asked to revoke many")
    );
    let page = second.get("/revoke/waiting").await.text();
    assert!(
        page.contains("3 certificates of 3 devices") && page.contains("superseded: old"),
        "{page}"
    );
    assert_eq!(
        second
            .post("/revoke/waiting", "act=agree&at=2020-01-01T00:00:00Z")
            .await
            .status,
        404
    );
    assert_eq!(are_active(&mut browser).await, 3);
    assert_eq!(
        location(&second.post("/revoke/waiting", &agree).await),
        "/revoke/done"
    );
    assert_eq!(are_active(&mut browser).await, 0);
    assert!(
        browser
            .get("/revoke/waiting")
            .await
            .text()
            .contains("Nothing waits")
    );
    server.finish().await;
}

#[tokio::test]
async fn the_list_is_searched_sorted_paged_and_saved() {
    let (mut browser, server) = Browser::and_server().await;
    browser.log_in("admin", PASSWORD).await;
    for name in ["site-003", "site-001", "site-002", "mqtt-1"] {
        issue_many(&mut browser, &[name]).await;
    }
    let order = |page: &str| -> Vec<String> {
        let cells = page.split("<td class=\"key\">").skip(1);
        let name = |cell: &str| {
            cell.split("\">")
                .nth(1)
                .unwrap()
                .split('<')
                .next()
                .unwrap()
                .to_owned()
        };
        cells.map(name).collect()
    };
    let page = browser.get("/certificates").await.text();
    assert_eq!(order(&page), ["mqtt-1", "site-002", "site-001", "site-003"]);
    let page = browser
        .get("/certificates?sort=name&q=site-&limit=2")
        .await
        .text();
    assert_eq!(order(&page), ["site-001", "site-002"]);
    assert!(
        page.contains("muster cert list --limit 2 --search site- --sort name"),
        "{page}"
    );
    let link = |page: &str, rel: &str| {
        let (before, _) = page.split_once(&format!("\" rel=\"{rel}\"")).unwrap();
        before.rsplit('"').next().unwrap().replace("&#38;", "&")
    };
    let second = browser.get(&link(&page, "next")).await.text();
    assert_eq!(order(&second), ["site-003"]);
    let back = browser.get(&link(&second, "prev")).await.text();
    assert_eq!(order(&back), ["site-001", "site-002"]);
    assert_eq!(browser.get("/certificates?cursor=nonsense").await.status, 400);
    assert_eq!(browser.get("/certificates?status=nonsense").await.status, 400);
    // Fewer columns, and a search that nothing fits.
    let page = browser.get("/certificates?show=profile").await.text();
    assert!(
        page.contains("data-label=\"Profile\"") && !page.contains("data-label=\"Serial\""),
        "{page}"
    );
    let script = "%3Cscript%3Ealert(1)%3C/script%3E";
    let page = browser
        .get(&format!("/certificates?q={script}&profile={script}"))
        .await
        .text();
    assert!(
        page.contains("No certificate fits") && !page.contains("<script>alert"),
        "{page}"
    );
    // What is shown is what is saved.
    let csv = browser
        .get("/certificates/-/certificates.csv?q=site-&sort=name&limit=1")
        .await;
    assert!(
        csv.header("content-disposition")
            .unwrap()
            .contains("certificates.csv")
    );
    // In chunks, as they come.
    let csv = csv.text();
    let rows = csv.lines().filter(|line| line.contains(','));
    let names: Vec<_> = rows.map(|row| row.split(',').next().unwrap()).collect();
    assert_eq!(names, ["device", "site-001", "site-002", "site-003"]);
    let json = browser
        .get("/certificates/-/certificates.json?q=mqtt-1")
        .await
        .text();
    let json = &json[json.find('[').unwrap()..=json.rfind(']').unwrap()];
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(
        (json[0]["device"].as_str(), json.as_array().unwrap().len()),
        (Some("mqtt-1"), 1)
    );
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
        let sent = form(&format!("site-{number:03}"), "client", "", "");
        let browser = if number % 2 == 0 {
            &mut browser
        } else {
            &mut elsewhere
        };
        places.push(location(&browser.post("/issue", &sent).await));
    }
    let one_more = form("site-020", "client", "", "");
    let refused = browser.post("/issue", &one_more).await;
    assert_eq!(refused.status, 422);
    let text = refused.text();
    assert!(
        text.contains("20 keys that you asked for wait") && text.contains("the first is forgotten at"),
        "{text}"
    );
    let mut olga = Browser::at(&server);
    olga.log_in("olga", PASSWORD).await;
    location(&olga.post("/issue", &one_more).await);
    // What the refusal says helps.
    browser.post(&format!("{}/forget", places[0]), "").await;
    location(&browser.post("/issue", &form("site-021", "client", "", "")).await);
    server.finish().await;
}
