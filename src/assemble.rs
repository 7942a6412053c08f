//! Wiring: the only file that names concrete stores and signers, and that knows what lies where in a data directory.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use muster_backends::lock::{DirLock, LockError};
use muster_backends::signer::file::FileSigner;
use muster_backends::store::seed;
pub(crate) use muster_backends::store::seed::Size;
use muster_backends::store::sqlite::{OpenError, SqliteStore};
use muster_ca::ports::{Signer, SignerError, Store};
use muster_ca::setup::{Founding, Import};
use muster_ca::standing::{About, Todo};
use muster_ca::{Ca, Parts};
use zeroize::Zeroizing;

use crate::cli::report::Failure;
use crate::config::Config;
use crate::real::{SystemClock, SystemEntropy, now};
use crate::secret::{make_secret, random, read_secret, write_private};

const DATABASE: &str = "muster.db";
const KEYS: &str = "keys";
const ROOT_KEYS: &str = "root-keys";
const GUI_URL: &str = "gui-url";
const PASSPHRASE: &str = "passphrase";
const RECOVERY: &str = "recovery-secret";
/// The one-time link with which the first person makes itself able to log in.
pub(crate) const SETUP_LINK: &str = "setup-link";
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

/// Whether the directory holds an authority. One that may not be looked into is not one that holds none.
pub(crate) fn is_initialised(data: &Path) -> Result<bool, Failure> {
    let there = |name: &str| data.join(name).try_exists();
    match there(DATABASE).and_then(|database| Ok(database && there(ROOT_FILE)?)) {
        Ok(both) => Ok(both),
        Err(why) => {
            refuse_foreign_owner(data)?;
            Err(Failure::failed(format!(
                "cannot look into {}: {why}",
                data.display()
            )))
        }
    }
}

/// Opens the authority of a data directory.
pub(crate) async fn open(config: &Config) -> Result<Open, Failure> {
    Ok(open_with_signer(config, false).await?.0)
}

/// What makes and brings in authorities: the signer of the issuing keys, and that of the root keys, which no server has.
pub(crate) struct Keys {
    pub(crate) issuing: Arc<FileSigner>,
    pub(crate) root: FileSigner,
}

/// Opens the authority with its root keys at hand; both secrets have proved themselves. In a dry run no key is kept.
pub(crate) async fn open_with_root(
    config: &Config,
    recovery: Option<PathBuf>,
    dry_run: bool,
) -> Result<(Open, Keys), Failure> {
    let (open, issuing) = open_with_signer(config, dry_run).await?;
    let recovery = recovery.unwrap_or_else(|| recovery_path(config));
    let recovery = read_secret(&recovery, "say where it is kept now: --recovery-secret FILE")?;
    let root = signer(&config.data.join(ROOT_KEYS), recovery, dry_run)?;
    for proved in [root.prove().await, issuing.prove().await] {
        proved.map_err(muster_ca::Error::from)?;
    }
    Ok((open, Keys { issuing, root }))
}

/// Fills an authority that nobody uses with a made-up fleet; in a dry run only says whether it could. No key is opened.
pub(crate) async fn seed(
    data: &Path,
    size: Size,
    dry_run: bool,
    progress: impl FnMut(u64, u64),
) -> Result<(), Failure> {
    let (_lock, store) = open_store(data).await?;
    let store: Arc<dyn Store> = Arc::new(store);
    seed::check(&*store, now(), size).await?;
    if dry_run {
        return Ok(());
    }
    Ok(seed::seed(&store, &SystemEntropy, now(), size, progress).await?)
}

async fn open_store(data: &Path) -> Result<(DirLock, SqliteStore), Failure> {
    if !is_initialised(data)? {
        return Err(Failure::failed(format!(
            "there is no certification authority in {}",
            data.display()
        ))
        .fix("make one with: muster init"));
    }
    refuse_foreign_owner(data)?;
    let lock = take_turn(data).await?;
    let store = SqliteStore::open(&data.join(DATABASE)).map_err(|why| Failure::failed(why.to_string()))?;
    Ok((lock, store))
}

