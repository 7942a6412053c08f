//! What an attempt at the listener says.

use jiff::{SignedDuration, Timestamp};

use super::attempt::{Attempt, Certainty, End, Paper, Shown};
use super::verdict::{Cause, Facts, Verdict, expired, moment, not_yet, wrong_use};
use crate::certificate::{Certificate, Status};

/// One certificate from two addresses within so long is in two places.
const TOGETHER: SignedDuration = SignedDuration::from_mins(5);

/// What the newest attempt of this kind says. It says nothing any more of a device that got another certificate since; and
/// nothing of what somebody claims, once the device itself was there.
pub(super) fn of_kind(facts: &Facts<'_>, certainty: Certainty) -> Option<Verdict> {
    let attempt = newest(facts, certainty)?;
    let renewed = facts
        .certificates
        .first()
        .is_some_and(|certificate| certificate.issued() > attempt.at);
    let was_there = newest(facts, Certainty::Proved).is_some_and(|own| own.at > attempt.at);
    if renewed || was_there {
        return None;
    }
    let who = who(attempt, facts.device.name.as_str());
    let seen = of_handshake(attempt, &who, facts.names).or_else(|| of_stranger(attempt, &who));
    seen.or_else(|| of_paper(facts, attempt))
}

fn newest<'a>(facts: &Facts<'a>, certainty: Certainty) -> Option<&'a Attempt> {
    let mut all = facts.attempts.iter();
    all.find(|attempt| attempt.certainty == certainty)
}

/// What can be said of somebody who is no device that is known.
pub(super) fn stranger(attempt: &Attempt, now: Timestamp, names: &[String]) -> Option<Verdict> {
    let who = who(attempt, &attempt.said);
    let seen = of_handshake(attempt, &who, names).or_else(|| of_stranger(attempt, &who));
    seen.or_else(|| {
        let paper = attempt.paper()?;
        by_its_dates(paper, &paper.name, now)
    })
}

fn who(attempt: &Attempt, name: &str) -> String {
    match attempt.certainty {
        Certainty::Proved => name.to_owned(),
        Certainty::Claimed => format!("someone claiming to be {name}, from {},", attempt.address),
        Certainty::Address => format!(
            "someone at {}, probably {name} (it came from there before),",
            attempt.address
        ),
        Certainty::Unknown => format!("someone at {}", attempt.address),
    }
}

/// How the handshake ended, if it did not come to its end.
fn of_handshake(attempt: &Attempt, who: &str, names: &[String]) -> Option<Verdict> {
    let set_clock = "set the device's clock (NTP)";
    Some(match attempt.end {
        End::Finished => return None,
        End::UnknownCa => Verdict::new(
            Cause::UnknownCa,
            format!("{who} does not know the CA that vouches for the server: its CA file is another, or an old one"),
            "give the device the root certificate as its CA file",
        )
        .by("muster ca root --out ca.crt"),
        End::ServerExpired => Verdict::new(
            Cause::Clock,
            format!("{who} holds the server's certificate, which is valid, for expired: its clock is ahead"),
            set_clock,
        ),
        End::InternalError => server_name(attempt, who, names),
        End::ServerBad => match &attempt.server_name {
            Some(asked) if !has(names, asked) => server_name(attempt, who, names),
            Some(_) => Verdict::new(
                Cause::Clock,
                format!("{who} holds the server's certificate for not valid yet: its clock is behind"),
                set_clock,
            ),
            None => Verdict::new(
                Cause::ServerRefused,
                format!(
                    "{who} refuses the server's certificate: its clock is behind, or the address that it uses is not in the \
                     certificate"
                ),
                "set the device's clock (NTP); then let it use a name of the server's instead of an address",
            ),
        },
        End::OldTls => Verdict::new(
            Cause::OldTls,
            format!("{who} offers no TLS that is taken: neither 1.2 nor 1.3, or no common cipher"),
            "switch TLS 1.2 or 1.3 on in the device",
        ),
        End::NoTls => Verdict::new(
            Cause::NoTls,
            format!("{who} speaks without TLS to a port that takes TLS alone"),
            "switch TLS on in the device, with its CA file, certificate and key",
        ),
        End::BrokeOff => Verdict::new(
            Cause::BrokeOff,
            format!(
                "{who} went away in the middle of the handshake, as programs do that do not accept the server's certificate"
            ),
            "on the device, see what OpenSSL says of the broker",
        )
        .by("openssl s_client -connect BROKER:8883 -CAfile ca.crt -cert NAME.crt -key NAME.key"),
    })
}

fn has(names: &[String], asked: &str) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(asked))
}

fn server_name(attempt: &Attempt, who: &str, names: &[String]) -> Verdict {
    let asked = match &attempt.server_name {
        Some(asked) => format!("{asked:?}"),
        None => "an address".into(),
    };
    Verdict::new(
        Cause::ServerName,
        format!("{who} asks for {asked}, which is not in the server's certificate"),
        format!(
            "let the device use a name that is: here {}, at a broker one of its --san",
            names.join(", ")
        ),
    )
}

