//! `muster-agent`: the agent's commands alone, for small machines; without server, database and web.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use muster_agent::Clock;
use muster_agent::cli::device::{self, AgentCommand};
use muster_agent::cli::mqtt::{self, MqttCommand};
use muster_agent::cli::{Exit, Failure, Voice};
use tracing_subscriber::filter::LevelFilter;

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
    start_log(&cli.command, cli.json);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime
        .map_err(Failure::from)
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
        Command::Device(command) => device::run(voice, clock, command).await,
        Command::Mqtt(command) => mqtt::run(voice, clock, command).await,
    }
}

/// Who stays logs what it does; a command only what is wrong; with `--json` an object on each line. `MUSTER_LOG` is a level.
fn start_log(command: &Command, json: bool) {
    let stays = match command {
        Command::Device(command) => command.stays(),
        Command::Mqtt(command) => command.stays(),
    };
    let default = if stays {
        LevelFilter::INFO
    } else {
        LevelFilter::WARN
    };
    let told = std::env::var("MUSTER_LOG").ok();
    let level = told.and_then(|text| text.parse().ok()).unwrap_or(default);
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false);
    if json {
        log.json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .init();
    } else {
        log.init();
    }
}
