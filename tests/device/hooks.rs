//! What happens beside a renewal, with real programs: a Mosquitto that reads its files again or starts again, a program that gets a signal, a
//! client whose session is taken over.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Muster, Running, free_port, text, tool, wait_for};
use crate::fleet::{Fleet, openssl, spawn};
use crate::mqtt::{Client, mqtt};
use crate::{Device, code};

/// A Mosquitto that went into the background, and is ended by its PID file.
struct Daemon(std::path::PathBuf);

impl Daemon {
    fn pid(&self) -> Option<i32> {
        std::fs::read_to_string(&self.0).ok()?.trim().parse().ok()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(pid) = self.pid().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// The first certificate of a text.
fn first(text: &str) -> &str {
    let end = text.find("-----END CERTIFICATE-----").unwrap();
    &text[text.find("-----BEGIN CERTIFICATE-----").unwrap()..end]
}

#[test]
fn a_mosquitto_shows_the_renewed_certificate_after_the_hook() {
    let Some(fleet) = Fleet::start() else { return };
    let device = Device::new(&fleet.muster, "hub.example.org");
    let code = code(&fleet.muster, &["hub.example.org", "--profile", "server"]);
    device.ok(&["agent", "enrol", &code]);
    let (port, etc) = (free_port(), fleet.path("hub"));
    std::fs::create_dir(&etc).unwrap();
    let daemon = Daemon(etc.join("pid"));
    let conf = format!(
        "user root\npid_file {}\nlog_dest file {}\nlistener {port} 127.0.0.1\nallow_anonymous true\ncertfile {}\nkeyfile {}\n",
        daemon.0.display(),
        etc.join("log").display(),
        device.file("hub.example.org.crt").display(),
        device.file("hub.example.org.key").display(),
    );
    std::fs::write(etc.join("conf"), conf).unwrap();
    let program = tool("mosquitto").unwrap();
    let start = format!("{} -d -c {}", program.display(), etc.join("conf").display());
    let started = Command::new("/bin/sh").args(["-c", &start]).status().unwrap();
    assert!(started.success());
    // It lets go of its port before it lets go of the file.
    let pid = daemon.0.display();
    let restart = format!("kill $(cat {pid}) && while [ -e {pid} ]; do sleep 0.05; done && {start}");
    let shows = |pem: &str| {
        let at = format!("localhost:{port}");
        let (_, said) = openssl(&["s_client", "-connect", &at, "-showcerts"]);
        said.contains("BEGIN CERTIFICATE") && first(&said) == first(pem)
    };
    wait_for("the broker", || shows(&device.read("hub.example.org.crt")));
    for (hook, another) in [(format!("kill -HUP $(cat {pid})"), false), (restart, true)] {
        device.set_hook(&hook);
        let (pem, before) = (device.read("hub.example.org.crt"), daemon.pid());
        device.ok(&["agent", "renew"]);
        assert_ne!(device.read("hub.example.org.crt"), pem);
        wait_for("the new certificate", || {
            shows(&device.read("hub.example.org.crt"))
        });
        assert_eq!(daemon.pid() != before, another, "{hook}");
    }
    // A broker that is not there cannot be told: the old pair stays.
    drop(daemon);
    let pem = device.read("hub.example.org.crt");
    wait_for("the broker's end", || !shows(&pem));
    device.set_hook(&format!("kill -HUP $(cat {})", etc.join("no-pid").display()));
    assert!(device.exits(1, &["agent", "renew"]).contains("the hook"));
    assert_eq!(device.read("hub.example.org.crt"), pem);
}

/// A program that says when it was told to look again, and which certificate it finds then.
fn application(fleet: &Fleet, device: &Device) -> Running {
    let [pid, told] = ["app.pid", "told"].map(|name| fleet.path(name).display().to_string());
    let crt = device.file("site-001.crt").display().to_string();
    let script = format!("trap 'cksum <{crt} >>{told}' USR1; echo $$ >{pid}; while :; do sleep 0.05; done");
    let app = spawn(
        Command::new("/bin/sh").args(["-c", &script]),
        &fleet.path("app.log"),
    );
    wait_for("the application", || {
        Path::new(&pid).exists() && !std::fs::read(&pid).unwrap().is_empty()
    });
    app
}

#[test]
fn a_program_gets_its_signal_when_the_new_pair_is_in_place() {
    let Some(fleet) = Fleet::start() else { return };
    let device = Device::new(&fleet.muster, "site-001");
    let code = code(&fleet.muster, &["site-001"]);
    let told = fleet.path("told");
    let hook = format!("kill -USR1 $(cat {})", fleet.path("app.pid").display());
    let _app = application(&fleet, &device);
    device.ok(&["agent", "enrol", &code, "--hook", &hook]);
    let lines = || std::fs::read_to_string(&told).unwrap_or_default().lines().count();
    wait_for("the first signal", || lines() == 1);
    for count in 2..=3 {
        device.ok(&["agent", "renew"]);
        wait_for("the signal", || lines() == count);
        let sum = Command::new("cksum")
            .stdin(std::fs::File::open(device.file("site-001.crt")).unwrap())
            .output();
        let seen = std::fs::read_to_string(&told).unwrap();
        assert_eq!(
            seen.lines().last().unwrap(),
            text(&sum.unwrap().stdout).trim(),
            "what it finds is the new certificate"
        );
    }
}

#[test]
fn a_hook_that_takes_too_long_ends_with_what_it_started_and_the_watchdog_waits_for_it() {
    let brief = "[profile.brief]\nbase = \"client\"\nmin = \"1s\"\ndefault = \"10s\"\n";
    let muster = Muster::start_with(&[], brief);
    let device = Device::new(&muster, "site-001");
    device.ok(&[
        "agent",
        "enrol",
        &code(&muster, &["site-001", "--profile", "brief"]),
    ]);
    device.set_hook("sleep 600 & echo $! > started; wait; echo password-of-a-hook");
    let (notify, log) = (muster.path().join("notify"), muster.path().join("agent.log"));
    let systemd = UnixDatagram::bind(&notify).unwrap();
    systemd.set_nonblocking(true).unwrap();
    let agent = spawn(
        device.command(&["agent", "run"]).env("NOTIFY_SOCKET", &notify),
        &log,
    );
    let said = || std::fs::read_to_string(&log).unwrap();
    wait_for("the hook", || device.file("started").exists());
    let heard = || {
        let mut message = [0; 64];
        let length = systemd.recv(&mut message).ok()?;
        Some(text(&message[..length]))
    };
    while heard().is_some() {}
    wait_for("the end of the hook", || said().contains("longer than a minute"));
    let beats = std::iter::from_fn(heard).filter(|message| message == "WATCHDOG=1");
    assert!(beats.count() >= 3, "it hangs, for all that systemd knows");
    let started = device.read("started").trim().to_owned();
    drop(agent);
    assert!(!said().contains("password-of-a-hook"), "{}", said());
    let gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{started}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    };
    wait_for("the hook's child to end", gone);
}

/// The agent of a device renews three times beside its client: that comes back each time, and its last will is told when it dies and not
/// before.
pub fn renews_beside_a_client(fleet: &Fleet, port: u16, protocol: &str, name: &str, watch: &Client) {
    let device = Device::new(&fleet.muster, name);
    let code = code(&fleet.muster, &[name]);
    let broker = format!("localhost:{port}");
    device.ok(&["agent", "enrol", &code, "--broker", &broker]);
    let place = device.dir.file_name().unwrap().to_str().unwrap().to_owned();
    let args = ["run", "--protocol", protocol, "--every", "1h"];
    let client = Client::start(mqtt(fleet, &place, port, &args), &fleet.path("run.log"));
    let states = || {
        let lines = watch.printed().into_iter();
        let words = lines.filter_map(|line| line.strip_prefix(&format!("status/{name} ")).map(str::to_owned));
        words.collect::<Vec<_>>()
    };
    wait_for("the client", || states() == ["online"]);
    for round in 1..=3 {
        device.ok(&["agent", "renew"]);
        wait_for("the client that comes back", || states().len() > round);
        assert_eq!(states(), vec!["online"; round + 1], "its will was told");
    }
    // The device knows what a true alarm is.
    client.signal(Signal::KILL);
    wait_for("the last will", || {
        states().last().is_some_and(|last| last == "offline")
    });
    assert_eq!(states().len(), 5);
}

#[test]
fn a_session_that_is_taken_over_for_a_renewal_is_no_false_alarm() {
    let Some((fleet, central)) = crate::mqtt::world() else {
        return;
    };
    let watch = Client::watch(&fleet, central.port);
    for (protocol, name) in [("3.1.1", "site-011"), ("5", "site-005")] {
        renews_beside_a_client(&fleet, central.port, protocol, name, &watch);
        let sessions = central.log().matches(&format!(" as {name} ")).count();
        assert_eq!(
            sessions, 7,
            "the client once, and for each renewal the agent and the client again"
        );
    }
}
