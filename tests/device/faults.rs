//! Renewals with a disk, a CA and a broker that fail: the device always has an identity that the CA takes.
//!
//! The program is killed at every operation that changes a file, or finds the disk full from there on; `faults.c` stands between it
//! and its disk.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use muster_agent::device::files::Home;

use crate::common::{Muster, free_port, text, tool, wait_for};
use crate::cut::Proxy;
use crate::{Device, code};

/// What is wrong beside the disk.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    Nothing,
    /// The hook fails, after the new pair was put in place.
    Hook,
    /// Nobody listens where the broker is.
    BrokerAway,
    /// Another CA's server is where the broker is.
    BrokerOfAnother,
    /// The handshake goes well, and what answers is no MQTT.
    NoMqtt,
    /// The CA is away.
    CaAway,
}

const ALL: [Wrong; 6] = [
    Wrong::Nothing,
    Wrong::Hook,
    Wrong::BrokerAway,
    Wrong::BrokerOfAnother,
    Wrong::NoMqtt,
    Wrong::CaAway,
];

fn shim(dir: &Path) -> Option<PathBuf> {
    let (source, shim) = (dir.join("faults.c"), dir.join("faults.so"));
    std::fs::write(&source, include_str!("faults.c")).unwrap();
    let mut command = Command::new(tool("cc")?);
    command
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&shim)
        .arg(&source);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    Some(shim)
}

struct World {
    muster: Muster,
    other: Muster,
    proxy: Proxy,
    nobody: u16,
    shim: PathBuf,
    device: Device,
    settings: serde_json::Value,
}

impl World {
    fn start() -> Option<Self> {
        let (muster, other) = (Muster::start(), Muster::start());
        let shim = shim(muster.path())?;
        let proxy = Proxy::to(muster.api);
        let device = Device::new(&muster, "site-001");
        let code = code(&muster, &["site-001"]);
        let through = code.replace(&format!(":{}/", muster.api), &format!(":{}/", proxy.port));
        device.ok(&["agent", "enrol", &through]);
        let settings = serde_json::from_str(&device.read("agent.json")).unwrap();
        Some(Self {
            muster,
            other,
            proxy,
            nobody: free_port(),
            shim,
            device,
            settings,
        })
    }

    fn let_be(&self, wrong: Wrong) {
        let mut settings = self.settings.clone();
        let broker = |port: u16| format!("localhost:{port}").into();
        match wrong {
            Wrong::Nothing | Wrong::CaAway => {}
            Wrong::Hook => settings["hook"] = "exit 3".into(),
            Wrong::BrokerAway => settings["broker"] = broker(self.nobody),
            Wrong::BrokerOfAnother => settings["broker"] = broker(self.other.api),
            Wrong::NoMqtt => settings["broker"] = broker(self.muster.api),
        }
        std::fs::write(self.device.file("agent.json"), settings.to_string()).unwrap();
        self.proxy.shut(wrong == Wrong::CaAway);
    }

    fn renew(&self, at: u64, full: bool) -> Output {
        let mut command = self.device.command(&["agent", "renew"]);
        command
            .env("LD_PRELOAD", &self.shim)
            .env("FAULT_DIR", &self.device.dir)
            .env("FAULT_AT", at.to_string());
        if full {
            command.env("FAULT_FULL", "1");
        }
        command.output().unwrap()
    }

    /// The pair that is in place belongs together, and the CA takes it.
    fn has_an_identity(&self, what: &str) {
        let home = Home::open(&self.device.dir).unwrap();
        home.recover("site-001").unwrap();
        assert!(home.pair("site-001").unwrap().is_some(), "{what}");
        drop(home);
        self.let_be(Wrong::Nothing);
        let mut taken = self.device.run(&["agent", "renew", "--dry-run"]);
        // A program that another test starts has this process's lock, too, until it has become that program.
        wait_for("the device's lock", || {
            let busy = text(&taken.stderr).contains("another agent works with");
            if busy {
                taken = self.device.run(&["agent", "renew", "--dry-run"]);
            }
            !busy
        });
        assert!(taken.status.success(), "{what}: {}", text(&taken.stderr));
    }
}

#[test]
fn a_device_always_has_an_identity() {
    let rounds: u64 =
        std::env::var("MUSTER_TEST_RENEWALS").map_or(100, |text| text.parse().expect("a number of renewals"));
    let Some(world) = World::start() else { return };
    let (mut at, mut renewed, mut killed, mut refused) = (1, 0, 0, 0);
    for round in 0..rounds {
        let wrong = ALL[usize::try_from(round).unwrap() % ALL.len()];
        // Every other time round, so that each operation is met with each thing that may be wrong.
        let full = (round / 6) % 2 == 1;
        world.let_be(wrong);
        // What was killed after that asks neither hook nor broker again: only the CA is still to hear of it.
        let connected = world.device.file("site-001.crt.connected").exists();
        let output = world.renew(at, full);
        let what = format!(
            "round {round}: {wrong:?}, operation {at}, full: {full}: {}",
            text(&output.stderr)
        );
        match output.status.code() {
            Some(86) => killed += 1,
            Some(0) => renewed += 1,
            Some(1) => refused += 1,
            _ => panic!("{what}"),
        }
        if output.status.success() {
            assert!(
                wrong == Wrong::Nothing || (connected && wrong != Wrong::CaAway),
                "{what}"
            );
        }
        world.has_an_identity(&what);
        if round % 12 == 11 {
            // What was begun is gone on with.
            world.device.ok(&["agent", "renew"]);
            at = if at > 40 { 1 } else { at + 1 };
        }
    }
    assert!(
        killed > rounds / 6 && refused > rounds / 6,
        "{renewed} renewed, {killed} killed, {refused} refused"
    );
    world.device.ok(&["agent", "renew"]);
    let living = crate::living(&world.muster, "site-001");
    assert_eq!(living.len(), 1, "{living:?}");
    let status = text(&world.muster.run(&["status"]).stdout);
    assert!(
        !status.contains("was copied"),
        "a device that fails is not two: {status}"
    );
}
