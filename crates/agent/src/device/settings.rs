//! What a device was told when it enrolled, on the disk.

use std::path::{Path, PathBuf};

use muster_pki::snippet::{Facts, Use};
use serde::{Deserialize, Serialize};

use super::files::{NEXT, secret};
use crate::Error;
use crate::disk::{self, with_suffix};

/// What the device was told when it enrolled. It may be edited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The device's name.
    pub name: String,
    /// The address of the CA API, such as `https://ca.example.org:9000`.
    pub url: String,
    /// The roots that vouch for that address, PEM; what the device believes elsewhere is in `ca.crt`.
    pub root: String,
    /// SHA-256 over the secret that the device enrols with.
    pub enrolled_with: String,
    /// The broker, `HOST:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker: Option<String>,
    /// The group that may read the key, by name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What `/bin/sh` runs when the files have changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
}

impl Settings {
    /// Readable by whoever may read the key: a hook may hold a password.
    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        let json = serde_json::to_vec_pretty(self).map_err(|why| Error::new(why.to_string()))?;
        disk::write(path, &json, secret(self.group.as_deref())?)
    }
}

/// What the device in a directory was told; `None` if none has enrolled there. Needs no lock.
pub fn read_settings(dir: &Path) -> Result<Option<Settings>, Error> {
    let path = settings_file(dir);
    read(&path)?.transpose().map_err(|why| {
        Error::new(format!(
            "{} cannot be read: {why} (mend it; or, at the CA: muster device recover NAME, and here muster agent enrol with what \
             it prints, and with --broker, --group and --hook again)",
            path.display()
        ))
    })
}

/// Whether a device has enrolled in a directory, whatever can be read of that.
pub(super) fn has_enrolled(dir: &Path) -> bool {
    settings_file(dir).exists()
}

/// What a device was told for an enrolment in a directory that has not ended; `None` if there is none, or none that can be gone on with.
/// Needs no lock.
pub fn read_pending(dir: &Path) -> Result<Option<Settings>, Error> {
    if_readable(&pending_file(dir))
}

pub(super) fn settings_file(dir: &Path) -> PathBuf {
    dir.join("agent.json")
}

pub(super) fn pending_file(dir: &Path) -> PathBuf {
    with_suffix(&settings_file(dir), NEXT)
}

/// Whether files can be called so, and the name can stand in configuration.
pub(super) fn check_name(name: &str) -> Result<(), Error> {
    Facts::new(name, Use::Client).map_err(|why| Error::usage(why.to_string()))?;
    if name == "ca" {
        return Err(Error::usage(
            "no device can be called ca: its certificate would take the place of ca.crt",
        ));
    }
    Ok(())
}

fn read(path: &Path) -> Result<Option<serde_json::Result<Settings>>, Error> {
    Ok(disk::read(path)?.map(|bytes| serde_json::from_slice(&bytes)))
}

/// For who enrols: what cannot be read is written anew.
pub(super) fn if_readable(path: &Path) -> Result<Option<Settings>, Error> {
    Ok(read(path)?.and_then(Result::ok))
}
