//! What a broker keeps for a client that is not there: it comes when the client is started again, whatever the run before was doing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::common::{Running, pause, text, wait_for, wait_for_child};
use crate::cut::Proxy;
use crate::fleet::{Fleet, Mosquitto};
use crate::mqtt::{BOTH, Client, mqtt, world};

/// `backend` says this to `site-001`, and the broker has taken it.
fn say(fleet: &Fleet, port: u16, word: &str, qos: &str) {
    let publish = ["pub", "fleet/site-001/down/set", word, "--qos", qos];
    // Its own client keeps a session, which this would end.
    let sent = mqtt(fleet, "ops", port, &publish).output().unwrap();
    assert!(sent.status.success(), "{}", text(&sent.stderr));
}

/// The client that stays, and hears: what it asked for came before it said that it is online.
fn start(fleet: &Fleet, port: u16, watch: &Client, flags: &[&str]) -> Client {
    let online = || {
        let printed = watch.printed();
        printed
            .iter()
            .filter(|line| *line == "status/site-001 online")
            .count()
    };
    let before = online();
    let [protocol, more @ ..] = flags else {
        panic!("{flags:?}")
    };
    let hears = ["--subscribe", "fleet/%u/down/#", "--every", "1h"];
    let client = Client::stay(fleet, port, protocol, &[&hears[..], more].concat());
    wait_for("the client", || online() > before);
    client
}

#[test]
fn what_came_while_it_was_away_is_there_when_it_is_started_again() {
    let Some((fleet, central)) = world() else { return };
    let watch = Client::watch(&fleet, central.port);
    for protocol in BOTH {
        for qos in ["1", "2"] {
            let mut client = start(&fleet, central.port, &watch, &[protocol, "--qos", qos]);
            for (end, signal) in [("stopped", Signal::TERM), ("killed", Signal::KILL)] {
                client.signal(signal);
                assert_eq!(client.ended().success(), signal == Signal::TERM);
                let word = |number: usize| format!("{protocol} {qos} {end} {number}");
                (0..3).for_each(|number| say(&fleet, central.port, &word(number), qos));
                client = start(&fleet, central.port, &watch, &[protocol, "--qos", qos]);
                for number in 0..3 {
                    let line = format!("fleet/site-001/down/set {}", word(number));
                    client.sees(&line);
                    let printed = client.printed();
                    let times = printed.iter().filter(|one| **one == line).count();
                    assert!(qos == "1" || times == 1, "{printed:#?}");
                }
            }
        }
    }
}

#[test]
fn what_comes_while_it_leaves_is_printed_by_this_run_or_the_next() {
    let Some((fleet, central)) = world() else { return };
    let watch = Client::watch(&fleet, central.port);
    let proxy = Proxy::to(central.port);
    proxy.far(true);
    for protocol in BOTH {
        let start = || start(&fleet, proxy.port, &watch, &[protocol, "--qos", "1"]);
        let line = |number| format!("fleet/site-001/down/set {protocol} {number}");
        let mut runs = vec![start()];
        let publish = ["pub", "fleet/site-001/down/set"];
        let mut ops = Client::start(
            mqtt(&fleet, "ops", central.port, &publish),
            &fleet.path("ops.log"),
        );
        let said = Arc::new(AtomicUsize::new(0));
        let (goes_on, counted) = (Arc::new(()), said.clone());
        let ended = Arc::downgrade(&goes_on);
        let saying = std::thread::spawn(move || {
            while ended.strong_count() > 0 {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                ops.says(&format!("{protocol} {number}"));
                // What a broker sends at once, and then waits for, is little on a long way.
                (0..2).for_each(|_| pause());
            }
            ops
        });
        for _ in 0..4 {
            let client = runs.last_mut().unwrap();
            client.sees(&line(said.load(Ordering::SeqCst)));
            client.signal(Signal::TERM);
            assert!(client.ended().success(), "{}", client.log());
            runs.push(start());
        }
        drop(goes_on);
        let _ops = saying.join().unwrap();
        let missing = || {
            let printed: Vec<String> = runs.iter().flat_map(Client::printed).collect();
            let all = (0..said.load(Ordering::SeqCst)).map(line);
            all.filter(|line| !printed.contains(line)).collect::<Vec<_>>()
        };
        let end = line(said.load(Ordering::SeqCst) - 1);
        runs.last().unwrap().sees(&end);
        assert!(missing().is_empty(), "{:#?} of {end}", missing());
    }
}

