//! The agent beside a broker: real ones, and a CA side that is made of nothing but keys.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may fail"
)]

mod access;
mod adapters;
mod common;
mod emqx;
mod enforce;
mod gate;
mod late;
mod twice;
