//! A broker whose machine is cut off: it is shown as unconfirmed at once, and converges by itself.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{MUSTER, Running, free_port, tool, wait_for};
use crate::fleet::{BROKER, Fleet, spawn};

/// The two ends of the wire.
const HERE: &str = "10.213.77.1";
const THERE: &str = "10.213.77.2/24";

/// A network namespace at the end of a wire.
struct Elsewhere {
    name: String,
    wire: String,
}

fn ip(args: &[&str]) -> bool {
    let mut command = Command::new("ip");
    let quiet = command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

impl Elsewhere {
    /// Not without the right to make one.
    fn new() -> Option<Self> {
        let id = std::process::id();
        let (name, wire) = (format!("muster{id}"), format!("mu{id}"));
        let place = Self { name, wire };
        let (name, wire, far) = (place.name.as_str(), place.wire.as_str(), format!("mv{id}"));
        let within = |args: &[&str]| ip(&[&["netns", "exec", name, "ip"][..], args].concat());
        let made = ip(&["netns", "add", name])
            && ip(&[
                "link", "add", wire, "type", "veth", "peer", "name", &far, "netns", name,
            ])
            && ip(&["addr", "add", &format!("{HERE}/24"), "dev", wire])
            && within(&["addr", "add", THERE, "dev", &far])
            && within(&["link", "set", &far, "up"])
            && within(&["link", "set", "lo", "up"])
            && place.set("up");
        if !made {
            eprintln!("skipped: needs the right to make a network namespace");
            return None;
        }
        Some(place)
    }

    /// Cuts the wire (`down`), or mends it (`up`).
    fn set(&self, state: &str) -> bool {
        ip(&["link", "set", &self.wire, state])
    }

    /// A program over there; what it calls localhost:`port` of the CA is at this end.
    fn command(&self, hosts: &std::path::Path, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "sh", "-c"]);
        command
            .arg("mount --bind \"$0\" /etc/hosts && exec \"$@\"")
            .arg(hosts)
            .arg(program);
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        ip(&["link", "del", &self.wire]);
        ip(&["netns", "del", &self.name]);
    }
}

/// Carries connections from the wire to the CA, which listens on loopback alone.
fn carry(listener: TcpListener, port: u16) {
    thread::spawn(move || {
        for from in listener.incoming().map_while(Result::ok) {
            let Ok(to) = TcpStream::connect(("127.0.0.1", port)) else {
                continue;
            };
            for (mut from, mut to) in [(from.try_clone().unwrap(), to.try_clone().unwrap()), (to, from)] {
                thread::spawn(move || {
                    let mut bytes = [0; 1 << 14];
                    while let Ok(read @ 1..) = from.read(&mut bytes) {
                        if to.write_all(&bytes[..read]).is_err() {
                            break;
                        }
                    }
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
}

#[test]
fn a_broker_that_is_cut_off_is_unconfirmed_and_converges_by_itself() {
    let Some(fleet) = Fleet::start() else { return };
    let Some(elsewhere) = Elsewhere::new() else { return };
    let muster = &fleet.muster;
    let listener = TcpListener::bind((HERE, 0)).unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    carry(listener, muster.api);
    muster.ok(&["broker", "add", BROKER, "--san", "localhost", "--ca-url", &url]);
    // Names over there: localhost is the CA's end, for IPv4 addresses stay what they are.
    let hosts = fleet.path("hosts");
    fs::write(&hosts, format!("{HERE} localhost\n")).unwrap();

    let port = free_port();
    let path = |name: &str| fleet.path(name).display().to_string();
    let (state, dir, pid, join) = (
        path("agent"),
        path("hub"),
        path("pid"),
        path(&format!("{BROKER}.join")),
    );
    let address = format!("127.0.0.1:{port}");
    let run = [
        "broker",
        "run",
        BROKER,
        "--state",
        &state,
        "--dir",
        &dir,
        "--pid-file",
        &pid,
        "--listener",
        &address,
    ];
    let mut agent = elsewhere.command(&hosts, MUSTER);
    let _agent: Running = spawn(agent.args(run).args(["--join", &join]), &fleet.path("agent.log"));
    wait_for("the agent's files", || fleet.path("hub/acl").exists());
    let conf = muster
        .command(&[&run[..], &["--print-config"]].concat())
        .output()
        .unwrap();
    let conf = format!(
        "user root\n{}pid_file {pid}\n",
        String::from_utf8_lossy(&conf.stdout)
    );
    fs::write(fleet.path("mosquitto.conf"), conf).unwrap();
    let mut broker = elsewhere.command(&hosts, tool("mosquitto").unwrap().to_str().unwrap());
    let _broker: Running = spawn(
        broker.arg("-c").arg(fleet.path("mosquitto.conf")),
        &fleet.path("mosquitto.log"),
    );
    let state = || {
        let output = muster.run(&["broker", "list", "--json"]);
        let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        all["items"][0]["state"].as_str().unwrap().to_owned()
    };
    wait_for("a proof", || state() == "proven");

    fleet.issue("site-1", &["--kind", "client"]);
    assert!(elsewhere.set("down"));
    let cut = Instant::now();
    wait_for("its silence", || state() != "proven");
    // Five seconds, and a command that asks.
    assert!(cut.elapsed() < Duration::from_secs(7), "{:?}", cut.elapsed());
    let said = muster.exits(5, &["device", "revoke", "site-1", "--yes"]);
    assert!(said.contains("unconfirmed"), "{said}");
    assert!(elsewhere.set("up"));
    wait_for("a proof", || state() == "proven");
    let log = fs::read_to_string(fleet.path("agent.log")).unwrap();
    assert!(log.contains("the CA cannot be reached"), "{log}");
}
