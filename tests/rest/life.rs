//! The life of a device: suspend, resume, revoke, re-arm, retire; and the CRL that goes with it.

use crate::common::{Muster, http_get, wait_for};

fn state(muster: &Muster, name: &str) -> String {
    muster.json(&["device", "show", name])["state"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn status(muster: &Muster, name: &str) -> String {
    muster.json(&["device", "show", name])["certificates"][0]["status"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn issue(muster: &Muster, name: &str, code: i32) -> String {
    muster.exits(code, &["cert", "issue", name, "--kind", "client", "--out", name])
}

/// Whether the CRL that everybody fetches lists the device's newest certificate.
fn listed(muster: &Muster, name: &str) -> bool {
    let serial = muster.json(&["device", "show", name])["certificates"][0]["serial"]
        .as_str()
        .unwrap()
        .to_owned();
    is_published(muster, &serial)
}

fn is_published(muster: &Muster, serial: &str) -> bool {
    let (status, der) = http_get(&format!("http://127.0.0.1:{}/crl", muster.public)).unwrap();
    assert_eq!(status, 200);
    // No other field of a CRL has 144 bits in common with a serial number.
    let hex: String = der.iter().map(|byte| format!("{byte:02x}")).collect();
    hex.contains(serial)
}

#[test]
fn suspend_puts_on_hold_and_resume_takes_off() {
    let muster = Muster::start();
    issue(&muster, "site-001", 0);
    muster.exits(5, &["device", "suspend", "site-001", "--note", "smells burnt"]);
    assert_eq!(
        (state(&muster, "site-001"), status(&muster, "site-001")),
        ("suspended".into(), "on hold".into())
    );
    wait_for("the CRL to hold it", || listed(&muster, "site-001"));
    let said = issue(&muster, "site-001", 4);
    assert!(said.contains("muster device resume site-001"), "{said}");
    muster.exits(2, &["device", "suspend", "site-001"]);
    muster.exits(5, &["device", "resume", "site-001"]);
    assert_eq!(
        (state(&muster, "site-001"), status(&muster, "site-001")),
        ("active".into(), "active".into())
    );
    wait_for("the CRL to forget it", || !listed(&muster, "site-001"));
    muster.exits(2, &["device", "resume", "site-001"]);
    assert!(muster.ok(&["audit", "list", "--json"]).contains("smells burnt"));
}

#[test]
fn a_suspension_does_not_end_a_rearming() {
    let muster = Muster::start();
    issue(&muster, "site-001", 0);
    muster.ok(&["device", "rearm", "site-001"]);
    muster.exits(5, &["device", "suspend", "site-001"]);
    muster.exits(5, &["device", "resume", "site-001"]);
    assert_eq!(state(&muster, "site-001"), "new");
    issue(&muster, "site-001", 0);
    muster.exits(5, &["device", "suspend", "site-001"]);
    muster.exits(5, &["device", "resume", "site-001"]);
    assert_eq!(state(&muster, "site-001"), "active");
}

#[test]
fn revoke_is_for_good_until_an_operator_rearms() {
    let muster = Muster::start();
    issue(&muster, "site-001", 0);
    muster.exits(
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
    assert_eq!(
        (state(&muster, "site-001"), status(&muster, "site-001")),
        ("revoked".into(), "revoked".into())
    );
    muster.exits(2, &["device", "revoke", "site-001", "--yes"]);
    muster.exits(2, &["device", "resume", "site-001"]);
    let said = issue(&muster, "site-001", 4);
    assert!(said.contains("muster device rearm site-001"), "{said}");
    muster.ok(&["device", "rearm", "site-001"]);
    assert_eq!(state(&muster, "site-001"), "new");
    issue(&muster, "site-001", 0);
    let shown = muster.json(&["device", "show", "site-001"]);
    let statuses: Vec<_> = shown["certificates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["active", "revoked"], "what was revoked stays revoked");
    let first = shown["certificates"][1]["serial"].as_str().unwrap();
    wait_for("the CRL to list it", || is_published(&muster, first));
    assert!(!listed(&muster, "site-001"));
}

#[test]
fn a_suspended_device_can_be_revoked_and_its_hold_becomes_final() {
    let muster = Muster::start();
    issue(&muster, "site-001", 0);
    muster.exits(5, &["device", "suspend", "site-001"]);
    muster.exits(
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
    let shown = muster.json(&["device", "show", "site-001"]);
    assert_eq!(shown["certificates"][0]["reason"], "key-compromise");
}

#[test]
fn retire_keeps_the_name_for_ever() {
    let muster = Muster::start();
    issue(&muster, "site-001", 0);
    muster.exits(5, &["device", "retire", "site-001", "--yes"]);
    assert_eq!(
        (state(&muster, "site-001"), status(&muster, "site-001")),
        ("retired".into(), "revoked".into())
    );
    let said = issue(&muster, "site-001", 4);
    assert!(said.contains("retired"), "{said}");
    muster.exits(2, &["device", "rearm", "site-001"]);
    muster.exits(2, &["device", "retire", "site-001", "--yes"]);
}

#[test]
fn revoking_one_certificate_leaves_the_device_and_its_others() {
    let muster = Muster::start();
    issue(&muster, "site-001", 0);
    issue(&muster, "site-001", 0);
    let said = muster.exits(2, &["cert", "revoke", "site-001", "--yes"]);
    assert!(said.contains("2 living certificates"), "{said}");
    muster.exits(
        5,
        &[
            "cert",
            "revoke",
            "site-001/site-001.crt",
            "--reason",
            "superseded",
            "--yes",
        ],
    );
    assert_eq!(state(&muster, "site-001"), "active");
    let active = muster.json(&["cert", "list", "--device", "site-001", "--status", "active"]);
    assert_eq!(active["items"].as_array().unwrap().len(), 1);
    let revoked = muster.json(&["cert", "list", "--device", "site-001", "--status", "revoked"]);
    assert_eq!(revoked["items"][0]["reason"], "superseded");
    muster.exits(2, &["cert", "revoke", "site-001/site-001.crt", "--yes"]);
}

#[test]
fn renew_and_download_by_name() {
    let muster = Muster::start();
    muster.ok(&[
        "cert",
        "issue",
        "mqtt.example.org",
        "--kind",
        "server",
        "--san",
        "mqtt.example.org,10.0.80.50",
        "--out",
        "a",
    ]);
    muster.ok(&["cert", "renew", "mqtt.example.org", "--out", "b"]);
    muster.ok(&[
        "cert",
        "renew",
        "mqtt.example.org",
        "--out",
        "c",
        "--key",
        "a/mqtt.example.org.key",
    ]);
    let shown = muster.json(&["device", "show", "mqtt.example.org"]);
    let all = shown["certificates"].as_array().unwrap();
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|one| one["sans"] == all[0]["sans"]), "{shown}");
    let serial = all[2]["serial"].as_str().unwrap();
    muster.ok(&["cert", "download", serial, "--out", "d"]);
    let read = |path: &str| std::fs::read_to_string(muster.path().join(path)).unwrap();
    assert_eq!(read("d/mqtt.example.org.crt"), read("a/mqtt.example.org.crt"));
    assert!(
        !muster.path().join("d/mqtt.example.org.key").exists(),
        "a key is never handed out again"
    );
    assert_eq!(read("c/mqtt.example.org.key"), read("a/mqtt.example.org.key"));
    assert_ne!(read("b/mqtt.example.org.key"), read("a/mqtt.example.org.key"));
}

#[test]
fn the_same_crl_everywhere_and_made_fresh_on_request() {
    let muster = Muster::start();
    issue(&muster, "site-001", 0);
    muster.exits(5, &["device", "revoke", "site-001", "--yes"]);
    muster.ok(&["ca", "crl", "--out", "fresh.pem"]);
    let fresh = std::fs::read_to_string(muster.path().join("fresh.pem")).unwrap();
    assert!(fresh.starts_with("-----BEGIN X509 CRL-----"));
    assert!(listed(&muster, "site-001"), "a fresh list is published, too");
    let first = muster.json(&["ca", "crl"])["number"].as_u64().unwrap();
    let second = muster.json(&["ca", "crl"])["number"].as_u64().unwrap();
    assert!(second > first, "{second} after {first}");
    assert_eq!(muster.json(&["ca", "crl", "--generation", "0"])["entries"], 0);
}

#[test]
fn each_of_two_names_in_one_directory_has_its_readme() {
    let muster = Muster::start();
    let read = |name: &str| std::fs::read_to_string(muster.path().join("certs").join(name)).unwrap();
    let issue = |name: &str| muster.exits(0, &["cert", "issue", name, "--out", "certs"]);
    issue("site-001");
    let said = issue("site-002");
    assert!(said.contains("certs/site-002-README.txt"), "{said}");
    for (readme, name) in [("README.txt", "site-001"), ("site-002-README.txt", "site-002")] {
        assert!(
            read(readme).starts_with(&format!("Certificate of {name}\n")),
            "{readme}"
        );
    }
    // A name's own is replaced.
    let before = read("README.txt");
    issue("site-001");
    assert_ne!(read("README.txt"), before);
    assert!(!muster.path().join("certs/site-001-README.txt").exists());
    // What somebody else wrote is not touched.
    std::fs::write(muster.path().join("README.txt"), "Of my own\n").unwrap();
    muster.exits(0, &["cert", "issue", "site-003"]);
    let own = std::fs::read_to_string(muster.path().join("README.txt")).unwrap();
    assert_eq!(own, "Of my own\n");
}