async fn open_with_signer(config: &Config, dry_run: bool) -> Result<(Open, Arc<FileSigner>), Failure> {
    let (lock, store) = open_store(&config.data).await?;
    let signer = Arc::new(signer(&config.data.join(KEYS), passphrase(config)?, dry_run)?);
    let ca = Ca::open(parts(config, Arc::new(store), signer.clone())).await?;
    let open = Open {
        ca: Arc::new(ca),
        _lock: lock,
    };
    Ok((open, signer))
}

fn signer(dir: &Path, secret: Zeroizing<Vec<u8>>, dry_run: bool) -> Result<FileSigner, Failure> {
    if dry_run {
        return Ok(FileSigner::rehearse(dir, secret));
    }
    FileSigner::open(dir, secret).map_err(|why| Failure::failed(why.to_string()))
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
    refuse_lost_database(data)?;
    let database = data.join(DATABASE);
    // `create` also completes a file that a first run left unfinished.
    let store = match SqliteStore::create(&database, random()) {
        Err(OpenError::Exists(_)) => SqliteStore::open(&database),
        other => other,
    };
    let store: Arc<dyn Store> = Arc::new(store.map_err(|why| Failure::failed(why.to_string()))?);
    if !Ca::is_founded(&*store).await? {
        refuse_another(data)?;
        found(config, store, brought, false).await?;
        drop(lock);
        return Ok(true);
    }
    let written = data.join(ROOT_FILE).exists();
    if !written {
        // The first run was cut off after its one transaction; only the copies for people are missing.
        let signer = signer(&data.join(KEYS), passphrase(config)?, false)?;
        let ca = Ca::open(parts(config, store, Arc::new(signer))).await?;
        config.write_first()?;
        write_root(data, &ca)?;
    }
    drop(lock);
    Ok(false)
}

/// A directory that was an authority's and has no database: a volume that is not mounted, half of a backup.
fn refuse_lost_database(data: &Path) -> Result<(), Failure> {
    let lost = std::fs::metadata(data.join(DATABASE)).map_or(true, |database| database.len() == 0);
    if lost { refuse_another(data) } else { Ok(()) }
}

/// The root's file is the last that a first run writes, so an authority that has one was whole once.
fn refuse_another(data: &Path) -> Result<(), Failure> {
    if !data.join(ROOT_FILE).exists() {
        return Ok(());
    }
    let why = format!(
        "{} is the directory of a certification authority, which has lost its database: {ROOT_FILE} is there, and \
         {DATABASE} holds nothing",
        data.display()
    );
    Err(Failure::failed(why).fix(format!(
        "bring {DATABASE} back from a backup; to begin anew, choose another directory"
    )))
}

/// Whether [`init`] would make an authority: it makes one that nobody sees, with keys that are never written.
pub(crate) async fn rehearse_init(config: &Config, brought: Brought) -> Result<bool, Failure> {
    refuse_lost_database(&config.data)?;
    if is_initialised(&config.data)? {
        return Ok(false);
    }
    may_make(&config.data)?;
    let scratch = tempfile::tempdir()?;
    let config = Config {
        data: scratch.path().to_owned(),
        ..config.clone()
    };
    let store = SqliteStore::create(&config.data.join(DATABASE), random());
    let store = store.map_err(|why| Failure::failed(why.to_string()))?;
    found(&config, Arc::new(store), brought, true).await?;
    Ok(true)
}

async fn found(
    config: &Config,
    store: Arc<dyn Store>,
    brought: Brought,
    dry_run: bool,
) -> Result<(), Failure> {
    let data = &config.data;
    // What is brought along is read before anything is written.
    if given_passphrase(config).is_some() {
        passphrase(config)?;
    }
    // Keys without an authority are what a first run left that was cut off; nothing was ever signed with them that
    // anybody has.
    for left in [KEYS, ROOT_KEYS] {
        set_aside(&data.join(left))?;
    }
    let password = make_secret(&data.join(PROVISIONER_PASSWORD))?;
    let recovery = make_secret(&data.join(RECOVERY))?;
    if given_passphrase(config).is_none() {
        make_secret(&data.join(PASSPHRASE))?;
    }
    let root_signer = signer(&data.join(ROOT_KEYS), recovery, dry_run)?;
    let signer = Arc::new(signer(&data.join(KEYS), passphrase(config)?, dry_run)?);
    let import = take_in(muster_ca::authority::DEFAULT, &brought, &*signer, &root_signer).await?;
    let password = Zeroizing::new(String::from_utf8_lossy(&password).into_owned());
    let founding = Founding {
        name: &config.name,
        provisioner: &config.provisioner,
        password: &password,
        root_signer: &root_signer,
        import,
    };
    let ca = Ca::found(parts(config, store, signer), founding).await?;
    config.write_first()?;
    write_root(data, &ca)
}

