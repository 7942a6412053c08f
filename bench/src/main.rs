//! `scripts/bench NAME`: progress on stderr, a table and one line of JSON on stdout.
//!
//! Everything runs on loopback, in a temporary directory, with children that are killed when the program ends. The load
//! comes from the same machine as the server, so ratios say more than absolute figures.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark's product is what it prints"
)]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

mod crl;
mod findings;
mod floor;
mod gui;
mod http;
mod identity;
mod issue;
mod killswitch;
mod load;
mod pages;
mod process;
mod provisioner;
mod report;
mod subject;
mod target;

/// Why a benchmark could not be finished, in words.
type Fault = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Fault>;

#[derive(Parser)]
#[command(
    name = "scripts/bench",
    about = "Muster's benchmarks: a table, then one line of JSON"
)]
struct Arguments {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// Certificates a second through POST /sign, against the crypto floor and step-ca
    Issue(issue::Options),
    /// Revocations with live sessions on a broker: until refused, and until dropped
    Killswitch(killswitch::Options),
    /// Lists, searches and figures of a fleet with 1,000,000 certificates
    Pages(pages::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // One thread: the generator must leave the machine to the server, and needs no more than one.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => return failed(&why.into()),
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = run(&arguments.benchmark) => outcome,
            interrupted = interruption() => Err(interrupted),
        }
    });
    // Work on other threads is bounded and needs no waiting for.
    runtime.shutdown_background();
    outcome.map_or_else(|why| failed(&why), |()| ExitCode::SUCCESS)
}

async fn run(benchmark: &Benchmark) -> Result<()> {
    match benchmark {
        Benchmark::Issue(options) => issue::run(options).await,
        Benchmark::Killswitch(options) => killswitch::run(options).await,
        Benchmark::Pages(options) => pages::run(options).await,
    }
}

/// Ends the run in order, so that children and directories go as well.
async fn interruption() -> Fault {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return "signals cannot be watched".into();
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    "interrupted".into()
}

fn failed(why: &Fault) -> ExitCode {
    eprintln!("bench: {why}");
    ExitCode::FAILURE
}
