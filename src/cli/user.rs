//! `muster user`

use clap::Subcommand;
use muster_api::client::escape;
use muster_api::types::{AddOperator, Operator};

use super::Common;
use super::connect::Session;
use super::report::{Exit, Failure, Voice, table};

#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// Add an operator and print its API key, once
    #[command(after_help = "Example:\n  muster user create ci --role operator > api-key")]
    Create {
        /// Name, as the audit log shows it
        name: String,
        /// admin, operator, viewer or auditor
        #[arg(long, default_value = "operator")]
        role: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// List operators
    List,
    /// Remove an operator; its API key is refused from now on
    Remove {
        /// Name
        name: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

pub(super) async fn run(common: &Common, voice: Voice, command: UserCommand) -> Result<Exit, Failure> {
    let dry_run = match &command {
        UserCommand::Create { dry_run, .. } | UserCommand::Remove { dry_run, .. } => *dry_run,
        UserCommand::List => false,
    };
    let session = Session::start(common).await?.dry_run(dry_run);
    match command {
        UserCommand::Create { name, role, .. } => {
            let made: Operator = session
                .client
                .post("/operators", &AddOperator { name, role })
                .await?;
            match &made.key {
                Some(key) => {
                    voice.data(key, &made)?;
                    voice.say("The API key is not shown again.");
                }
                None => {
                    let text = format!(
                        "Would add the operator {} with the role {}. Nothing was changed.",
                        made.name, made.role
                    );
                    voice.data(&text, &made)?;
                }
            }
        }
        UserCommand::List => {
            let operators: Vec<Operator> = session.client.get("/operators").await?;
            let head = ["NAME", "ROLE", "SINCE"].map(str::to_owned).to_vec();
            let row = |operator: &Operator| {
                vec![
                    operator.name.clone(),
                    operator.role.clone(),
                    operator.created.clone(),
                ]
            };
            let rows: Vec<_> = std::iter::once(head).chain(operators.iter().map(row)).collect();
            voice.data(&table(&rows), &operators)?;
        }
        UserCommand::Remove { name, .. } => {
            let answer: serde_json::Value = session
                .client
                .delete(&format!("/operators/{}", escape(&name)))
                .await?;
            voice.data(voice.done("removed", dry_run), &answer)?;
        }
    }
    session.finish().await?;
    Ok(Exit::Ok)
}
