//! The agent beside a broker: from joining to a clean stop.
//!
//! Three tasks talk to the CA and to the broker, so that none waits for another: one follows the stream, one reports, and one
//! holds sessions. Everything else happens here, one thing after another.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use muster_api::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::beside::broker::{self, Place};
use crate::beside::enforce::{Enforcer, Parts, has_newer};
use crate::beside::epoch::{self, Refused};
use crate::beside::files::Files;
use crate::beside::identity::Identity;
use crate::beside::listener::Listener;
use crate::beside::local::LocalCa;
use crate::beside::probe::Unproven;
use crate::beside::report::Reporter;
use crate::beside::status::{self, Alarms, Topic};
use crate::beside::stream::{self, Heard, Position};
use crate::beside::tombstone::Keeper;
use crate::pair::Pair;
use crate::{Clock, Error};

/// How often it is looked at what is due.
const TICK: Duration = Duration::from_millis(250);
/// How often the broker is looked at, and its log.
const WATCH: Duration = Duration::from_secs(5);
const LOG: Duration = Duration::from_secs(2);
/// How often what has to be renewed is asked for, and lists that are late.
const RENEW: Duration = Duration::from_secs(30);
/// How often it is looked at whether a canary or a list is due.
const DUE: Duration = Duration::from_secs(5);
/// How long the CA may take where this waits for it.
const ANSWER: Duration = Duration::from_secs(10);
/// How long after a failure an epoch is tried again: doubled each time.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(10);
/// Epochs that wait to be taken in.
const MOST: usize = 64;

/// What an agent is told when it is started.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The broker's name.
    pub broker: String,
    /// The agent's state directory.
    pub state: PathBuf,
    /// A file to join with.
    pub join: Option<PathBuf>,
    /// Where the broker is on this machine.
    pub place: Place,
    /// The group under which the broker reads its files.
    pub group: Option<String>,
}

/// Runs until `stop`.
pub async fn run(settings: Settings, clock: Clock, stop: impl Future<Output = ()>) -> Result<(), Error> {
    tokio::select! {
        ended = work(settings, clock) => ended,
        () = stop => Ok(()),
    }
}

async fn work(settings: Settings, clock: Clock) -> Result<(), Error> {
    let identity = Identity::open(
        &settings.state,
        &settings.broker,
        settings.join.as_deref(),
        clock.clone(),
    );
    let mut identity = identity.await?;
    let client = Arc::new(identity.client()?);
    let server = first_certificate(&mut identity, &client).await?;
    let listener = Listener::new(&settings.place.listener);
    let local = LocalCa::open(&identity.path("local-ca.pem"), &settings.broker, clock())?;
    let local = Arc::new(local);
    let parts = Parts {
        broker: broker::adapter(identity.program(), &settings.place, &clock)?,
        files: Files::open(&settings.place.dir(identity.program()), settings.group.as_deref())?,
        keeper: Keeper::start(listener.clone(), local.clone(), clock.clone()),
        listener,
        local,
        clock: clock.clone(),
    };
    parts.broker.start().await?;
    let enforcer = Enforcer::open(parts, &settings.state, server)?;
    let (clients, _) = watch::channel(client);
    let agent = Agent {
        name: settings.broker,
        identity,
        enforcer,
        clients,
        position: Position::default(),
        reporter: Reporter::default(),
        alarms: Alarms::default(),
        retry: Retry::default(),
        due: Due::now(),
        asked: None,
        behind: false,
        clock,
    };
    agent.go_on().await
}

/// The broker's certificate, if there is none yet. Without one there is nothing to write.
async fn first_certificate(identity: &mut Identity, client: &Client) -> Result<Arc<Pair>, Error> {
    if identity.server().is_none() {
        identity.renew_server(client).await?;
    }
    copy(identity.server())
}

fn copy(pair: Option<&Pair>) -> Result<Arc<Pair>, Error> {
    let pair = pair.ok_or_else(|| Error::new("the broker has no certificate"))?;
    Ok(Arc::new(Pair::from_pem(&pair.to_pem()?)?))
}

