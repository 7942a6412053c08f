//! `muster user`

use std::io::{BufRead, IsTerminal, stdin};

use clap::Subcommand;
use muster_api::client::escape;
use muster_api::types::{AddOperator, Operator, SetPassword};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

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
        UserCommand::Create { dry_run, .. }
        | UserCommand::Password { dry_run, .. }
        | UserCommand::Remove { dry_run, .. } => *dry_run,
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
        UserCommand::Password { name, .. } => {
            let password = read_password(voice)?;
            let request = SetPassword {
                password: password.to_string(),
            };
            let path = format!("/operators/{}/password", escape(&name));
            let answer: serde_json::Value = session.client.post(&path, &request).await?;
            voice.data(voice.done("changed", dry_run), &answer)?;
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

/// From a terminal twice and unseen; else the first line.
fn read_password(voice: Voice) -> Result<Zeroizing<String>, Failure> {
    if !stdin().is_terminal() {
        return read_line();
    }
    let shown = tcgetattr(stdin()).map_err(std::io::Error::from)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(stdin(), OptionalActions::Flush, &hidden).map_err(std::io::Error::from)?;
    voice.say("New password (it is not shown):");
    let twice = read_line().and_then(|first| {
        voice.say("The same again:");
        Ok((first, read_line()?))
    });
    tcsetattr(stdin(), OptionalActions::Flush, &shown).map_err(std::io::Error::from)?;
    match twice? {
        (first, second) if first == second => Ok(first),
        _ => Err(Failure::usage(
            "the two passwords are not the same; nothing was changed",
        )),
    }
}

fn read_line() -> Result<Zeroizing<String>, Failure> {
    let mut line = Zeroizing::new(String::new());
    stdin().lock().read_line(&mut line)?;
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}
