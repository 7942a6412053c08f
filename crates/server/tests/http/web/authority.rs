//! CA Settings, profiles and settings in the GUI.

use crate::common::browser::{Browser, PASSWORD, local, logged_in};
use muster_ca::operator::Role;
use muster_pki::cert::Certificate;
use muster_pki::pem;

#[tokio::test]
async fn what_everybody_needs_of_the_authority_is_on_one_page() {
    let (mut browser, server) = logged_in().await;
    let root = Certificate::from_der(&server.root).unwrap();
    let fingerprint: String = root
        .fingerprint()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let page = browser.get("/ca").await.text();
    let bootstrap =
        format!("step ca bootstrap --ca-url https://ca.example.org:9000 --fingerprint {fingerprint}");
    assert!(page.contains(&bootstrap), "{page}");
    assert!(page.contains("<em>signs</em>") && page.contains("role=\"img\"") && page.contains("iot-devices"));
    assert!(page.contains("muster ca rollover start --authority default"));
    assert!(page.contains("root_ca.crt http://ca.example.org:9080/ca/default-root.pem"));

    let file = browser.get("/ca/certificates/default-root.pem").await;
    assert_eq!(pem::decode(pem::CERTIFICATE, &file.text()).unwrap(), server.root);
    let named = "attachment; filename=\"default-root.pem\"";
    assert_eq!(file.header("content-disposition"), Some(named));
    let file = browser.get("/ca/certificates/default-root.crt").await;
    assert_eq!(file.body, server.root);
    let issuing = browser.get("/ca/certificates/default-1.crt").await;
    assert_eq!(
        Certificate::from_der(&issuing.body).unwrap().issuer().unwrap(),
        root.subject().unwrap()
    );
    assert_eq!(browser.get("/ca/lists/default-1.crl").await.status, 200);
    assert!(
        browser
            .get("/ca/lists/default-1.pem")
            .await
            .text()
            .contains("BEGIN X509 CRL")
    );
    for path in [
        "/ca/certificates/nobody-1.pem",
        "/ca/certificates/default-1.key",
        "/ca/lists/default-9.crl",
    ] {
        assert_eq!(browser.get(path).await.status, 404, "{path}");
    }
    server.finish().await;
}

#[tokio::test]
async fn a_roll_over_goes_on_where_it_can() {
    let (mut browser, server) = logged_in().await;
    for step in ["activate", "finish", "revoke"] {
        let path = format!("/ca/rollover/default/{step}");
        assert_eq!(browser.get(&path).await.status, 409, "nothing stands by");
        let named = browser.post(&path, "confirm=default").await;
        assert_eq!(named.status, 409);
    }
    assert_eq!(browser.post("/ca/rollover/default/start", "").await.status, 404);
    server.start_rollover().await;
    let page = browser.get("/ca").await.text();
    assert!(page.contains("Generation 2 stands by"), "{page}");
    let form = browser.get("/ca/rollover/default/activate").await;
    assert_eq!(form.status, 200);
    assert!(
        browser.get("/ca").await.text().contains("Generation 2 stands by"),
        "looking changes nothing"
    );
    let done = browser.post("/ca/rollover/default/activate", "").await;
    assert_eq!((done.status, done.header("location")), (303, Some("/ca")));
    assert!(
        browser
            .get("/ca")
            .await
            .text()
            .contains("Generation 1 is retiring")
    );
    // Somebody else has its key: it goes at once, by the authority's name.
    let form = browser.get("/ca/rollover/default/revoke").await;
    assert!(
        form.text().contains("re-arm it, then enrol it again"),
        "{}",
        form.text()
    );
    let wrong = browser
        .post("/ca/rollover/default/revoke", "confirm=internal")
        .await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.text().contains("this is not default"), "{}", wrong.text());
    let retired = || {
        let all = server.edge.ca().authorities();
        let default = all.iter().find(|one| one.name == "default").unwrap();
        let mut generations = default.issuing();
        !generations.any(|one| one.number == 1 && one.stage != muster_ca::authority::Stage::Retired)
    };
    assert!(!retired());
    let done = browser
        .post("/ca/rollover/default/revoke", "confirm=default")
        .await;
    assert_eq!((done.status, done.header("location")), (303, Some("/ca")));
    assert!(retired());
    server.finish().await;
}

