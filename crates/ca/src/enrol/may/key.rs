//! Keys: whether a device that has one gets another, and what the new certificate takes the place of.

use jiff::Timestamp;
use muster_pki::key::PublicKey;

use crate::certificate::{Certificate, Serial, Status};
use crate::device::{DeviceName, State};
use crate::enrol::who::{Caller, Who};
use crate::error::Refusal;
use crate::profile::Profiles;

use super::Facts;

/// So many certificates of one device may live. Who renews in time has two; a device that has gone mad, or whoever stole its
/// key, does not fill the disk.
pub(crate) const MOST_LIVING: usize = 32;

/// A name that has another key is somebody; a token that is not for this name alone does not make another one of it. One that an
/// operator made for it does, unless what it has is alive: then it takes a recovery code.
pub(super) fn accept_key(
    caller: &Caller,
    facts: &Facts<'_>,
    name: &DeviceName,
    key: &PublicKey,
    profiles: &Profiles,
) -> Result<(), Refusal> {
    let key = key.fingerprint();
    if recovers(caller) {
        return refuse_former_key(facts, name, &key);
    }
    let armed = facts.device.is_none_or(|device| device.state == State::New);
    if armed || may_replace(caller) {
        return Ok(());
    }
    let another = |one: &&Certificate| one.status == Status::Active && one.key != key;
    let mut others = facts.usable.iter().filter(another);
    let why = if others.clone().any(|one| one.is_living(facts.now)) {
        "a living certificate with another key"
    } else if is_for_this_name(caller) {
        return Ok(());
    } else if others.any(|one| may_renew(one, profiles, facts.now)) {
        "a certificate with another key, which ran out and may still be renewed"
    } else if newest(facts).filter(another).is_some() {
        "another key, whose certificate ran out"
    } else {
        return Ok(());
    };
    Err(Refusal::new(format!("{name} has {why}")).fix(format!(
        "if the device lost its key, an operator lets it in again with: muster device recover {name}"
    )))
}

/// Whether a wave's token is shown for a name that is somebody else, as far as keys tell.
pub(crate) fn is_anothers(
    caller: &Caller,
    facts: &Facts<'_>,
    name: &DeviceName,
    key: &PublicKey,
    profiles: &Profiles,
) -> bool {
    let wave = matches!(caller.who(), Who::Enrolment(token) if token.device.is_none());
    wave && accept_key(caller, facts, name, key, profiles).is_err()
}

/// A recovery code is there because something else may have what the device had. A key that it had before would leave that in.
fn refuse_former_key(facts: &Facts<'_>, name: &DeviceName, key: &[u8; 32]) -> Result<(), Refusal> {
    let mut all = facts.usable.iter().chain(facts.history);
    if !all.any(|one| one.key == *key) {
        return Ok(());
    }
    let why = format!("{name} had this key before, and so may a copy of it");
    Err(Refusal::new(why).fix("make a new key, and use the recovery code with that"))
}

/// The newest of its certificates that was not revoked.
fn newest<'a>(facts: &Facts<'a>) -> Option<&'a Certificate> {
    let mut all = facts.usable.iter().chain(facts.history);
    all.find(|one| one.status == Status::Active)
}

fn may_renew(certificate: &Certificate, profiles: &Profiles, now: Timestamp) -> bool {
    let profile = profiles.known(&certificate.profile);
    profile.is_ok_and(|profile| profile.renewable() && now <= certificate.not_after + profile.grace())
}

fn recovers(caller: &Caller) -> bool {
    matches!(caller.who(), Who::Enrolment(token) if token.recovers)
}

/// Whether an operator made the token for one name.
fn is_for_this_name(caller: &Caller) -> bool {
    matches!(caller.who(), Who::Enrolment(token) if token.device.is_some())
}

fn may_replace(caller: &Caller) -> bool {
    match caller.who() {
        Who::Operator { .. } => true,
        Who::Token(token) => token.provisioner.record.may_replace,
        Who::Enrolment(token) => token.recovers,
        Who::Device(_) => false,
    }
}

/// Refuses one more than a device may have; `living` without those that this one takes the place of.
pub(crate) fn accept_another(name: &DeviceName, living: usize) -> Result<(), Refusal> {
    if living < MOST_LIVING {
        return Ok(());
    }
    Err(Refusal::new(format!(
        "{name} has {living} living certificates, and a device may have {MOST_LIVING}"
    ))
    .fix(format!(
        "wait until one runs out, or an operator revokes what nobody uses: muster cert list --device {name} --status active, then muster cert revoke SERIAL"
    )))
}

/// What a new certificate takes the place of. A device that was re-armed lost its key, or shall have another: what it had
/// works until the new one is there, and not beside it. A provisioner that may replace keys replaces them, and so does a
/// recovery code, and a token for this name what ran out and could still be renewed.
pub(super) fn superseded(caller: &Caller, facts: &Facts<'_>, key: &PublicKey) -> Vec<(Serial, Status)> {
    let armed = facts.device.is_some_and(|device| device.state == State::New);
    let by_token = matches!(caller.who(), Who::Token(_) | Who::Enrolment(_));
    let replaces = by_token && (may_replace(caller) || is_for_this_name(caller));
    let fingerprint = key.fingerprint();
    let old = facts
        .usable
        .iter()
        .filter(|one| one.status == Status::Active && (armed || (replaces && one.key != fingerprint)));
    old.map(|one| (one.serial.clone(), one.status)).collect()
}
