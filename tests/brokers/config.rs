//! What `muster broker config` prints, run as it stands but for paths, ports and addresses.

use std::fs;

use crate::common::{free_port, tool};
use crate::fleet::{BROKER, BROKER_SANS, Fleet, Mosquitto, Printed, install, spawn, wait_for_port};
use crate::mqtt::Client;

impl Fleet {
    fn config(&self, args: &[&str]) -> Printed {
        let mut all = vec!["broker", "config"];
        all.extend(args);
        Printed::new(&self.muster.json(&all))
    }
}

#[test]
fn haproxy_that_ends_tls_lets_in_whom_the_certificate_says() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.issue(BROKER, &["--kind", "server", "--san", BROKER_SANS]);
    for name in ["site-1", "site-2"] {
        fleet.issue(name, &["--kind", "client"]);
    }
    fleet.muster.exits(5, &["device", "revoke", "site-2", "--yes"]);
    let printed = fleet.config(&["haproxy", BROKER]);
    let etc = fleet.path("haproxy");
    let certs = etc.join("certs");
    install(&certs, &fleet.path(BROKER));
    let pair = ["crt", "key"].map(|kind| fs::read_to_string(fleet.file(BROKER, kind)).unwrap());
    fs::write(certs.join(format!("{BROKER}.pem")), pair.concat()).unwrap();
    fleet.new_crl(&certs.join("crl.pem"));

    let (port, behind) = (free_port(), free_port());
    let moved =
        |text: String, program: &str| text.replace(&format!("/etc/{program}"), &etc.display().to_string());
    let broker = moved(printed.text("Mosquitto behind it"), "mosquitto");
    fs::write(
        etc.join("muster.acl"),
        printed.text("Mosquitto behind it: who may do what"),
    )
    .unwrap();
    let broker = broker.replace("listener 1883 ", &format!("listener {behind} "));
    let _broker = Mosquitto::start(&etc, &(broker + "log_type all\n"), behind);
    let proxy = moved(printed.text("HAProxy that ends TLS"), "haproxy");
    let proxy = proxy.replace("bind :8883 ", &format!("bind 127.0.0.1:{port} "));
    let file = etc.join("haproxy.cfg");
    fs::write(
        &file,
        proxy.replace("127.0.0.1:1883", &format!("127.0.0.1:{behind}")),
    )
    .unwrap();
    let log = etc.join("haproxy.log");
    let mut command = std::process::Command::new(tool("haproxy").unwrap());
    let _proxy = spawn(command.arg("-db").arg("-f").arg(&file), &log);
    wait_for_port(port, &log);

    let device = Client::of(&fleet, "site-1", port);
    assert!(device.publishes("fleet/site-1/up", "hello"));
    let own = device.subscribes("fleet/site-1/#");
    assert_eq!(own.connections(), 1);
    drop(own);
    assert!(!device.publishes_as("site-9", "fleet/site-9/up", "in another's name"));
    assert!(!Client::of(&fleet, "site-2", port).publishes("fleet/site-2/up", "revoked"));
    assert!(!Client::stranger(&fleet, port).publishes("fleet/site-1/up", "nobody"));
}

#[test]
fn the_guide_shows_every_configuration() {
    let Some(fleet) = Fleet::start() else { return };
    let guide = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/brokers.md")).unwrap();
    let lines: Vec<&str> = guide.lines().map(str::trim).collect();
    for args in [
        vec!["mosquitto", BROKER],
        vec!["bridge", "site-001", "--broker", BROKER],
        vec!["emqx", BROKER],
        vec!["rabbitmq", BROKER],
        vec!["haproxy", BROKER],
        vec!["haproxy-tcp", BROKER, "--address", "10.0.80.50"],
    ] {
        let printed = fleet.config(&args);
        for title in printed.titles() {
            for line in printed.text(&title).lines() {
                assert!(lines.contains(&line.trim()), "docs/brokers.md lacks {line:?}");
            }
        }
    }
    let said = fleet.muster.exits(2, &["broker", "config", "mosquitto", "a b"]);
    assert!(said.contains("cannot be used as a name"), "{said}");
}

#[test]
fn every_port_is_the_one_that_was_named() {
    let Some(fleet) = Fleet::start() else { return };
    for (program, line) in [
        ("mosquitto", "listener 18883"),
        ("emqx", "bind = \"0.0.0.0:18883\""),
        ("rabbitmq", "mqtt.listeners.ssl.default = 18883"),
        ("haproxy", "bind :18883 ssl"),
        ("haproxy-tcp", "bind :18883"),
    ] {
        let said = fleet
            .muster
            .ok(&["broker", "config", program, BROKER, "--port", "18883"]);
        assert!(said.contains(line), "{program}: {said}");
    }
}

/// Not those of this machine, which may not be there.
#[test]
fn lint_is_content_with_what_the_agent_prints() {
    let Some(fleet) = Fleet::start() else { return };
    for program in ["mosquitto", "emqx", "haproxy"] {
        let file = fleet.path(&format!("{program}.conf"));
        let args = ["broker", "run", BROKER, "--print-config", "--program", program];
        let text = fleet
            .muster
            .ok(&[&args[..], &["--dir", "/on/another/machine"]].concat());
        fs::write(&file, text).unwrap();
        fleet.muster.ok(&["broker", "lint", file.to_str().unwrap()]);
    }
}

#[test]
fn lint_is_content_with_it_and_names_a_line_that_is_dangerous() {
    let Some(fleet) = Fleet::start() else { return };
    let printed = fleet.config(&["mosquitto", BROKER]).text("Mosquitto: listener");
    // Not those that may lie on this machine.
    let printed = printed.replace("/etc/mosquitto", "/on/another/machine");
    let good = fleet.path("good.conf");
    fs::write(&good, &printed).unwrap();
    fleet.muster.ok(&["broker", "lint", good.to_str().unwrap()]);
    let said = fleet.muster.exits(3, &["broker", "lint", "/nonexistent"]);
    assert!(
        said.contains("/nonexistent") && said.contains("a file that is there"),
        "{said}"
    );
    let bad = fleet.path("bad.conf");
    fs::write(
        &bad,
        printed.replace("require_certificate true", "require_certificate false"),
    )
    .unwrap();
    let said = fleet.muster.exits(5, &["broker", "lint", bad.to_str().unwrap()]);
    let line = 1 + printed
        .lines()
        .position(|line| line == "require_certificate true")
        .unwrap();
    assert!(said.contains(&format!("bad.conf:{line}: ")), "{said}");
    let output = fleet
        .muster
        .run(&["broker", "lint", bad.to_str().unwrap(), "--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["findings"][0]["line"], line);
    fleet.muster.exits(3, &["broker", "lint", "nowhere.conf"]);
}
