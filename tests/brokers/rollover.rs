//! The next issuing CA takes over while the broker runs: old and new certificates are let in, and either can be revoked.

use std::fs;

use crate::agent::Beside;
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

/// Mosquitto does not look at the list of the root, so a CA that was revoked has to go altogether.
#[test]
fn an_issuing_ca_whose_key_is_known_is_withdrawn_and_its_sessions_end() {
    let Some(mut beside) = Beside::start() else { return };
    let old = beside.device("site-1");
    let _session = old.subscribes("fleet/site-1/#");
    beside
        .fleet
        .muster
        .exits(2, &["ca", "rollover", "revoke", "--yes"]);
    beside.fleet.muster.stop();
    beside.fleet.muster.ok(&["ca", "rollover", "start"]);
    beside.fleet.muster.serve();
    beside.fleet.muster.ok(&["ca", "rollover", "activate"]);
    let new = beside.device("site-2");
    wait_for("the next generation", || new.alert().is_none());
    let stays = new.subscribes("fleet/site-2/#");
    beside.fleet.muster.exits(2, &["ca", "rollover", "revoke"]);
    assert_eq!(old.alert(), None);

    beside.fleet.muster.ok(&["ca", "rollover", "revoke", "--yes"]);
    wait_for("its CA to be withdrawn", || {
        old.alert().as_deref() == Some("unknown ca")
    });
    beside.proven();
    let ended = "Client site-1 already connected, closing old connection.";
    wait_for("the end of its session", || beside.broker().log().contains(ended));
    assert_eq!((new.alert(), stays.connections()), (None, 1));

    // With a certificate of the next one it comes back.
    beside.fleet.muster.ok(&["device", "rearm", "site-1"]);
    fs::remove_dir_all(beside.fleet.path("site-1")).unwrap();
    let again = beside.device("site-1");
    beside.proven();
    assert!(again.publishes("fleet/site-1/up", "again"));

    // The root's list names it once its key was there, and that is at the broker with the next epoch.
    beside.fleet.muster.stop();
    beside.fleet.muster.ok(&["ca", "root-crl"]);
    beside.fleet.muster.serve();
    let list = beside.fleet.path("root.crl");
    beside
        .fleet
        .muster
        .ok(&["ca", "crl", "--generation", "0", "--out", list.to_str().unwrap()]);
    let list = fs::read_to_string(list).unwrap();
    wait_for("the root's list", || {
        let lists = fs::read_to_string(beside.dir().join("crls.pem"));
        lists.is_ok_and(|lists| lists.contains(list.trim()))
    });
    beside.proven();
}
