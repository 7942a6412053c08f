//! What the agent beside a broker is told and tells, by somebody who plays the agent.

use std::io::BufRead;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use muster_pki::cert::Certificate;
use muster_pki::csr::Csr;
use muster_pki::key::KeyKind;
use muster_pki::{message, pem};
use serde_json::{Value, json};

use crate::common::https::Https;
use crate::common::{Muster, text};
use crate::without_server;

pub(crate) const HUB: &str = "hub.example.org";

/// Somebody who plays the agent of [`HUB`], with its certificate and key in files.
pub(crate) struct Agent<'a> {
    muster: &'a Muster,
    https: Https,
    /// The internal authority's root: it vouches for epochs.
    root: Certificate,
}

/// A request in the agent's name, and its key.
fn request() -> (String, String) {
    let key = muster_backends::signer::generate(KeyKind::P256).unwrap();
    let csr = Csr::build(&format!("muster-agent.{HUB}"), &[], &key).unwrap();
    (
        pem::encode(pem::CSR, &csr).unwrap(),
        key.to_pem().unwrap().to_string(),
    )
}

impl<'a> Agent<'a> {
    /// Joins as the file says that `broker add` wrote.
    pub(crate) fn join(muster: &'a Muster, file: &str) -> Self {
        let join: Value = serde_json::from_slice(&std::fs::read(muster.path().join(file)).unwrap()).unwrap();
        assert_eq!(
            (join["broker"].as_str(), join["program"].as_str()),
            (Some(HUB), Some("mosquitto"))
        );
        assert_eq!(join["fingerprint"], muster.ok(&["ca", "fingerprint"]).trim());
        let (csr, key) = request();
        let asked = json!({ "token": join["token"], "csr": csr });
        let https = Https::new(muster.api, &muster.root());
        let issued = https.post("/api/v1/enrol", &asked).expect(200, "").json();
        assert_eq!(issued["device"], format!("muster-agent.{HUB}"));
        let [certificate, path] = ["agent.crt", "agent.key"].map(|name| muster.path().join(name));
        let chain = [&issued["pem"], &issued["issuing"]].map(|part| part.as_str().unwrap().to_owned());
        std::fs::write(&certificate, chain.concat()).unwrap();
        std::fs::write(&path, key).unwrap();
        Self {
            muster,
            https: Https::with_certificate(muster.api, &muster.root(), &certificate, &path),
            root: Certificate::all_from_pem(issued["root"].as_str().unwrap())
                .unwrap()
                .remove(0),
        }
    }

    /// Opens the stream, and reads its epochs from then on.
    pub(crate) fn listen(&self, query: &str) -> Epochs<'_> {
        let lines = self.https.stream(&format!("/api/v1/agent/stream{query}"));
        Epochs { agent: self, lines }
    }

    fn report(&self, body: &Value) -> Value {
        self.https
            .post("/api/v1/agent/report", body)
            .expect(200, "")
            .json()
    }

    /// Says that this epoch is in force.
    pub(crate) fn prove(&self, epoch: &Value) {
        let outcome = json!({
            "number": epoch["number"], "sequence": epoch["sequence"], "proven": true,
            "steps": [{ "name": "write", "micros": 1500 }, { "name": "prove", "micros": 8500 }],
        });
        self.report(&json!({
            "outcome": outcome, "enforced": epoch["number"], "sequence": epoch["sequence"], "version": "0.1.0",
        }));
    }

    /// Of a broker whose agent was just heard.
    fn state(&self) -> String {
        self.report(&json!({ "enforced": 0, "sequence": 0, "version": "0.1.0" }));
        let output = self.muster.run(&["broker", "list", "--json"]);
        let all: Value = serde_json::from_slice(&output.stdout).unwrap();
        all["items"][0]["state"].as_str().unwrap().to_owned()
    }
}

pub(crate) struct Epochs<'a> {
    agent: &'a Agent<'a>,
    lines: Box<dyn BufRead>,
}

impl Epochs<'_> {
    /// The next epoch, whose signature holds.
    pub(crate) fn next(&mut self) -> Value {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "the stream ended");
            if let Some(message) = line.trim_end().strip_prefix("data: ") {
                assert!(message::open(message, "another", &self.agent.root).is_err());
                let payload = message::open(message, "muster-epoch", &self.agent.root).unwrap();
                return serde_json::from_slice(&payload).unwrap();
            }
        }
        panic!("no epoch within 10 s");
    }
}

