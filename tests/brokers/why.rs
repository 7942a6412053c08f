//! Why a device does not connect, asked after real clients came to the diagnosis listener.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::common::{Muster, text, tool, wait_for};

struct Clinic {
    muster: Muster,
    port: u16,
}

impl Clinic {
    fn start() -> Self {
        let muster = Muster::start();
        let port = muster.diagnosis;
        Self { muster, port }
    }

    fn path(&self, name: &str) -> String {
        self.muster.path().join(name).display().to_string()
    }

    fn issue(&self, name: &str, dir: &str, more: &[&str]) {
        let mut args = vec!["cert", "issue", name, "--out", dir];
        args.extend(more);
        self.muster.ok(&args);
    }

    fn doctor(&self, name: &str) -> Value {
        let output = self.muster.run(&["doctor", "device", name, "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
    }

    /// Waits until the device's verdict is this one; what is seen is noted once the connection has ended.
    #[track_caller]
    fn finds(&self, name: &str, cause: &str) -> String {
        let mut last = Value::Null;
        for _ in 0..100 {
            last = self.doctor(name);
            if last["cause"] == cause {
                return last["what"].as_str().unwrap().to_owned();
            }
            crate::common::pause();
        }
        panic!("not {cause}: {last}");
    }

    /// mosquitto_pub with the certificate in a directory.
    fn publishes(&self, tool: &Path, name: &str, dir: Option<&str>) -> Output {
        let mut command = Command::new(tool);
        command.args([
            "-h",
            "localhost",
            "-p",
            &self.port.to_string(),
            "-i",
            name,
            "-t",
            "t",
            "-m",
            "m",
        ]);
        command.args(["--cafile", &self.path("data/root_ca.crt")]);
        if let Some(dir) = dir {
            command.args(["--cert", &self.path(&format!("{dir}/{name}.crt"))]);
            command.args(["--key", &self.path(&format!("{dir}/{name}.key"))]);
        }
        command.output().unwrap()
    }

    /// s_client, with more arguments.
    fn s_client(&self, more: &str) {
        let Some(openssl) = tool("openssl") else { return };
        let mut command = Command::new(openssl);
        command.args(["s_client", "-connect", &format!("127.0.0.1:{}", self.port)]);
        command.args(["-CAfile", &self.path("data/root_ca.crt")]);
        command
            .args(more.split_whitespace())
            .current_dir(self.muster.path());
        command.stdin(Stdio::null()).output().unwrap();
    }
}

/// Another CA's certificate for the same name.
fn foreign(clinic: &Clinic, name: &str) {
    let other = Muster::stopped(&[]);
    other.ok(&["init", "--yes", "--name", "Other"]);
    other.ok(&["cert", "issue", name, "--out", "foreign"]);
    let dir = clinic.muster.path().join("foreign");
    std::fs::create_dir_all(&dir).unwrap();
    for kind in ["crt", "key"] {
        let file = format!("{name}.{kind}");
        let found = other.path().join("foreign").join(&file);
        std::fs::copy(found, dir.join(&file)).unwrap();
    }
}

#[test]
fn real_clients_are_diagnosed_and_learn_nothing() {
    let Some(publish) = tool("mosquitto_pub") else {
        return;
    };
    let clinic = Clinic::start();
    let muster = &clinic.muster;
    clinic.issue("site-1", "site-1", &[]);
    clinic.issue("site-2", "site-2", &[]);

    // Off until somebody switches it on, and for minutes.
    assert!(std::net::TcpStream::connect(("127.0.0.1", clinic.port)).is_err());
    muster.exits(2, &["doctor", "listen", "--minutes", "61"]);
    muster.ok(&["doctor", "listen", "--dry-run"]);
    assert!(std::net::TcpStream::connect(("127.0.0.1", clinic.port)).is_err());
    let on = muster.json(&["doctor", "listen", "--minutes", "5"]);
    assert_eq!(on["address"], format!("localhost:{}", clinic.port));

    // Everybody gets the same answer, whatever is wrong.
    let good = clinic.publishes(&publish, "site-1", Some("site-1"));
    assert!(text(&good.stderr).contains("unavailable"), "{good:?}");
    let what = clinic.finds("site-1", "nothing-known");
    assert!(what.contains("in order") || what.contains("nothing"), "{what}");
    wait_for("the visit", || {
        clinic.doctor("site-1")["attempts"][0]["certainty"] == "proved"
    });
    let bare = clinic.publishes(&publish, "site-2", None);
    assert_eq!(
        (bare.status.code(), &bare.stderr),
        (good.status.code(), &good.stderr)
    );
    let what = clinic.finds("site-2", "nothing-shown");
    assert!(what.starts_with("someone claiming to be site-2"), "{what}");
    foreign(&clinic, "site-2");
    let other = clinic.publishes(&publish, "site-2", Some("foreign"));
    assert_eq!(other.stderr, good.stderr);
    let what = clinic.finds("site-2", "other-ca");
    assert!(
        what.starts_with("someone claiming to be site-2") && what.contains("Other"),
        "{what}"
    );

    // What ends before a certificate is shown is known by the address.
    let own = "-cert site-1/site-1.crt -key site-1/site-1.key";
    for (arguments, cause) in [
        (
            "-servername localhost -attime 1500000000 -verify_return_error",
            "device-clock",
        ),
        (
            "-servername localhost -attime 4000000000 -verify_return_error",
            "device-clock",
        ),
        (
            "-servername mqtt.old.example -verify_hostname mqtt.old.example -verify_return_error",
            "server-name",
        ),
        ("-servername localhost -tls1_1 -cipher ALL:@SECLEVEL=0", "old-tls"),
        (
            "-servername localhost -CAfile foreign/site-2.crt -verify_return_error",
            "unknown-root",
        ),
    ] {
        clinic.s_client(&format!("{own} {arguments}"));
        let what = clinic.finds("site-1", cause);
        assert!(what.contains("127.0.0.1, probably site-1"), "{what}");
    }
    let mut plain = Command::new(&publish);
    plain.args([
        "-h",
        "127.0.0.1",
        "-p",
        &clinic.port.to_string(),
        "-i",
        "site-3",
        "-t",
        "t",
        "-m",
        "m",
    ]);
    plain.output().unwrap();
    wait_for("somebody without TLS", || {
        muster.ok(&["doctor", "seen"]).contains("claiming to be site-3")
    });

    // By what is on record, and by the certificate that is shown.
    muster.ok(&["device", "rearm", "site-1"]);
    clinic.issue("site-1", "newer", &[]);
    clinic.publishes(&publish, "site-1", Some("site-1"));
    clinic.finds("site-1", "superseded");
    clinic.issue("mqtt.example.org", "mqtt.example.org", &["--kind", "server"]);
    clinic.publishes(&publish, "mqtt.example.org", Some("mqtt.example.org"));
    clinic.finds("mqtt.example.org", "wrong-usage");
    muster.exits(5, &["device", "suspend", "site-1"]);
    clinic.finds("site-1", "suspended");
    muster.exits(5, &["device", "revoke", "site-1", "--yes"]);
    assert!(muster.exits(5, &["doctor", "device", "site-1"]).contains("fix: "));
    muster.exits(3, &["doctor", "device", "nobody"]);

    muster.ok(&["doctor", "listen", "--off"]);
    wait_for("the listener to close", || {
        std::net::TcpStream::connect(("127.0.0.1", clinic.port)).is_err()
    });
    let log = muster.ok(&["audit", "list"]);
    assert!(log.contains("diagnosis.opened") && log.contains("diagnosis.closed"));
}

#[test]
fn however_many_come_the_listener_stays_small_and_goes_on() {
    let Some(publish) = tool("mosquitto_pub") else {
        return;
    };
    let clinic = Clinic::start();
    clinic.issue("site-1", "site-1", &[]);
    clinic.muster.ok(&["doctor", "listen"]);
    // More than there are places, which say nothing.
    let silent: Vec<_> = (0..100)
        .filter_map(|_| std::net::TcpStream::connect(("127.0.0.1", clinic.port)).ok())
        .collect();
    drop(silent);
    wait_for("the allowance of this address", || {
        clinic.publishes(&publish, "site-1", Some("site-1"));
        !clinic.doctor("site-1")["attempts"].as_array().unwrap().is_empty()
    });
    let seen = clinic.muster.json(&["doctor", "seen"]);
    assert!(seen["strangers"].as_array().unwrap().len() <= 50);
}

#[test]
fn without_a_server_the_record_alone_says_why() {
    let muster = Muster::stopped(&[]);
    muster.ok(&["init", "--yes", "--name", "Test"]);
    muster.ok(&["device", "create", "site-1"]);
    let said = muster.exits(5, &["doctor", "device", "site-1"]);
    assert!(
        said.contains("never enrolled") && said.contains("muster token create site-1"),
        "{said}"
    );
    let refused = muster.exits(2, &["doctor", "listen"]);
    assert!(refused.contains("muster serve"), "{refused}");
}

#[test]
fn what_was_seen_is_known_after_a_restart() {
    let Some(publish) = tool("mosquitto_pub") else {
        return;
    };
    let mut clinic = Clinic::start();
    clinic.issue("site-1", "site-1", &[]);
    clinic.muster.ok(&["doctor", "listen"]);
    clinic.publishes(&publish, "site-1", Some("site-1"));
    clinic.publishes(&publish, "nobody-known", None);
    let seen = |clinic: &Clinic| {
        let strangers = clinic.muster.json(&["doctor", "seen"])["strangers"].clone();
        (clinic.doctor("site-1")["attempts"].clone(), strangers)
    };
    wait_for("both visits", || {
        let (own, strangers) = seen(&clinic);
        own.as_array().unwrap().len() == 1 && strangers.as_array().unwrap().len() == 1
    });
    let before = seen(&clinic);
    // One is noted after another: once the next is seen, these are stored.
    clinic.publishes(&publish, "nobody-either", None);
    wait_for("another visit", || seen(&clinic).1.as_array().unwrap().len() == 2);
    clinic.muster.kill();
    clinic.muster.serve();
    let (own, strangers) = seen(&clinic);
    assert_eq!(own, before.0);
    assert_eq!(
        strangers.as_array().unwrap().last(),
        before.1.as_array().unwrap().last()
    );
}
