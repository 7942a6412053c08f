//! What runs on a device, as it is built: enrolling, renewing, MQTT. Networks are cut, programs killed.
//!
//! `MUSTER_TEST_CUTS` says how many enrolments are interrupted, 200 if it is not set; `MUSTER_TEST_RENEWALS` how many renewals meet a
//! fault, 100 if it is not set; `MUSTER_TEST_AGENT` where `scripts/agent` has put the agent alone.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may fail, and its modules are only for each other"
)]

#[path = "../common/mod.rs"]
mod common;

mod anchors;
mod cut;
mod demo;
mod enrol;
mod faults;
#[path = "../brokers/fleet.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod fleet;
mod found;
mod garbage;
mod halfway;
mod hooks;
mod interrupted;
mod kept;
mod lines;
mod mqtt;
mod other_ca;
mod paho;
mod password;
mod rabbitmq;
mod renew;
mod returns;
mod roots;
mod site;
mod site_input;
mod small;
mod status;
mod units;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{MUSTER, Muster, text};

/// A device: a directory, and the program.
struct Device {
    dir: PathBuf,
}

impl Device {
    fn new(muster: &Muster, name: &str) -> Self {
        Self {
            dir: muster.path().join(format!("device-{name}")),
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(MUSTER);
        command
            .args(args)
            .arg("--dir")
            .arg(&self.dir)
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(
            output.status.success(),
            "muster {args:?}: {}\n{}",
            output.status,
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// Must end with this code; returns what it said on both.
    #[track_caller]
    fn exits(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "muster {args:?}:\n{said}");
        said
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap()
    }

    /// What happens when the files have changed, from now on.
    fn set_hook(&self, line: &str) {
        let mut settings: serde_json::Value = serde_json::from_str(&self.read("agent.json")).unwrap();
        settings["hook"] = line.into();
        std::fs::write(self.file("agent.json"), settings.to_string()).unwrap();
    }
}

/// Makes a shell's program. Another process writes it: what this one has open for writing, a program that another test starts has open, too,
/// until it has become that program, and nobody can run it.
fn program(path: &Path, text: &str) {
    let write = "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\"";
    let mut command = Command::new("/bin/sh");
    let status = command.args(["-c", write]).arg(path).arg(text).status();
    assert!(status.unwrap().success());
}

/// What is pasted on the device, as words.
fn code(muster: &Muster, args: &[&str]) -> String {
    let made = muster.json(&[&["token", "create"], args].concat());
    made["code"].as_str().unwrap().to_owned()
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// The certificates of a device that live.
fn living(muster: &Muster, name: &str) -> Vec<serde_json::Value> {
    let device = muster.json(&["device", "show", name]);
    let all = device["certificates"].as_array().unwrap();
    all.iter()
        .filter(|one| one["status"] == "active")
        .cloned()
        .collect()
}
