//! `muster user`

use std::io::{BufRead, IsTerminal, stdin};

use clap::Subcommand;
use muster_agent::cli::unseen;
use muster_api::client::escape;
use muster_api::types::{AddOperator, ChangeRole, Operator, SetPassword};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::connect::Session;
use super::list::Paging;
use super::report::{Exit, Failure, Voice, table};
use super::{Common, list as pages};
use crate::assemble::known_gui_url;
use crate::config::{Config, Flags};

#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// Add an operator and print its API key, or a person's link for choosing a password, once
    #[command(after_help = "Examples:
  muster user create ci --role operator > api-key
  muster user create bob --role viewer --person")]
    Create {
        /// Name, as the audit log shows it
        name: String,
        /// admin, operator, viewer or auditor
        #[arg(long, default_value = "operator")]
        role: String,
        /// A person who logs in to the GUI; gets no API key
        #[arg(long)]
        person: bool,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Print a new link by which an operator chooses a password anew, once and within a week
    Invite {
        /// Name
        name: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Change what an operator may do
    #[command(after_help = "Example:\n  muster user role bob operator")]
    Role {
        /// Name
        name: String,
        /// admin, operator, viewer or auditor
        role: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Print a new API key for an operator, once; the one before is refused from now on
    Key {
        /// Name
        name: String,
        /// Take the key away and make none
        #[arg(long)]
        revoke: bool,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Set the password with which an operator logs in to the GUI
    ///
    /// Asks for it, or reads it from standard input. Its sessions end, and a second factor is removed.
    #[command(
        after_help = "Examples:\n  muster user password alice\n  pass show muster | muster user password alice"
    )]
    Password {
        /// Name
        name: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// List operators by name
    List(ListArgs),
    /// Remove an operator; its API key is refused from now on
    Remove {
        /// Name
        name: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(clap::Args)]
pub(super) struct ListArgs {
    /// all, admin, operator, viewer or auditor
    #[arg(long)]
    role: Option<String>,
    /// Beginning of a name
    #[arg(long, value_name = "WHAT")]
    search: Option<String>,
    /// name, role or created; with - in front the greatest comes first
    #[arg(long, allow_hyphen_values = true)]
    sort: Option<String>,
    #[command(flatten)]
    paging: Paging,
}

pub(super) async fn run(common: &Common, voice: Voice, command: UserCommand) -> Result<Exit, Failure> {
    let dry_run = match &command {
        UserCommand::Create { dry_run, .. }
        | UserCommand::Invite { dry_run, .. }
        | UserCommand::Role { dry_run, .. }
        | UserCommand::Key { dry_run, .. }
        | UserCommand::Password { dry_run, .. }
        | UserCommand::Remove { dry_run, .. } => *dry_run,
        UserCommand::List(_) => false,
    };
    let session = Session::start(common).await?.dry_run(dry_run);
    match command {
        UserCommand::Create {
            name, role, person, ..
        } => {
            let request = AddOperator { name, role, person };
            let made: Operator = session.client.post("/operators", &request).await?;
            match (&made.key, &made.invitation) {
                (Some(key), _) => {
                    voice.data(key, &made)?;
                    voice.say("The API key is not shown again.");
                }
                (None, Some(path)) => tell_invitation(common, voice, path, &made)?,
                (None, None) => {
                    let text = format!(
                        "Would add the operator {} with the role {}. Nothing was changed.",
                        made.name, made.role
                    );
                    voice.data(&text, &made)?;
                }
            }
        }
        UserCommand::Invite { name, .. } => {
            let path = format!("/operators/{}/invitation", escape(&name));
            let answer: Value = session.client.post(&path, &json!({})).await?;
            match answer["invitation"].as_str() {
                Some(path) => tell_invitation(common, voice, path, &answer)?,
                None => voice.data(voice.done("invited", dry_run), &answer)?,
            }
        }
        UserCommand::Role { name, role, .. } => {
            let path = format!("/operators/{}/role", escape(&name));
            let answer: Value = session.client.post(&path, &ChangeRole { role }).await?;
            voice.data(voice.done("changed", dry_run), &answer)?;
        }
        UserCommand::Key { name, revoke, .. } => {
            let path = format!("/operators/{}/key", escape(&name));
            let answer: Value = if revoke {
                session.client.delete(&path).await?
            } else {
                session.client.post(&path, &json!({})).await?
            };
            match answer["key"].as_str() {
                Some(key) => {
                    voice.data(key, &answer)?;
                    voice.say("The API key is not shown again.");
                }
                None if revoke => voice.data(voice.done("revoked", dry_run), &answer)?,
                None => voice.data(voice.done("made", dry_run), &answer)?,
            }
        }
        UserCommand::Password { name, .. } => {
            let password = read_password(voice).await?;
            let request = SetPassword {
                password: password.to_string(),
            };
            let path = format!("/operators/{}/password", escape(&name));
            let answer: Value = session.client.post(&path, &request).await?;
            voice.data(voice.done("changed", dry_run), &answer)?;
        }
        UserCommand::List(args) => {
            let wishes = [("role", &args.role), ("q", &args.search), ("sort", &args.sort)];
            return pages::run(session, voice, "operators", &wishes, &args.paging, rows).await;
        }
        UserCommand::Remove { name, .. } => {
            let answer: Value = session
                .client
                .delete(&format!("/operators/{}", escape(&name)))
                .await?;
            voice.data(voice.done("removed", dry_run), &answer)?;
        }
    }
    session.finish().await?;
    Ok(Exit::Ok)
}

fn rows(operators: &[Operator]) -> String {
    let head = ["NAME", "ROLE", "LOGS IN", "API KEY", "SINCE"];
    let row = |operator: &Operator| {
        let logs_in = match (operator.logs_in, operator.second_factor) {
            (false, _) => "no",
            (true, false) => "password",
            (true, true) => "password and code",
        };
        let key = if operator.has_key { "yes" } else { "no" };
        [
            operator.name.clone(),
            operator.role.clone(),
            logs_in.to_owned(),
            key.to_owned(),
            operator.created.clone(),
        ]
    };
    table(head, operators.iter().map(row))
}

/// The whole link where the GUI's address is known: for a server of this machine.
fn tell_invitation(
    common: &Common,
    voice: Voice,
    path: &str,
    json: &impl serde::Serialize,
) -> Result<(), Failure> {
    let config = match &common.url {
        None => Some(Config::load(&common.data, &Flags::default())?),
        Some(_) => None,
    };
    match config {
        Some(config) => voice.data(&format!("{}{path}", known_gui_url(&config)), json)?,
        None => voice.data(path, json)?,
    }
    voice.say("The link, below the GUI's address, works once and for a week. It is not shown again.");
    Ok(())
}

/// From a terminal twice and unseen; else the first line.
async fn read_password(voice: Voice) -> Result<Zeroizing<String>, Failure> {
    if !stdin().is_terminal() {
        return Ok(read_line()?);
    }
    voice.say("New password (it is not shown):");
    let first = unseen(read_line).await?;
    voice.say("The same again:");
    match (first, unseen(read_line).await?) {
        (first, second) if first == second => Ok(first),
        _ => Err(Failure::usage(
            "the two passwords are not the same; nothing was changed",
        )),
    }
}

fn read_line() -> std::io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    stdin().lock().read_line(&mut line)?;
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}
