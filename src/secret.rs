//! Files that hold secrets.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::cli::report::Failure;

const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;
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
    let beside = write_beside(path, bytes, PRIVATE)?;
    // A link, unlike a rename, does not take the place of a file that is there.
    let done = std::fs::hard_link(&beside, path);
    let _ = std::fs::remove_file(&beside);
    done?;
    sync_dir(path)
}

/// The most old files of one name that are kept.
const MOST_OLD: u32 = 1_000;

/// The same in place of a file that may be there, which stays as `NAME.old`, or `NAME.old2` and so on if there is one.
pub(crate) fn replace_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    Beside::write(path, bytes)?.take_place()
}

/// A private file that is on the disk and not in its place yet; it goes when it is dropped.
pub(crate) struct Beside {
    beside: PathBuf,
    path: PathBuf,
}

impl Beside {
    /// Writes the file that is to be `path`.
    pub(crate) fn write(path: &Path, bytes: &[u8]) -> std::io::Result<Self> {
        let beside = write_beside(path, bytes, PRIVATE)?;
        let path = path.to_owned();
        Ok(Self { beside, path })
    }

    /// Puts it in its place, and says where that is.
    pub(crate) fn put(self) -> std::io::Result<PathBuf> {
        // It may have come to its place already.
        if std::fs::read(&self.path).ok() != Some(std::fs::read(&self.beside)?) {
            self.take_place()?;
        }
        Ok(self.path.clone())
    }

    fn take_place(&self) -> std::io::Result<()> {
        if self.path.exists() {
            std::fs::rename(&self.path, old_name(&self.path)?)?;
        }
        std::fs::rename(&self.beside, &self.path)?;
        sync_dir(&self.path)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.beside);
    }
}

fn old_name(path: &Path) -> std::io::Result<PathBuf> {
    let name = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(".old");
        if number > 1 {
            name.push(number.to_string());
        }
        PathBuf::from(name)
    };
    let free = (1..=MOST_OLD).map(name).find(|name| !name.exists());
    free.ok_or_else(|| std::io::Error::other(format!("there are {MOST_OLD} old ones already")))
}

/// Writes a file that everybody may read in the same way.
pub(crate) fn replace_public(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = write_beside(path, bytes, PUBLIC)?;
    if let Err(why) = std::fs::rename(&beside, path) {
        let _ = std::fs::remove_file(&beside);
        return Err(why);
    }
    sync_dir(path)
}

/// Under a name that nobody can guess, so that no link lies there and nobody else writes to it.
fn write_beside(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<PathBuf> {
    let beside = path.with_extension(format!("new-{}", URL_SAFE_NO_PAD.encode(random::<6>())));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(PRIVATE)
        .open(&beside)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.set_permissions(Permissions::from_mode(mode)))
        .and_then(|()| file.sync_all());
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
