//! What the agent on a device says about itself: to whoever looks at `status.json`, and to systemd.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::files::Home;
use super::settings::Settings;
use crate::disk::{self, Access};
use crate::{Clock, Error};

const STATUS: &str = "status.json";

/// How it goes. Times are RFC 3339.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The device's name.
    pub name: String,
    /// When its certificate ends; nothing if it has none.
    pub not_after: Option<Timestamp>,
    /// When it is to renew, by the CA's plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_at: Option<Timestamp>,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// By how many seconds this machine's clock is ahead of the CA's; negative: behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead: Option<i64>,
    /// How often it has renewed since it was started.
    pub renewals: u64,
    /// When this was written.
    pub at: Timestamp,
}

impl Status {
    /// What was written last; `None` if nothing was, or nothing that can be read.
    pub fn read(dir: &Path) -> Result<Option<Self>, Error> {
        let path = dir.join(STATUS);
        let Some(bytes) = disk::read(&path)? else {
            return Ok(None);
        };
        let read = serde_json::from_slice(&bytes);
        if let Err(why) = &read {
            tracing::warn!("{} cannot be read, and counts as absent: {why}", path.display());
        }
        Ok(read.ok())
    }

    /// Writes down what is to be said, and what certificate there is now.
    pub(super) fn said(&mut self, home: &Home, settings: &Settings, at: Timestamp) {
        self.name.clone_from(&settings.name);
        self.not_after = home.not_after(settings);
        self.at = at;
        // A full disk is no reason to stop.
        if let Err(why) = self.write(home.dir()) {
            tracing::warn!("{why}");
        }
    }

    /// What came of something that was done by hand, said as the agent that runs says it.
    pub(super) fn record(
        home: &Home,
        settings: &Settings,
        system: &Clock,
        clock: &Clock,
        problem: Option<&Error>,
    ) {
        let mut status = Self::read(home.dir()).ok().flatten().unwrap_or_default();
        let before = status.not_after;
        status.problem = problem.map(ToString::to_string);
        status.clock_ahead = Some(system().duration_since(clock()).as_secs());
        status.not_after = home.not_after(settings);
        if status.not_after != before {
            // The plan was for another certificate.
            status.renew_at = None;
        }
        status.said(home, settings, clock());
    }

    fn write(&self, dir: &Path) -> Result<(), Error> {
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
