//! The agent beside a real Mosquitto: what the CA says is enforced, and what cannot be is not.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{MUSTER, Running, free_port, wait_for, wait_for_child};
use crate::fleet::{BROKER, Fleet, Mosquitto};
use crate::mqtt::Client;

/// A CA, a broker and the agent beside it.
pub struct Beside {
    pub fleet: Fleet,
    pub port: u16,
    agent: Option<Running>,
    broker: Option<Mosquitto>,
}

impl Beside {
    /// With an agent that has brought the broker's files, and a broker that runs on them.
    pub fn start() -> Option<Self> {
        let fleet = Fleet::start()?;
        let url = fleet.muster.url();
        fleet.muster.ok(&[
            "broker",
            "add",
            BROKER,
            "--san",
            "localhost,127.0.0.1",
            "--ca-url",
            &url,
        ]);
        // Where clients of this story find the root.
        fs::create_dir_all(fleet.path(BROKER)).unwrap();
        fs::copy(fleet.muster.root(), fleet.ca()).unwrap();
        let mut beside = Self {
            port: free_port(),
            fleet,
            agent: None,
            broker: None,
        };
        beside.start_agent();
        let acl = beside.dir().join("acl");
        wait_for("the agent's files", || acl.exists() || beside.agent_ended());
        beside.start_broker();
        beside.proven();
        Some(beside)
    }

    pub fn dir(&self) -> PathBuf {
        self.fleet.path("hub")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(MUSTER);
        let path = |name: &str| self.fleet.path(name);
        command
            .args(["broker", "run", BROKER])
            .arg("--join")
            .arg(path(&format!("{BROKER}.join")));
        command
            .arg("--state")
            .arg(path("agent"))
            .arg("--dir")
            .arg(self.dir());
        command
            .arg("--pid-file")
            .arg(path("mosquitto.pid"))
            .arg("--log")
            .arg(self.etc().join("log"));
        command.args(["--listener", &format!("127.0.0.1:{}", self.port)]);
        command
            .env("MUSTER_LOG", "debug,rustls=info")
            .stdin(Stdio::null());
        command.env_remove("MUSTER_TEST_PYTHON");
        command
    }

    pub fn start_agent(&mut self) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.agent_log())
            .unwrap();
        let mut command = self.command();
        let child = command
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.agent = Some(Running(child));
    }

    fn agent_log(&self) -> PathBuf {
        self.fleet.path("agent.log")
    }

    /// What the agent said so far.
    pub fn said(&self) -> String {
        fs::read_to_string(self.agent_log()).unwrap_or_default()
    }

    fn agent_ended(&mut self) -> bool {
        let agent = self.agent.as_mut().unwrap();
        let ended = agent.0.try_wait().unwrap().is_some();
        assert!(!ended, "the agent ended:\n{}", self.said());
        false
    }

    /// Ends the agent as a power cut does.
    pub fn kill_agent(&mut self) {
        drop(self.agent.take());
    }

    fn etc(&self) -> PathBuf {
        self.fleet.path("etc")
    }

    pub fn start_broker(&mut self) {
        let output = self.command().arg("--print-config").output().unwrap();
        let conf = String::from_utf8(output.stdout).unwrap();
        let conf = conf
            .replace(
                &format!("\nlistener {}\n", self.port),
                &format!("\nlistener {} 127.0.0.1\n", self.port),
            )
            .replace("#log_type all", "log_type all");
        let pid = self.fleet.path("mosquitto.pid");
        let conf = format!("{conf}pid_file {}\n", pid.display());
        self.broker = Some(Mosquitto::start(&self.etc(), &conf, self.port));
    }

    pub fn broker(&self) -> &Mosquitto {
        self.broker.as_ref().unwrap()
    }

    /// What the CA knows of the broker.
    pub fn known(&self) -> serde_json::Value {
        let output = self.fleet.muster.run(&["broker", "list", "--json"]);
        let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        all["items"][0].clone()
    }

    /// Waits until the CA has the proof for everything that was decided.
    pub fn proven(&mut self) {
        wait_for("a proof", || {
            self.agent_ended() || self.known()["state"] == "proven"
        });
    }

    /// A device with a certificate, and its session.
    pub fn device(&self, name: &str) -> Client {
        self.fleet.issue(name, &["--kind", "client"]);
        Client::of(&self.fleet, name, self.port)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- agent's log\n{}", self.said());
            eprintln!(
                "--- broker's log\n{}",
                self.broker.as_ref().map(Mosquitto::log).unwrap_or_default()
            );
        }
    }
}

