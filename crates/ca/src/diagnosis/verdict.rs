//! The verdict: one cause, one sentence, one fix. A function of what is known, and of nothing else.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::attempt::{Attempt, Certainty};
use super::judge;
use crate::broker::agent::{Standing, StandingState};
use crate::certificate::{Certificate, Status};
use crate::device::{Device, Kind, State};

/// What is known of a device that does not connect.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Now.
    pub now: Timestamp,
    /// The device.
    pub device: &'a Device,
    /// Every certificate of it, newest first.
    pub certificates: &'a [Certificate],
    /// How each broker in service stands with the device's last change.
    pub brokers: &'a [Standing],
    /// What was seen at the diagnosis listener, newest first.
    pub attempts: &'a [Attempt],
    /// The names in the listener's own certificate.
    pub names: &'a [String],
    /// Issuing CAs that are retired: authority and generation.
    pub retired: &'a [(String, u32)],
    /// Whether every agent that runs had the time to speak.
    pub settled: bool,
}

macro_rules! causes {
    ($($(#[$doc:meta])+ $cause:ident = $word:literal,)+) => {
        /// What keeps a device out.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Cause {
            $($(#[$doc])+ $cause,)+
        }

        impl Cause {
            /// Each with its word.
            pub const ALL: &[(Self, &'static str)] = &[$((Self::$cause, $word)),+];
        }
    };
}

causes! {
    /// It is out of service for good.
    Retired = "retired",
    /// It is revoked.
    Revoked = "revoked",
    /// It is suspended.
    Suspended = "suspended",
    /// It never got a certificate, or has to enrol again.
    NoCertificate = "no-certificate",
    /// Its certificate ran out.
    Expired = "expired",
    /// Its certificate has not begun.
    NotYetValid = "not-yet-valid",
    /// All its certificates are revoked, or the one that it shows.
    CertificateRevoked = "certificate-revoked",
    /// It shows a certificate that a newer one has replaced.
    Superseded = "superseded",
    /// It shows a certificate of ours that is not on record.
    Unrecorded = "unrecorded",
    /// Its issuing CA is retired.
    RetiredCa = "retired-ca",
    /// Its certificate is a server's.
    WrongUse = "wrong-usage",
    /// It shows a certificate of another CA.
    OtherCa = "other-ca",
    /// It shows a certificate whose key it does not have.
    WrongKey = "wrong-key",
    /// It shows no certificate.
    NothingShown = "nothing-shown",
    /// It shows something that cannot be read.
    Unreadable = "unreadable",
    /// It does not know the server's CA.
    UnknownCa = "unknown-root",
    /// It uses a name that the server's certificate does not have.
    ServerName = "server-name",
    /// Its clock is wrong.
    Clock = "device-clock",
    /// It refuses the server's certificate, by its name or by the time.
    ServerRefused = "server-refused",
    /// It offers no TLS 1.2 or 1.3.
    OldTls = "old-tls",
    /// It speaks without TLS.
    NoTls = "no-tls",
    /// It went away in the middle of the handshake.
    BrokeOff = "broke-off",
    /// A list of a broker's ran out, so that it refuses everybody.
    BrokerCrl = "broker-crl-expired",
    /// A broker's certificate ran out, so that everybody refuses it.
    BrokerCertificate = "broker-certificate-expired",
    /// Something else is wrong at a broker.
    BrokerAlarm = "broker-alarm",
    /// A broker does not enforce the device's last change yet.
    BrokerUnconfirmed = "broker-unconfirmed",
    /// Nobody knows what a broker enforces.
    BrokerSilent = "broker-silent",
    /// It connects with another client id than its name.
    ClientId = "client-id",
    /// It connects, and may not what it wants.
    Denied = "denied-topic",
    /// It sends its certificate without its issuing CA's.
    NoChain = "no-chain",
    /// One certificate is used in two places.
    TwoPlaces = "two-places",
    /// Nothing that is known.
    Nothing = "nothing-known",
}

impl Cause {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        let found = Self::ALL.iter().find(|(cause, _)| *cause == self);
        found.map_or("nothing-known", |(_, word)| word)
    }
}

/// What is the matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// In a word.
    pub cause: Cause,
    /// In a sentence.
    pub what: String,
    /// What to do, in a sentence.
    pub fix: String,
    /// A line for a shell that does it or begins it, if one does.
    pub command: Option<String>,
}

impl Verdict {
    pub(super) fn new(cause: Cause, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            cause,
            what: what.into(),
            fix: fix.into(),
            command: None,
        }
    }

    pub(super) fn by(self, command: impl Into<String>) -> Self {
        Self {
            command: Some(command.into()),
            ..self
        }
    }
}

/// Says why a device does not connect: what is certain first, then what brokers say, then what somebody claims, then what may
/// be.
pub fn diagnose(facts: &Facts<'_>) -> Verdict {
    let seen = |certainty| judge::of_kind(facts, certainty);
    shut_out(facts)
        .or_else(|| seen(Certainty::Proved))
        .or_else(|| papers(facts))
        .or_else(|| brokers(facts))
        .or_else(|| seen(Certainty::Claimed))
        .or_else(|| seen(Certainty::Address))
        .or_else(|| denied(facts))
        .or_else(|| judge::hint(facts))
        .unwrap_or_else(|| nothing(facts))
}

/// By what was decided about it.
fn shut_out(facts: &Facts<'_>) -> Option<Verdict> {
    let name = &facts.device.name;
    match facts.device.state {
        State::Retired => Some(Verdict::new(
            Cause::Retired,
            format!("{name} is out of service for good, so every broker refuses it"),
            "give the device another name, and enrol it under that one",
        )),
        State::Revoked => Some(
            Verdict::new(
                Cause::Revoked,
                format!("{name} is revoked, so every broker refuses it"),
                "if it is in the right hands, re-arm it and let it enrol again with a new token",
            )
            .by(format!(
                "muster device rearm {name} && muster token create {name}"
            )),
        ),
        State::Suspended => Some(
            Verdict::new(
                Cause::Suspended,
                format!("{name} is suspended, so every broker refuses it"),
                "take its certificates off hold",
            )
            .by(format!("muster device resume {name}")),
        ),
        State::New | State::Active => None,
    }
}

/// By the certificates on record.
fn papers(facts: &Facts<'_>) -> Option<Verdict> {
    let name = facts.device.name.as_str();
    let all = facts.certificates.iter();
    let living = all.filter(|certificate| certificate.is_living(facts.now));
    let Some(first) = living.clone().min_by_key(|certificate| certificate.not_before) else {
        return Some(none_lives(facts));
    };
    let retired = |certificate: &Certificate| {
        let issuer = (certificate.authority.clone(), certificate.generation);
        facts.retired.contains(&issuer)
    };
    if living.clone().all(retired) {
        return Some(judge::retired(&format!("the certificate of {name} is"), name));
    }
    if first.not_before > facts.now {
        return Some(not_yet(name, first.not_before, facts.now));
    }
    (facts.device.kind == Kind::Server).then(|| wrong_use(name))
}

fn none_lives(facts: &Facts<'_>) -> Verdict {
    let name = &facts.device.name;
    let token = format!("muster token create {name}");
    let Some(newest) = facts
        .certificates
        .first()
        .filter(|_| facts.device.state != State::New)
    else {
        let what = if facts.certificates.is_empty() {
            format!("{name} has no certificate: it has never enrolled")
        } else {
            format!("{name} has no certificate: it may enrol again, and has not done so")
        };
        let fix = "make an enrolment token, and run its line on the device";
        return Verdict::new(Cause::NoCertificate, what, fix).by(token);
    };
    match newest.status {
        Status::Revoked { at, .. } => Verdict::new(
            Cause::CertificateRevoked,
            format!("the last certificate of {name} was revoked on {}", moment(at)),
            "if it is in the right hands, let it enrol again",
        )
        .by(format!("muster device rearm {name} && {token}")),
        Status::Active => expired(name.as_str(), newest.not_after),
    }
}

pub(super) fn expired(name: &str, at: Timestamp) -> Verdict {
    Verdict::new(
        Cause::Expired,
        format!("the certificate of {name} ran out on {}", moment(at)),
        "renew it on the device with muster agent renew, or enrol the device again with a new token",
    )
    .by(format!(
        "muster device rearm {name} && muster token create {name}"
    ))
}

pub(super) fn not_yet(name: &str, begins: Timestamp, now: Timestamp) -> Verdict {
    Verdict::new(
        Cause::NotYetValid,
        format!(
            "the certificate of {name} is not valid yet: it begins on {}, and the clock here says {}",
            moment(begins),
            moment(now)
        ),
        "set the CA's clock, then issue another certificate",
    )
    .by("timedatectl set-ntp true")
}

pub(super) fn wrong_use(name: &str) -> Verdict {
    Verdict::new(
        Cause::WrongUse,
        format!("the certificate of {name} is a server's, and brokers take clients' certificates alone"),
        "enrol the device under a name of kind client, or of kind broker if it bridges",
    )
}

/// By what the brokers hold, as their agents say: what refuses everybody first.
fn brokers(facts: &Facts<'_>) -> Option<Verdict> {
    const LOOK: &str = "see whether its agent runs and reaches port 9000";
    let every = |judge: fn(&Facts<'_>, &Standing) -> Option<(Cause, String)>| {
        let serving = facts
            .brokers
            .iter()
            .filter(|standing| !matches!(standing.state, StandingState::Retired | StandingState::Waiting));
        let mut found = serving.filter_map(|standing| judge(facts, standing));
        let (cause, what) = found.next()?;
        Some(Verdict::new(cause, what, LOOK).by("muster broker list"))
    };
    every(list_ran_out)
        .or_else(|| every(server_ran_out))
        .or_else(|| every(alarm))
        .or_else(|| every(unconfirmed))
        .or_else(|| every(silent))
}

fn list_ran_out(facts: &Facts<'_>, standing: &Standing) -> Option<(Cause, String)> {
    let end = standing.crl_until().filter(|end| *end <= facts.now)?;
    let what = format!(
        "the revocation list that the broker {} holds ran out on {}, so it refuses every device",
        standing.broker.name,
        moment(end)
    );
    Some((Cause::BrokerCrl, what))
}

fn server_ran_out(facts: &Facts<'_>, standing: &Standing) -> Option<(Cause, String)> {
    let end = standing.report.as_ref()?.certificate_not_after;
    let end = end.filter(|end| *end <= facts.now)?;
    let what = format!(
        "the certificate of the broker {} ran out on {}, so every device refuses it",
        standing.broker.name,
        moment(end)
    );
    Some((Cause::BrokerCertificate, what))
}

fn alarm(_: &Facts<'_>, standing: &Standing) -> Option<(Cause, String)> {
    let alarm = standing.report.as_ref()?.alarms.first()?;
    let name = &standing.broker.name;
    let alarm = alarm.strip_prefix(&format!("{name}: ")).unwrap_or(alarm);
    Some((
        Cause::BrokerAlarm,
        format!("something is wrong at the broker {name}: {alarm}"),
    ))
}

fn unconfirmed(facts: &Facts<'_>, standing: &Standing) -> Option<(Cause, String)> {
    let broker = &standing.broker;
    let holds = match broker.enforced {
        Some(enforced) => format!("it holds what was decided until {}", moment(enforced.at)),
        None => "it has proved nothing yet".into(),
    };
    let why = broker
        .failed
        .as_ref()
        .map_or_else(String::new, |failed| format!(" ({})", failed.why));
    let what = format!(
        "the broker {} has not taken up the last change of {}: {holds}{why}",
        broker.name, facts.device.name
    );
    (standing.state == StandingState::Unconfirmed).then_some((Cause::BrokerUnconfirmed, what))
}

fn silent(facts: &Facts<'_>, standing: &Standing) -> Option<(Cause, String)> {
    let since = standing
        .heard
        .map_or_else(|| "Muster was started".to_owned(), moment);
    let what = format!(
        "the agent of the broker {} was not heard since {since}, so nobody knows whom it lets in",
        standing.broker.name
    );
    let missed = standing.state == StandingState::Silent && (facts.settled || standing.heard.is_some());
    missed.then_some((Cause::BrokerSilent, what))
}

/// By what a broker refused it.
fn denied(facts: &Facts<'_>) -> Option<Verdict> {
    let name = &facts.device.name;
    facts.brokers.iter().find_map(|standing| {
        let last = standing.denied.iter().find(|one| one.device == name.as_str())?;
        let what = format!(
            "{name} connects, and the broker {} refuses what it does on {:?} ({} times, last on {}): its topic rules do not \
             have that",
            standing.broker.name,
            last.topic,
            last.times,
            moment(last.last)
        );
        let fix = "let it use its own topics, or give it other rules";
        Some(Verdict::new(Cause::Denied, what, fix).by(format!("muster device access {name}")))
    })
}

fn nothing(facts: &Facts<'_>) -> Verdict {
    let name = &facts.device.name;
    let at_listener = facts
        .attempts
        .iter()
        .find(|attempt| attempt.certainty == Certainty::Proved);
    match at_listener {
        Some(attempt) => Verdict::new(
            Cause::Nothing,
            format!(
                "{name} was at the diagnosis listener on {}, and its certificate, key and chain are in order",
                moment(attempt.at)
            ),
            "look at the way to the broker: its name, port 8883, and what is between",
        )
        .by("muster broker list"),
        None => Verdict::new(
            Cause::Nothing,
            format!("nothing that is known here keeps {name} out"),
            "switch the diagnosis listener on, and let the device connect to it",
        )
        .by("muster doctor listen"),
    }
}

pub(super) fn moment(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC)
        .strftime("%-d %B %Y, %H:%M UTC")
        .to_string()
}
