//! Devices and their certificates, in the order in which everything would have happened.

use jiff::{SignedDuration, Timestamp};
use muster_ca::Error;
use muster_ca::audit::Act;
use muster_ca::certificate::{Certificate, Serial, Status};
use muster_ca::device::{Device, DeviceName, Kind, State};
use muster_ca::ports::{Binding, Change, Entropy, Store, Write};
use muster_pki::cert::{Issuer, Pointers, Role, Template, Usages, assemble};
use muster_pki::crl::Reason;
use muster_pki::key::{KeyKind, PublicKey, sha256};
use muster_pki::name::San;

use super::Size;

pub(super) const DAY: SignedDuration = SignedDuration::from_hours(24);
/// A device has its next certificate after so long.
const RENEWAL: SignedDuration = SignedDuration::from_hours(20 * 24);
/// One device of so many is registered and has not enrolled yet.
const WAITING: u64 = 250;
/// One device of so many was last heard of when it got its last certificate.
const SILENT: u64 = 500;
/// One certificate of so many is revoked, a quarter of a renewal after it was issued.
const REVOKED: u64 = 50;
/// Devices of one wave.
pub(super) const WAVE: u64 = 100;
/// Why a certificate is revoked, what becomes of its device if it is its last one, and the word for that.
const ENDS: [(Reason, State, &str); 4] = [
    (Reason::KeyCompromise, State::Revoked, "device.revoked"),
    (Reason::Superseded, State::Revoked, "device.revoked"),
    (Reason::CessationOfOperation, State::Retired, "device.retired"),
    (Reason::CertificateHold, State::Suspended, "device.suspended"),
];

/// What is to be made up.
pub(super) struct Fleet {
    pub(super) devices: u64,
    /// Those that have certificates; the others wait.
    pub(super) enrolled: u64,
    certificates: u64,
    issuer: Issuer,
    key: PublicKey,
    pub(super) now: Timestamp,
    salt: [u8; 32],
}

impl Fleet {
    pub(super) async fn new(
        store: &dyn Store,
        entropy: &dyn Entropy,
        now: Timestamp,
        size: Size,
    ) -> Result<Self, Error> {
        let authorities = store.authorities().await?;
        let default = authorities.iter().find(|authority| authority.name == "default");
        let default = default.ok_or_else(|| Error::Missing("there is no default authority".into()))?;
        let mut salt = [0; 32];
        entropy.fill(&mut salt);
        Ok(Self {
            devices: size.devices,
            enrolled: size.devices - size.devices / WAITING,
            certificates: size.certificates,
            issuer: default.active()?.parsed()?.as_issuer()?,
            key: entropy.private_key(KeyKind::P256)?.public().clone(),
            now,
            salt,
        })
    }

    /// How many steps the past has: in each a certificate is issued, or one that was issued before is revoked, or both.
    pub(super) fn steps(&self) -> u64 {
        self.certificates + self.lag()
    }

    /// What happens in one step.
    pub(super) fn step(&self, step: u64) -> Result<Vec<Change>, Error> {
        let mut changes = Vec::new();
        if step < self.certificates {
            changes.push(self.issue(step)?);
        }
        if let Some(ending) = step.checked_sub(self.lag())
            && ending % REVOKED == 17
        {
            changes.push(self.end(ending, self.at(step))?);
        }
        Ok(changes)
    }

    fn lag(&self) -> u64 {
        self.enrolled / 4
    }

    /// When a step was done: each round of renewals takes as long as a device waits for its next, and the last ends a minute ago.
    pub(super) fn at(&self, step: u64) -> Timestamp {
        let rounds_ago = self.certificates.saturating_sub(step) as f64 / self.enrolled as f64;
        let ago = RENEWAL.as_millis_f64() * rounds_ago;
        self.now - SignedDuration::from_millis(ago as i64 + 60_000)
    }