/// When what has to be tried again is due.
#[derive(Debug, Default)]
struct Retry {
    at: Option<Instant>,
    pause: Duration,
}

impl Retry {
    fn later(&mut self) {
        self.pause = (self.pause * 2).clamp(FIRST, LONGEST);
        self.at = Some(Instant::now() + self.pause);
    }

    fn is_due(&self) -> bool {
        self.at.is_some_and(|at| at <= Instant::now())
    }
}

/// When the next look at each thing is due.
#[derive(Debug)]
struct Due {
    watch: Instant,
    log: Instant,
    renew: Instant,
    canary: Instant,
    crl: Instant,
    lists: Instant,
}

impl Due {
    fn now() -> Self {
        let now = Instant::now();
        Self {
            watch: now + WATCH,
            log: now,
            renew: now,
            canary: now,
            crl: now + DUE,
            lists: now,
        }
    }
}

/// Whether it is time, and if so, when the next time is.
fn due(at: &mut Instant, every: Duration) -> bool {
    let now = Instant::now();
    let due = *at <= now;
    if due {
        *at = now + every;
    }
    due
}

struct Agent {
    name: String,
    identity: Identity,
    enforcer: Enforcer,
    clients: watch::Sender<Arc<Client>>,
    position: Position,
    reporter: Reporter,
    alarms: Alarms,
    retry: Retry,
    due: Due,
    /// Whether the CA has newer lists than those that are late, while that is asked.
    asked: Option<JoinHandle<bool>>,
    /// Whether the CA has had a newer epoch than the stream brought, when it was last asked.
    behind: bool,
    clock: Clock,
}

