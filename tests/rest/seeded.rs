//! `muster seed`: a made-up fleet has something for every page, and never goes among real devices.

use crate::common::Muster;
use crate::without_server;

const SMALL: [&str; 5] = ["seed", "--certificates", "6000", "--devices", "1200"];

/// How many rows a list has, of 500 at most.
fn rows(muster: &Muster, line: &[&str]) -> usize {
    let mut line = line.to_vec();
    line.extend(["--limit", "500"]);
    muster.json(&line)["items"].as_array().unwrap().len()
}

#[test]
fn a_seeded_fleet_has_something_for_every_page() {
    let muster = without_server();
    let said = muster.json(&SMALL);
    assert_eq!(
        (&said["certificates"], &said["devices"]),
        (&6000.into(), &1200.into())
    );
    let counts = &muster.json(&["status"])["certificates"];
    let number = |name: &str| {
        counts[name]
            .as_u64()
            .unwrap_or_else(|| panic!("{name}: {counts}"))
    };
    assert_eq!(
        number("active") + number("expired") + number("revoked"),
        6000,
        "{counts}"
    );
    for name in ["active", "expiring", "expired", "revoked"] {
        assert!(number(name) > 0, "{name}: {counts}");
    }
    for state in ["new", "active", "suspended", "revoked", "retired"] {
        assert!(
            rows(&muster, &["device", "list", "--state", state]) > 0,
            "{state}"
        );
    }
    for kind in ["client", "server", "broker"] {
        assert!(rows(&muster, &["device", "list", "--kind", kind]) > 0, "{kind}");
    }
    for how in ["operator", "renewal", "token", "step"] {
        assert!(rows(&muster, &["cert", "list", "--how", how]) > 0, "{how}");
    }
    for status in ["open", "used-up", "expired", "withdrawn"] {
        assert!(
            rows(&muster, &["token", "list", "--status", status]) > 0,
            "{status}"
        );
    }
    // Their agents are not there, which needs somebody.
    let brokers = muster.exits(5, &["broker", "list", "--json"]);
    assert_eq!(brokers.matches("\"program\"").count(), 5, "{brokers}");
    assert!(muster.json(&["user", "list"]).to_string().contains("carol"));
    assert!(rows(&muster, &["audit", "list", "--action", "certificate.revoked"]) > 50);
    muster.ok(&["audit", "verify"]);
    // What renewed names what it renewed.
    let renewed = muster.json(&["cert", "list", "--how", "renewal", "--limit", "1"]);
    let how = renewed["items"][0]["how"].as_str().unwrap();
    muster.ok(&["cert", "show", how.strip_prefix("renewal:").unwrap()]);
}

#[test]
fn a_fleet_is_made_up_where_there_is_none() {
    let muster = without_server();
    for (line, why) in [
        (["seed", "--certificates", "0", "--devices", "1"], "1 to 10000000"),
        (
            ["seed", "--certificates", "10000001", "--devices", "1"],
            "1 to 10000000",
        ),
        (["seed", "--certificates", "5", "--devices", "6"], "for each"),
        (
            ["seed", "--certificates", "5", "--devices", "0"],
            "at least one device",
        ),
    ] {
        let said = muster.exits(2, &line);
        assert!(said.contains(why), "{said}");
    }
    let would = muster.ok(&[&SMALL[..], &["--dry-run"]].concat());
    assert!(
        would.starts_with("Would make 6000 certificates of 1200 devices"),
        "{would}"
    );
    assert_eq!(rows(&muster, &["device", "list"]), 0);
    muster.ok(&["device", "create", "site-1"]);
    let said = muster.exits(2, &SMALL);
    assert!(
        said.contains("there are devices or operators already") && said.contains("muster init --data"),
        "{said}"
    );
    assert_eq!(rows(&muster, &["device", "list"]), 1);
    assert!(!muster.ok(&["--help"]).contains("seed"));
}
