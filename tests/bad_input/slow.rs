//! Clients that take their time: one byte a second, in the handshake, in the head and in the body. Each is cut off
//! within a bound, and nobody else waits.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::wire::Wire;
use crate::world::World;

/// Nobody is borne for longer: 30 s for a request, and what the machine needs beside.
const BOUND: Duration = Duration::from_secs(45);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn whoever_sends_a_byte_a_second_is_cut_off_and_nobody_waits() {
    let world = World::start();
    let before = world.recorded();
    let head = "GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: ".to_owned() + &"a".repeat(100);
    let cut = thread::scope(|scope| {
        let clients = [
            ("in the handshake", scope.spawn(|| handshake(&world))),
            (
                "in the head",
                scope.spawn(|| dripped(world.dialer.tls().unwrap(), b"", head.as_bytes())),
            ),
            (
                "in the body",
                scope.spawn(|| {
                    let start = b"POST /sign HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n";
                    dripped(world.dialer.tls().unwrap(), start, &[b' '; 100])
                }),
            ),
            (
                "not at all",
                scope.spawn(|| dripped(world.dialer.tls().unwrap(), b"", b"")),
            ),
        ];
        // Meanwhile others are served at once.
        for number in 0..20 {
            let begun = Instant::now();
            world.serves(&format!("site-{number}"));
            assert!(
                begun.elapsed() < Duration::from_secs(5),
                "another client waited {:?}",
                begun.elapsed()
            );
            thread::park_timeout(SECOND);
        }
        clients.map(|(what, client)| (what, client.join().unwrap()))
    });
    for (what, took) in cut {
        let took = took.unwrap_or_else(|| panic!("who drips {what} is still connected after {BOUND:?}"));
        eprintln!(
            "measured: a client that drips {what} is cut off after {} s",
            took.as_secs()
        );
    }
    assert_ne!(world.recorded(), before);
}

/// The beginning of a ClientHello, a byte a second.
fn handshake(world: &World) -> Option<Duration> {
    let mut tcp = world.dialer.tcp().unwrap();
    let begun = Instant::now();
    tcp.set_read_timeout(Some(SECOND)).unwrap();
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 200]].concat();
    for byte in hello {
        let written = tcp.write_all(&[byte]);
        let closed = match tcp.read(&mut [0]) {
            Ok(read) => read == 0,
            Err(why) => !matches!(
                why.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            ),
        };
        if written.is_err() || closed {
            return Some(begun.elapsed());
        }
        if begun.elapsed() > BOUND {
            break;
        }
    }
    None
}

/// Sends `start`, then `bytes` one a second, until the other side hangs up; `None` if it does not within the bound.
fn dripped(mut wire: Wire, start: &[u8], bytes: &[u8]) -> Option<Duration> {
    let begun = Instant::now();
    wire.send(start).unwrap();
    let (ended, end) = mpsc::channel();
    for byte in bytes {
        thread::park_timeout(SECOND);
        // A connection that was cut refuses at the second byte after, at the latest.
        if wire.send(&[*byte]).is_err() {
            return Some(begun.elapsed());
        }
        if begun.elapsed() > BOUND {
            return None;
        }
    }
    thread::spawn(move || {
        let _ = wire.rest();
        let _ = ended.send(());
    });
    end.recv_timeout(BOUND).ok().map(|()| begun.elapsed())
}
