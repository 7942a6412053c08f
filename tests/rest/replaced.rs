//! A new certificate in the place of others; and one that its issuer cuts short.

use serde_json::json;

use crate::common::requester::{Requester, csr_with, new_key};
use crate::common::{Muster, wait_for};
use crate::fleet::Fleet;

#[test]
fn a_rearmed_device_keeps_its_old_certificates_until_it_has_the_new_one() {
    let fleet = Fleet::start("");
    let (old, new) = (new_key(), new_key());
    let first = fleet.sign("site-001", &old).expect(201, "");
    fleet.sign("site-001", &old).expect(201, "");
    fleet
        .sign("site-001", &new)
        .expect(403, "muster device recover site-001");
    fleet.muster.ok(&["device", "rearm", "site-001"]);
    // Nothing is cut off while the operator waits for the new one; a renewal does not end the waiting.
    assert_eq!(fleet.certificates("site-001"), ["active", "active"]);
    let holder = fleet.holder(&first, &old);
    holder.post("/renew", &json!({})).expect(201, "");

    fleet.sign("site-001", &new).expect(201, "");
    let gone = "revoked superseded";
    assert_eq!(fleet.certificates("site-001"), ["active", gone, gone, gone]);
    holder.post("/renew", &json!({})).expect(401, "superseded");
    fleet.sign("site-001", &old).expect(403, "another key");
    let log = fleet.muster.json(&["audit", "list"]);
    let mut entries = log["items"].as_array().unwrap().iter();
    let issued = entries
        .find(|entry| entry["action"] == "certificate.issued")
        .unwrap();
    let detail: serde_json::Value = serde_json::from_str(issued["detail"].as_str().unwrap()).unwrap();
    assert_eq!(detail["superseded"].as_array().unwrap().len(), 3);
    assert_eq!(
        fleet.muster.json(&["ca", "crl", "--generation", "1"])["entries"],
        3
    );
}

#[test]
fn a_provisioner_that_may_replace_keys_replaces_them() {
    let fleet = Fleet::start("");
    let add = [
        "ca",
        "provisioner",
        "add",
        "bench",
        "--password-file",
        "p",
        "--replace",
    ];
    fleet.muster.ok(&add);
    let bench = Requester::named(&fleet.muster, "bench", &fleet.muster.path().join("p"));
    let keys = [new_key(), new_key()];
    fleet.sign("site-001", &keys[0]).expect(201, "");
    fleet
        .sign_with(&bench.token("site-001"), "site-001", &keys[1])
        .expect(201, "");
    assert_eq!(fleet.certificates("site-001"), ["active", "revoked superseded"]);
    fleet
        .sign_with(&bench.token("site-001"), "site-001", &keys[1])
        .expect(201, "");
    assert_eq!(
        fleet.certificates("site-001"),
        ["active", "active", "revoked superseded"]
    );
}

#[test]
fn the_old_key_of_one_that_rekeyed_ends_when_the_new_one_is_used() {
    let fleet = Fleet::start("");
    for use_it in ["/renew", "/api/v1/enrol/confirm"] {
        let name = if use_it == "/renew" {
            "site-001"
        } else {
            "site-002"
        };
        let (old, new) = (new_key(), new_key());
        let first = fleet.sign(name, &old).expect(201, "");
        let holder = fleet.holder(&first, &old);
        holder.post("/renew", &json!({})).expect(201, "");
        let rekey = json!({ "csr": csr_with(name, &new) });
        let second = holder.post("/rekey", &rekey).expect(201, "");
        // The answer may have been lost: what the device has goes on.
        assert_eq!(fleet.certificates(name), ["active"; 3]);
        holder.post("/renew", &json!({})).expect(201, "");
        let holder = fleet.holder(&second, &new);
        let status = if use_it == "/renew" { 201 } else { 200 };
        holder.post(use_it, &json!({})).expect(status, "");
        let gone = "revoked superseded";
        let mut all = fleet.certificates(name);
        if use_it == "/renew" {
            assert_eq!(all.remove(0), "active");
        }
        assert_eq!(all, [gone, "active", gone, gone]);
        holder.post(use_it, &json!({})).expect(status, "");
        assert!(
            fleet
                .muster
                .ok(&["audit", "list", "--json"])
                .contains("superseded")
        );
    }
    assert_eq!(
        fleet.muster.json(&["ca", "crl", "--generation", "1"])["entries"],
        6
    );
    fleet.muster.exits(0, &["cert", "list", "--how", "renewal"]);
}

