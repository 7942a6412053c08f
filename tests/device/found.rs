//! `muster agent enrol` into a directory where something lies already.

use std::path::Path;

use crate::common::{Muster, text};
use crate::faults::{on, shim};
use crate::{Device, code, living};

/// Everything in a directory but the lock, what the CA said about the time, and what the agent says about itself.
fn look(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let all = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = all
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(path).unwrap())
        })
        .filter(|(name, _)| !["lock", "last-time", "status.json", "status.json.new"].contains(&&name[..]))
        .collect();
    files.sort();
    files
}

/// A site that has a certificate by a provisioner's password.
fn signed(muster: &Muster, name: &str) -> Device {
    let device = Device::new(muster, name);
    let fingerprint = muster.ok(&["ca", "fingerprint"]);
    let password = muster.data().join("provisioner-password");
    let sign = ["agent", "sign", name, "--ca-url", &muster.url()];
    let right = ["--fingerprint", fingerprint.trim(), "--password-file"];
    device.ok(&[&sign[..], &right, &[password.to_str().unwrap()]].concat());
    device
}

#[test]
fn a_site_that_had_a_password_goes_on_with_a_token_or_a_recovery_code() {
    let muster = Muster::start();
    for (name, same_key) in [("site-001", true), ("site-002", false)] {
        let device = signed(&muster, name);
        let before = look(&device.dir);
        let given = |device: &Device| {
            let now = look(&device.dir);
            before.iter().all(|file| now.contains(file))
        };
        let code = if same_key {
            code(&muster, &[name])
        } else {
            let made = muster.json(&["device", "recover", name]);
            made["code"].as_str().unwrap().to_owned()
        };
        // A code that is good for nothing costs nothing.
        let secret = code.split([':', '@']).nth(1).unwrap();
        let other = if secret.ends_with('A') { "B" } else { "A" };
        let mistyped = code.replace(secret, &format!("{}{other}", &secret[..secret.len() - 1]));
        device.exits(4, &["agent", "enrol", &mistyped]);
        assert!(given(&device));
        device.ok(&["agent", "enrol", &code, "--dry-run"]);
        assert!(given(&device));
        let key = device.read(&format!("{name}.key"));
        device.ok(&["agent", "enrol", &code]);
        assert!(!given(&device));
        assert_eq!(device.read(&format!("{name}.key")) == key, same_key);
        device.ok(&["agent", "enrol", &code]);
        device.ok(&["agent", "renew"]);
        assert_ne!(device.read(&format!("{name}.key")), key);
        device.ok(&["agent", "status"]);
        let names: Vec<_> = look(&device.dir).into_iter().map(|(name, _)| name).collect();
        let own = [format!("{name}.crt"), format!("{name}.key")];
        assert_eq!(names, ["agent.json", "ca.crt", &own[0], &own[1]]);
        assert!(!living(&muster, name).is_empty());
    }
}

#[test]
fn whatever_lay_there_an_enrolment_that_was_cut_off_is_gone_on_with() {
    let muster = Muster::start();
    let Some(shim) = shim(muster.path()) else { return };
    for at in 1.. {
        let mut whole = 0;
        for found in [true, false] {
            let name = format!("site-{at}-{found}");
            let device = if found {
                signed(&muster, &name)
            } else {
                Device::new(&muster, &name)
            };
            std::fs::create_dir_all(&device.dir).unwrap();
            let enrol = ["agent", "enrol", &code(&muster, &[&name])];
            let mut command = on(&shim, &device, &enrol);
            let output = command.env("FAULT_AT", at.to_string()).output().unwrap();
            match output.status.code() {
                Some(86) => {}
                Some(0) => whole += 1,
                code => panic!("{code:?}: {}", text(&output.stderr)),
            }
            device.ok(&enrol);
            device.ok(&["agent", "status"]);
            let names: Vec<_> = look(&device.dir).into_iter().map(|(name, _)| name).collect();
            let own = [format!("{name}.crt"), format!("{name}.key")];
            assert_eq!(
                names,
                ["agent.json", "ca.crt", &own[0], &own[1]],
                "cut off at {at}: {}",
                text(&output.stderr)
            );
        }
        if whole == 2 {
            assert!(
                at > 40,
                "{at} operations: what stands between the program and its disk misses some"
            );
            break;
        }
    }
    // Whose key it is that has no certificate, nobody here knows.
    let device = Device::new(&muster, "site-x");
    std::fs::create_dir(&device.dir).unwrap();
    std::fs::write(device.file("site-x.key"), "somebody's key").unwrap();
    device.ok(&["agent", "enrol", &code(&muster, &["site-x"])]);
    assert_eq!(device.read("site-x.key.old"), "somebody's key");
}

#[test]
fn what_belongs_to_another_ca_stays_unless_the_device_had_enrolled_there() {
    let (muster, other) = (Muster::start(), Muster::start());
    let code = code(&muster, &["site-001"]);
    let refused = |device: &Device, words: &str| {
        let before = look(&device.dir);
        for line in [
            &["agent", "enrol", &code][..],
            &["agent", "enrol", &code, "--dry-run"],
        ] {
            let said = device.exits(1, line);
            assert!(said.contains(words) && said.contains("--dir"), "{said}");
            assert_eq!(look(&device.dir), before);
        }
    };
    // A site of the other CA: all of it, without its ca.crt, with that alone, and with one that is nothing.
    let site = signed(&other, "site-001");
    refused(&site, "ca.crt in");
    let ca = site.read("ca.crt");
    std::fs::remove_file(site.file("ca.crt")).unwrap();
    refused(&site, "site-001.crt in");
    let place = Device::new(&muster, "site-001");
    std::fs::create_dir(&place.dir).unwrap();
    for there in [&ca[..], "no certificate"] {
        std::fs::write(place.file("ca.crt"), there).unwrap();
        refused(&place, "begins with another certificate");
    }
    std::fs::remove_file(place.file("ca.crt")).unwrap();
    place.ok(&["agent", "enrol", &code]);
    // Who has enrolled here and comes with a code of another CA is meant to change.
    let moves = crate::code(&other, &["site-001", "--profile", "client"]);
    let before = look(&place.dir);
    let said = place.exits(4, &["agent", "enrol", &moves]);
    assert!(said.contains("muster device recover site-001"), "{said}");
    let now = look(&place.dir);
    assert!(before.iter().all(|file| now.contains(file)));
    let made = other.json(&["device", "recover", "site-001"]);
    place.ok(&["agent", "enrol", made["code"].as_str().unwrap()]);
    assert_eq!(place.read("ca.crt"), ca);
    place.ok(&["agent", "renew"]);
}
