//! `muster broker test` against the real Mosquitto: content with what is printed, and with nothing that was spoilt.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::{free_port, wait_for};
use crate::fleet::{BROKER, Fleet, Mosquitto, install};

/// What came of each attempt: `held`, `wrong` or `not-tried`.
type Outcomes = BTreeMap<String, String>;

/// Tries a listener, and meanwhile brings every new list to it, as somebody without an agent does.
fn tried(fleet: &Fleet, broker: &Mosquitto, host: &str) -> (i32, Outcomes) {
    let done = AtomicBool::new(false);
    let address = format!("{host}:{}", broker.port);
    let output = std::thread::scope(|scope| {
        let trial = scope.spawn(|| {
            let output = fleet
                .muster
                .run(&["broker", "test", &address, "--wait", "8", "--json"]);
            done.store(true, Ordering::Relaxed);
            output
        });
        wait_for("the end of the trial", || {
            fleet.reload(broker);
            done.load(Ordering::Relaxed)
        });
        trial.join().unwrap()
    });
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let all = answer["trials"].as_array().unwrap().iter();
    let word = |one: &serde_json::Value, key: &str| one[key].as_str().unwrap().to_owned();
    (
        output.status.code().unwrap(),
        all.map(|one| (word(one, "as"), word(one, "outcome"))).collect(),
    )
}

/// The broker with its printed configuration, in which something was replaced.
fn broker(fleet: &Fleet, faults: &[(&str, &str)]) -> Mosquitto {
    let printed = fleet.issue_broker();
    let etc = fleet.path(&format!("etc-{}", free_port()));
    install(&etc.join("certs"), &fleet.path(BROKER));
    fleet.new_crl(&etc.join("certs/crl.pem"));
    fs::write(etc.join("muster.acl"), printed.text("Mosquitto: who may do what")).unwrap();
    let port = free_port();
    let mut conf = printed.text("Mosquitto: listener");
    for (good, bad) in faults {
        assert!(conf.contains(good), "{conf}");
        conf = conf.replace(good, bad);
    }
    let conf = conf
        .replace("/etc/mosquitto", &etc.display().to_string())
        .replace("\nlistener 8883\n", &format!("\nlistener {port}\n"));
    Mosquitto::start(&etc, &conf, port)
}

fn wrong(outcomes: &Outcomes) -> Vec<&str> {
    let wrong = outcomes.iter().filter(|(_, outcome)| *outcome == "wrong");
    wrong.map(|(whom, _)| whom.as_str()).collect()
}

#[test]
fn a_good_listener_holds() {
    let Some(fleet) = Fleet::start() else { return };
    let (exit, outcomes) = tried(&fleet, &broker(&fleet, &[]), "localhost");
    assert_eq!((exit, wrong(&outcomes)), (0, Vec::new()), "{outcomes:?}");
    let not_tried: Vec<_> = outcomes
        .iter()
        .filter(|(_, outcome)| *outcome == "not-tried")
        .collect();
    assert_eq!(not_tried, [(&"WebSocket".to_owned(), &"not-tried".to_owned())]);
    assert_eq!(outcomes.len(), 12, "{outcomes:?}");
    // What was used proves nobody afterwards, and is in the audit log.
    let log = fleet.muster.ok(&["audit", "list", "--action", "canary.revoked"]);
    assert!(log.contains("muster-canary.revoked"), "{log}");
    assert!(!fleet.muster.ok(&["cert", "list"]).contains("muster-canary"));
    assert!(!fleet.muster.ok(&["device", "list"]).contains("muster-canary"));
}

#[test]
fn every_fault_of_a_listener_is_seen() {
    let Some(fleet) = Fleet::start() else { return };
    let open: &[_] = &[
        ("require_certificate true", "require_certificate false"),
        ("allow_anonymous false", "allow_anonymous true"),
        ("use_identity_as_username true", ""),
        ("use_username_as_clientid true", ""),
    ];
    for (faults, host, expected) in [
        (open, "localhost", "no certificate"),
        (&[("\ncrlfile ", "\n#crlfile ")], "localhost", "revoked"),
        (
            &[("use_username_as_clientid true", "")],
            "localhost",
            "another's client id",
        ),
        (&[("acl_file ", "#acl_file ")], "localhost", "foreign topic"),
        (
            &[("use_identity_as_username true", "")],
            "localhost",
            "a good certificate",
        ),
        (&[], "127.0.0.2", "a client that checks"),
    ] {
        let broker = broker(&fleet, faults);
        let (exit, outcomes) = tried(&fleet, &broker, host);
        assert!(
            wrong(&outcomes).contains(&expected),
            "{expected}: {outcomes:?}\n{}",
            broker.log()
        );
        assert_eq!(exit, 5);
    }
}
