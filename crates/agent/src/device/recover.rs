//! After a power cut: what was broken off is ended, and what cannot be read counts as absent.

use std::path::Path;

use zeroize::Zeroizing;

use super::files::{ENROL, Home, NEXT, PREVIOUS, read_certificates, read_key, read_pair};
use super::settings::{if_readable, pending_file, settings_file};
use crate::Error;
use crate::disk;

impl Home {
    /// Ends what a power cut broke off: after this, certificate and key belong together, if there are any.
    pub fn recover(&self, name: &str) -> Result<(), Error> {
        self.warn_of_nonsense(name)?;
        let known = self.settings_if_readable()?.map(|known| known.enrolled_with);
        let pending = self.pending()?.map(|pending| pending.enrolled_with);
        if pending.is_none() || pending == known {
            self.forget_pending(name)?;
        }
        let (certificate, key) = (self.certificate(name), self.key(name));
        let belong = |certificate: &Path, key: &Path| Ok::<_, Error>(read_pair(certificate, key)?.is_some());
        let [next_certificate, next_key] = self.beside(name, NEXT);
        if !belong(&certificate, &key)? {
            for suffix in [NEXT, PREVIOUS] {
                let [other_certificate, other_key] = self.beside(name, suffix);
                if belong(&other_certificate, &key)? {
                    disk::link(&other_certificate, &certificate)?;
                } else if belong(&certificate, &other_key)? {
                    disk::link(&other_key, &key)?;
                } else {
                    continue;
                }
                disk::sync_dir_of(&key)?;
                break;
            }
        }
        // What is in use already does not come next.
        let same = |one: &Path, other: &Path| {
            Ok::<_, Error>(disk::read(one)?.is_some() && disk::read(one)? == disk::read(other)?)
        };
        if same(&key, &next_key)? {
            disk::remove(&next_key)?;
        }
        if same(&certificate, &next_certificate)? {
            disk::remove(&next_certificate)?;
        }
        // The pair before has a name of its own only while another is tried.
        let [old_certificate, old_key] = self.beside(name, PREVIOUS);
        if same(&key, &old_key)?
            || same(&certificate, &old_certificate)?
            || !belong(&old_certificate, &old_key)?
        {
            self.commit(name)?;
        }
        Ok(())
    }

    /// Flash may lose what is in a file when the power fails: what cannot be read counts as absent, and somebody should know.
    fn warn_of_nonsense(&self, name: &str) -> Result<(), Error> {
        let [next, previous] = [NEXT, PREVIOUS].map(|suffix| self.beside(name, suffix));
        let [_, enrolment_key] = self.beside(name, ENROL);
        let warn = |path: &Path| tracing::warn!("{} cannot be read, and counts as absent", path.display());
        for path in [&self.anchors(), &self.certificate(name), &next[0], &previous[0]] {
            if disk::read(path)?.is_some() && read_certificates(path)?.is_empty() {
                warn(path);
            }
        }
        for path in [&self.key(name), &next[1], &previous[1], &enrolment_key] {
            if disk::read(path)?.map(Zeroizing::new).is_some() && read_key(path)?.is_none() {
                warn(path);
            }
        }
        for path in [settings_file(self.dir()), pending_file(self.dir())] {
            if path.exists() && if_readable(&path)?.is_none() {
                warn(&path);
            }
        }
        Ok(())
    }
}
