//! Wiring: the only file that names concrete stores and signers, and that knows what lies where in a data directory.

use std::fs::{OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use muster_backends::lock::DirLock;
use muster_backends::signer::file::FileSigner;
use muster_backends::store::sqlite::{OpenError, SqliteStore};
use muster_ca::ports::{Signer, SignerError, Store};
use muster_ca::setup::{Founding, Import};
use muster_ca::{Ca, Parts};
use zeroize::Zeroizing;

use crate::cli::report::Failure;
use crate::config::Config;
use crate::real::{SystemClock, SystemEntropy};

/// The local socket's name in the data directory.
const SOCKET: &str = "muster.sock";
/// The longest path that a socket can have.
const MAX_SOCKET_PATH: usize = 100;
const DATABASE: &str = "muster.db";
const KEYS: &str = "keys";
const ROOT_KEYS: &str = "root-keys";
const PASSPHRASE: &str = "passphrase";
const RECOVERY: &str = "recovery-secret";
/// The first provisioner's password; `step` asks for it.
pub(crate) const PROVISIONER_PASSWORD: &str = "provisioner-password";
/// So often may an import under one name have failed.
const MAX_ATTEMPTS: usize = 100;
/// The root certificate, for people.
pub(crate) const ROOT_FILE: &str = "root_ca.crt";

/// An open authority, with the lock that keeps others away.
pub(crate) struct Open {
    pub(crate) ca: Arc<Ca>,
    // Dropped after the authority: the store writes on closing.
    _lock: DirLock,
}

/// Where the local socket of a data directory is. A path that no socket can have is replaced by a short one.
pub(crate) fn socket_path(data: &Path) -> PathBuf {
    let full = std::path::absolute(data)
        .unwrap_or_else(|_| data.to_owned())
        .join(SOCKET);
    if full.as_os_str().len() <= MAX_SOCKET_PATH {
        return full;
    }
    let hash = muster_pki::key::sha256(full.as_os_str().as_encoded_bytes());
    let uid = rustix::process::getuid().as_raw();
    let run = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    run.join(format!(
        "muster-{uid}-{}.sock",
        URL_SAFE_NO_PAD.encode(&hash[..9])
    ))
}

/// Whether the directory holds an authority.
pub(crate) fn is_initialised(data: &Path) -> bool {
    data.join(DATABASE).exists() && data.join(ROOT_FILE).exists()
}

/// Opens the authority of a data directory.
pub(crate) async fn open(config: &Config) -> Result<Open, Failure> {
    if !is_initialised(&config.data) {
        return Err(Failure::failed(format!(
            "there is no certification authority in {}",
            config.data.display()
        ))
        .fix("make one with: muster init"));
    }
    refuse_foreign_owner(&config.data)?;
    let lock = lock(&config.data)?;
    let store =
        SqliteStore::open(&config.data.join(DATABASE)).map_err(|why| Failure::failed(why.to_string()))?;
    let passphrase = read_secret(&passphrase_path(config))?;
    let ca = Ca::open(parts(config, Arc::new(store), passphrase)?).await?;
    Ok(Open {
        ca: Arc::new(ca),
        _lock: lock,
    })
}

/// What somebody brings along to begin with.
#[derive(Default)]
pub(crate) struct Brought {
    pub(crate) root: Option<(String, Option<Zeroizing<Vec<u8>>>)>,
    pub(crate) issuing: Option<(String, Zeroizing<Vec<u8>>)>,
}

/// Makes an authority, or says that there is one (`false`). Never overwrites one.
pub(crate) async fn init(config: &Config, brought: Brought) -> Result<bool, Failure> {
    let data = &config.data;
    make_dir(data)?;
    let lock = lock(data)?;
    let database = data.join(DATABASE);
    // `create` also completes a file that a first run left unfinished.
    let store = match SqliteStore::create(&database, random()) {
        Err(OpenError::Exists(_)) => SqliteStore::open(&database),
        other => other,
    };
    let store: Arc<dyn Store> = Arc::new(store.map_err(|why| Failure::failed(why.to_string()))?);
    if !Ca::is_founded(&*store).await? {
        found(config, store, brought).await?;
        drop(lock);
        return Ok(true);
    }
    let written = data.join(ROOT_FILE).exists();
    if !written {
        // The first run was cut off after its one transaction; only the copy for people is missing.
        let ca = Ca::open(parts(config, store, read_secret(&passphrase_path(config))?)?).await?;
        write_root(data, &ca)?;
    }
    drop(lock);
    Ok(false)
}

async fn found(config: &Config, store: Arc<dyn Store>, brought: Brought) -> Result<(), Failure> {
    let data = &config.data;
    // Keys without an authority are what a first run left that was cut off; nothing was ever signed with them that
    // anybody has.
    for left in [KEYS, ROOT_KEYS] {
        set_aside(&data.join(left))?;
    }
    config.write_first()?;
    let password = make_secret(&data.join(PROVISIONER_PASSWORD))?;
    let recovery = make_secret(&data.join(RECOVERY))?;
    if config.passphrase_file.is_none() && credential().is_none() {
        make_secret(&data.join(PASSPHRASE))?;
    }
    let passphrase = read_secret(&passphrase_path(config))?;
    let root_signer =
        FileSigner::open(&data.join(ROOT_KEYS), recovery).map_err(|why| Failure::failed(why.to_string()))?;
    let parts = parts(config, store, passphrase)?;
    let import = take_in(
        muster_ca::authority::DEFAULT,
        &brought,
        &*parts.signer,
        &root_signer,
    )
    .await?;
    let password = Zeroizing::new(String::from_utf8_lossy(&password).into_owned());
    let founding = Founding {
        name: &config.name,
        provisioner: &config.provisioner,
        password: &password,
        root_signer: &root_signer,
        import,
    };
    let ca = Ca::found(parts, founding).await?;
    write_root(data, &ca)
}

/// Adds an authority that was made elsewhere to one that is there.
pub(crate) async fn import(
    config: &Config,
    proof: muster_ca::Proof,
    name: &str,
    brought: Brought,
    recovery: Zeroizing<Vec<u8>>,
) -> Result<(), Failure> {
    let open = open(config).await?;
    if open
        .ca
        .authorities()
        .iter()
        .any(|authority| authority.name == name)
    {
        return Err(
            Failure::usage(format!("there is an authority {name:?} already")).fix("choose another name")
        );
    }
    let root_signer = root_signer(config, recovery)?;
    // A second signer over the same keys: the one inside the authority is not for outside hands.
    let signer = FileSigner::open(&config.data.join(KEYS), read_secret(&passphrase_path(config))?)
        .map_err(|why| Failure::failed(why.to_string()))?;
    let import = take_in(name, &brought, &signer, &root_signer).await?;
    let import = import.ok_or_else(|| Failure::usage("there is nothing to import"))?;
    Ok(open
        .ca
        .import_authority(proof, name, &import, &root_signer)
        .await?)
}

/// Keeps a key under this name or, where an import that failed has left one, under the next that is free.
async fn keep(signer: &dyn Signer, name: &str, pkcs8: &Zeroizing<Vec<u8>>) -> Result<String, Failure> {
    let mut taken = SignerError::Exists(name.to_owned());
    for attempt in 1..=MAX_ATTEMPTS {
        let name = if attempt == 1 {
            name.to_owned()
        } else {
            format!("{name}-{attempt}")
        };
        match signer.import(&name, pkcs8.clone()).await {
            Err(why @ SignerError::Exists(_)) => taken = why,
            kept => {
                return kept
                    .map(|_| name)
                    .map_err(|why| muster_ca::Error::from(why).into());
            }
        }
    }
    Err(muster_ca::Error::from(taken).into())
}

/// Reads what was brought along and puts its keys into the signers.
async fn take_in(
    authority: &str,
    brought: &Brought,
    signer: &dyn Signer,
    root_signer: &FileSigner,
) -> Result<Option<Import>, Failure> {
    let Some((root, root_key)) = &brought.root else {
        return Ok(None);
    };
    let one = |text: &str, what: &str| {
        let mut all = muster_pki::cert::Certificate::all_from_pem(text)?;
        if all.is_empty() {
            return Err(Failure::usage(format!("the {what} file holds no certificate")));
        }
        Ok(all.remove(0))
    };
    // Before anything is kept.
    let fits = |certificate: &muster_pki::cert::Certificate, pkcs8: &Zeroizing<Vec<u8>>, what: &str| {
        let key = muster_pki::key::PrivateKey::from_pkcs8(pkcs8.clone())?;
        if certificate.key() == key.public() {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "the {what}'s key is not the key of its certificate"
        )))
    };
    let root = one(root, "root")?;
    let root_key = match root_key {
        Some(pkcs8) => {
            fits(&root, pkcs8, "root")?;
            Some(keep(root_signer, &format!("{authority}-root"), pkcs8).await?)
        }
        None => None,
    };
    let issuing = match &brought.issuing {
        Some((text, pkcs8)) => {
            let certificate = one(text, "issuing CA")?;
            fits(&certificate, pkcs8, "issuing CA")?;
            let name = keep(signer, &format!("{authority}-issuing-1"), pkcs8).await?;
            Some((certificate, name))
        }
        None => None,
    };
    Ok(Some(Import {
        root,
        root_key,
        issuing,
    }))
}

