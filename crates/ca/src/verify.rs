//! Whether the audit log is what was written: walking its chain, and what the last walk found.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use crate::Ca;
use crate::enrol::who::Proof;
use crate::error::Error;
use crate::operator::Permission;

/// How many entries are read at a time; whatever else wants to read gets its turn between.
const STEP: usize = 1000;
/// So many entries are walked for somebody who waits, in a second or two.
const STRETCH: u64 = 200_000;

/// How the audit log stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditVerdict {
    /// How many entries were walked.
    pub entries: u64,
    /// The first entry that is not what was written, or does not follow the one before.
    pub broken_at: Option<u64>,
    /// The hash of the last entry: write it down elsewhere, and a cut-off end will show.
    pub head: [u8; 32],
    /// Whether there is more to walk.
    pub more: bool,
}

impl AuditVerdict {
    /// Nothing was walked yet.
    const BEGIN: Self = Self {
        entries: 0,
        broken_at: None,
        head: [0; 32],
        more: true,
    };
}

/// What is known of the audit log without walking it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditWatch {
    /// What the last walk found, and when; none since the start of the server, if there is nothing.
    pub last: Option<(Timestamp, AuditVerdict)>,
    /// How many entries the walk that goes on has seen.
    pub walking: Option<u64>,
}

/// Where [`Ca`] keeps it.
#[derive(Default)]
pub(crate) struct Watch(Mutex<AuditWatch>);

impl Watch {
    fn change(&self, change: impl FnOnce(&mut AuditWatch)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Ca {
    /// Walks a stretch of the audit chain, which nobody has to wait long for: from its beginning, or from behind the entry
    /// with this number and hash, where the stretch before ended.
    pub async fn verify_audit(
        &self,
        proof: Proof,
        behind: Option<(u64, [u8; 32])>,
    ) -> Result<AuditVerdict, Error> {
        self.operator(proof, Permission::ReadAudit).await?;
        let (entries, head) = behind.unwrap_or_default();
        let begin = AuditVerdict {
            entries,
            head,
            ..AuditVerdict::BEGIN
        };
        self.walk(begin, STRETCH).await
    }

    /// Walks all of it, and lets be seen how far it is.
    pub async fn walk_audit(&self) -> Result<AuditVerdict, Error> {
        let walked = self.walk_to_the_end().await;
        let now = self.clock.now();
        self.audit_watch.change(|watch| {
            watch.walking = None;
            if let Ok(verdict) = &walked {
                watch.last = Some((now, verdict.clone()));
            }
        });
        walked
    }

    /// What the last walk found, and how far the one is that goes on.
    pub async fn audit_watch(&self, proof: Proof) -> Result<AuditWatch, Error> {
        self.operator(proof, Permission::ReadAudit).await?;
        let watch = self.audit_watch.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(watch.clone())
    }

    async fn walk_to_the_end(&self) -> Result<AuditVerdict, Error> {
        let mut verdict = AuditVerdict::BEGIN;
        while verdict.more {
            self.audit_watch
                .change(|watch| watch.walking = Some(verdict.entries));
            verdict = self.walk(verdict, STEP as u64).await?;
        }
        Ok(verdict)
    }

    /// Goes on where a walk ended, for so many entries or a few more.
    async fn walk(&self, mut verdict: AuditVerdict, stretch: u64) -> Result<AuditVerdict, Error> {
        let enough = verdict.entries.saturating_add(stretch);
        while verdict.more && verdict.entries < enough {
            let entries = self.store.entries(verdict.entries, STEP).await?;
            verdict.more = entries.len() == STEP;
            for entry in entries {
                if entry.sequence != verdict.entries + 1 || !entry.follows(verdict.head) {
                    return Ok(AuditVerdict {
                        broken_at: Some(verdict.entries + 1),
                        more: false,
                        ..verdict
                    });
                }
                verdict.entries = entry.sequence;
                verdict.head = entry.hash;
            }
        }
        Ok(verdict)
    }
}
