//! `muster device import`: one certificate per row, however often it is cut off.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use crate::common::{Muster, wait_for};
use crate::{openssl, without_server};

const ROWS: usize = 200;

fn write_rows(muster: &Muster) {
    let rows: String = (0..ROWS)
        .map(|number| format!("site-{number:03},client,{}d,\n", 10 + number % 20))
        .collect();
    std::fs::write(
        muster.path().join("fleet.csv"),
        format!("name,kind,validity,sans\n{rows}"),
    )
    .unwrap();
}

fn done(muster: &Muster) -> usize {
    let rows = std::fs::read_dir(muster.path().join("certs"))
        .into_iter()
        .flatten();
    rows.filter(|row| {
        let path = row.as_ref().unwrap().path();
        path.join(format!("{}.crt", path.file_name().unwrap().to_str().unwrap()))
            .exists()
    })
    .count()
}

/// Cuts it off five times, each time a little further on, and lets it finish.
fn interrupted(muster: &Muster) {
    write_rows(muster);
    for cut in 1..=5 {
        let mut command = muster.command(&["device", "import", "fleet.csv", "--quiet"]);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("some rows", || {
            done(muster) >= cut * ROWS / 7 || child.try_wait().unwrap().is_some()
        });
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before it was cut off"
        );
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(done(muster) < ROWS);
    }
    let outcome = muster.json(&["device", "import", "fleet.csv"]);
    assert_eq!(
        (outcome["rows"].as_u64(), outcome["done"].as_u64()),
        (Some(ROWS as u64), Some(ROWS as u64))
    );
    check(muster);
    // Once more, with nothing to do.
    muster.ok(&["device", "import", "fleet.csv"]);
    check(muster);
}

fn check(muster: &Muster) {
    let issued = muster.json(&["cert", "list", "--limit", "500"]);
    let mut per_device: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in issued["items"].as_array().unwrap() {
        let device = row["device"].as_str().unwrap();
        if device.starts_with("site-") {
            per_device
                .entry(device.to_owned())
                .or_default()
                .push(row["fingerprint"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(per_device.len(), ROWS);
    for (device, fingerprints) in per_device {
        assert_eq!(
            fingerprints.len(),
            1,
            "{device} has {} certificates",
            fingerprints.len()
        );
        let dir = muster.path().join("certs").join(&device);
        assert_eq!(
            fingerprint(&dir.join(format!("{device}.crt"))),
            fingerprints[0],
            "{device}"
        );
        assert!(
            dir.join("ca.crt").exists() && dir.join("README.txt").exists(),
            "{device}"
        );
    }
    for device in ["site-000", "site-100", "site-199"] {
        let certified = openssl(
            muster,
            &format!("x509 -noout -pubkey -in certs/{device}/{device}.crt"),
        );
        assert_eq!(
            certified,
            openssl(muster, &format!("pkey -pubout -in certs/{device}/{device}.key")),
            "{device}"
        );
    }
}

fn fingerprint(path: &Path) -> String {
    let all = muster_pki::cert::Certificate::all_from_pem(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(all.len(), 2, "leaf and issuing CA");
    all[0]
        .fingerprint()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn cut_off_five_times_beside_a_server() {
    interrupted(&Muster::start());
}

#[test]
fn cut_off_five_times_with_the_authority_in_the_same_process() {
    let muster = without_server();
    interrupted(&muster);
    assert_eq!(muster.json(&["audit", "verify"])["intact"], true);
}

#[test]
fn rows_that_fail_do_not_keep_the_others() {
    let muster = Muster::start();
    muster.ok(&["device", "create", "gone"]);
    muster.exits(5, &["device", "retire", "gone", "--yes"]);
    std::fs::write(
        muster.path().join("fleet.csv"),
        "name,kind,validity,sans\nsite-001,client,,\ngone,client,,\n../escape,client,,\nsite-002,client,9000d,\nmqtt.example.org,server,,10.0.80.50\n",
    )
    .unwrap();
    let output = muster.run(&["device", "import", "fleet.csv", "--json"]);
    assert_eq!(output.status.code(), Some(6));
    let outcome: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (outcome["rows"].as_u64(), outcome["done"].as_u64()),
        (Some(5), Some(2))
    );
    let failed: Vec<_> = outcome["failed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert!(
        ["gone", "../escape", "site-002"]
            .iter()
            .all(|name| failed.contains(name)),
        "{failed:?}"
    );
    assert!(!muster.path().join("escape").exists());
    assert_eq!(
        muster.json(&["device", "show", "mqtt.example.org"])["kind"],
        "server"
    );
    for (bad, words) in [
        ("name,colour\na,red\n", "colour"),
        ("name\na\na\n", "twice"),
        ("", "no rows"),
    ] {
        std::fs::write(muster.path().join("bad.csv"), bad).unwrap();
        let said = muster.exits(2, &["device", "import", "bad.csv"]);
        assert!(said.contains(words), "{bad:?}: {said}");
    }
    muster.exits(3, &["device", "import", "missing.csv"]);
}

#[test]
fn a_certificate_without_its_key_is_not_done() {
    let muster = without_server();
    std::fs::write(muster.path().join("fleet.csv"), "name\nsite-1\nsite-2\nsite-3\n").unwrap();
    muster.ok(&["device", "import", "fleet.csv"]);
    let file = |name: &str| muster.path().join(format!("certs/{name}"));
    let kept = std::fs::read(file("site-3/site-3.crt")).unwrap();
    std::fs::remove_file(file("site-1/site-1.key")).unwrap();
    std::fs::write(file("site-2/site-2.crt"), "").unwrap();
    muster.ok(&["device", "import", "fleet.csv"]);
    assert_eq!(std::fs::read(file("site-3/site-3.crt")).unwrap(), kept);
    for name in ["site-1", "site-2"] {
        let modulus = |what: &str| openssl(&muster, what);
        assert_eq!(
            modulus(&format!("x509 -in certs/{name}/{name}.crt -noout -pubkey")),
            modulus(&format!("pkey -in certs/{name}/{name}.key -pubout"))
        );
    }
}

#[test]
fn rows_get_the_key_that_their_profile_takes() {
    let muster = without_server();
    let file = muster.data().join("muster.toml");
    let toml = std::fs::read_to_string(&file).unwrap();
    let profile = "[profile.strong]\nbase = \"client\"\nkeys = [\"p384\"]\n";
    std::fs::write(&file, format!("{toml}\n{profile}")).unwrap();
    std::fs::write(muster.path().join("fleet.csv"), "name,kind\nsite-1,strong\n").unwrap();
    muster.ok(&["device", "import", "fleet.csv"]);
    muster.ok(&["cert", "renew", "site-1", "--out", "renewed"]);
    muster.ok(&["cert", "issue", "site-2", "--kind", "strong", "--out", "issued"]);
    for file in [
        "certs/site-1/site-1.key",
        "renewed/site-1.key",
        "issued/site-2.key",
    ] {
        let shown = openssl(&muster, &format!("pkey -in {file} -noout -text"));
        assert!(shown.is_none_or(|text| text.contains("384 bit")), "{file}");
    }
}
