//! Why a device does not connect: what is known of it, and what was seen of it at the diagnosis listener.
//!
//! The listener lets nobody in and tells nobody anything. What it sees is kept, bounded, in memory and in the store's drawer; it
//! counts as the device's only where a certificate of ours proved it.

mod attempt;
mod attempts;
mod judge;
mod stored;
mod verdict;

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use muster_pki::cert;

pub use self::attempt::{Attempt, Certainty, End, Knock, Paper, Shown};
use self::attempts::{Attempts, PLACES};
pub use self::verdict::{Cause, Facts, Verdict, diagnose};
use crate::Ca;
use crate::authority::{INTERNAL, ROOT, Stage};
use crate::certificate::Serial;
use crate::device::DeviceName;
use crate::enrol::who::Proof;
use crate::error::Error;
use crate::list::{AuditList, Paging};
use crate::operator::Permission;
use crate::ports::{Change, Kept};

/// For how many minutes the listener may be switched on.
pub const LONGEST_MINUTES: u16 = 60;
/// From how many of its last entries in the audit log it is read where a device comes from.
const ENTRIES: usize = 20;
/// What keys in the drawer begin with, and for how long it is known who came.
const SEEN: &str = "seen";
const LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What is kept of the listener.
#[derive(Default)]
pub(crate) struct Listener(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    until: Option<Timestamp>,
    attempts: Attempts,
    /// Rises with everything that is new.
    mark: u64,
}

/// Why one device does not connect, as far as is known.
#[derive(Debug, Clone)]
pub struct Diagnosis {
    /// What is the matter, and what to do.
    pub verdict: Verdict,
    /// What was seen of it at the listener, newest first.
    pub attempts: Vec<Attempt>,
    /// Until when the listener is on.
    pub listening: Option<Timestamp>,
}

impl Listener {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that could fail half-way is done under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ca {
    /// Records that the listener is switched on for so many minutes from now, and until when that is. Whoever holds the socket
    /// calls this once it is bound.
    pub async fn open_diagnosis(&self, proof: Proof, minutes: u16) -> Result<Timestamp, Error> {
        if !(1..=LONGEST_MINUTES).contains(&minutes) {
            return Err(Error::Bad(format!(
                "the diagnosis listener is switched on for 1 to {LONGEST_MINUTES} minutes"
            )));
        }
        let until = self.clock.now() + SignedDuration::from_mins(minutes.into());
        let detail = serde_json::json!({ "minutes": minutes }).to_string();
        self.switch_diagnosis(proof, "diagnosis.opened", detail, Some(until))
            .await?;
        Ok(until)
    }

    /// Records that the listener is switched off.
    pub async fn close_diagnosis(&self, proof: Proof) -> Result<(), Error> {
        self.switch_diagnosis(proof, "diagnosis.closed", String::new(), None)
            .await
    }

    async fn switch_diagnosis(
        &self,
        proof: Proof,
        action: &'static str,
        detail: String,
        until: Option<Timestamp>,
    ) -> Result<(), Error> {
        let caller = self.operator(proof, Permission::Operate).await?;
        let act = caller.act(self.clock.now(), action, "listener".to_owned(), detail);
        let writes = Vec::new();
        self.store.commit(Change { writes, act }).await?;
        if !caller.dry_run() {
            let mut inner = self.listener.lock();
            inner.until = until;
            inner.mark += 1;
        }
        Ok(())
    }

    /// Until when the listener is on, if it is.
    pub fn diagnosis_until(&self) -> Option<Timestamp> {
        let until = self.listener.lock().until;
        until.filter(|until| self.clock.now() < *until)
    }

    /// A number that is another once something was seen at the listener: for pages that keep themselves up to date.
    pub fn diagnosis_mark(&self) -> u64 {
        self.listener.lock().mark
    }

    /// Takes note of somebody who came to the listener. Answers nothing, so that nobody learns anything. Whoever holds the
    /// socket lets one after another, so that what is stored of one place is what is known of it last.
    pub async fn knocked(&self, knock: Knock) -> Result<(), Error> {
        let paper = self.read_paper(&knock);
        let mut attempt = Attempt::of(knock, paper, self.clock.now());
        // Names that nobody has would fill the memory of those that somebody has.
        if let Some(name) = attempt.name.take()
            && self.store.device(&name).await?.is_some()
        {
            attempt.name = Some(name);
        }
        let places = {
            let mut inner = self.listener.lock();
            inner.mark += 1;
            inner.attempts.forget(attempt.at - LIFE);
            inner.attempts.add(attempt)
        };
        for (place, attempts) in places {
            let now = self.clock.now();
            let value = serde_json::to_vec(&attempts).map_err(|why| Error::Internal(why.to_string()))?;
            let expires = if attempts.is_empty() { now } else { now + LIFE };
            let key = format!("{SEEN}/{place}");
            self.store.jot(Kept { key, value, expires }).await?;
        }
        Ok(())
    }

