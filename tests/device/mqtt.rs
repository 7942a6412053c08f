//! `muster mqtt`, with a real Mosquitto that holds devices to their topics.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{MUSTER, Running, text, wait_for};
use crate::cut::Proxy;
use crate::fleet::{Fleet, Mosquitto};

/// The broker, `backend` that may see the fleet, and a device.
pub fn world() -> Option<(Fleet, Mosquitto)> {
    let fleet = Fleet::start()?;
    let printed = fleet.issue_broker();
    for name in ["site-001", "backend"] {
        fleet.issue(name, &["--kind", "client"]);
    }
    let central = fleet.central(&printed);
    let acl = central.etc.join("muster.acl");
    let rules = std::fs::read_to_string(&acl).unwrap();
    std::fs::write(
        &acl,
        rules.replace("user backend\n", "user backend\ntopic readwrite status/#\n"),
    )
    .unwrap();
    let (etc, port) = (central.etc.clone(), central.port);
    drop(central);
    Some((fleet, Mosquitto::run(&etc, port)))
}

pub fn mqtt(fleet: &Fleet, name: &str, port: u16, args: &[&str]) -> Command {
    let mut command = Command::new(MUSTER);
    command.arg("mqtt").args(args).arg("--dir").arg(fleet.path(name));
    command
        .args(["--broker", &format!("localhost:{port}")])
        .stdin(Stdio::null());
    command
}

/// A client that goes on, and what it has printed.
pub struct Client {
    running: Running,
    input: Option<ChildStdin>,
    log: PathBuf,
    printed: Arc<Mutex<Vec<String>>>,
}

impl Client {
    pub fn start(mut command: Command, log: &Path) -> Self {
        let file = std::fs::File::create(log).unwrap();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .unwrap();
        let printed = Arc::new(Mutex::new(Vec::new()));
        let (lines, sink) = (
            BufReader::new(child.stdout.take().unwrap()).lines(),
            printed.clone(),
        );
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .for_each(|line| sink.lock().unwrap().push(line))
        });
        Self {
            input: child.stdin.take(),
            log: log.to_owned(),
            running: Running(child),
            printed,
        }
    }

    /// Watches as `backend`, and sees a message of its own before anything else happens. That is asked for last: what another watcher
    /// left there comes at once, and the filter is in force by then.
    pub fn watch(fleet: &Fleet, port: u16, filter: &str) -> Self {
        let client = Self::start(
            mqtt(
                fleet,
                "backend",
                port,
                &[
                    "run",
                    "--status",
                    "status/backend",
                    "--subscribe",
                    filter,
                    "--subscribe",
                    "status/backend",
                    "--every",
                    "1h",
                ],
            ),
            &fleet.path("watch.log"),
        );
        client.sees("status/backend online");
        client
    }

    pub fn printed(&self) -> Vec<String> {
        self.printed.lock().unwrap().clone()
    }

    pub fn sees(&self, line: &str) {
        wait_for(line, || self.printed().iter().any(|one| one == line));
    }

    pub fn says(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.running.0), signal).unwrap();
    }

    pub fn ended(&mut self) -> std::process::ExitStatus {
        let child: &mut Child = &mut self.running.0;
        crate::common::wait_for_child(child, std::time::Duration::from_secs(60))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = std::fs::read_to_string(&self.log).unwrap_or_default();
            eprintln!("--- a client said\n{said}--- and printed\n{:#?}", self.printed());
        }
    }
}

#[test]
fn messages_arrive_with_every_protocol_and_quality() {
    let Some((fleet, central)) = world() else { return };
    let watch = Client::watch(&fleet, central.port, "#");
    for protocol in ["3.1.1", "5"] {
        for qos in ["0", "1", "2"] {
            let words = format!("{protocol} {qos}");
            let output = mqtt(
                &fleet,
                "site-001",
                central.port,
                &[
                    "pub",
                    "fleet/%u/up/t",
                    &words,
                    "--protocol",
                    protocol,
                    "--qos",
                    qos,
                ],
            )
            .output()
            .unwrap();
            assert!(output.status.success(), "{}", text(&output.stderr));
            watch.sees(&format!("fleet/site-001/up/t {words}"));
        }
    }
    let retained = mqtt(
        &fleet,
        "backend",
        central.port,
        &[
            "pub",
            "fleet/site-001/down/set",
            "21",
            "--retain",
            "--protocol",
            "3.1.1",
        ],
    );
    drop(watch);
    let mut retained = retained;
    assert!(retained.output().unwrap().status.success());
    let got = mqtt(
        &fleet,
        "site-001",
        central.port,
        &["sub", "fleet/%u/down/#", "--count", "1", "--json"],
    )
    .output()
    .unwrap();
    let got: serde_json::Value = serde_json::from_slice(&got.stdout).unwrap();
    assert_eq!(
        (
            got["topic"].as_str(),
            got["payload"].as_str(),
            got["retain"].as_bool()
        ),
        (Some("fleet/site-001/down/set"), Some("21"), Some(true))
    );
    // MQTT 5 tells that a message was not taken; a device may write below its own name only.
    let refused = mqtt(
        &fleet,
        "site-001",
        central.port,
        &["pub", "fleet/site-002/up/t", "x"],
    )
    .output()
    .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("does not take messages to fleet/site-002/up/t"),
        "{}",
        text(&refused.stderr)
    );
}

