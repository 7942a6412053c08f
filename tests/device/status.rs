//! `muster agent status` and `status.json`: what is wrong is said, and what is well is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use muster_agent::device::look::Look;
use muster_agent::device::settings::read_settings;
use serde_json::{Value, json};

use crate::common::{Muster, Running, free_port, text, wait_for};
use crate::other_ca::since_yesterday;
use crate::{Device, code};

fn enrolled(muster: &Muster, name: &str) -> Device {
    let device = Device::new(muster, name);
    device.ok(&["agent", "enrol", &code(muster, &[name])]);
    device
}

fn told(device: &Device) -> Value {
    let read = std::fs::read(device.file("status.json")).unwrap_or_default();
    serde_json::from_slice(&read).unwrap_or_default()
}

fn run(device: &Device) -> Running {
    let log = std::fs::File::create(device.dir.with_extension("log")).unwrap();
    Running(device.command(&["agent", "run"]).stderr(log).spawn().unwrap())
}

fn log(device: &Device) -> String {
    std::fs::read_to_string(device.dir.with_extension("log")).unwrap()
}

#[test]
fn a_device_that_cannot_work_is_said_to_need_somebody() {
    let muster = Muster::start();
    let device = enrolled(&muster, "site-001");
    let stranger = since_yesterday("stranger");
    for (file, holds, words) in [
        ("site-001.key", None, "site-001.key is gone"),
        ("site-001.key", Some("nonsense"), "muster device recover site-001"),
        ("site-001.crt", None, "muster device recover site-001"),
        ("site-001.crt", Some(&stranger[..]), "do not belong together"),
        ("ca.crt", None, "ca.crt is gone"),
        ("ca.crt", Some("nonsense"), "ca.crt is gone or cannot be read"),
        ("ca.crt", Some(&stranger[..]), "comes from no root in ca.crt"),
    ] {
        let whole = device.read(file);
        match holds {
            Some(text) => std::fs::write(device.file(file), text).unwrap(),
            None => std::fs::remove_file(device.file(file)).unwrap(),
        }
        let said = device.exits(5, &["agent", "status"]);
        assert!(said.contains(words), "{file} {holds:?}: {said}");
        std::fs::write(device.file(file), whole).unwrap();
        device.ok(&["agent", "status"]);
    }
}

#[test]
fn in_json_a_time_is_a_time_or_null() {
    let muster = Muster::start();
    let device = enrolled(&muster, "site-001");
    let said: Value = serde_json::from_str(&device.ok(&["agent", "status", "--json"])).unwrap();
    let not_after: Timestamp = said["not_after"].as_str().unwrap().parse().unwrap();
    assert!(said["at"].as_str().unwrap().parse::<Timestamp>().unwrap() < not_after);
    for key in ["renew_at", "problem", "last_time"] {
        assert_eq!(said.get(key), Some(&Value::Null), "{said}");
    }
    assert!(device.ok(&["agent", "status"]).contains("not planned"));
    std::fs::remove_file(device.file("site-001.crt")).unwrap();
    let output = device.run(&["agent", "status", "--json"]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["not_after"], Value::Null);
}

#[test]
fn the_agent_writes_a_lost_ca_crt_anew() {
    let muster = Muster::start();
    let device = enrolled(&muster, "site-001");
    let whole = device.read("ca.crt");
    for nonsense in [None, Some("nonsense")] {
        match nonsense {
            Some(text) => std::fs::write(device.file("ca.crt"), text).unwrap(),
            None => std::fs::remove_file(device.file("ca.crt")).unwrap(),
        }
        let before = device.read("site-001.crt");
        let _agent = run(&device);
        wait_for("ca.crt", || {
            std::fs::read_to_string(device.file("ca.crt")).is_ok_and(|text| text == whole)
        });
        wait_for("a plan", || told(&device)["renew_at"].is_string());
        device.ok(&["agent", "status"]);
        assert_eq!(
            device.read("site-001.crt"),
            before,
            "no renewal was needed for that"
        );
    }
    // What can be read was perhaps put there on purpose.
    std::fs::write(device.file("ca.crt"), since_yesterday("stranger")).unwrap();
    let _agent = run(&device);
    wait_for("the problem", || told(&device)["problem"].is_string());
    assert!(
        device
            .exits(5, &["agent", "status"])
            .contains("muster agent renew")
    );
    assert!(told(&device)["renew_at"].is_string(), "it renews all the same");
    device.ok(&["agent", "renew"]);
    assert_eq!(device.read("ca.crt"), whole);
    device.ok(&["agent", "status"]);
}

