//! Keys in encrypted files: `DIR/NAME.pem`, PKCS#8 (RFC 5958) under PBES2 (RFC 8018), as OpenSSL reads it.

use std::collections::HashMap;
use std::fs::{DirBuilder, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use aws_lc_rs::rand;
use muster_ca::ports::{Signer, SignerError, ToBeSigned};
use muster_pki::key::{KeyKind, PrivateKey, PublicKey};
use pkcs8::der::Decode;
use pkcs8::der::pem::{LineEnding, decode_vec};
use pkcs8::pkcs5::pbes2::Parameters;
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use zeroize::Zeroizing;

use super::generate;

const LABEL: &str = "ENCRYPTED PRIVATE KEY";
/// PBKDF2 with HMAC-SHA-256, the number that OWASP advises. Not scrypt: OpenSSL's own limits would have to be met, and
/// its memory would be most of what the server uses.
const ITERATIONS: u32 = 600_000;
/// Larger than any key file; a larger file is something else.
const MAX_FILE: u64 = 64 * 1024;
const MAX_NAME: usize = 128;

/// Signs with keys that lie encrypted in a directory. Each is decrypted when it is first used (some tenths of a
/// second) and then kept in memory until the signer is dropped.
pub struct FileSigner {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    passphrase: Zeroizing<Vec<u8>>,
    /// Whether new keys are held in memory alone.
    rehearses: bool,
    keys: RwLock<HashMap<String, Arc<PrivateKey>>>,
}

impl FileSigner {
    /// Uses `dir`, which is made with mode 0700 if it is not there (its parent must be), and set to it if it is. No
    /// key is read yet, so a wrong passphrase shows at the first use of a key, or in [`FileSigner::public`].
    pub fn open(dir: &Path, passphrase: Zeroizing<Vec<u8>>) -> Result<Self, SignerError> {
        let failed = |why| unusable(dir, why);
        if !dir.is_dir() {
            DirBuilder::new().mode(0o700).create(dir).map_err(failed)?;
        }
        std::fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(failed)?;
        Ok(Self::over(dir, passphrase, false))
    }

    /// For dry runs: signs with the keys that are in `dir`, refuses what [`FileSigner::open`]'s would, and keeps new keys
    /// in memory until it is dropped. Writes nothing.
    pub fn rehearse(dir: &Path, passphrase: Zeroizing<Vec<u8>>) -> Self {
        Self::over(dir, passphrase, true)
    }

    fn over(dir: &Path, passphrase: Zeroizing<Vec<u8>>, rehearses: bool) -> Self {
        let inner = Inner {
            dir: dir.to_owned(),
            passphrase,
            rehearses,
            keys: RwLock::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The public half of a key; shows whether the passphrase opens it.
    pub async fn public(&self, name: &str) -> Result<PublicKey, SignerError> {
        Ok(self.key(name).await?.public().clone())
    }

    /// Whether the passphrase is that of the keys which are here; any will do where there are none. Making or importing a
    /// key asks this first, so that no directory has keys under two passphrases.
    pub async fn prove(&self) -> Result<(), SignerError> {
        self.aside(Inner::prove).await
    }

    async fn key(&self, name: &str) -> Result<Arc<PrivateKey>, SignerError> {
        if let Some(key) = self.inner.held(name) {
            return Ok(key);
        }
        let name = name.to_owned();
        self.aside(move |inner| inner.unlock(&name)).await
    }

    /// Deriving a key from a passphrase takes too long for a runtime's thread.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, SignerError> + Send + 'static,
    ) -> Result<T, SignerError> {
        let inner = Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.map_err(|_| SignerError::Failed("work on a key was broken off".into()))?
    }
}

impl std::fmt::Debug for FileSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileSigner({})", self.inner.dir.display())
    }
}

#[async_trait]
impl Signer for FileSigner {
    async fn create(&self, name: &str, kind: KeyKind) -> Result<PublicKey, SignerError> {
        let name = name.to_owned();
        self.aside(move |inner| inner.keep(&name, || generate(kind)))
            .await
    }

    async fn import(&self, name: &str, pkcs8: Zeroizing<Vec<u8>>) -> Result<PublicKey, SignerError> {
        let name = name.to_owned();
        let read = || PrivateKey::from_pkcs8(pkcs8).map_err(|why| SignerError::Failed(why.to_string()));
        self.aside(move |inner| inner.keep(&name, read)).await
    }

    async fn sign(&self, what: &ToBeSigned) -> Result<Vec<u8>, SignerError> {
        let key = self.key(what.key()).await?;
        key.sign(what.bytes())
            .map_err(|why| SignerError::Failed(why.to_string()))
    }
}

