//! Audit entries: who did what, how, from where; chained so that a changed or missing one shows.

use jiff::Timestamp;
use muster_pki::key::sha256;

/// One act, not yet chained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// When.
    pub at: Timestamp,
    /// Who: an operator, a device, a provisioner's client, or `muster` itself.
    pub actor: String,
    /// By which door: `step`, `rest`, `cli`, `renewal`, `internal`.
    pub via: String,
    /// From where: an address or `local`; may be empty.
    pub source: String,
    /// What: a word such as `certificate.issued`. Also the kind of the event that others hear.
    pub action: &'static str,
    /// To what: a device, a serial number, an authority.
    pub subject: String,
    /// More, as a JSON object; may be empty.
    pub detail: String,
    /// Whether it is only rehearsed: the store judges it as any other and keeps nothing of it.
    pub dry_run: bool,
}

/// An entry as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Who writes this chain: a name drawn when the data directory was made.
    pub writer: String,
    /// 1, 2, 3, … within the writer.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// See [`Act`].
    pub actor: String,
    /// See [`Act`].
    pub via: String,
    /// See [`Act`].
    pub source: String,
    /// See [`Act`].
    pub action: String,
    /// See [`Act`].
    pub subject: String,
    /// See [`Act`].
    pub detail: String,
    /// The hash of the writer's entry before; zeros for the first.
    pub before: [u8; 32],
    /// The hash of this entry.
    pub hash: [u8; 32],
}

impl Entry {
    /// Chains an act behind the entry whose hash is `before`.
    pub fn chain(act: &Act, writer: &str, sequence: u64, before: [u8; 32]) -> Self {
        let mut entry = Self {
            writer: writer.to_owned(),
            sequence,
            at: act.at,
            actor: act.actor.clone(),
            via: act.via.clone(),
            source: act.source.clone(),
            action: act.action.to_owned(),
            subject: act.subject.clone(),
            detail: act.detail.clone(),
            before,
            hash: [0; 32],
        };
        entry.hash = entry.computed();
        entry
    }

    /// Whether the entry is what was written, and follows the one whose hash is `before`.
    pub fn follows(&self, before: [u8; 32]) -> bool {
        self.before == before && self.hash == self.computed()
    }

    /// SHA-256 over every field, each with its length in front, so that no two entries have the same bytes.
    ///
    /// This form is stored state: changing it breaks every chain there is.
    fn computed(&self) -> [u8; 32] {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(b"muster audit 1");
        bytes.extend_from_slice(&self.before);
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.at.as_millisecond().to_be_bytes());
        for text in [
            &self.writer,
            &self.actor,
            &self.via,
            &self.source,
            &self.action,
            &self.subject,
            &self.detail,
        ] {
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        sha256(&bytes)
    }
}