/// What was shown, where it is nothing that proves the device.
fn of_stranger(attempt: &Attempt, who: &str) -> Option<Verdict> {
    let token = || format!("muster token create {}", attempt.said);
    match &attempt.shown {
        Shown::Nothing => Some(Verdict::new(
            Cause::NothingShown,
            format!("{who} shows no certificate"),
            "set certificate and key in the device's MQTT client",
        )),
        Shown::Unreadable => Some(Verdict::new(
            Cause::Unreadable,
            format!(
                "{who} shows a certificate that cannot be read, or whose key is of a kind that nobody takes"
            ),
            "give it one of this CA",
        )),
        Shown::Paper(paper) if !paper.ours => {
            let issuer = if paper.issuer.is_empty() {
                "without a name"
            } else {
                &paper.issuer
            };
            let verdict = Verdict::new(
                Cause::OtherCa,
                format!("{who} shows a certificate of another CA ({issuer})"),
                "let it enrol here, and use what it gets",
            );
            Some(match attempt.name {
                Some(_) => verdict.by(token()),
                None => verdict,
            })
        }
        Shown::Paper(paper) if paper.retired => {
            Some(retired(&format!("{who} shows a certificate"), &attempt.said))
        }
        Shown::Paper(paper) if !paper.proved => Some(Verdict::new(
            Cause::WrongKey,
            format!("{who} shows a certificate of this CA with a key that does not belong to it"),
            "put certificate and key in place together: those of one enrolment",
        )),
        Shown::Paper(_) => None,
    }
}

/// What is the matter with a certificate of ours that the device proved.
fn of_paper(facts: &Facts<'_>, attempt: &Attempt) -> Option<Verdict> {
    let paper = attempt.paper()?;
    let name = facts.device.name.as_str();
    let known = facts.certificates.iter().find(|one| one.serial == paper.serial);
    let Some(known) = known else {
        return Some(
            Verdict::new(
                Cause::Unrecorded,
                format!(
                    "{name} shows a certificate of this CA that is not on record: the store is older than it"
                ),
                "let it enrol again",
            )
            .by(format!(
                "muster device rearm {name} && muster token create {name}"
            )),
        );
    };
    let newer = facts
        .certificates
        .iter()
        .find(|one| one.serial != known.serial && one.is_living(facts.now) && one.issued() > known.issued());
    let gone = !known.is_living(facts.now);
    if let (true, Some(newer)) = (gone, newer) {
        return Some(superseded(name, known, newer));
    }
    if let Status::Revoked { at, .. } = known.status {
        return Some(
            Verdict::new(
                Cause::CertificateRevoked,
                format!("{name} shows a certificate that was revoked on {}", moment(at)),
                "if it is in the right hands, let it enrol again",
            )
            .by(format!(
                "muster device rearm {name} && muster token create {name}"
            )),
        );
    }
    by_its_dates(paper, name, facts.now)
}

fn superseded(name: &str, old: &Certificate, newer: &Certificate) -> Verdict {
    let (old, newer) = (old.serial.hex(), newer.serial.hex());
    Verdict::new(
        Cause::Superseded,
        format!("{name} still shows the certificate {old}, in whose place {newer} was issued"),
        "restart its MQTT client, so that it reads the new files; if it has not got them, renew on the device",
    )
}

/// What can be seen in the certificate itself.
fn by_its_dates(paper: &Paper, name: &str, now: Timestamp) -> Option<Verdict> {
    if paper.not_after < now {
        return Some(expired(name, paper.not_after));
    }
    if paper.not_before > now {
        return Some(not_yet(name, paper.not_before, now));
    }
    (!paper.for_clients).then(|| wrong_use(name))
}

/// Of a CA that is retired; `whose` is the beginning of the sentence.
pub(super) fn retired(whose: &str, name: &str) -> Verdict {
    Verdict::new(
        Cause::RetiredCa,
        format!("{whose} of an issuing CA that is retired, which brokers trust no more"),
        "let the device enrol again",
    )
    .by(format!(
        "muster device rearm {name} && muster token create {name}"
    ))
}

/// What may be the matter although everything is in order.
pub(super) fn hint(facts: &Facts<'_>) -> Option<Verdict> {
    let attempt = newest(facts, Certainty::Proved)?;
    let name = &facts.device.name;
    if let Some(id) = attempt.client_id.as_ref().filter(|id| *id != name.as_str()) {
        return Some(Verdict::new(
            Cause::ClientId,
            format!(
                "{name} connects with the client id {id:?}; a broker that holds it to its certificate refuses that"
            ),
            format!("set the client id to {name} in the device"),
        ));
    }
    let paper = attempt.paper()?;
    let elsewhere = facts.attempts.iter().find(|other| {
        other.address != attempt.address
            && other.certainty == Certainty::Proved
            && other.paper().is_some_and(|shown| shown.serial == paper.serial)
            && attempt.at.duration_since(other.at) < TOGETHER
    });
    if let Some(other) = elsewhere {
        return Some(
            Verdict::new(
                Cause::TwoPlaces,
                format!(
                    "one certificate of {name} is used from {} and from {}: two devices with it throw each other off",
                    attempt.address, other.address
                ),
                "enrol one of them under a name of its own; if nobody copied it, revoke it",
            )
            .by(format!("muster device show {name}")),
        );
    }
    paper.alone.then(|| {
        Verdict::new(
            Cause::NoChain,
            format!("{name} sends its certificate without its issuing CA's; a broker that has the root alone refuses it"),
            "use the file that has both, as it was enrolled",
        )
        .by(format!("muster cert download {name}"))
    })
}