pub(crate) fn names(list: &Value) -> Vec<&str> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect()
}

#[test]
fn a_broker_is_told_what_to_enforce_until_it_has_proved_it() {
    let muster = Muster::start();
    muster.ok(&["cert", "issue", "site-1", "--out", "site-1"]);
    muster.exits(5, &["device", "revoke", "site-1", "--yes"]);
    muster.ok(&["broker", "add", HUB, "--san", "10.0.0.5"]);
    let file = muster.path().join(format!("{HUB}.join"));
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let agent = Agent::join(&muster, &format!("{HUB}.join"));
    let mut epochs = agent.listen("");

    // Whole at first: every anchor with its CRL, who is out, and what devices may do.
    let first = epochs.next();
    assert_eq!(first["broker"], HUB);
    assert_eq!(first["format"], muster_api::agent::EPOCH_FORMAT);
    assert!(first.get("after").is_none());
    let anchors = Certificate::all_from_pem(first["anchors"].as_str().unwrap()).unwrap();
    assert_eq!((anchors.len(), first["crls"].as_array().unwrap().len()), (2, 2));
    assert_eq!(names(&first["shut_out"]), ["site-1"]);
    assert_eq!(
        first["access"]["default"]["publish"],
        json!(["fleet/%u/#", "status/%u"])
    );
    agent.prove(&first);
    assert_eq!(agent.state(), "proven");

    // A revocation is unconfirmed until the broker proves the epoch that has it, and its CRL has a canary of its own.
    muster.ok(&["cert", "issue", "site-2", "--out", "site-2"]);
    muster.exits(5, &["device", "suspend", "site-2"]);
    assert_eq!(agent.state(), "unconfirmed");
    let second = epochs.next();
    assert_eq!(second["after"], first["sequence"]);
    assert!(second["number"].as_u64() > first["number"].as_u64());
    assert_eq!(names(&second["shut_out"]), ["site-2"]);
    let canary = &second["canaries"][0];
    let chain = Certificate::all_from_pem(canary["certificate"].as_str().unwrap()).unwrap();
    let crl = agent
        .https
        .get("/api/v1/agent/crl/default-1")
        .expect(200, "")
        .body;
    let serial = chain[0].serial();
    let listed = crl.windows(serial.len()).any(|bytes| bytes == serial);
    assert!(listed, "the canary is not on the CRL");
    agent.prove(&second);
    assert_eq!(agent.state(), "proven");
    let proof = muster.json(&["device", "show", "site-2"]);
    assert_eq!(proof["state"], "suspended");

    // Whoever waits hears of the proof.
    let waiting = std::thread::scope(|scope| {
        let resumed = scope.spawn(|| muster.run(&["device", "resume", "site-2"]));
        let third = epochs.next();
        assert_eq!(names(&third["let_in"]), ["site-2"]);
        agent.prove(&third);
        resumed.join().unwrap()
    });
    assert_eq!(waiting.status.code(), Some(0), "{}", text(&waiting.stderr));
    assert!(
        text(&waiting.stderr).contains("1 of 1 brokers, proven, 10 ms"),
        "{}",
        text(&waiting.stderr)
    );

    // Rules of its own, and their end.
    let rules = json!({ "publish": ["plant/7/#"], "subscribe": [] });
    let key = muster.json(&["user", "create", "ci", "--role", "operator"]);
    let key = format!("Bearer {}", key["key"].as_str().unwrap());
    let operator = |method: &str, body: &Value| {
        let headers = [
            ("authorization", key.as_str()),
            ("content-type", "application/json"),
        ];
        let body = body.to_string();
        Https::new(muster.api, &muster.root())
            .send(method, "/api/v1/devices/site-2/access", &headers, body.as_bytes())
            .expect(200, "");
    };
    operator("POST", &rules);
    let fourth = epochs.next();
    assert_eq!(
        fourth["access"]["devices"][0],
        json!({ "name": "site-2", "rules": rules })
    );
    operator("DELETE", &json!({}));
    assert_eq!(names(&epochs.next()["access"]["removed"]), ["site-2"]);
}

