//! `muster ca`

use std::path::PathBuf;

use clap::Subcommand;
use muster_api::client::escape;
use muster_api::types::{Authority, Crl, Generation, Profile};
use muster_ca::Proof;
use muster_ca::enrol::who::{Evidence, Origin};

use super::connect::Session;
use super::provisioner::{self, ProvisionerCommand};
use super::report::{Exit, Failure, Voice, table};
use super::{Common, files};
use crate::assemble;
use crate::config::{Config, Flags};

#[derive(Subcommand)]
pub(super) enum CaCommand {
    /// List the authorities and their generations
    Show,
    /// Print the root certificate (PEM)
    Root {
        #[command(flatten)]
        which: Which,
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
    /// Make the CRLs fresh and print them (PEM): of every issuing CA that is not retired, then the root's
    Crl {
        #[command(flatten)]
        which: Which,
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
    },
    /// List the profiles: what may be issued
    Profile,
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
        /// File with the root's recovery secret; else where the first run put it
        #[arg(long, value_name = "FILE")]
        recovery_secret: Option<PathBuf>,
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
    },
    /// Let the issuing CA on standby issue
    Activate {
        #[command(flatten)]
        which: Which,
    },
    /// Retire the issuing CA of which nothing lives any more
    Finish {
        #[command(flatten)]
        which: Which,
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
}

pub(super) async fn run(common: &Common, voice: Voice, command: CaCommand) -> Result<Exit, Failure> {
    match command {
        CaCommand::Rollover(RolloverCommand::Start {
            which,
            recovery_secret,
        }) => {
            return start_rollover(common, voice, &which.authority, recovery_secret).await;
        }
        CaCommand::Import(args) => return import(common, voice, args).await,
        CaCommand::RootCrl {
            authority,
            recovery_secret,
        } => {
            return renew_root_crls(common, voice, authority, recovery_secret).await;
        }
        CaCommand::Create {
            authority,
            name,
            recovery_secret,
        } => {
            return create(common, voice, &authority, &name, recovery_secret).await;
        }
        online @ (CaCommand::Show
        | CaCommand::Root { .. }
        | CaCommand::Fingerprint { .. }
        | CaCommand::Crl { .. }
        | CaCommand::Profile
        | CaCommand::Provisioner(_)
        | CaCommand::Rollover(_)) => {
            let session = Session::start(common).await?;
            let exit = run_online(&session, voice, online).await?;
            session.finish().await?;
            Ok(exit)
        }
    }
}

async fn run_online(session: &Session, voice: Voice, command: CaCommand) -> Result<Exit, Failure> {
    match command {
        CaCommand::Show => {
            let authorities: Vec<Authority> = session.client.get("/authorities").await?;
            voice.data(&rows(&authorities), &authorities)?;
        }
        CaCommand::Root { which, chain, out } => {
            let mut all = generations(session, &which.authority).await?;
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
            which,
            generation,
            out,
        } => {
            let query = generation
                .map(|number| format!("?generation={number}"))
                .unwrap_or_default();
            let crl: Crl = session
                .client
                .get(&format!("/authorities/{}/crl{query}", escape(&which.authority)))
                .await?;
            voice.say(&format!(
                "CRL number {} with {} entries, good until {}",
                crl.number, crl.entries, crl.next_update
            ));
            write(voice, out, &crl.pem, &crl)?;
        }
        CaCommand::Profile => {
            let profiles: Vec<Profile> = session.client.get("/profiles").await?;
            voice.data(&profile_rows(&profiles), &profiles)?;
        }
        CaCommand::Provisioner(command) => return provisioner::run(session, voice, command).await,
        CaCommand::Rollover(RolloverCommand::Activate { which }) => {
            rollover_step(session, voice, &which.authority, "activate").await?;
        }
        CaCommand::Rollover(RolloverCommand::Finish { which }) => {
            rollover_step(session, voice, &which.authority, "finish").await?;
        }
        CaCommand::Rollover(RolloverCommand::Start { .. })
        | CaCommand::Import(_)
        | CaCommand::RootCrl { .. }
        | CaCommand::Create { .. } => {
            return Err(Failure::failed("this is done with the server stopped"));
        }
    }
    Ok(Exit::Ok)
}

async fn rollover_step(session: &Session, voice: Voice, authority: &str, step: &str) -> Result<(), Failure> {
    let path = format!("/authorities/{}/rollover/{step}", escape(authority));
    let done: Generation = session.client.post(&path, &serde_json::json!({})).await?;
    voice.data(&format!("{} is {}", done.subject, done.stage), &done)
}

/// In this process only: the recovery secret is never sent to a server.
async fn start_rollover(
    common: &Common,
    voice: Voice,
    authority: &str,
    secret: Option<PathBuf>,
) -> Result<Exit, Failure> {
    let config = Config::load(&common.data, &Flags::default())?;
    let open = assemble::open(&config).await?;
    let secret = assemble::read_secret(&secret.unwrap_or_else(|| assemble::recovery_path(&config)))?;
    let signer = assemble::root_signer(&config, secret)?;
    let made = open.ca.start_rollover(own_proof(), authority, &signer).await?;
    let subject = made.parsed()?.common_name().unwrap_or_default();
    let json = serde_json::json!({ "number": made.number, "subject": subject, "stage": "standby" });
    voice.data(&format!("{subject} stands by"), &json)?;
    voice.say("Give every broker the new ca.crt (muster ca root --chain) and its CRLs (muster ca crl), then: muster ca rollover activate");
    Ok(Exit::Ok)
}

async fn renew_root_crls(
    common: &Common,
    voice: Voice,
    only: Option<String>,
    secret: Option<PathBuf>,
) -> Result<Exit, Failure> {
    let config = Config::load(&common.data, &Flags::default())?;
    let open = assemble::open(&config).await?;
    let secret = assemble::read_secret(&secret.unwrap_or_else(|| assemble::recovery_path(&config)))?;
    let signer = assemble::root_signer(&config, secret)?;
    let with_key = open.ca.authorities().into_iter();
    let with_key = with_key.filter(|authority| authority.root().is_ok_and(|root| root.key.is_some()));
    let names = match only {
        Some(name) => vec![name],
        None => with_key.map(|authority| authority.name).collect(),
    };
    let mut made = Vec::new();
    for name in &names {
        let crl = open.ca.renew_root_crl(own_proof(), name, &signer).await?;
        let until = format!("{:.0}", crl.next_update);
        voice.say(&format!("The CRL of the root of {name} is good until {until}"));
        made.push(serde_json::json!({ "authority": name, "number": crl.number, "next_update": until }));
    }
    voice.data("", &made)?;
    Ok(Exit::Ok)
}

async fn create(
    common: &Common,
    voice: Voice,
    authority: &str,
    name: &str,
    secret: Option<PathBuf>,
) -> Result<Exit, Failure> {
    let config = Config::load(&common.data, &Flags::default())?;
    let open = assemble::open(&config).await?;
    let secret = assemble::read_secret(&secret.unwrap_or_else(|| assemble::recovery_path(&config)))?;
    let signer = assemble::root_signer(&config, secret)?;
    open.ca
        .create_authority(own_proof(), authority, name, &signer)
        .await?;
    voice.data(
        &format!("made {authority}"),
        &serde_json::json!({ "authority": authority }),
    )?;
    voice.say("A profile issues from it once muster.toml says so: [profile.NAME] authority = …");
    Ok(Exit::Ok)
}

async fn import(common: &Common, voice: Voice, args: ImportArgs) -> Result<Exit, Failure> {
    let config = Config::load(&common.data, &Flags::default())?;
    let password = args
        .key_password_file
        .as_deref()
        .map(assemble::read_secret)
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
    let brought = assemble::Brought {
        root: Some((files::text(&args.root_cert)?, key(&args.root_key)?)),
        issuing,
    };
    let secret = args
        .recovery_secret
        .clone()
        .unwrap_or_else(|| assemble::recovery_path(&config));
    assemble::import(
        &config,
        own_proof(),
        &args.name,
        brought,
        assemble::read_secret(&secret)?,
    )
    .await?;
    voice.data(
        &format!("imported {}", args.name),
        &serde_json::json!({ "authority": args.name }),
    )?;
    voice.say("A profile issues from it once muster.toml says so: [profile.NAME] authority = …");
    Ok(Exit::Ok)
}

fn own_proof() -> Proof {
    let evidence = Evidence::LocalUser {
        uid: rustix::process::geteuid().as_raw(),
        trusted: true,
    };
    Proof {
        evidence,
        origin: Origin {
            via: "command",
            source: "local".into(),
        },
    }
}

async fn root(session: &Session, name: &str) -> Result<Generation, Failure> {
    let mut all = generations(session, name).await?;
    Ok(all.swap_remove(0))
}

/// The root first, then the issuing CAs.
async fn generations(session: &Session, name: &str) -> Result<Vec<Generation>, Failure> {
    let authorities: Vec<Authority> = session.client.get("/authorities").await?;
    let found = authorities.into_iter().find(|authority| authority.name == name);
    let all = found
        .map(|authority| authority.generations)
        .filter(|all| !all.is_empty());
    all.ok_or_else(|| Failure::new(Exit::Missing, format!("there is no authority {name:?}")))
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
            voice.data(&path.display().to_string(), json)
        }
        None => voice.data(text, json),
    }
}

