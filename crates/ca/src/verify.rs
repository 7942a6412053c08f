//! Whether the audit log is what was written: walking its chain, and what the last walk found.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use crate::Ca;
use crate::enrol::who::Proof;
use crate::error::Error;
use crate::operator::Permission;

/// How many entries are read at a time; whatever else wants to read gets its turn between.
const STEP: usize = 1000;

/// How the audit log stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditVerdict {
    /// How many entries were walked.
    pub entries: u64,
    /// The first entry that is not what was written, or does not follow the one before.
    pub broken_at: Option<u64>,
    /// The hash of the last entry: write it down elsewhere, and a cut-off end will show.
    pub head: [u8; 32],
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
    /// Walks the whole audit chain.
    pub async fn verify_audit(&self, proof: Proof) -> Result<AuditVerdict, Error> {
        self.operator(proof, Permission::ReadAudit).await?;
        self.walk_audit().await
    }

    /// The same for the server itself.
    pub async fn walk_audit(&self) -> Result<AuditVerdict, Error> {
        let walked = self.walk().await;
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

    async fn walk(&self) -> Result<AuditVerdict, Error> {
        let mut verdict = AuditVerdict {
            entries: 0,
            broken_at: None,
            head: [0; 32],
        };
        loop {
            self.audit_watch
                .change(|watch| watch.walking = Some(verdict.entries));
            let entries = self.store.entries(verdict.entries, STEP).await?;
            if entries.is_empty() {
                return Ok(verdict);
            }
            for entry in entries {
                if entry.sequence != verdict.entries + 1 || !entry.follows(verdict.head) {
                    return Ok(AuditVerdict {
                        broken_at: Some(verdict.entries + 1),
                        ..verdict
                    });
                }
                verdict.entries = entry.sequence;
                verdict.head = entry.hash;
            }
        }
    }
}