#[test]
fn that_the_issuing_ca_cuts_certificates_short_is_told_once() {
    let fleet = Fleet::start("[profile.client]\ndefault = \"3000d\"\nmax = \"3650d\"\n");
    let alarms = || {
        let log = fleet.muster.json(&["audit", "list"]);
        let entries = log["items"].as_array().unwrap().clone();
        entries
            .into_iter()
            .filter(|entry| entry["action"] == "authority.ending")
            .collect::<Vec<_>>()
    };
    fleet
        .muster
        .ok(&["cert", "issue", "short", "--validity", "30d", "--out", "short"]);
    assert_eq!(alarms().len(), 0);
    let key = new_key();
    let first = fleet.sign("site-001", &key).expect(201, "");
    let told = alarms();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["subject"], "default-1");
    assert!(
        told[0]["detail"]
            .as_str()
            .unwrap()
            .contains("muster ca rollover start")
    );
    fleet.sign("site-002", &new_key()).expect(201, "");
    fleet
        .holder(&first, &key)
        .post("/renew", &json!({}))
        .expect(201, "");
    assert_eq!(alarms().len(), 1, "not for each certificate");
}

#[test]
fn files_of_others_are_not_written_through() {
    let muster = crate::without_server();
    let path = |name: &str| muster.path().join(name);
    std::fs::write(path("precious"), "precious").unwrap();
    for link in ["crl.new", "crl.pem"] {
        std::os::unix::fs::symlink(path("precious"), path(link)).unwrap();
    }
    muster.ok(&["ca", "crl", "--out", "crl.pem"]);
    assert_eq!(std::fs::read_to_string(path("precious")).unwrap(), "precious");
    assert!(!path("crl.pem").is_symlink());

    let mut children: Vec<_> = (0..4)
        .map(|_| {
            let line = ["ca", "root", "--out", "root.pem"];
            std::thread::spawn({
                let mut command = muster.command(&line);
                move || command.output().unwrap()
            })
        })
        .collect();
    for child in children.drain(..) {
        let output = child.join().unwrap();
        let said = crate::common::text(&output.stderr);
        // Without a server, one at a time may look; but none may spoil another's file.
        assert!(
            output.status.success() || said.contains("another muster process"),
            "{said}"
        );
    }
}

#[test]
fn no_certificate_is_recorded_whose_key_cannot_be_kept() {
    let muster = crate::without_server();
    std::fs::write(muster.path().join("file"), "").unwrap();
    muster.exits(1, &["cert", "issue", "site-1", "--out", "file/below"]);
    muster.exits(2, &["cert", "issue", "site-1", "--broker", "a\nb"]);
    muster.exits(4, &["cert", "issue", "../site-1", "--out", "there"]);
    assert_eq!(muster.json(&["device", "list"])["items"], json!([]));

    // What cannot be handed out is said to be there, with its key.
    std::fs::create_dir_all(muster.path().join("full/ca.crt")).unwrap();
    let said = muster.exits(1, &["cert", "issue", "site-1", "--out", "full"]);
    assert!(
        said.contains("muster cert download") && muster.path().join("full/site-1.key").exists(),
        "{said}"
    );
    muster.ok(&["cert", "download", "site-1", "--out", "fetched"]);
}

#[test]
fn older_keys_and_bundles_stay() {
    let muster = crate::without_server();
    for _ in 0..3 {
        muster.ok(&["cert", "issue", "site-1", "--zip", "--out", "zip"]);
        muster.ok(&["cert", "issue", "site-1", "--out", "plain"]);
    }
    for name in ["zip/site-1-certs.zip", "plain/site-1.key"] {
        for ending in ["", ".old", ".old2"] {
            let file = muster.path().join(format!("{name}{ending}"));
            assert!(file.exists(), "{}", file.display());
        }
    }
    // After a renewal there are several; the newest is the one to fetch.
    muster.ok(&["cert", "download", "site-1", "--out", "fetched"]);
    let newest = std::fs::read(muster.path().join("plain/site-1.crt")).unwrap();
    assert_eq!(
        std::fs::read(muster.path().join("fetched/site-1.crt")).unwrap(),
        newest
    );
}

#[test]
fn a_server_that_is_told_that_its_own_certificate_is_revoked_takes_another() {
    let muster = Muster::start();
    let shown = || muster.json(&["cert", "inspect", &format!("localhost:{}", muster.api)]);
    let serial = |shown: serde_json::Value| shown.to_string();
    let before = serial(shown());
    let listed = muster.json(&["cert", "list", "--device", "muster-ca"]);
    let own = listed["items"][0]["serial"].as_str().unwrap().to_owned();
    muster.exits(5, &["cert", "revoke", &own, "--yes"]);
    wait_for("another certificate", || serial(shown()) != before);
}