#[test]
fn an_agent_goes_on_where_it_was_and_says_what_went_wrong() {
    let muster = Muster::start();
    muster.ok(&["broker", "add", HUB]);
    let agent = Agent::join(&muster, &format!("{HUB}.join"));
    let first = agent.listen("").next();
    agent.prove(&first);
    muster.ok(&["cert", "issue", "site-1", "--out", "site-1"]);
    muster.exits(5, &["device", "revoke", "site-1", "--yes"]);
    let heard = format!("?after={}&number={}", first["sequence"], u64::MAX / 4);
    let next = agent.listen(&heard).next();
    assert_eq!(next["after"], first["sequence"]);
    assert_eq!(
        next["number"].as_u64(),
        Some(u64::MAX / 4 + 1),
        "never a lower number than it has"
    );
    let old = agent.listen("?after=1").next();
    assert!(
        old.get("after").is_none(),
        "of what was before the start nothing is known one by one"
    );
    let newest = agent.report(&json!({
        "outcome": {
            "number": next["number"], "sequence": next["sequence"], "proven": false, "why": "the disk is full", "steps": [],
        },
        "enforced": first["number"], "sequence": first["sequence"], "version": "0.1.0",
        "alarms": ["the broker is down: start it"],
    }));
    assert!(newest["newest"].as_u64() > first["sequence"].as_u64());
    let told = text(&muster.run(&["broker", "list"]).stdout);
    for words in ["unconfirmed", "the broker is down"] {
        assert!(told.contains(words), "{told}");
    }
    let brokers: Value = serde_json::from_slice(&muster.run(&["broker", "list", "--json"]).stdout).unwrap();
    assert_eq!(brokers["items"][0]["failed"]["why"], "the disk is full");
    let log = muster.json(&["audit", "list", "--action", "broker.failed"]);
    assert_eq!(log["items"][0]["actor"], format!("device muster-agent.{HUB}"));
}

#[test]
fn an_agent_gets_its_brokers_certificate_and_nothing_of_the_fleet() {
    let muster = Muster::start();
    muster.ok(&["broker", "add", HUB, "--san", "10.0.0.5"]);
    let agent = Agent::join(&muster, &format!("{HUB}.join"));
    let ask = |what: &str| {
        let (csr, _) = request();
        let answer = agent
            .https
            .post(&format!("/api/v1/agent/{what}"), &json!({ "csr": csr }));
        answer.expect(200, "").json()
    };
    let broker = ask("certificate");
    assert_eq!(
        (&broker["device"], &broker["sans"]),
        (&json!(HUB), &json!([HUB, "10.0.0.5"]))
    );
    let canary = ask("canary");
    assert_eq!(canary["device"], "muster-canary.good");
    assert_eq!(ask("renew")["device"], format!("muster-agent.{HUB}"));
    // A canary is nobody here, and on no list.
    let listed = text(&muster.run(&["cert", "list", "--search", "muster-canary"]).stdout);
    assert!(!listed.contains("canary"), "{listed}");
    let (csr, _) = request();
    for path in ["/api/v1/certificates", "/api/v1/devices", "/api/v1/brokers"] {
        agent
            .https
            .post(path, &json!({ "csr": csr, "name": "x" }))
            .expect(401, "API key");
    }
    // The fleet's devices are no agents.
    muster.ok(&["cert", "issue", "site-1", "--out", "site-1"]);
    let of = |end: &str| muster.path().join("site-1").join(format!("site-1.{end}"));
    let site = Https::with_certificate(muster.api, &muster.root(), &of("crt"), &of("key"));
    site.get("/api/v1/agent/stream").expect(403, "agent");
    site.post("/api/v1/agent/certificate", &json!({ "csr": csr }))
        .expect(403, "agent");
    // Nobody waits for a broker that is out of service, and its agent is heard no more.
    muster.ok(&["broker", "retire", HUB]);
    agent
        .https
        .get("/api/v1/agent/stream")
        .expect(409, "out of service");
}

