//! What EMQX asks: who comes in, and what each may do with topics.
//!
//! EMQX shows the certificate with which somebody finished the handshake. It looks at no list itself, so everything that other brokers
//! do in the handshake is done here: the CA, the list of each CA, the end of the certificate.

use std::collections::HashSet;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use muster_pki::cert::Certificate;
use muster_pki::crl::Crl;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

use crate::beside::access::{AccessList, Way};
use crate::{Error, disk};

/// One set of the agent's files.
pub(super) struct Judge {
    anchors: Vec<Anchor>,
    pub(super) access: AccessList,
}

/// A CA that is trusted.
struct Anchor {
    certificate: Certificate,
    revoked: HashSet<Vec<u8>>,
    /// When its list runs out.
    until: Timestamp,
}

/// Who wants to come in.
#[derive(Deserialize)]
pub(super) struct Admission {
    clientid: String,
    username: String,
    /// Base64 of the DER.
    certificate: String,
}

/// Who wants to do what.
#[derive(Deserialize)]
pub(super) struct Use {
    pub(super) clientid: String,
    username: String,
    action: String,
    pub(super) topic: String,
}

impl Judge {
    /// Reads the set that lies there; none if there is none yet.
    pub(super) fn load(dir: &Path) -> Result<Option<Self>, Error> {
        let read = |name: &str| disk::read_text(&dir.join(name));
        let (Some(crls), Some(trust), Some(access)) =
            (read("crls.pem")?, read("trust.pem")?, read("access.json")?)
        else {
            return Ok(None);
        };
        let lists = CertificateRevocationListDer::pem_slice_iter(crls.as_bytes()).map(|der| {
            let der = der.map_err(|why| Error::new(format!("crls.pem cannot be read: {why}")))?;
            Ok::<_, Error>(Crl::from_der(&der)?)
        });
        let lists = lists.collect::<Result<Vec<_>, _>>()?;
        let anchors = Certificate::all_from_pem(&trust)?.into_iter();
        Ok(Some(Self {
            anchors: anchors
                .map(|anchor| Anchor::new(anchor, &lists))
                .collect::<Result<_, _>>()?,
            access: AccessList::read(&access)?,
        }))
    }

    /// Whether somebody may come in now, and until when.
    pub(super) fn admits(&self, who: &Admission, now: Timestamp) -> Option<Timestamp> {
        let leaf = Certificate::from_der(&STANDARD.decode(&who.certificate).ok()?).ok()?;
        let name = leaf.common_name()?;
        let named = who.clientid == name && who.username == name && self.access.lets_in(&name);
        let holds = leaf.not_before() <= now && now < leaf.not_after() && leaf.usages().client;
        (named && holds && self.vouches(&leaf, now)).then(|| leaf.not_after())
    }

    /// Whether somebody may do this.
    pub(super) fn allows(&self, what: &Use) -> bool {
        let way = match what.action.as_str() {
            "publish" => Way::Publish,
            "subscribe" => Way::Subscribe,
            _ => return false,
        };
        let name = &what.clientid;
        *name == what.username && self.access.lets_in(name) && self.access.allows(name, way, &what.topic)
    }

    /// Whether a certificate, and every CA above it, is on no list, and no list has run out.
    fn vouches(&self, certificate: &Certificate, now: Timestamp) -> bool {
        let issuer = self
            .anchors
            .iter()
            .find(|anchor| certificate.verify_issued_by(anchor.certificate.key()).is_ok());
        issuer.is_some_and(|issuer| {
            let above = &issuer.certificate;
            let is_root = above.verify_issued_by(above.key()).is_ok();
            let listed = issuer.revoked.contains(certificate.serial());
            !listed && now < issuer.until && (is_root || self.vouches(above, now))
        })
    }
}

impl Anchor {
    fn new(certificate: Certificate, lists: &[Crl]) -> Result<Self, Error> {
        let list = lists
            .iter()
            .find(|list| list.verify_issued_by(certificate.key()).is_ok());
        let until = list.and_then(Crl::next_update);
        let (Some(list), Some(until)) = (list, until) else {
            return Err(Error::new("crls.pem lacks the list of a CA that is trusted"));
        };
        Ok(Self {
            revoked: list.serials().map(<[u8]>::to_vec).collect(),
            certificate,
            until,
        })
    }
}
