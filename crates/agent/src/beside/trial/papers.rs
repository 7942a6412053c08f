//! The certificates that are shown.

use muster_pki::cert::{self, Certificate, Pointers, Role, Template, Usages};
use muster_pki::key::PrivateKey;
use zeroize::Zeroizing;

use crate::pair::{Pair, new_key};
use crate::{Clock, Error};

/// Certificates for one key, as the CA gives them to whoever tries a broker.
#[derive(Debug)]
pub struct Papers {
    /// The key of all of them.
    pub key: PrivateKey,
    /// The issuing CA.
    pub issuing: Certificate,
    /// The CAs that devices' certificates may be of, each by its subject (DER).
    pub cas: Vec<Vec<u8>>,
    /// Has to be let in.
    pub good: Certificate,
    /// Of another name, which begins with the first; has to be let in.
    pub other: Certificate,
    /// Has ended.
    pub expired: Certificate,
    /// Has not begun.
    pub early: Certificate,
    /// Is a server's.
    pub server: Certificate,
    /// Is let in until it is revoked.
    pub revocable: Certificate,
}

impl Papers {
    pub(super) fn pair(&self, leaf: &Certificate) -> Result<Pair, Error> {
        let key = PrivateKey::from_pkcs8(Zeroizing::new(self.key.pkcs8().to_vec()))?;
        Pair::new(vec![leaf.clone(), self.issuing.clone()], key)
    }

    /// The two that have to be let in.
    pub(super) fn both(&self) -> Result<(Pair, Pair), Error> {
        Ok((self.pair(&self.good)?, self.pair(&self.other)?))
    }

    /// A certificate of the same name by a CA of the same name, made here for this once.
    pub(super) fn foreign(&self, clock: &Clock) -> Result<Pair, Error> {
        let (ca_key, key) = (new_key()?, new_key()?);
        let now = clock();
        let hour = jiff::SignedDuration::from_hours(1);
        let name = self.issuing.common_name().unwrap_or_default();
        let made = |template: Template<'_>, issuer: Option<&cert::Issuer>| -> Result<Certificate, Error> {
            let to_be_signed = template.to_be_signed(issuer)?;
            let algorithm = ca_key.public().kind().signature_algorithm();
            let der = cert::assemble(&to_be_signed, algorithm, &ca_key.sign(&to_be_signed)?)?;
            Ok(Certificate::from_der(&der)?)
        };
        let pointers = Pointers::default();
        let template = |common_name, key, role| Template {
            serial: &[1],
            common_name,
            sans: &[],
            not_before: now - hour,
            not_after: now + hour,
            key,
            role,
            pointers: &pointers,
        };
        let ca = made(
            template(&name, ca_key.public(), Role::Authority { path_len: Some(0) }),
            None,
        )?;
        let role = Role::Leaf(Usages {
            client: true,
            server: false,
        });
        let name = self.good.common_name().unwrap_or_default();
        let leaf = made(template(&name, key.public(), role), Some(&ca.as_issuer()?))?;
        Pair::new(vec![leaf, ca], key)
    }
}
