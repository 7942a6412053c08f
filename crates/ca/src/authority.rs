//! Authorities: a root, the issuing CAs below it, and where each is in its life.

use std::iter::successors;

use jiff::Timestamp;
use muster_pki::cert::Certificate;

use crate::error::Error;

/// The name of the authority that devices and brokers trust unless told otherwise.
pub const DEFAULT: &str = "default";
/// The name of the authority of agents and operators, which no broker trusts.
pub const INTERNAL: &str = "internal";
/// The generation number of a root.
pub const ROOT: u32 = 0;
/// The most roots that follow one another. Who knows the first alone walks up over a cross-certificate for each of the others, and
/// verifiers bear about eight certificates in a path.
pub const MAX_LINE: usize = 6;

/// Where an issuing CA is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Made and published, so that brokers can learn to trust it; issues nothing yet.
    Standby,
    /// Issues.
    Active,
    /// Issues no more; still makes its CRL, for certificates that live.
    Retiring,
    /// Nothing of it lives any more.
    Retired,
}

impl Stage {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Standby, "standby"),
        (Self::Active, "active"),
        (Self::Retiring, "retiring"),
        (Self::Retired, "retired"),
    ];

    /// Reads the word for it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, name)| *name == text)
            .map(|(stage, _)| *stage)
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(stage, _)| *stage == self)
            .map_or("retired", |(_, name)| name)
    }
}

/// A root or one generation of the issuing CA, as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// 0 for the root, then 1, 2, 3, … .
    pub number: u32,
    /// Where it is in its life.
    pub stage: Stage,
    /// The name of its key in the signer; `None` if the key is not here (an imported root).
    pub key: Option<String>,
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
    /// Since when.
    pub created: Timestamp,
    /// Since when somebody else has its key, so that the root's list names it.
    pub revoked: Option<Timestamp>,
    /// Whom it follows, if it is a root that does.
    pub follows: Option<Follows>,
}

/// The root in whose place another comes, and its word for that one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follows {
    /// The name of its authority.
    pub authority: String,
    /// The cross-certificate, DER: name and key of the root that follows, issued by the one before (RFC 4210, section 4.4).
    pub cross: Vec<u8>,
}

impl Generation {
    /// The certificate, read.
    pub fn parsed(&self) -> Result<Certificate, Error> {
        Certificate::from_der(&self.certificate)
            .map_err(|why| Error::Internal(format!("a stored authority certificate cannot be read: {why}")))
    }
}

/// A named authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// Its name: `default`, `internal`, or an operator's choice.
    pub name: String,
    /// The root first, then the issuing CAs in order.
    pub generations: Vec<Generation>,
}

impl Authority {
    /// The root.
    pub fn root(&self) -> Result<&Generation, Error> {
        self.generation(ROOT)
    }

    /// Whom its root follows.
    pub fn follows(&self) -> Option<&Follows> {
        self.root().ok()?.follows.as_ref()
    }

    /// A generation by number.
    pub fn generation(&self, number: u32) -> Result<&Generation, Error> {
        let found = self
            .generations
            .iter()
            .find(|generation| generation.number == number);
        found.ok_or_else(|| {
            Error::Missing(format!(
                "the authority {:?} has no generation {number}",
                self.name
            ))
        })
    }

    /// The issuing CA that issues.
    pub fn active(&self) -> Result<&Generation, Error> {
        let found = self
            .issuing()
            .find(|generation| generation.stage == Stage::Active);
        found.ok_or_else(|| Error::Missing(format!("the authority {:?} has no active issuing CA", self.name)))
    }

    /// Every issuing CA that is not retired.
    pub fn issuing(&self) -> impl Iterator<Item = &Generation> {
        self.generations
            .iter()
            .filter(|generation| generation.number != ROOT && generation.stage != Stage::Retired)
    }
}

/// The authorities whose roots follow one another, and this one is among: itself, then those before it, the nearest first, then
/// those after it. At most [`MAX_LINE`].
pub fn line<'a>(all: &'a [Authority], name: &str) -> Vec<&'a Authority> {
    let named = |name: &str| all.iter().find(|one| one.name == name);
    let before = successors(named(name), |one| named(&one.follows()?.authority));
    let after = successors(named(name), |one| follower(all, &one.name));
    let after = after.skip(1).take(MAX_LINE);
    before.take(MAX_LINE).chain(after).take(MAX_LINE).collect()
}

/// The authority whose root follows this one's.
pub fn follower<'a>(all: &'a [Authority], name: &str) -> Option<&'a Authority> {
    let follows = |one: &&Authority| one.follows().is_some_and(|whom| whom.authority == name);
    all.iter().find(follows)
}
