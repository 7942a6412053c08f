//! Canaries: certificates that are there to be tried at a broker. A revoked one must be refused and a good one let in.
//!
//! They are on no list of certificates, so that nothing takes them for a device: here they prove nobody, and nowhere are they
//! counted. The audit log names each.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use muster_pki::cert::Certificate;
use muster_pki::crl::{Entry, Reason};
use muster_pki::csr::Csr;
use muster_pki::key::{KeyKind, PublicKey};
use zeroize::Zeroizing;

use super::{CANARY, GOOD_CANARY};
use crate::Ca;
use crate::authority::INTERNAL;
use crate::certificate::Serial;
use crate::device::DeviceName;
use crate::enrol::draft::BACKDATE;
use crate::enrol::who::Proof;
use crate::enrol::{Issued, may};
use crate::error::{Error, Refusal};
use crate::ports::Change;
use crate::profile::Profile;
use crate::state::{LoadedIssuer, file_stem};

/// How long a canary lives.
const LIFE: SignedDuration = SignedDuration::from_mins(15);
/// The most revoked canaries that a CRL lists; of a burst of lists the oldest canaries go first.
const MOST: usize = 256;

/// A canary that was revoked from the beginning, with its key: it opens nothing.
pub(crate) struct Canary {
    pub(crate) issuer: String,
    /// The number of the first CRL that lists it.
    pub(crate) crl: u64,
    pub(crate) serial: Serial,
    pub(crate) revoked_at: Timestamp,
    pub(crate) not_after: Timestamp,
    /// Its certificate and its issuer's, PEM.
    pub(crate) chain: String,
    /// PKCS#8, PEM.
    pub(crate) key: Zeroizing<String>,
}

/// The revoked canaries of each issuer that live, oldest first.
#[derive(Default)]
pub(crate) struct Canaries(Mutex<HashMap<String, Vec<Arc<Canary>>>>);

/// So many good canaries a broker gets in so long. Its agent asks for one in ten minutes, and anew whenever it is started.
const MOST_GOOD: (usize, SignedDuration) = (10, SignedDuration::from_mins(10));

/// When good canaries were asked for, by broker.
#[derive(Default)]
pub(crate) struct Asked(Mutex<HashMap<DeviceName, VecDeque<Timestamp>>>);

impl Asked {
    /// Counts one more, unless there were too many.
    fn accept(&self, broker: &DeviceName, now: Timestamp) -> Result<(), Refusal> {
        let mut all = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let times = all.entry(broker.clone()).or_default();
        let (most, span) = MOST_GOOD;
        times.retain(|at| now.duration_since(*at).abs() < span);
        if times.len() >= most {
            return Err(Refusal::new(format!(
                "the agent of {broker} asked for {most} canaries in {} minutes",
                span.as_mins()
            ))
            .fix("wait a few minutes; an agent that is started over and over says why in its log"));
        }
        times.push_back(now);
        Ok(())
    }
}

impl Canaries {
    /// Those that this issuer's next CRL has to list.
    pub(crate) fn living(&self, issuer: &str, now: Timestamp) -> Vec<Arc<Canary>> {
        let mut all = self.lock();
        let Some(known) = all.get_mut(issuer) else {
            return Vec::new();
        };
        known.retain(|canary| canary.not_after > now);
        let excess = known.len().saturating_sub(MOST);
        known.drain(..excess);
        known.clone()
    }

    /// The newest that the CRL with this number lists: the CRL is the first to list it, so that it proves this very one.
    pub(crate) fn listed(&self, issuer: &str, crl: u64, now: Timestamp) -> Option<Arc<Canary>> {
        let all = self.lock();
        let mut listed = all.get(issuer)?.iter().rev().filter(|canary| canary.crl <= crl);
        listed.next().filter(|canary| canary.not_after > now).cloned()
    }

