//! The device's home: the files that its MQTT client reads, and what the agent needs beside them.
//!
//! | file | is |
//! |---|---|
//! | `ca.crt` | the CAs that the device believes |
//! | `NAME.crt`, `NAME.key` | its certificate with the issuing CA's, and its key |
//! | `….next` | the pair that comes next: the key is here before anybody is asked for a certificate for it |
//! | `….previous` | the pair before, until the present one has connected and the CA knows |
//! | `NAME.crt.connected` | the present one has connected, and the CA is still to hear it |
//! | `agent.json` | what the device was told when it enrolled |
//! | `NAME.key.old` | a key that lay here without a certificate when the device enrolled |
//! | `agent.json.next`, `NAME.key.enrol` | an enrolment that has not ended, and its key; what is in use does not depend on it |
//!
//! A pair changes by two renames, the key first. If the power fails between them, [`Home::recover`] finds the half that belongs to
//! the other.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use muster_api::types::Issued;
use muster_pki::cert::Certificate;
use muster_pki::key::PrivateKey;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::settings::{Settings, if_readable, pending_file, read_pending, read_settings, settings_file};
use crate::disk::group_id;
use crate::disk::{self, Access, Lock, with_suffix};
use crate::pair::{Pair, new_key};
use crate::{Error, Kind};

pub(super) const ANCHORS: &str = "ca.crt";
pub(super) const NEXT: &str = "next";
pub(super) const PREVIOUS: &str = "previous";
const CONNECTED: &str = "connected";
pub(super) const ENROL: &str = "enrol";
const OLD: &str = "old";

