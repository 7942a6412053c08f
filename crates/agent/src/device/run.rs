//! The agent that stays: it asks the CA when to renew, and renews then.
//!
//! When is the CA's decision alone, by its own clock: whoever's clock is wrong still renews in time, as long as TLS believes the
//! certificates. The device adds no dice of its own but to the pauses after a failure.
//!
//! The directory is locked while something is done there, and free while the agent waits: an operator may renew by hand or enrol with
//! another code meanwhile, and the agent goes on with what it finds. Where no device has enrolled yet, it waits until one has: nobody may come
//! to start it again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use muster_api::agent::Plan;
use muster_pki::cert::Certificate;
use tokio::time::Instant;

use super::anchors;
use super::files::Home;
use super::renew::{client, renew_by, try_broker};
use super::settings::Settings;
use super::status::{Status, tell_systemd};
use super::time::Watch;
use crate::mqtt::Backoff;
use crate::{Clock, Error, Kind, ca};

/// The pauses after a failure.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// How often systemd hears that the agent lives; its watchdog may be set to twice that, or more.
const BEAT: Duration = Duration::from_secs(15);

/// For how long systemd hears so while the agent is busy: longer than a renewal may take, with a hook before and after and a CA that does
/// not answer.
const BUSY: Duration = Duration::from_secs(600);

/// How soon the agent looks again at what is wrong and does not keep it from renewing.
const CONCERN: Duration = Duration::from_secs(900);

/// Runs until `stop`.
pub async fn run(dir: &Path, clock: Clock, stop: impl Future<Output = ()>) -> Result<(), Error> {
    let dir = std::path::absolute(dir).map_err(|why| Error::new(why.to_string()))?;
    tokio::select! {
        () = work(dir, clock) => {}
        () = stop => {}
    }
    tell_systemd("STOPPING=1");
    Ok(())
}

async fn work(dir: PathBuf, clock: Clock) {
    // Whoever is started after this, such as the site's broker, finds a certificate and a key that belong together.
    if let Ok((home, settings)) = Home::open_enrolled(&dir)
        && let Err(why) = home.recover(&settings.name)
    {
        tracing::warn!("{why}");
    }
    tell_systemd("READY=1");
    drop(opened(&dir).await);
    let mut agent = Agent {
        watch: Watch::open(&dir, clock),
        dir,
        status: Status::default(),
        backoff: Backoff::new(FIRST, LONGEST, None),
        due: None,
        planned_for: None,
        failed: None,
        met: None,
    };
    agent.work().await;
}

/// The directory of a device that has enrolled, once nobody else is at work there. Why that is waited for is said once.
async fn opened(dir: &Path) -> (Home, Settings) {
    let mut said = None;
    loop {
        match Home::open_enrolled(dir) {
            Ok(opened) => return opened,
            Err(why) if said.as_ref() == Some(&why) => {}
            Err(why) => {
                tracing::warn!("waiting: {why}");
                said = Some(why);
            }
        }
        tell_systemd("WATCHDOG=1");
        tokio::time::sleep(BEAT).await;
    }
}

struct Agent {
    dir: PathBuf,
    watch: Watch,
    backoff: Backoff,
    /// When to renew, as the CA has said.
    due: Option<Instant>,
    /// The fingerprint of the certificate that the CA has said that of.
    planned_for: Option<[u8; 32]>,
    /// Why the last renewal has failed, if the CA was there. It is told until one succeeds: the next slot may be days away.
    failed: Option<Error>,
    /// The broker that has taken this device's certificate since the start.
    met: Option<String>,
    status: Status,
}

/// What a step has come to.
struct Done {
    /// When to look again.
    pause: Duration,
    /// What is wrong, though the device renews.
    concern: Option<Error>,
}

/// Does something that may take minutes, and lets systemd hear that this does not hang.
async fn busy<T>(work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    let end = Instant::now() + BUSY;
    loop {
        if Instant::now() < end {
            tell_systemd("WATCHDOG=1");
        }
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(BEAT) => {}
        }
    }
}

impl Agent {
    async fn work(&mut self) {
        loop {
            let (home, settings) = opened(&self.dir).await;
            let done = busy(self.step(&home, &settings)).await;
            // Who sees what is said finds the directory free.
            drop(home);
            let pause = match done {
                Ok(done) => {
                    self.backoff.well();
                    self.say(&settings, done.concern);
                    done.pause
                }
                Err(why) => {
                    self.due = None;
                    self.say(&settings, Some(why));
                    let mut chance = [0; 2];
                    // Without randomness they come together, which is no harm.
                    let _ = aws_lc_rs::rand::fill(&mut chance);
                    self.backoff.next(u16::from_be_bytes(chance)).unwrap_or(LONGEST)
                }
            };
            self.wait(pause).await;
        }
    }

