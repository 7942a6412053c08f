//! What dojot's MQTT-Manager did for Mosquitto, with its mistakes left behind: docs/brokers.md has the table.

use crate::agent::Beside;
use crate::common::wait_for;
use crate::mqtt::Client;

impl Beside {
    fn access(&self, name: &str, publish: &str, subscribe: &str) {
        let args = [
            "device",
            "access",
            name,
            "--publish",
            publish,
            "--subscribe",
            subscribe,
        ];
        self.fleet.muster.ok(&args);
    }
}

/// Its own remover took every line that had `ad` in it, among them those of `24f6` below `/admin`.
#[test]
fn devices_of_dojot_are_added_and_removed_and_nobody_else_notices() {
    let Some(mut beside) = Beside::start() else { return };
    let [device, ad, iotagent] = ["24f6", "ad", "iotagent"].map(|name| beside.device(name));
    for name in ["24f6", "ad"] {
        beside.access(
            name,
            &format!("/admin/{name}/attrs"),
            &format!("/admin/{name}/config"),
        );
    }
    beside.access("iotagent", "/+/+/config", "/#");
    beside.proven();
    // The way to the device, which MQTT-Manager's access list did not know.
    let configured = device.subscribes("/admin/24f6/config");
    assert!(iotagent.publishes("/admin/24f6/config", "on"));
    configured.waits_for("/admin/24f6/config on");
    drop(configured);
    let reads = iotagent.subscribes("/#");
    let arrives = |topic: &str, client: &Client, text: &str| {
        assert!(client.publishes(topic, text));
        reads.waits_for(&format!("{topic} {text}"));
    };
    arrives("/admin/24f6/attrs", &device, "one");
    arrives("/admin/ad/attrs", &ad, "two");
    // What is another's arrives nowhere, and is known.
    wait_for("the report of a refused publish", || {
        device.publishes("/admin/ad/attrs", "not mine");
        let denials = beside.known()["denials"].clone();
        let all = denials.as_array().unwrap().iter();
        all.clone()
            .any(|one| one["device"] == "24f6" && one["topic"] == "/admin/ad/attrs")
    });
    beside.fleet.muster.ok(&["device", "retire", "ad", "--yes"]);
    beside.proven();
    assert_eq!(ad.alert().as_deref(), Some("certificate revoked"));
    arrives("/admin/24f6/attrs", &device, "three");
    assert!(!reads.received().iter().any(|line| line.contains("not mine")));
    assert_eq!(reads.connections(), 1);
}
