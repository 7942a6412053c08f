//! Brokers in the GUI, and the proof of a revocation, with a test that plays the broker's agent.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod common;

use common::browser::{Browser, PASSWORD, local};
use common::{Answer, Server};
use muster_backends::signer::generate;
use muster_ca::broker::agent::{Outcome, Report};
use muster_ca::broker::epoch::Heard;
use muster_ca::enrol::who::Evidence;
use muster_ca::{Ask, Proof, Wish};
use muster_pki::csr::Csr;
use muster_pki::key::KeyKind;

const HUB: &str = "hub.example.org";

async fn logged_in() -> (Browser, Server) {
    let (mut browser, server) = Browser::and_server().await;
    browser.log_in("admin", PASSWORD).await;
    (browser, server)
}

fn with(evidence: Evidence) -> Proof {
    Proof { evidence, ..local() }
}

/// What stands between two words of a page, as a browser shows it.
fn between<'a>(page: &'a str, begin: &str, end: &str) -> &'a str {
    page.split(begin).nth(1).unwrap().split(end).next().unwrap()
}

fn went_to(answer: &Answer) -> &str {
    assert_eq!(answer.status, 303, "{}", answer.text());
    answer.header("location").unwrap()
}

/// The agent of [`HUB`], by the certificate that it joined with.
struct Agent(Vec<u8>);

impl Agent {
    /// Joins with what the page showed.
    async fn join(server: &Server, page: &str) -> Self {
        let shown = between(page, "<code id=\"join\" tabindex=\"0\">", "</code>").replace("&#34;", "\"");
        let join: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(join["broker"], HUB);
        let key = generate(KeyKind::P256).unwrap();
        let ask = Ask {
            proof: with(Evidence::EnrolmentToken(
                join["token"].as_str().unwrap().to_owned().into(),
            )),
            csr: Csr::build(&format!("muster-agent.{HUB}"), &[], &key).unwrap(),
            wish: Wish::default(),
        };
        let issued = server.edge.ca().enrol(ask).await.unwrap();
        Self(issued.certificate().der.clone())
    }

    fn proof(&self) -> Proof {
        with(Evidence::ClientCertificate(self.0.clone()))
    }

    async fn says(&self, server: &Server, report: Report) {
        server.edge.ca().hear(self.proof(), report).await.unwrap();
    }

    /// Proves the newest epoch, or says why it cannot.
    async fn tries(&self, server: &Server, why: &str, alarms: &[&str]) {
        let ca = server.edge.ca();
        ca.refresh_crls().await.unwrap();
        let (_, heard) = ca
            .next_epoch(self.proof(), &Heard::default())
            .await
            .unwrap()
            .unwrap();
        let outcome = Outcome {
            number: heard.number,
            sequence: heard.sequence.unwrap(),
            proven: why.is_empty(),
            why: why.to_owned(),
            steps: vec![("prove".into(), 38_000)],
        };
        let report = Report {
            outcome: Some(outcome),
            alarms: alarms.iter().map(|alarm| (*alarm).to_owned()).collect(),
            denials: vec![("site-9".into(), "fleet/<b>".into(), 3)],
            sessions: Some(1234),
            ..Report::default()
        };
        self.says(server, report).await;
    }
}

#[tokio::test]
async fn a_broker_comes_proves_and_goes() {
    let (mut browser, server) = logged_in().await;
    let empty = browser.get("/brokers").await.text();
    assert!(empty.contains("Brokers stand here"));
    let refused = browser
        .post(
            "/brokers/-/new",
            "name=Not a name&program=mosquitto&profile=server",
        )
        .await;
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("name-refusal"));
    let joining = browser
        .post(
            "/brokers/-/new",
            &format!("name={HUB}&program=mosquitto&profile=server&sans=10.0.0.5%2C+mqtt"),
        )
        .await;
    assert_eq!(joining.status, 200, "{}", joining.text());
    let agent = Agent::join(&server, &joining.text()).await;
    assert!(browser.get("/brokers").await.text().contains("Not joined"));
    assert!(browser.get("/").await.text().contains("has not joined"));

    // Proved, with an alarm and a refused publish.
    agent
        .tries(
            &server,
            "",
            &["hub.example.org: the CRL of AK is past half of its life (let the agent reach the CA)"],
        )
        .await;
    let list = browser.get("/brokers").await.text();
    assert!(
        list.contains("Proven") && list.contains("took 38 ms") && list.contains("1,234"),
        "{list}"
    );
    let page = browser.get(&format!("/brokers/{HUB}")).await.text();
    assert!(
        page.contains("past half of its life") && page.contains("fleet/&#60;b&#62;"),
        "{page}"
    );
    let dashboard = browser.get("/").await.text();
    assert!(
        dashboard.contains("past half of its life")
            && dashboard.contains(&format!("href=\"/brokers/{HUB}\"")),
        "{dashboard}"
    );

    // Another agent for the same broker; and the end.
    let again = browser.post(&format!("/brokers/{HUB}/join"), "").await.text();
    Agent::join(&server, &again).await;
    let form = browser.get(&format!("/brokers/{HUB}/retire")).await.text();
    assert!(form.contains("No revocation waits for it any more"));
    let wrong = browser
        .post(&format!("/brokers/{HUB}/retire"), "confirm=hub")
        .await;
    assert_eq!(wrong.status, 422);
    let gone = browser
        .post(&format!("/brokers/{HUB}/retire"), &format!("confirm={HUB}"))
        .await;
    assert_eq!(went_to(&gone), "/brokers");
    let list = browser.get("/brokers").await.text();
    assert!(list.contains("Retired") && list.contains("is retired: no revocation waits for it any more."));
    assert_eq!(browser.get(&format!("/brokers/{HUB}/retire")).await.status, 409);
    assert_eq!(browser.get("/brokers/nobody").await.status, 404);
    server.finish().await;
}

