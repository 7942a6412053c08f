//! `muster revocation`: of many at once, which waits until a second operator agrees.

use clap::Subcommand;
use muster_api::types::{JudgeRevocation, RevokedMany, WaitingRevocation};

use super::connect::Session;
use super::report::{Exit, Failure, Voice};
use super::{Common, ca, proof};

#[derive(Subcommand)]
pub(super) enum RevocationCommand {
    /// Show the revocation that waits for a second operator, if there is one
    List,
    /// Agree to it, as another operator than who asked for it: it is done at once
    #[command(after_help = "Example:
  muster revocation agree 2030-06-01T12:00:00Z

Exit code 5: recorded and on the CRL, but not yet proved by every broker.")]
    Agree(JudgeArgs),
    /// Throw it away: nothing is revoked
    Reject(JudgeArgs),
}

#[derive(clap::Args)]
pub(super) struct JudgeArgs {
    /// When it was asked for, as muster revocation list says it: what took its place meanwhile is not meant
    when: String,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(common: &Common, voice: Voice, command: RevocationCommand) -> Result<Exit, Failure> {
    match command {
        RevocationCommand::List => list(common, voice).await,
        RevocationCommand::Agree(args) => agree(common, voice, args).await,
        RevocationCommand::Reject(args) => reject(common, voice, args).await,
    }
}

async fn list(common: &Common, voice: Voice) -> Result<Exit, Failure> {
    let session = Session::start(common).await?;
    let waiting = waiting(&session).await?;
    session.finish().await?;
    let text: Vec<_> = waiting.iter().map(describe).collect();
    voice.data(&text.join("\n"), &waiting)?;
    match waiting.first() {
        None => voice.say("No revocation waits for a second operator."),
        Some(one) => voice.say(&format!(
            "Another operator than {} agrees with: muster revocation agree {}",
            one.by, one.at
        )),
    }
    Ok(Exit::Ok)
}

async fn agree(common: &Common, voice: Voice, args: JudgeArgs) -> Result<Exit, Failure> {
    let session = Session::start(common).await?.dry_run(args.dry_run);
    let asked = waiting(&session).await?.into_iter();
    let issuing_of = asked
        .filter(|one| one.at == args.when)
        .find_map(|one| one.issuing_of);
    let done = judge(&session, "agree", args.when).await?;
    let here = session.is_in_this_process();
    let exit = proof::tell_many(session, voice, done, args.dry_run).await?;
    if let Some(authority) = issuing_of
        && !args.dry_run
    {
        ca::name_on_the_roots_list(common, voice, authority, here).await;
    }
    Ok(exit)
}

async fn reject(common: &Common, voice: Voice, args: JudgeArgs) -> Result<Exit, Failure> {
    let session = Session::start(common).await?.dry_run(args.dry_run);
    let answer = judge(&session, "reject", args.when).await?;
    session.finish().await?;
    voice.data(voice.done("rejected", args.dry_run), &answer)?;
    Ok(Exit::Ok)
}

async fn waiting(session: &Session) -> Result<Vec<WaitingRevocation>, Failure> {
    Ok(session.client.get("/revocations").await?)
}

async fn judge(session: &Session, verdict: &str, at: String) -> Result<RevokedMany, Failure> {
    let path = format!("/revocations/{verdict}");
    Ok(session.client.post(&path, &JudgeRevocation { at }).await?)
}

fn describe(one: &WaitingRevocation) -> String {
    let what = match &one.issuing_of {
        Some(authority) => format!(
            "retire the issuing CA of {authority} that issues no more, with {} certificates that live",
            one.count
        ),
        None if one.retire => format!("retire {} devices", one.count),
        None if one.serials.is_empty() => format!("revoke {} devices", one.count),
        None => format!("revoke {} certificates", one.count),
    };
    let mut lines = vec![
        format!("{}: {what}", one.at),
        format!("  asked for by  {}", one.by),
        format!("  reason        {}", one.reason),
        format!("  note          {}", one.note),
        format!("  waits until   {}", one.until),
    ];
    lines.extend(
        one.serials
            .iter()
            .chain(&one.devices)
            .map(|name| format!("  {name}")),
    );
    lines.join("\n")
}
