//! What an agent may do, and what it says: how each broker stands.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use muster_pki::csr::Csr;
use serde::Serialize;

use super::{AGENT, Broker, Enforced, Failed};
use crate::Ca;
use crate::device::DeviceName;
use crate::enrol::who::{Caller, Proof, Purpose, Who};
use crate::enrol::{Issued, may};
use crate::error::{Error, Refusal};
use crate::list::{BrokerList, Page};
use crate::operator::Permission;
use crate::ports::{Change, Crl, StoreError, Write};

/// Who was not heard for so long is silent. Agents speak every two seconds.
const SILENCE: SignedDuration = SignedDuration::from_millis(4500);
/// The most alarms and denials that a report brings, and the longest text of one.
const MOST: usize = 100;
const LONGEST: usize = 500;
/// For how long it is known what a broker refused.
const KNOWN: SignedDuration = SignedDuration::from_hours(24);
/// How often a report is recorded anew because the broker was changed meanwhile.
const ATTEMPTS: usize = 8;

/// What an agent says.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What came of an epoch that was just tried.
    pub outcome: Option<Outcome>,
    /// When the first CRL that the broker holds runs out.
    pub crl_next_update: Option<Timestamp>,
    /// When the broker's certificate ends.
    pub certificate_not_after: Option<Timestamp>,
    /// How many sessions the broker has.
    pub sessions: Option<u64>,
    /// What is wrong now.
    pub alarms: Vec<String>,
    /// What the broker refused since the last report: device, topic, how often.
    pub denials: Vec<(String, String, u64)>,
    /// The agent's version.
    pub version: String,
}

/// What came of an epoch.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Its number.
    #[serde(rename = "epoch")]
    pub number: u64,
    /// Its sequence.
    pub sequence: u64,
    /// Whether the broker was proved to enforce it.
    #[serde(skip)]
    pub proven: bool,
    /// If not, why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// How long each step took, in microseconds.
    pub steps: Vec<(String, u64)>,
}

/// What a broker refused a device.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Denied {
    /// The device.
    pub device: String,
    /// The topic.
    pub topic: String,
    /// How often.
    pub times: u64,
    /// When its agent last told of it.
    pub last: Timestamp,
}

/// What was heard of an agent. In memory: after a restart all of them speak again within seconds.
#[derive(Clone)]
struct Said {
    at: Timestamp,
    report: Report,
    /// The newest first.
    denied: Vec<Denied>,
}

/// What was heard of every agent.
#[derive(Default)]
pub(crate) struct Reports(Mutex<HashMap<DeviceName, Said>>);

impl Reports {
    /// What was refused before stays known for a day: each report tells what is new only.
    fn keep(&self, name: &DeviceName, at: Timestamp, mut report: Report) {
        let mut all = self.lock();
        let said = std::mem::take(&mut report.denials).into_iter();
        let mut denied: Vec<_> = said
            .map(|(device, topic, times)| Denied {
                device,
                topic,
                times,
                last: at,
            })
            .collect();
        for before in all.remove(name).into_iter().flat_map(|said| said.denied) {
            let same = |one: &&mut Denied| one.device == before.device && one.topic == before.topic;
            match denied.iter_mut().find(same) {
                Some(again) => again.times = again.times.saturating_add(before.times),
                None => denied.push(before),
            }
        }
        denied.truncate(MOST);
        all.insert(name.clone(), Said { at, report, denied });
    }

    fn of(&self, name: &DeviceName, now: Timestamp) -> Option<Said> {
        let mut all = self.lock();
        let said = all.get_mut(name)?;
        said.denied.retain(|one| one.last > now - KNOWN);
        Some(said.clone())
    }

