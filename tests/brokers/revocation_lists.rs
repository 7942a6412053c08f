//! The lists of the issuing CA and of the root, in the programs that check them.

use std::fs;
use std::process::Command;

use crate::common::{free_port, tool, wait_for};
use crate::fleet::{BROKER, Fleet, openssl, spawn, wait_for_port};
use crate::mqtt::Client;

/// Both lists one after the other, as programs that check the whole chain want them.
fn both_lists(fleet: &Fleet) -> std::path::PathBuf {
    let root = fleet.path("root.crl");
    let issuing = fleet.path("issuing.crl");
    fleet.new_crl(&issuing);
    fleet
        .muster
        .ok(&["ca", "crl", "--generation", "0", "--out", root.to_str().unwrap()]);
    let both = fleet.path("both.crl");
    fs::write(
        &both,
        [fs::read(issuing).unwrap(), fs::read(root).unwrap()].concat(),
    )
    .unwrap();
    both
}

#[test]
fn openssl_checks_the_whole_chain_with_both_lists() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.issue("site-001", &["--kind", "client"]);
    let verified = || {
        let both = both_lists(&fleet);
        let ca = fleet.path("site-001").join("ca.crt");
        let certificate = fleet.file("site-001", "crt");
        let paths = [&ca, &both, &certificate].map(|path| path.to_str().unwrap().to_owned());
        openssl(&[
            "verify",
            "-crl_check_all",
            "-purpose",
            "sslclient",
            "-CAfile",
            &paths[0],
            "-CRLfile",
            &paths[1],
            &paths[2],
        ])
    };
    let (content, said) = verified();
    assert!(content, "{said}");
    fleet.muster.exits(5, &["device", "revoke", "site-001", "--yes"]);
    let (content, said) = verified();
    assert!(!content && said.contains("certificate revoked"), "{said}");
}

#[test]
fn mosquitto_takes_both_lists_in_one_file() {
    let Some(fleet) = Fleet::start() else { return };
    let printed = fleet.issue_broker();
    fleet.issue("site-001", &["--kind", "client"]);
    let central = fleet.central(&printed);
    fs::copy(both_lists(&fleet), central.etc.join("certs/crl.pem")).unwrap();
    central.signal(rustix::process::Signal::HUP);
    let site = Client::of(&fleet, "site-001", central.port);
    assert!(site.publishes("fleet/site-001/up/t", "hello"));
    assert!(!central.log().contains("Unable to load"), "{}", central.log());
}

#[test]
fn haproxy_that_ends_tls_itself_checks_both() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.issue_broker();
    fleet.issue("site-001", &["--kind", "client"]);
    fleet.issue("site-002", &["--kind", "client"]);
    fleet.muster.exits(5, &["device", "revoke", "site-002", "--yes"]);
    let both = both_lists(&fleet);
    let pair = fleet.path("pair.pem");
    let parts = ["crt", "key"].map(|extension| fs::read(fleet.file(BROKER, extension)).unwrap());
    fs::write(&pair, parts.concat()).unwrap();
    let port = free_port();
    // Without the two lines on resumption, who was let in once comes back without being looked at.
    let conf = format!(
        "global\n    tune.ssl.cachesize 0\ndefaults\n    mode tcp\n    timeout connect 5s\n    timeout client 1m\n    \
         timeout server 1m\nfrontend mqtts\n    bind 127.0.0.1:{port} ssl crt {} ca-file {} crl-file {} verify required \
         no-tls-tickets ssl-min-ver TLSv1.2\n    default_backend brokers\nbackend brokers\n    server m1 127.0.0.1:{}\n",
        pair.display(),
        fleet.ca().display(),
        both.display(),
        free_port()
    );
    let (file, log) = (fleet.path("haproxy.cfg"), fleet.path("haproxy.log"));
    fs::write(&file, conf).unwrap();
    let _running = spawn(
        Command::new(tool("haproxy").unwrap())
            .arg("-db")
            .arg("-f")
            .arg(&file),
        &log,
    );
    wait_for_port(port, &log);
    let alert = |name| Client::of(&fleet, name, port).alert();
    wait_for("HAProxy", || alert("site-001").is_none());
    assert_eq!(alert("site-002").as_deref(), Some("certificate revoked"));
    assert_eq!(
        Client::stranger(&fleet, port).alert().as_deref(),
        Some("handshake failure")
    );
}
