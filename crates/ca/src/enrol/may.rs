//! What may they have: the only place where a wish becomes a [`Grant`].

mod key;
mod names;
mod own;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use muster_pki::cert::Role;
use muster_pki::crl::Reason;
use muster_pki::csr::Csr;
use muster_pki::key::PublicKey;
use muster_pki::name::San;

use crate::certificate::{Certificate, Serial, Status};
use crate::device::{Device, DeviceName, State};
use crate::enrol::Wish;
use crate::enrol::who::{Caller, Who};
use crate::error::{About, Error, Refusal};
use crate::operator::Permission;
use crate::ports::{Binding, Write};
use crate::profile::{Profile, Profiles};
use crate::token::EnrolmentToken;

pub(crate) use key::{MOST_LIVING, accept_another, is_anothers};
pub(crate) use names::{accept_other_name, accept_token_names, accept_wildcards, complete};
use names::{alternative_names, same_set};
pub(crate) use own::{broker, canary, listener, teller};

/// How far in the future a certificate may begin.
const LATEST_START: SignedDuration = SignedDuration::from_hours(24 * 30);
/// `anyExtendedKeyUsage` and the two usages that profiles give (RFC 5280, section 4.2.1.12).
const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";
const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";

/// How an operator's certificates were asked for.
const OPERATOR: &str = "operator";
/// How a device's certificates were asked for, once it has one.
const RENEWAL: &str = "renewal";

/// How the certificate of the key that tells the time was asked for.
const TIME: &str = "time";

/// A wish that was granted. Its fields are private: what stands here has been decided.
#[derive(Debug)]
pub(crate) struct Grant {
    profile: Arc<Profile>,
    device: Device,
    expected: Option<u64>,
    sans: Vec<San>,
    key: PublicKey,
    not_before: Option<Timestamp>,
    not_after: Timestamp,
    how: String,
    right: Right,
    /// The device's certificates that this one takes the place of.
    superseded: Vec<(Serial, Status)>,
}

/// What is used up by a grant.
#[derive(Debug)]
pub(crate) enum Right {
    /// A one-time token, of a provisioner or of a certificate's own key.
    Spend { token: [u8; 32], expires: Timestamp },
    /// A use of an enrolment token.
    Bind { token: String },
    /// Nothing: an operator's or a certificate's right lasts.
    Lasting,
}

/// What is known about the device when the decision is made.
pub(crate) struct Facts<'a> {
    pub(crate) device: Option<&'a Device>,
    /// Its certificates that live, or may still be renewed.
    pub(crate) usable: &'a [Certificate],
    /// All that it ever had, newest first, if somebody comes with a token and a key that it does not use.
    pub(crate) history: &'a [Certificate],
    pub(crate) now: Timestamp,
}

