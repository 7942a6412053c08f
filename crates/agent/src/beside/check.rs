//! Whether what an epoch asks for can be enforced at all: looked at before anything is written.
//!
//! A broker that reads a list that is missing, broken, foreign or run out either lets everybody in or nobody. So nothing of
//! that kind ever lies where it reads.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use muster_api::agent::{Canary, CrlNeed};
use muster_pki::cert::Certificate;
use muster_pki::crl::Crl;
use muster_pki::pem;

use crate::Error;

/// The numbers of the lists that were in force, by the fingerprint of the CA's key: none goes back.
pub type Numbers = BTreeMap<String, u64>;

/// How long before its end a root's list is late: the CA asks for the next one from then on, since somebody has to make it.
const ROOT_NOTICE: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Trust anchors and a sound list for each.
#[derive(Debug, Clone)]
pub struct Lists {
    /// Every CA that the broker trusts.
    pub anchors: Vec<Certificate>,
    /// Their lists, in the same order.
    pub crls: Vec<Crl>,
    /// What each list is asked for by, in the same order.
    names: Vec<String>,
}

/// A list that another should have followed by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    /// When it runs out.
    pub end: Timestamp,
    /// The name of the CA whose list it is.
    pub of: String,
    /// Whether that is a root, whose next list somebody makes; every other CA's comes by itself.
    pub root: bool,
    /// What it is asked for by, and its number.
    pub list: CrlNeed,
}

impl Lists {
    /// Checks anchors and the lists that came for them. `held` are the numbers that were in force until now.
    pub fn check(
        anchors: &str,
        needs: &[CrlNeed],
        fetched: &BTreeMap<String, Vec<u8>>,
        held: &Numbers,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let anchors = sound_anchors(anchors)?;
        let mut found: Vec<Option<(Crl, String)>> = vec![None; anchors.len()];
        for need in needs {
            let der = fetched.get(&need.name);
            let der =
                der.ok_or_else(|| Error::new(format!("the CRL {} is needed and missing", need.name)))?;
            let (place, crl) = sound_list(need, der, &anchors, held, now)?;
            found[place] = Some((crl, need.name.clone()));
        }
        let (mut crls, mut names) = (Vec::new(), Vec::new());
        for (anchor, list) in anchors.iter().zip(found) {
            let (crl, name) = list.ok_or_else(|| {
                Error::new(format!(
                    "there is no CRL for {}: a broker would refuse all of its devices",
                    name_of(anchor)
                ))
            })?;
            crls.push(crl);
            names.push(name);
        }
        Ok(Self { anchors, crls, names })
    }

    /// When the first of the lists runs out.
    pub fn next_update(&self) -> Option<Timestamp> {
        self.crls.iter().filter_map(Crl::next_update).min()
    }

    /// The lists that others should have followed by now, the first to run out first.
    pub fn late(&self, now: Timestamp) -> Vec<Late> {
        let each = self.anchors.iter().zip(&self.crls).zip(&self.names);
        let late = each.filter_map(|((anchor, crl), name)| {
            let end = crl.next_update()?;
            let root = anchor.verify_issued_by(anchor.key()).is_ok();
            let half = half(crl.this_update(), end);
            let from = if root { half.max(end - ROOT_NOTICE) } else { half };
            (from <= now).then(|| Late {
                end,
                of: name_of(anchor),
                root,
                list: CrlNeed {
                    name: name.clone(),
                    number: crl.number().unwrap_or(0),
                },
            })
        });
        let mut late: Vec<_> = late.collect();
        late.sort_by_key(|late| late.end);
        late
    }

    /// The numbers of these lists.
    pub fn numbers(&self) -> Numbers {
        let each = self.anchors.iter().zip(&self.crls);
        each.filter_map(|(anchor, crl)| Some((fingerprint(anchor), crl.number()?)))
            .collect()
    }

    /// Whether the CA that issued a certificate is one of the anchors.
    pub fn trusts(&self, certificate: &Certificate) -> bool {
        self.issuer(certificate).is_some()
    }

    /// Whether a certificate is issued by an anchor, and revoked by its list.
    pub fn revokes(&self, certificate: &Certificate) -> bool {
        self.issuer(certificate)
            .is_some_and(|place| self.crls[place].revokes(certificate.serial()))
    }

