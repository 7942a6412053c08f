//! An unmodified `step` (0.30) against the running program: every command that checklist names, row by row.
//!
//! Needs `step`, and `openssl` for requests and certificates that `step` itself would not make; else says `skipped`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

#[path = "../common/mod.rs"]
mod common;

mod world;

mod certificate;
mod crl;
mod http;
mod provisioners;
mod rekey;
mod renew;
mod revoke;
mod sign;
mod tokens;
mod trust;