impl Grant {
    pub(crate) fn authority(&self) -> &str {
        self.profile.authority()
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    pub(crate) fn device(&self) -> &DeviceName {
        &self.device.name
    }

    pub(crate) fn sans(&self) -> &[San] {
        &self.sans
    }

    pub(crate) fn key(&self) -> &PublicKey {
        &self.key
    }

    pub(crate) fn how(&self) -> &str {
        &self.how
    }

    /// What kind of certificate it is.
    pub(crate) fn role(&self) -> Role {
        if self.how == TIME {
            return Role::Time;
        }
        Role::Leaf(self.profile.usages())
    }

    /// When it begins, if not now; and when it ends.
    pub(crate) fn times(&self) -> (Option<Timestamp>, Timestamp) {
        (self.not_before, self.not_after)
    }

    /// What is recorded beside the certificate: the device, and the right that is used up.
    pub(crate) fn writes(&self, certificate: &Certificate, now: Timestamp) -> Vec<Write> {
        let mut writes = vec![Write::Device {
            device: self.device.clone(),
            expected: self.expected,
        }];
        match &self.right {
            Right::Spend { token, expires } => writes.push(Write::Spend {
                token: *token,
                expires: *expires,
            }),
            Right::Bind { token } => writes.push(Write::Bind(Binding {
                token: token.clone(),
                device: self.device.name.clone(),
                key: certificate.key,
                serial: certificate.serial.clone(),
                at: now,
                confirmed: None,
            })),
            Right::Lasting => {}
        }
        let to = Status::Revoked {
            at: now,
            reason: Reason::Superseded,
        };
        writes.extend(self.superseded.iter().map(|(serial, from)| Write::Status {
            serial: serial.clone(),
            from: *from,
            to,
        }));
        writes
    }

    fn is_renewal(&self) -> bool {
        self.how.split(':').next() == Some(RENEWAL)
    }

    /// A living certificate that is just what was granted.
    pub(crate) fn same_as<'a>(&self, usable: &'a [Certificate], now: Timestamp) -> Option<&'a Certificate> {
        let key = self.key.fingerprint();
        usable.iter().find(|certificate| {
            certificate.key == key
                && certificate.profile == self.profile.name()
                && certificate.is_living(now)
                && muster_pki::cert::Certificate::from_der(&certificate.der)
                    .is_ok_and(|parsed| same_set(&parsed.sans(), &self.sans))
        })
    }

    /// The serial numbers of the certificates that this one takes the place of: they are revoked with its recording.
    pub(crate) fn superseded(&self) -> impl Iterator<Item = &Serial> {
        self.superseded.iter().map(|(serial, _)| serial)
    }

    /// Whether a name in it stands for many.
    pub(crate) fn has_wildcard(&self) -> bool {
        self.wildcards().next().is_some()
    }

    /// The domains below which one label is free (RFC 6125, section 6.4.3).
    fn wildcards(&self) -> impl Iterator<Item = &str> {
        self.sans.iter().filter_map(|san| match san {
            San::Dns(name) => name.strip_prefix("*."),
            San::Ip(_) | San::Email(_) | San::Uri(_) => None,
        })
    }

    /// DNS names in it that could be another device's.
    pub(crate) fn other_names(&self) -> Vec<DeviceName> {
        let own = self.device.name.as_str();
        let names = self.sans.iter().filter_map(|san| match san {
            San::Dns(name) if name != own => DeviceName::parse(name).ok(),
            San::Dns(_) | San::Ip(_) | San::Email(_) | San::Uri(_) => None,
        });
        names.collect()
    }
}

/// The name that the certificate will carry.
pub(crate) fn name(caller: &Caller, csr: &Csr, wish: &Wish) -> Result<DeviceName, Error> {
    let asked = wish.name.as_deref().or(csr.common_name());
    let text = match caller.who() {
        Who::Token(token) => &token.subject,
        Who::Device(holder) => return Ok(holder.device.name.clone()),
        Who::Enrolment(EnrolmentToken {
            device: Some(only), ..
        }) => {
            return match asked {
                Some(other) if other != only.as_str() => {
                    Err(Refusal::new(format!("the enrolment token is for {only}, not for {other:?}")).into())
                }
                Some(_) | None => Ok(only.clone()),
            };
        }
        Who::Enrolment(_) | Who::Operator { .. } => asked.ok_or_else(|| {
            Error::Bad("the request names nobody: put the device's name in its subject".into())
        })?,
    };
    Ok(DeviceName::parse(text)?)
}

/// Decides. Every rule that is broken is said with its fix.
pub(crate) fn decide(
    caller: &Caller,
    csr: &Csr,
    wish: &Wish,
    name: DeviceName,
    facts: &Facts<'_>,
    profiles: &Profiles,
) -> Result<Grant, Error> {
    let part = |about| move |why: Error| why.about(about);
    let profile = choose_profile(caller, wish, &name, facts.device, profiles);
    let profile = &profile.map_err(part(About::Profile))?;
    accept_csr(csr, &name, profile).map_err(part(About::Request))?;
    accept_state(facts.device, &name).map_err(|why| part(About::Name)(why.into()))?;
    let key = csr.public_key();
    // Whoever comes with a token that is used up needs to hear that, and not that the name lives with another key.
    let right = right(caller, facts.device)?;
    key::accept_key(caller, facts, &name, key, profiles)?;
    let superseded = key::superseded(caller, facts, key);
    let sans = alternative_names(caller, csr, wish, &name, profile).map_err(part(About::Sans))?;
    let (not_before, not_after) = validity(wish, profile, facts.now).map_err(part(About::Validity))?;
    let (device, expected) = device_after(facts.device, name, profile, facts.now);
    Ok(Grant {
        profile: profile.clone(),
        device,
        expected,
        sans,
        key: key.clone(),
        not_before,
        not_after,
        how: how(caller),
        right,
        superseded,
    })
}