    /// Forgets what was refused a device: its rules are others now.
    pub(crate) fn forgive(&self, device: &DeviceName) {
        for said in self.lock().values_mut() {
            said.denied.retain(|one| one.device != device.as_str());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceName, Said>> {
        // Nothing that could fail half-way is done under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a broker stands.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The broker.
    pub broker: Broker,
    /// In a word and more.
    pub state: StandingState,
    /// When its agent was last heard, since this process began.
    pub heard: Option<Timestamp>,
    /// What it said then, but for [`Report::denials`].
    pub report: Option<Report>,
    /// What the broker refused in the last day, the newest first.
    pub denied: Vec<Denied>,
}

impl Standing {
    /// When the first CRL that the broker holds runs out, as far as anybody knows: from then on it refuses every device.
    pub fn crl_until(&self) -> Option<Timestamp> {
        let reported = self.report.as_ref().and_then(|report| report.crl_next_update);
        reported.or(self.broker.enforced.and_then(|enforced| enforced.crl_until))
    }

    /// What is wrong there, as its agent says, without the broker's name in front; if it says nothing, why the last epoch is
    /// not enforced.
    pub fn wrong(&self) -> Vec<String> {
        let name = format!("{}: ", self.broker.name);
        let alarms = self.report.iter().flat_map(|report| &report.alarms);
        let alarms: Vec<_> = alarms
            .map(|alarm| alarm.strip_prefix(&name).unwrap_or(alarm).to_owned())
            .collect();
        if alarms.is_empty() {
            return self
                .broker
                .failed
                .iter()
                .map(|failed| failed.why.clone())
                .collect();
        }
        alarms
    }
}

/// Whether a broker enforces what it has to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandingState {
    /// It was proved to enforce everything that was recorded until now.
    Proven,
    /// Something is not proved yet.
    Unconfirmed,
    /// Its agent does not speak, so that nobody knows.
    Silent,
    /// Its agent has never joined.
    Waiting,
    /// It is out of service.
    Retired,
}

impl StandingState {
    /// Each with its word.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Proven, "proven"),
        (Self::Unconfirmed, "unconfirmed"),
        (Self::Silent, "silent"),
        (Self::Waiting, "waiting"),
        (Self::Retired, "retired"),
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        let found = Self::ALL.iter().find(|(state, _)| *state == self);
        found.map_or("unconfirmed", |(_, word)| word)
    }
}

impl Ca {
    /// Judges an agent: it shows its own certificate, and its broker is in service.
    pub(crate) async fn agent(&self, proof: Proof) -> Result<(Caller, Broker), Error> {
        let caller = self.identify(proof, Purpose::Renew).await?;
        let stranger = || Error::Refused(Refusal::new("only the agent of a broker may do this"));
        let Who::Device(holder) = caller.who() else {
            return Err(stranger());
        };
        let name = holder
            .device
            .name
            .as_str()
            .strip_prefix(AGENT)
            .ok_or_else(stranger)?;
        let broker = self
            .serving_broker(&DeviceName::restored(name.to_owned()))
            .await?;
        Ok((caller, broker))
    }

    /// The broker's own certificate, for a key that its agent made.
    pub async fn broker_certificate(&self, proof: Proof, csr: &[u8]) -> Result<Issued, Error> {
        let (caller, broker) = self.agent(proof).await?;
        let csr = Csr::from_der(csr)?;
        let now = self.clock.now();
        let device = self.known_device(&broker.name).await?;
        let profile = self.settings.profiles.get(&device.profile)?;
        let living = self.store.living(&broker.name, now, may::MOST_LIVING).await?;
        may::accept_another(&broker.name, living)?;
        let grant = may::broker(profile, &device, broker.sans.clone(), csr.public_key(), now)?;
        self.record(&caller, grant, "certificate.issued", Vec::new(), now)
            .await
    }

    /// The newest CRL of a CA that the agent's broker trusts, by the name that its epoch has for it.
    pub async fn crl_for_agent(&self, proof: Proof, file: &str) -> Result<Arc<Crl>, Error> {
        let (_, broker) = self.agent(proof).await?;
        let mut lists = self.crls().into_iter();
        let found = lists.find(|crl| {
            broker.trusts(&crl.authority) && crate::state::file_stem(&crl.authority, crl.generation) == file
        });
        found.ok_or_else(|| Error::Missing(format!("there is no CRL {file:?}")))
    }

    /// Hears an agent. Returns the sequence of the newest epoch there is for it.
    ///
    /// What came of an epoch is recorded; the rest is kept in memory until the next report.
    pub async fn hear(&self, proof: Proof, mut report: Report) -> Result<u64, Error> {
        let (caller, broker) = self.agent(proof).await?;
        let now = self.clock.now();
        bound(&mut report);
        if let Some(outcome) = &report.outcome {
            let crl_until = report.crl_next_update;
            self.record_outcome(&caller, &broker.name, outcome, crl_until, now)
                .await?;
        }
        self.reports.keep(&broker.name, now, report);
        let reach = self.follow().await?;
        let covers = self.covered();
        self.news.notify(usize::MAX);
        Ok(reach.newest(covers))
    }