#[test]
fn a_device_is_online_and_offline_by_its_own_word_or_its_last_will() {
    let Some((fleet, central)) = world() else { return };
    let watch = Client::watch(&fleet, central.port, "#");
    for protocol in ["3.1.1", "5"] {
        let before = watch.printed().len();
        let seen = |line: &str| {
            wait_for(line, || {
                watch.printed()[before..].iter().any(|one| one.starts_with(line))
            })
        };
        let start = || {
            Client::start(
                mqtt(
                    &fleet,
                    "site-001",
                    central.port,
                    &["run", "--protocol", protocol, "--every", "1s"],
                ),
                &fleet.path("run.log"),
            )
        };
        let mut device = start();
        seen("status/site-001 online");
        seen("fleet/site-001/up/health {");
        device.signal(Signal::TERM);
        assert!(device.ended().success());
        seen("status/site-001 offline");
        let states = |watch: &Client| {
            watch.printed()[before..]
                .iter()
                .filter(|one| one.starts_with("status/site-001"))
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(
            states(&watch),
            ["status/site-001 online", "status/site-001 offline"]
        );
        // A power cut: the broker says it in its place.
        let device = start();
        wait_for("online again", || states(&watch).len() == 3);
        device.signal(Signal::KILL);
        wait_for("the last will", || states(&watch).len() == 4);
        assert_eq!(
            states(&watch)[2..],
            ["status/site-001 online", "status/site-001 offline"]
        );
    }
    let later = mqtt(
        &fleet,
        "backend",
        central.port,
        &["sub", "status/site-001", "--count", "1"],
    );
    drop(watch);
    let mut later = later;
    assert_eq!(text(&later.output().unwrap().stdout), "status/site-001 offline\n");
}

#[test]
fn nothing_is_lost_while_the_broker_is_away_or_the_network_is_cut() {
    let Some((fleet, mut central)) = world() else {
        return;
    };
    let proxy = Proxy::to(central.port);
    for (protocol, port) in [("5", proxy.port), ("3.1.1", proxy.port)] {
        let watch = Client::watch(&fleet, central.port, "fleet/#");
        let mut device = Client::start(
            mqtt(
                &fleet,
                "site-001",
                port,
                &[
                    "run",
                    "--protocol",
                    protocol,
                    "--publish",
                    "fleet/%u/up/t",
                    "--every",
                    "1h",
                ],
            ),
            &fleet.path("run.log"),
        );
        device.says("before");
        watch.sees("fleet/site-001/up/t before");
        drop(watch);
        proxy.shut(true);
        for number in 0..20 {
            device.says(&format!("cut {number}"));
        }
        // The broker restarts, too.
        let (etc, at) = (central.etc.clone(), central.port);
        drop(central);
        central = Mosquitto::run(&etc, at);
        let watch = Client::watch(&fleet, central.port, "fleet/#");
        proxy.shut(false);
        device.says("after");
        watch.sees("fleet/site-001/up/t after");
        for number in 0..20 {
            watch.sees(&format!("fleet/site-001/up/t cut {number}"));
        }
        device.signal(Signal::TERM);
        assert!(device.ended().success());
    }
}

/// Must end with 1; returns what it said.
fn fails(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    text(&output.stderr)
}

/// `site-001` says nothing to a broker that it cannot verify: by another name, of another CA. `watch` sees what comes through.
pub fn believes_nobody_else(fleet: &Fleet, port: u16, protocol: &str, watch: &Client) {
    let publish = |text| ["pub", "fleet/%u/up/t", text, "--protocol", protocol];
    // What leads there, and is no name in its certificate.
    let proxy = Proxy::between("127.0.0.2", port);
    let mut by_address = Command::new(MUSTER);
    by_address
        .arg("mqtt")
        .args(publish("secret"))
        .arg("--dir")
        .arg(fleet.path("site-001"));
    by_address.args(["--broker", &format!("127.0.0.2:{}", proxy.port)]);
    let said = fails(by_address);
    assert!(said.contains("not for 127.0.0.2"), "{said}");

    let strange = Fleet::start().unwrap();
    strange.issue("other", &["--kind", "client"]);
    let ca = fleet.path("site-001").join("ca.crt");
    let kept = std::fs::read(&ca).unwrap();
    std::fs::copy(strange.path("other").join("ca.crt"), &ca).unwrap();
    let said = fails(mqtt(fleet, "site-001", port, &publish("secret")));
    assert!(said.contains("a CA that is not in ca.crt"), "{said}");
    std::fs::write(&ca, kept).unwrap();

    // Nothing was sent: what is sent to the right broker comes first.
    let sent = mqtt(fleet, "site-001", port, &publish("plain")).output().unwrap();
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    watch.sees("fleet/site-001/up/t plain");
    let seen = watch.printed();
    assert!(!seen.iter().any(|line| line.ends_with("secret")), "{seen:?}");
}

/// `backend` tries four times where nobody listens: each pause is in the upper half of what has doubled since the first second, and as long
/// as it says. The log is JSON, a line for each event.
pub fn backs_off_within_bounds(fleet: &Fleet, port: u16, protocol: &str) {
    let args = [
        "pub",
        "fleet/t",
        "x",
        "--attempts",
        "4",
        "--json",
        "--protocol",
        protocol,
    ];
    let said = fails(mqtt(fleet, "backend", port, &args));
    let lines: Vec<serde_json::Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [tries @ .., last] = &lines[..] else {
        panic!("{said}")
    };
    let message = last["error"]["message"].as_str().unwrap();
    assert!(message.contains("no connection to localhost"), "{said}");
    assert_eq!(tries.len(), 3, "{said}");
    let mut earliest = jiff::Timestamp::UNIX_EPOCH;
    for (number, line) in tries.iter().enumerate() {
        let (attempt, pause) = (
            line["attempt"].as_u64().unwrap(),
            line["pause_ms"].as_i64().unwrap(),
        );
        let whole = 1000 << number;
        assert_eq!(attempt, number as u64 + 1, "{said}");
        assert!((whole / 2..=whole).contains(&pause), "{said}");
        let at: jiff::Timestamp = line["timestamp"].as_str().unwrap().parse().unwrap();
        assert!(at >= earliest, "{said}");
        assert_eq!(line["level"], "WARN", "{said}");
        earliest = at + jiff::SignedDuration::from_millis(pause);
    }
}

#[test]
fn only_the_right_broker_is_believed_and_attempts_end() {
    let Some((fleet, central)) = world() else { return };
    let port = central.port;
    let watch = Client::watch(&fleet, port, "fleet/#");
    believes_nobody_else(&fleet, port, "5", &watch);
    let sessions = central.log().matches(" as site-001 ").count();
    assert_eq!(sessions, 1, "{}", central.log());
    drop(watch);

    fleet.muster.exits(5, &["device", "revoke", "site-001", "--yes"]);
    fleet.reload(&central);
    let publish = ["pub", "fleet/%u/up/t", "revoked"];
    // Until the broker has read its files again, it lets the device in; and a refusal may come as a connection that breaks.
    wait_for("the refusal", || {
        let tried = mqtt(&fleet, "site-001", port, &publish).output().unwrap();
        text(&tried.stderr).contains("as revoked")
    });
    fails(mqtt(&fleet, "site-001", port, &publish));
    drop(central);
    backs_off_within_bounds(&fleet, port, "5");
}

#[test]
fn a_long_message_is_a_message() {
    let Some((fleet, central)) = world() else { return };
    let long = "x".repeat(20 << 10);
    for protocol in ["3.1.1", "5"] {
        let version = ["--protocol", protocol];
        let publish = ["pub", "fleet/site-001/down/set", &long, "--retain"];
        let sent = mqtt(
            &fleet,
            "backend",
            central.port,
            &[&publish[..], &version].concat(),
        )
        .output();
        assert!(sent.unwrap().status.success());
        let receive = ["sub", "fleet/%u/down/#", "--count", "1", "--attempts", "1"];
        let got = mqtt(
            &fleet,
            "site-001",
            central.port,
            &[&receive[..], &version].concat(),
        );
        let got = { got }.output().unwrap();
        assert!(text(&got.stdout).contains(&long), "{}", text(&got.stderr));
    }
}
