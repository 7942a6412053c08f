//! `muster agent`: the agent on a device

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use muster_agent::device::enrol::{Ask, Enrolled, enrol, rehearse};
use muster_api::Code;
use muster_pki::snippet::{self, Facts, Use};
use serde_json::json;

use super::issue::broker_address;
use super::report::{Exit, Failure, Voice};
use crate::config::variable;

/// Where a device's files are unless it is said.
pub(super) const DIR: &str = "/etc/muster";

#[derive(Subcommand)]
pub(super) enum AgentCommand {
    /// Get this device's certificate; the same line may be run again after any interruption
    #[command(after_help = "Examples:
  muster agent enrol site-001:mt_…@ca.example.org:9000/3f1c…
  muster agent enrol CODE --dir /etc/mosquitto/certs --group mosquitto --broker mqtt.example.org \\
      --format mosquitto-bridge > /etc/mosquitto/conf.d/bridge.conf")]
    Enrol(EnrolArgs),
}

#[derive(clap::Args)]
pub(super) struct EnrolArgs {
    /// What muster token create printed; else MUSTER_CODE or the file MUSTER_CODE_FILE
    code: Option<String>,
    /// This device's name, if the code is for a wave
    #[arg(long)]
    name: Option<String>,
    /// Where its files go: ca.crt, NAME.crt and NAME.key
    #[arg(long, value_name = "DIR", default_value = DIR)]
    dir: PathBuf,
    /// The group that may read the key, such as mosquitto
    #[arg(long)]
    group: Option<String>,
    /// The broker that the device connects to
    #[arg(long, value_name = "HOST[:PORT]")]
    broker: Option<String>,
    /// Print the configuration of a client in place of the files' names
    #[arg(long, value_enum, default_value = "pem")]
    format: Format,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The files alone
    Pem,
    /// A Mosquitto bridge
    MosquittoBridge,
    /// mosquitto_pub and mosquitto_sub
    Mosquitto,
    /// A client in Python
    Paho,
}

pub(super) async fn run(voice: Voice, command: AgentCommand) -> Result<Exit, Failure> {
    match command {
        AgentCommand::Enrol(args) => enrolled(voice, args).await,
    }
}

async fn enrolled(voice: Voice, args: EnrolArgs) -> Result<Exit, Failure> {
    let code = args.code.or_else(|| variable("MUSTER_CODE")).ok_or_else(|| {
        Failure::usage("there is no enrolment code")
            .fix("at the CA: muster token create NAME; it prints the line to run here")
    })?;
    let code: Code = code
        .parse()
        .map_err(|why: muster_api::code::NoCode| Failure::usage(why.to_string()))?;
    let broker = args.broker.as_deref().map(broker_address).transpose()?;
    let ask = Ask {
        code,
        name: args.name,
        dir: args.dir,
        group: args.group,
        broker: broker.map(|(host, port)| format!("{host}:{port}")),
    };
    if args.dry_run {
        let name = rehearse(&ask).await.map_err(failed)?;
        voice.data(
            voice.done("enrolled", true),
            &json!({ "name": name, "enrolled": false }),
        )?;
        return Ok(Exit::Ok);
    }
    let done = enrol(ask).await.map_err(failed)?;
    let text = match args.format {
        Format::Pem => paths(&done),
        Format::MosquittoBridge => snippet::mosquitto_bridge(&facts(&done)?),
        Format::Mosquitto => snippet::mosquitto_client(&facts(&done)?),
        Format::Paho => snippet::paho(&facts(&done)?),
    };
    let (name, until) = (&done.settings.name, done.pair.leaf().not_after());
    let json = json!({
        "name": name,
        "not_after": until.to_string(),
        "enrolled_before": done.before,
        "ca": done.home.anchors(),
        "certificate": done.home.certificate(name),
        "key": done.home.key(name),
        "configuration": (args.format != Format::Pem).then_some(&text),
    });
    voice.data(&text, &json)?;
    let already = if done.before {
        "has enrolled before, and"
    } else {
        "has enrolled and"
    };
    voice.say(&format!("{name} {already} has a certificate until {until}."));
    Ok(Exit::Ok)
}

fn failed(why: muster_agent::Error) -> Failure {
    let exit = match why.status() {
        Some(401 | 403) => Exit::NotAllowed,
        Some(_) | None => Exit::Failed,
    };
    // The CA's sentence is "what; fix".
    match why.0.rsplit_once("; ").filter(|_| why.status().is_some()) {
        Some((what, fix)) => Failure::new(exit, what).fix(fix),
        None => Failure::new(exit, why.0),
    }
}

fn paths(done: &Enrolled) -> String {
    let (home, name) = (&done.home, &done.settings.name);
    let paths = [home.anchors(), home.certificate(name), home.key(name)];
    paths.map(|path| path.display().to_string()).join("\n")
}

/// What the configuration is filled in with.
fn facts(done: &Enrolled) -> Result<Facts, Failure> {
    let bad = |why: snippet::BadName| Failure::usage(why.to_string());
    let facts = Facts::new(&done.settings.name, Use::Client)
        .and_then(|facts| facts.with_dir(&done.home.dir().display().to_string()))
        .map_err(bad)?;
    match &done.settings.broker {
        Some(broker) => {
            let (host, port) = broker_address(broker)?;
            facts.with_broker(&host, port).map_err(bad)
        }
        None => Ok(facts),
    }
}