#[test]
fn a_client_whose_output_nobody_reads_says_offline_and_ends() {
    let Some((fleet, central)) = world() else { return };
    let watch = Client::watch(&fleet, central.port);
    let states = |word: &str| {
        let line = format!("status/site-001 {word}");
        watch.printed().iter().filter(|one| **one == line).count()
    };
    let long = "x".repeat(2000);
    for (number, protocol) in BOTH.iter().enumerate() {
        let run = ["run", "--protocol", protocol, "--every", "1h"];
        let hears = ["--subscribe", "fleet/%u/down/#"];
        let mut command = mqtt(&fleet, "site-001", central.port, &[&run[..], &hears].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut client = Running(command.spawn().unwrap());
        wait_for("the client", || states("online") > number);
        let publish = ["pub", "fleet/site-001/down/set"];
        let mut ops = Client::start(
            mqtt(&fleet, "ops", central.port, &publish),
            &fleet.path("ops.log"),
        );
        (0..500).for_each(|word| ops.says(&format!("{protocol} {word} {long}")));
        let last = format!("fleet/site-001/down/set {protocol} 499 {long}");
        watch.sees(&last);
        kill_process(Pid::from_child(&client.0), Signal::TERM).unwrap();
        wait_for("offline", || states("offline") > number);
        let by_itself = client.0.try_wait().unwrap().is_none();
        assert!(by_itself, "its last will is said when it has ended");
        let ended = wait_for_child(&mut client.0, Duration::from_secs(15));
        assert_eq!(ended.code(), Some(1));
        let mut said = String::new();
        let mut log = client.0.stderr.take().unwrap();
        log.read_to_string(&mut said).unwrap();
        assert!(said.contains("messages have come that nobody takes"), "{said}");
    }
}

/// A run of the client, packet by packet, which ends wherever it is dropped.
struct Earlier {
    stream: StreamOwned<ClientConnection, TcpStream>,
    five: bool,
}

const PUBLISH: u8 = 0x30;
const PUBREC: u8 = 0x50;
const PUBREL: u8 = 0x62;

impl Earlier {
    fn connect(fleet: &Fleet, port: u16, protocol: &str) -> Self {
        let mut roots = RootCertStore::empty();
        for ca in CertificateDer::pem_file_iter(fleet.ca()).unwrap() {
            roots.add(ca.unwrap()).unwrap();
        }
        let chain = CertificateDer::pem_file_iter(fleet.file("site-001", "crt")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(
                chain.map(Result::unwrap).collect(),
                PrivateKeyDer::from_pem_file(fleet.file("site-001", "key")).unwrap(),
            );
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(Arc::new(config.unwrap()), name).unwrap();
        let stream = StreamOwned::new(session, TcpStream::connect(("127.0.0.1", port)).unwrap());
        let five = protocol == "5";
        let mut earlier = Self { stream, five };
        // CONNECT without clean start; with MQTT 5 the session is kept for a day (MQTT 5.0, section 3.1.2.11.2).
        let kept: &[u8] = if five { &[5, 0x11, 0, 1, 0x51, 0x80] } else { &[] };
        let level = if five { 5 } else { 4 };
        let head = [&text_of("MQTT")[..], &[level, 0, 0, 0]].concat();
        earlier.send(0x10, &[&head[..], kept, &text_of("site-001")].concat());
        earlier.receive(0x20);
        earlier
    }

    fn send(&mut self, kind: u8, body: &[u8]) {
        let length = u8::try_from(body.len()).unwrap();
        assert!(length < 128, "a longer length has two bytes");
        self.stream
            .write_all(&[&[kind, length][..], body].concat())
            .unwrap();
        self.stream.flush().unwrap();
    }

    /// What follows the length of the next packet of this kind.
    fn receive(&mut self, kind: u8) -> Vec<u8> {
        loop {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head).unwrap();
            let mut body = vec![0; usize::from(head[1])];
            self.stream.read_exact(&mut body).unwrap();
            if head[0] & 0xf0 == kind & 0xf0 {
                return body;
            }
        }
    }

    fn no_properties(&self) -> &'static [u8] {
        if self.five { &[0] } else { &[] }
    }

    fn subscribe(&mut self, filter: &str) {
        let none = self.no_properties();
        self.send(0x82, &[&[0, 1][..], none, &text_of(filter), &[2]].concat());
        self.receive(0x90);
    }

    /// Receives a message with QoS 2, and returns its packet identifier.
    fn hear(&mut self) -> [u8; 2] {
        let body = self.receive(PUBLISH);
        let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
        [body[2 + topic], body[3 + topic]]
    }

    /// Sends one with QoS 2, and not what comes after the broker's PUBREC.
    fn half_say(&mut self, words: &str, id: u8) {
        let (topic, none) = (text_of("fleet/site-001/up/t"), self.no_properties());
        let body = [&topic[..], &[0, id], none, words.as_bytes()].concat();
        self.send(PUBLISH | 0x04, &body);
        self.receive(PUBREC);
    }
}

