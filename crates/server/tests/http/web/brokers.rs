//! Brokers in the GUI, and the proof of a revocation, with a test that plays the broker's agent.

use crate::common::Server;
use crate::common::browser::{between, local, logged_in, went_to};
use muster_backends::signer::generate;
use muster_ca::broker::agent::{Outcome, Report};
use muster_ca::broker::epoch::Heard;
use muster_ca::broker::{BrokerWish, Program};
use muster_ca::device::DeviceName;
use muster_ca::enrol::who::Evidence;
use muster_ca::{Ask, Proof, Wish};
use muster_pki::csr::Csr;
use muster_pki::key::KeyKind;

const HUB: &str = "hub.example.org";

fn with(evidence: Evidence) -> Proof {
    Proof { evidence, ..local() }
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

async fn add(server: &Server, name: &str, program: Program) {
    let wish = BrokerWish {
        name: DeviceName::parse(name).unwrap(),
        program,
        profile: "server".into(),
        sans: Vec::new(),
    };
    server.edge.ca().add_broker(local(), wish).await.unwrap();
}

#[tokio::test]
async fn the_list_is_searched_sorted_narrowed_and_saved() {
    let (mut browser, server) = logged_in().await;
    for (name, program) in [
        ("east.example.org", Program::Mosquitto),
        ("lab.example.org", Program::Gate),
        ("west.example.org", Program::Mosquitto),
    ] {
        add(&server, name, program).await;
    }
    let sent = format!("name={HUB}&program=mosquitto&profile=server&sans=");
    let joining = browser.post("/brokers/-/new", &sent).await.text();
    let agent = Agent::join(&server, &joining).await;
    agent.tries(&server, "", &[]).await;
    let mut rows = async |query: &str| {
        let page = browser.get(&format!("/brokers?{query}")).await.text();
        let links = page.split("<td class=\"key\"><a href=\"/brokers/").skip(1);
        let names = links.map(|rest| rest.split('.').next().unwrap().to_owned());
        (names.collect::<Vec<_>>().join(" "), page)
    };
    // What needs somebody comes first.
    for (query, wanted) in [
        ("", "east lab west hub"),
        ("sort=-name", "west lab hub east"),
        ("sort=sessions", "hub east lab west"),
        ("state=proven", "hub"),
        ("state=waiting&sort=name", "east lab west"),
        ("program=gate", "lab"),
        ("q=WE", "west"),
        ("q=zzz", ""),
    ] {
        assert_eq!(rows(query).await.0, wanted, "{query}");
    }
    let (names, first) = rows("sort=name&limit=3&show=created").await;
    assert_eq!(names, "east hub lab");
    assert!(
        first.contains(">Registered<") && !first.contains(">Enforces<"),
        "{first}"
    );
    assert!(
        first.contains("muster broker list --limit 3 --sort name")
            && first.contains("/brokers?limit=3&#38;sort=name"),
        "{first}"
    );
    let next = between(
        &first,
        "<a class=\"button small\" href=\"/brokers?",
        "\" rel=\"next\"",
    );
    let (names, last) = rows(&next.replace("&#38;", "&")).await;
    assert_eq!(names, "west");
    assert!(last.contains("rel=\"prev\"") && !last.contains("rel=\"next\""));

    let csv = browser.get("/brokers/-/brokers.csv?state=proven&limit=1").await;
    assert_eq!(
        csv.header("content-disposition"),
        Some("attachment; filename=\"brokers.csv\"")
    );
    let csv = csv.unchunked();
    let lines: Vec<_> = csv.lines().collect();
    assert!(
        lines.len() == 2 && lines[0].starts_with("name,program,state,epoch,"),
        "{csv}"
    );
    assert!(lines[1].starts_with("hub.example.org,mosquitto,proven,"), "{csv}");
    let json = browser.get("/brokers/-/brokers.json?sort=-name").await;
    let json: serde_json::Value = serde_json::from_str(&json.unchunked()).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 4);
    assert_eq!(json[0]["name"], "west.example.org");
    for bad in ["sort=size", "state=tired", "program=vernemq", "cursor=AAAA"] {
        assert_eq!(browser.get(&format!("/brokers?{bad}")).await.status, 400, "{bad}");
    }
    server.finish().await;
}

#[tokio::test]
async fn several_brokers_are_retired_by_their_count() {
    let (mut browser, server) = logged_in().await;
    for name in ["east.example.org", "west.example.org", "north.example.org"] {
        add(&server, name, Program::Mosquitto).await;
    }
    let ticked = "name=east.example.org&name=west.example.org";
    let asked = browser.post("/brokers/-/retire", ticked).await.text();
    assert!(
        asked.contains("Retire 2 brokers?")
            && asked.contains(
                "for name in east.example.org west.example.org; do muster broker retire $name; done"
            ),
        "{asked}"
    );
    let serving = async || {
        let all = server.edge.ca().broker_standings(local()).await.unwrap();
        let serving = all.iter().filter(|one| one.broker.retired.is_none());
        serving.count()
    };
    for (form, status) in [
        ("", 400),
        ("name=nobody&count=1", 404),
        (&format!("{ticked}&count=3"), 422),
    ] {
        let refused = browser.post("/brokers/-/retire", form).await;
        assert_eq!(refused.status, status, "{form}: {}", refused.text());
    }
    assert_eq!(serving().await, 3, "all or none");
    let done = browser
        .post("/brokers/-/retire", &format!("{ticked}&count=2"))
        .await;
    assert_eq!(went_to(&done), "/brokers");
    assert_eq!(serving().await, 1);
    let list = browser.get("/brokers").await.text();
    assert!(list.contains("Retired: 2 brokers."), "{list}");
    assert_eq!(
        list.matches("name=\"name\" value=").count(),
        1,
        "what is out of service cannot be ticked"
    );
    assert_eq!(browser.post("/brokers/-/retire", ticked).await.status, 409);
    server.finish().await;
}
