//! `site-001` as a bridge, through HAProxy, to the Mosquitto that stands for the central broker.

use std::fs;
use std::process::Command;

use crate::common::{Running, free_port, text, tool, wait_for};
use crate::fleet::{Fleet, Mosquitto, Printed, install, spawn, wait_for_port};
use crate::mqtt::{Client, Subscriber, publish_plain};

/// HAProxy on the configuration that was printed for the broker, in front of it.
fn haproxy(fleet: &Fleet, printed: &Printed, central: &Mosquitto) -> (Running, u16) {
    let port = free_port();
    let conf = printed
        .text("HAProxy in front of the broker")
        .replace("bind :8883\n", &format!("bind 127.0.0.1:{port}\n"))
        .replace(" 10.0.80.50:8883 ", &format!(" 127.0.0.1:{} ", central.port));
    let (file, log) = (fleet.path("haproxy.cfg"), fleet.path("haproxy.log"));
    fs::write(&file, conf).unwrap();
    let program = tool("haproxy").unwrap();
    let checked = Command::new(&program)
        .arg("-c")
        .arg("-f")
        .arg(&file)
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    let running = spawn(Command::new(program).arg("-db").arg("-f").arg(&file), &log);
    wait_for_port(port, &log);
    (running, port)
}

/// The site's own Mosquitto with the bridge as it was printed for `site-001`.
fn site(fleet: &Fleet, through: u16) -> Mosquitto {
    let broker = format!("localhost:{through}");
    let options = ["--kind", "client", "--validity", "30d", "--broker", &broker];
    let printed = fleet.issue("site-001", &options);
    start_site(fleet, &printed)
}

fn start_site(fleet: &Fleet, printed: &Printed) -> Mosquitto {
    let etc = fleet.path("site");
    install(&etc.join("certs"), &fleet.path("site-001"));
    let bridge = printed.text("Mosquitto: bridge to the central broker");
    Mosquitto::start_plain(
        &etc,
        &bridge.replace("/etc/mosquitto", &etc.display().to_string()),
    )
}

#[test]
fn a_message_crosses_once_in_each_direction() {
    let Some(fleet) = Fleet::start() else { return };
    let printed = fleet.issue_broker();
    let central = fleet.central(&printed);
    for name in ["backend", "ops"] {
        fleet.issue(name, &["--kind", "client"]);
    }
    let (_proxy, through) = haproxy(&fleet, &printed, &central);
    let site = site(&fleet, through);
    wait_for("the bridge", || central.log().contains("u'site-001'"));

    let above = Client::of(&fleet, "backend", central.port).subscribes("fleet/#");
    let below = Subscriber::plain(fleet.muster.path(), "plc", site.port, "fleet/#");
    // What comes twice, or goes round, comes before the second message of the same direction, since order is kept.
    for text in ["one", "two"] {
        publish_plain(fleet.muster.path(), site.port, "fleet/site-001/up/t", text);
        above.waits_for(&format!("fleet/site-001/up/t {text}"));
        assert!(Client::of(&fleet, "ops", central.port).publishes("fleet/site-001/down/t", text));
        below.waits_for(&format!("fleet/site-001/down/t {text}"));
    }
    let expected = [
        "fleet/site-001/up/t one",
        "fleet/site-001/down/t one",
        "fleet/site-001/up/t two",
        "fleet/site-001/down/t two",
    ];
    assert_eq!(above.received(), expected);
    assert_eq!(below.received(), expected);
}

#[test]
fn a_revoked_bridge_does_not_come_back() {
    let Some(fleet) = Fleet::start() else { return };
    let printed = fleet.issue_broker();
    let central = fleet.central(&printed);
    let (_proxy, through) = haproxy(&fleet, &printed, &central);
    let before = site(&fleet, through);
    wait_for("the bridge", || central.log().contains("u'site-001'"));

    fleet.muster.exits(
        5,
        &[
            "device",
            "revoke",
            "site-001",
            "--reason",
            "key-compromise",
            "--yes",
        ],
    );
    fleet.reload(&central);
    let (etc, port) = (before.etc.clone(), before.port);
    drop(before);
    let connected = central.log().matches("u'site-001'").count();
    let after = Mosquitto::run(&etc, port);
    wait_for("the refusal", || after.log().contains("certificate revoked"));
    assert_eq!(central.log().matches("u'site-001'").count(), connected);
}