impl Agent {
    async fn go_on(mut self) -> Result<(), Error> {
        self.renew_canary().await;
        if self.enforcer.number() > 0 {
            // What was asked for before this process was there; its broker may have something else, or half of it.
            self.bring(false).await;
        }
        self.say();
        self.go_on_from_here();
        let (send_heard, mut heard) = mpsc::channel(MOST);
        let (send_newest, mut newest) = mpsc::channel(1);
        tokio::spawn(stream::follow(
            self.clients.subscribe(),
            self.position.clone(),
            send_heard,
        ));
        tokio::spawn(self.reporter.clone().go_on(self.clients.subscribe(), send_newest));
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(first) = heard.recv() => {
                    let mut all = vec![first];
                    while let Ok(more) = heard.try_recv() {
                        all.push(more);
                    }
                    self.hear(all).await;
                }
                Some(newest) = newest.recv() => self.answer(newest),
                _ = tick.tick() => self.look().await,
            }
            self.say();
        }
    }

    /// Takes in what came, all of it together.
    async fn hear(&mut self, all: Vec<Heard>) {
        let mut news = false;
        for heard in all {
            match heard {
                Heard::Epoch(text) => news |= self.take(&text).await,
                Heard::There => self.ca_is_there(),
                Heard::Away(why) => self.ca_is_away(&why),
            }
        }
        if news {
            self.bring(false).await;
        }
    }

    async fn take(&mut self, text: &str) -> bool {
        let taken = match epoch::open(text, &self.name, self.identity.root()) {
            Ok(epoch) => self.enforcer.take(epoch).await,
            Err(why) => Err(Refused::Bad(why.0)),
        };
        match taken {
            Ok(()) => {
                self.go_on_from_here();
                true
            }
            Err(Refused::Old(..)) => false,
            Err(Refused::Gap(_)) => {
                self.position.set(None, self.enforcer.number());
                self.position.again();
                false
            }
            Err(Refused::Bad(why)) => {
                self.alarm(Topic::Epoch, vec![format!("an epoch was refused: {why}")]);
                false
            }
        }
    }

    fn go_on_from_here(&self) {
        let (sequence, number) = (self.enforcer.sequence(), self.enforcer.number());
        self.position.set((number > 0).then_some(sequence), number);
    }

    /// What the CA says to a report: the net below the stream.
    fn answer(&mut self, newest: Result<u64, String>) {
        match newest {
            Ok(newest) => {
                self.ca_is_there();
                // Twice: the stream may be bringing it at this moment.
                let behind = newest > self.enforcer.sequence();
                if behind && self.behind {
                    self.position.again();
                }
                self.behind = behind;
            }
            Err(why) => self.ca_is_away(&why),
        }
    }

    /// Brings what is known into force, and reports what came of it.
    async fn bring(&mut self, anew: bool) {
        let client = self.clients.borrow().clone();
        let outcome = self.enforcer.bring(&client, anew).await;
        let broker = self.name.as_str();
        if outcome.proven {
            let steps = outcome.steps.iter();
            let times: Vec<String> = steps
                .map(|step| format!("{} {} µs", step.name, step.micros))
                .collect();
            tracing::info!(broker, epoch = outcome.number, "proved: {}", times.join(", "));
            self.retry = Retry::default();
            self.alarm(Topic::Epoch, Vec::new());
            self.alarm(Topic::Broker, Vec::new());
            if let Some(lists) = self.enforcer.lists()
                && self.identity.trust(&lists.anchors)
                && let Ok(client) = self.identity.client()
            {
                self.clients.send_replace(Arc::new(client));
            }
        } else {
            let words = format!("epoch {} is not in force: {}", outcome.number, outcome.why);
            self.alarm(Topic::Epoch, vec![words]);
            self.retry.later();
        }
        self.alarm(Topic::Access, self.enforcer.shortfalls().to_vec());
        self.say();
        self.reporter.outcome(outcome);
    }

    /// What is due without anybody's asking.
    async fn look(&mut self) {
        if let Err(why) = self.enforcer.end_once_more().await {
            tracing::warn!("sessions are not ended once more: {why}");
        }
        if self.retry.is_due() {
            self.retry.at = None;
            self.bring(false).await;
        }
        if due(&mut self.due.canary, DUE) {
            self.renew_canary().await;
        }
        if due(&mut self.due.renew, RENEW) {
            self.renew().await;
        }
        if due(&mut self.due.crl, DUE) {
            self.renew_lists().await;
        }
        if due(&mut self.due.watch, WATCH) {
            self.watch().await;
        }
        if due(&mut self.due.log, LOG) {
            self.read_log().await;
            let sessions = self.enforcer.broker().sessions().await;
            self.reporter.set(|report| report.sessions = sessions);
        }
    }

    /// Whether what was proved is still in force.
    async fn watch(&mut self) {
        if self.enforcer.enforced().0 == 0 {
            return;
        }
        let words = match self.enforcer.watch().await {
            Ok(()) => Vec::new(),
            Err(Unproven::Down(why)) => vec![format!("the broker does not answer: {why}")],
            Err(Unproven::Open(why)) => vec![format!("FAIL-OPEN: {why}")],
            Err(Unproven::Shut(why)) => vec![why],
        };
        let broken = !words.is_empty();
        self.alarm(Topic::Broker, words);
        if broken && self.retry.at.is_none() {
            self.say();
            self.bring(false).await;
        }
    }

    async fn renew_canary(&mut self) {
        if self.enforcer.has_good((self.clock)()) {
            return;
        }
        let client = self.clients.borrow().clone();
        match tokio::time::timeout(ANSWER, self.identity.canary(&client)).await {
            Ok(Ok(canary)) => self.enforcer.set_good(Some(canary)),
            Ok(Err(why)) => tracing::debug!("no canary: {why}"),
            Err(_) => tracing::debug!("no canary in time"),
        }
    }

    async fn renew(&mut self) {
        let now = (self.clock)();
        let client = self.clients.borrow().clone();
        match tokio::time::timeout(ANSWER, self.identity.renew(&client)).await {
            Ok(Ok(true)) => match self.identity.client() {
                Ok(client) => {
                    self.clients.send_replace(Arc::new(client));
                    self.position.again();
                }
                Err(why) => tracing::warn!("{why}"),
            },
            Ok(Ok(false)) | Err(_) => {}
            Ok(Err(why)) => tracing::warn!("the agent's certificate is not renewed: {why}"),
        }
        let renewed = tokio::time::timeout(ANSWER, self.identity.renew_server(&client)).await;
        match renewed {
            Ok(Ok(true)) => match copy(self.identity.server()) {
                Ok(server) => {
                    self.enforcer.set_server(server);
                    self.bring(false).await;
                }
                Err(why) => tracing::warn!("{why}"),
            },
            Ok(Ok(false)) | Err(_) => {}
            Ok(Err(why)) => tracing::warn!("the broker's certificate is not renewed: {why}"),
        }
        let words = [
            ("the agent's certificate", Some(self.identity.agent())),
            ("the broker's certificate", self.identity.server()),
        ];
        let words = words.into_iter().filter_map(|(what, pair)| {
            let leaf = pair?.leaf();
            status::certificate(what, leaf.not_before(), leaf.not_after(), now)
        });
        self.alarm(Topic::Certificate, words.collect());
    }

    /// Asks for others while lists are late, beside everything else: a long list may take a minute to come.
    async fn renew_lists(&mut self) {
        // A broker is not told to take up what it has.
        if let Some(asked) = self.asked.take_if(|asked| asked.is_finished())
            && asked.await.unwrap_or(false)
        {
            self.bring(true).await;
        }
        let now = (self.clock)();
        let late = self.enforcer.lists().map(|lists| lists.late(now));
        let late = late.unwrap_or_default();
        let waits = self.asked.is_some() || self.retry.at.is_some();
        if !late.is_empty() && !waits && due(&mut self.due.lists, RENEW) {
            // Another connection, so that nothing that is asked meanwhile waits for the list.
            let client = self.clients.borrow().another();
            let lists: Vec<_> = late.iter().map(|late| late.list.clone()).collect();
            self.asked = Some(tokio::spawn(async move { has_newer(&client, &lists).await }));
        }
        self.alarm(Topic::Crl, status::crl(&late, now));
    }

    async fn read_log(&mut self) {
        match self.enforcer.broker().denials().await {
            Ok(denials) => {
                self.reporter.denials(denials);
                self.alarm(Topic::Log, Vec::new());
            }
            Err(why) => self.alarm(Topic::Log, vec![why.0]),
        }
    }

    fn ca_is_there(&mut self) {
        self.alarm(Topic::Ca, Vec::new());
    }

    fn ca_is_away(&mut self, why: &str) {
        let end = self
            .enforcer
            .lists()
            .and_then(crate::beside::check::Lists::next_update);
        let until = end.map_or_else(String::new, |end| {
            format!("; the broker goes on as it is until {end}, when its first CRL runs out")
        });
        self.alarm(
            Topic::Ca,
            vec![format!("the CA cannot be reached ({why}){until}")],
        );
    }

    fn alarm(&mut self, topic: Topic, words: Vec<String>) {
        let now = (self.clock)();
        self.alarms.set(&self.name, topic, words, now);
    }

    /// What the next report says.
    fn say(&self) {
        let (enforced, sequence) = self.enforcer.enforced();
        let next_update = self
            .enforcer
            .lists()
            .and_then(crate::beside::check::Lists::next_update);
        let not_after = self.identity.server().map(|pair| pair.leaf().not_after());
        let alarms = self.alarms.all(&self.name);
        self.reporter.set(|report| {
            report.enforced = enforced;
            report.sequence = sequence;
            report.crl_next_update = next_update.map(|at| at.to_string());
            report.certificate_not_after = not_after.map(|at| at.to_string());
            report.alarms = alarms;
            report.version = env!("CARGO_PKG_VERSION").to_owned();
        });
    }
}
