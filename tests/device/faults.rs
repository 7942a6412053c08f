//! Renewals with a disk, a CA and a broker that fail: the device always has an identity that broker and CA take.
//!
//! The program is killed at every operation that changes a file, or finds the disk full from there on, where files can have second names
//! and where they cannot; `faults.c` stands between it and its disk.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use muster_agent::device::files::Home;

use crate::common::{Muster, free_port, text, tool};
use crate::cut::Proxy;
use crate::fleet::{Fleet, Mosquitto};
use crate::{Device, code, mode};

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

/// What is wrong with the disk.
#[derive(Clone, Copy, Debug)]
struct Disk {
    /// The operation that meets it.
    at: u64,
    /// Whether the disk is full from there on; if not, the program ends there.
    full: bool,
    /// Whether files can have second names.
    links: bool,
}

/// A renewal has fewer operations.
const OPERATIONS: u64 = 72;
/// Without a factor of that, so that few rounds are spread over all of them.
const STRIDE: u64 = 29;

impl Disk {
    /// What a block of rounds meets, each with another thing that is wrong beside it. Every eighth finds the disk full; the others end the
    /// program at each operation in turn, with links and without.
    fn of_block(block: u64) -> Self {
        let full = block % 8 == 7;
        let number = if full { block / 8 } else { block - block / 8 };
        Self {
            at: (number / 2 * STRIDE) % OPERATIONS + 1,
            full,
            links: number % 2 == 0,
        }
    }
}

