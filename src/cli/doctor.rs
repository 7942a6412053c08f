//! `muster doctor`: why a device does not connect

use clap::Subcommand;
use muster_api::client::escape;
use muster_api::types::{Attempt, Diagnosis, DiagnosisListener, Done, OpenDiagnosis, Verdict};

use super::Common;
use super::connect::Session;
use super::report::{Exit, Failure, Voice};

#[derive(Subcommand)]
pub(super) enum DoctorCommand {
    /// Say why a device does not connect, in one sentence with one fix
    #[command(after_help = "Example:
  muster doctor device site-001

Exit code 5 if something is wrong, 0 if nothing is known to be")]
    Device {
        /// Its name
        name: String,
    },
    /// Switch the diagnosis listener on: a port that takes any certificate, lets nobody in, and notes what is wrong
    #[command(after_help = "Example:
  muster doctor listen --minutes 10
  muster doctor device site-001         # once the device has tried to connect to that port")]
    Listen {
        /// For how long, 1 to 60
        #[arg(long, default_value_t = 10)]
        minutes: u16,
        /// Switch it off
        #[arg(long, conflicts_with = "minutes")]
        off: bool,
        /// Only check
        #[arg(long)]
        dry_run: bool,
    },
    /// Say who came to the diagnosis listener and is no device that is known
    Seen,
}

pub(super) async fn run(common: &Common, voice: Voice, command: DoctorCommand) -> Result<Exit, Failure> {
    match command {
        DoctorCommand::Device { name } => device(common, voice, &name).await,
        DoctorCommand::Listen { off, dry_run, .. } if off => {
            let session = Session::start(common).await?.dry_run(dry_run);
            let done: Done = session.client.delete("/diagnosis").await?;
            session.finish().await?;
            voice.data(voice.done("off", dry_run), &done)?;
            Ok(Exit::Ok)
        }
        DoctorCommand::Listen { minutes, dry_run, .. } => {
            let session = Session::start(common).await?.dry_run(dry_run);
            let asked = OpenDiagnosis { minutes };
            let listener: DiagnosisListener = session.client.post("/diagnosis", &asked).await?;
            session.finish().await?;
            if dry_run {
                voice.data(voice.done("", true), &listener)?;
                return Ok(Exit::Ok);
            }
            let until = listener.until.as_deref().unwrap_or("now");
            voice.data(&format!("{} is on until {until}", listener.address), &listener)?;
            voice.say("Let the device connect there with the files that it uses; then ask: muster doctor device NAME");
            Ok(Exit::Ok)
        }
        DoctorCommand::Seen => {
            let session = Session::start(common).await?;
            let listener: DiagnosisListener = session.client.get("/diagnosis").await?;
            session.finish().await?;
            voice.data(&seen(&listener), &listener)?;
            Ok(Exit::Ok)
        }
    }
}

async fn device(common: &Common, voice: Voice, name: &str) -> Result<Exit, Failure> {
    let session = Session::start(common).await?;
    let path = format!("/devices/{}/diagnosis", escape(name));
    let found: Diagnosis = session.client.get(&path).await?;
    session.finish().await?;
    voice.data(&in_words(&found.verdict), &found)?;
    match (found.attempts.first(), &found.listening_until) {
        (Some(last), _) => voice.say(&format!("Last at the diagnosis listener: {}", attempt(last))),
        (None, Some(until)) => voice.say(&format!(
            "The diagnosis listener is on until {until}; it was not there yet."
        )),
        (None, None) => {}
    }
    Ok(if found.verdict.cause == "nothing-known" {
        Exit::Ok
    } else {
        Exit::Attention
    })
}

fn in_words(verdict: &Verdict) -> String {
    let command = verdict.command.as_ref();
    let command = command.map_or_else(String::new, |command| format!("\n       {command}"));
    format!("{}\n  fix: {}{command}", verdict.what, verdict.fix)
}

fn attempt(attempt: &Attempt) -> String {
    let serial = attempt.serial.as_ref();
    let serial = serial.map_or_else(String::new, |serial| format!(", with the certificate {serial}"));
    format!(
        "{}, from {} ({}){serial}",
        attempt.at, attempt.address, attempt.certainty
    )
}

fn seen(listener: &DiagnosisListener) -> String {
    let state = match &listener.until {
        Some(until) => format!("{} is on until {until}", listener.address),
        None => format!(
            "{} is off; switch it on with: muster doctor listen",
            listener.address
        ),
    };
    let each = listener.strangers.iter().map(|one| {
        let what = one
            .verdict
            .as_ref()
            .map_or("nothing is wrong with it", |verdict| &verdict.what);
        format!("\n{}  {}", one.at, what)
    });
    format!("{state}{}", each.collect::<String>())
}