    /// The newest that live of issuers but these: those were trusted until a short while ago.
    pub(crate) fn of_others(&self, issuers: &[&str], now: Timestamp) -> Vec<Arc<Canary>> {
        let all = self.lock();
        let others = all
            .iter()
            .filter(|(issuer, _)| !issuers.contains(&issuer.as_str()));
        let newest = others.filter_map(|(_, known)| known.last());
        newest.filter(|canary| canary.not_after > now).cloned().collect()
    }

    /// Adds one whose CRL is published.
    pub(crate) fn add(&self, canary: Arc<Canary>) {
        self.lock().entry(canary.issuer.clone()).or_default().push(canary);
    }

    /// Adds one that the next list has to have and no epoch asks for.
    pub(crate) fn add_first(&self, canary: Arc<Canary>) {
        self.lock()
            .entry(canary.issuer.clone())
            .or_default()
            .insert(0, canary);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<Arc<Canary>>>> {
        // Nothing that could fail is done under this lock.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Canary {
    /// Its entry in the CRL.
    pub(crate) fn entry(&self) -> Entry {
        Entry {
            serial: self.serial.as_bytes().to_vec(),
            revoked_at: self.revoked_at,
            reason: Reason::CessationOfOperation,
        }
    }
}

impl Ca {
    /// A canary for the CRL that is being made, if there is a broker to try it.
    pub(crate) async fn revoked_canary(
        &self,
        issuer: &LoadedIssuer,
        crl: u64,
        now: Timestamp,
    ) -> Result<Option<Arc<Canary>>, Error> {
        if !self.needs_canary(issuer).await? {
            return Ok(None);
        }
        let key = self.entropy.private_key(KeyKind::P256)?;
        let name = DeviceName::own(&format!("{CANARY}revoked"));
        let issued = self.sign_canary(issuer, name, key.public(), now).await?;
        let certificate = issued.certificate();
        let leaf = Certificate::from_der(&certificate.der)?;
        Ok(Some(Arc::new(Canary {
            issuer: file_stem(&issuer.authority, issuer.generation.number),
            crl,
            serial: certificate.serial.clone(),
            revoked_at: now,
            not_after: certificate.not_after,
            chain: leaf.to_pem()? + &issuer.certificate.to_pem()?,
            key: key.to_pem()?,
        })))
    }

    /// A good canary for the agent of a broker, for the key that it made.
    pub async fn canary(&self, proof: Proof, csr: &[u8]) -> Result<Issued, Error> {
        let (caller, broker) = self.agent(proof).await?;
        let csr = Csr::from_der(csr)?;
        let now = self.clock.now();
        self.asked.accept(&broker.name, now)?;
        let name = DeviceName::own(GOOD_CANARY);
        let issuer = {
            let state = self.state.load();
            state.authority(crate::authority::DEFAULT)?.active()?.clone()
        };
        let issued = self
            .sign_canary(&issuer, name.clone(), csr.public_key(), now)
            .await?;
        let subject = crate::enrol::audit_subject(&name, &issued.certificate().serial);
        let act = caller.act(now, "canary.issued", subject, String::new());
        let writes = Vec::new();
        self.store.commit(Change { writes, act }).await?;
        Ok(issued)
    }

    async fn sign_canary(
        &self,
        issuer: &LoadedIssuer,
        name: DeviceName,
        key: &PublicKey,
        now: Timestamp,
    ) -> Result<Issued, Error> {
        let profile = Arc::new(Profile::agent().issued_by(&issuer.authority));
        profile.accept_key(key)?;
        // An hour of backdating, since broker and CA may not agree on the time.
        let grant = may::canary(&profile, name, key, (now - BACKDATE, now + LIFE), now);
        let roots = {
            let state = self.state.load();
            state.authority(&issuer.authority)?.roots(now)
        };
        self.sign_unlisted(grant, issuer, roots, now).await
    }

    /// Whether there is a broker that checks this issuer's CRL.
    pub(crate) async fn needs_canary(&self, issuer: &LoadedIssuer) -> Result<bool, Error> {
        if issuer.authority == INTERNAL {
            return Ok(false);
        }
        let all = self.store.brokers().await?;
        Ok(all.iter().any(|broker| broker.retired.is_none()))
    }
}
