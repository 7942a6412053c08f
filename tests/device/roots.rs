//! `muster ca create --follows`: a fleet goes over to another root while brokers and devices stay connected.

use muster_pki::cert::Certificate;

use crate::common::Muster;
use crate::fleet::{BROKER_SANS, Fleet, openssl};
use crate::{Device, code, living};

/// With the server stopped.
pub(crate) fn create(muster: &mut Muster, args: &[&str]) {
    muster.stop();
    muster.ok(&[&["ca", "create"], args].concat());
    muster.serve();
}

pub(crate) fn configure(muster: &mut Muster, toml: &str) {
    muster.stop();
    let file = muster.data().join("muster.toml");
    let before = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{before}\n{toml}")).unwrap();
    muster.serve();
}

/// The common names of those in `ca.crt`, in order of the alphabet.
fn believed(device: &Device) -> Vec<String> {
    let all = Certificate::all_from_pem(&device.read("ca.crt")).unwrap();
    let mut names: Vec<_> = all.iter().map(|one| one.common_name().unwrap()).collect();
    names.sort();
    names
}

fn issuer(device: &Device, name: &str) -> String {
    let chain = Certificate::all_from_pem(&device.read(&format!("{name}.crt"))).unwrap();
    chain[0].issuer_common_name().unwrap()
}

/// Whether openssl, which trusts this file alone, takes a certificate for a client's or a server's.
fn holds(
    purpose: &str,
    trusted: &std::path::Path,
    untrusted: &[&std::path::Path],
    leaf: &std::path::Path,
) -> bool {
    let mut line = vec!["verify", "-x509_strict", "-no-CApath", "-purpose", purpose];
    line.extend(["-CAfile", trusted.to_str().unwrap()]);
    for file in untrusted {
        line.extend(["-untrusted", file.to_str().unwrap()]);
    }
    line.push(leaf.to_str().unwrap());
    openssl(&line).0
}

#[test]
fn a_fleet_goes_over_to_another_root_and_nobody_is_shut_out() {
    let Some(mut fleet) = Fleet::start() else { return };
    let device = Device::new(&fleet.muster, "site-001");
    let late = Device::new(&fleet.muster, "site-002");
    device.ok(&["agent", "enrol", &code(&fleet.muster, &["site-001"])]);
    late.ok(&["agent", "enrol", &code(&fleet.muster, &["site-002"])]);
    let away = Device::new(&fleet.muster, "site-004");
    away.ok(&["agent", "enrol", &code(&fleet.muster, &["site-004"])]);
    assert_eq!(believed(&device), ["Test Issuing CA 1", "Test Root CA"]);

    create(
        &mut fleet.muster,
        &["next", "--name", "Next", "--follows", "default"],
    );
    let printed = fleet.issue_broker();
    let central = fleet.central(&printed);
    let publish = |device: &Device, name: &str| {
        let (topic, broker) = (
            format!("fleet/{name}/up/t"),
            format!("localhost:{}", central.port),
        );
        device.ok(&["mqtt", "pub", &topic, "x", "--broker", &broker]);
    };
    device.ok(&["agent", "renew"]);
    late.ok(&["agent", "renew"]);
    for (device, name) in [(&device, "site-001"), (&late, "site-002")] {
        assert_eq!(
            believed(device),
            ["Next Root CA", "Test Issuing CA 1", "Test Root CA"]
        );
        assert_eq!(issuer(device, name), "Test Issuing CA 1");
        publish(device, name);
    }

    // Devices first, then what they connect to.
    configure(&mut fleet.muster, "[profile.client]\nauthority = \"next\"\n");
    for _ in 0..2 {
        device.ok(&["agent", "renew"]);
        assert_eq!(
            believed(&device),
            ["Next Issuing CA 1", "Next Root CA", "Test Root CA"]
        );
        assert_eq!(issuer(&device, "site-001"), "Next Issuing CA 1");
        assert_eq!(living(&fleet.muster, "site-001").len(), 1, "it was confirmed");
        publish(&device, "site-001");
        publish(&late, "site-002");
    }
    let serial = living(&fleet.muster, "site-001")[0]["serial"].clone();
    let shown = fleet.muster.json(&["cert", "show", serial.as_str().unwrap()]);
    let sent = Certificate::all_from_pem(shown["root"].as_str().unwrap()).unwrap();
    let [new, old, cross] = ["new", "old", "cross"].map(|name| fleet.path(&format!("{name}.pem")));
    for (file, one) in [&new, &old, &cross].iter().zip(&sent) {
        std::fs::write(file, one.to_pem().unwrap()).unwrap();
    }
    let leaf = device.file("site-001.crt");
    assert!(holds("sslclient", &new, &[&leaf], &leaf));
    assert!(holds("sslclient", &old, &[&leaf, &cross], &leaf));
    assert!(
        !holds("sslclient", &old, &[&leaf], &leaf),
        "nobody vouches for it"
    );

    configure(&mut fleet.muster, "[profile.server]\nauthority = \"next\"\n");
    fleet.issue("hub.example.org", &["--kind", "server", "--san", BROKER_SANS]);
    let hub = fleet.file("hub.example.org", "crt");
    for device in [&device, &late] {
        assert!(holds("sslserver", &device.file("ca.crt"), &[&hub], &hub));
    }
    // A device that comes for the first time believes those that are there, too.
    let newcomer = Device::new(&fleet.muster, "site-003");
    newcomer.ok(&["agent", "enrol", &code(&fleet.muster, &["site-003"])]);
    assert_eq!(believed(&newcomer), believed(&device));
    publish(&newcomer, "site-003");
    // One follows that one. Who was away all the time believes it by way of the one between.
    create(
        &mut fleet.muster,
        &["third", "--name", "Third", "--follows", "next"],
    );
    for device in [&device, &late, &newcomer, &away] {
        device.ok(&["agent", "renew"]);
        assert_eq!(
            believed(device),
            [
                "Next Issuing CA 1",
                "Next Root CA",
                "Test Root CA",
                "Third Root CA"
            ]
        );
    }
}

#[test]
fn a_root_that_follows_none_is_not_believed() {
    let mut fleet = Fleet {
        muster: Muster::start(),
    };
    let device = Device::new(&fleet.muster, "site-001");
    device.ok(&["agent", "enrol", &code(&fleet.muster, &["site-001"])]);
    create(&mut fleet.muster, &["apart", "--name", "Apart"]);
    device.ok(&["agent", "renew"]);
    assert_eq!(believed(&device), ["Test Issuing CA 1", "Test Root CA"]);
    configure(&mut fleet.muster, "[profile.client]\nauthority = \"apart\"\n");
    let before = ["ca.crt", "site-001.crt", "site-001.key"].map(|name| device.read(name));
    let said = device.exits(1, &["agent", "renew"]);
    assert!(
        said.contains("none that this device has vouches for it") && said.contains("muster device recover"),
        "{said}"
    );
    assert_eq!(
        ["ca.crt", "site-001.crt", "site-001.key"].map(|name| device.read(name)),
        before
    );
}
