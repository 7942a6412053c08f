//! `muster agent renew` and `run`: with a broker that refuses, with one that is away, with a bridge.

use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{MUSTER, Muster, Running, free_port, text, wait_for, wait_for_child};
use crate::fleet::{Fleet, Mosquitto, spawn};
use crate::mqtt::{Client, mqtt};
use crate::{Device, code, living, mode};

/// Certificates for seconds, so that a test sees several.
const BRIEF: &str = "[profile.brief]\nbase = \"client\"\nmin = \"1s\"\ndefault = \"10s\"\n";

/// A device of the fleet that has enrolled, with these flags.
fn enrolled(fleet: &Fleet, name: &str, profile: &str, flags: &[&str]) -> Device {
    let device = Device::new(&fleet.muster, name);
    let code = code(&fleet.muster, &[name, "--profile", profile]);
    device.ok(&[&["agent", "enrol", &code], flags].concat());
    device
}

fn pair(device: &Device, name: &str) -> (String, String) {
    (
        device.read(&format!("{name}.crt")),
        device.read(&format!("{name}.key")),
    )
}

fn left_over(device: &Device) -> Vec<String> {
    let names = std::fs::read_dir(&device.dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| name.ends_with(".previous") || name.ends_with(".new"))
        .collect()
}

#[test]
fn a_renewed_device_has_another_key_and_its_old_certificate_is_given_up() {
    let Some(fleet) = Fleet::start() else { return };
    let file = fleet.path("hook-ran");
    let hook = format!("cat site-001.crt > {}", file.display());
    let device = enrolled(&fleet, "site-001", "client", &["--hook", &hook]);
    for _ in 0..3 {
        let before = pair(&device, "site-001");
        device.ok(&["agent", "renew"]);
        let after = pair(&device, "site-001");
        assert!(before.0 != after.0 && before.1 != after.1);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), after.0);
        assert_eq!(mode(&device.file("site-001.key")), 0o600);
        let alive = living(&fleet.muster, "site-001");
        assert_eq!(alive.len(), 1, "the one before is superseded: {alive:?}");
        assert_eq!(left_over(&device), [""; 0]);
    }
    let said = device.ok(&["agent", "status"]);
    assert!(
        said.contains("site-001") && said.contains("problem   none"),
        "{said}"
    );
    let nobody = Device::new(&fleet.muster, "nobody");
    nobody.exits(3, &["agent", "status"]);
    assert!(
        nobody
            .exits(3, &["agent", "renew"])
            .contains("muster token create")
    );
}

#[test]
fn what_the_broker_refuses_is_not_used() {
    let Some(fleet) = Fleet::start() else { return };
    let printed = fleet.issue_broker();
    let central = fleet.central(&printed);
    let broker = format!("localhost:{}", central.port);
    let device = enrolled(&fleet, "site-001", "client", &["--broker", &broker]);
    let before = pair(&device, "site-001");
    let stays = |words: &str| {
        let said = device.exits(1, &["agent", "renew"]);
        assert!(said.contains(words), "{said}");
        assert_eq!(pair(&device, "site-001"), before);
        assert_eq!(left_over(&device), [""; 0]);
        assert_eq!(
            living(&fleet.muster, "site-001").len(),
            2,
            "the same key has the same certificate"
        );
    };
    // The broker is away.
    let (etc, port) = (central.etc.clone(), central.port);
    drop(central);
    stays("cannot reach the broker");
    // It believes another CA.
    let strange = Fleet::start().unwrap();
    strange.issue("other", &["--kind", "client"]);
    let ca = etc.join("certs/ca.crt");
    let kept = std::fs::read(&ca).unwrap();
    std::fs::copy(strange.path("other").join("ca.crt"), &ca).unwrap();
    let wrong = Mosquitto::run(&etc, port);
    stays("does not take the certificate");
    drop(wrong);
    std::fs::write(&ca, kept).unwrap();
    // The hook fails: rolled back.
    let central = Mosquitto::run(&etc, port);
    let settings = device.read("agent.json");
    device.set_hook("exit 3");
    stays("the hook failed: exit status: 3");
    std::fs::write(device.file("agent.json"), settings).unwrap();
    // All is well again: the certificate that was waiting is used.
    device.ok(&["agent", "renew"]);
    assert_ne!(pair(&device, "site-001"), before);
    assert_eq!(living(&fleet.muster, "site-001").len(), 1);
    wait_for("the broker's log", || central.log().contains("as site-001"));
}

