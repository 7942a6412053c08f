//! Revocation, suspension and what undoes them.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use muster_pki::crl::Reason;

use crate::Ca;
use crate::certificate::{Certificate, Serial, Status};
use crate::device::{Device, DeviceName, State};
use crate::enrol::audit_subject;
use crate::enrol::who::{Caller, Proof, Purpose, Who};
use crate::error::{Error, Refusal};
use crate::operator::Permission;
use crate::ports::{Change, StoreError, Write};

/// How often a change is prepared anew because the device changed meanwhile. So many, because a device that is to be shut
/// out may renew over and over, on many connections, just to be faster.
const ATTEMPTS: usize = 256;

/// What is to be shut out.
#[derive(Debug, Clone)]
pub enum Target {
    /// One certificate; if its key is compromised, every one of its device with that key.
    Certificate(Serial),
    /// A device, with every certificate of it that lives.
    Device(DeviceName),
}

/// What was done. It is in force once every broker has proved it.
#[derive(Debug, Clone)]
pub struct Revocation {
    /// Whose certificates.
    pub device: DeviceName,
    /// Which.
    pub serials: Vec<Serial>,
    /// Since when.
    pub at: Timestamp,
}

/// How a device and its certificates move.
struct Move<'a> {
    /// From the state it is in to the one it shall be in; `None`: not from there.
    state: fn(&Device) -> Option<State>,
    /// Why its certificates are revoked; `None`: they come off hold.
    reason: Option<Reason>,
    action: &'static str,
    note: &'a str,
    /// The enrolment token that it is about, if it is about one.
    token: Option<&'a str>,
    /// What is recorded beside it.
    writes: Vec<Write>,
}

impl Ca {
    /// Revokes for good. What is revoked already can still be revoked as compromised: its key never comes back then, and its
    /// issuer's list gives that reason (since when it is revoked stays).
    pub async fn revoke(
        &self,
        proof: Proof,
        target: Target,
        reason: Reason,
        note: &str,
    ) -> Result<Revocation, Error> {
        if reason == Reason::CertificateHold {
            return Err(Error::Bad(
                "certificate-hold is for suspending a device: muster device suspend NAME".into(),
            ));
        }
        check_note(note)?;
        let caller = self.identify(proof, Purpose::Revoke).await?;
        match target {
            Target::Certificate(serial) => self.revoke_certificate(&caller, &serial, reason, note).await,
            Target::Device(name) => {
                caller.demand(Permission::Operate)?;
                let device = self.known_device(&name).await?;
                let step = Move {
                    state: |device| match device.state {
                        State::New | State::Active | State::Suspended => Some(State::Revoked),
                        out @ (State::Revoked | State::Retired) => Some(out),
                    },
                    reason: Some(reason),
                    action: "device.revoked",
                    note,
                    token: None,
                    writes: Vec::new(),
                };
                self.move_device(&caller, device, step).await
            }
        }
    }

    /// Puts a device's certificates on hold. Can be undone with [`Ca::resume`].
    pub async fn suspend(&self, proof: Proof, name: &DeviceName, note: &str) -> Result<Revocation, Error> {
        let (caller, device) = self.operated(proof, name, note).await?;
        let step = Move {
            state: |device| match device.state {
                State::New | State::Active => Some(State::Suspended),
                State::Suspended | State::Revoked | State::Retired => None,
            },
            reason: Some(Reason::CertificateHold),
            action: "device.suspended",
            note,
            token: None,
            writes: Vec::new(),
        };
        self.move_device(&caller, device, step).await
    }

    /// Suspends a device of which there are two, with what tells of it.
    pub(crate) async fn suspend_clone(
        &self,
        caller: &Caller,
        device: Device,
        note: &str,
        told: Vec<Write>,
    ) -> Result<(), Error> {
        let step = Move {
            state: |device| match device.state {
                State::New | State::Active => Some(State::Suspended),
                State::Suspended | State::Revoked | State::Retired => None,
            },
            reason: Some(Reason::CertificateHold),
            action: "device.cloned",
            note,
            token: None,
            writes: told,
        };
        self.move_device(caller, device, step).await.map(drop)
    }

    /// Takes a device's certificates off hold.
    pub async fn resume(&self, proof: Proof, name: &DeviceName, note: &str) -> Result<Revocation, Error> {
        let (caller, device) = self.operated(proof, name, note).await?;
        let step = Move {
            state: |device| match device.state {
                State::Suspended if device.armed => Some(State::New),
                State::Suspended => Some(State::Active),
                State::New | State::Active | State::Revoked | State::Retired => None,
            },
            reason: None,
            action: "device.resumed",
            note,
            token: None,
            writes: self.clone_seen_to(name).await?,
        };
        self.move_device(&caller, device, step).await
    }