fn text_of(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    [&length[..], text.as_bytes()].concat()
}

#[test]
fn what_another_run_was_in_the_middle_of_stops_nothing() {
    let Some((fleet, central)) = world() else { return };
    let watch = Client::watch(&fleet, central.port);
    for protocol in BOTH {
        let mut earlier = Earlier::connect(&fleet, central.port, protocol);
        earlier.subscribe("fleet/site-001/down/#");
        let word = |word: &str| format!("{word} in {protocol}");
        // The broker is told that it has come, says that it is over, and hears nothing more.
        say(&fleet, central.port, &word("heard"), "2");
        let id = earlier.hear();
        earlier.send(PUBREC, &id);
        earlier.receive(PUBREL);
        // The broker is told nothing.
        say(&fleet, central.port, &word("unheard"), "2");
        earlier.hear();
        let half_way = if protocol == "5" { 10 } else { 20 };
        (1..=half_way).for_each(|id| earlier.half_say(&format!("{protocol} half-way {id}"), id));
        drop(earlier);
        say(&fleet, central.port, &word("kept"), "2");

        let up = ["--publish", "fleet/%u/up/t", "--qos", "2"];
        let mut client = start(&fleet, central.port, &watch, &[&[protocol][..], &up].concat());
        let line = |words: &str| format!("fleet/site-001/down/set {}", word(words));
        client.sees(&line("unheard"));
        client.sees(&line("kept"));
        // Its packets have the numbers of those that are half-way.
        let said = |number: usize| format!("fleet/site-001/up/t {protocol} said {number}");
        (0..40).for_each(|number| client.says(&format!("{protocol} said {number}")));
        (0..40).for_each(|number| watch.sees(&said(number)));
        // What the earlier run had handed over arrives, too.
        let half = |id| watch.sees(&format!("fleet/site-001/up/t {protocol} half-way {id}"));
        (1..=half_way).for_each(half);
        let (mut heard, mut seen) = (client.printed(), watch.printed());
        heard.retain(|one| one.starts_with("fleet/site-001/down/"));
        assert_eq!(heard, [line("unheard"), line("kept")]);
        seen.retain(|one| one.starts_with(&format!("fleet/site-001/up/t {protocol} ")));
        assert_eq!(seen.len(), 40 + usize::from(half_way), "{seen:#?}");
        client.signal(Signal::TERM);
        assert!(client.ended().success());
        assert!(!client.log().contains("no connection"), "{}", client.log());
    }
}

#[test]
fn a_session_that_cannot_be_gone_on_with_begins_anew() {
    let Some((fleet, central)) = world() else { return };
    let (etc, port) = (central.etc.clone(), central.port);
    drop(central);
    let conf = etc.join("mosquitto.conf");
    let few = std::fs::read_to_string(&conf).unwrap() + "\nmax_inflight_messages 5\n";
    std::fs::write(&conf, few).unwrap();
    let _central = Mosquitto::run(&etc, port);
    let watch = Client::watch(&fleet, port);
    let flags = ["5", "--qos", "2", "--publish", "fleet/%u/up/t"];
    let mut client = start(&fleet, port, &watch, &flags);
    client.signal(Signal::TERM);
    assert!(client.ended().success());
    let mut client = start(&fleet, port, &watch, &flags);
    assert!(client.log().contains("begins anew"), "{}", client.log());
    (0..20).for_each(|number| client.says(&format!("said {number}")));
    (0..20).for_each(|number| watch.sees(&format!("fleet/site-001/up/t said {number}")));
    say(&fleet, port, "and hears", "2");
    client.sees("fleet/site-001/down/set and hears");
}
