//! What `muster mqtt` takes in, and how it ends: bytes of every kind, lines of every length, many at once, and a broker that wants
//! none of it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use rustix::process::Signal;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::common::{text, wait_for};
use crate::cut::Proxy;
use crate::fleet::{BROKER, Fleet, Mosquitto};
use crate::mqtt::{BOTH, Client, mqtt, world};

/// Runs it with this on its standard input.
pub(crate) fn fed(mut command: Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

fn publish(fleet: &Fleet, port: u16, flags: &[&str]) -> Command {
    mqtt(
        fleet,
        "site-001",
        port,
        &[&["pub", "fleet/%u/up/t"], flags].concat(),
    )
}

#[test]
fn every_line_is_a_message_whatever_it_holds() {
    let Some((fleet, central)) = world() else { return };
    let watch = Client::watch(&fleet, central.port);
    for protocol in BOTH {
        let flags = ["--protocol", protocol];
        let output = fed(
            publish(&fleet, central.port, &flags),
            b"first\n\xff\xfe\nlast without an end",
        );
        assert!(output.status.success(), "{}", text(&output.stderr));
        for line in ["first", "\u{fffd}\u{fffd}", "last without an end"] {
            watch.sees(&format!("fleet/site-001/up/t {line}"));
        }
        // What is too long is told, and the rest goes on.
        let long = [&vec![b'x'; 3 << 20][..], b"\nafter it\n"].concat();
        let output = fed(publish(&fleet, central.port, &flags), &long);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            text(&output.stderr).contains("1 lines were too long"),
            "{}",
            text(&output.stderr)
        );
        watch.sees("fleet/site-001/up/t after it");
    }
}

#[test]
fn what_is_longer_than_the_broker_takes_is_told_and_ends_no_connection() {
    let Some((fleet, central)) = world() else { return };
    let (etc, port) = (central.etc.clone(), central.port);
    drop(central);
    let conf = etc.join("mosquitto.conf");
    let short = std::fs::read_to_string(&conf).unwrap() + "\nmax_packet_size 20000\n";
    std::fs::write(&conf, short).unwrap();
    let _central = Mosquitto::run(&etc, port);
    let watch = Client::watch(&fleet, port);
    let long = "x".repeat(20_000);
    let mut device = Client::stay(&fleet, port, "5", &["--publish", "fleet/%u/up/t"]);
    device.says(&long);
    device.says("after it");
    watch.sees("fleet/site-001/up/t after it");
    let said = device.log();
    assert!(said.contains("longer than the broker takes"), "{said}");
    assert!(!said.contains("no connection"), "{said}");
    let output = fed(publish(&fleet, port, &[]), long.as_bytes());
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("longer than the broker takes"), "{said}");
}

#[test]
fn many_messages_at_once_all_arrive() {
    let Some((fleet, central)) = world() else { return };
    let watch = Client::watch(&fleet, central.port);
    for (protocol, qos) in [("3.1.1", "1"), ("3.1.1", "2"), ("5", "1"), ("5", "2")] {
        let line = |number: usize| format!("{protocol} {qos} {number}");
        let input: String = (0..1000).map(|number| line(number) + "\n").collect();
        let flags = ["--protocol", protocol, "--qos", qos];
        let output = fed(publish(&fleet, central.port, &flags), input.as_bytes());
        assert!(output.status.success(), "{}", text(&output.stderr));
        watch.sees(&format!("fleet/site-001/up/t {}", line(999)));
        let all = watch.printed();
        for number in 0..1000 {
            let message = format!("fleet/site-001/up/t {}", line(number));
            assert!(all.contains(&message), "{message} is lost");
        }
    }
}

/// A broker on loopback that does this with each client.
fn serving(fleet: &Fleet, with: fn(&mut dyn Stream) -> std::io::Result<()>) -> u16 {
    let certificates = CertificateDer::pem_file_iter(fleet.file(BROKER, "crt")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            certificates.map(Result::unwrap).collect(),
            PrivateKeyDer::from_pem_file(fleet.file(BROKER, "key")).unwrap(),
        );
    let config = Arc::new(config.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(config.clone()).unwrap();
            // The client hangs up when it has heard enough.
            let _ = with(&mut StreamOwned::new(connection, stream));
        }
    });
    port
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// Lets it in; returns whether it speaks MQTT 5.
fn welcome(stream: &mut dyn Stream) -> std::io::Result<bool> {
    let five = packet(stream)?[6] == 5;
    // CONNACK (MQTT 5.0, section 3.2) with no properties.
    stream.write_all(if five {
        &[0x20, 3, 0, 0, 0]
    } else {
        &[0x20, 2, 0, 0]
    })?;
    stream.flush()?;
    Ok(five)
}

/// Refuses every subscription (SUBACK: MQTT 5.0, section 3.9).
fn refuse(stream: &mut dyn Stream) -> std::io::Result<()> {
    let five = welcome(stream)?;
    let subscribe = packet(stream)?;
    let id = [subscribe[0], subscribe[1]];
    let refused = if five { &[0, 0x87][..] } else { &[0x80] };
    let length = u8::try_from(refused.len() + 2).unwrap();
    stream.write_all(&[&[0x90, length], &id[..], refused].concat())?;
    stream.flush()?;
    packet(stream).map(drop)
}

/// What follows a packet's length, which is shorter than 128 bytes here.
fn packet(stream: &mut dyn Stream) -> std::io::Result<Vec<u8>> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let mut body = vec![0; usize::from(head[1])];
    stream.read_exact(&mut body)?;
    Ok(body)
}

#[test]
fn a_subscription_that_is_refused_is_told() {
    let Some((fleet, _central)) = world() else { return };
    let port = serving(&fleet, refuse);
    for protocol in BOTH {
        let sub = ["sub", "fleet/%u/#", "--count", "1", "--protocol", protocol];
        let output = mqtt(&fleet, "site-001", port, &sub).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("does not let us subscribe to fleet/site-001/#"),
            "{said}"
        );
    }
}

#[test]
fn a_client_that_has_much_to_say_to_a_broker_that_is_away_still_ends() {
    let Some((fleet, central)) = world() else { return };
    let proxy = Proxy::to(central.port);
    for protocol in BOTH {
        let flags = ["run", "--protocol", protocol, "--every", "1ms"];
        let log = fleet.path(&format!("busy-{protocol}.log"));
        let mut device = Client::start(mqtt(&fleet, "site-001", proxy.port, &flags), &log);
        wait_for("the connection", || device.log().contains("connected"));
        proxy.shut(true);
        wait_for("it to be away", || device.log().contains("no connection"));
        device.signal(Signal::TERM);
        assert!(device.ended().success());
        proxy.shut(false);
    }
}

/// Hangs up on the first thing that is said.
fn hang_up(stream: &mut dyn Stream) -> std::io::Result<()> {
    welcome(stream)?;
    packet(stream).map(drop)
}

#[test]
fn a_broker_that_hangs_up_is_not_taken_for_one_that_refuses() {
    let Some((fleet, _)) = world() else { return };
    let port = serving(&fleet, hang_up);
    for protocol in BOTH {
        for what in [&["pub", "fleet/%u/up/t", "hello"][..], &["sub", "fleet/%u/#"]] {
            // Which of two things is noticed first is up to chance.
            for _ in 0..5 {
                let line = [what, &["--protocol", protocol, "--attempts", "1"]].concat();
                let output = mqtt(&fleet, "site-001", port, &line).output().unwrap();
                let said = text(&output.stderr);
                assert_eq!(output.status.code(), Some(1), "{said}");
                assert!(said.contains("no connection to localhost"), "{said}");
            }
        }
    }
}
