//! What Muster grants itself: the certificates of its listener, of brokers through their agents, and of canaries.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use muster_pki::key::PublicKey;
use muster_pki::name::San;

use super::{Grant, Right, accept_state, device_after};
use crate::device::{Device, DeviceName};
use crate::error::Error;
use crate::profile::Profile;

/// How long the authority's own HTTPS certificate lives.
const LISTENER_LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How long the key that tells the time does so.
const TELLER_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// The grant that the authority gives itself for its HTTPS listener.
pub(crate) fn listener(
    settings: &crate::Settings,
    name: DeviceName,
    device: Option<&Device>,
    key: &PublicKey,
    now: Timestamp,
) -> Result<Grant, Error> {
    let profile = Arc::new(settings.profiles.listener()?);
    let sans = settings
        .dns
        .iter()
        .map(|host| San::parse(host))
        .collect::<Result<Vec<_>, _>>()?;
    let (device, expected) = device_after(device, name, &profile, now);
    Ok(Grant {
        profile,
        device,
        expected,
        sans,
        key: key.clone(),
        not_before: None,
        not_after: now + LISTENER_LIFE,
        how: "listener".into(),
        right: Right::Lasting,
        superseded: Vec::new(),
    })
}

/// The grant of the key that tells the time.
pub(crate) fn teller(
    settings: &crate::Settings,
    name: DeviceName,
    device: Option<&Device>,
    key: &PublicKey,
    now: Timestamp,
) -> Result<Grant, Error> {
    let profile = Arc::new(settings.profiles.listener()?);
    let (device, expected) = device_after(device, name, &profile, now);
    Ok(Grant {
        profile,
        device,
        expected,
        sans: Vec::new(),
        key: key.clone(),
        not_before: None,
        not_after: now + TELLER_LIFE,
        how: super::TIME.into(),
        right: Right::Lasting,
        superseded: Vec::new(),
    })
}

/// The grant of a broker's own certificate: the names that an operator gave it, for the key that its agent made.
pub(crate) fn broker(
    profile: &Arc<Profile>,
    device: &Device,
    sans: Vec<San>,
    key: &PublicKey,
    now: Timestamp,
) -> Result<Grant, Error> {
    accept_state(Some(device), &device.name)?;
    profile.accept_key(key)?;
    let (_, default, _) = profile.validity();
    let name = device.name.clone();
    let (device, expected) = device_after(Some(device), name, profile, now);
    Ok(Grant {
        profile: profile.clone(),
        device,
        expected,
        sans,
        key: key.clone(),
        not_before: None,
        not_after: now + default,
        how: "agent".into(),
        right: Right::Lasting,
        superseded: Vec::new(),
    })
}

/// The grant of a canary, which is valid for minutes and opens nothing.
pub(crate) fn canary(
    profile: &Arc<Profile>,
    name: DeviceName,
    key: &PublicKey,
    (from, to): (Timestamp, Timestamp),
    now: Timestamp,
) -> Grant {
    let (device, expected) = device_after(None, name, profile, now);
    Grant {
        profile: profile.clone(),
        device,
        expected,
        sans: Vec::new(),
        key: key.clone(),
        not_before: Some(from),
        not_after: to,
        how: "canary".into(),
        right: Right::Lasting,
        superseded: Vec::new(),
    }
}