#[test]
fn what_cannot_be_a_broker_is_refused() {
    let muster = without_server();
    muster.ok(&["device", "create", "site-1"]);
    for (line, words) in [
        ("broker add site-1", "registered as a client"),
        ("broker add muster-hub", "reserved"),
        ("broker add hub --program apache", "choose one of mosquitto"),
        ("broker add hub --kind client", "client"),
        ("broker join nobody", "there is no broker"),
        ("broker retire nobody", "there is no broker"),
    ] {
        let output = muster.run(&line.split_whitespace().collect::<Vec<_>>());
        assert!(!output.status.success(), "{line}");
        assert!(
            text(&output.stderr).contains(words),
            "{line}: {}",
            text(&output.stderr)
        );
    }
    assert!(!muster.path().join("hub.join").exists());
    muster.ok(&["broker", "add", "hub.example.org"]);
    let twice = muster.run(&["broker", "add", "hub.example.org", "--out", "other"]);
    assert!(
        text(&twice.stderr).contains("muster broker join"),
        "{}",
        text(&twice.stderr)
    );
}

/// What the agent of the first release says, word for word.
const FIRST_RELEASE: &str = r#"{"outcome":{"number":1795258800123,"sequence":1,"proven":true,"steps":[{"name":"check","micros":900},{"name":"write","micros":1500},{"name":"prove","micros":8500}]},"enforced":1795258800123,"sequence":1,"crl_next_update":"2099-01-01T00:00:00Z","certificate_not_after":"2099-01-01T00:00:00Z","sessions":3,"alarms":[],"denials":[{"device":"site-9","topic":"t","times":2}],"version":"0.1.0"}"#;

#[test]
fn agents_of_older_and_newer_releases_are_understood() {
    let muster = Muster::start();
    muster.ok(&["broker", "add", HUB]);
    let agent = Agent::join(&muster, &format!("{HUB}.join"));
    let mut report: Value = serde_json::from_str(FIRST_RELEASE).unwrap();
    agent.report(&report);
    // Its only epoch is not of this CA, so that it is unconfirmed.
    let listed = muster.run(&["broker", "list", "--json"]);
    let shown = &serde_json::from_slice::<Value>(&listed.stdout).unwrap()["items"][0];
    assert_eq!(
        (&shown["sessions"], &shown["agent_version"]),
        (&json!(3), &json!("0.1.0"))
    );
    assert_eq!(shown["enforced"]["micros"], 10_900);
    report["load"] = json!({ "later": 1 });
    report["outcome"]["later"] = json!(true);
    report["outcome"]["number"] = json!(1_795_258_800_124_u64);
    report["denials"][0]["later"] = json!([]);
    agent.report(&report);
    agent.listen("?format=7&later=x").next();
}

/// What `broker config` and `broker run --print-config` print for a kind of broker, file by file.
fn printed(muster: &Muster, args: &[&str]) -> Vec<String> {
    let answer = muster.json(args);
    let Some(parts) = answer["configuration"].as_array() else {
        // RabbitMQ's two files come as one text.
        let text = answer["configuration"].as_str().unwrap();
        let advanced = text.find("\n[{").map(|at| text[at + 1..].to_owned());
        let conf = &text[..text.len() - advanced.as_ref().map_or(0, String::len)];
        return std::iter::once(conf.to_owned()).chain(advanced).collect();
    };
    let text = |part: &Value| part["text"].as_str().unwrap().to_owned();
    parts.iter().map(text).collect()
}

#[test]
fn nothing_is_found_in_any_configuration_that_is_printed() {
    let muster = Muster::stopped(&[]);
    let of_agents = ["mosquitto", "rabbitmq", "emqx", "haproxy"]
        .map(|program| vec!["broker", "run", HUB, "--print-config", "--program", program]);
    let by_hand = ["mosquitto", "emqx", "rabbitmq", "haproxy", "haproxy-tcp"]
        .map(|program| vec!["broker", "config", program, HUB]);
    let bridge = vec!["broker", "config", "bridge", "site-1", "--broker", HUB];
    for args in of_agents.iter().chain(&by_hand).chain([&bridge]) {
        let files: Vec<_> = printed(&muster, args)
            .into_iter()
            .enumerate()
            .map(|(number, text)| {
                let name = format!("{number}.conf");
                // What lies on this machine does not count.
                let text = text.replace("/etc/", "/nowhere/");
                std::fs::write(muster.path().join(&name), text).unwrap();
                name
            })
            .collect();
        let mut lint = vec!["broker", "lint"];
        lint.extend(files.iter().map(String::as_str));
        let found = muster.json(&lint);
        assert_eq!(found["findings"], json!([]), "{args:?}");
    }
}
