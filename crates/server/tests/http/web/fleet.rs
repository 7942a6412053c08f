//! Devices in the GUI, by plain posts of forms as a browser without scripts sends them.

use crate::common::Server;
use crate::common::browser::{PASSWORD, local, logged_in, went_to};
use jiff::SignedDuration;
use muster_ca::device::{DeviceName, State};
use muster_ca::operator::Role;

async fn register(server: &Server, name: &str, note: &str) {
    let name = DeviceName::parse(name).unwrap();
    let ca = server.edge.ca();
    ca.create_device(local(), name, "client", note).await.unwrap();
}

async fn state(server: &Server, name: &str) -> State {
    let name = DeviceName::parse(name).unwrap();
    server.edge.ca().device(local(), &name).await.unwrap().state
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
        made.contains("For recovery of site-001") && made.contains(">muster agent enrol</code>"),
        "{made}"
    );
    assert!(
        made.contains(">site-001:mt_") && !made.contains("enrol site-001"),
        "the code stands beside the line, not in it: {made}"
    );
    assert!(
        made.contains("data-copy=\"line\"") && made.contains("data-copy=\"code\""),
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
async fn lists_are_sorted_and_narrowed_by_their_address() {
    let (mut browser, server) = logged_in().await;
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
    assert_eq!(server.enrol_by_token("site-001", &secret).await.status, 200);
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
