//! X.509 for Muster: bytes in, bytes out.
//!
//! What a certificate, a request, a CRL or a key *is*, and nothing about who may have one: that is the `ca` crate.
//! Enter at [`csr::Csr`] (what somebody asks for), [`cert::Template`] (what will be signed), [`crl::CrlTemplate`],
//! [`key::PublicKey`] and [`key::PrivateKey`].
//!
//! Absent on purpose: files, sockets, `async`, the clock and randomness. Time comes in as
//! [`jiff::Timestamp`], random bytes as arguments; a signature is made by whoever holds the key.

pub mod beacon;
pub mod broker_lint;
pub mod bundle;
pub mod cert;
pub mod crl;
pub mod csr;
mod error;
pub mod explain;
pub mod jose;
pub mod key;
pub mod message;
pub mod name;
pub mod p12;
pub mod pem;
pub mod snippet;
pub mod time;

pub use error::Error;

/// Bytes in hexadecimal: lower case, without separators.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
