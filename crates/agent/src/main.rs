//! `muster-agent`: the agent's commands alone, for small machines; without server, database and web.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use muster_agent::Clock;
use muster_agent::cli::device::{self, AgentCommand};
use muster_agent::cli::mqtt::{self, MqttCommand};
use muster_agent::cli::{Exit, Failure, Voice, start_log};

/// On a device: enrol it, renew its certificate for ever, and keep it connected
#[derive(Parser)]
#[command(
    name = "muster-agent",
    version,
    propagate_version = true,
    max_term_width = 110
)]
struct Cli {
    /// Answer in JSON
    #[arg(long, global = true)]
    json: bool,
    /// Say nothing but the answer
    #[arg(long, short, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Device(AgentCommand),
    /// The same: a line that is made for `muster` works where this program has that name
    #[command(subcommand, hide = true)]
    Agent(AgentCommand),
    /// MQTT with a device's certificate: publish, listen, stay connected
    #[command(subcommand)]
    Mqtt(MqttCommand),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let voice = Voice {
        json: cli.json,
        quiet: cli.quiet,
    };
    let stays = match &cli.command {
        Command::Device(command) | Command::Agent(command) => command.stays(),
        Command::Mqtt(command) => command.stays(),
    };
    let runtime = || {
        Ok(tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?)
    };
    let done = start_log(stays, cli.json)
        .and_then(|()| runtime())
        .and_then(|runtime| runtime.block_on(run(voice, cli.command)));
    match done {
        Ok(exit) => exit.into(),
        Err(failure) => {
            voice.fail(&failure);
            failure.exit.into()
        }
    }
}

async fn run(voice: Voice, command: Command) -> Result<Exit, Failure> {
    #[expect(clippy::disallowed_methods, reason = "this program's one place")]
    let clock: Clock = Arc::new(jiff::Timestamp::now);
    match command {
        Command::Device(command) | Command::Agent(command) => device::run(voice, clock, command).await,
        Command::Mqtt(command) => mqtt::run(voice, clock, command).await,
    }
}
