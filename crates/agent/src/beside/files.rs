//! The files that a broker reads: one set after another, with the one before kept to go back to.
//!
//! All of a set lies beside its place, on the disk, before the first file is renamed: a full disk changes nothing. The set
//! that was last proved keeps a second name (`NAME.previous`), so that going back needs no room.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use muster_pki::key::sha256;
use zeroize::Zeroizing;

use crate::Error;
use crate::disk::group_id;
use crate::disk::{self, Access};
use muster_pki::hex;

/// A file that a broker reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name in the broker's directory.
    pub name: String,
    /// What stands in it.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Whether only the agent and the broker may read it.
    pub secret: bool,
}

impl File {
    /// One that everybody may read.
    pub(crate) fn open(name: &str, text: &str) -> Self {
        Self {
            name: name.to_owned(),
            bytes: Zeroizing::new(text.as_bytes().to_vec()),
            secret: false,
        }
    }

    /// One that nobody else may read.
    pub(crate) fn secret(name: &str, text: &str) -> Self {
        Self {
            secret: true,
            ..Self::open(name, text)
        }
    }
}

/// The fingerprints of a set of files, by name.
pub type Set = BTreeMap<String, String>;

/// A broker's directory.
#[derive(Debug)]
pub struct Files {
    dir: PathBuf,
    group: Option<u32>,
}

impl Files {
    /// Opens the directory, or makes it. Files are readable by `group`, a name or a number.
    pub fn open(dir: &Path, group: Option<&str>) -> Result<Self, Error> {
        let group = group.map(group_id).transpose()?;
        let cannot = |why: std::io::Error| {
            Error::new(format!(
                "cannot use the broker's directory {}: {why} (let the agent's user write there)",
                dir.display()
            ))
        };
        if !dir.is_dir() {
            std::fs::create_dir_all(dir).map_err(cannot)?;
            std::os::unix::fs::chown(dir, None, group).map_err(cannot)?;
            std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o750)).map_err(cannot)?;
        }
        Ok(Self {
            dir: dir.to_owned(),
            group,
        })
    }

    /// Where a file is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Puts a set in place. Files of the set `proven` stay at hand as `NAME.previous`. What is the same already is not touched.
    pub fn install(&self, files: &[File], proven: &Set) -> Result<(), Error> {
        let mut beside = Vec::new();
        let written = files.iter().try_for_each(|file| {
            let path = self.path(&file.name);
            let access = self.access(file.secret);
            if disk::read(&path)?.as_deref() != Some(&file.bytes[..]) {
                beside.push((disk::write_beside(&path, &file.bytes, access)?, path));
            } else if !has_access(&path, access) {
                // The same bytes again, with the right owner and mode.
                beside.push((disk::write_beside(&path, &file.bytes, access)?, path));
            }
            Ok(())
        });
        if let Err(why) = written.and_then(|()| self.keep(proven)) {
            beside.iter().for_each(|(new, _)| drop(disk::remove(new)));
            return Err(why);
        }
        for (new, path) in &beside {
            disk::rename(new, path)?;
        }
        disk::sync_dir_of(&self.path("x"))
    }

    /// Puts the set `proven` back in place, as far as it is at hand. Whether anything changed.
    pub fn roll_back(&self, proven: &Set) -> Result<bool, Error> {
        let mut changed = false;
        for (name, fingerprint) in proven {
            let (path, previous) = (self.path(name), disk::with_suffix(&self.path(name), "previous"));
            if self.fingerprint(&path)?.as_ref() == Some(fingerprint) {
                continue;
            }
            if self.fingerprint(&previous)?.as_ref() != Some(fingerprint) {
                return Err(Error::new(format!(
                    "{} is not what it was, so there is nothing to go back to",
                    previous.display()
                )));
            }
            disk::link(&previous, &path)?;
            changed = true;
        }
        disk::sync_dir_of(&self.path("x"))?;
        Ok(changed)
    }

    /// Whether what lies there is this set.
    pub fn are(&self, set: &Set) -> Result<bool, Error> {
        for (name, fingerprint) in set {
            if self.fingerprint(&self.path(name))?.as_ref() != Some(fingerprint) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Gives the files of the proven set a second name.
    fn keep(&self, proven: &Set) -> Result<(), Error> {
        for (name, fingerprint) in proven {
            let path = self.path(name);
            if self.fingerprint(&path)?.as_ref() == Some(fingerprint) {
                disk::link(&path, &disk::with_suffix(&path, "previous"))?;
            }
        }
        Ok(())
    }

    fn fingerprint(&self, path: &Path) -> Result<Option<String>, Error> {
        let bytes = disk::read(path)?.map(Zeroizing::new);
        Ok(bytes.map(|bytes| hex(&sha256(&bytes))))
    }

    fn access(&self, secret: bool) -> Access {
        let mode = match (secret, self.group) {
            (false, _) => 0o644,
            (true, Some(_)) => 0o640,
            (true, None) => 0o600,
        };
        Access {
            mode,
            group: self.group,
        }
    }
}

/// The fingerprints of a set.
pub fn set_of(files: &[File]) -> Set {
    let each = files.iter();
    each.map(|file| (file.name.clone(), hex(&sha256(&file.bytes))))
        .collect()
}

fn has_access(path: &Path, access: Access) -> bool {
    std::fs::metadata(path).is_ok_and(|file| {
        let right_group = access.group.is_none_or(|group| file.gid() == group);
        right_group && file.mode() & 0o777 == access.mode
    })
}
