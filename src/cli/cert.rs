//! `muster cert`

use std::path::{Path, PathBuf};

use clap::Subcommand;
use muster_api::client::escape;
use muster_api::types::{ActRequest, Certificate, Device, Issued, Revocation};

use super::connect::Session;
use super::list::Paging;
use super::report::{Exit, Failure, Voice, table};
use super::{Common, files, inspect, issue, list as pages, proof};

#[derive(Subcommand)]
pub(super) enum CertCommand {
    /// Make a key and a certificate, and the configuration that goes with them
    #[command(after_help = "Examples:
  muster cert issue mqtt.ak-sg.com --kind server --san mqtt.ak-sg.com,10.0.80.50 --out certs
  muster cert issue site-001 --kind client --validity 30d --broker mqtt.ak-sg.com --zip")]
    Issue(issue::IssueArgs),
    /// Sign a certificate request
    Sign(issue::SignArgs),
    /// List certificates, newest first
    #[command(after_help = "Examples:
  muster cert list --expires-within 7d
  muster cert list --status revoked --search site-04 --sort name --csv")]
    List(ListArgs),
    /// Show a certificate, by serial number
    Show {
        /// Serial number, hexadecimal
        serial: String,
    },
    /// Issue anew for a device: the same profile and names
    Renew(issue::RenewArgs),
    /// Revoke a certificate
    #[command(after_help = "Exit code 5: recorded and on the CRL, but not yet proved by every broker.")]
    Revoke(RevokeArgs),
    /// Write a certificate and its chain (never a key) into a directory
    Download {
        /// Serial number, or the name of a device (its newest certificate)
        what: String,
        /// Directory
        #[arg(long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
        /// Write NAME.der as well
        #[arg(long)]
        der: bool,
        /// Write NAME.h as well (strings for C: ESP-IDF, Arduino)
        #[arg(long)]
        c_header: bool,
    },
    /// Explain a certificate, request, CRL or what a server shows, in plain words
    #[command(after_help = "Examples:
  muster cert inspect site-001.crt
  muster cert inspect mqtt.ak-sg.com:8883")]
    Inspect(inspect::InspectArgs),
    /// Check a certificate and its chain, and say what is wrong
    #[command(after_help = "Example:
  muster cert verify mqtt.ak-sg.com.crt --ca ca.crt --purpose server --host mqtt.ak-sg.com")]
    Verify(inspect::VerifyArgs),
}

#[derive(clap::Args)]
pub(super) struct ListArgs {
    /// all, active, expired or revoked
    #[arg(long)]
    status: Option<String>,
    /// Only active ones that run out within this time, such as 7d
    #[arg(long, value_name = "TIME")]
    expires_within: Option<String>,
    /// Only this device's
    #[arg(long)]
    device: Option<String>,
    /// Only those that follow this profile
    #[arg(long)]
    profile: Option<String>,
    /// Only this authority's
    #[arg(long)]
    authority: Option<String>,
    /// Only those asked for so: operator, renewal, listener, token, step, token:ID, step:PROVISIONER
    #[arg(long)]
    how: Option<String>,
    /// Issued then or later, such as 2030-06-01 or 2030-06-01T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    issued_from: Option<String>,
    /// Issued before then
    #[arg(long, value_name = "WHEN")]
    issued_until: Option<String>,
    /// Running out then or later
    #[arg(long, value_name = "WHEN")]
    expires_from: Option<String>,
    /// Running out before then
    #[arg(long, value_name = "WHEN")]
    expires_until: Option<String>,
    /// Beginning of a name, a serial number, or the beginning of a fingerprint
    #[arg(long, value_name = "WHAT")]
    search: Option<String>,
    /// issued, expiry or name; with - in front the greatest comes first
    #[arg(long, allow_hyphen_values = true)]
    sort: Option<String>,
    #[command(flatten)]
    paging: Paging,
}