/// For how long what a person asks for waits for an agent that is at work in the directory: most of what it does takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// Opens a directory, once nobody else is at work there.
pub async fn when_free<T>(open: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
    let end = Instant::now() + PATIENCE;
    let mut said = false;
    loop {
        match open() {
            Err(why) if why.kind() == Kind::Busy && Instant::now() < end => {
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!("waiting: {why}");
                }
            }
            done => return done,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A device's directory. One process changes it at a time.
#[derive(Debug)]
pub struct Home {
    dir: PathBuf,
    /// Not there if it is only looked at.
    _lock: Option<Lock>,
}

impl Home {
    /// Opens the directory, or makes it.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let cannot = |why: std::io::Error| {
            let fix = "run this as root, or choose another directory with --dir";
            Error::new(format!(
                "cannot use the directory {}: {why} ({fix})",
                dir.display()
            ))
        };
        if !dir.is_dir() {
            std::fs::create_dir_all(dir).map_err(cannot)?;
            // Whoever may read which file is up to the file.
            std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).map_err(cannot)?;
        }
        let dir = std::path::absolute(dir).map_err(cannot)?;
        let lock = Some(Lock::acquire(&dir)?);
        Ok(Self { dir, _lock: lock })
    }

    /// The directory as it is, to be read alone.
    pub(crate) fn look(dir: &Path) -> Result<Self, Error> {
        let dir = std::path::absolute(dir).map_err(|why| Error::new(why.to_string()))?;
        Ok(Self { dir, _lock: None })
    }

    /// Opens the directory of a device that has enrolled, and makes none.
    pub fn open_enrolled(dir: &Path) -> Result<(Self, Settings), Error> {
        let none = || {
            Error::missing(format!(
                "no device has enrolled in {} (at the CA: muster token create NAME; it prints the line to run here)",
                dir.display()
            ))
        };
        read_settings(dir)?.ok_or_else(none)?;
        let home = Self::open(dir)?;
        let settings = home.settings()?.ok_or_else(none)?;
        Ok((home, settings))
    }

    /// Where it is, from the root directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the device was told; `None` before it has enrolled.
    pub fn settings(&self) -> Result<Option<Settings>, Error> {
        read_settings(&self.dir)
    }

    /// The same; `None`, too, if it cannot be read any more.
    pub(crate) fn settings_if_readable(&self) -> Result<Option<Settings>, Error> {
        if_readable(&settings_file(&self.dir))
    }

    /// What the device was told for an enrolment that has not ended.
    pub(crate) fn pending(&self) -> Result<Option<Settings>, Error> {
        read_pending(&self.dir)
    }

    /// Begins an enrolment with another code, or goes on with one.
    pub(crate) fn save_pending(&self, settings: &Settings) -> Result<(), Error> {
        settings.write(&pending_file(&self.dir))
    }

    /// An enrolment has ended: its settings are the device's.
    pub(crate) fn promote(&self, settings: &Settings) -> Result<(), Error> {
        self.save(settings)?;
        self.forget_pending(&settings.name)
    }

    /// Nothing is left of an enrolment but what it has put in place.
    pub(crate) fn forget_pending(&self, name: &str) -> Result<(), Error> {
        self.forget_enrolment_key(name)?;
        disk::remove(&pending_file(&self.dir))
    }

    pub(crate) fn save(&self, settings: &Settings) -> Result<(), Error> {
        settings.write(&settings_file(&self.dir))
    }

    /// Where the certificate of a device is.
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.crt"))
    }

    /// Where its key is.
    pub fn key(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.key"))
    }

    /// Where the CAs are that it believes.
    pub fn anchors(&self) -> PathBuf {
        self.dir.join(ANCHORS)
    }

    /// Writes the CAs that the device believes, PEM.
    pub(crate) fn save_anchors(&self, pem: &str) -> Result<(), Error> {
        let path = self.anchors();
        if disk::read(&path)?.as_deref() == Some(pem.as_bytes()) {
            return Ok(());
        }
        disk::write(&path, pem.as_bytes(), public())
    }

    /// The pair in use.
    pub fn pair(&self, name: &str) -> Result<Option<Pair>, Error> {
        read_pair(&self.certificate(name), &self.key(name))
    }

    /// When the certificate in use ends, if there is one.
    pub(super) fn not_after(&self, settings: &Settings) -> Option<Timestamp> {
        let pair = self.pair(&settings.name).ok()??;
        Some(pair.leaf().not_after())
    }

    /// The pair in use of a device that must have one.
    pub(crate) fn pair_in_use(&self, name: &str) -> Result<Pair, Error> {
        let lost = || {
            Error::new(format!(
                "the certificate of {name} or its key is gone (an operator lets the device in again: muster device recover {name})"
            ))
        };
        self.pair(name)?.ok_or_else(lost)
    }

    /// The pair that comes next, once there is a certificate for it.
    pub(crate) fn next(&self, name: &str) -> Result<Option<Pair>, Error> {
        let [certificate, key] = self.beside(name, NEXT);
        read_pair(&certificate, &key)
    }

    /// The key that was made for the next certificate, or a new one, which is on the disk when this returns.
    pub(crate) fn next_key(&self, name: &str, group: Option<&str>) -> Result<PrivateKey, Error> {
        let [_, path] = self.beside(name, NEXT);
        kept_key(&path, group)
    }

    /// Lets the group of the settings read the key in use, and no other one.
    pub(crate) fn share_key(&self, settings: &Settings) -> Result<(), Error> {
        let path = self.key(&settings.name);
        match disk::read(&path)?.map(Zeroizing::new) {
            Some(key) => disk::write(&path, &key, secret(settings.group.as_deref())?),
            None => Ok(()),
        }
    }

    /// The key in use, or a new one, which is on the disk when this returns.
    pub(crate) fn own_key(&self, name: &str) -> Result<PrivateKey, Error> {
        let path = self.key(name);
        if disk::read(&path)?.is_some() && read_key(&path)?.is_none() {
            return Err(Error::new(format!(
                "{} holds no key that can be read here, such as an encrypted one (move it away, and a new one is made)",
                path.display()
            )));
        }
        kept_key(&path, None)
    }

    /// Puts a certificate with its issuers in place, PEM, for the key in use.
    pub(crate) fn save_certificate(&self, name: &str, pem: &str) -> Result<(), Error> {
        disk::write(&self.certificate(name), pem.as_bytes(), public())
    }

    /// The key that was made for the enrolment, or a new one, which is on the disk when this returns.
    pub(crate) fn enrolment_key(&self, name: &str, group: Option<&str>) -> Result<PrivateKey, Error> {
        let [_, path] = self.beside(name, ENROL);
        kept_key(&path, group)
    }

    /// The certificate of the enrolment is for this key, whichever was made for it.
    pub(crate) fn keep_enrolment_key(&self, settings: &Settings, key: &PrivateKey) -> Result<(), Error> {
        let [_, path] = self.beside(&settings.name, ENROL);
        disk::write(
            &path,
            key.to_pem()?.as_bytes(),
            secret(settings.group.as_deref())?,
        )
    }

    /// Gives that key up: it was for another code.
    pub(crate) fn forget_enrolment_key(&self, name: &str) -> Result<(), Error> {
        let [_, path] = self.beside(name, ENROL);
        disk::remove(&path)?;
        disk::remove(&disk::unfinished(&path))
    }

    /// Keeps what was issued for the enrolment's key as what comes next, in the place of a renewal that was begun.
    pub(crate) fn keep_enrolled(
        &self,
        settings: &Settings,
        key: &PrivateKey,
        issued: &Issued,
    ) -> Result<(), Error> {
        let [_, path] = self.beside(&settings.name, NEXT);
        let access = secret(settings.group.as_deref())?;
        disk::write(&path, key.to_pem()?.as_bytes(), access)?;
        self.keep_next(&settings.name, issued)
    }

    /// Where the pair is that comes next: certificate and key.
    pub(crate) fn next_files(&self, name: &str) -> [PathBuf; 2] {
        self.beside(name, NEXT)
    }

    /// Keeps the certificate that was issued for the next key, if it is for it.
    pub(crate) fn keep_next(&self, name: &str, issued: &Issued) -> Result<(), Error> {
        let [path, key] = self.beside(name, NEXT);
        let text = format!("{}{}", issued.pem, issued.issuing);
        let chain = Certificate::all_from_pem(&text)?;
        let [leaf, issuing, ..] = &chain[..] else {
            return Err(Error::new("the CA has sent no certificate with its issuer"));
        };
        let key = read_key(&key)?.ok_or_else(|| Error::new("the next key is gone"))?;
        if leaf.key() != key.public() || leaf.common_name().as_deref() != Some(name) {
            return Err(Error::new(
                "the CA has sent a certificate for another key or another name",
            ));
        }
        leaf.verify_issued_by(issuing.key())?;
        disk::write(&path, text.as_bytes(), public())
    }

    /// Gives the next pair up, so that another is made.
    pub(crate) fn forget_next(&self, name: &str) -> Result<(), Error> {
        let [certificate, key] = self.beside(name, NEXT);
        disk::remove(&certificate)?;
        disk::remove(&key)
    }

    /// Puts the next pair in place. The one before keeps a second name until [`Home::commit`].
    pub(crate) fn install(&self, name: &str) -> Result<(), Error> {
        let ([certificate, key], [next_certificate, next_key]) = self.places(name, NEXT);
        let [old_certificate, old_key] = self.beside(name, PREVIOUS);
        if self.pair(name)?.is_some() {
            disk::link(&certificate, &old_certificate)?;
            disk::link(&key, &old_key)?;
            disk::sync_dir_of(&key)?;
        } else if disk::read(&key)?.is_some() {
            // Somebody may need it, though there is no certificate for it, or none that could be read with it.
            disk::link(&key, &with_suffix(&key, OLD))?;
            disk::sync_dir_of(&key)?;
        }
        disk::rename(&next_key, &key)?;
        disk::rename(&next_certificate, &certificate)?;
        disk::sync_dir_of(&key)
    }

    /// Whether the pair in use has a pair before it, which may still be needed.
    pub(crate) fn is_on_trial(&self, name: &str) -> Result<bool, Error> {
        Ok(self.previous(name)?.is_some())
    }

    /// The pair before the one in use.
    pub(crate) fn previous(&self, name: &str) -> Result<Option<Pair>, Error> {
        let [certificate, key] = self.beside(name, PREVIOUS);
        read_pair(&certificate, &key)
    }

    /// The pair in use has connected. Only the CA's word ends the trial otherwise than well now: it may have given the one before up.
    pub(crate) fn connected(&self, name: &str) -> Result<(), Error> {
        disk::write(&self.connected_file(name), b"", Access::OWN)
    }

    /// Whether it has.
    pub(crate) fn has_connected(&self, name: &str) -> Result<bool, Error> {
        Ok(disk::read(&self.connected_file(name))?.is_some())
    }

    fn connected_file(&self, name: &str) -> PathBuf {
        with_suffix(&self.certificate(name), CONNECTED)
    }

    /// The pair before is given up.
    pub(crate) fn commit(&self, name: &str) -> Result<(), Error> {
        for path in self.beside(name, PREVIOUS) {
            disk::remove(&path)?;
        }
        disk::remove(&self.connected_file(name))?;
        disk::sync_dir_of(&self.anchors())
    }

    /// Puts the pair before back in place. The present one comes next again, so that it can be tried later.
    pub(crate) fn roll_back(&self, name: &str) -> Result<(), Error> {
        let ([certificate, key], [next_certificate, next_key]) = self.places(name, NEXT);
        let [old_certificate, old_key] = self.beside(name, PREVIOUS);
        disk::link(&key, &next_key)?;
        disk::link(&certificate, &next_certificate)?;
        disk::sync_dir_of(&key)?;
        disk::link(&old_key, &key)?;
        disk::link(&old_certificate, &certificate)?;
        self.commit(name)
    }

    pub(super) fn beside(&self, name: &str, suffix: &str) -> [PathBuf; 2] {
        [self.certificate(name), self.key(name)].map(|path| with_suffix(&path, suffix))
    }

    fn places(&self, name: &str, suffix: &str) -> ([PathBuf; 2], [PathBuf; 2]) {
        (
            [self.certificate(name), self.key(name)],
            self.beside(name, suffix),
        )
    }
}

