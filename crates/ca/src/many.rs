//! Revoking many certificates or devices at once, and the second operator who may have to agree.

use jiff::{SignedDuration, Timestamp};
use muster_pki::crl::Reason;
use serde::{Deserialize, Serialize};

use crate::Ca;
use crate::authority::Generation;
use crate::certificate::{Serial, Status};
use crate::device::{DeviceName, State};
use crate::enrol::who::Proof;
use crate::error::{Error, Refusal};
use crate::operator::Permission;
use crate::ports::{Change, Kept, Write};
use crate::revoke::{Target, check_note};

/// Where the drawer holds the request. There is one at a time, so that whoever agrees sees all that there is.
const KEY: &str = "revocation/waiting";
/// A request that nobody agrees to is gone after so long.
const WAITS: SignedDuration = SignedDuration::from_hours(24);
/// As many as one request may name; more are done in steps.
pub const MOST: usize = 1000;

/// Many of one noun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Batch {
    /// Certificates.
    Certificates(Vec<Serial>),
    /// Devices, each with every certificate of it that lives.
    Devices(Vec<DeviceName>),
    /// Devices that go out of service for good, likewise. Their reason is always cessation of operation.
    Retiring(Vec<DeviceName>),
    /// An issuing CA that issues no more, with everything that it has issued: somebody else has its key. Made by
    /// [`Ca::issuing_batch`]; for administrators.
    Issuing {
        /// The authority.
        authority: String,
        /// Its issuing CA.
        generation: u32,
        /// How many certificates of it lived when somebody asked.
        certificates: usize,
    },
}

impl Batch {
    /// How many they are.
    pub fn len(&self) -> usize {
        match self {
            Self::Certificates(serials) => serials.len(),
            Self::Devices(names) | Self::Retiring(names) => names.len(),
            Self::Issuing { certificates, .. } => *certificates,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The noun, as audit entries have it.
    fn noun(&self) -> &'static str {
        match self {
            Self::Certificates(_) => "certificates",
            Self::Devices(_) => "devices",
            Self::Retiring(_) => "retiring",
            Self::Issuing { .. } => "issuing",
        }
    }

    fn words(&self) -> Vec<String> {
        match self {
            Self::Certificates(serials) => serials.iter().map(Serial::hex).collect(),
            Self::Devices(names) | Self::Retiring(names) => names.iter().map(ToString::to_string).collect(),
            Self::Issuing {
                authority,
                generation,
                certificates,
            } => vec![
                authority.clone(),
                generation.to_string(),
                certificates.to_string(),
            ],
        }
    }

    /// What [`Batch::noun`] and [`Batch::words`] wrote.
    fn restored(noun: &str, words: Vec<String>) -> Option<Self> {
        let names = |words: Vec<String>| words.into_iter().map(DeviceName::restored).collect();
        match noun {
            "certificates" => {
                let serials = words.iter().map(|hex| Serial::from_hex(hex));
                Some(Self::Certificates(serials.collect::<Option<_>>()?))
            }
            "devices" => Some(Self::Devices(names(words))),
            "retiring" => Some(Self::Retiring(names(words))),
            "issuing" => match words.as_slice() {
                [authority, generation, certificates] => Some(Self::Issuing {
                    authority: authority.clone(),
                    generation: generation.parse().ok()?,
                    certificates: certificates.parse().ok()?,
                }),
                _ => None,
            },
            _ => None,
        }
    }

    fn check(&self, note: &str) -> Result<(), Error> {
        check_note(note)?;
        if (1..=MOST).contains(&self.len()) {
            return Ok(());
        }
        let noun = match self {
            Self::Certificates(_) => "certificates",
            Self::Devices(_) | Self::Retiring(_) => "devices",
            // One issuing CA, however much it has issued.
            Self::Issuing { .. } => return Ok(()),
        };
        Err(Error::Bad(format!("choose 1 to {MOST} {noun}")))
    }
}

/// What became of many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Many {
    /// Certificates that were revoked now.
    pub revoked: Vec<Serial>,
    /// Devices that were revoked or retired now.
    pub devices: usize,
    /// Those of the batch that were revoked or retired already.
    pub before: usize,
    /// The issuing CA that was retired now.
    pub issuing: Option<Generation>,
}

