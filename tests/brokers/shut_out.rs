//! Who is not let in, and for which reason.

use crate::common::{Muster, wait_for};
use crate::fleet::{BROKER, Fleet, Mosquitto};
use crate::mqtt::Client;

/// A broker with `site-001`, `site-002` and the back end.
fn world() -> Option<(Fleet, Mosquitto)> {
    let fleet = Fleet::start()?;
    let printed = fleet.issue_broker();
    for name in ["site-001", "site-002", "backend"] {
        fleet.issue(name, &["--kind", "client"]);
    }
    let central = fleet.central(&printed);
    Some((fleet, central))
}

#[test]
fn only_living_client_certificates_of_this_ca_are_let_in() {
    let Some((fleet, central)) = world() else { return };
    let heard = Client::of(&fleet, "backend", central.port).subscribes("fleet/#");
    let refused = |client: &Client, alert: &str| {
        wait_for(alert, || client.alert().as_deref() == Some(alert));
        assert!(!client.publishes("fleet/site-001/up/t", alert));
    };
    let stranger = Client::stranger(&fleet, central.port);
    refused(&stranger, "handshake failure");

    let other = Muster::stopped(&[]);
    other.ok(&["init", "--name", "Other", "--yes"]);
    other.ok(&["cert", "issue", "site-001", "--out", "certs"]);
    let certs = other.path().join("certs");
    let forged = stranger
        .clone()
        .showing(&certs.join("site-001.crt"), &certs.join("site-001.key"));
    refused(&forged, "unknown ca");

    let server = stranger.showing(&fleet.file(BROKER, "crt"), &fleet.file(BROKER, "key"));
    refused(&server, "unsupported certificate");

    fleet.issue("short-lived", &["--kind", "short"]);
    refused(
        &Client::of(&fleet, "short-lived", central.port),
        "certificate expired",
    );

    // The broker that refused them all is well, and nothing came through.
    let site = Client::of(&fleet, "site-001", central.port);
    assert_eq!(site.alert(), None);
    assert!(site.publishes("fleet/site-001/up/t", "hello"));
    heard.waits_for("fleet/site-001/up/t hello");
    assert_eq!(heard.received().len(), 1);
}

#[test]
fn revoked_is_for_good_and_suspended_until_resumed() {
    let Some((fleet, central)) = world() else { return };
    let site = Client::of(&fleet, "site-001", central.port);
    let other = Client::of(&fleet, "site-002", central.port);
    let is_revoked = |client: &Client| client.alert().as_deref() == Some("certificate revoked");
    let act = |line: &[&str]| {
        // Exit code 5: done, and no broker has proved it yet.
        fleet.muster.exits(5, line);
        fleet.reload(&central);
    };

    assert!(site.publishes("fleet/site-001/up/t", "before"));
    act(&["device", "suspend", "site-001"]);
    wait_for("the suspension", || is_revoked(&site));
    assert!(!site.publishes("fleet/site-001/up/t", "suspended"));
    act(&["device", "resume", "site-001"]);
    wait_for("the resumption", || site.alert().is_none());
    assert!(site.publishes("fleet/site-001/up/t", "resumed"));

    act(&[
        "device",
        "revoke",
        "site-001",
        "--reason",
        "key-compromise",
        "--yes",
    ]);
    wait_for("the revocation", || is_revoked(&site));
    assert!(!site.publishes("fleet/site-001/up/t", "revoked"));
    fleet.muster.exits(2, &["device", "resume", "site-001"]);
    assert!(other.publishes("fleet/site-002/up/t", "still here"));

    // Re-armed, it comes in with a new key; the old certificate stays out.
    fleet.muster.ok(&["device", "rearm", "site-001"]);
    fleet.muster.ok(&["cert", "issue", "site-001", "--out", "again"]);
    fleet.reload(&central);
    let again = fleet.path("again");
    let renewed = site
        .clone()
        .showing(&again.join("site-001.crt"), &again.join("site-001.key"));
    wait_for("the new certificate", || renewed.alert().is_none());
    assert!(renewed.publishes("fleet/site-001/up/t", "again"));
    assert!(is_revoked(&site));
}

#[test]
fn one_certificate_can_be_revoked_and_the_device_lives_on() {
    let Some((fleet, central)) = world() else { return };
    let old = Client::of(&fleet, "site-001", central.port);
    fleet
        .muster
        .ok(&["cert", "renew", "site-001", "--out", "renewed"]);
    let dir = fleet.path("renewed");
    let new = old
        .clone()
        .showing(&dir.join("site-001.crt"), &dir.join("site-001.key"));
    let file = fleet.file("site-001", "crt");
    fleet.muster.exits(
        5,
        &[
            "cert",
            "revoke",
            file.to_str().unwrap(),
            "--reason",
            "superseded",
            "--yes",
        ],
    );
    fleet.reload(&central);
    wait_for("the revocation", || {
        old.alert().as_deref() == Some("certificate revoked")
    });
    assert!(new.publishes("fleet/site-001/up/t", "renewed"));
}

#[test]
fn a_site_takes_neither_anothers_name_nor_its_topics() {
    let Some((fleet, central)) = world() else { return };
    let heard = Client::of(&fleet, "backend", central.port).subscribes("fleet/#");
    let victim = Client::of(&fleet, "site-001", central.port).subscribes("fleet/site-001/#");
    let thief = Client::of(&fleet, "site-002", central.port);

    // It asks for the other's client id and for its topic, and gets neither.
    thief.publishes_as("site-001", "fleet/site-001/down/t", "from the thief");
    thief.publishes("fleet/site-001/up/t", "from the thief");
    let spy = thief.subscribes("fleet/#");
    assert!(Client::of(&fleet, "backend", central.port).publishes("fleet/site-001/down/t", "secret"));
    victim.waits_for("fleet/site-001/down/t secret");
    assert_eq!(victim.received(), ["fleet/site-001/down/t secret"]);
    assert_eq!(victim.connections(), 1, "{}", victim.said());
    assert!(spy.received().is_empty(), "{}", spy.said());
    assert!(!heard.said().contains("from the thief"));
    assert!(!central.log().contains("Client site-001 already connected"));
}
