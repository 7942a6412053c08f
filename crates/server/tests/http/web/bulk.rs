//! Everything that fits a list at once: what is chosen, what is asked first, and what bounds it.

use crate::common::browser::{Browser, PASSWORD, local, logged_in};
use jiff::SignedDuration;
use muster_ca::Target;
use muster_ca::device::{DeviceName, State};
use muster_ca::list::CertificateList;
use muster_ca::operator::Role;
use muster_ca::registry::TokenWish;
use muster_pki::crl::Reason;

#[tokio::test]
async fn every_device_that_fits_is_suspended_with_the_count_typed() {
    let (mut browser, server) = logged_in().await;
    let ca = server.edge.ca();
    let name = |number: usize| DeviceName::parse(&format!("site-{number:03}")).unwrap();
    for number in 0..60 {
        ca.create_device(local(), name(number), "client", "")
            .await
            .unwrap();
    }
    let gate = DeviceName::parse("gate-1").unwrap();
    ca.create_device(local(), gate.clone(), "client", "")
        .await
        .unwrap();
    let list = browser.get("/devices?q=site&limit=10").await.text();
    assert!(
        list.contains("name=\"all\" value=\"?q=site&#38;limit=10\""),
        "{list}"
    );
    let all = "act=suspend&all=%3Fq%3Dsite%26limit%3D10";
    let asked = browser.post("/devices/-/selected", all).await.text();
    assert!(asked.contains("Suspend 60 devices?"), "{asked}");
    assert!(!asked.contains("gate-1"), "{asked}");
    let state = async |name: &DeviceName| ca.device(local(), name).await.unwrap().state;
    assert_eq!(
        state(&name(0)).await,
        State::New,
        "nothing is done before the count"
    );
    let names: String = (0..60).map(|number| format!("&name={}", name(number))).collect();
    let miscounted = format!("act=suspend{names}&count=61&note=");
    assert_eq!(browser.post("/devices/-/selected", &miscounted).await.status, 422);
    let counted = format!("act=suspend{names}&count=60&note=");
    assert_eq!(browser.post("/devices/-/selected", &counted).await.status, 303);
    assert_eq!(state(&name(0)).await, State::Suspended);
    assert_eq!(state(&name(59)).await, State::Suspended);
    assert_eq!(state(&gate).await, State::New);
    // Those that are suspended are resumed the same way, and no others.
    let resume = "act=resume&all=%3Fq%3Dsite%26limit%3D10";
    let asked = browser.post("/devices/-/selected", resume).await.text();
    assert!(asked.contains("Resume 60 devices?"), "{asked}");
    // To what it is done already it is not done again.
    assert_eq!(browser.post("/devices/-/selected", all).await.status, 409);
    let nonsense = browser.post("/devices/-/selected", "act=suspend&all=%3Fstate%3Dtired");
    assert_eq!(nonsense.await.status, 400);
    server.finish().await;
}

#[tokio::test]
async fn many_devices_are_revoked_when_a_second_operator_agrees() {
    let (mut browser, server) = logged_in().await;
    let ca = server.edge.ca().clone();
    for name in ["site-1", "site-2", "site-3"] {
        server.enrol(name).await;
    }
    let state = async |name: &str| {
        let name = DeviceName::parse(name).unwrap();
        ca.device(local(), &name).await.unwrap().state
    };
    let act = "act=revoke&name=site-1&name=site-2&name=site-3";
    let asked = browser.post("/devices/-/selected", act).await.text();
    assert!(asked.contains("need a second operator"), "{asked}");
    let counted = format!("{act}&count=3&reason=key-compromise&note=stolen");
    let sent = browser.post("/devices/-/selected", &counted).await;
    assert_eq!(sent.header("location"), Some("/revoke/waiting"));
    assert_eq!(state("site-1").await, State::Active, "nobody has agreed");

    ca.add_operator(local(), "second", Role::Operator).await.unwrap();
    ca.set_password(local(), "second", PASSWORD).await.unwrap();
    let mut second = Browser::at(&server);
    second.log_in("second", PASSWORD).await;
    let page = second.get("/revoke/waiting").await.text();
    assert!(page.contains("Revoke 3 devices?"), "{page}");
    assert!(
        page.contains("site-2") && page.contains("3 certificates"),
        "{page}"
    );
    let at = page.split("name=\"at\" value=\"").nth(1).unwrap();
    let at = at.split('"').next().unwrap().replace(':', "%3A");
    let agree = format!("act=agree&at={at}");
    assert_eq!(browser.post("/revoke/waiting", &agree).await.status, 422);
    assert_eq!(second.post("/revoke/waiting", &agree).await.status, 303);
    for name in ["site-1", "site-2", "site-3"] {
        assert_eq!(state(name).await, State::Revoked, "{name}");
    }
    // Retiring revokes, too; few of them need nobody else.
    let few = "act=retire&name=site-1&name=site-2&count=2&note=";
    let sent = browser.post("/devices/-/selected", few).await;
    assert_eq!(sent.header("location"), Some("/devices"));
    assert_eq!(state("site-1").await, State::Retired);
    server.finish().await;
}

