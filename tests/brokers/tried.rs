//! `muster broker test` against real listeners: content with what is printed, and it names what was spoilt.
//!
//! One CA and one run for all: each row of the table is a listener of its own, new lists are brought to all of them as somebody without an
//! agent does, and a few are tried at a time.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::{MUSTER, free_port, pause, text, wait_for};
use crate::faults::{GOOD, RABBIT_WITH_AGENT, RABBITMQ, ROWS, Row};
use crate::fleet::{BROKER, Fleet, spawn};
use crate::listeners::{Listener, Rabbit, Stage};

/// How many are tried at a time.
const AT_ONCE: usize = 4;

/// What came of each attempt: `held`, `wrong` or `not-tried`, and the words.
type Outcomes = BTreeMap<String, (String, String)>;

/// What cannot be tried where a good certificate is not let in.
const INSIDE: &[&str] = &[
    "another's client id",
    "foreign topic",
    "another's user name",
    "the broker's own topics",
    "revoked",
    "resumed session",
    "WebSocket",
];
/// Without these, nobody can say that a listener holds.
const DECISIVE: &[&str] = &[
    "no certificate",
    "wrong CA",
    "expired",
    "revoked",
    "resumed session",
];

/// The outcomes, the exit code and the last words.
fn tried(fleet: &Fleet, row: &Row, port: u16) -> (Outcomes, Option<i32>, String) {
    let address = format!("{}:{port}", row.host);
    let patience = if row.brought { "60" } else { "1" };
    let output = fleet
        .muster
        .run(&["broker", "test", &address, "--wait", patience, "--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}: {}", row.what, String::from_utf8_lossy(&output.stderr)));
    let all = answer["trials"].as_array().unwrap().iter();
    let word = |one: &serde_json::Value, key: &str| one[key].as_str().unwrap().to_owned();
    let all = all.map(|one| (word(one, "as"), (word(one, "outcome"), word(one, "words"))));
    (all.collect(), output.status.code(), text(&output.stderr))
}

/// What cannot be tried, and what follows from what is wrong.
fn not_tried(row: &Row) -> Vec<&'static str> {
    let follows = |whom: &str| match whom {
        "a good certificate" => INSIDE,
        "foreign topic" => &["another's user name"],
        "revoked" => &["resumed session"],
        _ => &[],
    };
    let wrong = row.wrong.iter().flat_map(|(whom, _)| follows(whom));
    row.not_tried.iter().chain(wrong).copied().collect()
}

/// What the command should have said and did not, or said and should not have.
fn complaints(row: &Row, (outcomes, exit, last): &(Outcomes, Option<i32>, String)) -> Vec<String> {
    let mut all = Vec::new();
    let not_tried = not_tried(row);
    for (whom, (outcome, words)) in outcomes {
        let expected = row.wrong.iter().find(|(name, _)| name == whom);
        let wanted = match expected {
            Some(_) => "wrong",
            None if not_tried.contains(&whom.as_str()) => "not-tried",
            None => "held",
        };
        if outcome != wanted || expected.is_some_and(|(_, said)| !words.contains(said)) {
            all.push(format!("{whom}: {outcome}: {words}"));
        }
    }
    let expected = row.wrong.iter().map(|(whom, _)| whom).chain(&not_tried);
    let missing = expected.filter(|whom| !outcomes.contains_key(**whom));
    all.extend(missing.map(|whom| format!("{whom}: not said")));
    let open = not_tried.iter().any(|whom| DECISIVE.contains(whom));
    let (code, word) = match row.wrong {
        [] if open => (5, "could not be tried"),
        [] => (0, "The listener holds."),
        [_] => (5, "1 thing is wrong"),
        [..] => (5, "things are wrong"),
    };
    if *exit != Some(code) || !last.contains(word) {
        all.push(format!("exit {exit:?}: {last}"));
    }
    all
}

/// Tries all of them, and brings every new list to those that get them.
fn try_all(stage: &Stage, listeners: &[Listener]) -> BTreeMap<&'static str, Outcomes> {
    let (next, said) = (Mutex::new(listeners.iter()), Mutex::new(BTreeMap::new()));
    let wrong = Mutex::new(Vec::new());
    let working = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut before = String::new();
            while working.load(Ordering::Relaxed) {
                let lists = stage.lists();
                if lists != before {
                    listeners
                        .iter()
                        .filter(|one| one.row.brought)
                        .for_each(|one| one.bring(&lists));
                    before = lists;
                }
                pause();
            }
        });
        let workers: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let Some(listener) = next.lock().unwrap().next() else {
                            return;
                        };
                        let result = tried(&stage.fleet, listener.row, listener.port);
                        let complaints = complaints(listener.row, &result);
                        if !complaints.is_empty() {
                            let what = listener.row.what;
                            wrong
                                .lock()
                                .unwrap()
                                .push(format!("{what}: {complaints:#?}\n{}", listener.log()));
                        }
                        said.lock().unwrap().insert(listener.row.what, result.0);
                    }
                })
            })
            .collect();
        let ended: Vec<_> = workers
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        working.store(false, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok), "a trial ended before its time");
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    said.into_inner().unwrap()
}

