//! `cert inspect` and `cert verify` on the files and on the running broker: what took four `openssl` lines before.

use crate::common::{Muster, wait_for};
use crate::fleet::{BROKER, Fleet};

fn assert_says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "{word:?} is not in:\n{said}");
    }
}

#[test]
fn a_certificate_is_explained_from_its_file_and_from_the_broker() {
    let Some(fleet) = Fleet::start() else { return };
    let printed = fleet.issue_broker();
    let central = fleet.central(&printed);
    let file = fleet.file(BROKER, "crt");
    let address = format!("localhost:{}", central.port);
    for what in [file.to_str().unwrap(), &address] {
        let said = fleet.muster.ok(&["cert", "inspect", what]);
        let words = [
            "Certificate of mqtt.ak-sg.com",
            "identify itself as a server",
            "IP 10.0.80.50",
            "DNS emqx.local",
        ];
        assert_says(&said, &words);
        assert_says(
            &said,
            &[
                "issued by    Test Issuing CA 1",
                "Certificate of the CA Test Issuing CA 1",
                "ECDSA P-256",
            ],
        );
        let verified = fleet
            .muster
            .ok(&["cert", "verify", what, "--ca", fleet.ca().to_str().unwrap()]);
        assert_says(
            &verified,
            &[
                "mqtt.ak-sg.com is in order.",
                "'Test Root CA' is a root that you trust",
            ],
        );
    }
    let shown = fleet.muster.json(&["cert", "inspect", &address]);
    assert_eq!(shown.as_array().unwrap().len(), 2);
}

#[test]
fn what_is_wrong_is_said_with_its_fix() {
    let Some(fleet) = Fleet::start() else { return };
    let printed = fleet.issue_broker();
    let central = fleet.central(&printed);
    fleet.issue("site-001", &["--kind", "client"]);
    fleet.issue("short-lived", &["--kind", "short"]);
    let path = |name| fleet.file(name, "crt").to_str().unwrap().to_owned();
    let (server, site, short) = (path(BROKER), path("site-001"), path("short-lived"));
    let address = format!("localhost:{}", central.port);

    let said = fleet.muster.exits(
        1,
        &[
            "cert",
            "verify",
            &server,
            "--host",
            "mqtt.example.org",
            "--purpose",
            "server",
        ],
    );
    assert_says(&said, &["It is not for mqtt.example.org", "fix: "]);
    let said = fleet
        .muster
        .exits(1, &["cert", "verify", &site, "--purpose", "server"]);
    assert_says(&said, &["site-001 must not be trusted", "fix: "]);

    let other = Muster::stopped(&[]);
    other.ok(&["init", "--name", "Other", "--yes"]);
    let root = other.root();
    let said = fleet
        .muster
        .exits(1, &["cert", "verify", &address, "--ca", root.to_str().unwrap()]);
    assert_says(&said, &["'Test Root CA'", "fix: "]);

    let crl = fleet.path("crl.pem");
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
    fleet.new_crl(&crl);
    let crl = crl.to_str().unwrap();
    let said = fleet.muster.exits(1, &["cert", "verify", &site, "--crl", crl]);
    assert_says(&said, &["site-001 was revoked on", "fix: "]);
    assert_says(
        &fleet.muster.ok(&["cert", "inspect", crl]),
        &["Revocation list of Test Issuing CA 1", "revokes      1"],
    );

    wait_for("the end of a certificate", || {
        !fleet.muster.run(&["cert", "verify", &short]).status.success()
    });
    assert_says(
        &fleet.muster.exits(1, &["cert", "verify", &short]),
        &["short-lived expired on", "fix: "],
    );
}

#[test]
fn nobody_there_is_a_failure_and_not_a_verdict() {
    let Some(fleet) = Fleet::start() else { return };
    let said = fleet.muster.exits(
        1,
        &[
            "cert",
            "inspect",
            &format!("localhost:{}", crate::common::free_port()),
        ],
    );
    assert_says(&said, &["shows no certificate"]);
    fleet.muster.exits(3, &["cert", "inspect", "no-such-file.crt"]);
}
