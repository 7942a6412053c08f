//! The services of the manual, where nobody goes to start them again.

use std::os::unix::net::UnixDatagram;

use crate::common::{Muster, Running, text, wait_for};
use crate::{Device, code};

/// Every unit that is printed in a document, or ships as a file.
fn units() -> Vec<(String, String)> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).unwrap();
    let mut files: Vec<_> = docs.map(|entry| entry.unwrap().path()).collect();
    files.push(root.join("crates/agent/src/beside/broker/gate/muster-gate.service"));
    let mut units = Vec::new();
    for file in files {
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        for (at, _) in lines.iter().enumerate().filter(|(_, line)| **line == "[Unit]") {
            let rest = &lines[at..];
            let end = rest
                .iter()
                .position(|line| line.starts_with("WantedBy="))
                .unwrap();
            units.push((file.display().to_string(), rest[..end].join("\n")));
        }
    }
    units
}

#[test]
fn systemd_gives_no_service_up() {
    let units = units();
    let runs = |what: &str| units.iter().find(|(_, unit)| unit.contains(what)).unwrap();
    for what in ["muster up", "muster agent run", "muster mqtt run", "muster gate"] {
        runs(what);
    }
    for (file, unit) in &units {
        let (head, service) = unit.split_once("\n[Service]\n").unwrap();
        assert!(head.contains("\nStartLimitIntervalSec=0"), "{file}: {unit}");
        assert!(
            service.contains("\nRestart=") && service.contains("\nRestartSec="),
            "{file}: {unit}"
        );
    }
    let (_, agent) = runs("muster agent run");
    assert!(
        agent.contains("\nBefore=mosquitto.service\n") && agent.contains("\nType=notify\n"),
        "{agent}"
    );
}

/// `muster agent run` as systemd starts it, and what systemd hears.
fn service(muster: &Muster, device: &Device) -> (Running, UnixDatagram, std::path::PathBuf) {
    let (notify, log) = (muster.path().join("notify"), muster.path().join("agent.log"));
    let systemd = UnixDatagram::bind(&notify).unwrap();
    systemd.set_nonblocking(true).unwrap();
    let mut command = device.command(&["agent", "run"]);
    command
        .env("NOTIFY_SOCKET", &notify)
        .stderr(std::fs::File::create(&log).unwrap());
    (Running(command.spawn().unwrap()), systemd, log)
}

fn hears(systemd: &UnixDatagram, what: &str) {
    wait_for(what, || {
        let mut message = [0; 64];
        systemd
            .recv(&mut message)
            .is_ok_and(|length| text(&message[..length]) == what)
    });
}

#[test]
fn a_service_that_starts_before_anybody_has_enrolled_waits() {
    let muster = Muster::start();
    let device = Device::new(&muster, "site-001");
    let (mut agent, systemd, log) = service(&muster, &device);
    hears(&systemd, "READY=1");
    hears(&systemd, "WATCHDOG=1");
    hears(&systemd, "WATCHDOG=1");
    assert!(!device.dir.exists());
    device.ok(&["agent", "enrol", &code(&muster, &["site-001"])]);
    let said = || std::fs::read_to_string(&log).unwrap();
    wait_for("a plan", || {
        said().contains("site-001: the certificate holds until")
    });
    assert!(agent.0.try_wait().unwrap().is_none());
    assert_eq!(said().matches("no device has enrolled").count(), 1, "{}", said());
    device.ok(&["agent", "status"]);
}

#[test]
fn a_service_waits_for_whoever_is_at_work_in_the_directory() {
    let muster = Muster::start();
    let device = Device::new(&muster, "site-001");
    device.ok(&["agent", "enrol", &code(&muster, &["site-001"])]);
    let lock = std::fs::File::open(device.file("lock")).unwrap();
    lock.try_lock().unwrap();
    std::fs::remove_file(device.file("status.json")).unwrap();
    let (mut agent, systemd, log) = service(&muster, &device);
    hears(&systemd, "READY=1");
    hears(&systemd, "WATCHDOG=1");
    hears(&systemd, "WATCHDOG=1");
    assert!(!device.file("status.json").exists());
    drop(lock);
    wait_for("a plan", || device.file("status.json").exists());
    let said = std::fs::read_to_string(&log).unwrap();
    assert_eq!(said.matches("another agent works with").count(), 1, "{said}");
    assert!(agent.0.try_wait().unwrap().is_none());
}

#[test]
fn a_renewal_that_a_power_cut_ended_half_way_is_whole_before_others_start() {
    let mut muster = Muster::start();
    let device = Device::new(&muster, "site-001");
    device.ok(&["agent", "enrol", &code(&muster, &["site-001"])]);
    let before = device.read("site-001.crt");
    // As after the first of the two renames: the key is the new one.
    for last in ["crt", "key"] {
        let (file, kept) = (format!("site-001.{last}"), format!("site-001.{last}.previous"));
        std::fs::copy(device.file(&file), device.file(&kept)).unwrap();
    }
    let other = Device::new(&muster, "site-002");
    other.ok(&["agent", "enrol", &code(&muster, &["site-002"])]);
    std::fs::copy(other.file("site-002.key"), device.file("site-001.key")).unwrap();
    std::fs::copy(other.file("site-002.crt"), device.file("site-001.crt.next")).unwrap();
    assert!(
        device
            .exits(5, &["agent", "status"])
            .contains("do not belong together")
    );
    // Nobody can be asked.
    muster.stop();
    let (_agent, systemd, _) = service(&muster, &device);
    hears(&systemd, "READY=1");
    assert_ne!(device.read("site-001.crt"), before);
    assert!(
        !device.file("site-001.crt.next").exists(),
        "the two belong together now"
    );
}
