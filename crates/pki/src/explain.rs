//! Certificates and chains in plain words, for people who are no PKI specialists.
//!
//! [`inspect`] says what some bytes are and what is remarkable about them; [`verify`] says whether a chain holds and, where
//! it does not, which link breaks and what mends it. Both take anybody's files: PEM with text around it or DER, certificates
//! that Muster would never issue, and garbage, which gives an [`Error`] or a finding, never a panic.
//!
//! Every text taken from a file is cleaned of control characters first, so that a hostile name cannot drive a terminal.

mod certificate;
mod chain;
mod checks;
mod crl;
mod facts;
mod host;
mod key;
mod known;
mod lint;
mod read;
mod request;
mod revocation;
mod show;
mod verdict;
mod verify;
pub(crate) mod words;

use jiff::Timestamp;

pub use self::facts::{
    AlternativeName, CertificateFacts, CrlFacts, Explained, Finding, KeyFacts, PrivateKeyFacts, RequestFacts,
    Serial, Severity, Standing, UnreadableFacts,
};
pub use self::verdict::{Outcome, Step, Verdict};
pub use self::verify::{Purpose, VerifyInput, verify};

/// The most certificates (or other objects) that one input may hold.
pub const MAX_OBJECTS: usize = 64;
/// The longest input, in bytes, unless it is a CRL.
pub const MAX_INPUT: usize = 1 << 20;
/// The longest CRL, in bytes, as PEM or DER: some 500,000 entries.
pub const MAX_CRL: usize = 32 << 20;

/// Why bytes were not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Over [`MAX_INPUT`], or [`MAX_CRL`] for a CRL.
    #[error(
        "the input has {0} bytes, which is more than any certificate file needs (1 MiB; 32 MiB for a CRL)"
    )]
    TooLarge(usize),
    /// Over [`MAX_OBJECTS`].
    #[error("the input holds more than {MAX_OBJECTS} certificates or other objects")]
    TooMany,
    /// Neither a PEM block nor DER of a known kind.
    #[error("there is no certificate, request, CRL or key in it, neither as PEM (-----BEGIN …) nor as DER")]
    Nothing,
}

/// Everything that the bytes hold, in order: certificates, requests, CRLs and private keys, in PEM (text around the blocks
/// is passed over) or one object in DER. `now` decides what has expired.
///
/// A block that cannot be read becomes [`Explained::Unreadable`]; the others are explained all the same. Of a private key
/// only its kind, its size and the fingerprint of its public half are told.
///
/// # Errors
/// Refuses input over [`MAX_INPUT`] ([`MAX_CRL`] if it begins with a CRL), more than [`MAX_OBJECTS`] objects, and bytes in
/// which there is nothing of the kind.
pub fn inspect(bytes: &[u8], now: Timestamp) -> Result<Vec<Explained>, Error> {
    let blocks = read::blocks(bytes)?;
    let mut explained: Vec<Explained> = blocks.iter().map(|block| explain(block, now)).collect();
    key::match_certificates(&mut explained);
    Ok(explained)
}

fn explain(block: &read::Block, now: Timestamp) -> Explained {
    let der = block.der.as_slice();
    let explained = match block.label.as_str() {
        read::CERTIFICATE | read::OLD_CERTIFICATE => certificate::explain(der, now),
        read::REQUEST | "NEW CERTIFICATE REQUEST" => request::explain(der),
        read::CRL => crl::explain(der, now),
        read::PKCS8 | read::SEC1 | read::PKCS1 | read::ENCRYPTED => return key::explain(&block.label, der),
        _ => Err("it is of a kind that is not explained here".to_owned()),
    };
    explained.unwrap_or_else(|why| {
        Explained::Unreadable(UnreadableFacts {
            label: words::clean(&block.label),
            why: words::clean(&why),
        })
    })
}