/// The CAs that the device in a directory believes, as far as they can be read. Needs no lock.
pub(crate) fn read_anchors(dir: &Path) -> Result<Vec<Certificate>, Error> {
    read_certificates(&dir.join(ANCHORS))
}

/// The certificates in a file; none if they cannot be read.
pub(super) fn read_certificates(path: &Path) -> Result<Vec<Certificate>, Error> {
    let text = disk::read_any_text(path)?.unwrap_or_default();
    Ok(Certificate::all_from_pem(&text).unwrap_or_default())
}

/// `None` unless both are there and belong together.
pub(super) fn read_pair(certificate: &Path, key: &Path) -> Result<Option<Pair>, Error> {
    let Some(key) = read_key(key)? else {
        return Ok(None);
    };
    let chain = read_certificates(certificate)?;
    Ok(Pair::new(chain, key).ok())
}

/// What cannot be read as a key is none: it is made anew.
pub(super) fn read_key(path: &Path) -> Result<Option<PrivateKey>, Error> {
    let text = disk::read_any_text(path)?.map(Zeroizing::new);
    Ok(text.and_then(|text| PrivateKey::from_pem(&text).ok()))
}

/// The key of a file, or a new one in it.
fn kept_key(path: &Path, group: Option<&str>) -> Result<PrivateKey, Error> {
    if let Some(key) = read_key(path)? {
        return Ok(key);
    }
    let key = new_key()?;
    disk::write(path, key.to_pem()?.as_bytes(), secret(group)?)?;
    Ok(key)
}

