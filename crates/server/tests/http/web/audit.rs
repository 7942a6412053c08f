//! The audit log and the search in the GUI: filters, pages, files, and whether the log is whole.

use std::time::Duration;

use crate::common::Server;
use crate::common::browser::{Browser, PASSWORD, local};
use muster_ca::device::DeviceName;
use muster_ca::operator::Role;

/// A server with some devices, and an administrator's browser.
async fn fleet() -> (Browser, Server) {
    let (mut browser, server) = Browser::and_server().await;
    let ca = server.edge.ca();
    for name in ["site-1", "site-2", "site-3"] {
        let name = DeviceName::parse(name).unwrap();
        ca.create_device(local(), name, "client", "<script>alert(1)</script>")
            .await
            .unwrap();
    }
    ca.catch_up().await.unwrap();
    browser.log_in("admin", PASSWORD).await;
    (browser, server)
}

/// Waits until a page says something that happens in the background.
async fn says(browser: &mut Browser, path: &str, words: &str) -> String {
    for _ in 0..500 {
        let page = browser.get(path).await;
        assert_eq!(page.status, 200, "{}", page.text());
        if page.text().contains(words) {
            return page.text();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{path} never says {words:?}");
}

#[tokio::test]
async fn the_list_is_filtered_by_its_address() {
    let (mut browser, server) = fleet().await;
    let all = browser.get("/audit").await.text();
    assert!(all.contains("Device created") && all.contains("profile: client"));
    let some = browser
        .get("/audit?action=device.created&subject=site-2&actor=&from=&until=")
        .await;
    assert_eq!(some.status, 200);
    let some = some.text();
    assert!(some.contains("/devices/site-2\">site-2</a>"), "{some}");
    assert!(!some.contains("/devices/site-1\">"), "{some}");
    assert!(some.contains("--action device.created --subject site-2"));
    // What narrows it can be taken away again.
    assert!(
        some.contains("href=\"/audit?subject=site%2D2\" aria-current=\"true\">action: device.created"),
        "{some}"
    );
    let later = browser.get("/audit?from=2999-01-01").await.text();
    assert!(later.contains("Nothing like that happened"));
    for bad in ["/audit?from=yesterday", "/audit?cursor=AAAA", "/audit?sort=actor"] {
        assert_eq!(browser.get(bad).await.status, 400, "{bad}");
    }
    let typed = browser
        .get("/audit?actor=%22%3E%3Cscript%3Ealert(2)")
        .await
        .text();
    assert!(!typed.contains("<script>alert"), "{typed}");
    server.finish().await;
}

#[tokio::test]
async fn pages_follow_each_other_and_the_file_has_all() {
    let (mut browser, server) = fleet().await;
    let numbers = |page: &str| -> Vec<u64> {
        let cells = page.split("data-label=\"No.\" class=\"minor nowrap\">").skip(1);
        cells
            .map(|rest| rest.split('<').next().unwrap().parse().unwrap())
            .collect()
    };
    let all = numbers(&browser.get("/audit?limit=500").await.text());
    assert!(all.len() > 4 && all.is_sorted_by(|newer, older| newer > older));
    let mut turned = numbers(&browser.get("/audit?limit=500&sort=at").await.text());
    turned.reverse();
    assert_eq!(turned, all);
    let mut seen = Vec::new();
    let mut path = "/audit?action=device.created".to_owned();
    let mut steps = 0;
    loop {
        let page = browser
            .get(&path.replace("audit?", "audit?limit=1&"))
            .await
            .text();
        seen.extend(numbers(&page));
        steps += 1;
        let Some(next) = page
            .split("rel=\"next\"")
            .next()
            .filter(|_| page.contains("rel=\"next\""))
        else {
            break;
        };
        path = next
            .rsplit("href=\"")
            .next()
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .to_owned();
        path = path.replace("&#38;", "&").replace("&amp;", "&");
    }
    assert_eq!((seen.len(), steps >= 3), (3, true), "{seen:?}");

    let csv = browser.get("/audit/audit.csv?action=device.created").await;
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert!(csv.header("content-disposition").unwrap().contains("audit.csv"));
    let text = csv.text();
    for name in ["site-1", "site-2", "site-3"] {
        assert!(text.contains(name), "{text}");
    }
    assert!(text.contains("sequence,at,actor,via,source,action,subject,detail,writer,hash"));
    let json = browser
        .get("/audit/audit.json?action=device.created&subject=site-1")
        .await
        .text();
    assert!(json.contains("site-1") && !json.contains("site-2"), "{json}");
    // Browsers ask for compressed answers.
    let headers = "Sec-Fetch-Site: same-origin\r\nAccept-Encoding: gzip\r\n";
    let request = browser.request("GET", "/audit/audit.csv", headers, "");
    let zipped = browser.send(&request).await;
    assert_eq!(
        (zipped.status, zipped.header("content-encoding")),
        (200, Some("gzip"))
    );
    // The last chunk: the answer was not broken off.
    assert!(zipped.body.ends_with(b"0\r\n\r\n"));
    server.finish().await;
}

#[tokio::test]
async fn the_chain_is_verified_when_asked_and_a_page_walks_nothing() {
    let (mut browser, server) = fleet().await;
    assert!(browser.get("/audit").await.text().contains("Not verified yet"));
    let sent = browser.post("/audit/verify", "").await;
    assert_eq!((sent.status, sent.header("location")), (303, Some("/audit")));
    let page = says(&mut browser, "/audit", "Chain verified").await;
    assert!(page.contains("Whole up to entry"), "{page}");

    let broken = rusqlite::Connection::open(server.path("muster.db")).unwrap();
    broken
        .execute_batch(
            "DROP TRIGGER audit_is_not_changed; UPDATE audit SET actor = 'nobody' WHERE sequence = 3;",
        )
        .unwrap();
    browser.post("/audit/verify", "").await;
    let page = says(&mut browser, "/audit", "Chain broken").await;
    assert!(page.contains("Entry 3 is not what was written"), "{page}");
    server.finish().await;
}

#[tokio::test]
async fn who_may_not_read_the_log_does_not() {
    let (mut browser, server) = fleet().await;
    let ca = server.edge.ca();
    for (name, role) in [("val", Role::Viewer), ("art", Role::Auditor)] {
        ca.add_operator(local(), name, role).await.unwrap();
        ca.set_password(local(), name, PASSWORD).await.unwrap();
    }
    browser.log_in("val", PASSWORD).await;
    for path in ["/audit", "/audit/audit.csv", "/audit/audit.json"] {
        assert_eq!(browser.get(path).await.status, 403, "{path}");
    }
    assert!(!browser.get("/").await.text().contains("Audit log"));
    assert_eq!(browser.get("/search?q=site").await.status, 200);
    browser.log_in("art", PASSWORD).await;
    assert!(browser.get("/").await.text().contains("Audit log"));
    assert_eq!(browser.get("/audit").await.status, 200);
    server.finish().await;
}

#[tokio::test]
async fn a_search_finds_names_serial_numbers_and_fingerprints() {
    let (mut browser, server) = fleet().await;
    let identity = server.enrol("site-1").await;
    server.edge.ca().catch_up().await.unwrap();
    let parsed = identity.parsed();
    let hex = |bytes: &[u8], between: &str| {
        let pairs: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        pairs.join(between)
    };
    let fingerprint = muster_pki::key::sha256(&identity.leaf);
    for q in [
        "site-1".to_owned(),
        "SITE-1".into(),
        hex(parsed.serial(), "%3A"),
        identity.serial(),
        hex(&fingerprint, "")[..16].to_owned(),
    ] {
        let page = browser.get(&format!("/search?q={q}")).await;
        assert_eq!(page.status, 200);
        assert!(page.text().contains("/certificates/"), "{q}");
    }
    let names = browser.get("/search?q=site-").await.text();
    assert!(names.contains("/devices/site-3") && !names.contains("<script>alert"));
    let typed = browser.get("/search?q=%27%22%3E%3Cscript%3Ealert(2)").await;
    assert_eq!(typed.status, 200);
    assert!(typed.text().contains("Nothing begins like that") && !typed.text().contains("<script>alert"));
    assert!(browser.get("/search").await.text().contains("Look for anything"));
    server.finish().await;
}
