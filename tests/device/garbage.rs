//! Files that a power cut has left as nonsense, one at a time: what does not matter costs nothing, and from the rest a code leads back.

use crate::common::{Muster, Running, text, wait_for};
use crate::{Device, code};

/// What flash makes of a file.
const NONSENSE: [&[u8]; 3] = [&[0xff, 0xfe, 0x80, b'\n', 0xc3, 0x28], &[0; 600], b""];

/// Without these the agent goes on.
const NOT_NEEDED: [&str; 10] = [
    "last-time",
    "status.json",
    "ca.crt",
    "agent.json.next",
    "site-001.crt.next",
    "site-001.key.next",
    "site-001.crt.previous",
    "site-001.key.previous",
    "site-001.key.enrol",
    "site-001.crt.connected",
];

/// The agent stays, and has a plan.
fn runs(device: &Device, file: &str) {
    let status = device.file("status.json");
    if file != "status.json" {
        let _ = std::fs::remove_file(&status);
    }
    let log = std::fs::File::create(device.file("log")).unwrap();
    let mut command = device.command(&["agent", "run"]);
    let mut agent = Running(command.stderr(log).spawn().unwrap());
    wait_for("a plan without a problem", || {
        let ended = agent.0.try_wait().unwrap();
        assert!(ended.is_none(), "{file}: {}", device.read("log"));
        let read = std::fs::read(&status).unwrap_or_default();
        let said: serde_json::Value = serde_json::from_slice(&read).unwrap_or_default();
        assert!(said.get("problem").is_none(), "{file}: {said}");
        said.get("renew_at").is_some()
    });
}

#[test]
fn what_is_not_needed_may_be_anything() {
    let muster = Muster::start();
    let device = Device::new(&muster, "site-001");
    device.ok(&["agent", "enrol", &code(&muster, &["site-001"])]);
    for nonsense in NONSENSE {
        for file in NOT_NEEDED {
            std::fs::write(device.file(file), nonsense).unwrap();
            runs(&device, file);
            std::fs::write(device.file(file), nonsense).unwrap();
            device.ok(&["agent", "renew"]);
            device.ok(&["agent", "status"]);
            if !["last-time", "status.json"].contains(&file) {
                let left = std::fs::read(device.file(file)).unwrap_or(b"gone".into());
                assert_ne!(left, nonsense, "{file}");
            }
        }
    }
}

#[test]
fn from_any_file_that_is_nonsense_a_recovery_code_leads_back() {
    let muster = Muster::start();
    let device = Device::new(&muster, "site-001");
    device.ok(&["agent", "enrol", &code(&muster, &["site-001"])]);
    for nonsense in NONSENSE {
        let needed = ["agent.json", "site-001.crt", "site-001.key"];
        for file in needed.iter().chain(&NOT_NEEDED) {
            std::fs::write(device.file(file), nonsense).unwrap();
            if needed.contains(file) {
                let said = device.exits(1, &["agent", "renew"]);
                assert!(said.contains("muster device recover"), "{file}: {said}");
                let code = if *file == "agent.json" { 1 } else { 5 };
                let said = device.exits(code, &["agent", "status"]);
                assert!(said.contains("muster device recover"), "{file}: {said}");
            }
            let made = muster.json(&["device", "recover", "site-001"]);
            let output = device.run(&["agent", "enrol", made["code"].as_str().unwrap()]);
            let said = text(&output.stderr);
            assert!(output.status.success(), "{file}: {said}");
            let warned = said.contains(&format!("{} cannot be read", device.file(file).display()));
            let is_read = !["status.json", "last-time", "site-001.crt.connected"].contains(file);
            assert!(warned || !is_read, "{file}: {said}");
            device.ok(&["agent", "renew"]);
            device.ok(&["agent", "status"]);
        }
    }
}