    /// One in a hundred is a broker or another server.
    pub(super) fn kind(&self, device: u64) -> Kind {
        match device % 200 {
            99 => Kind::Broker,
            199 => Kind::Server,
            _ => Kind::Client,
        }
    }

    pub(super) fn name(&self, device: u64) -> DeviceName {
        DeviceName::restored(match self.kind(device) {
            Kind::Broker => format!("mqtt-{device:06}.example.org"),
            Kind::Server => format!("hub-{device:06}.example.org"),
            Kind::Client => format!("site-{device:06}"),
        })
    }

    pub(super) fn device(&self, device: u64, created: Timestamp, state: State, version: u64) -> Device {
        let kind = self.kind(device);
        Device {
            name: self.name(device),
            kind,
            state,
            armed: false,
            profile: kind.as_str().into(),
            note: match device % 1_000 {
                7 => format!("Hall {}, behind the pump", device % 40),
                _ => String::new(),
            },
            created,
            version,
        }
    }

    /// What nobody can guess, though it is the same for the same text.
    pub(super) fn hash(&self, text: &str) -> [u8; 32] {
        sha256(&[&self.salt, text.as_bytes()].concat())
    }

    /// The wave that a device enrols with, if it does so with a token.
    pub(super) fn wave_of(&self, device: u64) -> Option<u64> {
        let has_token = device % 3 == 2 && !self.is_served(device) && !is_withdrawn(device / WAVE);
        has_token.then_some(device / WAVE)
    }

    /// Whether an operator issues each of its certificates.
    fn is_served(&self, device: u64) -> bool {
        self.kind(device) != Kind::Client || device.is_multiple_of(10)
    }

    fn serial(&self, n: u64) -> Result<Serial, Error> {
        let mut serial = Serial::time_octets(self.at(n)).to_vec();
        serial.extend_from_slice(&sha256(&n.to_be_bytes())[..10]);
        Serial::from_bytes(&serial).ok_or_else(|| Error::Internal("the clock says 1970".into()))
    }

    fn is_last(&self, n: u64) -> bool {
        n + self.enrolled >= self.certificates
    }

    /// How a certificate was asked for: those that renew by themselves, and those that an operator issues each time.
    fn how(&self, n: u64) -> Result<String, Error> {
        let device = n % self.enrolled;
        if self.is_served(device) {
            return Ok("operator".into());
        }
        if let Some(before) = n.checked_sub(self.enrolled)
            && before % REVOKED != 17
        {
            return Ok(format!("renewal:{}", self.serial(before)?));
        }
        Ok(match self.wave_of(device) {
            Some(wave) if n < self.enrolled => format!("token:{}", wave_id(wave)),
            _ if device % 3 == 1 => "step:iot-devices".into(),
            _ => "operator".into(),
        })
    }

    fn life(&self, n: u64) -> SignedDuration {
        let device = n % self.enrolled;
        match self.kind(device) {
            Kind::Broker | Kind::Server => DAY * 365,
            Kind::Client if self.is_last(n) && device % SILENT == 3 => {
                DAY * (2 + (device / SILENT * 7 % 25) as i32)
            }
            Kind::Client => DAY * 30,
        }
    }

    fn certificate(&self, n: u64) -> Result<Certificate, Error> {
        let (device, at, serial) = (n % self.enrolled, self.at(n), self.serial(n)?);
        let (name, kind) = (self.name(device), self.kind(device));
        let sans = match kind {
            Kind::Client => Vec::new(),
            Kind::Broker | Kind::Server => vec![San::parse(name.as_str())?],
        };
        let (not_before, not_after) = (at - SignedDuration::from_hours(1), at + self.life(n));
        let template = Template {
            serial: serial.as_bytes(),
            common_name: name.as_str(),
            sans: &sans,
            not_before,
            not_after,
            key: &self.key,
            role: Role::Leaf(Usages {
                client: kind != Kind::Server,
                server: kind != Kind::Client,
            }),
            pointers: &Pointers::default(),
        };
        let to_be_signed = template.to_be_signed(Some(&self.issuer))?;
        Ok(Certificate {
            der: assemble(&to_be_signed, self.issuer.algorithm, &[0; 71])?,
            serial,
            authority: "default".into(),
            generation: 1,
            device: name,
            profile: kind.as_str().into(),
            not_before,
            not_after,
            status: Status::Active,
            key: key_of(n),
            how: self.how(n)?,
        })
    }