#[tokio::test]
async fn an_issuing_ca_with_many_certificates_goes_by_their_count_and_a_second_administrator() {
    let (mut browser, server) = logged_in().await;
    for name in ["site-1", "site-2", "site-3"] {
        server.enrol(name).await;
    }
    server.start_rollover().await;
    browser.post("/ca/rollover/default/activate", "").await;
    // What cannot be done yet has no button, and says until when.
    let page = browser.get("/ca").await.text();
    assert!(
        page.contains("3 of the fleet live") && !page.contains("rollover/default/finish"),
        "{page}"
    );
    let form = browser.get("/ca/rollover/default/revoke").await.text();
    assert!(
        form.contains("3 certificates that it issued are refused")
            && form.contains("name=\"count\"")
            && form.contains("need a second operator"),
        "{form}"
    );
    let path = "/ca/rollover/default/revoke";
    for wrong in [
        "confirm=default",
        "confirm=default&count=2",
        "confirm=lab&count=3",
    ] {
        assert_eq!(browser.post(path, wrong).await.status, 422, "{wrong}");
    }
    let ca = server.edge.ca().clone();
    let leaving = async || ca.leaving(local(), "default").await.unwrap();
    assert_eq!(leaving().await.unwrap().certificates, 3);
    let asked = browser.post(path, "confirm=default&count=3").await;
    assert_eq!(asked.header("location"), Some("/revoke/waiting"));
    assert!(leaving().await.is_some(), "nobody has agreed");

    for (name, role) in [("olga", Role::Operator), ("second", Role::Admin)] {
        ca.add_operator(local(), name, role).await.unwrap();
        ca.set_password(local(), name, PASSWORD).await.unwrap();
    }
    let page = browser.get("/revoke/waiting").await.text();
    let at = page.split("name=\"at\" value=\"").nth(1).unwrap();
    let at = at.split('"').next().unwrap().replace(':', "%3A");
    let agree = format!("act=agree&at={at}");
    let refused = browser.post("/revoke/waiting", &agree).await;
    assert_eq!(refused.status, 422);
    assert!(
        refused.text().contains("another operator has to"),
        "the refusal says what mends it: {}",
        refused.text()
    );
    let mut olga = Browser::at(&server);
    olga.log_in("olga", PASSWORD).await;
    let page = olga.get("/revoke/waiting").await.text();
    assert!(
        page.contains("Retire the issuing CA 1 of default at once?")
            && page.contains("An administrator has to agree")
            && !page.contains("value=\"agree\""),
        "{page}"
    );
    assert_eq!(
        olga.post("/revoke/waiting", &agree).await.status,
        422,
        "no administrator"
    );
    assert!(leaving().await.is_some());
    let mut second = Browser::at(&server);
    second.log_in("second", PASSWORD).await;
    assert!(
        second
            .get("/revoke/waiting")
            .await
            .text()
            .contains("value=\"agree\"")
    );
    let done = second.post("/revoke/waiting", &agree).await;
    assert_eq!(done.status, 303, "{}", done.text());
    assert!(leaving().await.is_none());
    server.finish().await;
}

#[tokio::test]
async fn a_provisioner_comes_with_a_password_and_goes_by_its_name() {
    let (mut browser, server) = logged_in().await;
    let bad = browser
        .post("/ca/provisioners/-/new", "name=makers&profile=nothing")
        .await;
    assert_eq!(bad.status, 422);
    let bad = browser
        .post("/ca/provisioners/-/new", "name=makers&names=Site+*")
        .await;
    assert_eq!(bad.status, 422);
    assert_eq!(server.edge.ca().provisioners().len(), 2);
    let sent = "name=makers&profile=client&names=site-*,+hub-*";
    let made = browser.post("/ca/provisioners/-/new", sent).await;
    assert_eq!(
        (made.status, made.header("cache-control")),
        (200, Some("no-store"))
    );
    let page = made.text();
    let password = page
        .split("id=\"password\" tabindex=\"0\">")
        .nth(1)
        .unwrap()
        .split('<')
        .next()
        .unwrap();
    assert!(password.len() >= 43, "{password}");
    let record = server.edge.ca().provisioners().pop().unwrap();
    assert_eq!((record.name.as_str(), record.may_replace), ("makers", false));
    assert_eq!(
        (record.profiles, record.names),
        (vec!["client".to_owned()], vec!["site-*".into(), "hub-*".into()])
    );
    assert!(!browser.get("/ca").await.text().contains(password));

    let wrong = browser
        .post("/ca/provisioners/-/remove", "name=makers&confirm=maker")
        .await;
    assert!(wrong.status == 422 && wrong.text().contains("this is not makers"));
    let done = browser
        .post("/ca/provisioners/-/remove", "name=makers&confirm=makers")
        .await;
    assert_eq!(done.header("location"), Some("/ca/provisioners"));
    assert_eq!(server.edge.ca().provisioners().len(), 2);
    assert_eq!(
        browser.get("/ca/provisioners/-/remove?name=makers").await.status,
        404
    );
    server.finish().await;
}

#[tokio::test]
async fn an_operator_looks_at_the_authority_and_changes_nothing() {
    let (mut browser, server) = Browser::and_server().await;
    let ca = server.edge.ca();
    ca.add_operator(local(), "olga", Role::Operator).await.unwrap();
    ca.set_password(local(), "olga", PASSWORD).await.unwrap();
    browser.log_in("olga", PASSWORD).await;
    let page = browser.get("/ca").await.text();
    assert!(
        page.contains("olga") && !page.contains("provisioners/-/"),
        "{page}"
    );
    let list = browser.get("/ca/provisioners").await.text();
    assert!(
        list.contains("iot-devices") && !list.contains("provisioners/-/new"),
        "{list}"
    );
    let sent = browser.post("/ca/provisioners/-/new", "name=makers").await;
    assert_eq!(sent.status, 403);
    server.finish().await;
}

