//! The last step of a verification: whether anybody in the chain was revoked.

use jiff::Timestamp;
use x509_cert::ext::pkix::KeyUsage;

use super::certificate::Cert;
use super::chain::Path;
use super::crl::{Crl, FRESH};
use super::facts::Standing;
use super::verdict::Step;
use super::verify::VerifyInput;
use super::words;

/// One step for each certificate whose issuer is known; the root cannot be revoked by a list.
pub(super) fn revocation(path: &Path<'_>, crls: &[Crl], input: &VerifyInput<'_>) -> Vec<Step> {
    if input.crls.is_empty() {
        return vec![Step::skipped(
            "crl",
            "Revocation was not checked: no revocation list was given.",
        )];
    }
    let pairs = path.certs.iter().zip(path.certs.iter().skip(1)).enumerate();
    pairs
        .map(|(index, (cert, issuer))| revoked(cert, issuer, crls, index == 0, input.now))
        .collect()
}

fn revoked(cert: &Cert, issuer: &Cert, crls: &[Crl], is_leaf: bool, now: Timestamp) -> Step {
    let (who, by) = (cert.who(), issuer.who());
    let named: Vec<&Crl> = crls.iter().filter(|crl| crl.issuer() == cert.issuer()).collect();
    if named.is_empty() {
        let text = format!("There is no revocation list of '{by}'");
        return if is_leaf {
            Step::failed(
                "crl",
                format!("{text}; a broker that checks lists would refuse {who}."),
                FRESH,
            )
        } else {
            Step::skipped("crl", format!("{text}, so {who} was not checked."))
        };
    }
    let may_sign = issuer.known.usage.as_ref().is_none_or(KeyUsage::crl_sign);
    let signed = named
        .into_iter()
        .filter(|crl| may_sign && crl.signed_by(issuer).is_ok());
    let Some(crl) = signed.max_by_key(|crl| crl.this_update()) else {
        return Step::failed(
            "crl",
            format!("The revocation list of '{by}' was not signed by the '{by}' of this chain."),
            FRESH,
        );
    };
    if let Some(found) = crl.revocation(cert.serial()) {
        let text = format!(
            "{who} was revoked on {} {}.",
            words::date(found.at),
            words::reason(found.reason)
        );
        let fix = match found.reason {
            Some(6) => format!("If it may come back: muster device resume {who}"),
            _ => format!("Find out why; if it may come back, issue a new one: muster cert issue {who}"),
        };
        return Step::failed("crl", text, fix);
    }
    usable(crl, now).unwrap_or_else(|| {
        Step::ok(
            "crl",
            format!(
                "{who} is not revoked, says the list of '{by}' of {}.",
                words::moment(crl.this_update())
            ),
        )
    })
}

/// Whether silence of the list means anything.
fn usable(crl: &Crl, now: Timestamp) -> Option<Step> {
    let by = crl.by_whom();
    if let Some(restriction) = crl.restrictions().next() {
        let text = format!(
            "The revocation list of '{by}' is not a whole one ({}).",
            words::object(restriction)
        );
        return Some(Step::failed("crl", text, FRESH));
    }
    match crl.standing(now) {
        Standing::Valid => None,
        Standing::Expired => {
            let end = crl.next_update().unwrap_or(now);
            let text = format!(
                "The revocation list of '{by}' ran out on {} ({}); brokers that have it refuse everybody.",
                words::moment(end),
                words::distance(now, end)
            );
            Some(Step::failed("crl", text, FRESH))
        }
        Standing::NotYetValid => {
            let text = format!(
                "The revocation list of '{by}' is valid only from {} on.",
                words::moment(crl.this_update())
            );
            Some(Step::failed(
                "crl",
                text,
                "Set this machine's clock, or the CA's.",
            ))
        }
    }
}
