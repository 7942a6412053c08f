//! `muster mqtt`, with a real Mosquitto that holds devices to their topics.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{MUSTER, Running, free_port, text, tool, wait_for};
use crate::cut::Proxy;
use crate::fleet::{Fleet, Mosquitto, openssl, spawn, wait_for_port};

/// The versions of MQTT.
pub const BOTH: [&str; 2] = ["3.1.1", "5"];

/// The broker, `backend` and `ops` that may see the fleet, and a device.
pub fn world() -> Option<(Fleet, Mosquitto)> {
    let fleet = Fleet::start()?;
    let printed = fleet.issue_broker();
    for name in ["site-001", "backend", "ops"] {
        fleet.issue(name, &["--kind", "client"]);
    }
    let central = fleet.central(&printed);
    let acl = central.etc.join("muster.acl");
    let mut rules = std::fs::read_to_string(&acl).unwrap();
    for name in ["backend", "ops"] {
        let user = format!("user {name}\n");
        rules = rules.replace(&user, &(user.clone() + "topic readwrite status/#\n"));
    }
    std::fs::write(&acl, rules).unwrap();
    let (etc, port) = (central.etc.clone(), central.port);
    drop(central);
    Some((fleet, Mosquitto::run(&etc, port)))
}

pub fn mqtt(fleet: &Fleet, name: &str, port: u16, args: &[&str]) -> Command {
    let mut command = Command::new(MUSTER);
    command.arg("mqtt").args(args).arg("--dir").arg(fleet.path(name));
    command
        .args(["--broker", &format!("localhost:{port}")])
        .stdin(Stdio::null());
    command
}

/// A client that goes on, and what it has printed.
pub struct Client {
    running: Running,
    input: Option<ChildStdin>,
    log: PathBuf,
    printed: Arc<Mutex<Vec<String>>>,
}

impl Client {
    pub fn start(mut command: Command, log: &Path) -> Self {
        let file = std::fs::File::create(log).unwrap();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .unwrap();
        let printed = Arc::new(Mutex::new(Vec::new()));
        let (lines, sink) = (
            BufReader::new(child.stdout.take().unwrap()).split(b'\n'),
            printed.clone(),
        );
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .for_each(|line| sink.lock().unwrap().push(text(&line)))
        });
        Self {
            input: child.stdin.take(),
            log: log.to_owned(),
            running: Running(child),
            printed,
        }
    }

    /// Watches as `backend`, and sees a message of its own before anything else happens. That is asked for last, so the other filters are
    /// in force by then; and by its own name, since RabbitMQ shows what is retained to nobody else.
    pub fn watch(fleet: &Fleet, port: u16) -> Self {
        let run = ["run", "--protocol", "3.1.1", "--every", "1h"];
        let filters = ["--subscribe", "fleet/#", "--subscribe", "status/#"];
        let own = ["--status", "status/backend", "--subscribe", "status/backend"];
        let args = [&run[..], &filters, &own].concat();
        let client = Self::start(mqtt(fleet, "backend", port, &args), &fleet.path("watch.log"));
        client.sees("status/backend online");
        client
    }

    /// The client of `site-001` that stays.
    pub fn stay(fleet: &Fleet, port: u16, protocol: &str, more: &[&str]) -> Self {
        let args = [&["run", "--protocol", protocol][..], more].concat();
        Self::start(mqtt(fleet, "site-001", port, &args), &fleet.path("run.log"))
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn printed(&self) -> Vec<String> {
        self.printed.lock().unwrap().clone()
    }

    pub fn sees(&self, line: &str) {
        wait_for(line, || self.printed().iter().any(|one| one == line));
    }

    pub fn says(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.running.0), signal).unwrap();
    }

    pub fn ended(&mut self) -> std::process::ExitStatus {
        let child: &mut Child = &mut self.running.0;
        crate::common::wait_for_child(child, std::time::Duration::from_secs(60))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "--- a client said\n{}--- and printed\n{:#?}",
                self.log(),
                self.printed()
            );
        }
    }
}