#[tokio::test]
async fn every_certificate_that_fits_is_chosen() {
    let (mut browser, server) = logged_in().await;
    for name in ["site-1", "site-2", "gate-1"] {
        server.enrol(name).await;
    }
    let asked = browser.post("/revoke/many", "all=%3Fq%3Dsite").await;
    assert_eq!(asked.status, 200);
    let asked = asked.text();
    assert!(asked.contains("Revoke 2 certificates?"), "{asked}");
    assert!(!asked.contains("gate-1"), "{asked}");
    let none = browser.post("/revoke/many", "all=%3Fstatus%3Drevoked").await;
    assert_eq!(none.status, 409);
    server.finish().await;
}

#[tokio::test]
async fn several_tokens_are_withdrawn() {
    let (mut browser, server) = logged_in().await;
    let ca = server.edge.ca();
    let mut ids = Vec::new();
    for name in ["site-1", "site-2", "gate-1"] {
        let wish = TokenWish {
            device: Some(DeviceName::parse(name).unwrap()),
            wave: String::new(),
            uses: 1,
            profile: "client".into(),
            lifetime: SignedDuration::from_hours(24),
        };
        ids.push(ca.create_token(local(), wish).await.unwrap().0.id);
    }
    let page = browser.get("/tokens?q=site").await.text();
    assert!(page.contains("tokens/-/tokens.csv?q=site"), "{page}");
    let csv = browser.get("/tokens/-/tokens.csv?q=site").await.text();
    assert_eq!(csv.matches(',').count(), 3 * 10, "{csv}");
    let asked = browser.post("/tokens/-/withdraw", "all=%3Fq%3Dsite").await.text();
    assert!(
        asked.contains("Withdraw 2 tokens?") && asked.contains("good for 2 more names"),
        "{asked}"
    );
    let open = async |browser: &mut Browser| {
        let csv = browser.get("/tokens/-/tokens.csv?status=open").await.text();
        csv.matches(',').count() / 10 - 1
    };
    assert_eq!(open(&mut browser).await, 3, "nothing is done before");
    let sure = format!("sure=yes&id={}&id={}", ids[0], ids[1]);
    assert_eq!(browser.post("/tokens/-/withdraw", &sure).await.status, 303);
    assert_eq!(open(&mut browser).await, 1);
    assert_eq!(browser.post("/tokens/-/withdraw", &sure).await.status, 409);
    assert_eq!(browser.post("/tokens/-/withdraw", "sure=yes").await.status, 400);
    server.finish().await;
}

#[tokio::test]
async fn what_waits_can_be_rejected_when_nothing_of_it_is_left() {
    let (mut browser, server) = logged_in().await;
    for name in ["site-1", "site-2", "site-3"] {
        server.enrol(name).await;
    }
    let ca = server.edge.ca().clone();
    let mut list = CertificateList::default();
    list.paging.limit = 10;
    let all = ca.certificates(local(), list).await.unwrap();
    let fleet = all
        .items
        .into_iter()
        .filter(|one| one.device.as_str().starts_with("site-"));
    let serials: Vec<_> = fleet.map(|one| one.serial).collect();
    assert_eq!(serials.len(), 3);
    let named: String = serials.iter().map(|one| format!("serial={one}&")).collect();
    let sure = format!("{named}sure=yes&reason=superseded&note=&count=3");
    let sent = browser.post("/revoke/many", &sure).await;
    assert_eq!(
        sent.header("location"),
        Some("/revoke/waiting"),
        "{}",
        sent.text()
    );
    for serial in &serials {
        let target = Target::Certificate(serial.clone());
        ca.revoke(local(), target, Reason::Superseded, "").await.unwrap();
    }
    ca.add_operator(local(), "second", Role::Operator).await.unwrap();
    ca.set_password(local(), "second", PASSWORD).await.unwrap();
    let mut second = Browser::at(&server);
    second.log_in("second", PASSWORD).await;
    let page = second.get("/revoke/waiting").await;
    assert_eq!(page.status, 200);
    let page = page.text();
    assert!(page.contains("Nothing is left to revoke"), "{page}");
    assert!(!page.contains("value=\"agree\""), "{page}");
    let at = page.split("name=\"at\" value=\"").nth(1).unwrap();
    let at = at.split('"').next().unwrap().replace(':', "%3A");
    let rejected = second
        .post("/revoke/waiting", &format!("act=reject&at={at}"))
        .await;
    assert_eq!(rejected.header("location"), Some("/revoke"));
    assert!(
        second
            .get("/revoke/waiting")
            .await
            .text()
            .contains("Nothing waits")
    );
    server.finish().await;
}
