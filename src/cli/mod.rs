//! The command tree: noun, then verb. One file per noun.

mod access;
mod audit;
mod broker;
mod ca;
mod cert;
mod connect;
mod desk;
mod device;
mod doctor;
mod files;
mod gate;
mod import;
mod init;
mod inspect;
mod issue;
mod list;
mod profile;
mod proof;
mod provisioner;
pub(crate) mod report;
mod revocation;
mod search;
mod seed;
mod serve;
mod status;
mod token;
mod user;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser, Subcommand};

use muster_agent::cli::device::AgentCommand;
use muster_agent::cli::mqtt::MqttCommand;
use report::{Exit, Failure, Voice};

use crate::real;

/// Private PKI for MQTT fleets: certification authority, command line and agents in one program
#[derive(Parser)]
#[command(name = "muster", version, propagate_version = true, max_term_width = 110, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  muster up                                                  make a CA if there is none, and serve it
  muster cert issue mqtt.example.org --kind server --out .   a broker's certificate, key and configuration

Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 not allowed, 5 needs attention (unconfirmed), 6 partly done";

/// What the options are called that say which CA a command works with.
const CA: &str = "Where the CA is (not for agent, mqtt and gate)";

/// Options that may stand anywhere on the line.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Common {
    /// Data directory
    #[arg(
        long,
        global = true,
        env = "MUSTER_DATA",
        default_value = "./muster-data",
        value_name = "DIR",
        help_heading = CA
    )]
    pub(crate) data: PathBuf,
    /// Work with a remote server (needs an API key: MUSTER_API_KEY or MUSTER_API_KEY_FILE)
    #[arg(long, global = true, value_name = "URL", help_heading = CA)]
    pub(crate) url: Option<String>,
    /// Root certificate that the remote server must chain to
    #[arg(long, global = true, value_name = "FILE", help_heading = CA)]
    pub(crate) root: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say nothing but the answer
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Make a CA if there is none, then serve it
    Up(init::UpArgs),
    /// Make a CA
    Init(init::InitArgs),
    /// Serve the CA until stopped
    Serve(serve::ServeArgs),
    /// Say whether everything is all right, until when, and what needs you
    Status,
    /// Why a device does not connect
    #[command(subcommand)]
    Doctor(doctor::DoctorCommand),
    /// Issue, look at and revoke certificates
    #[command(subcommand)]
    Cert(cert::CertCommand),
    /// Register, suspend, revoke and import devices
    #[command(subcommand)]
    Device(device::DeviceCommand),
    /// Enrolment tokens: a right to enrol, for one device or a wave of them
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Revocations of many at once that wait for a second operator
    #[command(subcommand)]
    Revocation(revocation::RevocationCommand),
    /// The authorities: certificates, CRLs, profiles, provisioners, roll-over
    #[command(subcommand)]
    Ca(ca::CaCommand),
    /// MQTT brokers: what each enforces, and the agent beside it
    #[command(subcommand)]
    Broker(broker::BrokerCommand),
    /// On a device: enrol it, and renew its certificate for ever
    #[command(subcommand)]
    Agent(AgentCommand),
    /// MQTT with a device's certificate: publish, listen, stay connected
    #[command(subcommand)]
    Mqtt(MqttCommand),
    /// End TLS in front of a broker that cannot judge certificates, until stopped
    Gate(gate::GateArgs),
    /// Who did what
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Find devices and certificates by name, serial number or fingerprint
    Search(search::SearchArgs),
    /// Operators and their API keys
    #[command(subcommand)]
    User(user::UserCommand),
    /// Fill a CA that has no devices with a made-up fleet, to measure at its size
    #[command(hide = true)]
    Seed(seed::SeedArgs),
    /// Print completions for a shell
    Completion {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// Parses the line, runs the command, says how it went.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(why) => {
            // Help and version come this way, too; clap knows where each belongs.
            let _ = why.print();
            return if why.use_stderr() {
                Exit::Usage.into()
            } else {
                Exit::Ok.into()
            };
        }
    };
    let voice = Voice {
        json: cli.common.json,
        quiet: cli.common.quiet,
    };
    let serves = matches!(cli.command, Command::Up(_) | Command::Serve(_) | Command::Gate(_));
    let stays = serves
        || matches!(&cli.command, Command::Broker(command) if command.stays())
        || matches!(&cli.command, Command::Agent(command) if command.stays())
        || matches!(&cli.command, Command::Mqtt(command) if command.stays());
    if let Err(failure) = muster_agent::cli::start_log(stays, voice.json) {
        return Failure::from(failure).tell(voice).into();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(dispatch(cli, voice)));
    match done {
        Ok(exit) => exit.into(),
        Err(failure) => failure.tell(voice).into(),
    }
}

async fn dispatch(cli: Cli, voice: Voice) -> Result<Exit, Failure> {
    let common = &cli.common;
    let clock: muster_agent::Clock = Arc::new(real::now);
    match cli.command {
        Command::Up(args) => init::up(common, voice, args).await,
        Command::Init(args) => init::init(common, voice, args).await,
        Command::Serve(args) => serve::serve(common, voice, &args).await,
        Command::Status => status::run(common, voice).await,
        Command::Doctor(command) => doctor::run(common, voice, command).await,
        Command::Cert(command) => cert::run(common, voice, command).await,
        Command::Device(command) => device::run(common, voice, command).await,
        Command::Token(command) => token::run(common, voice, command).await,
        Command::Revocation(command) => revocation::run(common, voice, command).await,
        Command::Ca(command) => ca::run(common, voice, command).await,
        Command::Broker(command) => broker::run(common, voice, command).await,
        Command::Agent(command) => Ok(muster_agent::cli::device::run(voice, clock, command).await?),
        Command::Mqtt(command) => Ok(muster_agent::cli::mqtt::run(voice, clock, command).await?),
        Command::Gate(args) => gate::start(voice, args).await,
        Command::Audit(command) => audit::run(common, voice, command).await,
        Command::Search(args) => search::run(common, voice, args).await,
        Command::Seed(args) => seed::run(common, voice, &args).await,
        Command::User(command) => user::run(common, voice, command).await,
        Command::Completion { shell } => {
            // It cannot write to what may be closed: it does not expect to fail.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "muster", &mut script);
            std::io::stdout().write_all(&script)?;
            Ok(Exit::Ok)
        }
        Command::Man => {
            clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout())?;
            Ok(Exit::Ok)
        }
    }
}
