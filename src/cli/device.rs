//! `muster device`

use clap::Subcommand;
use muster_api::client::escape;
use muster_api::types::{ActRequest, CreateDevice, Device, Page, Revocation};

use super::cert::{confirm, rows as certificate_rows, tell_revocation};
use super::connect::Session;
use super::report::{Exit, Failure, Voice, table};
use super::{Common, import};

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
    /// Put a device's certificates on hold; can be undone
    Suspend(ActArgs),
    /// Take a device's certificates off hold
    Resume(ActArgs),
    /// Shut a device out, with every certificate of it
    #[command(after_help = "Example:
  muster device revoke site-001 --reason key-compromise --yes

Exit code 5: recorded and on the CRL, but not yet proved by every broker.")]
    Revoke(ActArgs),
    /// Let a device enrol again with another key
    Rearm(ActArgs),
    /// Take a device out of service for good; its name stays taken
    Retire(ActArgs),
    /// Enrol many devices from a CSV file; may be run again after any interruption
    Import(import::ImportArgs),
    /// Print every device
    Export {
        /// Print CSV instead of a table
        #[arg(long)]
        csv: bool,
    },
}

#[derive(clap::Args)]
pub(super) struct ListArgs {
    /// Only those whose name begins so
    #[arg(long, default_value = "")]
    prefix: String,
    /// all, new, active, suspended, revoked or retired
    #[arg(long, default_value = "all")]
    state: String,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Continue after this name
    #[arg(long)]
    after: Option<String>,
}

#[derive(clap::Args)]
pub(super) struct ActArgs {
    /// Its name
    name: String,
    /// key-compromise, superseded, cessation-of-operation, … (for revoke)
    #[arg(long)]
    reason: Option<String>,
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
        DeviceCommand::Show { name } => show(common, voice, &name).await,
        DeviceCommand::Suspend(args) => act(common, voice, args, "suspend", "suspended").await,
        DeviceCommand::Resume(args) => act(common, voice, args, "resume", "resumed").await,
        DeviceCommand::Revoke(args) => act(common, voice, args, "revoke", "revoked").await,
        DeviceCommand::Rearm(args) => act(common, voice, args, "rearm", "may enrol again").await,
        DeviceCommand::Retire(args) => act(common, voice, args, "retire", "retired").await,
        DeviceCommand::Export { csv } => export(common, voice, csv).await,
    }
}

async fn act(common: &Common, voice: Voice, args: ActArgs, verb: &str, word: &str) -> Result<Exit, Failure> {
    let session = Session::start(common).await?.dry_run(args.dry_run);
    if matches!(verb, "revoke" | "retire") && !args.yes && !args.dry_run {
        confirm(voice, &args.name, verb)?;
    }
    let request = ActRequest {
        reason: args.reason,
        note: args.note,
    };
    let done: Revocation = session
        .client
        .post(&format!("/devices/{}/{verb}", escape(&args.name)), &request)
        .await?;
    session.finish().await?;
    tell_revocation(voice, &done, word, args.dry_run)
}

async fn list(common: &Common, voice: Voice, args: ListArgs) -> Result<Exit, Failure> {
    let session = Session::start(common).await?;
    let after = args
        .after
        .map(|name| format!("&after={}", escape(&name)))
        .unwrap_or_default();
    let path = format!(
        "/devices?limit={}&prefix={}&state={}{after}",
        args.limit,
        escape(&args.prefix),
        escape(&args.state)
    );
    let page: Page<Device> = session.client.get(&path).await?;
    session.finish().await?;
    voice.data(&rows(&page.items), &page)?;
    if let Some(next) = &page.next {
        voice.say(&format!("There are more: add --after {next}"));
    }
    Ok(Exit::Ok)
}

async fn show(common: &Common, voice: Voice, name: &str) -> Result<Exit, Failure> {
    let session = Session::start(common).await?;
    let device: Device = session.client.get(&format!("/devices/{}", escape(name))).await?;
    session.finish().await?;
    let text = format!(
        "{} ({}, {})\n  profile  {}\n  since    {}\n\n{}",
        device.name,
        device.kind,
        device.state,
        device.profile,
        device.created,
        certificate_rows(&device.certificates)
    );
    voice.data(&text, &device)?;
    Ok(Exit::Ok)
}

/// Every device, page by page.
async fn export(common: &Common, voice: Voice, csv: bool) -> Result<Exit, Failure> {
    let session = Session::start(common).await?;
    let mut all: Vec<Device> = Vec::new();
    let mut after = String::new();
    loop {
        let page: Page<Device> = session.client.get(&format!("/devices?limit=1000{after}")).await?;
        all.extend(page.items);
        let Some(next) = page.next else { break };
        after = format!("&after={}", escape(&next));
    }
    session.finish().await?;
    let text = if csv { as_csv(&all)? } else { rows(&all) };
    voice.data(&text, &all)?;
    Ok(Exit::Ok)
}

fn as_csv(devices: &[Device]) -> Result<String, Failure> {
    let failed = |why: &dyn std::fmt::Display| Failure::failed(why.to_string());
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer
        .write_record(["name", "kind", "state", "profile", "created", "note"])
        .map_err(|why| failed(&why))?;
    for device in devices {
        let row = [
            &device.name,
            &device.kind,
            &device.state,
            &device.profile,
            &device.created,
            &device.note,
        ];
        writer.write_record(row).map_err(|why| failed(&why))?;
    }
    let bytes = writer.into_inner().map_err(|why| failed(&why))?;
    String::from_utf8(bytes).map_err(|why| failed(&why))
}

fn rows(devices: &[Device]) -> String {
    let head = ["NAME", "KIND", "STATE", "PROFILE", "SINCE"]
        .map(str::to_owned)
        .to_vec();
    let row = |device: &Device| {
        vec![
            device.name.clone(),
            device.kind.clone(),
            device.state.clone(),
            device.profile.clone(),
            device.created.clone(),
        ]
    };
    table(
        &std::iter::once(head)
            .chain(devices.iter().map(row))
            .collect::<Vec<_>>(),
    )
}