#[tokio::test]
async fn profiles_and_settings_are_there_to_read() {
    let (mut browser, server) = Browser::and_server().await;
    let ca = server.edge.ca();
    ca.add_operator(local(), "eve", Role::Viewer).await.unwrap();
    ca.set_password(local(), "eve", PASSWORD).await.unwrap();
    browser.log_in("eve", PASSWORD).await;
    let list = browser.get("/profiles").await.text();
    assert!(list.contains("<a href=\"/profiles/client\">") && list.contains("muster ca profile --limit 50"));
    let client = browser.get("/profiles/client").await.text();
    for words in [
        "30 days",
        "5 minutes to 366 days",
        "RSA of 2048 bits or more",
        "[profile.client]",
        "none until public_url is set; then the revocation list",
    ] {
        assert!(client.contains(words), "{words}: {client}");
    }
    assert_eq!(browser.get("/profiles/nobody").await.status, 404);
    let settings = browser.get("/settings").await.text();
    assert!(settings.contains("http://&#60;b&#62;.example.org") && settings.contains("MUSTER_PUBLIC_URL"));
    assert!(settings.contains("Certificates do not say where their revocation list is"));
    assert!(!settings.contains("<form method=\"post\" action=\"/settings"));
    server.finish().await;
}

#[tokio::test]
async fn provisioners_and_profiles_are_lists_like_the_others() {
    let (mut browser, server) = logged_in().await;
    let sent = "name=makers&profile=client&names=site-*";
    browser.post("/ca/provisioners/-/new", sent).await;
    let mut rows = async |path: &str| {
        let page = browser.get(path).await.text();
        let rows = page.split("<td class=\"key\">").skip(1);
        let names = rows.map(|row| {
            let text = row.split("</td>").next().unwrap();
            let text = text.split("</a>").next().unwrap();
            text.rsplit('>').next().unwrap().to_owned()
        });
        names.collect::<Vec<_>>().join(" ")
    };
    for (path, wanted) in [
        ("/profiles", "broker client server"),
        ("/profiles?sort=-name", "server client broker"),
        ("/profiles?sort=kind&q=C", "client"),
        ("/profiles?kind=server", "server"),
        ("/profiles?q=zzz", ""),
        ("/profiles?limit=1", "broker"),
        ("/ca/provisioners?q=make", "makers"),
        ("/ca/provisioners?sort=-created&limit=1", "makers"),
        ("/ca/provisioners?profile=nothing", ""),
    ] {
        assert_eq!(rows(path).await, wanted, "{path}");
    }
    for (path, begins) in [
        ("/profiles/-/profiles.csv?kind=client", "name,kind,authority,min,"),
        (
            "/ca/provisioners/-/provisioners.csv?q=makers",
            "name,kid,profiles,",
        ),
    ] {
        let csv = browser.get(path).await.unchunked();
        assert!(
            csv.starts_with(begins) && csv.lines().count() == 2,
            "{path}: {csv}"
        );
    }
    for (path, name) in [
        ("/profiles/-/profiles.json?sort=-name", "server"),
        ("/ca/provisioners/-/provisioners.json?q=makers", "makers"),
    ] {
        let json: serde_json::Value = serde_json::from_str(&browser.get(path).await.unchunked()).unwrap();
        assert_eq!(json[0]["name"], name, "{path}");
    }
    let page = browser.get("/ca/provisioners?q=makers&show=key").await.text();
    assert!(
        page.contains("muster ca provisioner list --limit 50 --search makers"),
        "{page}"
    );
    assert!(
        page.contains(">Key</th>") && !page.contains(">Profiles</th>"),
        "{page}"
    );
    assert_eq!(browser.get("/profiles?sort=age").await.status, 400);
    server.finish().await;
}

#[tokio::test]
async fn a_root_says_whose_it_follows_and_a_certificate_comes_with_both() {
    let (mut browser, server) = logged_in().await;
    let identity = server.enrol("site-1").await;
    let path = format!(
        "/certificates/{}",
        muster_ca::certificate::Serial::from_bytes(identity.parsed().serial())
            .unwrap()
            .hex()
    );
    assert!(!browser.get("/ca").await.text().contains("follows"));
    server.follow("next").await;
    let page = browser.get("/ca").await.text();
    assert!(page.contains("next, root, follows default"), "{page}");
    let names = |pem: &str| -> Vec<String> {
        let all = Certificate::all_from_pem(pem).unwrap();
        all.iter().map(|one| one.common_name().unwrap()).collect()
    };
    let file = browser.get(&format!("{path}/ca.crt")).await;
    assert_eq!(
        names(&file.text()),
        ["Test Root CA", "The next Root CA", "Test Issuing CA 1"]
    );
    // Its own chain goes up to its own root.
    let page = browser.get(&path).await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("Test Root CA") && !page.text().contains("The next Root CA"));
    server.finish().await;
}
