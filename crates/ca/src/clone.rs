//! Clones: two devices with one identity.
//!
//! Every renewal has one certificate before it, and a device that renews uses the newest. Whoever copies a device copies its
//! certificate, and sooner or later both renew from it: its line forks. A fork by itself is no alarm, since an answer may be lost
//! and asked for again. A fork of which both sides are used is one.
//!
//! | who comes | is |
//! |---|---|
//! | with a certificate beside which another of the same parent has been renewed | the second side |
//! | with a certificate that another one has taken the place of, and lives on | the first side, or a copy that came too late |

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use muster_pki::crl::Reason;

use crate::Ca;
use crate::certificate::{Certificate, Serial, Status};
use crate::device::{DeviceName, State};
use crate::enrol::who::{Caller, Holder};
use crate::error::{Error, Refusal};
use crate::list::{AuditList, Paging};
use crate::ports::{Change, Kept, Write};
use crate::standing::{About, Todo};

/// How long a to-do tells of a clone unless somebody sees to it.
const TOLD_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Of how many devices to-dos tell.
const TOLD: usize = 3;
/// How many audit entries of a device are looked at for where its other side was.
const LOOKED_AT: usize = 100;
/// So many keys that were never confirmed may one certificate be given in a row. Each has its place on a CRL.
const MOST_GIVEN_UP: usize = 8;
/// So many certificates that have not ended may one device have left behind by changing keys. Each has its place on a CRL until then.
const MOST_LEFT_BEHIND: usize = 500;
/// What keys in the drawer begin with.
const DRAWER: &str = "clone";

/// The certificates that were renewed from this one.
fn successors<'a>(of: &'a Serial, all: &'a [Certificate]) -> impl Iterator<Item = &'a Certificate> {
    all.iter()
        .filter(move |one| one.renewed_from().as_ref() == Some(of))
}

/// Whether its holder has renewed with it: until then nobody knows whether it arrived.
fn is_used(certificate: &Certificate, all: &[Certificate]) -> bool {
    successors(&certificate.serial, all).next().is_some()
}

/// Another certificate of the same parent that is used.
pub(crate) fn other_side<'a>(certificate: &Certificate, all: &'a [Certificate]) -> Option<&'a Certificate> {
    let parent = certificate.renewed_from()?;
    all.iter().find(|other| {
        other.serial != certificate.serial
            && other.renewed_from().as_ref() == Some(&parent)
            && is_used(other, all)
    })
}

/// A successor that is used.
pub(crate) fn used_successor<'a>(
    certificate: &'a Certificate,
    all: &'a [Certificate],
) -> Option<&'a Certificate> {
    successors(&certificate.serial, all).find(|one| is_used(one, all))
}

/// Successors for other keys than this one whose holder has not been heard of: who asks again with another key takes their place.
/// What has the key of the certificate before it is left alone: `step` never says that it has it, so it may be in use. And who goes
/// on with that key lets go of nothing.
pub(crate) fn unconfirmed(
    certificate: &Certificate,
    key: &[u8; 32],
    all: &[Certificate],
) -> Vec<(Serial, Status)> {
    if *key == certificate.key {
        return Vec::new();
    }
    successors(&certificate.serial, all)
        .filter(|one| one.status == Status::Active && one.key != *key && one.key != certificate.key)
        .filter(|one| !is_used(one, all))
        .map(|one| (one.serial.clone(), one.status))
        .collect()
}

/// Refuses yet another key for a certificate whose holder has given up so many: each takes the place of the one before it, so that
/// they never count as living. And yet another for a device that has changed its key so often that its CRL would know no end.
pub(crate) fn accept_rekeying(
    certificate: &Certificate,
    key: &[u8; 32],
    all: &[Certificate],
    now: Timestamp,
) -> Result<(), Refusal> {
    if *key == certificate.key {
        return Ok(());
    }
    let name = &certificate.device;
    let left_behind = all.iter().filter(|one| is_superseded(one) && one.not_after > now);
    let ends = left_behind.clone().map(|one| one.not_after).min();
    if let Some(end) = ends.filter(|_| left_behind.count() >= MOST_LEFT_BEHIND) {
        return Err(Refusal::new(format!(
            "{name} has changed its key {MOST_LEFT_BEHIND} times, and the first of these certificates ends on {end}"
        ))
        .fix("renew with the key that it has, or wait until then"));
    }
    let given_up =
        successors(&certificate.serial, all).filter(|one| is_superseded(one) && one.key != certificate.key);
    if given_up.count() < MOST_GIVEN_UP {
        return Ok(());
    }
    Err(Refusal::new(format!(
        "this certificate of {name} was renewed with {MOST_GIVEN_UP} other keys, and none of them was kept"
    ))
    .fix(format!(
        "renew with the key that it has, or an operator lets the device in again with: muster device recover {name}"
    )))
}

/// What took the place of a superseded certificate and lives on, if that came about by a renewal.
fn line_without(certificate: &Certificate, all: &[Certificate]) -> Option<Certificate> {
    let parent = certificate.renewed_from();
    let of_the_line = |one: &&Certificate| {
        let before = one.renewed_from();
        before.as_ref() == Some(&certificate.serial) || (parent.is_some() && before == parent)
    };
    let found = all
        .iter()
        .filter(|one| one.serial != certificate.serial)
        .filter(of_the_line)
        .find(|one| one.status == Status::Active || is_used(one, all));
    found.cloned()
}

