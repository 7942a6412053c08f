//! Enrolment tokens in the GUI, by plain posts of forms as a browser without scripts sends them.

use crate::common::Server;
use crate::common::browser::{local, logged_in, went_to};
use muster_ca::list::{AuditList, Paging, TokenList};
use muster_ca::token::EnrolmentToken;
use serde_json::Value;

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

    assert_eq!(server.enrol_by_token("site-009", secret).await.status, 200);
    let page = browser.get(&path).await.text();
    assert!(page.contains("1 of 1") && page.contains("Used up"), "{page}");
    let device = browser.get("/devices/site-009").await.text();
    assert!(device.contains(&path), "the device says which token it came with");
    let told = ["/", "/tokens", &path, "/devices/site-009"];
    let words = [
        "was shown by another device",
        "Shown by another",
        "was shown with another key",
        "was shown by another device",
    ];
    for (path, word) in std::iter::zip(told, words) {
        assert!(!browser.get(path).await.text().contains(word), "{path}");
    }
    assert_eq!(
        server.enrol_by_token("site-009", secret).await.status,
        403,
        "another key"
    );
    for (path, word) in std::iter::zip(told, words) {
        assert!(browser.get(path).await.text().contains(word), "{path}");
    }
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
    for (path, word) in std::iter::zip(told, words) {
        assert!(!browser.get(path).await.text().contains(word), "{path}");
    }
    assert_eq!(server.enrol_by_token("site-009", secret).await.status, 200);

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
    assert_eq!(server.enrol_by_token("site-1", rows[1][5]).await.status, 200);
    assert_eq!(
        server.enrol_by_token("site-1", rows[2][5]).await.status,
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