#[test]
fn a_bridge_goes_through_its_renewals_and_loses_nothing() {
    let renewals: usize = std::env::var("MUSTER_TEST_SITE_RENEWALS")
        .map_or(3, |text| text.parse().expect("a number of renewals"));
    if !crate::fleet::tools() {
        return;
    }
    let fleet = Fleet {
        muster: Muster::start_with(&[], BRIEF),
    };
    let printed = fleet.issue_broker();
    let central = fleet.central(&printed);
    fleet.issue("backend", &["--kind", "client"]);
    let broker = format!("localhost:{}", central.port);
    let device = Device::new(&fleet.muster, "site-001");
    let code = code(&fleet.muster, &["site-001", "--profile", "brief"]);
    let bridge = device.ok(&[
        "agent",
        "enrol",
        &code,
        "--broker",
        &broker,
        "--format",
        "mosquitto-bridge",
    ]);
    let mut agent = Command::new(MUSTER);
    agent.args(["agent", "run", "--dir"]).arg(&device.dir);
    let log = fleet.path("agent.log");
    let mut agent = spawn(&mut agent, &log);
    let etc = fleet.path("site");
    let quick = bridge.replace("restart_timeout 5 60", "restart_timeout 1 2");
    let site = Mosquitto::start_plain(&etc, &quick);

    let mut watch = Command::new(MUSTER);
    watch
        .args(["mqtt", "sub", "fleet/#", "--broker", &broker, "--dir"])
        .arg(fleet.path("backend"));
    let received = fleet.path("received");
    let out = std::fs::File::create(&received).unwrap();
    let _watch = Running(watch.stdin(Stdio::null()).stdout(out).spawn().unwrap());
    let got = || std::fs::read_to_string(&received).unwrap();
    let renewed = || {
        std::fs::read_to_string(&log)
            .unwrap()
            .matches("renewed; ")
            .count()
    };

    // What is said to the site waits at the centre while the bridge is away.
    let run = ["run", "--every", "1h", "--publish", "fleet/site-001/down/set"];
    let own = ["--status", "fleet/ops/status", "--health", "fleet/ops/health"];
    fleet.issue("ops", &["--kind", "client"]);
    let ops = mqtt(&fleet, "ops", central.port, &[&run[..], &own].concat());
    let mut ops = Client::start(ops, &fleet.path("ops.log"));
    let at_site = fleet.path("at-site");
    let mut hears = Command::new(crate::common::tool("mosquitto_sub").unwrap());
    hears.args(["-h", "127.0.0.1", "-p", &site.port.to_string()]);
    hears.args(["-q", "1", "-i", "hmi", "-t", "fleet/site-001/down/#"]);
    let out = std::fs::File::create(&at_site).unwrap();
    let _hears = Running(hears.stdin(Stdio::null()).stdout(out).spawn().unwrap());
    let heard = || std::fs::read_to_string(&at_site).unwrap();

    let mut sent = 0;
    let mut publish = |number: usize| {
        ops.says(&format!("message-{number}."));
        let mut command = Command::new(crate::common::tool("mosquitto_pub").unwrap());
        command.args([
            "-h",
            "127.0.0.1",
            "-p",
            &site.port.to_string(),
            "-q",
            "1",
            "-i",
            "plc",
        ]);
        command.args(["-t", "fleet/site-001/up/t", "-m", &format!("message-{number}.")]);
        assert!(command.status().unwrap().success());
    };
    wait_for("the watcher", || {
        publish(0);
        got().contains("message-0.") && heard().contains("message-0.")
    });
    for wanted in 1..=renewals {
        wait_for("a renewal", || {
            sent += 1;
            publish(sent);
            renewed() >= wanted
        });
    }
    sent += 1;
    publish(sent);
    let last = format!("message-{sent}.");
    wait_for("the last message", || {
        got().contains(&last) && heard().contains(&last)
    });
    for (way, all) in [("up", got()), ("down", heard())] {
        for number in 1..=sent {
            assert!(
                all.contains(&format!("message-{number}.")),
                "message {number} of {sent} on its way {way} is lost"
            );
        }
    }
    kill_process(Pid::from_child(&agent.0), Signal::TERM).unwrap();
    assert!(wait_for_child(&mut agent.0, std::time::Duration::from_secs(60)).success());
    // Each renewal takes the session over once, and the bridge comes back once.
    let sessions = central.log().matches(" as site-001 ").count();
    assert!(
        sessions <= 2 * renewed() + 2,
        "{sessions} sessions for {} renewals",
        renewed()
    );
    let status: serde_json::Value = serde_json::from_str(&device.read("status.json")).unwrap();
    assert!(
        status["renewals"].as_u64().unwrap() >= renewals as u64,
        "{status}"
    );
}

