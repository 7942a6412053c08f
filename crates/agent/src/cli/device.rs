//! Enrol, renew, say how it is: what `muster agent` and `muster-agent` do.

use std::io::{BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use muster_api::Code;
use muster_pki::snippet::{self, Facts, Use};
use serde_json::json;
use zeroize::Zeroizing;

use super::status::status;
use super::{Exit, Failure, Voice, broker_address, stopped, unseen, variable};
use crate::Clock;
use crate::device::enrol::{Ask, Enrolled, enrol, rehearse};
use crate::device::files::{Home, when_free};
use crate::device::settings::Settings;
use crate::device::{self, provisioner, renew};

/// Where a device's files are unless it is said.
pub(super) const DIR: &str = "/etc/muster";

/// The longest line that is read for a code.
const MAX_LINE: u64 = 4096;

/// What the agent does.
#[derive(Subcommand)]
pub enum AgentCommand {
    /// Get this device's certificate; the same line may be run again after any interruption
    #[command(after_help = "Examples:
  muster agent enrol site-001:mt_…@ca.example.org:9000/3f1c…
  muster agent enrol CODE --dir /etc/mosquitto/certs --group mosquitto --broker mqtt.example.org \\
      --format mosquitto-bridge > /etc/mosquitto/conf.d/bridge.conf")]
    Enrol(EnrolArgs),
    /// Get a certificate by a provisioner's password, of Muster or of a step-ca; an enrolment code is better where there is one
    #[command(after_help = "Whoever reads the password can enrol any free name.

Example:
  muster agent sign site-001 --ca-url https://ca.example.org:9000 --fingerprint 3f1c… --password-file FILE")]
    Sign(SignArgs),
    /// Renew this device's certificate whenever the CA's plan says so, until stopped
    Run(DirArgs),
    /// Say until when this device has a certificate, and whether something is wrong with it
    #[command(after_help = "Exit code 5: something needs you.")]
    Status(DirArgs),
    /// Renew now
    Renew {
        /// Which device
        #[command(flatten)]
        at: DirArgs,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

/// Which device.
#[derive(clap::Args)]
pub struct DirArgs {
    /// Where the device enrolled
    #[arg(long, value_name = "DIR", default_value = DIR)]
    dir: PathBuf,
}

impl AgentCommand {
    /// Whether it stays, as a server does.
    pub fn stays(&self) -> bool {
        matches!(self, Self::Run(_))
    }
}

/// What a device enrols with.
#[derive(clap::Args)]
pub struct EnrolArgs {
    /// What muster token create printed; else MUSTER_CODE, the file MUSTER_CODE_FILE, or what is typed, where nobody else sees it
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
    /// What /bin/sh runs when the files have changed, such as 'systemctl reload mosquitto'
    #[arg(long, value_name = "COMMAND")]
    hook: Option<String>,
    /// Print the configuration of a client in place of the files' names
    #[arg(long, value_enum, default_value = "pem")]
    format: Format,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Whose password, and for whom.
#[derive(clap::Args)]
pub struct SignArgs {
    /// The device's name
    name: String,
    /// The CA's address, such as https://ca.example.org:9000
    #[arg(long, value_name = "URL")]
    ca_url: String,
    /// SHA-256 of the root certificate: muster ca fingerprint
    #[arg(long, value_name = "HEX")]
    fingerprint: String,
    /// Whose password it is
    #[arg(long, value_name = "NAME", default_value = "iot-devices")]
    provisioner: String,
    /// File that holds the password, such as /dev/stdin
    #[arg(long, value_name = "FILE")]
    password_file: PathBuf,
    /// How long the certificate shall hold, such as 720h; as long as the CA says, unless said
    #[arg(long, value_name = "DURATION", default_value = "")]
    validity: String,
    /// Where its files go: ca.crt, NAME.crt and NAME.key
    #[arg(long, value_name = "DIR", default_value = DIR)]
    dir: PathBuf,
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

/// Does it.
pub async fn run(voice: Voice, clock: Clock, command: AgentCommand) -> Result<Exit, Failure> {
    match command {
        AgentCommand::Enrol(args) => enrolled(voice, clock, args).await,
        AgentCommand::Sign(args) => signed(voice, &clock, args).await,
        AgentCommand::Run(args) => {
            let stop = stopped()?;
            device::run::run(&args.dir, clock, stop).await?;
            voice.say("Stopped. The device goes on with the certificate that it has.");
            Ok(Exit::Ok)
        }
        AgentCommand::Status(args) => status(voice, &clock, &args.dir),
        AgentCommand::Renew { at, dry_run } => renewed(voice, &clock, &at.dir, dry_run).await,
    }
}

async fn enrolled(voice: Voice, clock: Clock, args: EnrolArgs) -> Result<Exit, Failure> {
    let given = match args.code {
        Some(code) => Some(code),
        None => variable("MUSTER_CODE")?,
    };
    let code = Zeroizing::new(match given {
        Some(code) => code,
        None => typed(voice).await?,
    });
    let code: Code = code
        .parse()
        .map_err(|why: muster_api::code::NoCode| Failure::usage(why.to_string()))?;
    let broker = args.broker.as_deref().map(broker_address).transpose()?;
    let ask = Ask {
        code,
        name: args.name,
        dir: args.dir,
        group: args.group,
        hook: args.hook,
        broker: broker.map(|(host, port)| format!("{host}:{port}")),
    };
    if args.dry_run {
        let name = rehearse(&ask, &clock).await?;
        let (url, dir) = (ask.code.url(), ask.dir.display());
        voice.data(
            &format!("{name} would enrol at {url}, with its files in {dir}. Nothing was changed."),
            &json!({ "name": name, "enrolled": false }),
        )?;
        return Ok(Exit::Ok);
    }
    let done = enrol(ask, &clock).await?;
    let text = match args.format {
        Format::Pem => paths(&done),
        Format::MosquittoBridge if done.settings.broker.is_some() => {
            snippet::mosquitto_bridge_of_agent(&facts(&done)?)
        }
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
    if matches!(args.format, Format::MosquittoBridge) {
        say_what_a_bridge_lacks(voice, &done.settings);
    }
    Ok(Exit::Ok)
}

fn say_what_a_bridge_lacks(voice: Voice, settings: &Settings) {
    if settings.group.is_none() {
        voice.say("Note: Mosquitto cannot read the key, unless it runs as this user: run this again with --group mosquitto");
    }
    if settings.broker.is_none() {
        voice.say(
            "Note: without --broker the agent neither tries a renewed certificate with the broker nor makes the bridge reconnect",
        );
    }
}

/// A code from standard input.
async fn typed(voice: Voice) -> Result<String, Failure> {
    if std::io::stdin().is_terminal() {
        voice.say("Enrolment code (it is not shown):");
    }
    let line = unseen(|| {
        let mut line = String::new();
        std::io::stdin().lock().take(MAX_LINE).read_line(&mut line)?;
        Ok(line)
    })
    .await?;
    if line.trim().is_empty() {
        return Err(Failure::usage("there is no enrolment code")
            .fix("at the CA: muster token create NAME; it prints the line to run here"));
    }
    Ok(line)
}

async fn signed(voice: Voice, clock: &Clock, args: SignArgs) -> Result<Exit, Failure> {
    let dry_run = args.dry_run;
    let ask = asked(args)?;
    if dry_run {
        provisioner::rehearse(&ask, clock).await?;
        let json = json!({ "name": ask.name, "signed": false });
        voice.data(
            &format!(
                "{} would get a certificate from {}, with its files in {}. Nothing was changed.",
                ask.name,
                ask.url,
                ask.dir.display()
            ),
            &json,
        )?;
        return Ok(Exit::Ok);
    }
    let until = provisioner::sign(&ask, clock).await?;
    let [ca, certificate, key] = [
        "ca.crt".into(),
        format!("{}.crt", ask.name),
        format!("{}.key", ask.name),
    ]
    .map(|name: String| ask.dir.join(name));
    let text = [&ca, &certificate, &key]
        .map(|path| path.display().to_string())
        .join("\n");
    let json = json!({
        "name": ask.name, "not_after": until.to_string(), "ca": ca, "certificate": certificate, "key": key,
    });
    voice.data(&text, &json)?;
    voice.say(&format!("{} has a certificate until {until}.", ask.name));
    Ok(Exit::Ok)
}

/// What a provisioner is asked, as far as it can be right.
fn asked(args: SignArgs) -> Result<provisioner::Ask, Failure> {
    let file = args.password_file.display();
    let read = std::fs::read_to_string(&args.password_file).map(Zeroizing::new);
    let text = read.map_err(|why| Failure::usage(format!("cannot read {file}: {why}")))?;
    let ask = provisioner::Ask {
        name: args.name,
        url: args.ca_url.trim_end_matches('/').to_owned(),
        fingerprint: args.fingerprint.replace(':', "").to_ascii_lowercase(),
        provisioner: args.provisioner,
        password: Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()),
        validity: args.validity,
        dir: args.dir,
    };
    if !ask.url.starts_with("https://") {
        let fix = "say such as https://ca.example.org:9000";
        return Err(Failure::usage(format!("{:?} is no URL of a CA", args.ca_url)).fix(fix));
    }
    if ask.fingerprint.len() != 64 || !ask.fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let fix = "at the CA: muster ca fingerprint; at a step-ca: step certificate fingerprint root_ca.crt";
        return Err(Failure::usage("the fingerprint has 64 hexadecimal digits").fix(fix));
    }
    if ask.password.is_empty() {
        return Err(Failure::usage(format!("there is no password in {file}")));
    }
    Ok(ask)
}

async fn renewed(voice: Voice, clock: &Clock, dir: &Path, dry_run: bool) -> Result<Exit, Failure> {
    let (home, settings) = when_free(|| Home::open_enrolled(dir)).await?;
    if dry_run {
        renew::rehearse(&home, &settings, clock).await?;
    } else {
        renew::renew(&home, &settings, clock).await?;
    }
    let pair = home.pair(&settings.name)?;
    let until = pair.map(|pair| pair.leaf().not_after().to_string());
    let json = json!({ "name": settings.name, "not_after": until, "renewed": !dry_run });
    let name = &settings.name;
    let until = until.unwrap_or_default();
    let text = if dry_run {
        format!(
            "{} would renew the certificate of {name}. Nothing was changed.",
            settings.url
        )
    } else {
        format!("{name} has renewed; its certificate holds until {until}.")
    };
    voice.data(&text, &json)?;
    Ok(Exit::Ok)
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
