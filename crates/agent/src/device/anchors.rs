//! Which CAs the device believes.
//!
//! The first root came with the code, and was checked by its fingerprint. Another one is believed only if a root that the device has
//! vouches for it, with a cross-certificate that holds now: the new root's name and key, signed by the one before (RFC 4210,
//! section 4.4). An issuing CA has to come from a root that is believed. A root that the CA does not send any more is believed no
//! longer. That the device has what it was sent is told to the CA with the confirmation of the certificate that came with it.

use jiff::Timestamp;
use muster_api::types::Issued;
use muster_pki::cert::Certificate;

use super::files::{Home, Settings};
use crate::files::hex;
use crate::{Error, ca};

/// Puts in place what came with a certificate, if it follows from what the device believes. Returns the settings with every root that is
/// believed now, to be saved.
pub(super) fn believe(
    home: &Home,
    settings: &Settings,
    issued: &Issued,
    now: Timestamp,
) -> Result<Settings, Error> {
    let known = ca::roots(&settings.root)?;
    let sent = ca::roots(&format!("{}{}", issued.root, issued.issuing))?;
    let believed = accept(&known, &sent, now)?;
    let roots = pem(&believed.roots)?;
    home.save_anchors(&format!("{roots}{}", pem(&believed.issuing)?))?;
    Ok(Settings {
        root: roots,
        ..settings.clone()
    })
}

struct Believed {
    /// Those that were known and were sent again, then new ones.
    roots: Vec<Certificate>,
    issuing: Vec<Certificate>,
}

fn accept(known: &[Certificate], sent: &[Certificate], now: Timestamp) -> Result<Believed, Error> {
    let (own, others): (Vec<_>, Vec<_>) = sent.iter().partition(|one| is_issued_by(one, one));
    let is_in = |root: &Certificate, roots: &[Certificate]| roots.iter().any(|one| one.der() == root.der());
    let mut roots: Vec<_> = known
        .iter()
        .filter(|one| own.iter().any(|root| root.der() == one.der()))
        .cloned()
        .collect();
    for root in own {
        if is_in(root, &roots) {
            continue;
        }
        let vouches =
            |cross: &&&Certificate| is_of(cross, root) && known.iter().any(|one| is_issued_by(cross, one));
        let cross: Vec<_> = others.iter().filter(vouches).collect();
        if !holds(root, now) || !cross.iter().any(|cross| holds(cross, now)) {
            let why = match cross[..] {
                [] => "none that this device has vouches for it",
                _ => "it does not hold now, or what vouches for it does not",
            };
            return Err(Error::new(format!(
                "the CA has sent another root, {}, and {why}: it is not believed (if it is right, an operator makes a code with its \
                 fingerprint: muster device recover NAME)",
                hex(&root.fingerprint())
            )));
        }
        roots.push(root.clone());
    }
    if roots.is_empty() {
        return Err(Error::new("the CA has sent no root"));
    }
    let issuing = others
        .into_iter()
        .filter(|one| !roots.iter().any(|root| is_of(one, root)));
    let issuing: Vec<_> = issuing.cloned().collect();
    match issuing
        .iter()
        .find(|one| !roots.iter().any(|root| is_issued_by(one, root)))
    {
        Some(_) => Err(Error::new(
            "the CA has sent an issuing CA that none of the device's roots vouches for",
        )),
        None => Ok(Believed { roots, issuing }),
    }
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

pub(super) fn pem(certificates: &[Certificate]) -> Result<String, Error> {
    certificates.iter().map(|one| Ok(one.to_pem()?)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use muster_pki::cert::{Pointers, Role, Template, assemble};
    use muster_pki::key::PrivateKey;

    use super::*;
    use crate::local::new_key;

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
        let known = std::slice::from_ref(&old);
        let tried = |sent: &[&Certificate]| {
            let sent: Vec<_> = sent.iter().map(|one| (*one).clone()).collect();
            accept(known, &sent, at(1_850_000_000))
                .map(|believed| (believed.roots.len(), believed.issuing.len()))
        };
        assert_eq!(tried(&[&old, &issuing]), Ok((1, 1)));
        assert_eq!(tried(&[&old, &new, &cross, &next]), Ok((2, 1)));
        assert_eq!(tried(&[&new, &cross, &next]), Ok((1, 1)), "the old one has gone");
        assert!(tried(&[&issuing]).is_err(), "no root");
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
