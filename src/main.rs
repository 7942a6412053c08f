//! `muster`: certification authority, command line and agents of a private PKI for MQTT fleets, in one program.
//!
//! This crate wires: it reads arguments and configuration, names the concrete stores and signers, and prints.

mod assemble;
mod cli;
mod config;
mod local;
mod real;
mod secret;

use std::process::ExitCode;

/// Requests are freed on another thread than the one that read them, which glibc's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(std::env::args_os())
}
