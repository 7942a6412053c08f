//! The lists of the issuing CA and of the root, in the programs that check them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Muster, free_port, text, tool, wait_for};
use crate::fleet::{BROKER, Fleet, install, openssl, spawn, wait_for_port};
use crate::mqtt::Client;

/// What `ca crl` writes: both lists one after the other, as programs that check the whole chain want them.
fn both_lists(fleet: &Fleet) -> PathBuf {
    let both = fleet.path("both.crl");
    fleet.new_crl(&both);
    let lists = fs::read_to_string(&both).unwrap();
    assert_eq!(lists.matches("BEGIN X509 CRL").count(), 2);
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

#[test]
fn the_roots_list_is_made_anew_with_the_recovery_secret() {
    let Some(mut fleet) = Fleet::start() else { return };
    let number = |fleet: &Fleet| {
        fleet.muster.json(&["ca", "crl", "--generation", "0"])["number"]
            .as_u64()
            .unwrap()
    };
    let before = number(&fleet);
    fleet.muster.exits(1, &["ca", "root-crl"]);
    fleet.muster.stop();
    let away = fleet.path("recovery-secret");
    fs::rename(fleet.muster.data().join("recovery-secret"), &away).unwrap();
    fleet.muster.exits(1, &["ca", "root-crl"]);
    assert_eq!(number(&fleet), before);
    let said = fleet
        .muster
        .run(&["ca", "root-crl", "--recovery-secret", away.to_str().unwrap()]);
    assert!(said.status.success(), "{}", text(&said.stderr));
    assert!(text(&said.stderr).contains("The CRL of the root of default is good until"));
    assert!(number(&fleet) > before);
    fleet.issue("site-001", &["--kind", "client"]);
    let paths = [
        fleet.path("site-001").join("ca.crt"),
        both_lists(&fleet),
        fleet.file("site-001", "crt"),
    ];
    let [ca, both, certificate] = paths.map(|path| path.to_str().unwrap().to_owned());
    let (content, said) = openssl(&[
        "verify",
        "-crl_check_all",
        "-CAfile",
        &ca,
        "-CRLfile",
        &both,
        &certificate,
    ]);
    assert!(content, "{said}");
}

/// The script of docs/brokers.md, with this machine's places.
fn script_of_the_guide(fleet: &Fleet, certs: &Path) -> PathBuf {
    let guide = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/brokers.md")).unwrap();
    let from = guide.find("    #!/bin/sh\n").expect("the guide has a script");
    let lines = guide[from..].lines().take_while(|line| line.starts_with("    "));
    let script: String = lines
        .map(|line| format!("{}\n", line.trim_start_matches("    ")))
        .collect();
    let script = script
        .replace("/etc/mosquitto/certs", &certs.display().to_string())
        .replace("ca.ak-sg.com:9080", &format!("127.0.0.1:{}", fleet.muster.public))
        .replace("systemctl reload mosquitto", "echo reloaded");
    let file = fleet.path("fetch-crl");
    fs::write(&file, script).unwrap();
    file
}

#[test]
fn the_script_of_the_guide_brings_lists_of_this_ca_only() {
    let Some(fleet) = Fleet::start() else { return };
    if tool("curl").is_none() {
        return;
    }
    fleet.issue_broker();
    fleet.issue("site-001", &["--kind", "client"]);
    let certs = fleet.path("certs");
    install(&certs, &fleet.path(BROKER));
    fs::write(certs.join("crl.pem"), "").unwrap();
    let script = script_of_the_guide(&fleet, &certs);
    let run = || {
        let output = Command::new("sh").arg(&script).output().unwrap();
        (output.status.success(), text(&output.stdout))
    };
    // The server makes lists when it starts, after it answers.
    wait_for("the first list", || run() == (true, "reloaded\n".into()));
    fleet.muster.exits(5, &["device", "revoke", "site-001", "--yes"]);
    wait_for("the list with the revocation", || {
        run() == (true, "reloaded\n".into())
    });
    let there = fs::read(certs.join("crl.pem")).unwrap();
    let said = fleet
        .muster
        .ok(&["cert", "inspect", certs.join("crl.pem").to_str().unwrap()]);
    assert!(said.contains("revokes      1"), "{said}");

    let other = Muster::stopped(&[]);
    other.ok(&["init", "--name", "Test", "--yes"]);
    other.ok(&["cert", "issue", "x", "--out", "x"]);
    fs::copy(other.path().join("x/ca.crt"), certs.join("ca.crt")).unwrap();
    assert!(!run().0, "a list of another CA with the same name was taken");
    assert_eq!(fs::read(certs.join("crl.pem")).unwrap(), there);
}
