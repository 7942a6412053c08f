//! `muster init` and `muster up`

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::report::{Exit, Failure, Voice};
use super::{Common, files, serve};
use crate::assemble::{self, Brought};
use crate::config::{Config, Flags};

#[derive(clap::Args)]
pub(super) struct UpArgs {
    #[command(flatten)]
    flags: Flags,
}

/// Make a CA
#[derive(clap::Args)]
#[command(after_help = "Examples:
  muster init --name \"AK-SG IoT CA\" --dns ca.ak-sg.com,10.0.60.10 --provisioner iot-devices --yes
  muster init --root-cert root_ca.crt --issuing-cert intermediate_ca.crt --issuing-key intermediate_ca_key")]
pub(super) struct InitArgs {
    #[command(flatten)]
    flags: Flags,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Begin with this root instead of making one (PEM)
    #[arg(long, value_name = "FILE")]
    root_cert: Option<PathBuf>,
    /// The root's private key; without it an issuing CA must come along
    #[arg(long, value_name = "FILE", requires = "root_cert")]
    root_key: Option<PathBuf>,
    /// Begin with this issuing CA below the root (PEM)
    #[arg(long, value_name = "FILE", requires = "root_cert")]
    issuing_cert: Option<PathBuf>,
    /// The issuing CA's private key
    #[arg(long, value_name = "FILE", requires = "issuing_cert")]
    issuing_key: Option<PathBuf>,
    /// File with the password of the private keys, if they are encrypted (PKCS#8)
    #[arg(long, value_name = "FILE")]
    key_password_file: Option<PathBuf>,
    /// Only say what would be made
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn up(common: &Common, voice: Voice, args: UpArgs) -> Result<Exit, Failure> {
    let config = Config::load(&common.data, &args.flags)?;
    if assemble::init(&config, Brought::default()).await? {
        tell(&config, voice);
    }
    serve::serve_config(&config, voice).await
}

pub(super) async fn init(common: &Common, voice: Voice, args: InitArgs) -> Result<Exit, Failure> {
    let config = Config::load(&common.data, &args.flags)?;
    let brought = read_brought(&args)?;
    if args.dry_run {
        return rehearse(&config, voice, brought).await;
    }
    if !args.yes && !assemble::is_initialised(&config.data)? {
        ask(&config, voice)?;
    }
    if assemble::init(&config, brought).await? {
        tell(&config, voice);
    } else {
        voice.say(&there_is_one(&config));
    }
    let root = config.data.join(assemble::ROOT_FILE);
    let text = std::fs::read_to_string(&root)?;
    let fingerprint = files::fingerprint(&text)?;
    let json = serde_json::json!({ "data": config.data, "root": root, "fingerprint": fingerprint });
    voice.data(&fingerprint, &json)?;
    Ok(Exit::Ok)
}

async fn rehearse(config: &Config, voice: Voice, brought: Brought) -> Result<Exit, Failure> {
    let makes = assemble::rehearse_init(config, brought).await?;
    let text = if makes {
        format!(
            "Would make the certification authority {:?} in {}\n  names: {}\n  provisioner: {}\nNothing was changed.",
            config.name,
            config.data.display(),
            config.settings.dns.join(", "),
            config.provisioner
        )
    } else {
        there_is_one(config)
    };
    let json = serde_json::json!({ "data": config.data, "name": config.name, "would_make": makes });
    voice.data(&text, &json)?;
    Ok(Exit::Ok)
}

fn there_is_one(config: &Config) -> String {
    format!(
        "There is a certification authority in {} already; nothing was changed, and what the options say of a new one \
         does not count. Names and the like are changed in {}.",
        config.data.display(),
        config.data.join("muster.toml").display()
    )
}

fn read_brought(args: &InitArgs) -> Result<Brought, Failure> {
    let password = args
        .key_password_file
        .as_deref()
        .map(files::password)
        .transpose()?;
    let key = |path: &Option<PathBuf>| {
        path.as_deref()
            .map(|path| files::private_key(path, password.as_ref().map(|bytes| &***bytes)))
            .transpose()
    };
    let Some(root) = &args.root_cert else {
        return Ok(Brought::default());
    };
    let (root_key, issuing_key) = (key(&args.root_key)?, key(&args.issuing_key)?);
    if root_key.is_none() && issuing_key.is_none() {
        return Err(Failure::usage("a root without its key cannot sign an issuing CA")
            .fix("add --root-key FILE, or --issuing-cert FILE and --issuing-key FILE"));
    }
    let issuing = match (&args.issuing_cert, issuing_key) {
        (Some(path), Some(key)) => Some((files::text(path)?, key)),
        (Some(_), None) => {
            return Err(Failure::usage("the issuing CA's key is missing").fix("add --issuing-key FILE"));
        }
        (None, _) => None,
    };
    Ok(Brought {
        root: Some((files::text(root)?, root_key)),
        issuing,
    })
}

fn ask(config: &Config, voice: Voice) -> Result<(), Failure> {
    use std::io::{IsTerminal, stdin};
    if !stdin().is_terminal() {
        return Err(Failure::usage("making a CA without a terminal needs your word").fix("add --yes"));
    }
    voice.say(&format!(
        "Make the certification authority {:?} in {}?\n  names: {}\n  provisioner: {}\nType yes to go on:",
        config.name,
        config.data.display(),
        config.settings.dns.join(", "),
        config.provisioner
    ));
    let mut line = String::new();
    stdin().read_line(&mut line)?;
    if line.trim() == "yes" {
        Ok(())
    } else {
        Err(Failure::usage("not made"))
    }
}

fn tell(config: &Config, voice: Voice) {
    let data = config.data.display();
    voice.say(&format!(
        "Made the certification authority {:?} in {data}\n  \
         root certificate       {data}/{}\n  \
         provisioner password   {data}/{} (for step clients; provisioner {:?})\n  \
         recovery secret        {} (take it off this machine; serving does not need it)",
        config.name,
        assemble::ROOT_FILE,
        assemble::PROVISIONER_PASSWORD,
        config.provisioner,
        assemble::recovery_path(config).display(),
    ));
}

/// A password for a provisioner, from a file or newly drawn.
pub(super) fn password(path: Option<&std::path::Path>) -> Result<Option<Zeroizing<String>>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let bytes = files::password(path)?;
    let text = String::from_utf8(bytes.to_vec()).map_err(|_| Failure::usage("the password is not text"))?;
    Ok(Some(Zeroizing::new(text)))
}
