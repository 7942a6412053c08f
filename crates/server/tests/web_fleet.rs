//! Devices and enrolment tokens in the GUI, by plain posts of forms as a browser without scripts sends them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod common;

use common::browser::{Browser, PASSWORD, local};
use common::{Answer, Server, csr, post};
use jiff::SignedDuration;
use muster_backends::signer::generate;
use muster_ca::device::{DeviceName, State};
use muster_ca::list::{AuditList, Paging, TokenList};
use muster_ca::operator::Role;
use muster_ca::token::EnrolmentToken;
use muster_pki::key::KeyKind;
use serde_json::{Value, json};

async fn logged_in() -> (Browser, Server) {
    let (mut browser, server) = Browser::and_server().await;
    browser.log_in("admin", PASSWORD).await;
    (browser, server)
}

async fn register(server: &Server, name: &str, note: &str) {
    let name = DeviceName::parse(name).unwrap();
    let ca = server.edge.ca();
    ca.create_device(local(), name, "client", note).await.unwrap();
}

async fn state(server: &Server, name: &str) -> State {
    let name = DeviceName::parse(name).unwrap();
    server.edge.ca().device(local(), &name).await.unwrap().state
}

async fn tokens(server: &Server) -> Vec<EnrolmentToken> {
    let all = TokenList {
        paging: Paging {
            cursor: None,
            limit: 100,
        },
        ..TokenList::default()
    };
    server.edge.ca().tokens(local(), all).await.unwrap().items
}

/// Enrols with a token as a device does, with a new key.
async fn enrol(server: &Server, name: &str, secret: &str) -> Answer {
    let key = generate(KeyKind::P256).unwrap();
    let body = json!({ "token": secret, "csr": csr(name, &key) }).to_string();
    let request = post("/api/v1/enrol", &body).replace(
        "Content-Length",
        "Content-Type: application/json\r\nContent-Length",
    );
    server.api(&request).await
}

fn went_to(answer: &Answer) -> &str {
    assert_eq!(answer.status, 303, "{}", answer.text());
    answer.header("location").unwrap()
}