/// A revocation of many that waits for a second operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingRevocation {
    /// Who asked.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Until when somebody may agree.
    pub until: Timestamp,
    /// Why.
    pub reason: Reason,
    /// Words for the audit log.
    pub note: String,
    /// Of what.
    pub batch: Batch,
}

/// What the drawer holds.
#[derive(Serialize, Deserialize)]
struct Stored {
    by: String,
    /// Seconds since 1970.
    at: i64,
    reason: String,
    note: String,
    noun: String,
    words: Vec<String>,
}

impl Ca {
    /// Revokes every one of these; those that are revoked already are counted. What was revoked stays so if a later one
    /// fails.
    pub async fn revoke_many(
        &self,
        proof: Proof,
        batch: &Batch,
        reason: Reason,
        note: &str,
    ) -> Result<Many, Error> {
        batch.check(note)?;
        let mut many = Many::default();
        match batch {
            Batch::Certificates(serials) => {
                for serial in serials {
                    // One that was revoked with another, whose key it has, is done.
                    if many.revoked.contains(serial) {
                        continue;
                    }
                    let target = Target::Certificate(serial.clone());
                    match self.revoke(proof.clone(), target, reason, note).await {
                        Ok(done) => many.revoked.extend(done.serials),
                        Err(Error::Conflict(_)) if self.is_revoked_for_good(serial).await? => {
                            many.before += 1;
                        }
                        Err(other) => return Err(other),
                    }
                }
            }
            Batch::Devices(names) | Batch::Retiring(names) => {
                let retires = matches!(batch, Batch::Retiring(_));
                for name in names {
                    let done = if retires {
                        self.retire(proof.clone(), name, note).await
                    } else {
                        let target = Target::Device(name.clone());
                        self.revoke(proof.clone(), target, reason, note).await
                    };
                    match done {
                        Ok(done) => {
                            many.devices += 1;
                            many.revoked.extend(done.serials);
                        }
                        Err(Error::Conflict(_)) if self.is_out(name, retires).await? => many.before += 1,
                        Err(other) => return Err(other),
                    }
                }
            }
            Batch::Issuing {
                authority,
                generation,
                ..
            } => {
                let which = (authority.as_str(), *generation);
                many.issuing = Some(self.revoke_rollover(proof, which, reason, note).await?);
            }
        }
        Ok(many)
    }

    async fn is_out(&self, name: &DeviceName, retires: bool) -> Result<bool, Error> {
        let state = self.known_device(name).await?.state;
        Ok(state == State::Retired || (state == State::Revoked && !retires))
    }

    /// Looked at, not concluded from a refusal: a device that changes all the time is one, too, and still lives.
    async fn is_revoked_for_good(&self, serial: &Serial) -> Result<bool, Error> {
        let certificate = self.store.certificate(serial).await?;
        Ok(certificate.is_some_and(|certificate| {
            matches!(certificate.status, Status::Revoked { reason, .. } if reason != Reason::CertificateHold)
        }))
    }