/// The signer of root keys, opened with the recovery secret. The server never makes one.
pub(crate) fn root_signer(config: &Config, secret: Zeroizing<Vec<u8>>) -> Result<FileSigner, Failure> {
    FileSigner::open(&config.data.join(ROOT_KEYS), secret).map_err(|why| Failure::failed(why.to_string()))
}

/// Where the recovery secret lies unless somebody took it away.
pub(crate) fn recovery_path(config: &Config) -> PathBuf {
    config.data.join(RECOVERY)
}

/// What an operator should see to in the data directory.
pub(crate) fn todos(config: &Config) -> Vec<String> {
    let mut todos = Vec::new();
    if passphrase_path(config).starts_with(&config.data) {
        todos.push(format!(
            "the passphrase lies beside the keys it opens ({}), so their encryption protects nothing: move it elsewhere \
             and name it with passphrase_file, or hand it over as the systemd credential muster-passphrase",
            passphrase_path(config).display()
        ));
    }
    if recovery_path(config).exists() {
        todos.push(format!(
            "the root's recovery secret is still here: take {} off this machine and keep it safe; serving does not need it",
            recovery_path(config).display()
        ));
    }
    todos
}

/// Reads a secret's file: at most 4 KiB, without the newline at its end.
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let cannot = |why: &dyn std::fmt::Display| {
        Failure::failed(format!("cannot read the secret {}: {why}", path.display()))
    };
    let mut bytes = Zeroizing::new(std::fs::read(path).map_err(|why| cannot(&why))?);
    while bytes.last().is_some_and(u8::is_ascii_whitespace) {
        bytes.pop();
    }
    if bytes.is_empty() || bytes.len() > 4096 {
        return Err(cannot(&"it is empty or longer than 4 KiB"));
    }
    Ok(bytes)
}

