//! `muster token`

use clap::Subcommand;
use muster_api::client::escape;
use muster_api::types::{CreateToken, NewToken, Revocation, Token, Unbind};

use super::connect::Session;
use super::list::{self, Paging};
use super::report::{Exit, Failure, Voice, table};
use super::{Common, proof};

#[derive(Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token for one device, or for a wave of devices
    #[command(after_help = "Examples:
  muster token create site-001 --lifetime 24h
  muster token create --wave spring --count 100 --csv")]
    Create(CreateArgs),
    /// List tokens, newest first
    List(ListArgs),
    /// Withdraw a token; names that it has bound stay
    Revoke {
        /// The token's id
        id: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Take back what a device got through a token: revokes its certificates and frees the use
    #[command(after_help = "Exit code 5: recorded and on the CRL, but not yet proved by every broker.")]
    Unbind {
        /// The token's id
        id: String,
        /// The device's name
        name: String,
        /// Words for the audit log
        #[arg(long, default_value = "")]
        note: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(clap::Args)]
pub(super) struct ListArgs {
    /// all, open, used-up, expired or withdrawn
    #[arg(long)]
    status: Option<String>,
    /// Only for devices that follow this profile
    #[arg(long)]
    profile: Option<String>,
    /// Beginning of an id, of a device's name or of a wave's
    #[arg(long, value_name = "WHAT")]
    search: Option<String>,
    /// created; with - in front the newest come first
    #[arg(long, allow_hyphen_values = true)]
    sort: Option<String>,
    #[command(flatten)]
    paging: Paging,
}

#[derive(clap::Args)]
pub(super) struct CreateArgs {
    /// The only device it is for
    name: Option<String>,
    /// Name of a wave, instead of one device
    #[arg(long, conflicts_with = "name")]
    wave: Option<String>,
    /// How many devices the wave may have
    #[arg(long, default_value_t = 1, requires = "wave")]
    count: u32,
    /// Profile of the devices
    #[arg(long, default_value = "client")]
    profile: String,
    /// How long it is good for
    #[arg(long, default_value = "24h")]
    lifetime: String,
    /// Print CSV: id, device, wave, uses, expires, secret, line
    #[arg(long)]
    csv: bool,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(common: &Common, voice: Voice, command: TokenCommand) -> Result<Exit, Failure> {
    let dry_run = match &command {
        TokenCommand::List(_) => false,
        TokenCommand::Create(CreateArgs { dry_run, .. })
        | TokenCommand::Revoke { dry_run, .. }
        | TokenCommand::Unbind { dry_run, .. } => *dry_run,
    };
    let session = Session::start(common).await?.dry_run(dry_run);
    let client = &session.client;
    match command {
        TokenCommand::List(args) => {
            let wishes = [
                ("status", &args.status),
                ("profile", &args.profile),
                ("q", &args.search),
                ("sort", &args.sort),
            ];
            return list::run(session, voice, "tokens", &wishes, &args.paging, rows).await;
        }
        TokenCommand::Create(args) => {
            let request = CreateToken {
                device: args.name,
                wave: args.wave.unwrap_or_default(),
                uses: args.count,
                profile: args.profile,
                lifetime: args.lifetime,
            };
            if request.device.is_some() && request.uses != 1 {
                return Err(Failure::usage("--count is for a wave: a name is one device")
                    .fix("muster token create --wave NAME --count N"));
            }
            if request.device.is_none() && request.wave.is_empty() {
                return Err(
                    Failure::usage("say for whom").fix("muster token create NAME, or --wave NAME --count N")
                );
            }
            let made: NewToken = client.post("/tokens", &request).await?;
            session.finish().await?;
            return tell(voice, &made, args.csv, dry_run);
        }
        TokenCommand::Revoke { id, .. } => {
            let answer: serde_json::Value = client.delete(&format!("/tokens/{}", escape(&id))).await?;
            voice.data(voice.done("withdrawn", dry_run), &answer)?;
        }
        TokenCommand::Unbind { id, name, note, .. } => {
            let path = format!("/tokens/{}/unbind", escape(&id));
            let done: Revocation = client.post(&path, &Unbind { name, note }).await?;
            return proof::tell(session, voice, done, "unbound", dry_run).await;
        }
    }
    session.finish().await?;
    Ok(Exit::Ok)
}

/// Says what the device is to run.
pub(super) fn tell(voice: Voice, made: &NewToken, as_csv: bool, dry_run: bool) -> Result<Exit, Failure> {
    let (whom, expires) = (whom(&made.token), &made.token.expires);
    if dry_run {
        let text = format!("Would make a token for {whom}, good until {expires}. Nothing was changed.");
        voice.data(&text, made)?;
        say_notes(voice, made);
        return Ok(Exit::Ok);
    }
    let text = if as_csv { csv(made)? } else { line(made) };
    voice.data(&text, made)?;
    voice.say(&format!(
        "Run this on the device. Good for {whom} until {expires}, and not shown again."
    ));
    say_notes(voice, made);
    Ok(Exit::Ok)
}

/// Says what the device is to be told: for a device that is there already, others may look on.
pub(super) fn tell_code(voice: Voice, made: &NewToken, dry_run: bool) -> Result<Exit, Failure> {
    if dry_run {
        return tell(voice, made, false, dry_run);
    }
    voice.data(&made.code, made)?;
    let (whom, expires) = (whom(&made.token), &made.token.expires);
    voice.say(&format!(
        "Run muster agent enrol on the device, and paste this code when it asks. Good for {whom} until {expires}, and not shown again."
    ));
    say_notes(voice, made);
    Ok(Exit::Ok)
}

fn say_notes(voice: Voice, made: &NewToken) {
    for note in &made.notes {
        voice.say(&format!("Note: {note}"));
    }
}

fn whom(token: &Token) -> String {
    token.device.clone().unwrap_or_else(|| match token.uses {
        1 => format!("1 device of the wave {:?}", token.wave),
        uses => format!("{uses} devices of the wave {:?}", token.wave),
    })
}

/// What is pasted on the device.
fn line(made: &NewToken) -> String {
    let name = if made.token.device.is_none() {
        " --name NAME"
    } else {
        ""
    };
    format!("muster agent enrol {}{name}", made.code)
}

fn csv(made: &NewToken) -> Result<String, Failure> {
    let token = &made.token;
    let head = ["id", "device", "wave", "uses", "expires", "secret", "line"];
    let row = vec![
        token.id.clone(),
        token.device.clone().unwrap_or_default(),
        token.wave.clone(),
        token.uses.to_string(),
        token.expires.clone(),
        made.secret.clone(),
        line(made),
    ];
    let bytes = muster_server::csv(Some(&head), [row])?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

fn status(token: &Token) -> String {
    let again = if token.refused.is_empty() {
        ""
    } else {
        ", shown by another"
    };
    format!("{}{again}", token.status)
}

fn rows(tokens: &[Token]) -> String {
    let head = ["ID", "FOR", "USED", "STATUS", "EXPIRES"];
    let row = |token: &Token| {
        [
            token.id.clone(),
            whom(token),
            format!("{}/{}", token.used, token.uses),
            status(token),
            token.expires.clone(),
        ]
    };
    table(head, tokens.iter().map(row))
}
