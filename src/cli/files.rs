//! Files that commands read and write.

use std::io::Read;
use std::path::{Path, PathBuf};

use muster_pki::bundle::{File, README};
use muster_pki::cert::Certificate;
use muster_pki::key::PrivateKey;
use zeroize::Zeroizing;

use super::report::Failure;
use crate::secret::{read_secret, replace_private, replace_public};

/// The largest file that a command reads: CRLs are the largest there are.
const MAX_FILE: u64 = 64 << 20;

/// A whole file, or standard input for `-`.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let cannot = |why: std::io::Error| {
        let (exit, fix) = if why.kind() == std::io::ErrorKind::NotFound {
            (super::Exit::Missing, "name a file that is there")
        } else {
            (super::Exit::Failed, "name a file that this user may read")
        };
        Failure::new(exit, format!("cannot read {}: {why}", path.display())).fix(fix)
    };
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin()
            .take(MAX_FILE)
            .read_to_end(&mut bytes)
            .map_err(cannot)?;
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes))
            .map_err(cannot)?;
    }
    Ok(bytes)
}

/// A whole text file.
pub(super) fn text(path: &Path) -> Result<String, Failure> {
    String::from_utf8(bytes(path)?).map_err(|_| Failure::usage(format!("{} is not text", path.display())))
}

/// The password in a file.
pub(super) fn password(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    read_secret(path, "name a file that holds the password")
}

/// A private key, PKCS#8 DER; encrypted PKCS#8 is opened with the password.
pub(super) fn private_key(path: &Path, password: Option<&[u8]>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let text = Zeroizing::new(text(path)?);
    let bad =
        |why: &dyn std::fmt::Display| Failure::usage(format!("the private key {}: {why}", path.display()));
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") {
        let password = password.ok_or_else(|| bad(&"it is encrypted").fix("add --key-password-file FILE"))?;
        let key = PrivateKey::from_encrypted_pem(&text, password).map_err(|why| bad(&why))?;
        return Ok(Zeroizing::new(key.pkcs8().to_vec()));
    }
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(bad(&"it is encrypted in the old PEM way").fix(format!(
            "convert it first: openssl pkcs8 -topk8 -in {} -out key.pem",
            path.display()
        )));
    }
    let key = PrivateKey::from_pem(&text).map_err(|why| bad(&why))?;
    Ok(Zeroizing::new(key.pkcs8().to_vec()))
}

/// SHA-256 over the first certificate of a text, as `step` shows it.
pub(super) fn fingerprint(text: &str) -> Result<String, Failure> {
    let all = Certificate::all_from_pem(text)?;
    let first = all
        .first()
        .ok_or_else(|| Failure::usage("there is no certificate in the file"))?;
    Ok(first
        .fingerprint()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// Writes a public file beside and renames it, so that a reader never sees half of it. Mode 0644.
pub(super) fn write_public(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    replace_public(path, bytes)
        .map_err(|why| Failure::failed(format!("cannot write {}: {why}", path.display())))
}

/// Writes a bundle's files into a directory, the secret ones first, and says which. Another key that is there is kept as
/// `NAME.key.old`; beside another `README.txt` its own is called `NAME-README.txt`.
pub(super) fn write_bundle(dir: &Path, name: &str, list: &[File]) -> Result<Vec<PathBuf>, Failure> {
    let cannot =
        |path: &Path, why: std::io::Error| Failure::failed(format!("cannot write {}: {why}", path.display()));
    std::fs::create_dir_all(dir).map_err(|why| cannot(dir, why))?;
    let placed: Vec<_> = list.iter().map(|file| (place(dir, name, file), file)).collect();
    for (path, file) in placed.iter().filter(|(_, file)| file.secret) {
        if std::fs::read(path).ok().as_deref() != Some(&file.bytes[..]) {
            replace_private(path, &file.bytes).map_err(|why| cannot(path, why))?;
        }
    }
    for (path, file) in placed.iter().filter(|(_, file)| !file.secret) {
        write_public(path, &file.bytes)?;
    }
    Ok(placed.into_iter().map(|(path, _)| path).collect())
}

/// Where a file of a bundle goes. A README says in its first line whose it is, and does not take the place of another.
fn place(dir: &Path, name: &str, file: &File) -> PathBuf {
    let path = dir.join(&file.name);
    let first = |text: &[u8]| text.split(|byte| *byte == b'\n').next().map(<[u8]>::to_vec);
    if file.name == README && bytes(&path).is_ok_and(|there| first(&there) != first(&file.bytes)) {
        return dir.join(format!("{name}-{README}"));
    }
    path
}
