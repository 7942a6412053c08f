//! `muster ca provisioner`

use std::path::PathBuf;

use clap::Subcommand;
use muster_api::client::escape;
use muster_api::types::{AddProvisioner, Provisioner};
use muster_ca::ports::Entropy;
use zeroize::Zeroizing;

use super::connect::Session;
use super::init::password;
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
    /// List provisioners
    List,
    /// Remove a provisioner; its tokens are refused from now on
    Remove {
        /// Its name
        name: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

impl ProvisionerCommand {
    pub(super) fn is_dry_run(&self) -> bool {
        match self {
            Self::Add { dry_run, .. } | Self::Remove { dry_run, .. } => *dry_run,
            Self::List => false,
        }
    }
}

pub(super) async fn run(
    session: &Session,
    voice: Voice,
    command: ProvisionerCommand,
) -> Result<Exit, Failure> {
    let dry_run = command.is_dry_run();
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
        ProvisionerCommand::List => {
            let provisioners: Vec<Provisioner> = session.client.get("/provisioners").await?;
            let head = ["NAME", "KEY", "PROFILES", "NAMES", "REPLACES KEYS"]
                .map(str::to_owned)
                .to_vec();
            let row = |p: &Provisioner| {
                let names = if p.names.is_empty() {
                    "any".to_owned()
                } else {
                    p.names.join(", ")
                };
                let replaces = if p.may_replace { "yes" } else { "no" };
                vec![
                    p.name.clone(),
                    p.kid.clone(),
                    p.profiles.join(", "),
                    names,
                    replaces.into(),
                ]
            };
            let rows: Vec<_> = std::iter::once(head)
                .chain(provisioners.iter().map(row))
                .collect();
            voice.data(&table(&rows), &provisioners)?;
        }
        ProvisionerCommand::Remove { name, .. } => {
            let answer: serde_json::Value = session
                .client
                .delete(&format!("/provisioners/{}", escape(&name)))
                .await?;
            voice.data(voice.done("removed", dry_run), &answer)?;
        }
    }
    Ok(Exit::Ok)
}

/// 256 random bits as text.
fn drawn() -> Zeroizing<String> {
    use base64::Engine;
    let mut bytes = Zeroizing::new([0; 32]);
    SystemEntropy.fill(&mut *bytes);
    Zeroizing::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(*bytes))
}