/// The grant of a device that renews: what it has, again; in the place of what its key took the place of.
pub(crate) fn renewal(
    caller: &Caller,
    profile: &Arc<Profile>,
    key: &PublicKey,
    superseded: Vec<(Serial, Status)>,
    now: Timestamp,
) -> Result<Grant, Error> {
    let Who::Device(holder) = caller.who() else {
        return Err(Error::Unproven(
            "only a certificate can be renewed: present it".into(),
        ));
    };
    if !profile.renewable() {
        return Err(Refusal::new(format!("the profile {:?} does not renew", profile.name())).into());
    }
    profile.accept_key(key)?;
    let before = &holder.certificate;
    let parsed = muster_pki::cert::Certificate::from_der(&before.der)?;
    let sans = parsed.sans();
    profile.accept_sans(&sans, before.device.as_str())?;
    let backdated = super::draft::backdate(before.not_before, before.not_after);
    let (_, _, longest) = profile.validity();
    let life = before.not_after.duration_since(before.not_before) - backdated;
    let name = holder.device.name.clone();
    let (device, expected) = device_after(Some(&holder.device), name, profile, now);
    // A re-armed device waits for its replacement; the old holder's renewal does not end that.
    let device = Device {
        state: holder.device.state,
        ..device
    };
    Ok(Grant {
        profile: profile.clone(),
        device,
        expected,
        sans,
        key: key.clone(),
        not_before: None,
        not_after: now + life.min(longest),
        how: format!("{RENEWAL}:{}", before.serial),
        right: match holder.spend {
            Some((token, expires)) => Right::Spend { token, expires },
            None => Right::Lasting,
        },
        superseded,
    })
}

fn choose_profile(
    caller: &Caller,
    wish: &Wish,
    name: &DeviceName,
    device: Option<&Device>,
    profiles: &Profiles,
) -> Result<Arc<Profile>, Error> {
    let registered = device.map(|device| device.profile.as_str());
    let chosen = match caller.who() {
        Who::Operator { .. } => {
            caller.demand(Permission::Operate)?;
            let chosen = profiles.named(wish.profile.as_deref().or(registered).unwrap_or("client"))?;
            refuse_other_kind(device, chosen)?;
            return Ok(chosen.clone());
        }
        Who::Token(token) => {
            let profile = profiles.get(registered.unwrap_or("client"))?;
            let provisioner = &token.provisioner.record;
            provisioner.accept_profile(profile.name(), profile.kind(), name.as_str())?;
            provisioner.accept_name(name.as_str())?;
            profile.clone()
        }
        Who::Enrolment(token) => {
            let profile = profiles.known(&token.profile)?;
            refuse_other_kind(device, &profile)?;
            if token.device.is_none() {
                refuse_other_profile(device, &profile)?;
            }
            profile
        }
        Who::Device(_) => {
            return Err(Error::Unproven(
                "a device renews its certificate; it cannot ask for another".into(),
            ));
        }
    };
    Ok(chosen)
}

fn refuse_other_kind(device: Option<&Device>, profile: &Profile) -> Result<(), Refusal> {
    match device {
        Some(device) if device.kind != profile.kind() => Err(Refusal::new(format!(
            "{} is registered as a {} and the profile {:?} is for a {}",
            device.name,
            device.kind.as_str(),
            profile.name(),
            profile.kind().as_str()
        ))
        .fix("choose another name or another profile")),
        Some(_) | None => Ok(()),
    }
}

/// Whoever has a wave's token does not choose how long a known device's certificates live, nor what it may do.
fn refuse_other_profile(device: Option<&Device>, profile: &Profile) -> Result<(), Refusal> {
    match device.filter(|device| device.profile != profile.name()) {
        Some(device) => Err(Refusal::new(format!(
            "{} follows the profile {:?}, and the enrolment token is a wave's of {:?}",
            device.name,
            device.profile,
            profile.name()
        ))
        .fix(format!(
            "choose another name, or an operator makes a token for this device: muster token create {} --profile {}",
            device.name, device.profile
        ))),
        None => Ok(()),
    }
}

/// What the request itself must not ask for.
fn accept_csr(csr: &Csr, name: &DeviceName, profile: &Profile) -> Result<(), Error> {
    if csr.wants_ca() {
        return Err(Refusal::new("the request asks to become a CA (CA:TRUE)")
            .fix("leave basicConstraints out of the request")
            .into());
    }
    let usages = profile.usages();
    for wanted in csr.wants_usages() {
        let allowed = match wanted.to_string().as_str() {
            CLIENT_AUTH => usages.client,
            SERVER_AUTH => usages.server,
            _ => false,
        };
        if !allowed {
            let what = if wanted.to_string() == SERVER_AUTH {
                "serverAuth".to_owned()
            } else {
                wanted.to_string()
            };
            return Err(Refusal::new(format!(
                "the request asks for the usage {what}, which {name} does not get"
            ))
            .fix(format!(
                "the profile is {:?}; an operator can register a server",
                profile.name()
            ))
            .into());
        }
    }
    profile.accept_key(csr.public_key())?;
    Ok(())
}

