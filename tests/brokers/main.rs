//! The main job, with the real Mosquitto and HAProxy: who is let in, who is not, and what crosses a bridge.
//!
//! Every configuration in here is what `muster cert issue` and `muster broker config` print. Only paths, ports and addresses are changed, so that
//! everything runs on loopback in a directory of its own.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may fail, and its modules are only for each other"
)]

#[path = "../common/mod.rs"]
mod common;

mod agent;
mod away;
mod bridge;
mod bundle;
mod config;
mod crash;
mod dojot;
mod faults;
mod fleet;
mod front;
mod listeners;
mod looked_at;
mod mqtt;
mod partition;
mod revocation_lists;
mod rollover;
mod shut_out;
mod tried;
mod why;
