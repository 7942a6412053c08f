//! The CA that an agent makes for itself. This one broker trusts it, and nobody else does.
//!
//! It issues two things only. *Tombstones*: certificates in the name of a device that is shut out, to take its session over.
//! And a *canary* of its own for every set of files, revoked in them, so that the agent can see at any time, and without the
//! CA, which set the broker has in force, and that it looks at lists at all.

use std::path::Path;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use jiff::{SignedDuration, Timestamp};
use muster_pki::cert::{self, Certificate, Pointers, Role, Template, Usages};
use muster_pki::crl::{Crl, CrlTemplate, Entry, Reason};
use muster_pki::key::PrivateKey;
use zeroize::Zeroizing;

use crate::Error;
use crate::disk::{self, Access};
use crate::pair::{Pair, new_key};

/// What the names of canaries begin with.
pub const CANARY: &str = "muster-canary.";
/// What the names of agents' own CAs begin with.
pub(crate) const AGENT_CA: &str = "Muster agent of ";
/// What canaries that the fleet's CA issues are called. Every broker that trusts it denies them every topic.
pub(crate) const OF_THE_FLEET: [&str; 2] = ["muster-canary.good", "muster-canary.revoked"];
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// How long the CA and its lists hold. A list is made with every set of files, and long before it runs out.
const LIFE: SignedDuration = SignedDuration::from_hours(24 * 3650);
const CRL_LIFE: SignedDuration = SignedDuration::from_hours(24 * 365);

/// The agent's own CA.
#[derive(Debug)]
pub struct LocalCa {
    broker: String,
    ca: Pair,
    /// The key of every certificate that it issues: whoever has it has the CA's, too.
    leaf_key: PrivateKey,
}

impl LocalCa {
    /// Reads it from a file, or makes it there.
    pub fn open(path: &Path, broker: &str, now: Timestamp) -> Result<Self, Error> {
        let ca = match disk::read_text(path)? {
            Some(text) => Pair::from_pem(&Zeroizing::new(text)).map_err(|why| {
                Error::new(format!("{}: {why} (remove it: another is made)", path.display()))
            })?,
            None => {
                let made = make(broker, now)?;
                disk::write(path, made.to_pem()?.as_bytes(), Access::OWN)?;
                made
            }
        };
        Ok(Self {
            broker: broker.to_owned(),
            ca,
            leaf_key: new_key()?,
        })
    }

    /// Its certificate, PEM.
    pub fn anchor_pem(&self) -> Result<String, Error> {
        Ok(self.ca.leaf().to_pem()?)
    }

    /// Its list: it revokes the canaries of these sets of files, the newest of which gives it its number.
    pub fn crl(&self, sets: &[u64], now: Timestamp) -> Result<Crl, Error> {
        let entries: Vec<Entry> = sets
            .iter()
            .map(|set| Entry {
                serial: serial_of(*set),
                revoked_at: before(now, HOUR),
                reason: Reason::Superseded,
            })
            .collect();
        let issuer = self.ca.leaf().as_issuer()?;
        let template = CrlTemplate {
            number: sets.iter().copied().max().unwrap_or(0),
            this_update: before(now, HOUR),
            next_update: after(now, CRL_LIFE),
            entries: &entries,
        };
        let to_be_signed = template.to_be_signed(&issuer)?;
        let der = cert::assemble(
            &to_be_signed,
            issuer.algorithm,
            &self.ca.key().sign(&to_be_signed)?,
        )?;
        Ok(Crl::from_der(&der)?)
    }

    /// The canary that a set of files revokes.
    pub fn canary(&self, set: u64, now: Timestamp) -> Result<Pair, Error> {
        self.issue(&self.canary_name(), &serial_of(set), now)
    }

    /// The canaries' name.
    pub fn canary_name(&self) -> String {
        let name = format!("{CANARY}{}", self.broker);
        name.chars().take(64).collect()
    }

    /// A certificate in the name of a device that is shut out.
    pub fn tombstone(&self, device: &str, now: Timestamp) -> Result<Pair, Error> {
        let mut serial = [0; 16];
        SystemRandom::new()
            .fill(&mut serial)
            .map_err(|_| Error::new("no random number could be drawn"))?;
        // Positive, and apart from the canaries', which are short.
        serial[0] = serial[0] & 0x7f | 0x40;
        self.issue(device, &serial, now)
    }

    fn issue(&self, common_name: &str, serial: &[u8], now: Timestamp) -> Result<Pair, Error> {
        let template = Template {
            serial,
            common_name,
            sans: &[],
            not_before: before(now, HOUR),
            not_after: after(now, HOUR),
            key: self.leaf_key.public(),
            role: Role::Leaf(Usages {
                client: true,
                server: false,
            }),
            pointers: &Pointers::default(),
        };
        let issuer = self.ca.leaf().as_issuer()?;
        let to_be_signed = template.to_be_signed(Some(&issuer))?;
        let der = cert::assemble(
            &to_be_signed,
            issuer.algorithm,
            &self.ca.key().sign(&to_be_signed)?,
        )?;
        let key = PrivateKey::from_pkcs8(Zeroizing::new(self.leaf_key.pkcs8().to_vec()))?;
        Pair::new(vec![Certificate::from_der(&der)?], key)
    }
}

/// Every agent's has a name of its own: OpenSSL looks issuers up by their names.
fn make(broker: &str, now: Timestamp) -> Result<Pair, Error> {
    let key = new_key()?;
    let common_name: String = format!("{AGENT_CA}{broker}").chars().take(64).collect();
    let template = Template {
        serial: &serial_of(u64::try_from(now.as_millisecond()).unwrap_or(1)),
        common_name: &common_name,
        sans: &[],
        not_before: before(now, HOUR),
        not_after: after(now, LIFE),
        key: key.public(),
        role: Role::Authority { path_len: Some(0) },
        pointers: &Pointers::default(),
    };
    let to_be_signed = template.to_be_signed(None)?;
    let algorithm = key.public().kind().signature_algorithm();
    let der = cert::assemble(&to_be_signed, algorithm, &key.sign(&to_be_signed)?)?;
    Pair::new(vec![Certificate::from_der(&der)?], key)
}

/// A set's number as a serial number: positive, and without needless zeros (X.690, section 8.3.2).
fn serial_of(set: u64) -> Vec<u8> {
    let bytes = set.to_be_bytes();
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(7);
    let mut serial = bytes[first..].to_vec();
    if serial[0] & 0x80 != 0 {
        serial.insert(0, 0);
    }
    serial
}

fn before(now: Timestamp, span: SignedDuration) -> Timestamp {
    now.checked_sub(span).unwrap_or(now)
}

fn after(now: Timestamp, span: SignedDuration) -> Timestamp {
    now.checked_add(span).unwrap_or(now)
}
