//! Where the local socket of a data directory is: the one place, for the server and for the commands that ask it.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The socket's name in the data directory.
const SOCKET: &str = "muster.sock";
/// The longest path that a socket can have on every system (`sun_path`).
const MAX_SOCKET_PATH: usize = 100;

/// The socket in a data directory.
pub(crate) struct LocalSocket {
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// The user whose server it must be: the directory's owner.
    pub(crate) owner: u32,
    /// What the system is told where the path is longer than it takes: the same place by way of the open directory.
    address: PathBuf,
    _dir: Option<File>,
}

impl LocalSocket {
    /// Finds it; whether somebody serves there is another question. The directory must exist.
    pub(crate) fn of(data: &Path) -> std::io::Result<Self> {
        let path = std::path::absolute(data)?.join(SOCKET);
        let owner = std::fs::metadata(data)?.uid();
        if path.as_os_str().len() <= MAX_SOCKET_PATH {
            return Ok(Self {
                address: path.clone(),
                path,
                owner,
                _dir: None,
            });
        }
        let dir = File::open(data)?;
        let address = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()));
        Ok(Self {
            path,
            owner,
            address,
            _dir: Some(dir),
        })
    }

    /// What to bind or connect to, as long as this lives.
    pub(crate) fn address(&self) -> &Path {
        &self.address
    }
}
