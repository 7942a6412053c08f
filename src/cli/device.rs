//! `muster device`

use clap::Subcommand;
use muster_api::client::escape;
use muster_api::types::{ActRequest, Broker, CreateDevice, Denied, Device, NewToken, Revocation};

use super::broker::refused;
use super::cert::{confirm, rows as certificate_rows};
use super::connect::Session;
use super::list::Paging;
use super::report::{Exit, Failure, Voice, table};
use super::{Common, access, import, list as pages, proof, token};

#[derive(Subcommand)]
pub(super) enum DeviceCommand {
    /// Register a device; a server must be registered before a token may ask for it
    Create {
        /// Its name
        name: String,
        /// client, server, broker, or a configured profile
        #[arg(long, default_value = "client", visible_alias = "profile")]
        kind: String,
        /// Words about it
        #[arg(long, default_value = "")]
        note: String,
        /// Only check
        #[arg(long)]
        dry_run: bool,
    },
    /// List devices by name
    List(ListArgs),
    /// Show a device and its certificates
    Show {
        /// Its name
        name: String,
    },
    /// Show or change where a device may publish, and what it may receive
    #[command(after_help = "Example:
  muster device access iotagent --publish 'cmd/#' --subscribe 'fleet/#'
  muster device access iotagent --reset")]
    Access(access::AccessArgs),
    /// Put a device's certificates on hold; can be undone
    Suspend(ActArgs),
    /// Take a device's certificates off hold
    Resume(ActArgs),
    /// Shut a device out, with every certificate of it
    #[command(after_help = "Example:
  muster device revoke site-001 --reason key-compromise --yes

Exit code 5: recorded and on the CRL, but not yet proved by every broker.")]
    Revoke(RevokeArgs),
    /// Make a recovery code: with it a device enrols again with another key, once, within 24 hours
    Recover {
        /// Its name
        name: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Let a device enrol again with another key, with whatever right it comes
    Rearm(ActArgs),
    /// Take a device out of service for good; its name stays taken
    Retire(ActArgs),
    /// Enrol many devices from a CSV file; may be run again after any interruption
    Import(import::ImportArgs),
}

#[derive(clap::Args)]
pub(super) struct ListArgs {
    /// all, client, server or broker
    #[arg(long)]
    kind: Option<String>,
    /// all, new, active, suspended, revoked or retired
    #[arg(long)]
    state: Option<String>,
    /// Only those that follow this profile
    #[arg(long)]
    profile: Option<String>,
    /// Beginning of a name
    #[arg(long, value_name = "WHAT")]
    search: Option<String>,
    /// name or created; with - in front the greatest comes first
    #[arg(long, allow_hyphen_values = true)]
    sort: Option<String>,
    #[command(flatten)]
    paging: Paging,
}

#[derive(clap::Args)]
pub(super) struct ActArgs {
    /// Its name
    name: String,
    /// Words for the audit log
    #[arg(long, default_value = "")]
    note: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Only say what would be touched
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args)]
pub(super) struct RevokeArgs {
    #[command(flatten)]
    act: ActArgs,
    /// key-compromise, superseded, cessation-of-operation, affiliation-changed, privilege-withdrawn or unspecified
    #[arg(long, default_value = "unspecified")]
    reason: String,
}

