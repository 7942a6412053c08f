//! Ports for the programs that tests start.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail, and other crates' tests share it"
)]

use std::net::TcpListener;
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Mutex;

/// Below these the system gives no connection its own port, so that a program can be ended and started again on its port
/// without a stranger's connection on it meanwhile.
const OURS: Range<u16> = 10_000..32_000;
/// So many a test program claims at once.
const BLOCK: u16 = 200;

/// What is left of a block, and what says to the other test programs that it is taken for as long as this one runs.
static BLOCKS: Mutex<(Range<u16>, Vec<UnixListener>)> = Mutex::new((0..0, Vec::new()));

/// A port that nobody uses now, and that no other test is given while this program runs.
pub fn free_port() -> u16 {
    let (left, claims) = &mut *BLOCKS.lock().unwrap();
    loop {
        if let Some(port) = left.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()) {
            return port;
        }
        let (first, claim) = OURS
            .step_by(BLOCK.into())
            .find_map(|first| Some((first, claim(first)?)))
            .expect("the test programs have not taken all ports");
        *left = first..first + BLOCK;
        claims.push(claim);
    }
}

/// Nothing if another test program has this block.
fn claim(first: u16) -> Option<UnixListener> {
    let name = SocketAddr::from_abstract_name(format!("muster-test-ports-{first}")).unwrap();
    UnixListener::bind_addr(&name).ok()
}