    /// Until the pause is over, somebody else has given the device another certificate, or the clock was set.
    async fn wait(&self, pause: Duration) {
        let (end, before) = (Instant::now() + pause, self.in_use());
        let is_another = |leaf: Certificate| before.as_ref().is_none_or(|before| before.der() != leaf.der());
        while Instant::now() < end && !self.watch.was_set() && !self.in_use().is_some_and(is_another) {
            tell_systemd("WATCHDOG=1");
            tokio::time::sleep_until(end.min(Instant::now() + BEAT)).await;
        }
    }

    /// Renews if it is time, and says when to look again.
    async fn step(&mut self, home: &Home, settings: &Settings) -> Result<Done, Error> {
        home.recover(&settings.name)?;
        let clock = self.corrected_clock(settings).await?;
        // Without its anchors a device of another authority than the CA's own believes no renewal.
        let anchors = anchors::mend(home, settings, &clock).await;
        let pair = home.pair_in_use(&settings.name)?;
        if self.planned_for != Some(pair.leaf().fingerprint()) {
            self.due = None;
            self.failed = None;
        }
        let ended = pair.leaf().not_after() < clock();
        let is_due = self.due.is_some_and(|due| due <= Instant::now());
        if ended || is_due || home.is_on_trial(&settings.name)? {
            if let Err(why) = renew_by(home, settings, &clock).await {
                self.failed = Some(why.clone()).filter(|why| why.kind() != Kind::Unreachable);
                return Err(why);
            }
            self.failed = None;
            self.status.renewals += 1;
            tracing::info!("renewed; the broker and the CA have taken the new certificate");
        }
        let pause = self.plan(home, settings, &clock).await?;
        let broker = self.meet_broker(home, settings, &clock).await;
        let concern = self.failed.clone().or(anchors.and(broker).err());
        let longest = if concern.is_some() { CONCERN } else { pause };
        Ok(Done {
            pause: pause.min(longest),
            concern,
        })
    }

    /// The clock, as the CA has set it right; it is asked anew if something is wrong, or if somebody has set this machine's.
    async fn corrected_clock(&mut self, settings: &Settings) -> Result<Clock, Error> {
        if self.watch.was_set() {
            self.watch.forget();
        }
        if self.watch.ahead().is_none() || self.status.problem.is_some() {
            let roots = ca::roots(&settings.root)?;
            self.watch.ask(&settings.url, &roots).await;
        }
        Ok(self.watch.clock())
    }

    /// Asks the CA when to renew. Returns for how long nothing is to be done.
    async fn plan(&mut self, home: &Home, settings: &Settings, clock: &Clock) -> Result<Duration, Error> {
        let plan: Plan = client(home, settings, clock)?.get("/agent/plan").await?;
        let time = |text: &str| {
            let read = text.parse::<Timestamp>();
            read.map_err(|_| Error::new("the CA has sent a plan that cannot be read"))
        };
        let (at, now) = (time(&plan.renew_at)?, time(&plan.now)?);
        self.watch.told(now);
        self.status.renew_at = Some(at);
        let left = Duration::try_from(at.duration_since(now)).unwrap_or_default();
        self.due = Some(Instant::now() + left);
        let leaf = home.pair_in_use(&settings.name)?.leaf().clone();
        let certificate = Some(leaf.fingerprint());
        if self.planned_for != certificate {
            self.planned_for = certificate;
            tracing::info!(
                "{}: the certificate holds until {}, and is renewed on {at:.0}",
                settings.name,
                leaf.not_after()
            );
        }
        Ok(left.min(Duration::from_secs(plan.poll_seconds)))
    }

    /// Tries the broker until it has taken the certificate once: what is wrong with it shows now, and not when it is time to renew.
    async fn meet_broker(&mut self, home: &Home, settings: &Settings, clock: &Clock) -> Result<(), Error> {
        if self.met != settings.broker {
            try_broker(home, settings, clock).await?;
            self.met.clone_from(&settings.broker);
        }
        Ok(())
    }

    /// What is wrong is logged once, for as long as it is the same.
    fn say(&mut self, settings: &Settings, problem: Option<Error>) {
        let problem = problem.map(|why| why.0);
        if let Some(why) = problem.as_ref().filter(|_| problem != self.status.problem) {
            tracing::warn!("{why}");
        } else if problem.is_none() && self.status.problem.is_some() {
            tracing::info!("all is well again");
        }
        self.status.problem = problem;
        self.status.clock_ahead = self.watch.ahead().map(|ahead| ahead.as_secs());
        if let Ok(home) = Home::look(&self.dir) {
            self.status.said(&home, settings, self.watch.clock()());
        }
    }

    /// The certificate in use; what cannot be read is told by the next step.
    fn in_use(&self) -> Option<Certificate> {
        let home = Home::look(&self.dir).ok()?;
        let settings = home.settings_if_readable().ok()??;
        Some(home.pair(&settings.name).ok()??.leaf().clone())
    }
}