pub(super) async fn run(common: &Common, voice: Voice, command: DeviceCommand) -> Result<Exit, Failure> {
    match command {
        DeviceCommand::Import(args) => import::run(common, voice, args).await,
        DeviceCommand::Create {
            name,
            kind,
            note,
            dry_run,
        } => {
            let session = Session::start(common).await?.dry_run(dry_run);
            let request = CreateDevice {
                name,
                profile: kind,
                note,
            };
            let device: Device = session.client.post("/devices", &request).await?;
            session.finish().await?;
            let word = if dry_run {
                "could be registered"
            } else {
                "registered"
            };
            voice.data(&format!("{} {word} as a {}", device.name, device.kind), &device)?;
            Ok(Exit::Ok)
        }
        DeviceCommand::List(args) => list(common, voice, args).await,
        DeviceCommand::Access(args) => access::run(common, voice, args).await,
        DeviceCommand::Show { name } => show(common, voice, &name).await,
        DeviceCommand::Suspend(args) => act(common, voice, args, None, ("suspend", "suspended")).await,
        DeviceCommand::Resume(args) => act(common, voice, args, None, ("resume", "resumed")).await,
        DeviceCommand::Revoke(args) => {
            act(common, voice, args.act, Some(args.reason), ("revoke", "revoked")).await
        }
        DeviceCommand::Recover { name, dry_run } => recover(common, voice, &name, dry_run).await,
        DeviceCommand::Rearm(args) => act(common, voice, args, None, ("rearm", "may enrol again")).await,
        DeviceCommand::Retire(args) => act(common, voice, args, None, ("retire", "retired")).await,
    }
}

async fn act(
    common: &Common,
    voice: Voice,
    args: ActArgs,
    reason: Option<String>,
    (verb, word): (&str, &str),
) -> Result<Exit, Failure> {
    let session = Session::start(common).await?.dry_run(args.dry_run);
    if matches!(verb, "revoke" | "retire") && !args.yes && !args.dry_run {
        confirm(voice, &args.name, verb)?;
    }
    let request = ActRequest {
        reason,
        note: args.note,
    };
    let done: Revocation = session
        .client
        .post(&format!("/devices/{}/{verb}", escape(&args.name)), &request)
        .await?;
    proof::tell(session, voice, done, word, args.dry_run).await
}

async fn recover(common: &Common, voice: Voice, name: &str, dry_run: bool) -> Result<Exit, Failure> {
    let session = Session::start(common).await?.dry_run(dry_run);
    let path = format!("/devices/{}/recover", escape(name));
    let made: NewToken = session.client.post(&path, &serde_json::json!({})).await?;
    session.finish().await?;
    token::tell_code(voice, &made, dry_run)
}

async fn list(common: &Common, voice: Voice, args: ListArgs) -> Result<Exit, Failure> {
    let wishes = [
        ("kind", &args.kind),
        ("state", &args.state),
        ("profile", &args.profile),
        ("q", &args.search),
        ("sort", &args.sort),
    ];
    let session = Session::start(common).await?;
    pages::run(session, voice, "devices", &wishes, &args.paging, rows).await
}

async fn show(common: &Common, voice: Voice, name: &str) -> Result<Exit, Failure> {
    let session = Session::start(common).await?;
    let device: Device = session.client.get(&format!("/devices/{}", escape(name))).await?;
    let brokers: Vec<Broker> = pages::whole(&session.client, "brokers").await?;
    session.finish().await?;
    let text = format!(
        "{} ({}, {})\n  profile  {}\n  since    {}\n\n{}{}",
        device.name,
        device.kind,
        device.state,
        device.profile,
        device.created,
        certificate_rows(&device.certificates),
        refused(&brokers, Some(name))
    );
    let mut denials = Vec::new();
    for broker in brokers {
        let own = broker.denials.into_iter().filter(|denial| denial.device == name);
        denials.extend(own.map(|denial| RefusedTopic {
            broker: broker.name.clone(),
            denial,
        }));
    }
    voice.data(&text, &Shown { device, denials })?;
    Ok(Exit::Ok)
}

/// A device, and what brokers refused it in the last day.
#[derive(serde::Serialize)]
struct Shown {
    #[serde(flatten)]
    device: Device,
    denials: Vec<RefusedTopic>,
}

/// What a broker refused.
#[derive(serde::Serialize)]
struct RefusedTopic {
    broker: String,
    #[serde(flatten)]
    denial: Denied,
}

pub(super) fn rows(devices: &[Device]) -> String {
    let head = ["NAME", "KIND", "STATE", "PROFILE", "SINCE"];
    let row = |device: &Device| {
        [
            device.name.clone(),
            device.kind.clone(),
            device.state.clone(),
            device.profile.clone(),
            device.created.clone(),
        ]
    };
    table(head, devices.iter().map(row))
}