    /// Keeps a revocation of many until a second operator agrees.
    pub async fn ask_to_revoke(
        &self,
        proof: Proof,
        batch: &Batch,
        reason: Reason,
        note: &str,
    ) -> Result<(), Error> {
        batch.check(note)?;
        let permission = match batch {
            Batch::Certificates(_) | Batch::Devices(_) | Batch::Retiring(_) => Permission::Operate,
            Batch::Issuing { .. } => Permission::Administer,
        };
        let caller = self.operator(proof, permission).await?;
        let now = self.clock.now();
        let mut writes = Vec::new();
        if let Some(kept) = self.store.kept(KEY, Timestamp::UNIX_EPOCH).await? {
            if kept.expires > now {
                let why = "another revocation waits for a second operator; agree to it or reject it first";
                return Err(Error::Conflict(why.into()));
            }
            writes.push(Write::Drop(KEY.into()));
        }
        let stored = Stored {
            by: caller.name(),
            at: now.as_second(),
            reason: reason.to_string(),
            note: note.to_owned(),
            noun: batch.noun().into(),
            words: batch.words(),
        };
        writes.push(Write::Keep(Kept {
            key: KEY.into(),
            value: serde_json::to_vec(&stored).map_err(|why| Error::Internal(why.to_string()))?,
            expires: now + WAITS,
        }));
        let detail = serde_json::json!({ batch.noun(): batch.len(), "reason": stored.reason, "note": note });
        let act = caller.act(now, "revocation.asked", String::new(), detail.to_string());
        Ok(self.store.commit(Change { writes, act }).await?)
    }

    /// The revocation that waits for a second operator.
    pub async fn waiting_revocation(&self, proof: Proof) -> Result<Option<WaitingRevocation>, Error> {
        self.operator(proof, Permission::Read).await?;
        self.read_waiting().await
    }

    /// Revokes what waits. Whoever asked for it cannot agree to it as well. `at` is when it was asked for, as whoever agrees
    /// saw it: what was put in its place meanwhile is not meant.
    pub async fn agree_to_revoke(&self, proof: Proof, at: Timestamp) -> Result<Many, Error> {
        let waiting = self.waiting_of(at).await?;
        let caller = self.operator(proof.clone(), Permission::Operate).await?;
        if caller.name() == waiting.by {
            let why = format!("{} asked for this and cannot agree to it as well", waiting.by);
            return Err(Refusal::new(why).fix("another operator has to").into());
        }
        let note = format!("{} (asked for by {})", waiting.note, waiting.by);
        let done = self.revoke_many(proof.clone(), &waiting.batch, waiting.reason, note.trim());
        // Taken out last: what is broken off in the middle is agreed to once more, and goes on where it was.
        let done = done.await?;
        self.end_waiting(proof, "revocation.agreed").await?;
        Ok(done)
    }

    /// Throws away what waits.
    pub async fn reject_revocation(&self, proof: Proof, at: Timestamp) -> Result<(), Error> {
        self.waiting_of(at).await?;
        self.end_waiting(proof, "revocation.rejected").await
    }

    async fn end_waiting(&self, proof: Proof, action: &'static str) -> Result<(), Error> {
        let caller = self.operator(proof, Permission::Operate).await?;
        let act = caller.act(self.clock.now(), action, String::new(), String::new());
        let writes = vec![Write::Drop(KEY.into())];
        Ok(self.store.commit(Change { writes, act }).await?)
    }

    async fn waiting_of(&self, at: Timestamp) -> Result<WaitingRevocation, Error> {
        let waiting = self.read_waiting().await?.filter(|waiting| waiting.at == at);
        waiting.ok_or_else(|| {
            Error::Missing(
                "this revocation does not wait any more; see what does with: muster revocation list".into(),
            )
        })
    }

    async fn read_waiting(&self) -> Result<Option<WaitingRevocation>, Error> {
        let broken = || Error::Internal("the revocation that waits cannot be read".into());
        let Some(kept) = self.store.kept(KEY, self.clock.now()).await? else {
            return Ok(None);
        };
        let stored: Stored = serde_json::from_slice(&kept.value).map_err(|_| broken())?;
        Ok(Some(WaitingRevocation {
            at: Timestamp::from_second(stored.at).map_err(|_| broken())?,
            until: kept.expires,
            reason: Reason::parse(&stored.reason)?,
            batch: Batch::restored(&stored.noun, stored.words).ok_or_else(broken)?,
            by: stored.by,
            note: stored.note,
        }))
    }
}
