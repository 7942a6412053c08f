//! The rows of lists as they travel: the same over `/api/v1`, in the GUI's files and for the command line.

use jiff::Timestamp;
use muster_api::types as api;
use muster_ca::TokenRefusal;
use muster_ca::audit::Entry;
use muster_ca::broker::agent::Standing;
use muster_ca::certificate::{Certificate, Status};
use muster_ca::device::Device;
use muster_ca::operator::Operator;
use muster_ca::profile::Profile;
use muster_ca::provisioner::Provisioner;
use muster_ca::token::EnrolmentToken;
use muster_pki::crl::Reason;
use muster_pki::time::format_duration;
use muster_pki::{cert, key};
use serde::Serialize;

/// A row of a list, as JSON and as CSV.
pub(crate) trait Row: Serialize + Send + Sync + 'static {
    /// What stands above the columns.
    const HEAD: &'static [&'static str];
    /// The columns.
    fn cells(&self) -> Vec<String>;
}

pub(crate) use muster_pki::hex;

/// Whole seconds, as certificates have them.
pub(crate) fn time(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

/// The status in a word. A certificate that cannot be read any more is an error.
pub(crate) fn status_word(certificate: &Certificate, now: Timestamp) -> &'static str {
    match certificate.status {
        _ if cert::Certificate::from_der(&certificate.der).is_err() => "error",
        Status::Revoked {
            reason: Reason::CertificateHold,
            ..
        } => "on hold",
        Status::Revoked { .. } => "revoked",
        Status::Active if now > certificate.not_after => "expired",
        Status::Active => "active",
    }
}

pub(crate) fn certificate(record: &Certificate, now: Timestamp) -> api::Certificate {
    let (revoked_at, reason) = match record.status {
        Status::Active => (None, None),
        Status::Revoked { at, reason } => (Some(time(at)), Some(reason.to_string())),
    };
    let sans = cert::Certificate::from_der(&record.der)
        .map(|parsed| parsed.sans())
        .unwrap_or_default();
    api::Certificate {
        serial: record.serial.hex(),
        serial_decimal: record.serial.decimal(),
        device: record.device.to_string(),
        status: status_word(record, now).into(),
        profile: record.profile.clone(),
        sans: sans.iter().map(ToString::to_string).collect(),
        issued: time(record.issued()),
        not_before: time(record.not_before),
        not_after: time(record.not_after),
        revoked_at,
        reason,
        authority: record.authority.clone(),
        generation: record.generation,
        how: record.how.clone(),
        fingerprint: hex(&key::sha256(&record.der)),
    }
}

pub(crate) fn device(record: &Device, certificates: Vec<api::Certificate>) -> api::Device {
    api::Device {
        name: record.name.to_string(),
        kind: record.kind.as_str().into(),
        state: record.state.as_str().into(),
        profile: record.profile.clone(),
        note: record.note.clone(),
        created: time(record.created),
        certificates,
    }
}

/// A token; `refusals`: those of all tokens.
pub(crate) fn token(record: &EnrolmentToken, refusals: &[TokenRefusal], now: Timestamp) -> api::Token {
    let status = if record.withdrawn.is_some() {
        "withdrawn"
    } else if record.used >= record.uses {
        "used up"
    } else if now > record.expires {
        "expired"
    } else {
        "open"
    };
    api::Token {
        id: record.id.clone(),
        device: record.device.as_ref().map(ToString::to_string),
        wave: record.wave.clone(),
        uses: record.uses,
        used: record.used,
        profile: record.profile.clone(),
        created: time(record.created),
        expires: time(record.expires),
        status: status.into(),
        by: record.by.clone(),
        recovers: record.recovers,
        refused: refusals
            .iter()
            .filter(|refusal| refusal.token == record.id)
            .map(|refusal| api::TokenRefusal {
                name: refusal.name.to_string(),
                source: refusal.source.clone(),
                at: time(refusal.at),
            })
            .collect(),
    }
}

pub(crate) fn entry(record: Entry) -> api::AuditEntry {
    api::AuditEntry {
        sequence: record.sequence,
        at: record.at.to_string(),
        actor: record.actor,
        via: record.via,
        source: record.source,
        action: record.action,
        subject: record.subject,
        detail: record.detail,
        writer: record.writer,
        hash: hex(&record.hash),
    }
}

pub(crate) fn operator(record: &Operator) -> api::Operator {
    let login = record.login.as_ref();
    api::Operator {
        name: record.name.clone(),
        role: record.role.as_str().into(),
        created: time(record.created),
        logs_in: login.is_some(),
        second_factor: login.is_some_and(|login| login.totp.is_some()),
        has_key: record.key.is_some(),
        key: None,
        invitation: None,
    }
}

pub(crate) fn broker(standing: Standing) -> api::Broker {
    let (crl_until, wrong) = (standing.crl_until(), standing.wrong());
    let Standing {
        broker,
        state,
        heard,
        report,
        denied,
    } = standing;
    let report = report.unwrap_or_default();
    api::Broker {
        name: broker.name.to_string(),
        program: broker.program.as_str().into(),
        sans: broker.sans.iter().map(ToString::to_string).collect(),
        state: state.as_str().into(),
        created: time(broker.created),
        enforced: broker.enforced.map(|enforced| api::Enforced {
            number: enforced.number,
            sequence: enforced.sequence,
            at: enforced.at.to_string(),
            micros: enforced.micros,
        }),
        failed: broker.failed.map(|failed| api::FailedEpoch {
            number: failed.number,
            at: failed.at.to_string(),
            why: failed.why,
        }),
        heard: heard.map(time),
        crl_next_update: crl_until.map(time),
        certificate_not_after: report.certificate_not_after.map(time),
        sessions: report.sessions,
        wrong,
        denials: denied
            .into_iter()
            .map(|one| api::Denied {
                device: one.device,
                topic: one.topic,
                times: one.times,
                last: time(one.last),
            })
            .collect(),
        agent_version: (!report.version.is_empty()).then_some(report.version),
    }
}

