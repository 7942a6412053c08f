//! What the gate goes by: one set of the agent's files.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use muster_pki::cert::Certificate;
use muster_pki::crl::Crl;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{RootCertStore, ServerConfig};

use super::FILES;
use crate::beside::access::AccessList;
use crate::pair::provider;
use crate::{Clock, Error, disk};

/// One set of files, read and sound.
pub(super) struct Judge {
    /// TLS with these lists.
    pub(super) tls: Arc<ServerConfig>,
    /// Topic rules.
    pub(super) access: AccessList,
    verifier: Arc<dyn ClientCertVerifier>,
    revoked: HashSet<Vec<u8>>,
    trust: Vec<CertificateDer<'static>>,
}

impl Judge {
    /// Reads the set that lies there, to judge by it at the time that `clock` tells.
    pub(super) fn load(dir: &Path, clock: &Clock) -> Result<Self, Error> {
        let [crls, trust, server, access] = FILES.map(|name| dir.join(name));
        let unread = |path: &Path, why: String| {
            Error::new(format!(
                "cannot use {}: {why} (the agent beside the gate brings it: muster broker run)",
                path.display()
            ))
        };
        let lists: Vec<CertificateRevocationListDer<'static>> = read(&crls, unread)?;
        let anchors: Vec<CertificateDer<'static>> = read(&trust, unread)?;
        let chain: Vec<CertificateDer<'static>> = read(&server, unread)?;
        let key = PrivateKeyDer::from_pem_file(&server).map_err(|why| unread(&server, why.to_string()))?;
        let rules = disk::read_text(&access)?.ok_or_else(|| unread(&access, "it is missing".into()))?;
        let rules = AccessList::read(&rules).map_err(|why| unread(&access, why.0))?;
        let mut revoked = HashSet::new();
        let mut listed = Vec::new();
        for list in &lists {
            let crl = Crl::from_der(list)?;
            revoked.extend(crl.serials().map(<[u8]>::to_vec));
            listed.push(crl.issuer()?);
        }
        // A text without a list is no error to who reads it, and without lists nobody would be revoked.
        for anchor in &anchors {
            if !listed.contains(&Certificate::from_der(anchor)?.subject()?) {
                return Err(unread(&crls, "it lacks the list of a CA that is trusted".into()));
            }
        }
        let verifier = verifier(&anchors, lists).map_err(|why| unread(&trust, why))?;
        let mut tls = ServerConfig::builder_with_details(provider(), Arc::new(Told(clock.clone())))
            .with_safe_default_protocol_versions()
            .map_err(|why| Error::new(why.to_string()))?
            .with_client_cert_verifier(verifier.clone())
            .with_single_cert(chain, key)
            .map_err(|why| unread(&server, why.to_string()))?;
        // A resumed session would be judged by the lists of its first handshake.
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        tls.send_tls13_tickets = 0;
        Ok(Self {
            tls: Arc::new(tls),
            access: rules,
            verifier,
            revoked,
            trust: anchors,
        })
    }

    /// Judges a certificate that was let in before, now.
    pub(super) fn lets_in(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> bool {
        let Some((leaf, rest)) = chain.split_first() else {
            return false;
        };
        self.verifier.verify_client_cert(leaf, rest, unix(now)).is_ok()
    }

    /// Whether a certificate that `before` let in has to be judged anew.
    pub(super) fn doubts(&self, before: &Self, serial: &[u8]) -> bool {
        self.revoked.contains(serial) || self.trust != before.trust
    }
}

/// The clock, as TLS asks it.
struct Told(Clock);

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

impl TimeProvider for Told {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix((self.0)()))
    }
}

fn unix(time: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_millis(
        u64::try_from(time.as_millisecond()).unwrap_or(0),
    ))
}

fn read<T: PemObject>(path: &Path, unread: impl Fn(&Path, String) -> Error) -> Result<Vec<T>, Error> {
    let all = T::pem_file_iter(path).and_then(Iterator::collect);
    all.map_err(|why| unread(path, why.to_string()))
}

/// Every certificate of a chain needs a list that has not run out.
fn verifier(
    anchors: &[CertificateDer<'static>],
    lists: Vec<CertificateRevocationListDer<'static>>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for anchor in anchors {
        roots.add(anchor.clone()).map_err(|why| why.to_string())?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .with_crls(lists)
        .enforce_revocation_expiration()
        .build()
        .map_err(|why| why.to_string())
}
