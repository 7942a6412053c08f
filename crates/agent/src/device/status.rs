//! What the agent on a device says about itself: to whoever looks at `status.json`, and to systemd.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::disk::{self, Access};

const STATUS: &str = "status.json";

/// How it goes. Times are RFC 3339.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The device's name.
    pub name: String,
    /// When its certificate ends.
    pub not_after: String,
    /// When it is to renew, by the CA's plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_at: Option<String>,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// By how many seconds this machine's clock is ahead of the CA's; negative: behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead: Option<i64>,
    /// How often it has renewed since it was started.
    pub renewals: u64,
    /// When this was written.
    pub at: String,
}

impl Status {
    /// What was written last; `None` if nothing was.
    pub fn read(dir: &Path) -> Result<Option<Self>, Error> {
        let Some(bytes) = disk::read(&dir.join(STATUS))? else {
            return Ok(None);
        };
        let read = serde_json::from_slice(&bytes);
        read.map(Some)
            .map_err(|why| Error::new(format!("{STATUS} cannot be read: {why}")))
    }

    pub(super) fn write(&self, dir: &Path) -> Result<(), Error> {
        let json = serde_json::to_vec_pretty(self).map_err(|why| Error::new(why.to_string()))?;
        let access = Access {
            mode: 0o644,
            group: None,
        };
        disk::write(&dir.join(STATUS), &json, access)
    }
}

/// Tells systemd something (sd_notify(3)), if it has started us: `READY=1`, `WATCHDOG=1`, `STOPPING=1`.
pub(super) fn tell_systemd(what: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let address = match path.as_encoded_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    // Who does not hear it restarts us, which is what it is for.
    let _ = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(what.as_bytes(), &address));
}
