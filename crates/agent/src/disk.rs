//! Files that survive a power cut: written beside, synced, renamed, and the directory synced.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::Error;

/// The longest file that is read back.
const MAX_FILE: u64 = 256 << 20;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) mode: u32,
    /// The group that it belongs to, if not the agent's own.
    pub(crate) group: Option<u32>,
}

impl Access {
    /// For the agent alone.
    pub(crate) const OWN: Self = Self {
        mode: 0o600,
        group: None,
    };
}

/// Writes a file whole or not at all; after this it is there, whatever happens.
pub(crate) fn write(path: &Path, bytes: &[u8], access: Access) -> Result<(), Error> {
    let beside = write_beside(path, bytes, access)?;
    rename(&beside, path)?;
    sync_dir_of(path)
}

/// Where a file is until it is whole; one that was cut off stays there until the next.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    with_suffix(path, "new")
}

/// The first half of [`write`]: the bytes are on the disk, under another name.
pub(crate) fn write_beside(path: &Path, bytes: &[u8], access: Access) -> Result<PathBuf, Error> {
    let beside = unfinished(path);
    // Whoever may write in this directory may have put something under that name: a link to another file, or a file of its own.
    remove(&beside)?;
    let written = (|| {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        if let Some(group) = access.group {
            std::os::unix::fs::fchown(&file, None, Some(group)).map_err(|why| no_group(group, &why))?;
        }
        file.set_permissions(Permissions::from_mode(access.mode))?;
        file.sync_all()
    })();
    written.map_err(|why| {
        let _ = std::fs::remove_file(&beside);
        cannot("write", path, &why)
    })?;
    Ok(beside)
}

fn no_group(group: u32, why: &std::io::Error) -> std::io::Error {
    std::io::Error::other(format!(
        "it cannot be given to the group {group}: {why} (let the agent's user be in that group; on FAT, mount with gid={group})"
    ))
}

/// `NAME.suffix`
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::rename(from, to).map_err(|why| cannot("write", to, &why))
}

/// Another name for the same bytes, which needs no room; whatever had that name before is gone. Where a file can have one name only, as on
/// FAT, a copy with the same mode and group.
pub(crate) fn link(from: &Path, to: &Path) -> Result<(), Error> {
    let beside = unfinished(to);
    remove(&beside)?;
    if std::fs::hard_link(from, &beside).is_err() {
        copy_beside(from, to)?;
    }
    rename(&beside, to)
}

fn copy_beside(from: &Path, to: &Path) -> Result<PathBuf, Error> {
    let failed = |why| cannot("read", from, &why);
    let like = std::fs::metadata(from).map_err(failed)?;
    let bytes = read(from)?.ok_or_else(|| failed(ErrorKind::NotFound.into()))?;
    let access = Access {
        mode: like.mode() & 0o7777,
        group: Some(like.gid()),
    };
    write_beside(to, &Zeroizing::new(bytes), access)
}

/// Makes renames in a file's directory last.
pub(crate) fn sync_dir_of(path: &Path) -> Result<(), Error> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|why| cannot("sync", dir, &why))
}

/// A whole file; `None` if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(Some(bytes)),
        Err(why) if why.kind() == ErrorKind::NotFound => Ok(None),
        Err(why) => Err(cannot("read", path, &why)),
    }
}

/// The same as text.
pub(crate) fn read_text(path: &Path) -> Result<Option<String>, Error> {
    let Some(bytes) = read(path)? else {
        return Ok(None);
    };
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|_| {
        let fix = "a power cut may have left it so: put it back from a backup, or move it away";
        Error::new(format!("{} is not text ({fix})", path.display()))
    })
}

/// The same of a file that a power cut may have left as anything: what is no text is as good as none.
pub(crate) fn read_any_text(path: &Path) -> Result<Option<String>, Error> {
    let text = read(path)?.map(String::from_utf8);
    Ok(text.and_then(Result::ok))
}

/// Removes a file that may be gone already.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(why) if why.kind() != ErrorKind::NotFound => Err(cannot("remove", path, &why)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A directory for the agent alone.
pub(crate) fn own_dir(dir: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.and_then(|()| std::fs::set_permissions(dir, Permissions::from_mode(0o700)))
        .map_err(|why| cannot("make", dir, &why))
}

/// System groups, which brokers run under, stand in `/etc/group`.
pub(crate) fn group_id(group: &str) -> Result<u32, Error> {
    // The last number stands for no group at all (chown(2)).
    if let Ok(number) = group.parse()
        && number != u32::MAX
    {
        return Ok(number);
    }
    let text = read_text(Path::new("/etc/group"))?.unwrap_or_default();
    let found = text.lines().find_map(|line| {
        let mut parts = line.split(':');
        (parts.next() == Some(group)).then(|| parts.nth(1)?.parse().ok())?
    });
    found.ok_or_else(|| {
        Error::usage(format!(
            "there is no group {group} (name the one that the broker runs under, or its number)"
        ))
    })
}

/// Held for as long as this process works with a directory.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Locks a directory with `flock(2)` on the file `lock` in it.
    pub(crate) fn acquire(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("lock");
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|why| cannot("open", &path, &why))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::busy(format!(
                "another agent works with {} (stop it first, or give this one a directory of its own)",
                dir.display()
            ))),
            Err(TryLockError::Error(why)) => Err(cannot("lock", &path, &why)),
        }
    }
}

fn cannot(what: &str, path: &Path, why: &std::io::Error) -> Error {
    let is = |kinds: &[ErrorKind]| kinds.contains(&why.kind());
    let fix = if is(&[ErrorKind::StorageFull, ErrorKind::QuotaExceeded]) {
        " (the disk is full: make room)"
    } else if is(&[ErrorKind::PermissionDenied]) {
        match what {
            "read" => {
                " (run this as root; a group can read a device's key after: muster agent enrol CODE --group GROUP)"
            }
            _ => " (let the agent's user write there, or run the agent as root)",
        }
    } else {
        ""
    };
    Error::new(format!("cannot {what} {}: {why}{fix}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn what_lies_under_the_name_beside_is_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, path) = (dir.path().join("victim"), dir.path().join("x.key"));
        std::fs::write(&victim, "mine").unwrap();
        std::os::unix::fs::symlink(&victim, dir.path().join("x.key.new")).unwrap();
        write(&path, b"secret", Access::OWN).unwrap();
        std::fs::hard_link(&victim, dir.path().join("x.key.new")).unwrap();
        write(&path, b"secret", Access::OWN).unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "mine");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "secret");
        assert!(path.symlink_metadata().unwrap().is_file());
    }
}
