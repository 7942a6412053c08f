//! The agent that stays: it asks the CA when to renew, and renews then.
//!
//! When is the CA's decision alone, by its own clock: whoever's clock is wrong still renews in time, as long as TLS believes the
//! certificates. The device adds no dice of its own but to the pauses after a failure.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use muster_api::agent::Plan;
use tokio::time::Instant;

use super::files::{Home, Settings};
use super::renew::{client, renew_by};
use super::status::{Status, tell_systemd};
use super::time::Watch;
use crate::mqtt::Backoff;
use crate::{Clock, Error, ca};

/// The pauses after a failure.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// How often systemd hears that the agent lives; its watchdog may be set to twice that, or more.
const BEAT: Duration = Duration::from_secs(15);

/// Runs until `stop`.
pub async fn run(dir: &Path, clock: Clock, stop: impl Future<Output = ()>) -> Result<(), Error> {
    let home = Home::open(dir)?;
    let settings = home.enrolled()?;
    home.recover(&settings.name)?;
    let mut agent = Agent {
        status: Status {
            name: settings.name.clone(),
            ..Status::default()
        },
        watch: Watch::open(dir, clock)?,
        home,
        settings,
        backoff: Backoff::new(FIRST, LONGEST, None),
        due: None,
    };
    tell_systemd("READY=1");
    let ended = tokio::select! {
        never = agent.go_on() => never,
        () = stop => Ok(()),
    };
    tell_systemd("STOPPING=1");
    ended
}

struct Agent {
    home: Home,
    settings: Settings,
    watch: Watch,
    backoff: Backoff,
    /// When to renew, as the CA has said.
    due: Option<Instant>,
    status: Status,
}

impl Agent {
    async fn go_on(&mut self) -> Result<(), Error> {
        loop {
            let pause = match self.step().await {
                Ok(pause) => {
                    self.backoff.well();
                    self.say(None)?;
                    pause
                }
                Err(why) => {
                    tracing::warn!("{why}");
                    self.due = None;
                    self.say(Some(why.0))?;
                    let mut chance = [0; 2];
                    // Without randomness they come together, which is no harm.
                    let _ = aws_lc_rs::rand::fill(&mut chance);
                    self.backoff.next(u16::from_be_bytes(chance)).unwrap_or(LONGEST)
                }
            };
            let end = Instant::now() + pause;
            while Instant::now() < end {
                tell_systemd("WATCHDOG=1");
                tokio::time::sleep_until(end.min(Instant::now() + BEAT)).await;
            }
        }
    }

    /// Renews if it is time, and says when to look again.
    async fn step(&mut self) -> Result<Duration, Error> {
        let on_trial = self.home.is_on_trial(&self.settings.name)?;
        if self.watch.ahead().is_none() || self.status.problem.is_some() {
            let roots = ca::roots(&self.settings.root)?;
            self.watch.ask(&self.settings.url, &roots).await;
        }
        let clock = self.watch.clock();
        let ended = self.home.pair_in_use(&self.settings.name)?.leaf().not_after() < clock();
        if on_trial || ended || self.due.is_some_and(|due| due <= Instant::now()) {
            renew_by(&self.home, &self.settings, &clock).await?;
            // A new root may have come.
            self.settings = self.home.enrolled()?;
            self.status.renewals += 1;
            let until = self.not_after()?;
            tracing::info!("renewed; the certificate holds until {until}");
        }
        let plan: Plan = client(&self.home, &self.settings, &clock)?
            .get("/agent/plan")
            .await?;
        let time = |text: &str| {
            let read = text.parse::<Timestamp>();
            read.map_err(|_| Error::new("the CA has sent a plan that cannot be read"))
        };
        let (at, now) = (time(&plan.renew_at)?, time(&plan.now)?);
        self.watch.told(now);
        self.status.renew_at = Some(plan.renew_at);
        let left = Duration::try_from(at.duration_since(now)).unwrap_or_default();
        self.due = Some(Instant::now() + left);
        Ok(left.min(Duration::from_secs(plan.poll_seconds)))
    }

    fn say(&mut self, problem: Option<String>) -> Result<(), Error> {
        self.status.problem = problem;
        self.status.not_after = self.not_after()?;
        self.status.clock_ahead = self.watch.ahead().map(|ahead| ahead.as_secs());
        self.status.at = self.watch.clock()().to_string();
        // A full disk is no reason to stop.
        if let Err(why) = self.status.write(self.home.dir()) {
            tracing::warn!("{why}");
        }
        Ok(())
    }

    fn not_after(&self) -> Result<String, Error> {
        let pair = self.home.pair(&self.settings.name)?;
        Ok(pair
            .map(|pair| pair.leaf().not_after().to_string())
            .unwrap_or_default())
    }
}