fn public() -> Access {
    Access {
        mode: 0o644,
        group: None,
    }
}

pub(super) fn secret(group: Option<&str>) -> Result<Access, Error> {
    let group = group.map(group_id).transpose()?;
    Ok(Access {
        mode: if group.is_some() { 0o640 } else { 0o600 },
        group,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]
    use std::collections::BTreeMap;

    use muster_pki::cert::{Pointers, Role, Template, Usages};

    use super::*;

    /// A certificate for a key, signed by that key: whether they belong together is all that is looked at.
    fn certificate(key: &PrivateKey) -> String {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let pointers = Pointers::default();
        let template = Template {
            serial: &[1],
            common_name: "x",
            sans: &[],
            key: key.public(),
            not_before: at(1_800_000_000),
            not_after: at(1_900_000_000),
            role: Role::Leaf(Usages {
                client: true,
                server: false,
            }),
            pointers: &pointers,
        };
        let to_be_signed = template.to_be_signed(None).unwrap();
        let signature = key.sign(&to_be_signed).unwrap();
        let der = muster_pki::cert::assemble(
            &to_be_signed,
            key.public().kind().signature_algorithm(),
            &signature,
        );
        muster_pki::pem::encode(muster_pki::pem::CERTIFICATE, &der.unwrap()).unwrap()
    }

    type Files = BTreeMap<String, Vec<u8>>;

    fn look(dir: &Path) -> Files {
        let all = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
        let files = all.filter(|entry| entry.file_name() != "lock");
        files
            .map(|entry| {
                (
                    entry.file_name().into_string().unwrap(),
                    std::fs::read(entry.path()).unwrap(),
                )
            })
            .collect()
    }

    fn lay(dir: &Path, files: &Files) {
        for name in look(dir).keys() {
            std::fs::remove_file(dir.join(name)).unwrap();
        }
        for (name, bytes) in files {
            std::fs::write(dir.join(name), bytes).unwrap();
        }
    }

    /// Every state in which the disk is between two operations of installing and of rolling back, one after another.
    fn states(old: &[String; 2], new: &[String; 2]) -> Vec<Files> {
        let names = ["x.crt", "x.key"];
        let mut now = Files::new();
        let mut all = Vec::new();
        let mut set = |name: String, bytes: Option<&String>| {
            match bytes {
                Some(bytes) => drop(now.insert(name, bytes.clone().into_bytes())),
                None => drop(now.remove(&name)),
            }
            all.push(now.clone());
        };
        for at in 0..2 {
            set(names[at].into(), Some(&old[at]));
        }
        set("x.key.next".into(), Some(&new[1]));
        set("x.crt.next".into(), Some(&new[0]));
        set("x.crt.previous".into(), Some(&old[0]));
        set("x.key.previous".into(), Some(&old[1]));
        // Installed by two renames, the key first.
        set("x.key".into(), Some(&new[1]));
        set("x.key.next".into(), None);
        set("x.crt".into(), Some(&new[0]));
        set("x.crt.next".into(), None);
        // Rolled back.
        set("x.key.next".into(), Some(&new[1]));
        set("x.crt.next".into(), Some(&new[0]));
        set("x.key".into(), Some(&old[1]));
        set("x.crt".into(), Some(&old[0]));
        set("x.crt.previous".into(), None);
        set("x.key.previous".into(), None);
        // The first has no pair yet.
        all.split_off(1)
    }

    #[test]
    fn wherever_the_power_fails_there_is_a_pair_that_belongs_together() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let made = || {
            let key = new_key().unwrap();
            [certificate(&key), key.to_pem().unwrap().to_string()]
        };
        let (old, new) = (made(), made());
        for (number, state) in states(&old, &new).iter().enumerate() {
            lay(dir.path(), state);
            home.recover("x").unwrap();
            assert!(home.pair("x").unwrap().is_some(), "state {number}");
            let after = look(dir.path());
            home.recover("x").unwrap();
            assert_eq!(
                look(dir.path()),
                after,
                "recovering again changes nothing in state {number}"
            );
            // Whatever it was, it can be gone on with.
            if home.is_on_trial("x").unwrap() {
                home.roll_back("x").unwrap();
            }
            assert!(home.pair("x").unwrap().is_some(), "state {number}");
            if home.next("x").unwrap().is_some() {
                home.install("x").unwrap();
                home.commit("x").unwrap();
                assert_eq!(std::fs::read_to_string(dir.path().join("x.crt")).unwrap(), new[0]);
            }
        }
    }

    #[test]
    fn what_was_installed_can_be_taken_back_and_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let (old, new) = (new_key().unwrap(), new_key().unwrap());
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("x.crt", &certificate(&old));
        write("x.key", &old.to_pem().unwrap());
        write("x.crt.next", &certificate(&new));
        write("x.key.next", &new.to_pem().unwrap());
        let before = look(dir.path());
        home.install("x").unwrap();
        assert!(home.is_on_trial("x").unwrap() && home.next("x").unwrap().is_none());
        home.roll_back("x").unwrap();
        assert_eq!(look(dir.path()), before);
        home.install("x").unwrap();
        home.commit("x").unwrap();
        assert_eq!(look(dir.path()).len(), 2);
        assert!(
            home.pair("x")
                .unwrap()
                .is_some_and(|pair| pair.leaf().key() == new.public())
        );
    }
}