#[test]
fn an_agent_whose_renewals_fail_says_so_until_one_succeeds() {
    let fleet = Fleet {
        muster: Muster::start_with(
            &[],
            "[profile.short]\nbase = \"client\"\nmin = \"1s\"\ndefault = \"60s\"\n",
        ),
    };
    let device = enrolled(&fleet, "site-001", "short", &[]);
    device.set_hook("echo >> hooks; exit 3");
    let before = pair(&device, "site-001");
    let mut command = Command::new(MUSTER);
    command.args(["agent", "run", "--dir"]).arg(&device.dir);
    let _agent = spawn(&mut command, &fleet.path("agent.log"));
    // Once for the new certificate, and once for the one before.
    let tries = || std::fs::read_to_string(device.file("hooks")).map_or(0, |text| text.len() / 2);
    wait_for("two slots", || tries() >= 2);
    assert_eq!(pair(&device, "site-001"), before);
    let log = || std::fs::read_to_string(fleet.path("agent.log")).unwrap();
    assert!(!log().contains("all is well again"), "{}", log());
    let said = device.exits(5, &["agent", "status"]);
    assert!(said.contains("the hook failed: exit status: 3"), "{said}");
    device.set_hook("true");
    wait_for("a renewal", || pair(&device, "site-001") != before);
    wait_for("the agent to say so", || log().contains("all is well again"));
    device.ok(&["agent", "status"]);
}

#[test]
fn a_device_that_cannot_reach_the_ca_says_so_and_goes_on() {
    let Some(mut fleet) = Fleet::start() else { return };
    let device = enrolled(&fleet, "site-001", "client", &[]);
    let mut command = Command::new(MUSTER);
    command.args(["agent", "run", "--dir"]).arg(&device.dir);
    let _agent = spawn(&mut command, &fleet.path("agent.log"));
    wait_for("a plan", || {
        device.run(&["agent", "status"]).status.success() && device.read("status.json").contains("renew_at")
    });
    let said: serde_json::Value = serde_json::from_str(&device.ok(&["agent", "status", "--json"])).unwrap();
    assert!(
        said["renew_at"].as_str().unwrap() < said["not_after"].as_str().unwrap(),
        "{said}"
    );
    drop(_agent);
    fleet.muster.stop();
    let before = pair(&device, "site-001");
    let said = device.exits(1, &["agent", "renew"]);
    assert!(said.contains("cannot reach"), "{said}");
    assert_eq!(pair(&device, "site-001"), before);
    std::fs::remove_file(device.file("status.json")).unwrap();
    let mut command = Command::new(MUSTER);
    command.args(["agent", "run", "--dir"]).arg(&device.dir);
    let _agent = spawn(&mut command, &fleet.path("agent.log"));
    wait_for("the problem", || {
        device.run(&["agent", "status"]).status.code() == Some(5)
    });
    assert!(text(&device.run(&["agent", "status"]).stdout).contains("cannot reach"));
}

/// Certificates that are over soon, and may be renewed for an hour, or not at all. They live for as long as an enrolment may take on a slow
/// machine.
fn over(fleet: &Fleet, name: &str, profile: &str) -> Device {
    let device = enrolled(fleet, name, profile, &[]);
    wait_for("the certificate to end", || {
        device.run(&["agent", "status"]).status.code() == Some(5)
    });
    device
}