#[test]
fn every_fault_of_a_listener_is_named_and_nothing_of_a_good_one() {
    let Some(stage) = Stage::new() else { return };
    let listeners: Vec<Listener> = GOOD.iter().chain(ROWS).map(|row| stage.start(row)).collect();
    let faults = ROWS.len();
    assert!(faults >= 20, "{faults} faults");
    let said = try_all(&stage, &listeners);
    let good = &said[GOOD[0].what];
    assert!(good["WebSocket"].1.contains("speaks none"), "{good:?}");
    assert!(good["trusted CAs"].1.contains("does not say"), "{good:?}");
    assert_eq!(good.len(), 18, "{good:?}");
    // What was used proves nobody afterwards, and is in the audit log.
    let muster = &stage.fleet.muster;
    let log = muster.ok(&["audit", "list", "--action", "canary.revoked"]);
    assert!(log.contains("muster-canary.revoked"), "{log}");
    assert!(!muster.ok(&["cert", "list"]).contains("muster-canary"));
    assert!(!muster.ok(&["device", "list"]).contains("muster-canary"));
}

#[test]
fn every_fault_of_rabbitmq_is_named() {
    let Some(stage) = Stage::new().filter(|_| crate::listeners::has_rabbitmq()) else {
        return;
    };
    let listeners: Vec<Listener> = RABBITMQ.iter().map(|row| stage.start(row)).collect();
    try_all(&stage, &listeners);
}

#[test]
fn nobody_there_is_no_fault() {
    let Some(fleet) = Fleet::start() else { return };
    let address = format!("localhost:{}", free_port());
    let said = fleet.muster.exits(1, &["broker", "test", &address]);
    assert!(said.contains("nobody answers"), "{said}");
    assert!(fs::read_dir(fleet.muster.path()).is_ok());
}

/// The agent sees to it that client ids are the certificates' names, and brings lists.
#[test]
fn nothing_is_said_of_rabbitmq_with_an_agent() {
    let Some(fleet) = Fleet::start().filter(|_| crate::listeners::has_rabbitmq()) else {
        return;
    };
    let url = fleet.muster.url();
    let sans = [
        "--san",
        "localhost,127.0.0.1",
        "--program",
        "rabbitmq",
        "--ca-url",
        &url,
    ];
    fleet.muster.ok(&[&["broker", "add", BROKER][..], &sans].concat());
    let (etc, port) = (fleet.path("rabbit"), free_port());
    let [listener, control, answer] =
        [port, free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    fs::create_dir_all(&etc).unwrap();
    let agent = || {
        let mut command = Command::new(MUSTER);
        command.args([
            "broker",
            "run",
            BROKER,
            "--listener",
            &listener,
            "--control",
            &control,
            "--answer",
            &answer,
        ]);
        command
            .arg("--state")
            .arg(fleet.path("agent"))
            .arg("--dir")
            .arg(etc.join("muster"));
        command
    };
    let printed = agent()
        .args(["--print-config", "--program", "rabbitmq"])
        .output()
        .unwrap();
    let conf = String::from_utf8(printed.stdout).unwrap();
    let (conf, advanced) = conf.split_once("#---- ").unwrap();
    fs::write(etc.join("rabbitmq.conf"), format!("listeners.tcp = none\n{conf}")).unwrap();
    fs::write(etc.join("advanced.config"), advanced.split_once('\n').unwrap().1).unwrap();
    let plugins = "[rabbitmq_mqtt,rabbitmq_management,rabbitmq_auth_backend_http].";
    fs::write(etc.join("plugins"), plugins).unwrap();
    let join = fleet.path(&format!("{BROKER}.join"));
    let _agent = spawn(agent().arg("--join").arg(join), &fleet.path("agent.log"));
    wait_for("the agent's files", || etc.join("muster/server.pem").exists());
    let _rabbit = Rabbit::start(&etc, port);
    wait_for("a proof", || {
        let output = fleet.muster.run(&["broker", "list", "--json"]);
        let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        all["items"][0]["state"] == "proven"
    });
    let complaints = complaints(&RABBIT_WITH_AGENT, &tried(&fleet, &RABBIT_WITH_AGENT, port));
    assert!(complaints.is_empty(), "{complaints:#?}");
}
