//! Looking at certificates and revoking them in the GUI, by plain posts of forms as a browser without scripts sends them.

use crate::common::browser::{Browser, PASSWORD, beside, field, issue_form, local, logged_in, went_to};
use muster_ca::operator::Role;

#[tokio::test]
async fn whoever_revokes_types_the_name() {
    let (mut browser, server) = logged_in().await;
    let mut serials = Vec::new();
    for _ in 0..2 {
        let place = went_to(
            &browser
                .post("/issue", &issue_form("site-001", "client", "", ""))
                .await,
        );
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
    let done = went_to(&browser.post("/revoke", &revoke(&serials[0], "site-001")).await);
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
    went_to(&browser.post("/revoke", &revoke("site-001", "site-001")).await);
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
    let (mut browser, server) = logged_in().await;
    let place = went_to(
        &browser
            .post("/issue", &issue_form("site-001", "client", "", ""))
            .await,
    );
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
    let sent = issue_form("site-002", "client", "", "");
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
        let place = went_to(&browser.post("/issue", &issue_form(name, "client", "", "")).await);
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
    let (mut browser, server) = logged_in().await;
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
    assert_eq!(went_to(&done), "/revoke/done");
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
    let (mut browser, server) = logged_in().await;
    let three = issue_many(&mut browser, &["site-001", "site-002", "site-003"]).await;
    let sure = |count: &str| format!("{three}sure=yes&reason=superseded&note=old&count={count}");
    for count in ["", "2", "33"] {
        let refused = browser.post("/revoke/many", &sure(count)).await;
        assert_eq!(refused.status, 422);
        assert!(beside(&refused.text(), "count").contains("nothing was changed"));
    }
    assert_eq!(
        went_to(&browser.post("/revoke/many", &sure("3")).await),
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
        went_to(&second.post("/revoke/waiting", &agree).await),
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
    let (mut browser, server) = logged_in().await;
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
