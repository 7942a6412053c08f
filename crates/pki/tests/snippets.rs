//! The configuration that is handed out, judged by the programs it is for.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail, and waits for programs from outside"
)]

mod common;
#[path = "../../../tests/common/ports.rs"]
mod ports;

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{CLIENT, Lab, SERVER, program, skipped};
use muster_pki::snippet::{
    Facts, Snippet, Use, for_kind, haproxy_tcp, mosquitto_acl, mosquitto_bridge, mosquitto_listener, try_it,
};
use ports::free_port;

/// A program that is stopped when the test ends.
struct Running {
    child: Child,
    log: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(lab: &Lab, name: &str, args: &[&str]) -> Self {
        let log = format!("{name}.log");
        let (out, err) = (
            File::create(lab.path(&log)).unwrap(),
            File::create(lab.path(&format!("{log}.err"))).unwrap(),
        );
        let program = program(args[0]).unwrap();
        let child = Command::new(program)
            .args(&args[1..])
            .current_dir(lab.dir())
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    fn log(&self, lab: &Lab) -> String {
        lab.join(&[&self.log, &format!("{}.err", self.log)])
    }

    /// Waits until the log has this; a program that ended is a failure.
    fn says(&mut self, lab: &Lab, words: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.log(lab).contains(words) {
            let ended = self.child.try_wait().unwrap().is_some();
            assert!(
                !ended && Instant::now() < deadline,
                "{words:?} is not in:\n{}",
                self.log(lab)
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn listens(&mut self, lab: &Lab, port: u16) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let ended = self.child.try_wait().unwrap().is_some();
            assert!(
                !ended && Instant::now() < deadline,
                "port {port}:\n{}",
                self.log(lab)
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What must be there for the tests with Mosquitto.
fn has_mosquitto() -> bool {
    let missing = ["mosquitto", "mosquitto_pub", "mosquitto_sub", "mosquitto_rr"]
        .into_iter()
        .find(|name| program(name).is_none());
    missing.into_iter().for_each(skipped);
    missing.is_none()
}

/// As installed, but below the lab's folder. `user root` matters only where the tests run as root: the lab's folder is
/// closed to others.
fn moved(lab: &Lab, text: &str) -> String {
    text.replace("/etc/mosquitto", &lab.path("etc").display().to_string())
}

fn site() -> Facts {
    Facts::new("site-001", Use::Client).unwrap()
}

fn server() -> Facts {
    let addresses = ["10.0.80.50".parse().unwrap()];
    Facts::new("mqtt.ak-sg.com", Use::Server)
        .unwrap()
        .with_sans(["mqtt.ak-sg.com"], addresses)
}

/// The files of both bundles where the configuration wants them.
fn install(lab: &Lab) {
    lab.issue(
        "mqtt.ak-sg.com",
        "mqtt.ak-sg.com",
        "ca",
        &SERVER.replace("IP:10.0.80.50", "IP:127.0.0.1"),
    );
    for name in ["site-001", "site-002", "backend", "ops"] {
        lab.issue(name, name, "ca", CLIENT);
    }
    let certs = lab.path("etc/certs");
    fs::create_dir_all(&certs).unwrap();
    fs::write(certs.join("ca.crt"), lab.join(&["root.crt", "ca.crt"])).unwrap();
    lab.write("ca.crt", lab.read("etc/certs/ca.crt"));
    for name in ["mqtt.ak-sg.com", "site-001", "site-002", "backend", "ops"] {
        let chain = lab.join(&[&format!("{name}.crt"), "issuing.crt"]);
        lab.write(&format!("{name}.crt"), &chain);
        fs::write(certs.join(format!("{name}.crt")), chain).unwrap();
        fs::copy(
            lab.path(&format!("{name}.key")),
            certs.join(format!("{name}.key")),
        )
        .unwrap();
    }
}

/// The lab with everything installed and `site-002` revoked.
fn fleet() -> Option<Lab> {
    let lab = Lab::with_cas()?;
    fs::copy(lab.path("ca.crt"), lab.path("issuing.crt")).unwrap();
    install_with_crl(&lab);
    Some(lab)
}

fn install_with_crl(lab: &Lab) {
    install(lab);
    // From here on ca.crt is root and issuing CA, as in a bundle; the list is the issuing CA's.
    fs::copy(lab.path("ca.key"), lab.path("issuing.key")).unwrap();
    let crl = lab.crl("issuing", &[("site-002", "keyCompromise")]);
    fs::write(lab.path("etc/certs/crl.pem"), crl).unwrap();
}

/// The central broker with the listener and the access list as they are handed out.
fn central(lab: &Lab, port: u16) -> Running {
    let acl =
        mosquitto_acl(&server()) + "\nuser backend\ntopic read fleet/#\nuser ops\ntopic write fleet/#\n";
    lab.write("etc/muster.acl", acl);
    let facts = server().with_broker("mqtt.ak-sg.com", port).unwrap();
    let listener = moved(lab, &mosquitto_listener(&facts))
        .replace(&format!("listener {port}"), &format!("listener {port} 127.0.0.1"));
    lab.write("central.conf", format!("user root\n{listener}"));
    let mut broker = Running::start(lab, "central", &["mosquitto", "-v", "-c", "central.conf"]);
    broker.listens(lab, port);
    broker
}

/// Runs one of the handed-out commands with the broker's name and port replaced.
fn run(lab: &Lab, command: &str, port: u16) -> Output {
    let mut words = command.split_whitespace().map(|word| match word {
        "mqtt.ak-sg.com" => "127.0.0.1".to_owned(),
        "8883" => port.to_string(),
        word => word.trim_matches('\'').to_owned(),
    });
    let program = program(&words.next().unwrap()).unwrap();
    // The same option twice: the later one counts.
    let limit: &[&str] = if command.starts_with("mosquitto_pub") {
        &[]
    } else {
        &["-W", "3"]
    };
    Command::new(program)
        .args(words)
        .args(limit)
        .current_dir(lab.dir())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn commands(text: &str, program: &str) -> Vec<String> {
    text.lines()
        .filter(|line| line.starts_with(program))
        .map(str::to_owned)
        .collect()
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn a_site_gets_in_and_everybody_else_does_not() {
    if !has_mosquitto() {
        return;
    }
    let Some(lab) = fleet() else { return };
    let port = free_port();
    let broker = central(&lab, port);
    let text = try_it(&site().with_broker("mqtt.ak-sg.com", 8883).unwrap());

    let [publish] = commands(&text, "mosquitto_pub").try_into().unwrap();
    let output = run(&lab, &publish, port);
    assert!(
        output.status.success() && said(&output).contains("received PUBACK"),
        "{}\n{}",
        said(&output),
        broker.log(&lab)
    );
    let [there_and_back] = commands(&text, "mosquitto_rr").try_into().unwrap();
    let output = run(&lab, &there_and_back, port);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "hello\n",
        "{}",
        said(&output)
    );

    for (what, command) in [
        ("revoked", publish.replace("site-001", "site-002")),
        (
            "no certificate",
            publish.replace("--cert site-001.crt --key site-001.key", ""),
        ),
        (
            "server's certificate",
            publish.replace("site-001.", "mqtt.ak-sg.com."),
        ),
    ] {
        let output = run(&lab, &command, port);
        assert!(
            !output.status.success() && !said(&output).contains("CONNACK (0)"),
            "{what}: {}",
            said(&output)
        );
    }
    // Another's topic: taken, since MQTT 3.1.1 has no answer for it, and not delivered.
    let elsewhere = there_and_back.replace("fleet/site-001/up/test", "fleet/site-009/up/test");
    assert!(!said(&run(&lab, &elsewhere, port)).contains("hello\n"));
    let [without, with]: [String; 2] = {
        let mut lines = commands(&try_it(&server()), "mosquitto_pub");
        [lines.pop().unwrap(), lines.pop().unwrap()]
    };
    assert!(run(&lab, &with, port).status.success());
    assert!(!run(&lab, &without, port).status.success());
}

#[test]
fn a_bridge_carries_messages_through_haproxy_once() {
    if program("haproxy").is_none() {
        return skipped("haproxy");
    }
    if !has_mosquitto() {
        return;
    }
    let Some(lab) = fleet() else { return };
    let (broker_port, proxy_port, site_port) = (free_port(), free_port(), free_port());
    let _central = central(&lab, broker_port);

    let proxy = haproxy_tcp(&server());
    let proxy = proxy.replace("bind :8883", &format!("bind 127.0.0.1:{proxy_port}"));
    lab.write(
        "haproxy.cfg",
        proxy.replace("10.0.80.50:8883", &format!("127.0.0.1:{broker_port}")),
    );
    let mut haproxy = Running::start(&lab, "haproxy", &["haproxy", "-db", "-f", "haproxy.cfg"]);
    haproxy.listens(&lab, proxy_port);

    let bridge = mosquitto_bridge(&site().with_broker("127.0.0.1", proxy_port).unwrap());
    let local = format!("user root\nlistener {site_port} 127.0.0.1\nallow_anonymous true\n");
    lab.write("site.conf", local + &moved(&lab, &bridge));
    let mut edge = Running::start(&lab, "site", &["mosquitto", "-v", "-c", "site.conf"]);
    edge.says(&lab, "Received SUBACK");

    let as_user = |user: &str| {
        format!(
            "-h 127.0.0.1 -p {broker_port} --cafile ca.crt --cert {user}.crt --key {user}.key -i {user} -q 1"
        )
    };
    let listen = format!("mosquitto_sub {} -t fleet/# -v -W 3", as_user("backend"));
    let push = format!(
        "mosquitto_pub {} -t fleet/site-001/down/t -m from-centre",
        as_user("ops")
    );
    let (up, down) = std::thread::scope(|scope| {
        let central = scope.spawn(|| said(&run_plain(&lab, &listen)));
        let local = scope.spawn(|| {
            said(&run_plain(
                &lab,
                &format!("mosquitto_sub -h 127.0.0.1 -p {site_port} -t fleet/# -v -W 3"),
            ))
        });
        std::thread::sleep(Duration::from_millis(700));
        run_plain(
            &lab,
            &format!("mosquitto_pub -h 127.0.0.1 -p {site_port} -q 1 -t fleet/site-001/up/t -m from-site"),
        );
        run_plain(&lab, &push);
        (central.join().unwrap(), local.join().unwrap())
    });
    assert_eq!(
        up.matches("fleet/site-001/up/t from-site").count(),
        1,
        "{up}\n{}",
        edge.log(&lab)
    );
    assert_eq!(
        down.matches("fleet/site-001/down/t from-centre").count(),
        1,
        "{down}\n{}",
        edge.log(&lab)
    );
    assert_eq!(down.matches("from-site").count(), 1, "no echo: {down}");
}

fn run_plain(lab: &Lab, command: &str) -> Output {
    let mut words = command.split_whitespace();
    let program = program(words.next().unwrap()).unwrap();
    Command::new(program)
        .args(words)
        .current_dir(lab.dir())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// What Debian's package brings along, which is about web servers; the text goes at its end.
const DEBIAN_HAPROXY: &str = "global\n\tlog 127.0.0.1:514 local0\ndefaults\n\tlog global\n\tmode http\n\toption httplog\n\toption dontlognull\n\ttimeout connect 5000\n\ttimeout client 50000\n\ttimeout server 50000\n\n";

#[test]
fn haproxy_takes_its_part() {
    let Some(haproxy) = program("haproxy") else {
        return skipped("haproxy");
    };
    let dir = tempfile::tempdir().unwrap();
    for facts in [server(), Facts::new("broker-7", Use::Broker).unwrap()] {
        let file = dir.path().join("haproxy.cfg");
        fs::write(&file, DEBIAN_HAPROXY.to_owned() + &haproxy_tcp(&facts)).unwrap();
        let output = Command::new(&haproxy)
            .args(["-c", "-f"])
            .arg(&file)
            .output()
            .unwrap();
        assert!(
            output.status.success() && !said(&output).contains("WARNING"),
            "{}",
            said(&output)
        );
    }
}

#[test]
fn a_broker_that_bridges_starts_with_both_parts() {
    if !has_mosquitto() {
        return;
    }
    let Some(lab) = fleet() else { return };
    let facts = Facts::new("mqtt.ak-sg.com", Use::Broker)
        .unwrap()
        .with_broker("127.0.0.1", free_port())
        .unwrap();
    let port = free_port();
    lab.write("etc/muster.acl", mosquitto_acl(&facts));
    let conf: String = for_kind(&facts)
        .iter()
        .filter(|part| in_conf_d(part))
        .map(|part| part.text.as_str())
        .collect();
    let conf = moved(&lab, &conf).replace("listener 8883", &format!("listener {port} 127.0.0.1"));
    lab.write("both.conf", format!("user root\n{conf}"));
    let mut broker = Running::start(&lab, "both", &["mosquitto", "-v", "-c", "both.conf"]);
    broker.listens(&lab, port);
    assert!(!broker.log(&lab).contains("Error:"), "{}", broker.log(&lab));
}

fn in_conf_d(part: &Snippet) -> bool {
    Path::new(part.file).starts_with("/etc/mosquitto/conf.d")
}