#[derive(clap::Args)]
pub(super) struct RevokeArgs {
    /// Serial number, a certificate file, or the name of a device with one living certificate
    what: String,
    /// key-compromise, superseded, cessation-of-operation, affiliation-changed, privilege-withdrawn or unspecified
    #[arg(long, default_value = "unspecified")]
    reason: String,
    /// Words for the audit log
    #[arg(long, default_value = "")]
    note: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Only say what would be revoked
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(common: &Common, voice: Voice, command: CertCommand) -> Result<Exit, Failure> {
    match command {
        CertCommand::Issue(args) => issue::issue(common, voice, args).await,
        CertCommand::Sign(args) => issue::sign(common, voice, args).await,
        CertCommand::Renew(args) => issue::renew(common, voice, args).await,
        CertCommand::Inspect(args) => inspect::inspect(voice, args).await,
        CertCommand::Verify(args) => inspect::verify(voice, &args).await,
        CertCommand::List(args) => list(common, voice, args).await,
        CertCommand::Show { serial } => show(common, voice, &serial).await,
        CertCommand::Revoke(args) => revoke(common, voice, args).await,
        CertCommand::Download {
            what,
            out,
            der,
            c_header,
        } => download(common, voice, &what, &out, (der, c_header)).await,
    }
}

async fn list(common: &Common, voice: Voice, args: ListArgs) -> Result<Exit, Failure> {
    let wishes = [
        ("status", &args.status),
        ("expires_within", &args.expires_within),
        ("device", &args.device),
        ("profile", &args.profile),
        ("authority", &args.authority),
        ("how", &args.how),
        ("issued_from", &args.issued_from),
        ("issued_until", &args.issued_until),
        ("expires_from", &args.expires_from),
        ("expires_until", &args.expires_until),
        ("q", &args.search),
        ("sort", &args.sort),
    ];
    let session = Session::start(common).await?;
    pages::run(session, voice, "certificates", &wishes, &args.paging, rows).await
}

async fn show(common: &Common, voice: Voice, serial: &str) -> Result<Exit, Failure> {
    let session = Session::start(common).await?;
    let issued: Issued = session
        .client
        .get(&format!("/certificates/{}", escape(serial)))
        .await?;
    session.finish().await?;
    voice.data(&describe(&issued.certificate), &issued)?;
    Ok(Exit::Ok)
}

async fn revoke(common: &Common, voice: Voice, args: RevokeArgs) -> Result<Exit, Failure> {
    let session = Session::start(common).await?.dry_run(args.dry_run);
    let serial = serial_of(&session, &args.what, Several::Refused).await?;
    if !args.yes && !args.dry_run {
        let issued: Issued = session
            .client
            .get(&format!("/certificates/{}", escape(&serial)))
            .await?;
        confirm(voice, &issued.certificate.device, "revoke the certificate of")?;
    }
    let request = ActRequest {
        reason: Some(args.reason),
        note: args.note,
    };
    let done: Revocation = session
        .client
        .post(&format!("/certificates/{}/revoke", escape(&serial)), &request)
        .await?;
    proof::tell(session, voice, done, "revoked", args.dry_run).await
}

/// Asks to type the name. Without a terminal only `--yes` will do.
pub(super) fn confirm(voice: Voice, name: &str, what: &str) -> Result<(), Failure> {
    use std::io::{IsTerminal, stdin};
    if !stdin().is_terminal() {
        return Err(Failure::usage("this needs your word").fix("add --yes"));
    }
    voice.say(&format!("To {what} {name}, type its name:"));
    let mut line = String::new();
    stdin().read_line(&mut line)?;
    if line.trim() == name {
        Ok(())
    } else {
        Err(Failure::usage("that is another name; nothing was changed"))
    }
}

async fn download(
    common: &Common,
    voice: Voice,
    what: &str,
    out: &Path,
    (der, c_header): (bool, bool),
) -> Result<Exit, Failure> {
    let session = Session::start(common).await?;
    let serial = serial_of(&session, what, Several::Newest).await?;
    let issued: Issued = session
        .client
        .get(&format!("/certificates/{}", escape(&serial)))
        .await?;
    session.finish().await?;
    let bundle = issue::bundle(&issued, None, None, issue::kind(&issued))?;
    let mut all = bundle.files();
    all.extend(der.then(|| bundle.der()));
    all.extend(c_header.then(|| bundle.c_header()));
    let written = files::write_bundle(out, bundle.name(), &all)?;
    let lines: Vec<_> = written.iter().map(|path| path.display().to_string()).collect();
    voice.data(&lines.join("\n"), &written)?;
    Ok(Exit::Ok)
}

/// What a device's name means when it has several living certificates, as after each renewal.
#[derive(PartialEq, Eq)]
enum Several {
    Newest,
    Refused,
}

/// The serial number that a word means: itself, that of a file, or that of a device's living certificate.
async fn serial_of(session: &Session, what: &str, several: Several) -> Result<String, Failure> {
    let path = Path::new(what);
    if path.is_file() {
        let all = muster_pki::cert::Certificate::all_from_pem(&files::text(path)?)?;
        let first = all
            .first()
            .ok_or_else(|| Failure::usage(format!("{what} holds no certificate")))?;
        return Ok(first.serial().iter().map(|byte| format!("{byte:02x}")).collect());
    }
    // A name may look like a serial number; a device that is there is what was meant.
    let found: Result<Device, _> = session.client.get(&format!("/devices/{}", escape(what))).await;
    let hex = what.chars().all(|c| c.is_ascii_hexdigit() || c == ':') && what.len() >= 16;
    let device = match found {
        Err(muster_api::Error::Refused(problem)) if hex && problem.status == 404 => {
            return Ok(what.replace(':', ""));
        }
        other => other?,
    };
    let living: Vec<_> = device
        .certificates
        .iter()
        .filter(|certificate| certificate.status == "active")
        .collect();
    match living.as_slice() {
        [newest, rest @ ..] if rest.is_empty() || several == Several::Newest => Ok(newest.serial.clone()),
        [] => Err(Failure::new(
            Exit::Missing,
            format!("{what} has no living certificate"),
        )),
        all => {
            let serials: Vec<_> = all
                .iter()
                .map(|certificate| certificate.serial.as_str())
                .collect();
            Err(Failure::usage(format!(
                "{what} has {} living certificates: {}",
                all.len(),
                serials.join(", ")
            ))
            .fix(format!(
                "name one, or all of them with: muster device revoke {what}"
            )))
        }
    }
}

pub(super) fn rows(certificates: &[Certificate]) -> String {
    let head = ["CN", "STATUS", "PROFILE", "ISSUED", "EXPIRES", "SERIAL"];
    let row = |certificate: &Certificate| {
        [
            certificate.device.clone(),
            certificate.status.clone(),
            certificate.profile.clone(),
            certificate.issued.clone(),
            certificate.not_after.clone(),
            certificate.serial.clone(),
        ]
    };
    table(head, certificates.iter().map(row))
}

fn describe(certificate: &Certificate) -> String {
    let mut lines = vec![
        format!("{} ({})", certificate.device, certificate.status),
        format!("  profile        {}", certificate.profile),
        format!("  names          {}", certificate.sans.join(", ")),
        format!("  issued         {}", certificate.issued),
        format!(
            "  valid          {} to {}",
            certificate.not_before, certificate.not_after
        ),
        format!("  serial number  {}", certificate.serial),
        format!("  in decimal     {}", certificate.serial_decimal),
        format!("  fingerprint    {}", certificate.fingerprint),
        format!(
            "  issued by      {} {} ({})",
            certificate.authority, certificate.generation, certificate.how
        ),
    ];
    if let (Some(at), Some(reason)) = (&certificate.revoked_at, &certificate.reason) {
        lines.push(format!("  revoked        {at} ({reason})"));
    }
    lines.join("\n")
}