/// Writes a new file that only this user can read, whole or not at all. Refuses to replace one.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension(format!("new-{}", URL_SAFE_NO_PAD.encode(random::<6>())));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    // A link, unlike a rename, does not take the place of a file that is there.
    let done = written.and_then(|()| std::fs::hard_link(&beside, path));
    let _ = std::fs::remove_file(&beside);
    done?;
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::File::open(dir)?.sync_all()
}

fn parts(config: &Config, store: Arc<dyn Store>, passphrase: Zeroizing<Vec<u8>>) -> Result<Parts, Failure> {
    let signer = FileSigner::open(&config.data.join(KEYS), passphrase)
        .map_err(|why| Failure::failed(why.to_string()))?;
    Ok(Parts {
        store,
        signer: Arc::new(signer),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        settings: config.settings.clone(),
    })
}

/// Files that root would leave here the service could not read.
fn refuse_foreign_owner(data: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::MetadataExt;
    let owner = std::fs::metadata(data)?.uid();
    if owner == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    Err(Failure::new(
        crate::cli::report::Exit::NotAllowed,
        format!("{} belongs to the user {owner}", data.display()),
    )
    .fix(format!("run this as that user: sudo -u '#{owner}' muster …")))
}

fn lock(data: &Path) -> Result<DirLock, Failure> {
    DirLock::acquire(data).map_err(|why| {
        Failure::failed(format!("{}: {why}", data.display())).fix("wait for it to end, or stop it")
    })
}

fn passphrase_path(config: &Config) -> PathBuf {
    config
        .passphrase_file
        .clone()
        .or_else(credential)
        .unwrap_or_else(|| config.data.join(PASSPHRASE))
}

/// systemd's `LoadCredential=muster-passphrase:…`.
fn credential() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?).join("muster-passphrase");
    path.exists().then_some(path)
}

fn make_dir(data: &Path) -> Result<(), Failure> {
    let cannot = |why: std::io::Error| Failure::failed(format!("cannot make {}: {why}", data.display()));
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .map_err(cannot)?;
    std::fs::set_permissions(data, Permissions::from_mode(0o700)).map_err(cannot)
}

/// A secret of 256 bits in a file of its own; one that is there already is kept.
fn make_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    if std::fs::metadata(path).map_or(true, |file| file.len() == 0) {
        let _ = std::fs::remove_file(path);
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(random::<32>()));
        write_private(path, text.as_bytes())
            .map_err(|why| Failure::failed(format!("cannot write {}: {why}", path.display())))?;
    }
    read_secret(path)
}

fn set_aside(path: &Path) -> Result<(), Failure> {
    let empty = std::fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none());
    if empty {
        return Ok(());
    }
    let aside = path.with_extension(format!("unfinished-{}", URL_SAFE_NO_PAD.encode(random::<6>())));
    Ok(std::fs::rename(path, aside)?)
}

fn write_root(data: &Path, ca: &Ca) -> Result<(), Failure> {
    for authority in ca.authorities() {
        if authority.name == muster_ca::authority::DEFAULT {
            let text = authority.root()?.parsed()?.to_pem()?;
            let beside = data.join("root_ca.crt.new");
            std::fs::write(&beside, text)?;
            std::fs::rename(beside, data.join(ROOT_FILE))?;
        }
    }
    Ok(())
}

#[expect(
    clippy::expect_used,
    reason = "without randomness nothing may go on; aws-lc aborts by itself in this case"
)]
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the system has randomness");
    bytes
}
