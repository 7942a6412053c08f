//! `muster audit`

use clap::Subcommand;
use muster_api::types::{AuditEntry, AuditVerdict, Page};

use super::Common;
use super::connect::Session;
use super::report::{Exit, Failure, Voice, table};

#[derive(Subcommand)]
pub(super) enum AuditCommand {
    /// List entries, newest first
    List {
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Continue at entries before this number
        #[arg(long)]
        after: Option<u64>,
    },
    /// Walk the whole chain: was anything changed or taken out?
    Verify,
}

pub(super) async fn run(common: &Common, voice: Voice, command: AuditCommand) -> Result<Exit, Failure> {
    let session = Session::start(common).await?;
    let exit = match command {
        AuditCommand::List { limit, after } => {
            let after = after
                .map(|sequence| format!("&after={sequence}"))
                .unwrap_or_default();
            let page: Page<AuditEntry> = session
                .client
                .get(&format!("/audit?limit={limit}{after}"))
                .await?;
            voice.data(&rows(&page.items), &page)?;
            Exit::Ok
        }
        AuditCommand::Verify => {
            let verdict: AuditVerdict = session.client.get("/audit/verify").await?;
            voice.data(&text(&verdict), &verdict)?;
            if verdict.intact { Exit::Ok } else { Exit::Attention }
        }
    };
    session.finish().await?;
    Ok(exit)
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
    let head = ["NO", "TIME", "WHO", "HOW", "FROM", "WHAT", "TO WHAT"]
        .map(str::to_owned)
        .to_vec();
    let row = |entry: &AuditEntry| {
        vec![
            entry.sequence.to_string(),
            entry.at.clone(),
            entry.actor.clone(),
            entry.via.clone(),
            entry.source.clone(),
            entry.action.clone(),
            entry.subject.clone(),
        ]
    };
    table(
        &std::iter::once(head)
            .chain(entries.iter().map(row))
            .collect::<Vec<_>>(),
    )
}