    async fn record_outcome(
        &self,
        caller: &Caller,
        name: &DeviceName,
        outcome: &Outcome,
        crl_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), Error> {
        for _ in 0..ATTEMPTS {
            let broker = self.serving_broker(name).await?;
            let micros = outcome.steps.iter().map(|(_, micros)| micros).sum();
            let next = if outcome.proven {
                Broker {
                    enforced: Some(Enforced {
                        number: outcome.number,
                        sequence: outcome.sequence,
                        at: now,
                        micros,
                        crl_until,
                    }),
                    failed: None,
                    ..broker.clone()
                }
            } else {
                Broker {
                    failed: Some(Failed {
                        number: outcome.number,
                        at: now,
                        why: outcome.why.clone(),
                    }),
                    ..broker.clone()
                }
            };
            let next = Broker {
                version: broker.version + 1,
                ..next
            };
            let writes = vec![Write::Broker {
                broker: next,
                expected: Some(broker.version),
            }];
            let action = if outcome.proven {
                "broker.proven"
            } else {
                "broker.failed"
            };
            let detail = serde_json::to_string(outcome).map_err(|why| Error::Internal(why.to_string()))?;
            let act = caller.act(now, action, name.to_string(), detail);
            match self.store.commit(Change { writes, act }).await {
                Ok(()) => return Ok(()),
                Err(StoreError::Changed(_)) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(Error::Conflict(format!("{name} changes all the time; ask again")))
    }

    /// A page of brokers, and how each stands.
    pub async fn brokers(&self, proof: Proof, list: BrokerList) -> Result<Page<Standing>, Error> {
        list.page(self.broker_standings(proof).await?)
    }

    /// How every broker stands, by name.
    pub async fn broker_standings(&self, proof: Proof) -> Result<Vec<Standing>, Error> {
        self.operator(proof, Permission::Read).await?;
        self.all_standings(self.clock.now()).await
    }

    /// How one broker stands.
    pub async fn broker_standing(&self, proof: Proof, name: &DeviceName) -> Result<Standing, Error> {
        let all = self.broker_standings(proof).await?;
        let found = all.into_iter().find(|standing| standing.broker.name == *name);
        found.ok_or_else(|| Error::Missing(format!("there is no broker {name}")))
    }

    pub(crate) async fn all_standings(&self, now: Timestamp) -> Result<Vec<Standing>, Error> {
        let relevant = self.follow().await?.relevant;
        let brokers = self.store.brokers().await?;
        Ok(brokers
            .into_iter()
            .map(|broker| self.stands(broker, relevant, now))
            .collect())
    }

    /// Which brokers in service enforce the last change of a device, and which are not proved to.
    pub async fn proof_of(&self, proof: Proof, name: &DeviceName) -> Result<Vec<Standing>, Error> {
        self.operator(proof, Permission::Read).await?;
        self.known_device(name).await?;
        self.follow().await?;
        let wanted = self.feed.last_change(name);
        let now = self.clock.now();
        let brokers = self.store.brokers().await?;
        let serving = brokers.into_iter().filter(|broker| broker.retired.is_none());
        Ok(serving.map(|broker| self.stands(broker, wanted, now)).collect())
    }

    fn stands(&self, broker: Broker, wanted: u64, now: Timestamp) -> Standing {
        let heard = self.reports.of(&broker.name, now);
        let proven = broker
            .enforced
            .is_some_and(|enforced| enforced.sequence >= wanted);
        let silent = heard
            .as_ref()
            .is_none_or(|said| now.duration_since(said.at) > SILENCE);
        let state = match (broker.retired, proven, silent) {
            (Some(_), ..) => StandingState::Retired,
            (None, ..) if broker.enforced.is_none() && heard.is_none() => StandingState::Waiting,
            (None, _, true) => StandingState::Silent,
            (None, true, false) => StandingState::Proven,
            (None, false, false) => StandingState::Unconfirmed,
        };
        Standing {
            broker,
            state,
            heard: heard.as_ref().map(|said| said.at),
            denied: heard.as_ref().map(|said| said.denied.clone()).unwrap_or_default(),
            report: heard.map(|said| said.report),
        }
    }

    /// The audit entry up to which the CRLs that brokers hold have every revocation.
    fn covered(&self) -> u64 {
        let lists = self.crls();
        let issuing = lists.iter().filter(|crl| {
            crl.authority != crate::authority::INTERNAL && crl.generation != crate::authority::ROOT
        });
        issuing.map(|crl| crl.covers).min().unwrap_or(0)
    }
}

/// An agent may be broken, or not ours any more.
fn bound(report: &mut Report) {
    let cut = |text: &mut String| {
        if text.len() > LONGEST {
            *text = text.chars().take(LONGEST).collect();
        }
    };
    report.alarms.truncate(MOST);
    report.alarms.iter_mut().for_each(cut);
    report.denials.truncate(MOST);
    for (device, topic, _) in &mut report.denials {
        cut(device);
        cut(topic);
    }
    cut(&mut report.version);
    if let Some(outcome) = &mut report.outcome {
        cut(&mut outcome.why);
        outcome.steps.truncate(MOST);
        outcome.steps.iter_mut().for_each(|(name, _)| cut(name));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn what_was_refused_is_known_for_a_day_or_until_the_rules_are_others() {
        let reports = Reports::default();
        let at = |hour: i64| Timestamp::from_second(hour * 3600).unwrap();
        let hub = DeviceName::restored("hub".into());
        let says = |hour, denials: &[(&str, &str)]| {
            let one = |(device, topic): &(&str, &str)| ((*device).to_owned(), (*topic).to_owned(), 2);
            let denials = denials.iter().map(one).collect();
            let report = Report {
                denials,
                ..Report::default()
            };
            reports.keep(&hub, at(hour), report);
        };
        let known = |hour| {
            let denied = reports.of(&hub, at(hour)).unwrap().denied.into_iter();
            let each = denied.map(|one| (one.topic, one.times, one.last));
            each.collect::<Vec<_>>()
        };
        says(0, &[("site-1", "a"), ("site-2", "b")]);
        says(1, &[("site-1", "a")]);
        says(2, &[]);
        assert_eq!(known(23), [("a".into(), 4, at(1)), ("b".into(), 2, at(0))]);
        assert_eq!(known(24), [("a".into(), 4, at(1))]);
        says(24, &[("site-2", "c")]);
        reports.forgive(&DeviceName::restored("site-1".into()));
        assert_eq!(known(24), [("c".into(), 2, at(24))]);
    }
}