    /// Takes up what was kept before this process was there.
    pub(crate) async fn load_visitors(&self) -> Result<(), Error> {
        let now = self.clock.now();
        let kept = self.store.kept_below(SEEN, now, PLACES).await?;
        let read = kept
            .iter()
            .filter_map(|kept| serde_json::from_slice::<Vec<Attempt>>(&kept.value).ok());
        self.listener.lock().attempts = Attempts::restored(read.flatten().collect());
        Ok(())
    }

    fn read_paper(&self, knock: &Knock) -> Shown {
        let Some(der) = knock.chain.first() else {
            return Shown::Nothing;
        };
        let Ok(leaf) = cert::Certificate::from_der(der) else {
            return Shown::Unreadable;
        };
        let Some(serial) = Serial::from_bytes(leaf.serial()) else {
            return Shown::Unreadable;
        };
        let state = self.state.load();
        let authorities = state.authorities.iter().map(|one| &one.record);
        let fleet = authorities.filter(|authority| authority.name != INTERNAL);
        let issuers = fleet.flat_map(|authority| &authority.generations);
        let issuer = issuers.filter(|one| one.number != ROOT).find(|one| {
            one.parsed()
                .is_ok_and(|issuer| leaf.verify_issued_by(issuer.key()).is_ok())
        });
        Shown::Paper(Paper {
            name: leaf.common_name().unwrap_or_default(),
            serial,
            issuer: leaf.issuer_common_name().unwrap_or_default(),
            ours: issuer.is_some(),
            retired: issuer.is_some_and(|one| one.stage == Stage::Retired),
            not_before: leaf.not_before(),
            not_after: leaf.not_after(),
            for_clients: leaf.usages().client,
            alone: knock.chain.len() == 1,
            proved: knock.proved,
        })
    }

    /// Why a device does not connect.
    pub async fn diagnose(&self, proof: Proof, name: &DeviceName) -> Result<Diagnosis, Error> {
        self.operator(proof.clone(), Permission::Read).await?;
        let device = self.known_device(name).await?;
        let certificates = self.store.certificates_of(name, Timestamp::UNIX_EPOCH).await?;
        let brokers = self.proof_of(proof, name).await?;
        let addresses = self.addresses_of(name).await?;
        let now = self.clock.now();
        let attempts = self.visitors(now).attempts.of(name, &addresses);
        let facts = Facts {
            now,
            device: &device,
            certificates: &certificates,
            brokers: &brokers,
            attempts: &attempts,
            names: &self.settings.dns,
            retired: &self.retired_issuers(),
            settled: self.is_settled(),
        };
        Ok(Diagnosis {
            verdict: diagnose(&facts),
            attempts,
            listening: self.diagnosis_until(),
        })
    }

    /// Who came to the listener and is no device that is known, newest first.
    pub async fn strangers(&self, proof: Proof) -> Result<Vec<(Attempt, Option<Verdict>)>, Error> {
        self.operator(proof, Permission::Read).await?;
        let now = self.clock.now();
        let all = self.visitors(now).attempts.strangers();
        let judged = all.into_iter().map(|attempt| {
            let verdict = judge::stranger(&attempt, now, &self.settings.dns);
            (attempt, verdict)
        });
        Ok(judged.collect())
    }

    /// What is known of the listener's visitors, for as long as it may be.
    fn visitors(&self, now: Timestamp) -> MutexGuard<'_, Inner> {
        let mut inner = self.listener.lock();
        inner.attempts.forget(now - LIFE);
        inner
    }

    fn retired_issuers(&self) -> Vec<(String, u32)> {
        let state = self.state.load();
        let each = state.authorities.iter().flat_map(|authority| {
            let all = authority.record.generations.iter();
            all.map(|one| (authority.record.name.clone(), one))
        });
        each.filter(|(_, one)| one.stage == Stage::Retired)
            .map(|(authority, one)| (authority, one.number))
            .collect()
    }

    /// Where a device came from when it last enrolled or renewed.
    async fn addresses_of(&self, name: &DeviceName) -> Result<Vec<IpAddr>, Error> {
        let list = AuditList {
            subject: Some(name.to_string()),
            paging: Paging {
                cursor: None,
                limit: ENTRIES,
            },
            ..AuditList::default()
        };
        let entries = self.store.audit(list).await?.items;
        let own = [format!("device {name}"), "token ".to_owned()];
        let by_itself = entries
            .iter()
            .filter(|entry| own.iter().any(|actor| entry.actor.starts_with(actor)));
        Ok(by_itself.filter_map(|entry| address(&entry.source)).collect())
    }
}

/// A source is an address, with or without a port.
fn address(source: &str) -> Option<IpAddr> {
    let alone = source.parse::<IpAddr>().ok();
    let found = alone.or_else(|| source.parse::<std::net::SocketAddr>().ok().map(|both| both.ip()));
    found.map(|address| address.to_canonical())
}