#[test]
fn a_revoked_device_loses_its_session_and_nobody_else_does() {
    let Some(mut beside) = Beside::start() else { return };
    let devices = ["site-1", "site-2", "site-3"].map(|name| beside.device(name));
    let sessions: Vec<_> = devices
        .iter()
        .zip(1..)
        .map(|(device, number)| device.subscribes(&format!("fleet/site-{number}/#")))
        .collect();
    beside.fleet.muster.ok(&["device", "revoke", "site-1", "--yes"]);
    beside.proven();
    assert_eq!(devices[0].alert().as_deref(), Some("certificate revoked"));
    let log = beside.broker().log();
    assert!(
        log.contains("Client site-1 already connected, closing old connection."),
        "{log}"
    );
    assert!(!devices[0].publishes("fleet/site-1/up", "after"));
    for name in ["site-2", "site-3"] {
        assert!(!log.contains(&format!("Client {name} disconnected")), "{log}");
    }
    assert_eq!(sessions[1].connections() + sessions[2].connections(), 2);
    assert!(devices[1].publishes("fleet/site-2/up", "still here"));

    // Armed anew it comes back with another certificate, at once, and stays.
    beside.fleet.muster.ok(&["device", "rearm", "site-1"]);
    fs::remove_dir_all(beside.fleet.path("site-1")).unwrap();
    let again = beside.device("site-1");
    beside.proven();
    let session = again.subscribes("fleet/site-1/#");
    beside.fleet.muster.ok(&["device", "suspend", "site-3"]);
    assert_eq!(session.connections(), 1, "nobody holds its session any more");
    // A canary lives for minutes, and is replaced when it is old; not whenever it is looked at.
    let canaries = beside
        .fleet
        .muster
        .json(&["audit", "list", "--action", "canary.issued"]);
    assert!(canaries["items"].as_array().unwrap().len() <= 2, "{canaries}");
}

/// The agent brings the revocation of the certificate that the listener is tried with by itself.
#[test]
fn a_listener_with_an_agent_holds() {
    let Some(beside) = Beside::start() else { return };
    let address = format!("localhost:{}", beside.port);
    let answer = beside.fleet.muster.json(&["broker", "test", &address]);
    let all = answer["trials"].as_array().unwrap();
    let outcome = |whom: &str| all.iter().find(|one| one["as"] == whom).unwrap()["outcome"].clone();
    assert_eq!(
        (outcome("revoked"), outcome("resumed session")),
        ("held".into(), "held".into())
    );
    let wrong: Vec<_> = all.iter().filter(|one| one["outcome"] == "wrong").collect();
    assert_eq!((wrong, outcome("foreign topic")), (Vec::new(), "held".into()));
}

#[test]
fn an_agent_that_was_killed_goes_on_where_it_was() {
    let Some(mut beside) = Beside::start() else { return };
    let device = beside.device("site-1");
    let other = beside.device("site-2");
    beside.kill_agent();
    let said = beside.fleet.muster.exits(5, &["device", "suspend", "site-1"]);
    assert!(said.contains("unconfirmed"), "{said}");
    assert_eq!(device.alert(), None, "nobody has told the broker");
    beside.start_agent();
    beside.proven();
    assert_eq!(device.alert().as_deref(), Some("certificate revoked"));
    assert_eq!(other.alert(), None);
    beside.fleet.muster.ok(&["device", "resume", "site-1"]);
    beside.proven();
    wait_for("the device to be let in", || device.alert().is_none());
    let mut agent = beside.agent.take().unwrap();
    kill_process(Pid::from_child(&agent.0), Signal::TERM).unwrap();
    assert!(wait_for_child(&mut agent.0, std::time::Duration::from_secs(5)).success());
}

/// MQTT 3.1.1 tells the device nothing; the broker's log tells the agent, and the agent the CA.
#[test]
fn a_refused_publish_is_known_to_the_ca() {
    let Some(beside) = Beside::start() else { return };
    let device = beside.device("site-1");
    wait_for("the report of a refused publish", || {
        assert!(device.publishes("fleet/site-2/up", "not mine"));
        let denials = beside.known()["denials"].clone();
        let all = denials.as_array().unwrap().iter();
        all.clone()
            .any(|one| one["device"] == "site-1" && one["topic"] == "fleet/site-2/up")
    });
}
