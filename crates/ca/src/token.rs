//! Enrolment tokens: a secret for one name, or for so many names of a wave; and recovery codes, which are such a token for one
//! device that is known.

use jiff::Timestamp;

use crate::device::DeviceName;
use crate::error::Error;

/// The most names that one wave may have.
pub const MAX_USES: u32 = 1_000_000;

/// An enrolment token as recorded. The secret is 256 random bits and is shown once; only its hash is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolmentToken {
    /// What operators call it by; not secret. Time-ordered.
    pub id: String,
    /// SHA-256 over the secret.
    pub hash: [u8; 32],
    /// The only name it is for; `None` for a wave.
    pub device: Option<DeviceName>,
    /// The wave's name; empty for a token of one name.
    pub wave: String,
    /// How many names it may bind.
    pub uses: u32,
    /// How many it has bound.
    pub used: u32,
    /// The profile that its devices follow.
    pub profile: String,
    /// Since when.
    pub created: Timestamp,
    /// After this it is refused.
    pub expires: Timestamp,
    /// Since when an operator has withdrawn it.
    pub withdrawn: Option<Timestamp>,
    /// The operator who made it.
    pub by: String,
    /// Whether it is a recovery code: its one device gets a certificate for another key, which takes the place of all that it has.
    pub recovers: bool,
}

impl EnrolmentToken {
    /// Refuses to bind another key once the token is withdrawn or has expired.
    ///
    /// A key that was bound before still gets its certificate until the device confirms it: the certificate is there and
    /// counted, whoever asks has proved the key, and an answer that was lost on the way is no reason to strand a device.
    /// To take such a certificate back an operator unbinds the name.
    pub(crate) fn accept_another(&self, now: Timestamp) -> Result<(), Error> {
        if self.withdrawn.is_some() {
            return Err(Error::Unproven(
                "the enrolment token was withdrawn; ask for a new one".into(),
            ));
        }
        if now > self.expires {
            return Err(Error::Unproven(format!(
                "the enrolment token expired on {}; ask for a new one",
                self.expires
            )));
        }
        Ok(())
    }
}
