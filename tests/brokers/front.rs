//! The agent beside what ends TLS in front of a broker: HAProxy, and the gate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::{MUSTER, Running, free_port, tool, wait_for};
use crate::fleet::{BROKER, Fleet, Mosquitto, spawn, wait_for_port};
use crate::mqtt::{Client, Subscriber};

/// A CA, a Mosquitto without TLS, what stands in front of it, and the agent.
struct Front {
    fleet: Fleet,
    port: u16,
    program: &'static str,
    agent: Option<Running>,
    front: Option<Running>,
    behind: Mosquitto,
}

impl Front {
    fn start(program: &'static str) -> Option<Self> {
        let fleet = Fleet::start()?;
        let url = fleet.muster.url();
        let sans = [
            "--san",
            "localhost,127.0.0.1",
            "--program",
            program,
            "--ca-url",
            &url,
        ];
        fleet.muster.ok(&[&["broker", "add", BROKER][..], &sans].concat());
        fs::create_dir_all(fleet.path(BROKER)).unwrap();
        fs::copy(fleet.muster.root(), fleet.ca()).unwrap();
        // HAProxy does not look at topics.
        let acl = fleet.path("behind.acl");
        fs::write(&acl, "pattern readwrite fleet/%c/#\n").unwrap();
        let more = format!("acl_file {}\n", acl.display());
        let more = if program == "haproxy" { more.as_str() } else { "" };
        let behind = Mosquitto::start_plain(&fleet.path("behind"), more);
        let mut front = Self {
            port: free_port(),
            fleet,
            program,
            agent: None,
            front: None,
            behind,
        };
        front.start_agent();
        wait_for("the agent's files", || front.path("front/server.pem").exists());
        front.start_front();
        front.proven();
        Some(front)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.fleet.path(name)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(MUSTER);
        let option = |command: &mut Command, name: &str, path: &Path| {
            command.arg(name).arg(path);
        };
        command.args(["broker", "run", BROKER]).stdin(Stdio::null());
        option(&mut command, "--state", &self.path("agent"));
        option(&mut command, "--dir", &self.path("front"));
        option(&mut command, "--pid-file", &self.path("front.pid"));
        option(&mut command, "--control", &self.path("control"));
        command.args(["--listener", &format!("127.0.0.1:{}", self.port)]);
        command
    }

    fn start_agent(&mut self) {
        let mut command = self.command();
        command.arg("--join").arg(self.path(&format!("{BROKER}.join")));
        self.agent = Some(spawn(&mut command, &self.path("agent.log")));
    }

    fn start_front(&mut self) {
        let behind = format!("127.0.0.1:{}", self.behind.port);
        let mut command = if self.program == "gate" {
            let mut command = Command::new(MUSTER);
            command.arg("gate").arg("--dir").arg(self.path("front"));
            command.args(["--listen", &format!("127.0.0.1:{}", self.port), "--to", &behind]);
            command
        } else {
            let mut print = self.command();
            let conf = print
                .args(["--print-config", "--program", self.program])
                .output()
                .unwrap();
            let conf = String::from_utf8(conf.stdout).unwrap();
            let conf = conf.replace("bind :", "bind 127.0.0.1:");
            fs::write(self.path("front.cfg"), conf.replace("127.0.0.1:1883", &behind)).unwrap();
            let mut command = Command::new(tool("haproxy").unwrap());
            command.arg("-db").arg("-f").arg(self.path("front.cfg"));
            command
        };
        self.front = Some(spawn(&mut command, &self.path("front.log")));
        wait_for_port(self.port, &self.path("front.log"));
    }

    fn proven(&self) {
        wait_for("a proof", || {
            let output = self.fleet.muster.run(&["broker", "list", "--json"]);
            let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            all["items"][0]["state"] == "proven"
        });
    }