#[tokio::test]
async fn the_list_is_searched_filtered_paged_and_saved() {
    let (mut browser, server) = logged_in().await;
    let empty = browser.get("/devices").await.text();
    assert!(empty.contains("Devices stand here"));
    for number in 0..30 {
        register(&server, &format!("site-{number:03}"), "<script>alert(1)</script>").await;
    }
    register(&server, "hub-south", "=1+1").await;

    let page = browser.get("/devices?limit=25").await.text();
    assert!(page.contains("hub-south") && page.contains("site-023") && !page.contains("site-024"));
    assert!(!page.contains("<script>alert"));
    let next = page.split("rel=\"next\"").next().unwrap();
    let next = next.rsplit("href=\"").next().unwrap().split('"').next().unwrap();
    let next = browser.get(&next.replace("&#38;", "&")).await.text();
    assert!(next.contains("site-024") && next.contains("site-029") && !next.contains("site-023"));

    let found = browser.get("/devices?q=HUB").await.text();
    assert!(found.contains("hub-south") && !found.contains("site-001"));
    assert!(found.contains("muster device list --limit 50 --search HUB"));
    let dashed = browser.get("/devices?q=-x").await.text();
    assert!(
        dashed.contains("muster device list --limit 50 --search=-x"),
        "{dashed}"
    );
    let none = browser.get("/devices?state=revoked").await.text();
    assert!(none.contains("No device is like that"));
    assert_eq!(browser.get("/devices?state=tired").await.status, 400);
    let narrow = browser.get("/devices?show=kind").await.text();
    assert!(
        narrow.contains("<th scope=\"col\">Kind</th>") && !narrow.contains("<th scope=\"col\">Profile</th>")
    );
    let script = browser
        .get("/devices?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
        .await
        .text();
    assert!(!script.contains("<script>alert"), "{script}");

    let csv = browser.get("/devices/-/devices.csv?q=hub").await;
    assert_eq!(
        csv.header("content-disposition"),
        Some("attachment; filename=\"devices.csv\"")
    );
    let csv = csv.text();
    assert!(
        csv.contains("name,kind,state,profile,created,note")
            && csv.contains("'=1+1")
            && !csv.contains("site-"),
        "{csv}"
    );
    let json = browser.get("/devices/-/devices.json").await.text();
    assert_eq!(json.matches("\"name\"").count(), 31);
    server.finish().await;
}

#[tokio::test]
async fn a_device_lives_through_its_states() {
    let (mut browser, server) = logged_in().await;
    let made = browser
        .post("/devices/-/new", "name=site-001&profile=client&note=roof")
        .await;
    assert_eq!(went_to(&made), "/devices/site-001");
    let again = browser
        .post("/devices/-/new", "name=site-001&profile=client")
        .await;
    assert_eq!(again.status, 422);
    assert!(again.text().contains("exists already") && again.text().contains("value=\"site-001\""));
    let bad = browser.post("/devices/-/new", "name=Site+1&profile=client").await;
    assert!(bad.status == 422 && bad.text().contains("name-refusal"));

    server.enrol("site-001").await;
    let page = browser.get("/devices/site-001").await.text();
    assert!(
        page.contains("Healthy") && page.contains("Good until") && page.contains("step"),
        "{page}"
    );
    let form = browser.get("/devices/site-001/suspend").await.text();
    assert!(form.contains("1 certificate goes on hold"), "{form}");
    assert_eq!(
        state(&server, "site-001").await,
        State::Active,
        "looking changes nothing"
    );
    browser.post("/devices/site-001/suspend", "note=lost").await;
    assert_eq!(state(&server, "site-001").await, State::Suspended);
    let list = browser.get("/devices").await.text();
    let trouble = list.split("Needs somebody").nth(1).unwrap();
    assert!(trouble.split("</section>").next().unwrap().contains("site-001"));
    assert_eq!(browser.get("/devices/site-001/suspend").await.status, 409);
    browser.post("/devices/site-001/resume", "").await;
    assert_eq!(state(&server, "site-001").await, State::Active);

    let form = browser.get("/devices/site-001/recover").await.text();
    assert!(form.contains("1 certificate works until then"), "{form}");
    let made = browser.post("/devices/site-001/recover", "").await.text();
    assert!(
        made.contains("For recovery of site-001") && made.contains("muster agent enrol site-001:mt_"),
        "{made}"
    );
    let many = browser
        .post("/devices/-/selected", "act=recover&name=site-001")
        .await;
    assert_eq!(many.status, 404, "codes are shown one by one");

    let wrong = browser
        .post(
            "/devices/site-001/revoke",
            "reason=key-compromise&confirm=site-002",
        )
        .await;
    assert!(wrong.status == 422 && wrong.text().contains("this is not site-001"));
    assert_eq!(state(&server, "site-001").await, State::Active);
    let no_reason = browser
        .post("/devices/site-001/revoke", "reason=bored&confirm=site-001")
        .await;
    assert_eq!(no_reason.status, 422, "{}", no_reason.text());
    let done = browser
        .post(
            "/devices/site-001/revoke",
            "reason=key-compromise&confirm=site-001",
        )
        .await;
    assert_eq!(went_to(&done), "/devices/site-001");
    assert_eq!(state(&server, "site-001").await, State::Revoked);
    let page = browser.get("/devices/site-001").await.text();
    assert!(
        page.contains("is revoked: 1 certificate. No broker has confirmed it yet."),
        "{page}"
    );
    browser.post("/devices/site-001/rearm", "").await;
    assert_eq!(state(&server, "site-001").await, State::New);
    assert_eq!(browser.post("/devices/site-001/retire", "").await.status, 422);
    browser.post("/devices/site-001/retire", "confirm=site-001").await;
    assert_eq!(state(&server, "site-001").await, State::Retired);
    assert_eq!(browser.get("/devices/nobody").await.status, 404);
    assert_eq!(browser.get("/devices/site-001/dance").await.status, 404);
    server.finish().await;
}

#[tokio::test]
async fn several_devices_need_the_count() {
    let (mut browser, server) = logged_in().await;
    for number in 1..=3 {
        server.enrol(&format!("site-{number}")).await;
    }
    assert_eq!(
        browser.post("/devices/-/selected", "act=revoke").await.status,
        400
    );
    let chosen = "act=revoke&name=site-1&name=site-2";
    let form = browser.post("/devices/-/selected", chosen).await.text();
    assert!(
        form.contains("Revoke 2 devices?") && form.contains("2 certificates are revoked for good"),
        "{form}"
    );
    let wrong = browser
        .post(
            "/devices/-/selected",
            &format!("{chosen}&count=3&reason=unspecified"),
        )
        .await;
    assert!(wrong.status == 422 && wrong.text().contains("2 devices are chosen"));
    assert_eq!(state(&server, "site-1").await, State::Active);
    let done = browser
        .post(
            "/devices/-/selected",
            &format!("{chosen}&count=2&reason=superseded"),
        )
        .await;
    assert_eq!(went_to(&done), "/devices");
    assert_eq!(state(&server, "site-1").await, State::Revoked);
    assert_eq!(state(&server, "site-2").await, State::Revoked);
    assert_eq!(state(&server, "site-3").await, State::Active);
    // One that cannot is told before anything is done.
    let mixed = browser
        .post("/devices/-/selected", "act=suspend&name=site-2&name=site-3")
        .await;
    assert!(mixed.status == 409 && mixed.text().contains("site-2"));
    assert_eq!(state(&server, "site-3").await, State::Active);
    server.finish().await;
}

/// The gate keeps them out; here, that the pages do not offer it.
#[tokio::test]
async fn a_viewer_is_offered_nothing() {
    let (mut browser, server) = logged_in().await;
    server.enrol("site-001").await;
    let ca = server.edge.ca();
    ca.add_operator(local(), "eve", Role::Viewer).await.unwrap();
    ca.set_password(local(), "eve", PASSWORD).await.unwrap();
    browser.log_in("eve", PASSWORD).await;
    for path in ["/devices", "/devices/site-001", "/tokens"] {
        let page = browser.get(path).await.text();
        assert!(page.contains("eve"), "{path}");
        for offer in [
            "-/new",
            "-/selected",
            "/suspend",
            "/revoke\"",
            "type=\"checkbox\" name=\"name\"",
        ] {
            assert!(!page.contains(offer), "{path} offers {offer}");
        }
    }
    assert_eq!(browser.post("/devices/site-001/suspend", "").await.status, 403);
    assert_eq!(state(&server, "site-001").await, State::Active);
    server.finish().await;
}

#[tokio::test]
async fn a_token_is_shown_once_used_and_taken_back() {
    let (mut browser, server) = logged_in().await;
    let made = browser
        .post(
            "/tokens/-/new",
            "for=one&name=site-009&profile=client&lifetime=24h",
        )
        .await;
    assert_eq!(
        (made.status, made.header("cache-control")),
        (200, Some("no-store"))
    );
    let page = made.text();
    let secret = page
        .split("id=\"secret\" tabindex=\"0\">")
        .nth(1)
        .unwrap()
        .split('<')
        .next()
        .unwrap();
    assert!(
        secret.starts_with("mt_") && page.contains("<svg class=\"qr\""),
        "{page}"
    );
    let line = format!("muster agent enrol site-009:{secret}@ca.example.org:9000/");
    assert!(page.contains(&line), "{page}");
    let token = tokens(&server).await.remove(0);
    let path = format!("/tokens/{}", token.id);
    for path in ["/tokens", &path] {
        let page = browser.get(path).await.text();
        assert!(
            page.contains("0 of 1") && page.contains("data-live") && !page.contains(secret),
            "{path}"
        );
    }

    assert_eq!(enrol(&server, "site-009", secret).await.status, 200);
    let page = browser.get(&path).await.text();
    assert!(page.contains("1 of 1") && page.contains("Used up"), "{page}");
    let device = browser.get("/devices/site-009").await.text();
    assert!(device.contains(&path), "the device says which token it came with");
    assert_eq!(
        enrol(&server, "site-009", secret).await.status,
        403,
        "another key"
    );
    let other = browser.post(&format!("{path}/unbind"), "name=site-008").await;
    assert_eq!(other.status, 422);
    assert_eq!(
        went_to(
            &browser
                .post(&format!("{path}/unbind"), "name=site-009&note=stolen")
                .await
        ),
        path
    );
    assert_eq!(enrol(&server, "site-009", secret).await.status, 200);

    assert_eq!(browser.get(&format!("{path}/withdraw")).await.status, 200);
    assert!(
        tokens(&server).await[0].withdrawn.is_none(),
        "looking changes nothing"
    );
    assert_eq!(
        went_to(&browser.post(&format!("{path}/withdraw"), "").await),
        path
    );
    assert!(tokens(&server).await[0].withdrawn.is_some());
    assert_eq!(browser.get("/tokens/0000").await.status, 404);
    assert_eq!(browser.get("/tokens/%7E").await.status, 404);
    server.finish().await;
}

#[tokio::test]
async fn a_wave_and_a_list_of_names() {
    let (mut browser, server) = logged_in().await;
    for bad in [
        "for=wave&wave=&uses=10&profile=client&lifetime=24h",
        "for=wave&wave=spring&uses=0&profile=client&lifetime=24h",
        "for=wave&wave=spring&uses=many&profile=client&lifetime=24h",
        "for=one&name=Bad+Name&profile=client&lifetime=24h",
        "for=one&name=site-1&profile=nothing&lifetime=24h",
        "for=one&name=site-1&profile=client&lifetime=400d",
        "for=list&names=&profile=client&lifetime=24h",
        "for=list&names=site-1%0ASite+2&profile=client&lifetime=24h",
        "for=list&names=site-1%0Asite-1&profile=client&lifetime=24h",
    ] {
        let answer = browser.post("/tokens/-/new", bad).await;
        assert_eq!(answer.status, 422, "{bad}");
        assert!(
            answer.text().contains("refusal") || answer.text().contains("role=\"alert\""),
            "{bad}"
        );
    }
    assert!(tokens(&server).await.is_empty());

    let wave = browser
        .post(
            "/tokens/-/new",
            "for=wave&wave=spring&uses=2&profile=client&lifetime=7d",
        )
        .await;
    assert!(wave.text().contains("2 of them may come"));
    let list = "for=list&names=name,kind%0D%0Asite-1,client%0D%0Asite-2,client%0D%0A&wave=autumn&profile=client&lifetime=24h";
    let csv = browser.post("/tokens/-/new", list).await;
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(csv.header("cache-control"), Some("no-store"));
    let csv = csv.text();
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(
        rows[0][..6],
        ["id", "device", "wave", "uses", "expires", "secret"]
    );
    assert_eq!((rows[1][1], rows[2][1], rows.len()), ("site-1", "site-2", 3));
    assert_eq!(enrol(&server, "site-1", rows[1][5]).await.status, 200);
    assert_eq!(
        enrol(&server, "site-1", rows[2][5]).await.status,
        403,
        "each is for its own name"
    );
    assert_eq!(tokens(&server).await.len(), 3);
    // The same as a sheet to print; more than it holds are not made.
    let sheet = "for=list&names=site-3%0Asite-4&wave=autumn&profile=client&lifetime=24h&as=sheet";
    let page = browser.post("/tokens/-/new", sheet).await;
    assert_eq!(
        (page.status, page.header("cache-control")),
        (200, Some("no-store"))
    );
    let page = page.text();
    assert_eq!(page.matches("<svg class=\"qr\"").count(), 2, "{page}");
    assert!(
        page.contains("2 tokens of autumn") && page.contains("Print this page now"),
        "{page}"
    );
    let lines: Vec<_> = page
        .split("<code class=\"break\">muster agent enrol ")
        .skip(1)
        .collect();
    assert!(lines.len() == 2 && lines[0] != lines[1], "{page}");
    assert_eq!(tokens(&server).await.len(), 5);
    let many: String = (0..101).map(|number| format!("site-{number}%0A")).collect();
    let refused = browser
        .post(
            "/tokens/-/new",
            &format!("for=list&names={many}&profile=client&lifetime=24h&as=sheet"),
        )
        .await;
    assert_eq!(refused.status, 422);
    assert!(
        refused.text().contains("at most 100 names, and these are 101"),
        "{}",
        refused.text()
    );
    assert_eq!(tokens(&server).await.len(), 5);
    let entries = server.edge.ca().audit(
        local(),
        AuditList {
            paging: Paging {
                cursor: None,
                limit: 10,
            },
            ..AuditList::default()
        },
    );
    let entries = entries.await.unwrap();
    let act = entries
        .items
        .iter()
        .find(|entry| entry.subject == "autumn")
        .unwrap();
    let detail: Value = serde_json::from_str(&act.detail).unwrap();
    assert_eq!(detail["tokens"].as_array().unwrap().len(), 2);
    assert!(!act.detail.contains("mt_"));
    server.finish().await;
}

#[tokio::test]
async fn lists_are_sorted_and_narrowed_by_their_address() {
    let (mut browser, server) = Browser::and_server().await;
    browser.log_in("admin", PASSWORD).await;
    let ca = server.edge.ca();
    for (name, profile) in [
        ("b-site", "client"),
        ("a-site", "client"),
        ("mqtt.example.org", "server"),
    ] {
        let name = DeviceName::parse(name).unwrap();
        ca.create_device(local(), name, profile, "").await.unwrap();
    }
    let order = |page: &str, names: [&str; 2]| {
        let at = |name: &str| page.find(&format!("/devices/{name}\">")).unwrap();
        at(names[0]) < at(names[1])
    };
    let by_name = browser.get("/devices").await.text();
    assert!(
        by_name.contains("aria-sort=\"ascending\"><a href=\"/devices?sort=%2Dname\">Device"),
        "{by_name}"
    );
    assert!(order(&by_name, ["a-site", "b-site"]));
    let turned = browser.get("/devices?sort=-name").await.text();
    assert!(order(&turned, ["b-site", "a-site"]) && turned.contains("aria-sort=\"descending\""));
    let by_age = browser.get("/devices?sort=created").await.text();
    assert!(
        by_age.contains("aria-sort=\"ascending\"><a href=\"/devices?sort=%2Dcreated\">"),
        "{by_age}"
    );
    let servers = browser.get("/devices?kind=server&sort=-name").await.text();
    assert!(
        servers.contains("mqtt.example.org") && !servers.contains("a-site"),
        "{servers}"
    );
    assert!(
        servers.contains("href=\"/devices?sort=%2Dname\" aria-current=\"true\">kind: server"),
        "{servers}"
    );
    assert!(
        servers.contains("muster device list --limit 50 --kind server --sort=-name"),
        "{servers}"
    );
    let clients = browser.get("/devices?profile=client").await.text();
    assert!(clients.contains("a-site") && !clients.contains("mqtt.example.org"));
    assert_eq!(browser.get("/devices?kind=toaster").await.status, 400);
    // The page before is a link, too.
    let first = browser.get("/devices?limit=1").await.text();
    let next = first
        .split("rel=\"next\"")
        .next()
        .unwrap()
        .rsplit("href=\"")
        .next()
        .unwrap();
    let next = next.split('"').next().unwrap().replace("&#38;", "&");
    let second = browser.get(&next).await.text();
    assert!(
        second.contains("rel=\"prev\"") && second.contains("b-site"),
        "{second}"
    );
    server.finish().await;
}

/// The date on the dashboard is when somebody has to do something.
#[tokio::test]
async fn what_renews_by_itself_ends_nothing_until_it_is_late() {
    let (mut browser, server) = logged_in().await;
    let ca = server.edge.ca();
    let first_end = async || ca.standing(local()).await.unwrap().first_end.unwrap();
    let before = first_end().await;
    let wish = muster_ca::registry::TokenWish {
        device: Some(DeviceName::parse("site-001").unwrap()),
        wave: String::new(),
        uses: 1,
        profile: "client".into(),
        lifetime: SignedDuration::from_hours(24),
    };
    let (_, secret) = ca.create_token(local(), wish).await.unwrap();
    assert_eq!(enrol(&server, "site-001", &secret).await.status, 200);
    assert_eq!(first_end().await, before, "its agent renews it in time");
    // A 30-day certificate with more than a quarter of its time left, and with less.
    server.pass(SignedDuration::from_hours(22 * 24));
    assert_eq!(first_end().await, before);
    server.pass(SignedDuration::from_hours(24));
    let late = first_end().await;
    assert_eq!(
        (late.what.as_str(), late.by_itself),
        ("the certificate of site-001", true)
    );
    browser.log_in("admin", PASSWORD).await;
    let page = browser.get("/").await.text();
    assert!(
        page.contains("since the device has not renewed it when it should have"),
        "{page}"
    );
    assert!(
        page.contains(">See the device</a>") && !page.contains("Nothing needs you"),
        "{page}"
    );
    server.finish().await;
}