#[test]
fn a_certificate_that_ran_out_is_renewed_by_its_own_key_or_recovered_by_an_operator() {
    let profile = |name: &str, grace: &str| {
        format!("[profile.{name}]\nbase = \"client\"\nmin = \"1s\"\ndefault = \"8s\"\ngrace = \"{grace}\"\n")
    };
    let fleet = Fleet {
        muster: Muster::start_with(&[], &(profile("late", "1h") + &profile("over", "0s"))),
    };
    let late = over(&fleet, "site-001", "late");
    let before = pair(&late, "site-001");
    late.ok(&["agent", "renew", "--dry-run"]);
    late.ok(&["agent", "renew"]);
    let after = pair(&late, "site-001");
    assert!(before.0 != after.0 && before.1 != after.1);

    // The agent that stays does it by itself.
    let mut command = Command::new(MUSTER);
    command.args(["agent", "run", "--dir"]).arg(&late.dir);
    let agent = spawn(&mut command, &fleet.path("agent.log"));
    wait_for("another certificate", || pair(&late, "site-001").1 != after.1);
    drop(agent);

    let over = over(&fleet, "site-002", "over");
    let said = over.exits(4, &["agent", "renew"]);
    assert!(
        said.contains("its time of grace is over") && said.contains("muster device recover site-002"),
        "{said}"
    );
    let code = fleet.muster.json(&["device", "recover", "site-002"]);
    over.ok(&["agent", "enrol", code["code"].as_str().unwrap()]);
    fleet.muster.exits(5, &["device", "suspend", "site-001"]);
    let said = late.exits(4, &["agent", "renew"]);
    assert!(said.contains("muster device resume site-001"), "{said}");
}

#[test]
fn a_certificate_that_waits_and_was_revoked_meanwhile_is_not_used() {
    let mut fleet = Fleet {
        muster: Muster::start(),
    };
    let device = enrolled(&fleet, "site-001", "client", &[]);
    let serials = |muster: &Muster| -> Vec<String> {
        let living = living(muster, "site-001");
        let serials = living
            .iter()
            .map(|one| one["serial"].as_str().unwrap().to_owned());
        serials.collect()
    };
    let before = (pair(&device, "site-001"), serials(&fleet.muster));
    let revoke_what_waits = |muster: &Muster| {
        device.set_hook("exit 3");
        assert!(
            device
                .exits(1, &["agent", "renew"])
                .contains("the hook failed: exit status: 3")
        );
        assert_eq!(pair(&device, "site-001"), before.0);
        device.set_hook("true");
        let new: Vec<_> = serials(muster)
            .into_iter()
            .filter(|serial| !before.1.contains(serial))
            .collect();
        assert_eq!(new.len(), 1);
        new[0].clone()
    };
    // The CA is away: what waits is tried, and given up when the CA refuses it.
    let waits = revoke_what_waits(&fleet.muster);
    fleet.muster.exits(5, &["cert", "revoke", &waits, "--yes"]);
    fleet.muster.stop();
    let said = device.exits(1, &["agent", "renew"]);
    assert!(said.contains("the CA does not know that yet"), "{said}");
    assert_ne!(pair(&device, "site-001"), before.0);
    assert!(device.file("site-001.key.previous").exists());
    fleet.muster.serve();
    let said = device.exits(4, &["agent", "renew"]);
    assert!(said.contains("was revoked"), "{said}");
    assert_eq!(pair(&device, "site-001"), before.0);
    assert_eq!(left_over(&device), [""; 0]);
    // The CA is there: it gives another.
    let waits = revoke_what_waits(&fleet.muster);
    fleet.muster.exits(5, &["cert", "revoke", &waits, "--yes"]);
    device.ok(&["agent", "renew"]);
    let living = serials(&fleet.muster);
    assert!(living.len() == 1 && living[0] != waits, "{living:?}");
    device.ok(&["agent", "renew", "--dry-run"]);
}

