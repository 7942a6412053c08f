//! Files that hold secrets.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::cli::report::Failure;

/// The longest secret.
const MAX_SECRET: u64 = 4096;

/// Reads a secret's file: at most 4 KiB, without the newline at its end. `fix` is what to do where that fails.
pub(crate) fn read_secret(path: &Path, fix: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let cannot = |why: &dyn std::fmt::Display| {
        Failure::failed(format!("cannot read the secret {}: {why}", path.display())).fix(fix)
    };
    let mut bytes = Zeroizing::new(Vec::new());
    let read = File::open(path).and_then(|file| file.take(MAX_SECRET + 1).read_to_end(&mut bytes));
    if read.map_err(|why| cannot(&why))? as u64 > MAX_SECRET {
        return Err(cannot(&"it is longer than 4 KiB"));
    }
    while bytes.last().is_some_and(u8::is_ascii_whitespace) {
        bytes.pop();
    }
    if bytes.is_empty() {
        return Err(cannot(&"it is empty"));
    }
    Ok(bytes)
}

/// Writes a new file that only this user can read, whole or not at all. Refuses to replace one.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = write_beside(path, bytes)?;
    // A link, unlike a rename, does not take the place of a file that is there.
    let done = std::fs::hard_link(&beside, path);
    let _ = std::fs::remove_file(&beside);
    done?;
    sync_dir(path)
}

/// The same in place of a file that may be there, which stays whole until the new one is on the disk. It is kept under another
/// name if one is given.
pub(crate) fn replace_private(path: &Path, bytes: &[u8], keep: Option<&Path>) -> std::io::Result<()> {
    let beside = write_beside(path, bytes)?;
    if let Some(keep) = keep.filter(|_| path.exists()) {
        std::fs::rename(path, keep)?;
    }
    std::fs::rename(&beside, path)?;
    sync_dir(path)
}

fn write_beside(path: &Path, bytes: &[u8]) -> std::io::Result<PathBuf> {
    let beside = path.with_extension(format!("new-{}", URL_SAFE_NO_PAD.encode(random::<6>())));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written.map(|()| beside)
}

fn sync_dir(path: &Path) -> std::io::Result<()> {
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

/// A secret of 256 bits in a file of its own; one that is there already is kept.
pub(crate) fn make_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    if std::fs::metadata(path).map_or(true, |file| file.len() == 0) {
        let _ = std::fs::remove_file(path);
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(random::<32>()));
        write_private(path, text.as_bytes())
            .map_err(|why| Failure::failed(format!("cannot write {}: {why}", path.display())))?;
    }
    read_secret(path, "remove it: the next run makes another")
}

/// Random bytes.
#[expect(
    clippy::expect_used,
    reason = "without randomness nothing may go on; aws-lc aborts by itself in this case"
)]
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the system has randomness");
    bytes
}
