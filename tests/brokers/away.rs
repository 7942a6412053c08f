//! The CA is away for longer than the lists hold that it made. Time is moved, so everything that asks for it runs in here: the agent, and
//! the gate in front of a broker.

use std::fs;
use std::io::Write;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use jiff::{SignedDuration, Timestamp};
use muster_agent::Clock;
use muster_agent::beside::broker::Place;
use muster_agent::beside::{gate, run};
use tokio::sync::oneshot;

use crate::common::{free_port, wait_for};
use crate::fleet::{BROKER, Fleet, Mosquitto};
use crate::mqtt::Client;

const DAY: i64 = 24;
/// What is said in vain of a list that is late.
const NO_LIST: &str = "no other CRL";

/// What was said.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    /// Every line that has these words.
    fn lines(&self, words: &str) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned();
        let lines = text.lines().filter(|line| line.contains(words));
        lines.map(str::to_owned).collect()
    }

    fn times(&self, words: &str) -> usize {
        self.lines(words).len()
    }

    /// What the broker took up since newer lists were first asked for in vain, though nothing was wrong with what it had. A look at it
    /// that is under way when the clock jumps finds something wrong.
    fn needless(&self) -> Vec<String> {
        let about_lists = ["past half of its life", "the CA cannot be reached"];
        let (mut asked, mut wrong) = (false, false);
        let mut needless = Vec::new();
        for line in self.lines("") {
            if line.contains("ALARM") {
                wrong |= !about_lists.iter().any(|words| line.contains(words));
            } else if line.contains("proved: ") && !std::mem::take(&mut wrong) && asked {
                needless.push(line);
            } else {
                asked |= line.contains(NO_LIST);
            }
        }
        needless
    }
}

/// Shows what was said if the test fails.
struct Shown(Said);

impl Drop for Shown {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.0.lines("").join("\n"));
        }
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs the agent and the gate beside it until the other end is dropped.
fn beside(agent: run::Settings, gate: gate::Settings, clock: Clock, said: Said) -> oneshot::Sender<()> {
    let (stop, stopped) = oneshot::channel::<()>();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .with_writer(move || said.clone())
        .finish();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let all = async {
            let access = gate.dir.join("access.json");
            let gate = async {
                while !access.exists() {
                    tokio::task::yield_now().await;
                }
                gate::run(gate, clock.clone(), |_| {}, std::future::pending()).await
            };
            tokio::select! {
                ended = run::run(agent, clock.clone(), std::future::pending()) => panic!("the agent: {ended:?}"),
                ended = gate => panic!("the gate: {ended:?}"),
                _ = stopped => {}
            }
        };
        tracing::subscriber::with_default(subscriber, || runtime.block_on(all));
    });
    stop
}

#[allow(clippy::disallowed_methods, reason = "the CA reads the wall clock")]
fn now() -> Timestamp {
    Timestamp::now()
}

#[test]
fn while_the_ca_is_away_alarms_name_the_hour_and_after_it_nobody_comes_in() {
    let Some(mut fleet) = Fleet::start() else { return };
    let url = fleet.muster.url();
    let add = [
        "broker",
        "add",
        BROKER,
        "--san",
        "localhost",
        "--program",
        "gate",
        "--ca-url",
        &url,
    ];
    fleet.muster.ok(&add);
    fs::create_dir_all(fleet.path(BROKER)).unwrap();
    fs::copy(fleet.muster.root(), fleet.ca()).unwrap();
    let behind = Mosquitto::start_plain(&fleet.path("behind"), "");
    let port = free_port();
    let hours = Arc::new(AtomicI64::new(0));
    let clock: Clock = {
        let hours = hours.clone();
        Arc::new(move || now() + SignedDuration::from_hours(hours.load(Ordering::Relaxed)))
    };
    let agent = run::Settings {
        broker: BROKER.into(),
        state: fleet.path("agent"),
        join: Some(fleet.path(&format!("{BROKER}.join"))),
        place: Place {
            dir: Some(fleet.path("front")),
            listener: format!("127.0.0.1:{port}"),
            ..Place::default()
        },
        group: None,
    };
    let gate = gate::Settings {
        dir: fleet.path("front"),
        listen: ([127, 0, 0, 1], port).into(),
        to: format!("127.0.0.1:{}", behind.port),
        proxy_protocol: false,
        most: 100,
    };
    let said = Said::default();
    let _shown = Shown(said.clone());
    let _running = beside(agent, gate, clock, said.clone());
    wait_for("a proof", || {
        let output = fleet.muster.run(&["broker", "list", "--json"]);
        let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        all["items"][0]["state"] == "proven"
    });
    fleet.issue("site-1", &["--kind", "client", "--validity", "90d"]);
    fleet.issue("bad", &["--kind", "client", "--validity", "90d"]);
    fleet.muster.ok(&["device", "revoke", "bad", "--yes"]);
    let (good, bad) = (
        Client::of(&fleet, "site-1", port),
        Client::of(&fleet, "bad", port),
    );
    let list = fleet.muster.json(&["ca", "crl", "--generation", "1"]);
    // Nothing that the agent has heard of is still to be fetched.
    wait_for("the newest list to be in place", || {
        let there = fs::read_to_string(fleet.path("front/crls.pem")).unwrap();
        there.contains(list["pem"].as_str().unwrap())
    });
    let hour = list["next_update"].as_str().unwrap()[..13].to_owned();

    fleet.muster.kill();
    let late = "past half of its life";
    hours.store(14 * DAY, Ordering::Relaxed);
    wait_for("the CA to be missed", || {
        said.times("the CA cannot be reached") > 0
    });
    assert_eq!(said.times(late), 0, "not yet half");
    for day in 15..=19 {
        hours.store(day * DAY, Ordering::Relaxed);
        let times = usize::try_from(day - 14).unwrap();
        wait_for("an alarm, and each day another", || said.times(late) == times);
    }
    wait_for("newer lists to be asked for", || said.times(NO_LIST) > 0);
    let needless = said.needless();
    assert!(
        needless.is_empty(),
        "the broker was told to take up what it has: {needless:?}"
    );
    let alarms = said.lines("ALARM");
    assert!(
        alarms.iter().all(|line| line.contains(BROKER)),
        "which broker: {alarms:?}"
    );
    assert_eq!(
        said.times(&format!("at {hour}")),
        said.times(late),
        "the hour is named"
    );
    assert_eq!(
        (good.alert(), bad.alert().as_deref()),
        (None, Some("certificate revoked"))
    );

    hours.store(31 * DAY, Ordering::Relaxed);
    wait_for("the last alarm", || said.times("ran out at") > 0);
    assert!(
        good.alert().is_some() && bad.alert().is_some(),
        "closed, not open"
    );
}