fn rows(authorities: &[Authority]) -> String {
    let head = ["AUTHORITY", "GENERATION", "STAGE", "NAME", "UNTIL", "FINGERPRINT"]
        .map(str::to_owned)
        .to_vec();
    let row = |authority: &Authority, generation: &Generation| {
        vec![
            authority.name.clone(),
            if generation.number == 0 {
                "root".into()
            } else {
                generation.number.to_string()
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
    table(&std::iter::once(head).chain(all).collect::<Vec<_>>())
}

fn profile_rows(profiles: &[Profile]) -> String {
    let head = [
        "PROFILE",
        "KIND",
        "AUTHORITY",
        "SHORTEST",
        "DEFAULT",
        "LONGEST",
        "GRACE",
        "KEYS",
        "NAMES",
        "POINTERS",
    ]
    .map(str::to_owned)
    .to_vec();
    let row = |p: &Profile| {
        vec![
            p.name.clone(),
            p.kind.clone(),
            p.authority.clone(),
            p.min.clone(),
            p.default.clone(),
            p.max.clone(),
            p.grace.clone(),
            p.keys.join(","),
            p.sans.join(","),
            p.pointers.join(","),
        ]
    };
    table(
        &std::iter::once(head)
            .chain(profiles.iter().map(row))
            .collect::<Vec<_>>(),
    )
}
