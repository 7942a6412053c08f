//! `muster cert issue`, `cert sign` and `cert renew`: the key is made here and never leaves.

use std::path::{Path, PathBuf};

use muster_agent::cli::broker_address;
use muster_api::Client;
use muster_api::client::escape;
use muster_api::types::{Device, IssueRequest, Issued, Profile};
use muster_ca::device::DeviceName;
use muster_ca::ports::Entropy;
use muster_pki::bundle::{Bundle, File, Parts, Use};
use muster_pki::csr::Csr;
use muster_pki::key::{KeyKind, PrivateKey};
use muster_pki::{p12, pem};
use zeroize::Zeroizing;

use super::connect::Session;
use super::list::whole;
use super::report::{Exit, Failure, Voice};
use super::{Common, files};
use crate::real::{self, SystemEntropy};
use crate::secret::{Beside, replace_private};

#[derive(clap::Args)]
pub(super) struct IssueArgs {
    /// Name of the device: the certificate's CN, the MQTT username and client id
    name: String,
    /// client (a site, a device), server (a broker) or broker (one that also connects to others); or a configured profile
    #[arg(long, value_name = "KIND", visible_alias = "profile")]
    kind: Option<String>,
    /// How long it is valid, such as 30d
    #[arg(long, value_name = "TIME")]
    validity: Option<String>,
    /// DNS names and addresses
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    san: Vec<String>,
    /// Type of the key: p256, p384, p521, ed25519, rsa2048, rsa3072, rsa4096; else the first that the profile takes
    #[arg(long, value_name = "TYPE")]
    key_type: Option<String>,
    /// Directory for ca.crt, NAME.crt, NAME.key and README.txt; beside another README.txt it is NAME-README.txt
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Write NAME-certs.zip instead of single files
    #[arg(long)]
    zip: bool,
    /// Write NAME.p12 as well (PKCS#12)
    #[arg(long, requires = "p12_password_file")]
    p12: bool,
    /// File with the password of the .p12
    #[arg(long, value_name = "FILE")]
    p12_password_file: Option<PathBuf>,
    /// Write NAME.der and NAME.key.der as well
    #[arg(long)]
    der: bool,
    /// Write NAME-secret.yaml as well (a Kubernetes Secret)
    #[arg(long)]
    k8s: bool,
    /// Write NAME.h as well (strings for C: ESP-IDF, Arduino)
    #[arg(long)]
    c_header: bool,
    /// The broker that the configuration shall name
    #[arg(long, value_name = "HOST[:PORT]")]
    broker: Option<String>,
    /// Only say what would be issued
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args)]
pub(super) struct SignArgs {
    /// Certificate request (PEM), or - for standard input
    csr: PathBuf,
    /// client, server, broker, or a configured profile
    #[arg(long, value_name = "KIND", visible_alias = "profile")]
    kind: Option<String>,
    /// How long it is valid, such as 30d
    #[arg(long, value_name = "TIME")]
    validity: Option<String>,
    /// DNS names and addresses; else those of the request
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    san: Vec<String>,
    /// File for the certificate and its issuing CA; else standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Only say what would be issued
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args)]
pub(super) struct RenewArgs {
    /// Name of the device
    name: String,
    /// Directory for the new bundle
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Keep this private key instead of making a new one
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// How long it is valid; else as the profile says
    #[arg(long, value_name = "TIME")]
    validity: Option<String>,
    /// The broker that the configuration shall name
    #[arg(long, value_name = "HOST[:PORT]")]
    broker: Option<String>,
    /// Only say what would be issued
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn issue(common: &Common, voice: Voice, args: IssueArgs) -> Result<Exit, Failure> {
    // Whatever can be wrong with the line is found before a certificate is recorded.
    let broker = args.broker.as_deref().map(broker_address).transpose()?;
    DeviceName::parse(&args.name).map_err(muster_ca::Error::from)?;
    super::init::password(args.p12_password_file.as_deref())?;
    if !args.dry_run {
        std::fs::create_dir_all(&args.out)
            .map_err(|why| Failure::failed(format!("cannot write into {}: {why}", args.out.display())))?;
    }
    let session = Session::start(common).await?.dry_run(args.dry_run);
    let profiles: Vec<Profile> = whole(&session.client, "profiles").await?;
    let kind_of_key = key_kind(&profiles, args.kind.as_deref(), args.key_type.as_deref())?;
    let request = IssueRequest {
        name: Some(args.name.clone()),
        profile: args.kind.clone(),
        sans: args.san.clone(),
        validity: args.validity.clone(),
        ..IssueRequest::default()
    };
    let place = (!args.dry_run).then_some(args.out.as_path());
    let (issued, key, kept) = with_new_key(&session, place, kind_of_key, request).await?;
    session.finish().await?;
    let Some(kept) = kept else {
        return would(voice, &issued);
    };
    match write(&args, broker, &issued, &key) {
        Ok((written, bundle)) => {
            drop(kept);
            tell(voice, &issued, &written, &bundle)
        }
        Err(why) => Err(recorded(why, &issued, Some(kept))),
    }
}

/// A certificate for a key made now. The key is on the disk before anything is asked for, beside its later place, so that no
/// certificate is recorded whose key was lost for want of room.
async fn with_new_key(
    session: &Session,
    place: Option<&Path>,
    kind: KeyKind,
    request: IssueRequest,
) -> Result<(Issued, PrivateKey, Option<Beside>), Failure> {
    let key = SystemEntropy.private_key(kind).map_err(muster_ca::Error::from)?;
    let name = request.name.clone().unwrap_or_default();
    let kept = match place {
        Some(dir) => Some(keep_beside(dir, &name, &key)?),
        None => None,
    };
    let issued = ask(session, request, &key).await?;
    Ok((issued, key, kept))
}

fn keep_beside(dir: &Path, name: &str, key: &PrivateKey) -> Result<Beside, Failure> {
    let path = dir.join(format!("{name}.key"));
    let cannot = |why: std::io::Error| Failure::failed(format!("cannot write {}: {why}", path.display()));
    std::fs::create_dir_all(dir).map_err(cannot)?;
    Beside::write(&path, key.to_pem()?.as_bytes()).map_err(cannot)
}

async fn ask(session: &Session, request: IssueRequest, key: &PrivateKey) -> Result<Issued, Failure> {
    let request = IssueRequest {
        csr: request_pem(request.name.as_deref().unwrap_or_default(), key)?,
        ..request
    };
    Ok(session.client.post("/certificates", &request).await?)
}

/// A certificate is there and cannot be handed out: its key is put in its place, and the rest can be fetched.
fn recorded(why: Failure, issued: &Issued, kept: Option<Beside>) -> Failure {
    let serial = &issued.certificate.serial;
    let key = kept.and_then(|kept| kept.put().ok());
    let key = key.map_or(String::new(), |path| format!(" Its key is {}.", path.display()));
    Failure::failed(format!("{why}. The certificate {serial} is issued.{key}")).fix(format!(
        "when that is mended: muster cert download {serial} --out DIR; or: muster cert revoke {serial}"
    ))
}

fn write(
    args: &IssueArgs,
    broker: Option<(String, u16)>,
    issued: &Issued,
    key: &PrivateKey,
) -> Result<(Vec<PathBuf>, Bundle), Failure> {
    let bundle = bundle(issued, Some(key.to_pem()?), broker, kind(issued))?;
    let mut written = Vec::new();
    if args.zip {
        let path = args.out.join(bundle.zip_name());
        let zip = bundle
            .zip(real::now())
            .map_err(|why| Failure::failed(why.to_string()))?;
        replace_private(&path, &zip)
            .map_err(|why| Failure::failed(format!("cannot write {}: {why}", path.display())))?;
        written.push(path);
    } else {
        written.extend(files::write_bundle(&args.out, bundle.name(), &bundle.files())?);
    }
    written.extend(files::write_bundle(
        &args.out,
        bundle.name(),
        &more(args, &bundle)?,
    )?);
    Ok((written, bundle))
}

pub(super) async fn sign(common: &Common, voice: Voice, args: SignArgs) -> Result<Exit, Failure> {
    let session = Session::start(common).await?.dry_run(args.dry_run);
    let request = IssueRequest {
        csr: request_file(&args.csr)?,
        profile: args.kind,
        sans: args.san,
        validity: args.validity,
        ..IssueRequest::default()
    };
    let issued: Issued = session.client.post("/certificates", &request).await?;
    session.finish().await?;
    if args.dry_run {
        return would(voice, &issued);
    }
    let chain = format!("{}{}", issued.pem, issued.issuing);
    match args.out {
        Some(path) => {
            files::write_public(&path, chain.as_bytes()).map_err(|why| recorded(why, &issued, None))?;
            voice.data(&path.display().to_string(), &issued)?;
        }
        None => voice.data(&chain, &issued)?,
    }
    Ok(Exit::Ok)
}

pub(super) async fn renew(common: &Common, voice: Voice, args: RenewArgs) -> Result<Exit, Failure> {
    let broker = args.broker.as_deref().map(broker_address).transpose()?;
    let session = Session::start(common).await?.dry_run(args.dry_run);
    let device: Device = session
        .client
        .get(&format!("/devices/{}", escape(&args.name)))
        .await?;
    let newest = device.certificates.first();
    let profiles: Vec<Profile> = whole(&session.client, "profiles").await?;
    let request = IssueRequest {
        name: Some(args.name.clone()),
        profile: Some(device.profile.clone()),
        sans: newest
            .map(|certificate| certificate.sans.clone())
            .unwrap_or_default(),
        validity: args.validity,
        ..IssueRequest::default()
    };
    let place = (!args.dry_run).then_some(args.out.as_path());
    let (issued, key, kept) = match &args.key {
        Some(path) => {
            let key = PrivateKey::from_pkcs8(files::private_key(path, None)?)?;
            let kept = place.map(|dir| keep_beside(dir, &args.name, &key)).transpose()?;
            (ask(&session, request, &key).await?, key, kept)
        }
        None => {
            let kind = key_kind(&profiles, Some(&device.profile), None)?;
            with_new_key(&session, place, kind, request).await?
        }
    };
    session.finish().await?;
    let Some(kept) = kept else {
        return would(voice, &issued);
    };
    let written = bundle(&issued, Some(key.to_pem()?), broker, kind(&issued)).and_then(|bundle| {
        Ok((
            files::write_bundle(&args.out, bundle.name(), &bundle.files())?,
            bundle,
        ))
    });
    match written {
        Ok((written, bundle)) => tell(voice, &issued, &written, &bundle),
        Err(why) => Err(recorded(why, &issued, Some(kept))),
    }
}

/// The kind of key that was asked for, else the first that the profile takes.
pub(super) fn key_kind(
    profiles: &[Profile],
    profile: Option<&str>,
    asked: Option<&str>,
) -> Result<KeyKind, Failure> {
    let name = profile.unwrap_or("client");
    let found = profiles.iter().find(|known| known.name == name);
    let first = found.and_then(|found| found.keys.first()).map(String::as_str);
    Ok(KeyKind::parse(asked.or(first).unwrap_or("p256"))?)
}

/// A request that somebody else made, PEM, from a file with either form.
fn request_file(path: &Path) -> Result<String, Failure> {
    match String::from_utf8(files::bytes(path)?) {
        Ok(text) => Ok(text),
        Err(der) => Ok(pem::encode(pem::CSR, der.as_bytes())?),
    }
}

/// A request for a name, PEM.
pub(super) fn request_pem(name: &str, key: &PrivateKey) -> Result<String, Failure> {
    Ok(pem::encode(pem::CSR, &Csr::build(name, &[], key)?)?)
}

/// The files of a certificate.
pub(super) fn bundle(
    issued: &Issued,
    key: Option<Zeroizing<String>>,
    broker: Option<(String, u16)>,
    kind: Use,
) -> Result<Bundle, Failure> {
    let parts = Parts {
        name: issued.certificate.device.clone(),
        kind,
        ca_pem: format!("{}{}", issued.root, issued.issuing),
        chain_pem: format!("{}{}", issued.pem, issued.issuing),
        key_pem: key,
        broker,
    };
    Bundle::new(parts).map_err(|why| Failure::failed(why.to_string()))
}

/// What a certificate is for, read from its profile or, for a configured one, from its usages.
pub(super) fn kind(issued: &Issued) -> Use {
    let all = muster_pki::cert::Certificate::all_from_pem(&issued.pem).unwrap_or_default();
    all.first().map_or(Use::Client, Use::of)
}

/// The files that were asked for beside the usual ones.
fn more(args: &IssueArgs, bundle: &Bundle) -> Result<Vec<File>, Failure> {
    let cannot = |why: muster_pki::bundle::Error| Failure::failed(why.to_string());
    let mut files = Vec::new();
    if args.p12 {
        let password = super::init::password(args.p12_password_file.as_deref())?.unwrap_or_default();
        let mut seed = Zeroizing::new([0; p12::SEED_LEN]);
        SystemEntropy.fill(&mut *seed);
        files.extend(bundle.p12(&password, &seed).map_err(cannot)?);
    }
    if args.der {
        files.push(bundle.der());
        files.extend(bundle.key_der().map_err(cannot)?);
    }
    if args.k8s {
        files.extend(bundle.kubernetes());
    }
    if args.c_header {
        files.push(bundle.c_header());
    }
    Ok(files)
}

fn would(voice: Voice, issued: &Issued) -> Result<Exit, Failure> {
    let certificate = &issued.certificate;
    let text = format!(
        "Would issue to {}: profile {}, valid from {} to {}{}. Nothing was changed.",
        certificate.device,
        certificate.profile,
        certificate.not_before,
        certificate.not_after,
        if issued.clamped {
            " (cut short: its issuer ends)"
        } else {
            ""
        }
    );
    voice.data(&text, issued)?;
    Ok(Exit::Ok)
}

fn tell(voice: Voice, issued: &Issued, written: &[PathBuf], bundle: &Bundle) -> Result<Exit, Failure> {
    let certificate = &issued.certificate;
    voice.say(&format!(
        "Issued to {}: profile {}, valid until {}, serial number {}",
        certificate.device, certificate.profile, certificate.not_after, certificate.serial
    ));
    if issued.clamped {
        voice.say("Cut short: its issuing CA ends then. Make the next one with: muster ca rollover start");
    }
    let list = |path: &PathBuf| format!("  {}", path.display());
    voice.say(&written.iter().map(list).collect::<Vec<_>>().join("\n"));
    let snippets = bundle.snippets();
    let text: Vec<_> = snippets.iter().map(super::broker::headed).collect();
    let json = serde_json::json!({
        "certificate": issued,
        "files": written,
        "configuration": snippets,
    });
    voice.data(&text.join("\n"), &json)?;
    Ok(Exit::Ok)
}

/// For imports: the key that lies in the directory, or a new one that is put there before anything is asked for.
pub(super) fn kept_key(path: &Path, kind: KeyKind) -> Result<PrivateKey, Failure> {
    if path.exists() {
        return Ok(PrivateKey::from_pkcs8(files::private_key(path, None)?)?);
    }
    let key = SystemEntropy.private_key(kind).map_err(muster_ca::Error::from)?;
    let beside = path.with_extension("key.new");
    let _ = std::fs::remove_file(&beside);
    crate::secret::write_private(&beside, key.to_pem()?.as_bytes())?;
    std::fs::rename(&beside, path)?;
    Ok(key)
}

/// Asks for a certificate for a key that may have one already.
pub(super) async fn ask_again(client: &Client, request: &IssueRequest) -> Result<Issued, Failure> {
    Ok(client.post("/certificates", request).await?)
}
