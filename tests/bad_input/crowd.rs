//! Ten thousand connections that say nothing, while somebody else is served.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::common::wire::Wire;
use crate::world::World;

const CROWD: usize = 10_000;
const AT_ONCE: usize = 10;
/// Of these so many have finished their handshake.
const SHOOK_HANDS: usize = 500;
/// What this process needs beside.
const RESERVE: u64 = 512;

#[test]
fn ten_thousand_idle_connections_hurt_nobody() {
    let world = World::start();
    let crowd = how_many();
    let begun = Instant::now();
    let silent = connect(&world, crowd - SHOOK_HANDS);
    let greeted: Vec<Wire> = (0..SHOOK_HANDS).map(|_| world.dialer.tls().unwrap()).collect();
    let opened = begun.elapsed();

    let mut slowest = Duration::ZERO;
    for number in 0..20 {
        let begun = Instant::now();
        world.serves(&format!("site-{number}"));
        slowest = slowest.max(begun.elapsed());
    }
    let open = silent.iter().filter(|connection| is_open(connection)).count() + greeted.len();
    eprintln!(
        "measured: {crowd} connections opened in {opened:?}; {open} open while others were served within {slowest:?}"
    );
    assert!(
        slowest < Duration::from_secs(5),
        "another client waited {slowest:?}"
    );
    assert!(
        open > crowd / 2,
        "only {open} of {crowd} connections were open: this shows nothing"
    );
    assert_eq!(world.dialer.tls().unwrap().get("/readyz").unwrap().0, 200);

    // They lose their places by themselves.
    let begun = Instant::now();
    while silent.iter().any(is_open) {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "idle connections are kept for ever"
        );
        crate::common::pause();
    }
    world.serves("site-after");
}

/// Many at once, since they come faster than they are accepted and then wait for each other.
fn connect(world: &World, many: usize) -> Vec<TcpStream> {
    thread::scope(|scope| {
        let some = || {
            (0..many / AT_ONCE)
                .map(|_| world.dialer.tcp().unwrap())
                .collect::<Vec<_>>()
        };
        let clients: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(some)).collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    })
}

/// Ten thousand, or what the limit of open files leaves here and in the server.
fn how_many() -> usize {
    let hard = getrlimit(Resource::Nofile).maximum;
    let raised = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: hard,
            maximum: hard,
        },
    );
    let limit = if raised.is_ok() {
        hard
    } else {
        getrlimit(Resource::Nofile).current
    };
    // The server keeps a quarter of its files for the public listener.
    let fit = limit.map_or(CROWD, |limit| {
        usize::try_from(limit.saturating_sub(RESERVE)).unwrap() * 3 / 4
    });
    if fit < CROWD {
        eprintln!("skipped: only {fit} instead of {CROWD} connections, because of the limit of open files");
    }
    fit.clamp(SHOOK_HANDS + 100, CROWD)
}

fn is_open(connection: &TcpStream) -> bool {
    connection.set_nonblocking(true).unwrap();
    matches!(connection.peek(&mut [0]), Err(why) if why.kind() == std::io::ErrorKind::WouldBlock)
}
