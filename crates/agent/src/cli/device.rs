//! Enrol, renew, say how it is: what `muster agent` and `muster-agent` do.

use std::io::{BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use muster_api::Code;
use muster_pki::cert::Certificate;
use muster_pki::snippet::{self, Facts, Use};
use muster_pki::time::format_duration;
use serde_json::json;
use zeroize::Zeroizing;

use super::{Exit, Failure, Voice, broker_address, stopped, variable};
use crate::Clock;
use crate::device::enrol::{Ask, Enrolled, enrol, rehearse};
use crate::device::files::{Home, Settings, read_settings};
use crate::device::status::Status;
use crate::device::time::last;
use crate::device::{self, provisioner, renew};

/// Where a device's files are unless it is said.
pub(super) const DIR: &str = "/etc/muster";

/// The longest line that is read for a code.
const MAX_LINE: u64 = 4096;

/// By how many seconds a clock may be wrong before somebody should know.
const CLOCK_OFF: i64 = 60;

/// For how long an agent that runs may say nothing: twice the longest time after which the CA lets it ask again, 6 h.
const SILENT: SignedDuration = SignedDuration::from_hours(12);

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
            device::run::run(&args.dir, clock, stop).await.map_err(failed)?;
            voice.say("Stopped. The device goes on with the certificate that it has.");
            Ok(Exit::Ok)
        }
        AgentCommand::Status(args) => status(voice, &clock, &args.dir),
        AgentCommand::Renew { at, dry_run } => renewed(voice, &clock, &at.dir, dry_run).await,
    }
}