    /// `broker test` finds nothing wrong, and tries everything but these.
    fn holds(&self, not_tried: &[&str]) {
        let address = format!("localhost:{}", self.port);
        let said = self
            .fleet
            .muster
            .json(&["broker", "test", &address, "--wait", "60"]);
        let trials = said["trials"].as_array().unwrap().iter();
        let rest = trials.filter(|one| one["outcome"] != "held");
        let rest: Vec<_> = rest
            .map(|one| (one["outcome"].as_str(), one["as"].as_str()))
            .collect();
        let expected: Vec<_> = not_tried
            .iter()
            .map(|&whom| (Some("not-tried"), Some(whom)))
            .collect();
        assert_eq!(rest, expected, "{said:#}");
    }

    fn device(&self, name: &str) -> Client {
        self.fleet.issue(name, &["--kind", "client"]);
        Client::of(&self.fleet, name, self.port)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for log in ["agent.log", "front.log"] {
                let said = fs::read_to_string(self.path(log)).unwrap_or_default();
                eprintln!("--- {log}\n{said}");
            }
            eprintln!("--- broker\n{}", self.behind.log());
        }
    }
}

fn a_revoked_device_is_out_and_comes_back_with_another_certificate(
    program: &'static str,
    not_tried: &[&str],
) {
    let Some(front) = Front::start(program) else {
        return;
    };
    let devices = ["site-1", "site-2"].map(|name| front.device(name));
    let sessions: [Subscriber; 2] =
        [1, 2].map(|number| devices[number - 1].subscribes(&format!("fleet/site-{number}/#")));
    assert!(!devices[1].publishes_as("site-1", "fleet/site-2/up", "with another's client id"));
    front.fleet.muster.ok(&["device", "revoke", "site-1", "--yes"]);
    assert_eq!(devices[0].alert().as_deref(), Some("certificate revoked"));
    assert!(!devices[0].publishes("fleet/site-1/up", "after"));
    assert_eq!(sessions[1].connections(), 1, "nobody else is lost");
    assert!(devices[1].publishes("fleet/site-2/up", "still here"));
    let ended = [
        "Client site-1 closed its connection",
        "Client site-1 already connected, closing old connection",
    ];
    wait_for("the end of its session", || {
        let log = front.behind.log();
        ended.iter().any(|words| log.contains(words))
    });

    front.fleet.muster.ok(&["device", "rearm", "site-1"]);
    fs::remove_dir_all(front.path("site-1")).unwrap();
    let again = front.device("site-1");
    front.proven();
    assert!(again.publishes("fleet/site-1/up", "again"));
    front.holds(not_tried);
}

#[test]
fn behind_haproxy_a_revoked_device_is_out() {
    a_revoked_device_is_out_and_comes_back_with_another_certificate("haproxy", &["WebSocket"]);
}

#[test]
fn behind_the_gate_a_revoked_device_is_out() {
    a_revoked_device_is_out_and_comes_back_with_another_certificate("gate", &["WebSocket"]);
}

/// The gate holds its sessions without the agent, and goes on refusing.
#[test]
fn the_gate_goes_on_without_the_agent() {
    let Some(mut front) = Front::start("gate") else {
        return;
    };
    let (site, bad) = (front.device("site-1"), front.device("bad"));
    let session = site.subscribes("fleet/site-1/#");
    front.fleet.muster.ok(&["device", "revoke", "bad", "--yes"]);
    drop(front.agent.take());
    assert_eq!(bad.alert().as_deref(), Some("certificate revoked"));
    assert!(site.publishes("fleet/site-1/up", "without the agent"));
    // What is not allowed is refused, and reported once the agent is back.
    site.publishes("fleet/other/up", "not mine");
    front.start_agent();
    front.proven();
    wait_for("the report", || {
        let output = front.fleet.muster.run(&["broker", "list", "--json"]);
        String::from_utf8_lossy(&output.stdout).contains("fleet/other/up")
    });
    for line in [&["broker", "list"][..], &["device", "show", "site-1"]] {
        let output = front.fleet.muster.run(line);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            said.contains("REFUSED TOPIC") && said.contains("fleet/other/up"),
            "{said}"
        );
    }
    let quiet = front.fleet.muster.ok(&["device", "show", "bad"]);
    assert!(!quiet.contains("REFUSED TOPIC"), "{quiet}");
    drop(front.front.take());
    front.start_front();
    front.proven();
    assert_eq!(bad.alert().as_deref(), Some("certificate revoked"));
    drop(session);
}
