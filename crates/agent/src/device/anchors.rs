//! Which CAs the device believes.
//!
//! The code names, by its fingerprint, the root that vouches for the CA's address. What the CA says on a connection that this root
//! has verified, as it gives the first certificate, is believed (RFC 7030, section 4.1.3): these roots are in `ca.crt`, and need
//! not be the one of the code. From then on another root is believed only if a root that the device has vouches for it, with a cross-certificate that holds
//! now: the new root's name and key, signed by the one before (RFC 4210, section 4.4). An issuing CA has to come from a root that is
//! believed. A root that the CA does not send any more is believed no longer. That the device has what it was sent is told to the CA with the
//! confirmation of the certificate that came with it.

use std::path::Path;

use jiff::Timestamp;
use muster_api::Client;
use muster_api::types::Issued;
use muster_pki::cert::Certificate;

use super::files::{Home, read_anchors};
use super::settings::Settings;
use crate::{Clock, Error, ca};
use muster_pki::hex;

/// What is believed from now on, to be saved once the certificate that it came with is.
pub(super) struct Believed {
    /// With every root that vouches for the CA's address now.
    pub(super) settings: Settings,
    /// What belongs into `ca.crt`.
    pub(super) anchors: String,
}

/// What came with the first certificate of an enrolment.
pub(super) fn begin(settings: &Settings, issued: &Issued, now: Timestamp) -> Result<Believed, Error> {
    let sent = Sent::read(issued)?;
    if let Some(root) = sent.roots.iter().find(|root| !holds(root, now)) {
        let print = hex(&root.fingerprint());
        return Err(Error::new(format!(
            "the CA has sent a root that does not hold now, {print}"
        )));
    }
    sent.believed(settings, &sent.roots, now)
}

/// What came with a later one, if it follows from what the device believes.
pub(super) fn follow(
    home: &Home,
    settings: &Settings,
    issued: &Issued,
    now: Timestamp,
) -> Result<Believed, Error> {
    let sent = Sent::read(issued)?;
    let mut known = read_anchors(home.dir())?;
    known.retain(is_root);
    known.extend(ca::roots(&settings.root)?);
    let believed = sent.vouched_for(&known, now)?;
    sent.believed(settings, &believed, now)
}

/// Puts `ca.crt` right if nothing can be read from it: with the issuing CAs beside the certificate in use, and the roots that it comes from.
/// Those vouch for the CA's address, or the CA names them on a connection that is verified by one that does. An error says what is wrong.
pub(super) async fn mend(home: &Home, settings: &Settings, clock: &Clock) -> Result<(), Error> {
    let Some(pair) = home.pair(&settings.name)? else {
        return Ok(());
    };
    if !read_anchors(home.dir())?.is_empty() {
        return problem(home.dir(), &settings.name, pair.chain())?.map_or(Ok(()), |why| Err(Error::new(why)));
    }
    let mut roots = ca::roots(&settings.root)?;
    if let Some(first) = roots
        .first()
        .filter(|_| !comes_from(pair.chain(), &roots, &roots))
    {
        let connector = ca::connector_by(&settings.url, &roots, None, clock)?;
        let all = ca::all_roots(&Client::new(connector, None), first).await;
        roots = all.map_err(|why| why.but("ca.crt is gone or cannot be read"))?;
        let is_above = |root: &Certificate| {
            let root = std::slice::from_ref(root);
            comes_from(pair.chain(), root, root)
        };
        roots.retain(is_above);
    }
    if roots.is_empty() {
        return Err(Error::new(format!(
            "ca.crt is gone or cannot be read, and the CA has no root for the certificate of {name} (an operator lets the device in \
             again: muster device recover {name})",
            name = settings.name
        )));
    }
    let mut issuing = pair.chain().get(1..).unwrap_or_default().to_vec();
    let is_below = |one: &Certificate| roots.iter().any(|root| is_issued_by(one, root));
    issuing.retain(|one| is_below(one) && !roots.iter().any(|root| is_of(one, root)));
    home.save_anchors(&format!("{}{}", pem(&roots)?, pem(&issuing)?))?;
    tracing::warn!("ca.crt was gone or could not be read: it is written anew");
    Ok(())
}

/// What is wrong with `ca.crt`: the certificate in use has to come from a root in it.
pub(super) fn problem(dir: &Path, name: &str, chain: &[Certificate]) -> Result<Option<String>, Error> {
    let anchors = read_anchors(dir)?;
    if anchors.is_empty() {
        return Ok(Some(
            "ca.crt is gone or cannot be read: muster agent run writes it anew".to_owned(),
        ));
    }
    let roots: Vec<_> = anchors.iter().filter(|one| is_root(one)).cloned().collect();
    let comes = comes_from(chain, &anchors, &roots);
    Ok((!comes).then(|| {
        format!(
            "the certificate of {name} comes from no root in ca.crt: muster agent renew brings the right ones, or else an operator \
             lets the device in again with: muster device recover {name}"
        )
    }))
}

