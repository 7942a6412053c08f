//! `muster audit`

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use muster_api::types::{AuditEntry, AuditVerdict};

use super::Common;
use super::connect::Session;
use super::list::{self, Paging};
use super::report::{Exit, Failure, Voice, table};

#[derive(Subcommand)]
pub(super) enum AuditCommand {
    /// List entries, newest first
    List(ListArgs),
    /// Walk the whole chain: was anything changed or taken out?
    Verify,
}

#[derive(clap::Args)]
pub(super) struct ListArgs {
    /// Only by this one
    #[arg(long)]
    actor: Option<String>,
    /// Only of this action, such as device.revoked
    #[arg(long)]
    action: Option<String>,
    /// Only about this device, or whatever else an act was about
    #[arg(long)]
    subject: Option<String>,
    /// At that moment or later, such as 2030-06-01 or 2030-06-01T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    from: Option<String>,
    /// Before that moment
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// `at`: the oldest first
    #[arg(long)]
    sort: Option<String>,
    #[command(flatten)]
    paging: Paging,
}

pub(super) async fn run(common: &Common, voice: Voice, command: AuditCommand) -> Result<Exit, Failure> {
    let session = Session::start(common).await?;
    match command {
        AuditCommand::List(args) => {
            let wishes = [
                ("actor", &args.actor),
                ("action", &args.action),
                ("subject", &args.subject),
                ("from", &args.from),
                ("until", &args.until),
                ("sort", &args.sort),
            ];
            list::run(session, voice, "audit", &wishes, &args.paging, rows).await
        }
        AuditCommand::Verify => {
            let mut verdict: AuditVerdict = session.client.get("/audit/verify").await?;
            let bar = verdict.next.is_some().then(|| walking(voice));
            while let Some(next) = &verdict.next {
                if let Some(bar) = &bar {
                    bar.set_position(verdict.entries);
                }
                verdict = session
                    .client
                    .get(&format!("/audit/verify?behind={next}"))
                    .await?;
            }
            session.finish().await?;
            voice.data(&text(&verdict), &verdict)?;
            Ok(if verdict.intact { Exit::Ok } else { Exit::Attention })
        }
    }
}

/// How far a long walk is.
fn walking(voice: Voice) -> ProgressBar {
    if voice.quiet {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{human_pos} entries are intact so far, {per_sec}");
    ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

fn text(verdict: &AuditVerdict) -> String {
    match verdict.broken_at {
        None => format!(
            "The chain of {} entries is intact. Its end: {}\nKeep that line elsewhere: what is cut off after it cannot be known.",
            verdict.entries, verdict.head
        ),
        Some(sequence) => format!(
            "The chain is broken at entry {sequence}: it was changed, or one before it was taken out."
        ),
    }
}

fn rows(entries: &[AuditEntry]) -> String {
    let head = ["NO", "TIME", "WHO", "HOW", "FROM", "WHAT", "TO WHAT"];
    let row = |entry: &AuditEntry| {
        [
            entry.sequence.to_string(),
            entry.at.clone(),
            entry.actor.clone(),
            entry.via.clone(),
            entry.source.clone(),
            entry.action.clone(),
            entry.subject.clone(),
        ]
    };
    table(head, entries.iter().map(row))
}
