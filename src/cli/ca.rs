//! `muster ca`

use std::path::PathBuf;

use clap::Subcommand;
use muster_api::client::escape;
use muster_api::types::{Authority, Crl, FreshCrl, Generation, RevokeMany, RevokedMany};
use muster_ca::authority::{DEFAULT, INTERNAL};
use muster_pki::crl::Reason;

use super::cert::confirm;
use super::connect::Session;
use super::desk::Desk;
use super::profile;
use super::provisioner::{self, ProvisionerCommand};
use super::report::{Exit, Failure, Voice, table};
use super::{Common, files};
use crate::assemble::Brought;

#[derive(Subcommand)]
pub(super) enum CaCommand {
    /// List the authorities and their generations
    Show,
    /// Print the root certificate (PEM); with several authorities, each one's
    Root {
        /// Only this authority's
        #[arg(long, value_name = "NAME")]
        authority: Option<String>,
        /// Add every issuing CA: what brokers take as ca.crt
        #[arg(long)]
        chain: bool,
        /// File; else standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Print the root's fingerprint: what `step ca bootstrap` asks for
    Fingerprint {
        #[command(flatten)]
        which: Which,
    },
    /// Make the CRLs fresh and print them (PEM): of every issuing CA that is not retired, then the root's, of each authority
    Crl {
        /// Only this authority's
        #[arg(long, value_name = "NAME")]
        authority: Option<String>,
        /// Only this generation of the issuing CA; 0 is the root
        #[arg(long)]
        generation: Option<u32>,
        /// File (readable by all, replaced whole); else standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Make the roots' CRLs anew, for 13 months (with the server stopped; needs the recovery secret)
    RootCrl {
        /// Only this authority's; else of every root whose key is here
        #[arg(long, value_name = "NAME")]
        authority: Option<String>,
        /// File with the roots' recovery secret; else where the first run put it
        #[arg(long, value_name = "FILE")]
        recovery_secret: Option<PathBuf>,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// List the profiles: what may be issued
    Profile(profile::ListArgs),
    /// Provisioners: how `step` clients prove their right
    #[command(subcommand)]
    Provisioner(ProvisionerCommand),
    /// The next issuing CA: start (publish it), activate (let it issue), finish (retire the old one)
    #[command(subcommand)]
    Rollover(RolloverCommand),
    /// Make another authority with a root of its own (with the server stopped)
    Create {
        /// What to call it
        authority: String,
        /// Its display name, which stands in its certificates
        #[arg(long)]
        name: String,
        /// Its root takes the place of this authority's root, which vouches for it: whoever believes that one believes it, too
        #[arg(long, value_name = "AUTHORITY")]
        follows: Option<String>,
        /// File with the root's recovery secret; else where the first run put it
        #[arg(long, value_name = "FILE")]
        recovery_secret: Option<PathBuf>,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Add an authority that was made elsewhere (with the server stopped)
    Import(ImportArgs),
}

#[derive(clap::Args)]
pub(super) struct Which {
    /// Name of the authority
    #[arg(long, default_value = "default", value_name = "NAME")]
    authority: String,
}

#[derive(Subcommand)]
pub(super) enum RolloverCommand {
    /// Make the next issuing CA, on standby (with the server stopped; needs the recovery secret)
    Start {
        #[command(flatten)]
        which: Which,
        /// File with the root's recovery secret; else where the first run put it
        #[arg(long, value_name = "FILE")]
        recovery_secret: Option<PathBuf>,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Let the issuing CA on standby issue
    Activate {
        #[command(flatten)]
        which: Which,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Retire the issuing CA of which nothing lives any more
    Finish {
        #[command(flatten)]
        which: Which,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Retire it at once, although certificates of it live: somebody else has its key
    Revoke {
        #[command(flatten)]
        which: Which,
        /// How many certificates of it live; needed above the number that web.revoke_limit sets
        #[arg(long, value_name = "N")]
        count: Option<usize>,
        /// Words for the audit log
        #[arg(long, default_value = "")]
        note: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(clap::Args)]
pub(super) struct ImportArgs {
    /// What to call it
    name: String,
    /// The root's certificate (PEM)
    #[arg(long, value_name = "FILE")]
    root_cert: PathBuf,
    /// The root's private key
    #[arg(long, value_name = "FILE")]
    root_key: Option<PathBuf>,
    /// The issuing CA's certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "issuing_key")]
    issuing_cert: Option<PathBuf>,
    /// The issuing CA's private key
    #[arg(long, value_name = "FILE", requires = "issuing_cert")]
    issuing_key: Option<PathBuf>,
    /// File with the password of the private keys, if they are encrypted (PKCS#8)
    #[arg(long, value_name = "FILE")]
    key_password_file: Option<PathBuf>,
    /// File with the root's recovery secret; else where the first run put it
    #[arg(long, value_name = "FILE")]
    recovery_secret: Option<PathBuf>,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(common: &Common, voice: Voice, command: CaCommand) -> Result<Exit, Failure> {
    match command {
        CaCommand::Rollover(RolloverCommand::Start {
            which,
            recovery_secret,
            dry_run,
        }) => {
            let desk = Desk::open(common, recovery_secret, dry_run).await?;
            desk.start_rollover(voice, &which.authority).await
        }
        CaCommand::RootCrl {
            authority,
            recovery_secret,
            dry_run,
        } => {
            let desk = Desk::open(common, recovery_secret, dry_run).await?;
            desk.renew_root_crls(voice, authority).await
        }
        CaCommand::Create {
            authority,
            name,
            follows,
            recovery_secret,
            dry_run,
        } => {
            let desk = Desk::open(common, recovery_secret, dry_run).await?;
            desk.create(voice, &authority, &name, follows.as_deref()).await
        }
        CaCommand::Import(args) => {
            let brought = read_brought(&args)?;
            let desk = Desk::open(common, args.recovery_secret, args.dry_run).await?;
            desk.import(voice, &args.name, brought).await
        }
        CaCommand::Profile(args) => profile::list(common, voice, args).await,
        CaCommand::Provisioner(command) => provisioner::run(common, voice, command).await,
        online @ (CaCommand::Show
        | CaCommand::Root { .. }
        | CaCommand::Fingerprint { .. }
        | CaCommand::Crl { .. }
        | CaCommand::Rollover(_)) => {
            let dry_run = matches!(
                online,
                CaCommand::Rollover(
                    RolloverCommand::Activate { dry_run: true, .. }
                        | RolloverCommand::Finish { dry_run: true, .. }
                        | RolloverCommand::Revoke { dry_run: true, .. }
                )
            );
            let withdrawn = if let CaCommand::Rollover(RolloverCommand::Revoke {
                which,
                dry_run: false,
                ..
            }) = &online
            {
                Some(which.authority.clone())
            } else {
                None
            };
            let session = Session::start(common).await?.dry_run(dry_run);
            let exit = run_online(&session, voice, online).await?;
            let here = session.is_in_this_process();
            session.finish().await?;
            // What waits for a second operator is not withdrawn yet.
            if let Some(authority) = withdrawn
                && exit == Exit::Ok
            {
                name_on_the_roots_list(common, voice, authority, here).await;
            }
            Ok(exit)
        }
    }
}

/// Only the root's key signs that list. Where it is at hand, which it never is while a server runs, it is done at once. The
/// issuing CA is withdrawn already, whatever comes of this.
pub(super) async fn name_on_the_roots_list(common: &Common, voice: Voice, authority: String, here: bool) {
    if here && let Ok(desk) = Desk::open(common, None, false).await {
        match desk.make_root_crls(Some(authority)).await {
            Ok(made) => return voice.say(&made.words()),
            Err(why) => voice.say(&format!("The root's list could not be made: {why}")),
        }
    }
    voice.say(
        "The root's list does not name it yet, which HAProxy and others that check the whole chain go by. Whoever keeps the recovery \
         secret makes the next one with the server stopped: muster ca root-crl --recovery-secret FILE",
    );
}

fn read_brought(args: &ImportArgs) -> Result<Brought, Failure> {
    let password = args
        .key_password_file
        .as_deref()
        .map(files::password)
        .transpose()?;
    let password = password.as_ref().map(|bytes| &***bytes);
    let key = |path: &Option<PathBuf>| {
        path.as_deref()
            .map(|path| files::private_key(path, password))
            .transpose()
    };
    let issuing = match (&args.issuing_cert, key(&args.issuing_key)?) {
        (Some(path), Some(key)) => Some((files::text(path)?, key)),
        _ => None,
    };
    Ok(Brought {
        root: Some((files::text(&args.root_cert)?, key(&args.root_key)?)),
        issuing,
    })
}

async fn run_online(session: &Session, voice: Voice, command: CaCommand) -> Result<Exit, Failure> {
    match command {
        CaCommand::Show => {
            let authorities: Vec<Authority> = session.client.get("/authorities").await?;
            voice.data(&rows(&authorities), &authorities)?;
        }
        CaCommand::Root {
            authority,
            chain,
            out,
        } => {
            let mut all = Vec::new();
            for authority in fleet(session, authority).await? {
                all.extend(authority.generations);
            }
            all.retain(|generation| generation.number == 0 || (chain && generation.stage != "retired"));
            let text: String = all.iter().map(|generation| generation.pem.as_str()).collect();
            write(voice, out, &text, &all)?;
        }
        CaCommand::Fingerprint { which } => {
            let root = root(session, &which.authority).await?;
            voice.data(
                &root.fingerprint,
                &serde_json::json!({ "fingerprint": root.fingerprint }),
            )?;
        }
        CaCommand::Crl {
            authority,
            generation,
            out,
        } => {
            let crl = fresh_lists(session, voice, authority, generation).await?;
            write(voice, out, &crl.pem, &crl)?;
        }
        CaCommand::Rollover(RolloverCommand::Activate { which, dry_run }) => {
            rollover_step(session, voice, &which.authority, "activate", dry_run).await?;
        }
        CaCommand::Rollover(RolloverCommand::Finish { which, dry_run }) => {
            rollover_step(session, voice, &which.authority, "finish", dry_run).await?;
        }
        CaCommand::Rollover(RolloverCommand::Revoke {
            which,
            count,
            note,
            yes,
            dry_run,
        }) => {
            if !yes && !dry_run {
                confirm(
                    voice,
                    &which.authority,
                    "refuse every device whose certificate the issuing CA before has issued, of the authority",
                )?;
            }
            let request = RevokeMany {
                issuing_of: Some(which.authority),
                reason: Reason::CaCompromise.to_string(),
                note,
                count,
                ..RevokeMany::default()
            };
            return revoke_issuing(session, voice, &request, dry_run).await;
        }
        CaCommand::Rollover(RolloverCommand::Start { .. })
        | CaCommand::Import(_)
        | CaCommand::RootCrl { .. }
        | CaCommand::Profile(_)
        | CaCommand::Provisioner(_)
        | CaCommand::Create { .. } => {
            return Err(Failure::failed("this is done with the server stopped"));
        }
    }
    Ok(Exit::Ok)
}

async fn rollover_step(
    session: &Session,
    voice: Voice,
    authority: &str,
    step: &str,
    dry_run: bool,
) -> Result<(), Failure> {
    let path = format!("/authorities/{}/rollover/{step}", escape(authority));
    let done: Generation = session.client.post(&path, &serde_json::json!({})).await?;
    let text = if dry_run {
        format!("{} would be {}. Nothing was changed.", done.subject, done.stage)
    } else {
        format!("{} is {}", done.subject, done.stage)
    };
    Ok(voice.data(&text, &done)?)
}

/// Retires an issuing CA with everything that it has issued, or asks a second operator to agree.
async fn revoke_issuing(
    session: &Session,
    voice: Voice,
    request: &RevokeMany,
    dry_run: bool,
) -> Result<Exit, Failure> {
    let done: RevokedMany = session.client.post("/revocations", request).await?;
    let text = match (&done.issuing, dry_run) {
        (Some(name), true) => format!("{name} would be retired. Nothing was changed."),
        (Some(name), false) => format!("{name} is retired"),
        (None, true) => "A second operator would have to agree. Nothing was changed.".into(),
        (None, false) => {
            "Nothing is retired yet: a second operator, here an administrator, has to agree within a day: muster \
             revocation list"
                .into()
        }
    };
    voice.data(&text, &done)?;
    Ok(if done.waiting && !dry_run {
        Exit::Attention
    } else {
        Exit::Ok
    })
}

/// The lists of an authority, or of all, as one: a broker needs those of every CA that it trusts.
async fn fresh_lists(
    session: &Session,
    voice: Voice,
    authority: Option<String>,
    generation: Option<u32>,
) -> Result<Crl, Failure> {
    let mut all: Option<Crl> = None;
    for authority in fleet(session, authority).await? {
        let path = format!("/authorities/{}/crl", escape(&authority.name));
        let crl: Crl = session.client.post(&path, &FreshCrl { generation }).await?;
        voice.say(&format!(
            "CRL number {} of {} with {} entries, good until {}",
            crl.number, crl.authority, crl.entries, crl.next_update
        ));
        match &mut all {
            Some(all) => all.pem.push_str(&crl.pem),
            None => all = Some(crl),
        }
    }
    all.ok_or_else(|| Failure::failed("there is no list"))
}

async fn root(session: &Session, name: &str) -> Result<Generation, Failure> {
    let mut all = fleet(session, Some(name.to_owned()))
        .await?
        .swap_remove(0)
        .generations;
    Ok(all.swap_remove(0))
}

/// An authority, or all that brokers may trust; the root of each is its first generation.
async fn fleet(session: &Session, name: Option<String>) -> Result<Vec<Authority>, Failure> {
    let mut all: Vec<Authority> = session.client.get("/authorities").await?;
    all.retain(|authority| match &name {
        Some(name) => authority.name == *name,
        None => authority.name != INTERNAL,
    });
    all.retain(|authority| !authority.generations.is_empty());
    // What devices were given first comes first.
    all.sort_by_key(|authority| authority.name != DEFAULT);
    match (all.is_empty(), name) {
        (true, Some(name)) => Err(Failure::new(
            Exit::Missing,
            format!("there is no authority {name:?}"),
        )),
        _ => Ok(all),
    }
}

fn write(
    voice: Voice,
    out: Option<PathBuf>,
    text: &str,
    json: &impl serde::Serialize,
) -> Result<(), Failure> {
    match out {
        Some(path) => {
            files::write_public(&path, text.as_bytes())?;
            Ok(voice.data(&path.display().to_string(), json)?)
        }
        None => Ok(voice.data(text, json)?),
    }
}

fn rows(authorities: &[Authority]) -> String {
    let head = ["AUTHORITY", "GENERATION", "STAGE", "NAME", "UNTIL", "FINGERPRINT"];
    let row = |authority: &Authority, generation: &Generation| {
        [
            authority.name.clone(),
            match (generation.number, &authority.follows) {
                (0, None) => "root".into(),
                (0, Some(older)) => format!("root, follows {older}"),
                (number, _) => number.to_string(),
            },
            generation.stage.clone(),
            generation.subject.clone(),
            generation.not_after.clone(),
            generation.fingerprint.clone(),
        ]
    };
    let all = authorities
        .iter()
        .flat_map(|a| a.generations.iter().map(move |g| row(a, g)));
    table(head, all)
}