    fn issue(&self, n: u64) -> Result<Change, Error> {
        let certificate = self.certificate(n)?;
        let at = self.at(n);
        let mut writes = Vec::new();
        if n < self.enrolled {
            let device = self.device(n, at, State::Active, 1);
            writes.push(Write::Device {
                device,
                expected: None,
            });
        }
        let by = certificate.how.split(':').next().unwrap_or_default();
        if by == "token"
            && let Some(token) = certificate.enrolment_token()
        {
            writes.push(Write::Bind(Binding {
                token: token.to_owned(),
                device: certificate.device.clone(),
                key: certificate.key,
                serial: certificate.serial.clone(),
                at,
                confirmed: Some(at),
            }));
        }
        let (actor, via, action) = match by {
            "renewal" => (
                format!("device {}", certificate.device),
                "rest",
                "certificate.renewed",
            ),
            "token" => (
                certificate.how.replacen(':', " ", 1),
                "rest",
                "certificate.issued",
            ),
            "step" => ("provisioner iot-devices".into(), "step", "certificate.issued"),
            _ => ("alice".into(), "web", "certificate.issued"),
        };
        let subject = format!("{} {}", certificate.device, certificate.serial);
        let detail = format!(
            r#"{{"profile":"{}","how":"{}","not_after":"{}"}}"#,
            certificate.profile, certificate.how, certificate.not_after
        );
        writes.push(Write::Certificate(certificate));
        Ok(Change {
            writes,
            act: act(at, &actor, via, action, subject, detail),
        })
    }

    fn end(&self, n: u64, at: Timestamp) -> Result<Change, Error> {
        let serial = self.serial(n)?;
        let name = self.name(n % self.enrolled);
        let (reason, state, action) = ENDS[(n / REVOKED % 4) as usize];
        let mut writes = vec![Write::Status {
            serial: serial.clone(),
            from: Status::Active,
            to: Status::Revoked { at, reason },
        }];
        if reason == Reason::KeyCompromise {
            let key = key_of(n);
            writes.push(Write::Compromise { key, at });
        }
        let detail = format!(r#"{{"reason":"{reason}"}}"#);
        if !self.is_last(n) {
            let subject = format!("{name} {serial}");
            return Ok(Change {
                writes,
                act: act(at, "alice", "web", "certificate.revoked", subject, detail),
            });
        }
        let created = self.at(n % self.enrolled);
        writes.push(Write::Device {
            device: self.device(n % self.enrolled, created, state, 2),
            expected: Some(1),
        });
        Ok(Change {
            writes,
            act: act(at, "alice", "web", action, name.to_string(), detail),
        })
    }
}

/// The hash of a key that nobody has.
fn key_of(n: u64) -> [u8; 32] {
    sha256(format!("key {n}").as_bytes())
}

pub(super) fn wave_id(wave: u64) -> String {
    format!("wave-{wave:06}")
}

/// Waves whose token nobody used before it was withdrawn.
pub(super) fn is_withdrawn(wave: u64) -> bool {
    wave % 11 == 5
}

pub(super) fn act(
    at: Timestamp,
    actor: &str,
    via: &str,
    action: &'static str,
    subject: String,
    detail: String,
) -> Act {
    Act {
        at,
        actor: actor.to_owned(),
        via: via.to_owned(),
        source: "192.0.2.1".into(),
        action,
        subject,
        detail,
        dry_run: false,
    }
}
