//! `muster ca provisioner`

use std::path::PathBuf;

use clap::Subcommand;
use muster_api::client::escape;
use muster_api::types::{AddProvisioner, Provisioner};
use muster_ca::ports::Entropy;
use zeroize::Zeroizing;

use super::Common;
use super::connect::Session;
use super::init::password;
use super::list::{self as pages, Paging};
use super::report::{Exit, Failure, Voice, table};
use crate::real::SystemEntropy;
use crate::secret::write_private;

#[derive(Subcommand)]
pub(super) enum ProvisionerCommand {
    /// Add a provisioner with a new key
    Add {
        /// Its name
        name: String,
        /// File with its password: read if it exists, else made
        #[arg(long, value_name = "FILE")]
        password_file: PathBuf,
        /// Profiles it may ask for; else client and server
        #[arg(long = "profile", value_name = "A,B", value_delimiter = ',')]
        profiles: Vec<String>,
        /// Names it may ask for, such as 'site-*'; else any
        #[arg(long, value_name = "A,B", value_delimiter = ',')]
        names: Vec<String>,
        /// Let it replace the key of a device that has a living certificate
        #[arg(long)]
        replace: bool,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// List provisioners by name
    List(ListArgs),
    /// Remove a provisioner; its tokens are refused from now on
    Remove {
        /// Its name
        name: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(clap::Args)]
pub(super) struct ListArgs {
    /// Only those that name this profile
    #[arg(long)]
    profile: Option<String>,
    /// Beginning of a name
    #[arg(long, value_name = "WHAT")]
    search: Option<String>,
    /// name or created; with - in front the greatest comes first
    #[arg(long, allow_hyphen_values = true)]
    sort: Option<String>,
    #[command(flatten)]
    paging: Paging,
}

pub(super) async fn run(common: &Common, voice: Voice, command: ProvisionerCommand) -> Result<Exit, Failure> {
    let dry_run = match &command {
        ProvisionerCommand::Add { dry_run, .. } | ProvisionerCommand::Remove { dry_run, .. } => *dry_run,
        ProvisionerCommand::List(_) => false,
    };
    let session = Session::start(common).await?.dry_run(dry_run);
    match command {
        ProvisionerCommand::Add {
            name,
            password_file,
            profiles,
            names,
            replace,
            ..
        } => {
            let password = match password_file.exists() {
                true => password(Some(&password_file))?.unwrap_or_default(),
                false => drawn(),
            };
            // On the disk before it is of use: a password that got lost opens nothing.
            let drawn_here = !password_file.exists() && !dry_run;
            if drawn_here {
                write_private(&password_file, password.as_bytes())?;
            }
            let request = AddProvisioner {
                name,
                password: Some(password.to_string()),
                profiles,
                names,
                may_replace: replace,
            };
            let made: Result<Provisioner, _> = session.client.post("/provisioners", &request).await;
            // What was refused needs no password; after any other failure it may have been added.
            if drawn_here && matches!(made, Err(muster_api::Error::Refused(_))) {
                std::fs::remove_file(&password_file)?;
            }
            let made = made?;
            let text = if dry_run {
                format!(
                    "Would add the provisioner {} for the profiles {}. Nothing was changed.",
                    made.name,
                    made.profiles.join(", ")
                )
            } else {
                made.kid.clone()
            };
            voice.data(&text, &made)?;
        }
        ProvisionerCommand::List(args) => {
            let wishes = [
                ("profile", &args.profile),
                ("q", &args.search),
                ("sort", &args.sort),
            ];
            return pages::run(session, voice, "provisioners", &wishes, &args.paging, rows).await;
        }
        ProvisionerCommand::Remove { name, .. } => {
            let answer: serde_json::Value = session
                .client
                .delete(&format!("/provisioners/{}", escape(&name)))
                .await?;
            voice.data(voice.done("removed", dry_run), &answer)?;
        }
    }
    session.finish().await?;
    Ok(Exit::Ok)
}

fn rows(provisioners: &[Provisioner]) -> String {
    let head = ["NAME", "KEY", "PROFILES", "NAMES", "REPLACES KEYS", "SINCE"];
    let row = |one: &Provisioner| {
        let names = if one.names.is_empty() {
            "any".to_owned()
        } else {
            one.names.join(", ")
        };
        let replaces = if one.may_replace { "yes" } else { "no" };
        [
            one.name.clone(),
            one.kid.clone(),
            one.profiles.join(", "),
            names,
            replaces.into(),
            one.created.clone(),
        ]
    };
    table(head, provisioners.iter().map(row))
}

/// 256 random bits as text.
fn drawn() -> Zeroizing<String> {
    use base64::Engine;
    let mut bytes = Zeroizing::new([0; 32]);
    SystemEntropy.fill(&mut *bytes);
    Zeroizing::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(*bytes))
}
