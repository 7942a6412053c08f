//! Nothing is lost: not when the power goes in the middle of the work, not when the disk is full.
//!
//! `MUSTER_TEST_CRASHES` says how often the server is killed; 50 if it is not set.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may fail, and says what it measured"
)]

#[path = "../common/mod.rs"]
mod common;

mod crash;
mod full_disk;
