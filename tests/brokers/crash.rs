//! `kill -9` of the agent at every step: whatever lies half done, who is shut out stays out, and nobody else is shut out.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::agent::Beside;
use crate::common::Running;

/// How a step shows from outside.
struct Before {
    plan: u64,
    lists: u64,
    log: usize,
}

/// Another file has another number.
fn inode(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.ino())
}

impl Before {
    fn of(beside: &Beside) -> Self {
        Self {
            plan: inode(&beside.fleet.path("agent/epoch.json")),
            lists: inode(&beside.dir().join("crls.pem")),
            log: beside.broker().log().len(),
        }
    }

    /// What the broker has logged since.
    fn logged(&self, beside: &Beside, words: &str) -> bool {
        beside.broker().log()[self.log..].contains(words)
    }
}

type Reached = fn(&Before, &Beside, &str) -> bool;

const STEPS: [(&str, Reached); 7] = [
    ("an epoch was heard", |before, beside, _| {
        inode(&beside.fleet.path("agent/crl-default-1.der.new")) != 0
            || Before::of(beside).plan != before.plan
    }),
    ("what is to be done is on the disk", |before, beside, _| {
        Before::of(beside).plan != before.plan
    }),
    ("the lists lie beside", |before, beside, _| {
        inode(&beside.dir().join("crls.pem.new")) != 0 || Before::of(beside).lists != before.lists
    }),
    ("the lists are in place", |before, beside, _| {
        Before::of(beside).lists != before.lists
    }),
    ("the broker was told", |before, beside, _| {
        before.logged(beside, "Reloading config.")
    }),
    ("canaries come", |before, beside, _| {
        before.logged(beside, "OpenSSL Error") || before.logged(beside, "muster-canary")
    }),
    ("the session was ended", |before, beside, name| {
        before.logged(beside, &format!("Client {name} already connected"))
    }),
];

#[test]
fn kill_nine_at_any_step_lets_nobody_in_and_shuts_nobody_out() {
    let Some(mut beside) = Beside::start() else { return };
    let (good, bad) = (beside.device("good"), beside.device("bad"));
    let stays = good.subscribes("fleet/good/#");
    beside.fleet.muster.ok(&["device", "revoke", "bad", "--yes"]);
    for (number, (step, reached)) in STEPS.iter().enumerate() {
        let name = format!("victim-{number}");
        let victim = beside.device(&name);
        let _live = victim.subscribes(&format!("fleet/{name}/#"));
        let before = Before::of(&beside);
        let mut revoke = beside.fleet.muster.command(&["device", "revoke", &name, "--yes"]);
        let revoke = revoke
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let end = Instant::now() + Duration::from_secs(30);
        while !reached(&before, &beside, &name) {
            assert!(Instant::now() < end, "{step} was not seen");
            std::hint::spin_loop();
        }
        beside.kill_agent();
        assert_eq!(bad.alert().as_deref(), Some("certificate revoked"), "{step}");
        assert_eq!(good.alert(), None, "{step}");
        beside.start_agent();
        beside.proven();
        assert_eq!(victim.alert().as_deref(), Some("certificate revoked"), "{step}");
        assert_eq!(good.alert(), None, "{step}");
        let log = beside.broker().log();
        let ended = format!("Client {name} already connected, closing old connection.");
        assert!(log.contains(&ended), "{step}: its session goes on");
        drop(Running(revoke));
    }
    assert_eq!(stays.connections(), 1, "nobody else is lost");
    assert!(good.publishes("fleet/good/up", "still here"));
}