/// Adds an authority that was made elsewhere to one that is there.
pub(crate) async fn import(
    (open, keys): (Open, Keys),
    proof: muster_ca::Proof,
    name: &str,
    brought: Brought,
) -> Result<(), Failure> {
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
    let import = take_in(name, &brought, &*keys.issuing, &keys.root).await?;
    let import = import.ok_or_else(|| Failure::usage("there is nothing to import"))?;
    Ok(open.ca.import_authority(proof, name, &import, &keys.root).await?)
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

/// Where the recovery secret lies unless somebody took it away.
pub(crate) fn recovery_path(config: &Config) -> PathBuf {
    config.data.join(RECOVERY)
}

/// Sees to it that somebody can log in to the GUI: with the configured password, or by a setup link in a file.
pub(crate) async fn first_login(config: &Config, ca: &Ca, gui: SocketAddr) -> Result<(), Failure> {
    if let Some(password) = crate::config::web::first_password() {
        ca.set_first_password(&password).await?;
    }
    let settings = &config.web.settings;
    let path = &settings.setup_link;
    // For commands that tell links: the address may have come as a flag that they do not see.
    let address = config.data.join(GUI_URL);
    std::fs::write(&address, gui_url(config, gui))
        .map_err(|why| Failure::failed(format!("cannot write {}: {why}", address.display())))?;
    let cannot = |why| Failure::failed(format!("cannot write {}: {why}", path.display()));
    match std::fs::remove_file(path) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => return Err(cannot(why)),
        Ok(()) | Err(_) => {}
    }
    let Some(secret) = ca.open_setup().await? else {
        return Ok(());
    };
    let link = format!("{}setup/{}\n", gui_url(config, gui), *secret);
    write_private(path, Zeroizing::new(link).as_bytes()).map_err(cannot)
}

/// Where the server that serves this directory, or did last, said that the GUI is; else what the configuration says.
pub(crate) fn known_gui_url(config: &Config) -> String {
    let told = std::fs::read_to_string(config.data.join(GUI_URL));
    told.unwrap_or_else(|_| gui_url(config, config.web.listen))
}

/// Where a browser finds the GUI, as far as this machine can know.
pub(crate) fn gui_url(config: &Config, listen: SocketAddr) -> String {
    let (scheme, host) = if listen.ip().is_loopback() {
        ("http", "localhost")
    } else {
        let name = config.settings.dns.iter().find(|name| *name != "localhost");
        ("https", name.map_or("localhost", String::as_str))
    };
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    format!(
        "{scheme}://{host}:{}{}",
        listen.port(),
        config.web.settings.base_path
    )
}

/// What an operator should see to in the data directory.
pub(crate) fn todos(config: &Config) -> Vec<Todo> {
    let mut todos = Vec::new();
    let link = &config.web.settings.setup_link;
    if link.exists() {
        let todo = Todo::on_the_machine(
            "nobody can log in to the GUI yet",
            format!("open the link in {} in a browser", link.display()),
        );
        todos.push(todo.by(format!("cat {}", quoted(link))).about(About::FirstLogin));
    }
    let mode = std::fs::metadata(&config.data).map_or(0, |data| data.permissions().mode());
    if mode & 0o077 != 0 {
        let todo = Todo::on_the_machine(
            format!("others on this machine can look into {}", config.data.display()),
            "close it to them",
        );
        todos.push(Todo {
            urgent: true,
            ..todo.by(format!("chmod -R go= {}", quoted(&config.data)))
        });
    }
    let passphrase = passphrase_path(config);
    // A relative path may lead out of the directory again.
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if real(&passphrase).starts_with(real(&config.data)) {
        let todo = Todo::on_the_machine(
            format!(
                "the passphrase lies beside the keys it opens ({}), so their encryption protects nothing",
                passphrase.display()
            ),
            "move it elsewhere and name it with passphrase_file, or hand it over as the systemd credential \
             muster-passphrase; then start the server again",
        );
        let usual = passphrase == config.data.join(PASSPHRASE);
        todos.push(match usual {
            true => todo.by(move_passphrase(&passphrase, &config.data.join("muster.toml"))),
            false => todo,
        });
    }
    if recovery_path(config).exists() {
        let secret = recovery_path(config);
        let todo = Todo::on_the_machine(
            "the root's recovery secret is still here",
            format!(
                "take {} off this machine and keep it safe; serving does not need it",
                secret.display()
            ),
        );
        let secret = quoted(&secret);
        todos.push(todo.by(format!(
            "cat {secret} && read -rp 'Kept elsewhere? Enter deletes it here. ' _ && shred -u {secret}"
        )));
    }
    todos
}

