//! The next issuing CA takes over while the broker runs: old and new certificates are let in, and either can be revoked.

use std::fs;

use crate::common::wait_for;
use crate::fleet::{BROKER, Fleet};
use crate::mqtt::Client;

#[test]
fn both_generations_are_let_in_and_can_be_shut_out() {
    let Some(mut fleet) = Fleet::start() else { return };
    let printed = fleet.issue_broker();
    fleet.issue("site-001", &["--kind", "client"]);
    let central = fleet.central(&printed);
    let old = Client::of(&fleet, "site-001", central.port);
    assert!(old.publishes("fleet/site-001/up/t", "before"));

    fleet.muster.stop();
    fleet.muster.ok(&["ca", "rollover", "start"]);
    fleet.muster.serve();
    // Before the new one issues: Mosquitto refuses everybody whose CA has no list.
    fleet.reload(&central);
    fleet.muster.ok(&["ca", "rollover", "activate"]);

    // The broker still has the `ca.crt` of before; the new site sends its issuing CA along.
    fleet.issue("site-002", &["--kind", "client"]);
    let new = Client::of(&fleet, "site-002", central.port);
    wait_for("the new generation", || new.alert().is_none());
    assert!(new.publishes("fleet/site-002/up/t", "hello"));
    assert!(old.publishes("fleet/site-001/up/t", "still here"));
    let chain = fs::read_to_string(fleet.file("site-002", "crt")).unwrap();
    assert_ne!(
        chain.split("-----BEGIN").nth(2),
        fs::read_to_string(fleet.file(BROKER, "crt"))
            .unwrap()
            .split("-----BEGIN")
            .nth(2),
        "both were issued by the same CA"
    );

    for (name, client) in [("site-001", &old), ("site-002", &new)] {
        fleet.muster.exits(5, &["device", "revoke", name, "--yes"]);
        fleet.reload(&central);
        wait_for(name, || client.alert().as_deref() == Some("certificate revoked"));
    }
    // The broker's own certificate is of the old generation, which has to stay until it is renewed.
    fleet.muster.exits(4, &["ca", "rollover", "finish"]);
}