#[test]
fn what_waits_is_used_while_the_ca_is_away_and_confirmed_when_it_is_back() {
    let mut fleet = Fleet {
        muster: Muster::start(),
    };
    let device = enrolled(&fleet, "site-001", "client", &[]);
    let before = pair(&device, "site-001");
    device.set_hook("exit 3");
    device.exits(1, &["agent", "renew"]);
    let ran = fleet.path("ran");
    device.set_hook(&format!("echo >> {}", ran.display()));
    fleet.muster.stop();
    for _ in 0..2 {
        let said = device.exits(1, &["agent", "renew"]);
        assert!(said.contains("cannot reach"), "{said}");
        assert_ne!(pair(&device, "site-001"), before);
        assert_eq!(std::fs::read(&ran).unwrap(), b"\n", "the hook runs once");
    }
    fleet.muster.serve();
    let used = pair(&device, "site-001");
    device.ok(&["agent", "renew"]);
    assert_eq!(pair(&device, "site-001"), used);
    assert_eq!(left_over(&device), [""; 0]);
    assert_eq!(living(&fleet.muster, "site-001").len(), 1);
}

#[test]
fn nothing_is_rolled_back_to_a_certificate_that_has_ended() {
    let fleet = Fleet {
        muster: Muster::start_with(
            &[],
            "[profile.late]\nbase = \"client\"\nmin = \"1s\"\ndefault = \"8s\"\ngrace = \"1h\"\n",
        ),
    };
    let device = over(&fleet, "site-001", "late");
    let before = pair(&device, "site-001");
    device.set_hook("exit 3");
    let said = device.exits(1, &["agent", "renew"]);
    assert!(
        said.contains("the new certificate stays") && said.contains("exit status: 3"),
        "{said}"
    );
    assert_ne!(pair(&device, "site-001"), before);
    device.set_hook("true");
    device.ok(&["agent", "renew"]);
    assert_eq!(left_over(&device), [""; 0]);
}

#[test]
fn a_broker_that_is_away_costs_nobody_the_certificate() {
    let fleet = Fleet {
        muster: Muster::start_with(
            &[],
            "[profile.late]\nbase = \"client\"\nmin = \"1s\"\ndefault = \"8s\"\ngrace = \"1h\"\n",
        ),
    };
    let broker = format!("localhost:{}", free_port());
    let device = enrolled(&fleet, "site-001", "late", &["--broker", &broker]);
    let confirmed = || {
        let log = ["audit", "list", "--csv", "--action", "certificate.confirmed"];
        fleet.muster.ok(&log).matches("certificate.confirmed").count()
    };
    let at_first = confirmed();
    for round in 1..=2 {
        // What came of the renewal before is not what is waited for.
        std::fs::remove_file(device.file("status.json")).unwrap();
        wait_for("the certificate to end", || {
            device.run(&["agent", "status"]).status.code() == Some(5)
        });
        let before = pair(&device, "site-001");
        let said = device.exits(1, &["agent", "renew"]);
        assert!(
            said.contains(&broker) && said.contains("the new certificate stays"),
            "{said}"
        );
        assert_ne!(pair(&device, "site-001"), before);
        assert_eq!(left_over(&device), [""; 0]);
        assert_eq!(confirmed(), at_first + round, "the CA knows");
    }
}

#[test]
fn status_says_that_the_agent_is_silent_or_late() {
    let fleet = Fleet {
        muster: Muster::start(),
    };
    let device = enrolled(&fleet, "site-001", "client", &[]);
    let written = std::fs::metadata(device.file("agent.json")).unwrap().modified();
    let now = jiff::Timestamp::try_from(written.unwrap()).unwrap();
    let hours = |hours| now + jiff::SignedDuration::from_hours(hours);
    let status = |at: jiff::Timestamp, renew_at: jiff::Timestamp| {
        let status = serde_json::json!({
            "name": "site-001", "not_after": null, "renewals": 0, "at": at.to_string(), "renew_at": renew_at.to_string(),
        });
        std::fs::write(device.file("status.json"), status.to_string()).unwrap();
    };
    device.ok(&["agent", "status"]);
    status(hours(-11), hours(1));
    device.ok(&["agent", "status"]);
    status(hours(-13), hours(1));
    assert!(
        device
            .exits(5, &["agent", "status"])
            .contains("has said nothing since")
    );
    status(now, hours(-24 * 365));
    assert!(
        device
            .exits(5, &["agent", "status"])
            .contains("it was to renew on")
    );
    // The CA's clock was a year ahead.
    status(now, hours(1));
    std::fs::write(device.file("last-time"), hours(24 * 365).to_string()).unwrap();
    assert!(device.exits(5, &["agent", "status"]).contains("last-time"));
    device.ok(&["agent", "renew"]);
    device.ok(&["agent", "status"]);
}
