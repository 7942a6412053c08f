//! "Why won't it connect?" in the GUI.

use crate::common::Server;
use crate::common::browser::{Browser, local, logged_in, went_to};
use muster_ca::device::DeviceName;
use muster_ca::diagnosis::{End, Knock};

fn knock(client_id: Option<&str>, end: End) -> Knock {
    Knock {
        address: [10, 0, 0, 5].into(),
        chain: Vec::new(),
        proved: false,
        server_name: None,
        client_id: client_id.map(str::to_owned),
        end,
    }
}

async fn world() -> (Browser, Server) {
    let (browser, server) = logged_in().await;
    let name = DeviceName::parse("site-1").unwrap();
    server
        .edge
        .ca()
        .create_device(local(), name, "client", "")
        .await
        .unwrap();
    (browser, server)
}

#[tokio::test]
async fn a_device_is_asked_for_by_name() {
    let (mut browser, server) = world().await;
    let page = browser.get("/diagnosis").await.text();
    assert!(page.contains("Which device?") && page.contains("muster doctor listen"));
    let found = browser.get("/diagnosis?device=site-1").await;
    assert_eq!(went_to(&found), "/devices/site-1#why");
    let none = browser.get("/diagnosis?device=%3Cb%3E").await;
    assert_eq!(none.status, 404);
    assert!(none.text().contains("device-refusal") && !none.text().contains("<b>\""));
    let device = browser.get("/devices/site-1").await.text();
    assert!(
        device.contains("<b>site-1 has no certificate: it has never enrolled.</b>"),
        "{device}"
    );
    assert!(device.contains("muster token create site-1"));
    server.finish().await;
}

#[tokio::test]
async fn a_button_switches_the_listener_on_and_off() {
    let (mut browser, server) = world().await;
    let on = browser.post("/diagnosis/on", "device=site-1").await;
    assert_eq!(went_to(&on), "/devices/site-1");
    assert!(server.edge.ca().diagnosis_until().is_some());
    let page = browser.get("/diagnosis").await.text();
    assert!(page.contains("Switch it off"), "{page}");
    assert_eq!(went_to(&browser.post("/diagnosis/off", "").await), "/diagnosis");
    assert!(server.edge.ca().diagnosis_until().is_none());
    server.finish().await;
}

#[tokio::test]
async fn who_came_stands_with_the_reason_and_harms_no_page() {
    let (mut browser, server) = world().await;
    let ca = server.edge.ca();
    ca.knocked(knock(Some("<script>x"), End::NoTls)).await.unwrap();
    ca.knocked(knock(None, End::UnknownCa)).await.unwrap();
    let page = browser.get("/diagnosis").await.text();
    assert!(
        page.contains("speaks without TLS") && page.contains("does not know the CA"),
        "{page}"
    );
    assert!(!page.contains("<script>x"));
    ca.knocked(knock(Some("site-1"), End::Finished)).await.unwrap();
    let page = browser.get("/devices/site-1").await.text();
    assert!(page.contains("someone claiming to be it"), "{page}");
    server.finish().await;
}
