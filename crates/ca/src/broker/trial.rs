//! Certificates with which an operator tries a broker: one that must be let in, and others that must not.
//!
//! The CA that devices trust signs them, else nothing would be tried. So they carry reserved names and no other, live for
//! minutes, prove nobody here, and stand in the audit log. Unlike canaries they may use their own topics, as devices may:
//! else nobody could see whether one reads another's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use muster_pki::csr::Csr;
use zeroize::Zeroizing;

use super::CANARY;
use super::canary::Canary;
use crate::Ca;
use crate::authority::DEFAULT;
use crate::certificate::Serial;
use crate::device::DeviceName;
use crate::enrol::who::Proof;
use crate::enrol::{Issued, may};
use crate::error::{Error, Refusal};
use crate::ports::{Change, Signer};
use crate::profile::Profile;
use crate::state::file_stem;

/// How long those live that are valid, and how far off those are that are not.
const LIFE: SignedDuration = SignedDuration::from_mins(10);
const AWAY: SignedDuration = SignedDuration::from_mins(10);
const FAR: SignedDuration = SignedDuration::from_hours(24);
/// The most that may be revoked at a time.
const MOST: usize = 64;

/// What a certificate is there to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// It is let in.
    Good,
    /// It is let in under a name of its own.
    Other,
    /// It has ended.
    Expired,
    /// It has not begun.
    Early,
    /// It is a server's.
    Server,
    /// It is let in until [`Ca::revoke_trial`].
    Revocable,
}

impl Trial {
    /// Each with its word.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Good, "good"),
        (Self::Other, "other"),
        (Self::Expired, "expired"),
        (Self::Early, "early"),
        (Self::Server, "server"),
        (Self::Revocable, "revocable"),
    ];

    /// The second begins with the first: access rules that compare beginnings are found out.
    fn name(self) -> DeviceName {
        match self {
            Self::Other => DeviceName::own(&format!("{CANARY}trial-11")),
            Self::Revocable => DeviceName::own(&format!("{CANARY}revoked")),
            Self::Good | Self::Expired | Self::Early | Self::Server => {
                DeviceName::own(&format!("{CANARY}trial-1"))
            }
        }
    }

    fn times(self, now: Timestamp) -> (Timestamp, Timestamp) {
        match self {
            // The issuing CA may be an hour old and no older.
            Self::Expired => (now - AWAY * 5, now - AWAY),
            Self::Early => (now + FAR, now + FAR + LIFE),
            Self::Good | Self::Other | Self::Server | Self::Revocable => (now - AWAY, now + LIFE),
        }
    }
}

/// The ones that can be revoked: by serial number, with their issuer and their end.
#[derive(Default)]
pub(crate) struct Trials(Mutex<HashMap<Serial, (String, Timestamp)>>);

impl Trials {
    fn add(&self, serial: Serial, issuer: String, end: Timestamp, now: Timestamp) -> Result<(), Refusal> {
        let mut all = self.lock();
        all.retain(|_, (_, end)| *end > now);
        if all.len() >= MOST {
            return Err(
                Refusal::new(format!("{MOST} brokers are being tried already")).fix("wait a few minutes")
            );
        }
        all.insert(serial, (issuer, end));
        Ok(())
    }

    fn has(&self, serial: &Serial) -> bool {
        self.lock().contains_key(serial)
    }

    /// For whoever asks first.
    fn take(&self, serial: &Serial) -> Option<(String, Timestamp)> {
        self.lock().remove(serial)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Serial, (String, Timestamp)>> {
        // Nothing that could fail half-way is done under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ca {
    /// One certificate of every kind for the key of a request; its names do not matter.
    pub async fn trial(&self, proof: Proof, csr: &[u8]) -> Result<Vec<(Trial, Issued)>, Error> {
        let caller = self.administrator(proof).await?;
        let csr = Csr::from_der(csr)?;
        let now = self.clock.now();
        let (issuer, roots) = {
            let state = self.state.load();
            let authority = state.authority(DEFAULT)?;
            (authority.active()?.clone(), authority.roots(now))
        };
        let stem = file_stem(&issuer.authority, issuer.generation.number);
        let mut all = Vec::new();
        for (trial, word) in Trial::ALL {
            let profile = match trial {
                Trial::Server => Profile::trial_server(),
                Trial::Good | Trial::Other | Trial::Expired | Trial::Early | Trial::Revocable => {
                    Profile::agent()
                }
            };
            let profile = Arc::new(profile.issued_by(&issuer.authority));
            profile.accept_key(csr.public_key())?;
            let grant = may::canary(&profile, trial.name(), csr.public_key(), trial.times(now), now);
            let issued = self.sign_unlisted(grant, &issuer, roots.clone(), now).await?;
            let serial = issued.certificate().serial.clone();
            let subject = crate::enrol::audit_subject(&trial.name(), &serial);
            let detail = serde_json::json!({ "trial": word }).to_string();
            let act = caller.act(now, "canary.issued", subject, detail);
            let writes = Vec::new();
            self.store.commit(Change { writes, act }).await?;
            if trial == Trial::Revocable && !caller.dry_run() {
                self.trials
                    .add(serial, stem.clone(), issued.certificate().not_after, now)?;
            }
            all.push((trial, issued));
        }
        Ok(all)
    }

    /// Revokes the one that can be, and makes the list that says so.
    pub async fn revoke_trial(&self, proof: Proof, serial: &Serial) -> Result<(), Error> {
        let caller = self.administrator(proof).await?;
        let now = self.clock.now();
        let missing = || Error::Missing(format!("no broker is being tried with {}", serial.hex()));
        if !self.trials.has(serial) {
            return Err(missing());
        }
        let name = Trial::Revocable.name();
        let subject = crate::enrol::audit_subject(&name, serial);
        let act = caller.act(now, "canary.revoked", subject, String::new());
        let writes = Vec::new();
        self.store.commit(Change { writes, act }).await?;
        if caller.dry_run() {
            return Ok(());
        }
        let (issuer, not_after) = self.trials.take(serial).ok_or_else(missing)?;
        self.canaries.add_first(Arc::new(Canary {
            issuer,
            // No list is the first to have it, so that no epoch asks for its key.
            crl: u64::MAX,
            serial: serial.clone(),
            revoked_at: now,
            not_after,
            chain: String::new(),
            key: Zeroizing::default(),
        }));
        self.refresh_crls().await
    }

    /// Signs what is on no list of certificates.
    pub(crate) async fn sign_unlisted(
        &self,
        grant: may::Grant,
        issuer: &crate::state::LoadedIssuer,
        roots: Vec<Arc<[u8]>>,
        now: Timestamp,
    ) -> Result<Issued, Error> {
        let draft = crate::enrol::draft::Draft::new(grant, issuer, self.serial(now)?, now)?;
        let signature = Signer::sign(&*self.signer, draft.to_be_signed()).await?;
        let (issued, _) = draft.signed(&signature, issuer, roots)?;
        Ok(issued)
    }
}