/// What `ops` hears first on a topic: what is kept there for whoever comes later.
fn kept(fleet: &Fleet, port: u16, topic: &str, protocol: &str, qos: &str) -> serde_json::Value {
    let sub = ["sub", topic, "--count", "1", "--json"];
    let args = [&sub[..], &["--protocol", protocol, "--qos", qos]].concat();
    let mut client = Client::start(mqtt(fleet, "ops", port, &args), &fleet.path("kept.log"));
    assert!(client.ended().success());
    wait_for("what it printed", || !client.printed().is_empty());
    serde_json::from_str(&client.printed()[0]).unwrap()
}

/// Messages of every quality arrive, and are kept if they are to be.
pub fn messages_of_every_quality(fleet: &Fleet, port: u16, protocol: &str, watch: &Client) {
    for qos in ["0", "1", "2"] {
        let words = format!("{protocol} {qos}");
        let publish = ["pub", "fleet/%u/up/t", &words, "--retain"];
        let how = ["--protocol", protocol, "--qos", qos];
        let output = mqtt(fleet, "site-001", port, &[&publish[..], &how].concat()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        watch.sees(&format!("fleet/site-001/up/t {words}"));
        let kept = kept(fleet, port, "fleet/site-001/up/t", protocol, qos);
        let expected =
            serde_json::json!({ "topic": "fleet/site-001/up/t", "payload": words, "retain": true });
        assert_eq!(kept, expected);
    }
}

/// `site-001` says that it comes, how it is, and that it goes; if it dies, the broker says that. Who comes later hears the last of it.
pub fn comes_and_goes(fleet: &Fleet, port: u16, protocol: &str, watch: &Client) {
    let before = watch.printed().len();
    let all = |start: &str| {
        let lines = watch.printed().split_off(before).into_iter();
        let after = lines.filter_map(|line| line.strip_prefix(start).map(str::to_owned));
        after.collect::<Vec<_>>()
    };
    let now_is = |states: &[&str]| {
        wait_for("a state", || all("status/site-001 ").len() >= states.len());
        assert_eq!(all("status/site-001 "), states);
        let kept = kept(fleet, port, "status/site-001", protocol, "1");
        assert_eq!(kept["payload"], *states.last().unwrap());
    };
    let mut device = Client::stay(fleet, port, protocol, &["--every", "1s"]);
    now_is(&["online"]);
    wait_for("its health", || all("fleet/site-001/up/health ").len() > 1);
    let health: serde_json::Value = serde_json::from_str(&all("fleet/site-001/up/health ")[1]).unwrap();
    assert!(
        health["up_seconds"].as_u64().unwrap() > 0 && health["reconnects"] == 0,
        "{health}"
    );
    device.signal(Signal::TERM);
    assert!(device.ended().success());
    now_is(&["online", "offline"]);
    // A power cut: the broker says it in its place.
    let device = Client::stay(fleet, port, protocol, &["--every", "1s"]);
    now_is(&["online", "offline", "online"]);
    device.signal(Signal::KILL);
    now_is(&["online", "offline", "online", "offline"]);
}

/// `site-001` publishes twenty messages that begin with this word.
fn say_twenty(device: &mut Client, word: &str) {
    (0..20).for_each(|number| device.says(&format!("{word} {number}")));
}

fn see_twenty(watch: &Client, word: &str) {
    (0..20).for_each(|number| watch.sees(&format!("fleet/site-001/up/t {word} {number}")));
}

/// A network that is slow and then breaks costs nothing but time; while it is broken, the broker says that the device is offline.
pub fn loses_nothing_on_a_bad_network(fleet: &Fleet, port: u16, protocol: &str, watch: &Client) {
    let proxy = Proxy::to(port);
    let publish = ["--publish", "fleet/%u/up/t", "--every", "1h"];
    let mut device = Client::stay(fleet, proxy.port, protocol, &publish);
    let word = |what: &str| format!("{protocol} {what}");
    say_twenty(&mut device, &word("before"));
    see_twenty(watch, &word("before"));
    proxy.slow(true);
    say_twenty(&mut device, &word("slow"));
    see_twenty(watch, &word("slow"));
    proxy.slow(false);
    let before = watch.printed().len();
    let state = |word: &str| {
        let line = format!("status/site-001 {word}");
        wait_for(&line, || watch.printed()[before..].contains(&line));
    };
    proxy.shut(true);
    say_twenty(&mut device, &word("cut"));
    state("offline");
    proxy.shut(false);
    see_twenty(watch, &word("cut"));
    state("online");
    device.signal(Signal::TERM);
    assert!(device.ended().success());
}

/// A broker that restarts has forgotten sessions, and gets what was said meanwhile. `restart` ends it, calls what it is given, and starts
/// it.
pub fn loses_nothing_at_a_restart<T>(
    fleet: &Fleet,
    port: u16,
    protocol: &str,
    restart: impl FnOnce(&mut dyn FnMut()) -> T,
) -> T {
    let watch = Client::watch(fleet, port);
    let proxy = Proxy::to(port);
    let publish = ["--publish", "fleet/%u/up/t", "--every", "1h"];
    let mut device = Client::stay(fleet, proxy.port, protocol, &publish);
    let word = |what: &str| format!("{protocol} {what}");
    say_twenty(&mut device, &word("at first"));
    see_twenty(&watch, &word("at first"));
    drop(watch);
    let restarted = restart(&mut || {
        // Nothing arrives until somebody watches.
        proxy.shut(true);
        say_twenty(&mut device, &word("while it was away"));
    });
    let watch = Client::watch(fleet, port);
    proxy.shut(false);
    device.says(&word("after"));
    watch.sees(&format!("fleet/site-001/up/t {protocol} after"));
    see_twenty(&watch, &word("while it was away"));
    device.signal(Signal::TERM);
    assert!(device.ended().success());
    restarted
}

/// Must end with 1; returns what it said.
pub fn fails(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    text(&output.stderr)
}

/// `site-001` says nothing to a broker that it cannot verify: by another name, of another CA. `watch` sees what comes through.
pub fn believes_nobody_else(fleet: &Fleet, port: u16, protocol: &str, watch: &Client) {
    let plain = format!("{protocol} plain");
    let publish = |text| ["pub", "fleet/%u/up/t", text, "--protocol", protocol];
    // What leads there, and is no name in its certificate.
    let proxy = Proxy::between("127.0.0.2", port);
    let mut by_address = Command::new(MUSTER);
    by_address
        .arg("mqtt")
        .args(publish("secret"))
        .arg("--dir")
        .arg(fleet.path("site-001"));
    by_address.args(["--broker", &format!("127.0.0.2:{}", proxy.port)]);
    let said = fails(by_address);
    assert!(said.contains("not for 127.0.0.2"), "{said}");

    let strange = Fleet::start().unwrap();
    strange.issue("other", &["--kind", "client"]);
    let ca = fleet.path("site-001").join("ca.crt");
    let kept = std::fs::read(&ca).unwrap();
    std::fs::copy(strange.path("other").join("ca.crt"), &ca).unwrap();
    let said = fails(mqtt(fleet, "site-001", port, &publish("secret")));
    assert!(said.contains("a CA that is not in ca.crt"), "{said}");
    std::fs::write(&ca, kept).unwrap();

    // Nothing was sent: what is sent to the right broker comes first.
    let sent = mqtt(fleet, "site-001", port, &publish(&plain)).output().unwrap();
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    watch.sees(&format!("fleet/site-001/up/t {plain}"));
    let seen = watch.printed();
    assert!(!seen.iter().any(|line| line.ends_with("secret")), "{seen:?}");
}

/// Where nobody listens, `ops` tries four times, whatever it wants: each pause is in the upper half of what has doubled since the first
/// second, and as long as it says. The log is JSON, a line for each event.
pub fn backs_off_within_bounds(fleet: &Fleet, port: u16, protocol: &str) {
    let how = ["--attempts", "4", "--json", "--protocol", protocol];
    let tried = [&["pub", "fleet/t", "x"][..], &["sub", "fleet/t"], &["run"]].map(|what| {
        let mut command = mqtt(fleet, "ops", port, &[what, &how].concat());
        command.stderr(Stdio::piped()).spawn().unwrap()
    });
    for tried in tried {
        let output = tried.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        doubles(&text(&output.stderr));
    }
}

fn doubles(said: &str) {
    let lines: Vec<serde_json::Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [tries @ .., last] = &lines[..] else {
        panic!("{said}")
    };
    let message = last["error"]["message"].as_str().unwrap();
    assert!(message.contains("no connection to localhost"), "{said}");
    assert_eq!(tries.len(), 3, "{said}");
    let mut earliest = jiff::Timestamp::UNIX_EPOCH;
    for (number, line) in tries.iter().enumerate() {
        let (attempt, pause) = (
            line["attempt"].as_u64().unwrap(),
            line["pause_ms"].as_i64().unwrap(),
        );
        let whole = 1000 << number;
        assert_eq!(attempt, number as u64 + 1, "{said}");
        assert!((whole / 2..=whole).contains(&pause), "{said}");
        let at: jiff::Timestamp = line["timestamp"].as_str().unwrap().parse().unwrap();
        assert!(at >= earliest, "{said}");
        assert_eq!(line["level"], "WARN", "{said}");
        earliest = at + jiff::SignedDuration::from_millis(pause);
    }
}

#[test]
fn messages_arrive_with_every_protocol_and_quality() {
    let Some((fleet, central)) = world() else { return };
    let watch = Client::watch(&fleet, central.port);
    for protocol in BOTH {
        messages_of_every_quality(&fleet, central.port, protocol, &watch);
    }
    // MQTT 5 tells that a message was not taken; a device may write below its own name only.
    let said = fails(mqtt(
        &fleet,
        "site-001",
        central.port,
        &["pub", "fleet/site-002/up/t", "x"],
    ));
    assert!(
        said.contains("does not let us publish to fleet/site-002/up/t: its access list does not allow it"),
        "{said}"
    );
}

#[test]
fn a_broker_with_tls_1_2_alone_is_a_broker() {
    let Some((fleet, central)) = world() else { return };
    let (etc, port) = (central.etc.clone(), central.port);
    drop(central);
    // Mosquitto's own tls_version says only what the least is.
    let openssl_conf =
        "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nMaxProtocol = TLSv1.2\n";
    std::fs::write(etc.join("openssl.cnf"), openssl_conf).unwrap();
    let mut command = Command::new(tool("mosquitto").unwrap());
    command.arg("-c").arg(etc.join("mosquitto.conf"));
    command.env("OPENSSL_CONF", etc.join("openssl.cnf"));
    let _central = spawn(&mut command, &etc.join("log"));
    wait_for_port(port, &etc.join("log"));
    let at = format!("localhost:{port}");
    let (_, said) = openssl(&["s_client", "-connect", &at, "-tls1_3"]);
    assert!(said.contains("protocol version"), "{said}");
    let watch = Client::watch(&fleet, port);
    for protocol in BOTH {
        let publish = ["pub", "fleet/%u/up/t", protocol, "--protocol", protocol];
        let sent = mqtt(&fleet, "site-001", port, &publish).output().unwrap();
        assert!(sent.status.success(), "{}", text(&sent.stderr));
        watch.sees(&format!("fleet/site-001/up/t {protocol}"));
    }
}

#[test]
fn a_device_is_online_and_offline_by_its_own_word_or_its_last_will() {
    let Some((fleet, central)) = world() else { return };
    let watch = Client::watch(&fleet, central.port);
    for protocol in BOTH {
        comes_and_goes(&fleet, central.port, protocol, &watch);
    }
}

#[test]
fn a_broker_that_keeps_sys_for_itself_is_no_reason_to_leave() {
    let Some((fleet, central)) = world() else { return };
    let watch = Client::watch(&fleet, central.port);
    let more = ["--health", "$SYS/health", "--publish", "fleet/%u/up/t"];
    let mut device = Client::stay(&fleet, central.port, "5", &more);
    wait_for("the refusal", || {
        device.log().contains("does not let us publish to $SYS/health")
    });
    device.says("and goes on");
    watch.sees("fleet/site-001/up/t and goes on");
}

#[test]
fn nothing_is_lost_while_the_broker_is_away_or_the_network_is_bad() {
    let Some((fleet, mut central)) = world() else {
        return;
    };
    let (etc, port) = (central.etc.clone(), central.port);
    for protocol in BOTH {
        let watch = Client::watch(&fleet, port);
        loses_nothing_on_a_bad_network(&fleet, port, protocol, &watch);
        drop(watch);
        central = loses_nothing_at_a_restart(&fleet, port, protocol, |meanwhile| {
            drop(central);
            meanwhile();
            Mosquitto::run(&etc, port)
        });
    }
}

#[test]
fn only_the_right_broker_is_believed_and_attempts_end() {
    let Some((fleet, central)) = world() else { return };
    let port = central.port;
    let watch = Client::watch(&fleet, port);
    for protocol in BOTH {
        believes_nobody_else(&fleet, port, protocol, &watch);
    }
    let sessions = central.log().matches(" as site-001 ").count();
    assert_eq!(sessions, BOTH.len(), "{}", central.log());
    drop(watch);

    fleet.muster.exits(5, &["device", "revoke", "site-001", "--yes"]);
    fleet.reload(&central);
    let publish = ["pub", "fleet/%u/up/t", "revoked"];
    // Until the broker has read its files again, it lets the device in; and a refusal may come as a connection that breaks.
    wait_for("the refusal", || {
        let tried = mqtt(&fleet, "site-001", port, &publish).output().unwrap();
        text(&tried.stderr).contains("as revoked")
    });
    fails(mqtt(&fleet, "site-001", port, &publish));
    drop(central);
    for protocol in BOTH {
        backs_off_within_bounds(&fleet, port, protocol);
    }
}

#[test]
fn a_file_that_is_wrong_is_named() {
    let Some(fleet) = Fleet::start() else { return };
    let other = |name: &str| {
        fleet.issue(name, &["--kind", "client"]);
        std::fs::read(fleet.file(name, "crt")).unwrap()
    };
    let (_, strange) = (other("site-001"), other("site-002"));
    let nobody = free_port();
    for (extension, content, words) in [
        ("crt", &b""[..], "site-001.crt holds no certificate"),
        ("crt", b"garbage", "site-001.crt holds no certificate"),
        ("crt", &strange, "is not the key of"),
        ("key", b"garbage", "site-001.key holds no key"),
    ] {
        let path = fleet.file("site-001", extension);
        let kept = std::fs::read(&path).unwrap();
        std::fs::write(&path, content).unwrap();
        let said = fails(mqtt(&fleet, "site-001", nobody, &["pub", "a", "x"]));
        assert!(said.contains(words), "{said}");
        std::fs::write(&path, kept).unwrap();
    }
}

#[test]
fn what_is_no_topic_or_filter_is_refused_before_anything_is_connected() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.issue("site-001", &["--kind", "client"]);
    let nobody = free_port();
    for (args, words) in [
        (&["pub", "fleet/#", "x"][..], "no topic to publish on"),
        (&["pub", "", "x"], "it is empty"),
        (&["sub", "fleet/#/x"], "# comes last"),
        (&["sub", "a", "fleet/b+"], "stand alone"),
        (&["run", "--status", "a/#"], "no topic to publish on"),
        (&["run", "--health", "a/+"], "no topic to publish on"),
        (&["run", "--publish", "+"], "no topic to publish on"),
        (&["run", "--subscribe", ""], "it is empty"),
        (&["pub", "a", "x", "--attempts", "0"], "--attempts"),
    ] {
        let output = mqtt(&fleet, "site-001", nobody, args).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
    }
    // What may be there is up to the broker, and nobody is there.
    let said = fails(mqtt(&fleet, "site-001", nobody, &["pub", "$SYS/x", "x"]));
    assert!(said.contains("nobody listens there"), "{said}");
}

#[test]
fn a_long_message_is_a_message() {
    let Some((fleet, central)) = world() else { return };
    let long = "x".repeat(20 << 10);
    for protocol in ["3.1.1", "5"] {
        let version = ["--protocol", protocol];
        let publish = ["pub", "fleet/site-001/down/set", &long, "--retain"];
        let sent = mqtt(
            &fleet,
            "backend",
            central.port,
            &[&publish[..], &version].concat(),
        )
        .output();
        assert!(sent.unwrap().status.success());
        let receive = ["sub", "fleet/%u/down/#", "--count", "1", "--attempts", "1"];
        let got = mqtt(
            &fleet,
            "site-001",
            central.port,
            &[&receive[..], &version].concat(),
        );
        let got = { got }.output().unwrap();
        assert!(text(&got.stdout).contains(&long), "{}", text(&got.stderr));
    }
}