impl Inner {
    fn held(&self, name: &str) -> Option<Arc<PrivateKey>> {
        self.keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    fn hold(&self, name: &str, key: PrivateKey) -> Arc<PrivateKey> {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(keys.entry(name.to_owned()).or_insert_with(|| Arc::new(key)))
    }

    fn unlock(&self, name: &str) -> Result<Arc<PrivateKey>, SignerError> {
        let path = self.path(name)?;
        let text = match read_file(&path) {
            Ok(text) => text,
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
                return Err(SignerError::Missing(name.to_owned()));
            }
            Err(why) => return Err(unusable(&path, why)),
        };
        let not_a_key = || SignerError::Failed(format!("{} is not an encrypted private key", path.display()));
        let (label, der) = decode_vec(text.as_bytes()).map_err(|_| not_a_key())?;
        let info = EncryptedPrivateKeyInfoRef::from_der(&der).map_err(|_| not_a_key())?;
        if label != LABEL {
            return Err(not_a_key());
        }
        // A wrong passphrase shows as bad padding or, once in 256 times, as plaintext that is no key.
        let locked = || SignerError::Locked(name.to_owned());
        let plain = info.decrypt(&self.passphrase).map_err(|_| locked())?;
        let key = PrivateKey::from_pkcs8(Zeroizing::new(plain.as_bytes().to_vec()))
            .map_err(|why| SignerError::Failed(why.to_string()))?;
        Ok(self.hold(name, key))
    }

    /// All keys here have one passphrase, so one that it opens is proof enough.
    fn prove(&self) -> Result<(), SignerError> {
        if !self
            .keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
        {
            return Ok(());
        }
        let mut outcome = Ok(());
        for name in self.names()? {
            match self.unlock(&name) {
                Ok(_) => return Ok(()),
                Err(locked @ SignerError::Locked(_)) => return Err(locked),
                // A file that holds no key proves nothing; another may.
                Err(why) => outcome = Err(why),
            }
        }
        outcome
    }

    /// The keys that are here, in the order of their names.
    fn names(&self) -> Result<Vec<String>, SignerError> {
        let failed = |why| unusable(&self.dir, why);
        let entries = match std::fs::read_dir(&self.dir) {
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let file = entry.map_err(failed)?.file_name();
            let name = file.to_str().and_then(|file| file.strip_suffix(".pem"));
            names.extend(name.map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    /// Writes a key beside its place, then moves it there, so that there is never half a key and never one lost.
    fn keep(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<PrivateKey, SignerError>,
    ) -> Result<PublicKey, SignerError> {
        let path = self.path(name)?;
        let failed = |why| unusable(&path, why);
        if path.try_exists().map_err(failed)? {
            return Err(SignerError::Exists(name.to_owned()));
        }
        self.prove()?;
        let key = make()?;
        if self.rehearses {
            return Ok(self.hold(name, key).public().clone());
        }
        let pem = self.encrypt(&key)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.dir).map_err(failed)?;
        file.write_all(pem.as_bytes()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        if let Err(refused) = file.persist_noclobber(&path) {
            let taken = refused.error.kind() == std::io::ErrorKind::AlreadyExists;
            return Err(if taken {
                SignerError::Exists(name.to_owned())
            } else {
                failed(refused.error)
            });
        }
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(failed)?;
        Ok(self.hold(name, key).public().clone())
    }

    fn encrypt(&self, key: &PrivateKey) -> Result<Zeroizing<String>, SignerError> {
        let failed = || SignerError::Failed("a key could not be encrypted".into());
        let (mut salt, mut iv) = ([0; 16], [0; 16]);
        rand::fill(&mut salt)
            .and_then(|()| rand::fill(&mut iv))
            .map_err(|_| failed())?;
        let parameters =
            Parameters::generate_pbkdf2_sha256_aes256cbc(ITERATIONS, &salt, iv).map_err(|_| failed())?;
        let info = PrivateKeyInfoRef::try_from(key.pkcs8()).map_err(|_| failed())?;
        let document = info
            .encrypt_with_params(parameters, &self.passphrase)
            .map_err(|_| failed())?;
        document.to_pem(LABEL, LineEnding::LF).map_err(|_| failed())
    }

    /// Names become file names, so they may not lead elsewhere.
    fn path(&self, name: &str) -> Result<PathBuf, SignerError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
        let sound =
            !name.is_empty() && name.len() <= MAX_NAME && !name.starts_with('.') && name.bytes().all(allowed);
        if !sound {
            return Err(SignerError::Failed(
                "a key's name is 1 to 128 lower-case letters, digits, '-', '.' and '_', and does not start with '.'".into(),
            ));
        }
        Ok(self.dir.join(format!("{name}.pem")))
    }
}

fn read_file(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE).read_to_string(&mut text)?;
    Ok(text)
}

fn unusable(path: &Path, why: impl std::fmt::Display) -> SignerError {
    SignerError::Failed(format!("{}: {why}", path.display()))
}

#[cfg(test)]
mod tests;
