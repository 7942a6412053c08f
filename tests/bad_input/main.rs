//! Bad input against the running program: each kind gets its status and its reason, and changes nothing.
//!
//! "Nothing" is looked at from outside: how many certificates and devices there are, the end of the audit chain, and
//! that the token which came with the bad request still works afterwards.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may fail, and says what it measured"
)]

#[path = "../common/mod.rs"]
mod common;

mod world;

mod bodies;
mod crowd;
mod names;
mod requests;
mod slow;
mod smuggling;
mod times;
mod tokens;