pub fn shim(dir: &Path) -> Option<PathBuf> {
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

/// A command of a device on a disk of ours.
pub fn on(shim: &Path, device: &Device, args: &[&str]) -> Command {
    let mut command = device.command(args);
    command.env("LD_PRELOAD", shim).env("FAULT_DIR", &device.dir);
    command
}

struct World {
    fleet: Fleet,
    /// The broker of the device, when nothing is wrong with it.
    central: Mosquitto,
    other: Muster,
    proxy: Proxy,
    nobody: u16,
    shim: PathBuf,
    device: Device,
    settings: serde_json::Value,
}

impl World {
    fn start() -> Option<Self> {
        let (fleet, other) = (Fleet::start()?, Muster::start());
        let muster = &fleet.muster;
        let shim = shim(muster.path())?;
        let central = fleet.central(&fleet.issue_broker());
        let proxy = Proxy::to(muster.api);
        let device = Device::new(muster, "site-001");
        let code = code(muster, &["site-001"]);
        let through = code.replace(&format!(":{}/", muster.api), &format!(":{}/", proxy.port));
        device.ok(&["agent", "enrol", &through]);
        let settings = serde_json::from_str(&device.read("agent.json")).unwrap();
        Some(Self {
            fleet,
            central,
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
        let port = match wrong {
            Wrong::Nothing | Wrong::Hook | Wrong::CaAway => self.central.port,
            Wrong::BrokerAway => self.nobody,
            Wrong::BrokerOfAnother => self.other.api,
            Wrong::NoMqtt => self.fleet.muster.api,
        };
        settings["broker"] = format!("localhost:{port}").into();
        if wrong == Wrong::Hook {
            settings["hook"] = "exit 3".into();
        }
        std::fs::write(self.device.file("agent.json"), settings.to_string()).unwrap();
        self.proxy.shut(wrong == Wrong::CaAway);
    }

    fn renew(&self, disk: Disk) -> Output {
        let mut command = on(&self.shim, &self.device, &["agent", "renew"]);
        command.env("FAULT_AT", disk.at.to_string());
        if disk.full {
            command.env("FAULT_FULL", "1");
        }
        if !disk.links {
            command.env("FAULT_NO_LINKS", "1");
        }
        command.output().unwrap()
    }

    /// Whether a client of the device is let in with what lies there now. Both ends verify each other, and the broker takes a message.
    fn connects(&self) -> bool {
        let broker = format!("localhost:{}", self.central.port);
        let publish = ["mqtt", "pub", "fleet/%u/up/t", "x", "--attempts", "2"];
        let output = self.device.run(&[&publish[..], &["--broker", &broker]].concat());
        output.status.success()
    }

    /// The pair that is in place belongs together; the broker takes it, and so does the CA.
    fn has_an_identity(&self, what: &str) {
        let connects = self.connects();
        let home = Home::open(&self.device.dir).unwrap();
        if !connects {
            // The power failed between the two renames. The agent mends that at its start.
            assert!(home.pair("site-001").unwrap().is_none(), "{what}");
        }
        home.recover("site-001").unwrap();
        assert!(home.pair("site-001").unwrap().is_some(), "{what}");
        drop(home);
        assert!(connects || self.connects(), "{what}");
        self.let_be(Wrong::Nothing);
        let taken = self.device.run(&["agent", "renew", "--dry-run"]);
        assert!(taken.status.success(), "{what}: {}", text(&taken.stderr));
    }

    /// One renewal; how it ended.
    fn round(&self, round: u64) -> i32 {
        let wrong = ALL[usize::try_from(round).unwrap() % ALL.len()];
        let disk = Disk::of_block(round / ALL.len() as u64);
        self.let_be(wrong);
        // What was killed after that asks neither hook nor broker again: only the CA is still to hear of it.
        let connected = self.device.file("site-001.crt.connected").exists();
        let on_trial = self.device.file("site-001.key.previous").exists();
        let before = self.device.read("site-001.crt");
        let output = self.renew(disk);
        let what = format!("round {round}: {wrong:?}, {disk:?}: {}", text(&output.stderr));
        let code = output.status.code().expect("it ends by itself");
        assert!([0, 1, 86].contains(&code), "{code}: {what}");
        if code == 0 {
            assert!(
                wrong == Wrong::Nothing || (connected && wrong != Wrong::CaAway),
                "{what}"
            );
        }
        // Until the new one has connected, the one before stays.
        if code == 1 && wrong != Wrong::CaAway && !on_trial && !disk.full {
            assert_eq!(self.device.read("site-001.crt"), before, "{what}");
        }
        self.has_an_identity(&what);
        assert!(code != 86 || disk.at < OPERATIONS, "count further: {what}");
        if wrong == ALL[ALL.len() - 1] {
            // What was begun is gone on with.
            self.device.ok(&["agent", "renew"]);
        }
        code
    }
}

/// So many devices meet the rounds at the same time: much of a renewal is waiting for what a broker says.
const DEVICES: u64 = 3;

/// The blocks of rounds that are this device's; how they ended.
fn on_a_device(number: u64, rounds: u64) -> Option<Vec<i32>> {
    let world = World::start()?;
    let mine = (0..rounds).filter(|round| round / ALL.len() as u64 % DEVICES == number);
    let codes = mine.map(|round| world.round(round)).collect();
    world.device.ok(&["agent", "renew"]);
    let muster = &world.fleet.muster;
    let living = crate::living(muster, "site-001");
    assert_eq!(living.len(), 1, "{living:?}");
    let status = text(&muster.run(&["status"]).stdout);
    assert!(
        !status.contains("was copied"),
        "a device that fails is not two: {status}"
    );
    Some(codes)
}

#[test]
fn a_device_always_has_an_identity() {
    let rounds: u64 =
        std::env::var("MUSTER_TEST_RENEWALS").map_or(100, |text| text.parse().expect("a number of renewals"));
    let codes = std::thread::scope(|scope| {
        let all: Vec<_> = (0..DEVICES)
            .map(|number| scope.spawn(move || on_a_device(number, rounds)))
            .collect();
        all.into_iter()
            .map(|one| one.join().unwrap())
            .collect::<Option<Vec<_>>>()
    });
    let Some(codes) = codes else { return };
    let ended = |code: i32| codes.concat().iter().filter(|one| **one == code).count() as u64;
    let (renewed, refused, killed) = (ended(0), ended(1), ended(86));
    assert!(
        killed > rounds / 6 && refused > rounds / 6,
        "{renewed} renewed, {killed} killed, {refused} refused"
    );
}

#[test]
fn where_files_have_one_name_each_copies_keep_mode_and_group() {
    let muster = Muster::start();
    let Some(shim) = shim(muster.path()) else { return };
    let device = Device::new(&muster, "site-001");
    // Root may give files to a group that is not its own.
    let own = rustix::process::getegid().as_raw();
    let group = if own == 0 { 1 } else { own };
    let code = code(&muster, &["site-001"]);
    let run = |args: &[&str]| {
        let mut command = on(&shim, &device, args);
        command.env("FAULT_NO_LINKS", "1").output().unwrap()
    };
    let enrolled = run(&["agent", "enrol", &code, "--group", &group.to_string()]);
    assert!(enrolled.status.success(), "{}", text(&enrolled.stderr));
    let pair = || ["site-001.crt", "site-001.key"].map(|name| device.read(name));
    let access = |name: &str| {
        let path = device.file(name);
        (mode(&path), std::fs::metadata(path).unwrap().gid())
    };
    let well = |what: &str| {
        assert_eq!(access("site-001.key"), (0o640, group), "{what}");
        assert_eq!(mode(&device.file("site-001.crt")), 0o644, "{what}");
    };
    let settings = device.read("agent.json");
    let first = pair();
    device.set_hook("exit 3");
    assert_eq!(run(&["agent", "renew"]).status.code(), Some(1));
    assert_eq!(pair(), first);
    well("taken back");
    assert_eq!(access("site-001.key.next"), (0o640, group), "what comes next");
    std::fs::write(device.file("agent.json"), settings).unwrap();
    let renewed = run(&["agent", "renew"]);
    assert!(renewed.status.success(), "{}", text(&renewed.stderr));
    assert!(pair() != first);
    well("renewed");
}
