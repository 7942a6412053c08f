//! Alternative names: whose they are, and whether the request and the token agree on them.

use muster_pki::csr::{Csr, MAX_SANS};
use muster_pki::name::San;

use crate::device::{Device, DeviceName, Kind};
use crate::enrol::Wish;
use crate::enrol::who::{Caller, Token, Who};
use crate::error::{Error, Refusal};
use crate::profile::Profile;

use super::{Grant, OPERATOR};

/// The names of a grant: as asked for, within the profile.
pub(super) fn alternative_names(
    caller: &Caller,
    csr: &Csr,
    wish: &Wish,
    name: &DeviceName,
    profile: &Profile,
) -> Result<Vec<San>, Error> {
    let sans = match caller.who() {
        Who::Token(token) => token_names(token, csr)?,
        // An enrolment token fixes the name and nothing more.
        Who::Enrolment(_) | Who::Device(_) => Vec::new(),
        Who::Operator { .. } if wish.sans.is_empty() => csr.sans().to_vec(),
        Who::Operator { .. } => wish.sans.clone(),
    };
    // A server's own name is what its clients check. A client's stands in the common name, and beside it as a DNS name
    // only if linters take it for one (two labels) and no token says which names there are to be.
    let wanted = profile.kind() != Kind::Client
        || (name.as_str().contains('.') && !matches!(caller.who(), Who::Token(_)));
    complete(sans, wanted, name, profile)
}

/// The names with the device's own in front if it is wanted; refuses what the profile does not let in, and a server without
/// a DNS name.
pub(crate) fn complete(
    mut sans: Vec<San>,
    own_too: bool,
    name: &DeviceName,
    profile: &Profile,
) -> Result<Vec<San>, Error> {
    // Not every device's name is one that DNS knows: `a..b` stands in the common name alone.
    if let Ok(own @ San::Dns(_)) = San::parse(name.as_str())
        && own_too
        && !sans.contains(&own)
    {
        sans.insert(0, own);
    }
    if sans.len() > MAX_SANS {
        return Err(Error::Bad(format!(
            "a certificate has at most {MAX_SANS} alternative names"
        )));
    }
    profile.accept_sans(&sans, name.as_str())?;
    if profile.kind() != Kind::Client && !sans.iter().any(|san| matches!(san, San::Dns(_))) {
        return Err(
            Refusal::new("a server needs a DNS name: some devices cannot match addresses")
                .fix("add a DNS name with --san")
                .into(),
        );
    }
    Ok(sans)
}

/// What `step` calls the CSR rules: the request lists the token's names, or none.
fn token_names(token: &Token, csr: &Csr) -> Result<Vec<San>, Error> {
    if let Some(pinned) = &token.csr {
        let actual = muster_pki::key::sha256(csr.der());
        if aws_lc_rs::constant_time::verify_slices_are_equal(pinned, &actual).is_err() {
            return Err(Refusal::new("the token was made for another certificate request").into());
        }
    }
    if token.sans.len() > MAX_SANS {
        return Err(Error::Bad(format!(
            "a certificate has at most {MAX_SANS} alternative names"
        )));
    }
    let sans = token
        .sans
        .iter()
        .map(|text| San::parse(text))
        .collect::<Result<Vec<_>, _>>();
    let sans = sans.map_err(|why| Refusal::new(why.to_string()))?;
    for san in &sans {
        if let San::Dns(name) = san {
            token.provisioner.record.accept_name(name)?;
        }
    }
    let common_name = csr.common_name().unwrap_or_default();
    let named = common_name.is_empty()
        || common_name == token.subject
        || token.sans.iter().any(|san| san == common_name);
    if !named {
        return Err(Refusal::new(format!(
            "the request names {common_name:?}, and the token is for {:?}",
            token.subject
        ))
        .into());
    }
    if !csr_matches(csr.sans(), &sans) {
        return Err(Refusal::new("the request's alternative names are not those of the token").into());
    }
    Ok(sans)
}

/// For each type of name: the request has none, or the token's set.
fn csr_matches(asked: &[San], token: &[San]) -> bool {
    let of_type = |sans: &[San], sample: &San| -> Vec<San> {
        let same = |san: &&San| std::mem::discriminant(*san) == std::mem::discriminant(sample);
        sans.iter().filter(same).cloned().collect()
    };
    asked
        .iter()
        .all(|sample| same_set(&of_type(asked, sample), &of_type(token, sample)))
}

/// Whether both hold the same names, in whatever order.
pub(super) fn same_set(one: &[San], other: &[San]) -> bool {
    one.iter().all(|san| other.contains(san)) && other.iter().all(|san| one.contains(san))
}

/// Refuses an alternative name that is a server's, unless an operator gives it to another server, or gave it before.
pub(crate) fn accept_other_name(grant: &Grant, other: &Device) -> Result<(), Refusal> {
    let chosen_by_operator =
        grant.profile.kind() != Kind::Client && (grant.how == OPERATOR || grant.is_renewal());
    if other.kind == Kind::Client || chosen_by_operator {
        return Ok(());
    }
    let why = format!(
        "{} is another server's name and cannot stand in this certificate",
        other.name
    );
    let refusal = Refusal::new(why);
    if !grant.is_renewal() {
        return Err(refusal);
    }
    let own = &grant.device.name;
    Err(refusal.fix(format!(
        "an operator issues one without it: muster cert issue {own}, or muster device recover {own}"
    )))
}

/// Refuses a client's wildcard that stands for a server.
pub(crate) fn accept_wildcards(grant: &Grant, server: &DeviceName) -> Result<(), Refusal> {
    let above = server.as_str().split_once('.').map(|(_, domain)| domain);
    let covering = grant.wildcards().find(|domain| Some(*domain) == above);
    match covering {
        Some(domain) if grant.profile.kind() == Kind::Client => Err(Refusal::new(format!(
            "*.{domain} would stand for {server}, a server, and cannot stand in a client's certificate"
        ))
        .fix("ask for names without a wildcard")),
        Some(_) | None => Ok(()),
    }
}

/// What a token cannot get: for a client the DNS names under which others reach the CA, for a server (whose own name an
/// operator chose) their addresses as well, and wildcards.
pub(crate) fn accept_token_names(grant: &Grant, ca: &[String]) -> Result<(), Refusal> {
    if grant.how == OPERATOR {
        return Ok(());
    }
    let is_ca = |text: &str| ca.iter().any(|name| name.eq_ignore_ascii_case(text));
    let client = grant.profile.kind() == Kind::Client;
    let own = grant.device.name.as_str();
    if client && is_ca(own) {
        return Err(
            Refusal::new(format!("{own} is a name of this CA and cannot be a client's"))
                .fix("choose another name"),
        );
    }
    for san in &grant.sans {
        let text = san.text();
        let refused = match (client, san) {
            (true, San::Dns(_)) => is_ca(&text),
            (true, San::Ip(_) | San::Email(_) | San::Uri(_)) => false,
            (false, _) => text != own && (text.starts_with("*.") || is_ca(&text)),
        };
        if refused {
            let kind = grant.profile.kind().as_str();
            let why = format!("a token cannot put the name {text} into a {kind}'s certificate");
            return Err(Refusal::new(why).fix("an operator can: muster cert sign"));
        }
    }
    Ok(())
}