async fn enrolled(voice: Voice, clock: Clock, args: EnrolArgs) -> Result<Exit, Failure> {
    let given = args.code.or_else(|| variable("MUSTER_CODE"));
    let code = Zeroizing::new(match given {
        Some(code) => code,
        None => typed(voice)?,
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
        let name = rehearse(&ask).await.map_err(failed)?;
        voice.data(
            voice.done("enrolled", true),
            &json!({ "name": name, "enrolled": false }),
        )?;
        return Ok(Exit::Ok);
    }
    let done = enrol(ask, &clock).await.map_err(failed)?;
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

/// A code from standard input.
fn typed(voice: Voice) -> Result<String, Failure> {
    let input = std::io::stdin();
    if input.is_terminal() {
        voice.say("Enrolment code:");
    }
    let mut line = String::new();
    input.lock().take(MAX_LINE).read_line(&mut line)?;
    if line.trim().is_empty() {
        return Err(Failure::usage("there is no enrolment code")
            .fix("at the CA: muster token create NAME; it prints the line to run here"));
    }
    Ok(line)
}

async fn signed(voice: Voice, clock: &Clock, args: SignArgs) -> Result<Exit, Failure> {
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
    if ask.password.is_empty() {
        return Err(Failure::usage(format!("there is no password in {file}")));
    }
    if args.dry_run {
        provisioner::rehearse(&ask).await.map_err(failed)?;
        let json = json!({ "name": ask.name, "signed": false });
        voice.data(voice.done("signed", true), &json)?;
        return Ok(Exit::Ok);
    }
    let until = provisioner::sign(&ask, clock).await.map_err(failed)?;
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

async fn renewed(voice: Voice, clock: &Clock, dir: &Path, dry_run: bool) -> Result<Exit, Failure> {
    let home = Home::open(dir).map_err(failed)?;
    let settings = home.enrolled().map_err(failed)?;
    if dry_run {
        renew::rehearse(&home, &settings, clock).await.map_err(failed)?;
    } else {
        renew::renew(&home, &settings, clock).await.map_err(failed)?;
    }
    let pair = home.pair(&settings.name).map_err(failed)?;
    let until = pair.map(|pair| pair.leaf().not_after().to_string());
    let json = json!({ "name": settings.name, "not_after": until, "renewed": !dry_run });
    voice.data(voice.done("renewed", dry_run), &json)?;
    Ok(Exit::Ok)
}

/// What the agent wrote last, and what is on the disk now.
fn status(voice: Voice, clock: &Clock, dir: &Path) -> Result<Exit, Failure> {
    let settings = read_settings(dir).map_err(failed)?.ok_or_else(|| {
        Failure::new(
            Exit::Missing,
            format!("no device has enrolled in {}", dir.display()),
        )
        .fix("at the CA: muster token create NAME; it prints the line to run here")
    })?;
    let told = Status::read(dir).map_err(failed)?.unwrap_or_default();
    let ahead = SignedDuration::from_secs(told.clock_ahead.unwrap_or_default());
    let now = clock().checked_sub(ahead).unwrap_or_else(|_| clock());
    let text = std::fs::read_to_string(dir.join(format!("{}.crt", settings.name))).unwrap_or_default();
    let until = Certificate::all_from_pem(&text)?
        .first()
        .map(Certificate::not_after);
    let problem = told
        .problem
        .clone()
        .or_else(|| unsaid(&settings, until, &told, now));
    let last = last(dir).map_err(failed)?.filter(|last| is_after(*last, now));
    let until = until.map_or_else(|| "-".to_owned(), |until| until.to_string());
    let renew_at = told
        .renew_at
        .unwrap_or_else(|| "not planned: muster agent run asks the CA".to_owned());
    let off = told.clock_ahead.filter(|ahead| ahead.abs() > CLOCK_OFF);
    let clock_words = off.map_or_else(String::new, clock_words);
    let last_words = last.map_or_else(String::new, |last| {
        format!("\nlast-time {last}: the CA has vouched for this, and it is later than it seems to be now; the CA is asked again")
    });
    let words = problem.as_deref().unwrap_or("none");
    let lines = format!(
        "device    {}\nuntil     {until}\nrenewal   {renew_at}\nproblem   {words}{clock_words}{last_words}",
        settings.name
    );
    let json = json!({
        "name": settings.name, "not_after": until, "renew_at": renew_at, "problem": problem, "clock_ahead": told.clock_ahead,
        "at": told.at, "last_time": last.map(|last| last.to_string()),
    });
    voice.data(&lines, &json)?;
    let well = problem.is_none() && off.is_none() && last.is_none();
    Ok(if well { Exit::Ok } else { Exit::Attention })
}

/// Whether a time is later than a clock may be off.
fn is_after(time: Timestamp, now: Timestamp) -> bool {
    time.duration_since(now).as_secs() > CLOCK_OFF
}

/// What is wrong, and the agent has not said, perhaps because it does not run.
fn unsaid(settings: &Settings, until: Option<Timestamp>, told: &Status, now: Timestamp) -> Option<String> {
    let read = |text: &str| text.parse::<Timestamp>().ok();
    let Some(until) = until.filter(|until| *until > now) else {
        return Some("the certificate has ended, or is gone".into());
    };
    if !settings.enrolled {
        return Some("it has not ended enrolling: run the line of muster token create again".into());
    }
    if let Some(at) = read(&told.at).filter(|at| now.duration_since(*at) > SILENT) {
        return Some(format!(
            "the agent has said nothing since {at}: does muster agent run?"
        ));
    }
    let due = told.renew_at.as_deref().and_then(read)?;
    // Half of what was left then is gone.
    let late = now.duration_since(due) > until.duration_since(due) / 2;
    late.then(|| format!("it was to renew on {due}: does muster agent run?"))
}

/// How far off the clock is, and what that means.
fn clock_words(ahead: i64) -> String {
    let by = format_duration(SignedDuration::from_secs(ahead).abs());
    let way = if ahead > 0 { "ahead of" } else { "behind" };
    format!(
        "\nclock     {by} {way} the CA's: this agent allows for it, and other programs here believe no certificate until it is set"
    )
}

fn failed(why: crate::Error) -> Failure {
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
