//! The lock of a data directory: one process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The file inside the directory that is locked. It stays when the lock goes: removing it would let two processes
/// lock two files of the same name.
const FILE: &str = "lock";
/// More than any process id has digits.
const MAX_PID_TEXT: u64 = 20;

/// Holds a data directory until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct DirLock {
    file: File,
}

/// Why a directory could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("another muster process is working on this data directory{}", pid.map(|pid| format!(": process {pid}")).unwrap_or_default())]
    Busy {
        /// That process, if it has written its id already.
        pid: Option<u32>,
    },
    /// The lock file cannot be made or locked.
    #[error("the data directory cannot be locked: {0}")]
    Failed(#[from] std::io::Error),
}

impl DirLock {
    /// Locks `dir` (which must exist) with `flock(2)` on the file `lock` in it, and writes the process id there.
    pub fn acquire(dir: &Path) -> Result<Self, LockError> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let mut file = options.open(dir.join(FILE))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Busy {
                    pid: read_pid(&mut file),
                });
            }
            Err(TryLockError::Error(why)) => return Err(why.into()),
        }
        // Only a help for whoever is kept out; a full disk must not keep the owner out.
        let _ = write_pid(&mut file);
        Ok(Self { file })
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // Closing the file lets go of the lock; a stale id left inside would only mislead a reader.
        let _ = self.file.set_len(0);
    }
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(MAX_PID_TEXT).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn a_directory_is_held_by_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let held = DirLock::acquire(dir.path()).unwrap();
        let second = DirLock::acquire(dir.path()).unwrap_err();
        assert!(
            matches!(second, LockError::Busy { pid } if pid == Some(std::process::id())),
            "{second}"
        );
        assert!(
            second
                .to_string()
                .ends_with(&format!("process {}", std::process::id()))
        );
        drop(held);
        DirLock::acquire(dir.path()).unwrap();
    }

    #[test]
    fn a_directory_that_is_not_there_cannot_be_locked() {
        let dir = tempfile::tempdir().unwrap();
        let missing = DirLock::acquire(&dir.path().join("missing")).unwrap_err();
        assert!(matches!(missing, LockError::Failed(_)));
    }
}