pub(crate) fn provisioner(record: &Provisioner) -> api::Provisioner {
    api::Provisioner {
        name: record.name.clone(),
        kid: record.kid.clone(),
        profiles: record.profiles.clone(),
        names: record.names.clone(),
        may_replace: record.may_replace,
        created: time(record.created),
        password: None,
    }
}

pub(crate) fn profile(record: &Profile) -> api::Profile {
    let (min, default, max) = record.validity();
    api::Profile {
        name: record.name().into(),
        kind: record.kind().as_str().into(),
        authority: record.authority().into(),
        min: format_duration(min),
        default: format_duration(default),
        max: format_duration(max),
        grace: format_duration(record.grace()),
        renewable: record.renewable(),
        suspend_clones: record.suspends_clones(),
        keys: record.keys(),
        sans: record.sans(),
        pointers: record.pointers().into_iter().map(str::to_owned).collect(),
    }
}

impl Row for api::Certificate {
    const HEAD: &'static [&'static str] = &[
        "device",
        "status",
        "profile",
        "sans",
        "issued",
        "not_before",
        "not_after",
        "revoked_at",
        "reason",
        "authority",
        "generation",
        "how",
        "serial",
        "fingerprint",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.device.clone(),
            self.status.clone(),
            self.profile.clone(),
            self.sans.join(" "),
            self.issued.clone(),
            self.not_before.clone(),
            self.not_after.clone(),
            self.revoked_at.clone().unwrap_or_default(),
            self.reason.clone().unwrap_or_default(),
            self.authority.clone(),
            self.generation.to_string(),
            self.how.clone(),
            self.serial.clone(),
            self.fingerprint.clone(),
        ]
    }
}

impl Row for api::Device {
    const HEAD: &'static [&'static str] = &["name", "kind", "state", "profile", "created", "note"];

    fn cells(&self) -> Vec<String> {
        let cells = [
            &self.name,
            &self.kind,
            &self.state,
            &self.profile,
            &self.created,
            &self.note,
        ];
        cells.map(Clone::clone).into()
    }
}

fn names(refused: &[api::TokenRefusal]) -> String {
    let names: Vec<_> = refused.iter().map(|one| one.name.as_str()).collect();
    names.join(" ")
}

impl Row for api::Token {
    const HEAD: &'static [&'static str] = &[
        "id", "device", "wave", "uses", "used", "profile", "created", "expires", "status", "by", "refused",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.device.clone().unwrap_or_default(),
            self.wave.clone(),
            self.uses.to_string(),
            self.used.to_string(),
            self.profile.clone(),
            self.created.clone(),
            self.expires.clone(),
            self.status.clone(),
            self.by.clone(),
            names(&self.refused),
        ]
    }
}

impl Row for api::AuditEntry {
    const HEAD: &'static [&'static str] = &[
        "sequence", "at", "actor", "via", "source", "action", "subject", "detail", "writer", "hash",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.sequence.to_string(),
            self.at.clone(),
            self.actor.clone(),
            self.via.clone(),
            self.source.clone(),
            self.action.clone(),
            self.subject.clone(),
            self.detail.clone(),
            self.writer.clone(),
            self.hash.clone(),
        ]
    }
}

impl Row for api::Operator {
    const HEAD: &'static [&'static str] = &["name", "role", "created", "logs_in", "second_factor", "has_key"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.role.clone(),
            self.created.clone(),
            self.logs_in.to_string(),
            self.second_factor.to_string(),
            self.has_key.to_string(),
        ]
    }
}

impl Row for api::Broker {
    const HEAD: &'static [&'static str] = &[
        "name",
        "program",
        "state",
        "epoch",
        "proved_at",
        "micros",
        "certificate_not_after",
        "crl_next_update",
        "sessions",
        "heard",
        "wrong",
        "sans",
        "created",
        "agent_version",
    ];

    fn cells(&self) -> Vec<String> {
        let enforced = self.enforced.as_ref();
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
        vec![
            self.name.clone(),
            self.program.clone(),
            self.state.clone(),
            number(enforced.map(|enforced| enforced.number)),
            enforced.map(|enforced| enforced.at.clone()).unwrap_or_default(),
            number(enforced.map(|enforced| enforced.micros)),
            text(&self.certificate_not_after),
            text(&self.crl_next_update),
            number(self.sessions),
            text(&self.heard),
            self.wrong.join("; "),
            self.sans.join(" "),
            self.created.clone(),
            text(&self.agent_version),
        ]
    }
}

impl Row for api::Provisioner {
    const HEAD: &'static [&'static str] = &["name", "kid", "profiles", "names", "may_replace", "created"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.kid.clone(),
            self.profiles.join(" "),
            self.names.join(" "),
            self.may_replace.to_string(),
            self.created.clone(),
        ]
    }
}

impl Row for api::Profile {
    const HEAD: &'static [&'static str] = &[
        "name",
        "kind",
        "authority",
        "min",
        "default",
        "max",
        "grace",
        "renewable",
        "suspend_clones",
        "keys",
        "sans",
        "pointers",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.kind.clone(),
            self.authority.clone(),
            self.min.clone(),
            self.default.clone(),
            self.max.clone(),
            self.grace.clone(),
            self.renewable.to_string(),
            self.suspend_clones.to_string(),
            self.keys.join(" "),
            self.sans.join(" "),
            self.pointers.join(" "),
        ]
    }
}