/// Refuses a device that is shut out, with what lets it in.
pub(crate) fn accept_state(device: Option<&Device>, name: &DeviceName) -> Result<(), Refusal> {
    match device.map(|device| device.state) {
        None | Some(State::New | State::Active) => Ok(()),
        Some(State::Suspended) => Err(
            Refusal::new(format!("the device {name} is suspended")).fix(format!(
                "an operator resumes it with: muster device resume {name}"
            )),
        ),
        Some(State::Revoked) => Err(Refusal::new(format!("the device {name} is revoked")).fix(format!(
            "an operator lets it in again with: muster device rearm {name} && muster token create {name}"
        ))),
        Some(State::Retired) => Err(
            Refusal::new(format!("the name {name} is retired and stays taken")).fix("choose another name"),
        ),
    }
}

fn validity(wish: &Wish, profile: &Profile, now: Timestamp) -> Result<(Option<Timestamp>, Timestamp), Error> {
    let start = wish.not_before.unwrap_or(now);
    // The start first: what lies near the end of the calendar has no default end.
    if start > now + LATEST_START {
        return Err(Refusal::new("the certificate would begin more than 30 days from now").into());
    }
    if start < now - SignedDuration::from_hours(24) {
        return Err(Refusal::new("the certificate would begin more than a day ago").into());
    }
    let (_, default, _) = profile.validity();
    let start_fits = start.checked_add(default);
    let default_end = start_fits.map_err(|_| Error::Bad("the certificate would begin too late".into()))?;
    let end = wish.not_after.unwrap_or(default_end);
    if end <= now {
        return Err(Error::Bad(format!(
            "the certificate would end in the past ({end})"
        )));
    }
    if end < start {
        return Err(Error::Bad("the certificate would end before it begins".into()));
    }
    let seconds = SignedDuration::from_secs(end.as_second() - start.as_second());
    profile.accept_validity(seconds)?;
    Ok((wish.not_before, end))
}

fn device_after(
    device: Option<&Device>,
    name: DeviceName,
    profile: &Profile,
    now: Timestamp,
) -> (Device, Option<u64>) {
    match device {
        Some(device) => {
            let next = Device {
                state: State::Active,
                profile: profile.name().to_owned(),
                version: device.version + 1,
                ..device.clone()
            };
            (next, Some(device.version))
        }
        None => {
            let first = Device {
                name,
                kind: profile.kind(),
                state: State::Active,
                armed: false,
                profile: profile.name().to_owned(),
                note: String::new(),
                created: now,
                version: 1,
            };
            (first, None)
        }
    }
}

fn how(caller: &Caller) -> String {
    match caller.who() {
        Who::Token(token) => format!("step:{}", token.provisioner.record.name),
        Who::Enrolment(token) => format!("token:{}", token.id),
        Who::Device(_) => RENEWAL.into(),
        Who::Operator { .. } => OPERATOR.into(),
    }
}

/// What to do about a token that is used up: it may have been the device itself, without its key, or another one.
fn used_up(token: &EnrolmentToken, device: Option<&Device>) -> String {
    match device.map(|device| &device.name) {
        Some(name) => format!(
            "an operator lets {name} in again, if it lost its key, with: muster device recover {name}, or takes back what another \
             device got with it: muster token unbind {} {name}",
            token.id
        ),
        None => "ask for another one; an operator makes it with: muster token create".into(),
    }
}

fn right(caller: &Caller, device: Option<&Device>) -> Result<Right, Refusal> {
    match caller.who() {
        Who::Token(token) => Ok(Right::Spend {
            token: token.id,
            expires: token.expires,
        }),
        Who::Enrolment(token) if token.used >= token.uses => {
            let name = device
                .map(|device| format!(" ({})", device.name))
                .unwrap_or_default();
            let why = format!(
                "the enrolment token has been used {} of {} times{name}",
                token.used, token.uses
            );
            Err(Refusal::new(why).fix(used_up(token, device)))
        }
        Who::Enrolment(token) => Ok(Right::Bind {
            token: token.id.clone(),
        }),
        Who::Operator { .. } | Who::Device(_) => Ok(Right::Lasting),
    }
}