#[tokio::test]
async fn a_revocation_is_done_when_every_broker_has_proved_it() {
    let (mut browser, server) = logged_in().await;
    browser.post("/devices/-/new", "name=site-1&profile=client").await;
    browser.post("/devices/site-1/suspend", "").await;
    let before = browser.get("/devices/site-1").await.text();
    assert!(!before.contains("Is that in force?"), "there is no broker");
    let joining = browser
        .post(
            "/brokers/-/new",
            &format!("name={HUB}&program=mosquitto&profile=server&sans="),
        )
        .await;
    let agent = Agent::join(&server, &joining.text()).await;
    browser
        .post("/devices/site-1/revoke", "reason=unspecified&confirm=site-1")
        .await;
    let waits = browser.get("/devices/site-1").await.text();
    assert!(waits.contains("Unconfirmed: proven at 0 of 1"), "{waits}");
    agent.tries(&server, "the disk is full", &[]).await;
    let failed = browser.get("/devices/site-1").await.text();
    assert!(
        failed.contains("Unconfirmed: proven at 0 of 1") && failed.contains("the disk is full"),
        "{failed}"
    );
    assert!(browser.get("/").await.text().contains("the disk is full"));
    agent.tries(&server, "", &[]).await;
    for path in ["/devices/site-1", "/revoke/done?what=site-1", "/revoke/done"] {
        let page = browser.get(path).await.text();
        assert!(page.contains("1 of 1, proven, 38 ms"), "{path}: {page}");
    }
    server.finish().await;
}

#[tokio::test]
async fn topic_rules_are_changed_and_follow_the_profile_again() {
    let (mut browser, server) = logged_in().await;
    browser
        .post("/devices/-/new", "name=iotagent&profile=client")
        .await;
    let page = browser.get("/devices/iotagent").await.text();
    assert!(page.contains("fleet/iotagent/#") && page.contains("as its profile says"));
    for bad in [
        "publish=%23&subscribe=",
        "publish=&subscribe=a%2F%23%2Fb",
        "publish=%2F%25t%2Fx&subscribe=",
    ] {
        let refused = browser.post("/devices/iotagent/access", bad).await;
        assert_eq!(refused.status, 422, "{bad}");
    }
    let done = browser
        .post(
            "/devices/iotagent/access",
            "publish=cmd%2F%23&subscribe=fleet%2F%23%0D%0Acmd%2F%2B%2Fx",
        )
        .await;
    assert_eq!(went_to(&done), "/devices/iotagent");
    let page = browser.get("/devices/iotagent").await.text();
    for rule in ["cmd/#", "fleet/#", "cmd/+/x", "rules of its own"] {
        assert!(page.contains(rule), "{rule}: {page}");
    }
    let form = browser.get("/devices/iotagent/access").await.text();
    assert!(form.contains("Follow its profile again") && form.contains("muster device access iotagent"));
    browser.post("/devices/iotagent/access", "reset=yes").await;
    assert!(
        browser
            .get("/devices/iotagent")
            .await
            .text()
            .contains("as its profile says")
    );
    server.finish().await;
}

#[tokio::test]
async fn an_agent_that_asks_over_and_over_gets_no_more_canaries() {
    let (mut browser, server) = logged_in().await;
    let joining = browser
        .post(
            "/brokers/-/new",
            &format!("name={HUB}&program=mosquitto&profile=server&sans="),
        )
        .await;
    let agent = Agent::join(&server, &joining.text()).await;
    let key = generate(KeyKind::P256).unwrap();
    let csr = Csr::build("any", &[], &key).unwrap();
    let ca = server.edge.ca();
    for _ in 0..10 {
        let canary = ca.canary(agent.proof(), &csr).await.unwrap();
        assert_eq!(canary.certificate().device.as_str(), "muster-canary.good");
    }
    let why = ca.canary(agent.proof(), &csr).await.unwrap_err();
    assert!(why.to_string().contains("10 canaries in 10 minutes"), "{why}");
    server.finish().await;
}
