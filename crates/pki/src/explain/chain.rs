//! From a leaf to a root that is trusted: finds the path, or the place where it breaks.

use super::certificate::{BadSignature, Cert};

/// Longer chains exist only in attacks; OpenSSL's default is 100, browsers' far less.
const MAX_DEPTH: usize = 8;
/// Signature checks for one chain. 64 certificates under one name could otherwise ask for thousands.
const MAX_CHECKS: usize = 256;

/// All certificates that a path may use.
pub(super) struct Pool {
    /// The sender's certificates, then the anchors; none twice.
    certs: Vec<Cert>,
    /// Where the anchors begin in the list of all, as DER.
    anchors: Vec<Vec<u8>>,
}

/// Why no path reaches a trusted root. Said of the last certificate of the longest path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Break {
    /// Nobody's certificate has the name of its issuer.
    IssuerMissing,
    /// It is a trust anchor itself, but no root, and its issuer is not there.
    AnchorIsNoRoot,
    /// There is a certificate with the issuer's name, but its key did not make the signature.
    WrongIssuer,
    /// The signature or the issuer's key is of a kind that is not checked.
    Unsupported(String),
    /// It is a root, and not among the anchors.
    UntrustedRoot,
    /// Over [`MAX_DEPTH`] certificates or [`MAX_CHECKS`] signatures.
    TooComplex,
}

/// A path from the leaf upwards, and why it ends where it does (`None`: at a trusted root).
pub(super) struct Path<'a> {
    pub(super) certs: Vec<&'a Cert>,
    pub(super) broken: Option<Break>,
}

impl Pool {
    pub(super) fn new(sent: Vec<Cert>, anchors: Vec<Cert>) -> Self {
        let anchor_ders = anchors.iter().map(|cert| cert.der.clone()).collect();
        let mut certs: Vec<Cert> = Vec::new();
        for cert in sent.into_iter().chain(anchors) {
            if certs.iter().all(|known| known.der != cert.der) {
                certs.push(cert);
            }
        }
        Self {
            certs,
            anchors: anchor_ders,
        }
    }

    pub(super) fn certs(&self) -> &[Cert] {
        &self.certs
    }

    fn is_anchor(&self, cert: &Cert) -> bool {
        self.anchors.contains(&cert.der)
    }

    /// The path from the certificate at this index.
    pub(super) fn path_from(&self, leaf: usize) -> Path<'_> {
        let mut search = Search {
            pool: self,
            path: vec![leaf],
            best: Vec::new(),
            why: Break::IssuerMissing,
            checks: 0,
        };
        let found = search.reaches_root();
        let (indices, broken) = if found {
            (search.path, None)
        } else {
            (search.best, Some(search.why))
        };
        Path {
            certs: indices
                .into_iter()
                .filter_map(|index| self.certs.get(index))
                .collect(),
            broken,
        }
    }
}

struct Search<'a> {
    pool: &'a Pool,
    path: Vec<usize>,
    best: Vec<usize>,
    why: Break,
    checks: usize,
}

impl Search<'_> {
    /// Depth first: several certificates may bear the issuer's name (a renewed CA, a cross-certificate).
    fn reaches_root(&mut self) -> bool {
        let pool = self.pool;
        let Some(last) = self.path.last().and_then(|index| pool.certs.get(*index)) else {
            return false;
        };
        if last.is_self_issued() && last.signed_by(last).is_ok() {
            return pool.is_anchor(last) || self.give_up(Break::UntrustedRoot);
        }
        if self.path.len() >= MAX_DEPTH {
            return self.give_up(Break::TooComplex);
        }
        let mut why = if pool.is_anchor(last) {
            Break::AnchorIsNoRoot
        } else {
            Break::IssuerMissing
        };
        for (index, candidate) in pool.certs.iter().enumerate() {
            if candidate.subject() != last.issuer() || self.path.contains(&index) {
                continue;
            }
            self.checks += 1;
            if self.checks > MAX_CHECKS {
                return self.give_up(Break::TooComplex);
            }
            match last.signed_by(candidate) {
                Ok(()) => {
                    self.path.push(index);
                    if self.reaches_root() {
                        return true;
                    }
                    self.path.pop();
                }
                Err(BadSignature::Wrong) => why = Break::WrongIssuer,
                Err(BadSignature::Unsupported(text)) => why = Break::Unsupported(text),
            }
        }
        self.give_up(why)
    }

    fn give_up(&mut self, why: Break) -> bool {
        if self.path.len() > self.best.len() {
            self.best.clone_from(&self.path);
            self.why = why;
        }
        false
    }
}