/// Moves the passphrase out of the data directory and names its new place at the head of the configuration.
fn move_passphrase(passphrase: &Path, configuration: &Path) -> String {
    let (from, toml) = (quoted(passphrase), quoted(configuration));
    format!(
        "mv {from} ~/muster-passphrase && \
         {{ echo \"passphrase_file = \\\"$HOME/muster-passphrase\\\"\"; cat {toml} 2>/dev/null || true; }} > {toml}.new && \
         mv {toml}.new {toml}"
    )
}

/// A path as a shell takes it for one word.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    if text.bytes().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn parts(config: &Config, store: Arc<dyn Store>, signer: Arc<FileSigner>) -> Parts {
    Parts {
        store,
        signer,
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        settings: config.settings.clone(),
    }
}

/// Files that root would leave here the service could not read.
fn refuse_foreign_owner(data: &Path) -> Result<(), Failure> {
    let owner = std::fs::metadata(data)
        .map_err(|why| Failure::failed(format!("cannot look into {}: {why}", data.display())))?
        .uid();
    if owner == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    Err(Failure::new(
        crate::cli::report::Exit::NotAllowed,
        format!("{} belongs to the user {owner}", data.display()),
    )
    .fix(format!("run this as that user: sudo -u '#{owner}' muster …")))
}

/// How long one waits for commands that work on the same directory, each for a moment, as `xargs -P` starts them.
const TURN: Duration = Duration::from_secs(5);
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

async fn take_turn(data: &Path) -> Result<DirLock, Failure> {
    let turn = async {
        loop {
            match DirLock::acquire(data) {
                Err(LockError::Busy { .. }) => tokio::time::sleep(BETWEEN_TRIES).await,
                other => return other,
            }
        }
    };
    match tokio::time::timeout(TURN, turn).await {
        Ok(Ok(lock)) => Ok(lock),
        _ => lock(data),
    }
}

fn lock(data: &Path) -> Result<DirLock, Failure> {
    DirLock::acquire(data).map_err(|why| {
        let failure = Failure::failed(format!("{}: {why}", data.display()));
        match why {
            LockError::Busy { .. } => failure.fix("wait for it to end, or stop it"),
            LockError::Failed(_) => failure,
        }
    })
}

/// The passphrase of the issuing keys.
fn passphrase(config: &Config) -> Result<Zeroizing<Vec<u8>>, Failure> {
    read_secret(
        &passphrase_path(config),
        "say where the passphrase is: passphrase_file in muster.toml, or MUSTER_PASSPHRASE_FILE",
    )
}

fn passphrase_path(config: &Config) -> PathBuf {
    given_passphrase(config).unwrap_or_else(|| config.data.join(PASSPHRASE))
}

fn given_passphrase(config: &Config) -> Option<PathBuf> {
    config.passphrase_file.clone().or_else(credential)
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

/// Whether [`make_dir`] could make the directory, as far as that can be told without trying.
fn may_make(data: &Path) -> Result<(), Failure> {
    let data = std::path::absolute(data)?;
    let there = data.ancestors().find(|dir| dir.exists()).unwrap_or(&data);
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    rustix::fs::access(there, access)
        .map_err(|why| Failure::failed(format!("cannot make {}: {why}", data.display())))
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