#[test]
fn what_came_of_a_renewal_by_hand_is_in_the_status() {
    let mut muster = Muster::start();
    let device = enrolled(&muster, "site-001");
    muster.stop();
    device.exits(1, &["agent", "renew"]);
    assert!(device.exits(5, &["agent", "status"]).contains("cannot reach"));
    muster.serve();
    device.ok(&["agent", "renew"]);
    device.ok(&["agent", "status"]);
    device.set_hook("exit 3");
    let said = device.exits(1, &["agent", "renew"]);
    let whole = "the certificate before is in use again: the hook failed: exit status: 3; when that was put back, once more the hook \
                 failed: exit status: 3";
    assert!(said.contains(whole), "{said}");
    assert!(device.exits(5, &["agent", "status"]).contains(whole));
}

/// The machine's clock, and by how many seconds it is ahead.
fn clock(ahead: &Arc<AtomicI64>) -> muster_agent::Clock {
    let ahead = ahead.clone();
    #[allow(
        clippy::disallowed_methods,
        reason = "the machine's clock, and by how much it is wrong"
    )]
    Arc::new(move || Timestamp::now() + SignedDuration::from_secs(ahead.load(Ordering::Relaxed)))
}

#[test]
fn an_agent_that_never_ran_is_missed() {
    let muster = Muster::start();
    let device = enrolled(&muster, "site-001");
    std::fs::remove_file(device.file("status.json")).unwrap();
    let settings = read_settings(&device.dir).unwrap().unwrap();
    let problem = |hours: i64| {
        let clock = clock(&Arc::new((hours * 3600).into()));
        Look::take(&device.dir, &settings, &clock).unwrap().problem
    };
    assert_eq!(problem(0), None);
    assert!(problem(13).unwrap().contains("has said nothing since"));
    assert!(
        problem(24 * 3650)
            .unwrap()
            .contains("the certificate has ended on")
    );
}

/// The agent beside a clock that a test sets.
fn run_by(device: &Device, ahead: &Arc<AtomicI64>) {
    let (dir, clock) = (device.dir.clone(), clock(ahead));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(muster_agent::device::run::run(
            &dir,
            clock,
            std::future::pending(),
        ))
    });
}

#[test]
fn a_clock_that_is_set_while_the_agent_runs_is_no_false_alarm() {
    let muster = Muster::start();
    for (name, ahead) in [
        ("site-001", -20 * 86_400),
        ("site-002", -1_700_000_000),
        ("site-003", 86_400 * 3650),
    ] {
        let device = enrolled(&muster, name);
        std::fs::remove_file(device.file("status.json")).unwrap();
        let before = device.read(&format!("{name}.crt"));
        let wrong = Arc::new(AtomicI64::new(ahead));
        run_by(&device, &wrong);
        let off = |by: i64| {
            told(&device)["clock_ahead"]
                .as_i64()
                .is_some_and(|off| (off - by).abs() < 60)
        };
        wait_for("the agent to say how wrong the clock is", || off(ahead));
        assert_eq!(told(&device)["problem"], Value::Null);
        // This program's own clock is right: somebody has set it since.
        device.ok(&["agent", "status"]);
        wrong.store(0, Ordering::Relaxed);
        wait_for("the agent to see that the clock was set", || off(0));
        assert_eq!(told(&device)["problem"], Value::Null);
        device.ok(&["agent", "status"]);
        assert_eq!(
            device.read(&format!("{name}.crt")),
            before,
            "it did not take it for ended"
        );
    }
}

#[test]
fn a_clock_that_is_wrong_still_is_said_to_be() {
    let muster = Muster::start();
    let device = enrolled(&muster, "site-001");
    let mut said = told(&device);
    let at: Timestamp = said["at"].as_str().unwrap().parse().unwrap();
    said["at"] = json!((at - SignedDuration::from_secs(600)).to_string());
    said["clock_ahead"] = json!(600);
    std::fs::write(device.file("status.json"), said.to_string()).unwrap();
    assert!(
        device
            .exits(5, &["agent", "status"])
            .contains("10m ahead of the CA's")
    );
}

#[test]
fn a_broker_that_is_not_there_shows_at_once_and_keeps_nobody_from_renewing() {
    let muster = Muster::start();
    let device = Device::new(&muster, "site-001");
    let broker = format!("localhost:{}", free_port());
    let output = device.run(&[
        "agent",
        "enrol",
        &code(&muster, &["site-001"]),
        "--broker",
        &broker,
    ]);
    assert!(output.status.success());
    let words = format!("cannot reach the broker {broker}");
    let said = text(&output.stderr);
    assert!(
        said.contains(&words) && said.contains("is --broker right?"),
        "{said}"
    );
    let agent = run(&device);
    wait_for("the problem", || told(&device)["problem"].is_string());
    assert!(device.exits(5, &["agent", "status"]).contains(&words));
    assert!(told(&device)["renew_at"].is_string(), "there is a plan");
    drop(agent);
    assert_eq!(log(&device).matches(&words).count(), 1, "{}", log(&device));
}