/// The CAs that came with a certificate.
struct Sent {
    roots: Vec<Certificate>,
    /// Issuing CAs, and roots by the word of other roots.
    others: Vec<Certificate>,
}

impl Sent {
    fn read(issued: &Issued) -> Result<Self, Error> {
        Self::sort(ca::roots(&format!("{}{}", issued.root, issued.issuing))?)
    }

    fn sort(all: Vec<Certificate>) -> Result<Self, Error> {
        let (roots, others): (Vec<_>, Vec<_>) = all.into_iter().partition(is_root);
        if roots.is_empty() {
            return Err(Error::new("the CA has sent no root"));
        }
        Ok(Self { roots, others })
    }

    /// Which roots vouch for the CA's address follows from those that did so far alone.
    fn believed(
        &self,
        settings: &Settings,
        roots: &[Certificate],
        now: Timestamp,
    ) -> Result<Believed, Error> {
        let anchors = format!("{}{}", pem(roots)?, pem(&self.issuing_below(roots)?)?);
        let address = self.that_follow(&ca::roots(&settings.root)?, now);
        let mut settings = settings.clone();
        if !address.is_empty() {
            settings.root = pem(&address)?;
        }
        Ok(Believed { settings, anchors })
    }

    /// The known roots that were sent again, then those for which one of these vouches, directly or by way of others.
    fn that_follow(&self, known: &[Certificate], now: Timestamp) -> Vec<Certificate> {
        let is_sent = |one: &&Certificate| is_in(one, &self.roots);
        let mut found: Vec<Certificate> = Vec::new();
        for one in known.iter().filter(is_sent) {
            if !is_in(one, &found) {
                found.push(one.clone());
            }
        }
        let mut vouching = known.to_vec();
        let follows = |root: &&Certificate, found: &[Certificate], vouching: &[Certificate]| {
            !is_in(root, found)
                && holds(root, now)
                && self.crosses(root, vouching).any(|cross| holds(cross, now))
        };
        while let Some(root) = self.roots.iter().find(|root| follows(root, &found, &vouching)) {
            found.push(root.clone());
            vouching.push(root.clone());
        }
        found
    }

    /// The roots that were sent, if each of them follows from these.
    fn vouched_for(&self, known: &[Certificate], now: Timestamp) -> Result<Vec<Certificate>, Error> {
        let believed = self.that_follow(known, now);
        let Some(root) = self.roots.iter().find(|root| !is_in(root, &believed)) else {
            return Ok(believed);
        };
        let why = if self.crosses(root, known).next().is_none() {
            "none that this device has vouches for it"
        } else {
            "it does not hold now, or what vouches for it does not"
        };
        Err(Error::new(format!(
            "the CA has sent another root, {}, and {why}: it is not believed (if it is right, an operator lets the device enrol \
             again: muster device recover NAME)",
            hex(&root.fingerprint())
        )))
    }

    /// What one of these has signed for a root.
    fn crosses<'a>(
        &'a self,
        root: &'a Certificate,
        by: &'a [Certificate],
    ) -> impl Iterator<Item = &'a Certificate> {
        let all = self.others.iter().filter(|one| is_of(one, root));
        all.filter(|cross| by.iter().any(|one| is_issued_by(cross, one)))
    }

    /// The issuing CAs, each of which has to come from one of these roots.
    fn issuing_below(&self, roots: &[Certificate]) -> Result<Vec<Certificate>, Error> {
        let is_cross = |one: &&Certificate| roots.iter().any(|root| is_of(one, root));
        let issuing: Vec<_> = self.others.iter().filter(|one| !is_cross(one)).cloned().collect();
        if issuing
            .iter()
            .all(|one| roots.iter().any(|root| is_issued_by(one, root)))
        {
            return Ok(issuing);
        }
        Err(Error::new(
            "the CA has sent an issuing CA that none of the device's roots vouches for",
        ))
    }
}

fn is_root(one: &Certificate) -> bool {
    is_issued_by(one, one)
}

pub(super) fn is_in(one: &Certificate, all: &[Certificate]) -> bool {
    all.iter().any(|other| other.der() == one.der())
}

/// Whether its time has begun and has not ended.
fn holds(one: &Certificate, now: Timestamp) -> bool {
    (one.not_before()..=one.not_after()).contains(&now)
}

/// Whether it is a CA of the same name and with the same key.
fn is_of(cross: &Certificate, root: &Certificate) -> bool {
    let same_name = cross
        .subject()
        .is_ok_and(|name| root.subject().is_ok_and(|other| name == other));
    same_name && cross.key() == root.key()
}