    /// Refuses lists that do not revoke a canary that they have to.
    pub fn check_canaries(&self, canaries: &[Canary]) -> Result<(), Error> {
        for canary in canaries {
            let chain = Certificate::all_from_pem(&canary.certificate)?;
            let leaf = chain
                .first()
                .ok_or_else(|| Error::new(format!("the canary of {} is no certificate", canary.issuer)))?;
            if self.trusts(leaf) && !self.revokes(leaf) {
                return Err(Error::new(format!(
                    "the CRL of {} does not revoke its canary: it is older than the epoch says",
                    canary.issuer
                )));
            }
        }
        Ok(())
    }

    /// The anchors, PEM.
    pub fn trust_pem(&self) -> Result<String, Error> {
        let blocks = self.anchors.iter().map(Certificate::to_pem);
        Ok(blocks.collect::<Result<Vec<_>, _>>()?.concat())
    }

    fn issuer(&self, certificate: &Certificate) -> Option<usize> {
        self.anchors
            .iter()
            .position(|anchor| certificate.verify_issued_by(anchor.key()).is_ok())
    }
}

/// Lists, PEM.
pub(crate) fn crls_pem(crls: &[Crl]) -> Result<String, Error> {
    let blocks = crls.iter().map(|crl| pem::encode(pem::CRL, crl.der()));
    Ok(blocks.collect::<Result<Vec<_>, _>>()?.concat())
}

/// The middle between two moments.
pub(crate) fn half(from: Timestamp, to: Timestamp) -> Timestamp {
    from.checked_add(to.duration_since(from) / 2).unwrap_or(to)
}

/// CAs, each signed by itself or by another of them, each one that may sign lists.
fn sound_anchors(text: &str) -> Result<Vec<Certificate>, Error> {
    let anchors = Certificate::all_from_pem(text)
        .map_err(|why| Error::new(format!("the trust anchors cannot be read: {why}")))?;
    if anchors.is_empty() {
        return Err(Error::new(
            "there is no trust anchor: every device would be refused",
        ));
    }
    for anchor in &anchors {
        let of = name_of(anchor);
        if anchor.authority().is_none() || !anchor.may_sign_certificates() || !anchor.may_sign_crls() {
            return Err(Error::new(format!(
                "the trust anchor {of} is no CA that signs CRLs"
            )));
        }
        if !anchors
            .iter()
            .any(|other| anchor.verify_issued_by(other.key()).is_ok())
        {
            return Err(Error::new(format!(
                "the issuer of the trust anchor {of} is missing"
            )));
        }
    }
    Ok(anchors)
}

/// The anchor whose list it is, and the list.
fn sound_list(
    need: &CrlNeed,
    der: &[u8],
    anchors: &[Certificate],
    held: &Numbers,
    now: Timestamp,
) -> Result<(usize, Crl), Error> {
    let bad = |why: String| Error::new(format!("the CRL {} is not taken: {why}", need.name));
    let crl = Crl::from_der(der).map_err(|why| bad(why.to_string()))?;
    let issuer = crl.issuer()?;
    let place = anchors.iter().position(|anchor| {
        anchor.subject().is_ok_and(|subject| subject == issuer) && crl.verify_issued_by(anchor.key()).is_ok()
    });
    let place = place.ok_or_else(|| bad("none of the trust anchors has signed it".into()))?;
    if !crl.is_whole() {
        return Err(bad("it is no whole list".into()));
    }
    let number = crl.number().ok_or_else(|| bad("it has no number".into()))?;
    let least = held.get(&fingerprint(&anchors[place])).copied().unwrap_or(0);
    if number < need.number.max(least) {
        return Err(bad(format!(
            "its number is {number}, and it has to be {} at least",
            need.number.max(least)
        )));
    }
    if crl.this_update() > now {
        return Err(bad(format!(
            "it begins at {}, and it is {now} here: is this machine's clock right?",
            crl.this_update()
        )));
    }
    match crl.next_update() {
        Some(end) if end > now => Ok((place, crl)),
        Some(end) => Err(bad(format!("it ran out at {end}: every device would be refused"))),
        None => Err(bad("it says not until when it holds".into())),
    }
}

fn fingerprint(anchor: &Certificate) -> String {
    muster_pki::hex(&anchor.key().fingerprint())
}

fn name_of(certificate: &Certificate) -> String {
    certificate
        .common_name()
        .unwrap_or_else(|| "a CA without a name".into())
}