    /// Takes a device out of service for good; its name stays taken.
    pub async fn retire(&self, proof: Proof, name: &DeviceName, note: &str) -> Result<Revocation, Error> {
        let (caller, device) = self.operated(proof, name, note).await?;
        let step = Move {
            state: |device| (device.state != State::Retired).then_some(State::Retired),
            reason: Some(Reason::CessationOfOperation),
            action: "device.retired",
            note,
            token: None,
            writes: Vec::new(),
        };
        self.move_device(&caller, device, step).await
    }

    /// Takes back what a name got through an enrolment token: the use is free again, the device's certificates are revoked
    /// (whoever used the token may have renewed), and it may enrol with any key. A device that is suspended, revoked or
    /// retired stays so.
    pub async fn unbind(
        &self,
        proof: Proof,
        token: &str,
        name: &DeviceName,
        note: &str,
    ) -> Result<Revocation, Error> {
        let (caller, device) = self.operated(proof, name, note).await?;
        let all = self.store.certificates_of(name, Timestamp::UNIX_EPOCH).await?;
        let mine = all
            .iter()
            .filter(|certificate| certificate.enrolment_token() == Some(token));
        let keys: BTreeSet<_> = mine.map(|certificate| certificate.key).collect();
        let mut writes = Vec::new();
        for key in keys {
            if self.store.binding(token, &key).await?.is_some() {
                let token = token.to_owned();
                writes.push(Write::Unbind { token, key });
            }
        }
        if writes.is_empty() {
            return Err(Error::Missing(format!(
                "the token {token:?} is not bound to {name}"
            )));
        }
        writes.extend(self.token_seen_to(token).await?);
        let step = Move {
            state: |device| match device.state {
                State::New | State::Active => Some(State::New),
                out @ (State::Suspended | State::Revoked | State::Retired) => Some(out),
            },
            reason: Some(Reason::PrivilegeWithdrawn),
            action: "token.unbound",
            note,
            token: Some(token),
            writes,
        };
        self.move_device(&caller, device, step).await
    }

    /// Lets a device obtain an identity again, with any key. Certificates that were revoked stay revoked; those that live go
    /// on until the new one is issued, which takes their place (they are revoked as superseded).
    pub async fn rearm(&self, proof: Proof, name: &DeviceName, note: &str) -> Result<Device, Error> {
        let (caller, device) = self.operated(proof, name, note).await?;
        if matches!(device.state, State::Suspended | State::Retired) {
            return Err(Error::Conflict(format!("{name} is {}", device.state.as_str())));
        }
        let now = self.clock.now();
        let next = Device {
            state: State::New,
            version: device.version + 1,
            ..device.clone()
        };
        let mut writes = self.seen_to(name).await?;
        writes.push(Write::Device {
            device: next.clone(),
            expected: Some(device.version),
        });
        let act = caller.act(
            now,
            "device.rearmed",
            name.to_string(),
            act_detail(None, note, &[]),
        );
        self.store.commit(Change { writes, act }).await?;
        self.news.notify(usize::MAX);
        Ok(next)
    }

    async fn operated(&self, proof: Proof, name: &DeviceName, note: &str) -> Result<(Caller, Device), Error> {
        check_note(note)?;
        let caller = self.identify(proof, Purpose::Revoke).await?;
        caller.demand(Permission::Operate)?;
        Ok((caller, self.known_device(name).await?))
    }

    pub(crate) async fn known_device(&self, name: &DeviceName) -> Result<Device, Error> {
        let device = self.store.device(name).await?;
        device.ok_or_else(|| {
            Error::Missing(format!(
                "there is no device {name}; find it with: muster search {name}"
            ))
        })
    }