/// Whether it is a CA that this one has issued.
pub(super) fn is_issued_by(one: &Certificate, issuer: &Certificate) -> bool {
    let named = one
        .issuer()
        .is_ok_and(|name| issuer.subject().is_ok_and(|other| name == other));
    named
        && one.authority().is_some()
        && one.may_sign_certificates()
        && issuer.may_sign_certificates()
        && one.verify_issued_by(issuer.key()).is_ok()
}

/// Whether the first was issued by a root, or by a CA that a root has issued.
pub(super) fn comes_from(chain: &[Certificate], cas: &[Certificate], roots: &[Certificate]) -> bool {
    let Some((leaf, issuers)) = chain.split_first() else {
        return false;
    };
    let mut believed = issuers
        .iter()
        .chain(cas)
        .filter(|one| is_in(one, roots) || roots.iter().any(|root| is_issued_by(one, root)));
    believed.any(|ca| leaf.verify_issued_by(ca.key()).is_ok())
}

pub(super) fn pem(certificates: &[Certificate]) -> Result<String, Error> {
    certificates.iter().map(|one| Ok(one.to_pem()?)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use muster_pki::cert::{Pointers, Role, Template, assemble};
    use muster_pki::key::PrivateKey;

    use super::*;
    use crate::pair::new_key;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    /// A CA of this name and key, issued by another or by itself.
    fn made(name: &str, key: &PrivateKey, by: Option<(&Certificate, &PrivateKey)>) -> Certificate {
        let template = Template {
            serial: &[1],
            common_name: name,
            sans: &[],
            key: key.public(),
            not_before: at(1_800_000_000),
            not_after: at(1_900_000_000),
            role: Role::Authority { path_len: None },
            pointers: &Pointers::default(),
        };
        let issuer = by.map(|(issuer, _)| issuer.as_issuer().unwrap());
        let to_be_signed = template.to_be_signed(issuer.as_ref()).unwrap();
        let signer = by.map_or(key, |(_, key)| key);
        let algorithm = signer.public().kind().signature_algorithm();
        let der = assemble(&to_be_signed, algorithm, &signer.sign(&to_be_signed).unwrap()).unwrap();
        Certificate::from_der(&der).unwrap()
    }

    #[test]
    fn a_new_root_is_believed_if_the_old_one_vouches_for_it() {
        let keys = [new_key().unwrap(), new_key().unwrap(), new_key().unwrap()];
        let old = made("Old root", &keys[0], None);
        let new = made("New root", &keys[1], None);
        let cross = made("New root", &keys[1], Some((&old, &keys[0])));
        let issuing = made("Issuing", &keys[2], Some((&old, &keys[0])));
        let next = made("Issuing", &keys[2], Some((&new, &keys[1])));
        let tried = |sent: &[&Certificate]| {
            let sent = Sent::sort(sent.iter().map(|one| (*one).clone()).collect())?;
            let roots = sent.vouched_for(std::slice::from_ref(&old), at(1_850_000_000))?;
            Ok::<_, Error>((roots.len(), sent.issuing_below(&roots)?.len()))
        };
        assert_eq!(tried(&[&old, &issuing]), Ok((1, 1)));
        assert_eq!(tried(&[&old, &new, &cross, &next]), Ok((2, 1)));
        assert_eq!(tried(&[&new, &cross, &next]), Ok((1, 1)), "the old one has gone");
        assert!(tried(&[&issuing]).is_err(), "no root");
        let (key, newest_key) = (&keys[1], new_key().unwrap());
        let newest = made("Newest root", &newest_key, None);
        let last = made("Newest root", &newest_key, Some((&new, key)));
        assert_eq!(
            tried(&[&newest, &last, &new, &cross]),
            Ok((2, 0)),
            "by way of another"
        );
        assert!(
            tried(&[&newest, &last, &cross]).is_err(),
            "by way of one that is not sent"
        );
        let why = tried(&[&new, &next]).unwrap_err().to_string();
        assert!(why.contains("none that this device has vouches for it"), "{why}");
        // What a stranger signs under these names helps nobody.
        let stranger = new_key().unwrap();
        let false_old = made("Old root", &stranger, None);
        let false_cross = made("New root", &keys[1], Some((&false_old, &stranger)));
        assert!(tried(&[&new, &false_cross, &next]).is_err());
        assert!(
            tried(&[&old, &next]).is_err(),
            "an issuing CA of a root that is not known"
        );
        let other_key = made("New root", &stranger, Some((&old, &keys[0])));
        assert!(
            tried(&[&new, &other_key, &next]).is_err(),
            "vouched for another key"
        );
    }
}
