//! What a page shows or does, programs do too: each says how, as a command or as a call of the API.

use crate::common::browser::{Browser, PASSWORD, local};
use crate::common::crawl::crawl;
use jiff::{SignedDuration, Timestamp};
use muster_ca::device::DeviceName;
use muster_ca::list::AuditList;
use muster_ca::operator::Role;
use muster_ca::registry::TokenWish;
use muster_server::web::Method;

/// They say it once something is typed.
const LATER: [&str; 3] = ["/issue", "/revoke", "/search"];

#[tokio::test]
async fn every_page_says_how_programs_do_it() {
    let (mut browser, server) = Browser::and_server().await;
    let ca = server.edge.ca().clone();
    server.enrol("site-7").await;
    ca.create_device(local(), DeviceName::parse("site-8").unwrap(), "client", "")
        .await
        .unwrap();
    let wish = TokenWish {
        device: None,
        wave: "spring".into(),
        uses: 3,
        profile: "client".into(),
        lifetime: SignedDuration::from_hours(24),
    };
    ca.create_token(local(), wish).await.unwrap();
    ca.add_operator(local(), "bob", Role::Viewer).await.unwrap();
    browser.log_in("admin", PASSWORD).await;
    let (mut pages, mut silent, mut scripted) = (0, Vec::new(), 0);
    crawl(&mut browser, |path, page| {
        let text = page.text();
        if page.status != 200 || !text.contains("class=\"shell\"") {
            return;
        }
        pages += 1;
        // What only a script can do is not there without one.
        for tag in text.split('<').filter_map(|rest| rest.split('>').next()) {
            if tag.contains(" data-copy=") || tag.contains(" data-all") {
                assert!(tag.contains("only-script"), "{path}: {tag}");
                scripted += 1;
            }
        }
        let place = path.split('?').next().unwrap();
        if !text.contains("class=\"lines\"") && !LATER.contains(&place) {
            silent.push(path.to_owned());
        }
    })
    .await;
    assert!(pages > 40 && scripted > 40, "{pages} {scripted}");
    assert!(silent.is_empty(), "{silent:?}");
    // What comes of forms.
    for (path, form) in [
        ("/devices/-/selected", "act=suspend&name=site-7&name=site-8"),
        ("/remove-users", "name=bob"),
    ] {
        let page = browser.post(path, form).await;
        assert!(page.text().contains("class=\"lines\""), "{path}: {}", page.text());
    }
    server.finish().await;
}

/// Every address that can be looked at, whether a link leads there or not: nothing is recorded by looking.
#[tokio::test]
async fn looking_changes_nothing() {
    let (mut browser, server) = Browser::and_server().await;
    let ca = server.edge.ca().clone();
    server.enrol("site-7").await;
    let name = DeviceName::parse("site-7").unwrap();
    let all = ca
        .certificates_of(local(), &name, Timestamp::UNIX_EPOCH)
        .await
        .unwrap();
    let serial = all[0].serial.hex();
    browser.log_in("admin", PASSWORD).await;
    let recorded = async || {
        let mut list = AuditList::default();
        list.paging.limit = 1;
        ca.audit(local(), list).await.unwrap().items[0].sequence
    };
    let before = recorded().await;
    let mut seen = 0;
    let gets =
        muster_server::web::table().filter(|(method, path, _)| *method == Method::Get && *path != "live");
    for (_, path, _) in gets {
        let path = path
            .replace("{serial}", &serial)
            .replace("users/{name}", "users/admin")
            .replace("profiles/{name}", "profiles/client")
            .replace("{name}", "site-7")
            .replace("{authority}", "default")
            .replace("{act}", "revoke")
            .replace(['{', '}'], "");
        let answer = browser.get(&format!("/{path}")).await;
        seen += usize::from(answer.status == 200);
    }
    assert!(seen > 40, "{seen}");
    assert_eq!(recorded().await, before);
    server.finish().await;
}