    /// A device that renews at the same moment does not keep its certificate: the revocation is prepared anew.
    async fn revoke_certificate(
        &self,
        caller: &Caller,
        serial: &Serial,
        reason: Reason,
        note: &str,
    ) -> Result<Revocation, Error> {
        for _ in 0..ATTEMPTS {
            let certificate = self.revocable(caller, serial, reason).await?;
            let (change, done) = self.revocation_of(caller, certificate, reason, note).await?;
            match self.store.commit(change).await {
                Ok(()) => {
                    self.tell_of_revocation(caller);
                    return Ok(done);
                }
                Err(StoreError::Changed(_)) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(always_changing(serial))
    }

    async fn revocable(
        &self,
        caller: &Caller,
        serial: &Serial,
        reason: Reason,
    ) -> Result<Certificate, Error> {
        let found = self.store.certificate(serial).await?;
        // A stranger who guesses serial numbers learns nothing that a token would not tell them.
        let certificate = found.ok_or_else(|| {
            Error::Missing(format!(
                "no certificate with serial number {} was issued here",
                serial.decimal()
            ))
        })?;
        self.accept_revoker(caller, &certificate)?;
        if !moves(certificate.status, Some(reason)) {
            return Err(Error::Conflict(format!(
                "certificate with serial number '{}' is already revoked",
                serial.decimal()
            )));
        }
        Ok(certificate)
    }

    async fn revocation_of(
        &self,
        caller: &Caller,
        certificate: Certificate,
        reason: Reason,
        note: &str,
    ) -> Result<(Change, Revocation), Error> {
        let now = self.clock.now();
        // The device's version rises, so that a renewal that is under way is refused and looks again.
        let device = self.known_device(&certificate.device).await?;
        let subject = audit_subject(&device.name, &certificate.serial);
        let mut touched = vec![certificate];
        if reason == Reason::KeyCompromise {
            let mut others = self.usable(&device.name, now).await?;
            others.retain(|other| {
                other.key == touched[0].key
                    && other.serial != touched[0].serial
                    && moves(other.status, Some(reason))
            });
            touched.append(&mut others);
        }
        let next = Device {
            version: device.version + 1,
            ..device.clone()
        };
        let mut writes = vec![Write::Device {
            device: next,
            expected: Some(device.version),
        }];
        writes.extend(statuses(&touched, Some(reason), now));
        if let Who::Token(token) = caller.who() {
            writes.push(Write::Spend {
                token: token.id,
                expires: token.expires,
            });
        }
        let serials = touched.into_iter().map(|certificate| certificate.serial);
        let serials: Vec<_> = serials.collect();
        let detail = act_detail(Some(reason), note, &serials[1..]);
        let act = caller.act(now, "certificate.revoked", subject, detail);
        let done = Revocation {
            device: device.name,
            serials,
            at: now,
        };
        Ok((Change { writes, act }, done))
    }

    /// A device's certificates that are of some use: unexpired, or not yet too old to be renewed.
    pub(crate) async fn usable(&self, name: &DeviceName, now: Timestamp) -> Result<Vec<Certificate>, Error> {
        let since = now - self.settings.profiles.longest_grace();
        Ok(self.store.certificates_of(name, since).await?)
    }

    /// Moves a device to another state, and its usable certificates with it. A device that renews at the same moment
    /// does not get away: the move is prepared anew on what it has now.
    async fn move_device(
        &self,
        caller: &Caller,
        mut device: Device,
        step: Move<'_>,
    ) -> Result<Revocation, Error> {
        for _ in 0..ATTEMPTS {
            // Asked each time: what was resumed or suspended meanwhile may be moved, what was revoked may not.
            let state = (step.state)(&device).ok_or_else(|| is_already(&device))?;
            let now = self.clock.now();
            let mut touched = self.usable(&device.name, now).await?;
            touched.retain(|certificate| moves(certificate.status, step.reason));
            if state == device.state && touched.is_empty() && step.writes.is_empty() {
                return Err(is_already(&device));
            }
            let next = Device {
                state,
                armed: state == State::Suspended && (device.armed || device.state == State::New),
                version: device.version + 1,
                ..device.clone()
            };
            let mut writes = step.writes.clone();
            writes.push(Write::Device {
                device: next,
                expected: Some(device.version),
            });
            writes.extend(statuses(&touched, step.reason, now));
            let subject = match step.token {
                Some(token) => format!("{} {token}", device.name),
                None => device.name.to_string(),
            };
            let detail = act_detail(step.reason, step.note, &[]);
            let act = caller.act(now, step.action, subject, detail);
            match self.store.commit(Change { writes, act }).await {
                Ok(()) => {
                    self.tell_of_revocation(caller);
                    let serials = touched.into_iter().map(|certificate| certificate.serial);
                    return Ok(Revocation {
                        device: device.name,
                        serials: serials.collect(),
                        at: now,
                    });
                }
                Err(StoreError::Changed(what)) => {
                    let before = device.version;
                    device = self.known_device(&device.name).await?;
                    if device.version == before {
                        return Err(StoreError::Changed(what).into());
                    }
                }
                Err(other) => return Err(other.into()),
            }
        }
        Err(always_changing(&device.name))
    }

    /// Operators may; a device may revoke its own; a provisioner's token names the one serial number it is good for, of a
    /// certificate that it could have asked for.
    fn accept_revoker(&self, caller: &Caller, certificate: &Certificate) -> Result<(), Error> {
        match caller.who() {
            Who::Operator { .. } => caller.demand(Permission::Operate),
            Who::Device(holder) if holder.certificate.serial == certificate.serial => Ok(()),
            Who::Device(_) => Err(Refusal::new("a certificate can revoke itself only").into()),
            Who::Token(token) => {
                if token.subject != certificate.serial.decimal() {
                    return Err(Refusal::new("the token was made for another serial number").into());
                }
                let provisioner = &token.provisioner.record;
                // The authority's own certificates have names that nobody can ask for.
                let device = DeviceName::parse(certificate.device.as_str())?;
                let kind = self.settings.profiles.get(&certificate.profile)?.kind();
                provisioner.accept_profile(&certificate.profile, kind, device.as_str())?;
                Ok(provisioner.accept_name(device.as_str())?)
            }
            Who::Enrolment(_) => Err(Refusal::new("an enrolment token does not revoke").into()),
        }
    }

    pub(crate) fn tell_of_revocation(&self, caller: &Caller) {
        if caller.dry_run() {
            return;
        }
        self.revocations.fetch_add(1, Ordering::SeqCst);
        self.revoked.notify(usize::MAX);
    }
}

fn always_changing(what: &dyn std::fmt::Display) -> Error {
    Error::Conflict(format!("{what} changes all the time; ask again"))
}

fn is_already(device: &Device) -> Error {
    Error::Conflict(format!("the device {} is {}", device.name, device.state.as_str()))
}

/// Whether a certificate follows when its device is revoked for this reason, or taken off hold. What is on hold can be freed
/// or revoked; what is revoked stays, but may turn out to have been compromised.
fn moves(from: Status, reason: Option<Reason>) -> bool {
    match from {
        Status::Active => reason.is_some(),
        Status::Revoked { reason: before, .. } => {
            before == Reason::CertificateHold
                || (reason == Some(Reason::KeyCompromise) && before != Reason::KeyCompromise)
        }
    }
}

/// The certificates' new statuses and, if they are revoked as compromised, what keeps their keys from ever being used again.
fn statuses(certificates: &[Certificate], reason: Option<Reason>, now: Timestamp) -> Vec<Write> {
    let write = |certificate: &Certificate| Write::Status {
        serial: certificate.serial.clone(),
        from: certificate.status,
        to: status_after(certificate.status, reason, now),
    };
    let mut writes: Vec<_> = certificates.iter().map(write).collect();
    if reason == Some(Reason::KeyCompromise) {
        let keys: BTreeSet<_> = certificates.iter().map(|certificate| certificate.key).collect();
        writes.extend(keys.into_iter().map(|key| Write::Compromise { key, at: now }));
    }
    writes
}

/// One that was revoked before has been since then, for whatever reason.
fn status_after(from: Status, reason: Option<Reason>, now: Timestamp) -> Status {
    let Some(reason) = reason else {
        return Status::Active;
    };
    let at = match from {
        Status::Revoked { at, reason } if reason != Reason::CertificateHold => at,
        Status::Active | Status::Revoked { .. } => now,
    };
    Status::Revoked { at, reason }
}

/// The longest note that an act may carry, in bytes.
const MAX_NOTE: usize = 500;

pub(crate) fn check_note(note: &str) -> Result<(), Error> {
    if note.len() > MAX_NOTE {
        return Err(Error::Bad(format!("a note has at most {MAX_NOTE} bytes")));
    }
    // It is shown in terminals and tables.
    if note.chars().any(char::is_control) {
        return Err(Error::Bad("a note is one line without control characters".into()));
    }
    Ok(())
}

/// `also`: the certificates that were revoked with the one that the act is about.
pub(crate) fn act_detail(reason: Option<Reason>, note: &str, also: &[Serial]) -> String {
    let mut detail = serde_json::Map::new();
    if let Some(reason) = reason {
        detail.insert("reason".into(), reason.to_string().into());
    }
    if !note.is_empty() {
        detail.insert("note".into(), note.into());
    }
    if !also.is_empty() {
        detail.insert("also".into(), also.iter().map(Serial::hex).collect());
    }
    if detail.is_empty() {
        return String::new();
    }
    serde_json::Value::Object(detail).to_string()
}