impl Ca {
    /// The certificates among which a fork beside or behind this one shows.
    pub(crate) async fn line_of(&self, certificate: &Certificate) -> Result<Vec<Certificate>, Error> {
        let since = certificate.not_before;
        Ok(self.store.certificates_of(&certificate.device, since).await?)
    }

    /// Somebody proved the key of a certificate that was superseded: if that was by a renewal, there are two of them.
    pub(crate) async fn watch_superseded(&self, caller: &Caller, holder: &Holder) -> Result<(), Error> {
        let all = self.line_of(&holder.certificate).await?;
        match line_without(&holder.certificate, &all) {
            Some(other) => self.tell_of_clone(caller, holder, &other).await,
            None => Ok(()),
        }
    }

    /// Raises the alarm, once until somebody has seen to it, and suspends the device if its profile says so.
    pub(crate) async fn tell_of_clone(
        &self,
        caller: &Caller,
        holder: &Holder,
        other: &Certificate,
    ) -> Result<(), Error> {
        let (name, now) = (&holder.device.name, self.clock.now());
        let key = drawer_key(name);
        let profile = self.settings.profiles.known(&holder.certificate.profile)?;
        // What can no longer renew harms nobody: an old SD card does not stop the device, nor hide a copy that does harm.
        let harmful = now <= holder.certificate.not_after + profile.grace();
        let able = matches!(holder.device.state, State::New | State::Active);
        let suspends = profile.suspends_clones() && harmful && able;
        let told_before = self.store.kept(&key, now).await?.is_some();
        if caller.dry_run() || (told_before && !suspends) {
            return Ok(());
        }
        let there = self.place_of(other).await?;
        let here = place(&caller.origin().source, now);
        let note = format!("its identity is used {here} and {there}");
        let mut writes: Vec<_> = told_before
            .then(|| Write::Drop(key.clone()))
            .into_iter()
            .collect();
        writes.push(Write::Keep(Kept {
            key,
            value: note.clone().into_bytes(),
            expires: now + TOLD_FOR,
        }));
        let told = if suspends {
            self.suspend_clone(caller, holder.device.clone(), &note, writes)
                .await
        } else {
            let detail = serde_json::json!({ "note": note }).to_string();
            let act = caller.act(now, "device.cloned", name.to_string(), detail);
            self.store
                .commit(Change { writes, act })
                .await
                .map_err(Error::from)
        };
        match told {
            // Both sides came at the same moment; what has run out makes room within a minute.
            Err(Error::Conflict(_)) => Ok(()),
            other => other,
        }
    }

    /// Where a certificate went to, as far as the audit log tells.
    async fn place_of(&self, certificate: &Certificate) -> Result<String, Error> {
        let list = AuditList {
            subject: Some(certificate.device.to_string()),
            paging: Paging {
                cursor: None,
                limit: LOOKED_AT,
            },
            ..AuditList::default()
        };
        let serial = certificate.serial.hex();
        let found = self.store.audit(list).await?.items;
        let entry = found.iter().find(|entry| entry.subject.ends_with(&serial));
        Ok(match entry {
            Some(entry) => place(&entry.source, entry.at),
            None => place("", certificate.issued()),
        })
    }

    /// What takes the alarm back, if there is one: somebody has seen to it.
    pub(crate) async fn clone_seen_to(&self, name: &DeviceName) -> Result<Vec<Write>, Error> {
        let key = drawer_key(name);
        let kept = self.store.kept(&key, self.clock.now()).await?;
        Ok(kept.map(|_| Write::Drop(key)).into_iter().collect())
    }

    /// Devices that are two.
    pub(crate) async fn clone_todos(&self, now: Timestamp) -> Result<Vec<Todo>, Error> {
        let kept = self.store.kept_below(DRAWER, now, TOLD).await?;
        let todo = |kept: Kept| {
            let name = kept.key.split_once('/')?.1.to_owned();
            let note = String::from_utf8(kept.value).ok()?;
            Some(Todo {
                what: format!("{name} was copied, or restored from a backup: {note}"),
                fix: "find the true one, and give it an identity of its own".into(),
                command: Some(format!("muster device recover {name}")),
                about: About::Device(DeviceName::restored(name)),
                urgent: true,
            })
        };
        Ok(kept.into_iter().filter_map(todo).collect())
    }
}

fn drawer_key(name: &DeviceName) -> String {
    format!("{DRAWER}/{name}")
}

/// `from 192.0.2.7 at 2027-01-12 14:03:07 UTC`
pub(crate) fn place(source: &str, at: Timestamp) -> String {
    let at = at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S UTC");
    match source {
        "" => format!("from an address that is not known at {at}"),
        source => format!("from {source} at {at}"),
    }
}

/// Whether a certificate gave way to another one.
pub(crate) fn is_superseded(certificate: &Certificate) -> bool {
    matches!(
        certificate.status,
        Status::Revoked {
            reason: Reason::Superseded,
            ..
        }
    )
}
