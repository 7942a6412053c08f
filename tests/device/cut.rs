//! A network that breaks: a proxy on loopback that cuts what it is told to cut.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Stands between a client and a port on loopback. Once so many bytes have come back from there, in all connections together,
/// everything is cut.
pub struct Proxy {
    pub port: u16,
    rules: Arc<Rules>,
}

struct Rules {
    shut: AtomicBool,
    slow: AtomicBool,
    far: AtomicBool,
    left: AtomicU64,
    passed: AtomicU64,
}

impl Proxy {
    pub fn to(target: u16) -> Self {
        Self::between("127.0.0.1", target)
    }

    /// The same on another address of this machine.
    pub fn between(address: &str, target: u16) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let rules = Arc::new(Rules {
            shut: AtomicBool::new(false),
            slow: AtomicBool::new(false),
            far: AtomicBool::new(false),
            left: AtomicU64::new(u64::MAX),
            passed: AtomicU64::new(0),
        });
        let shared = rules.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let rules = shared.clone();
                std::thread::spawn(move || rules.carry(&client, target));
            }
        });
        Self { port, rules }
    }

    /// Cuts after so many more bytes; returns how many came back since the last time.
    pub fn cut_after(&self, bytes: u64) -> u64 {
        self.rules.left.store(bytes, Ordering::SeqCst);
        self.rules.passed.swap(0, Ordering::SeqCst)
    }

    /// Lets little through at a time, and pauses after each; or everything again.
    pub fn slow(&self, slow: bool) {
        self.rules.slow.store(slow, Ordering::SeqCst);
    }

    /// Everything takes a tenth of a second longer, each way; or no longer.
    pub fn far(&self, far: bool) {
        self.rules.far.store(far, Ordering::SeqCst);
    }

    /// Lets nothing through any more, or again; what is open is cut at its next byte.
    pub fn shut(&self, shut: bool) {
        self.rules.shut.store(shut, Ordering::SeqCst);
    }
}

impl Rules {
    fn carry(&self, client: &TcpStream, target: u16) {
        let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else {
            return;
        };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                self.copy(client, &server, false);
                let _ = server.shutdown(Shutdown::Both);
            });
            self.copy(&server, client, true);
            let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
        });
    }

    fn copy(&self, mut from: &TcpStream, mut to: &TcpStream, counted: bool) {
        let mut room = [0; 16 * 1024];
        loop {
            let slow = self.slow.load(Ordering::SeqCst);
            let part = if slow { &mut room[..64] } else { &mut room[..] };
            let Ok(read @ 1..) = from.read(part) else {
                return;
            };
            if slow {
                crate::common::pause();
            }
            if self.far.load(Ordering::SeqCst) {
                (0..5).for_each(|_| crate::common::pause());
            }
            if self.shut.load(Ordering::SeqCst) {
                return;
            }
            let most = if counted { self.take(read as u64) } else { read };
            if to.write_all(&part[..most]).is_err() || most < read {
                return;
            }
        }
    }

    /// How many of so many bytes may still pass.
    fn take(&self, wanted: u64) -> usize {
        let take = |left: u64| Some(left - wanted.min(left));
        let before = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
        let given = wanted.min(before.unwrap_or(0));
        self.passed.fetch_add(given, Ordering::SeqCst);
        usize::try_from(given).unwrap()
    }
}
