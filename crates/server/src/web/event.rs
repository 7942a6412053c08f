//! An entry of the audit log as pages tell of it in a line.

use jiff::Timestamp;
use muster_ca::audit::Entry;

use super::components::{Icon, When};

/// See the module.
pub(crate) struct Event {
    pub(crate) icon: Icon,
    /// What was done: `Certificate issued`.
    pub(crate) what: String,
    /// To what, without the serial number that follows a device.
    pub(crate) subject: String,
    /// By whom and how.
    pub(crate) who: String,
    pub(crate) when: When,
}

impl Event {
    pub(crate) fn of(entry: &Entry, now: Timestamp) -> Self {
        let (noun, verb) = entry.action.split_once('.').unwrap_or(("", &entry.action));
        let icon = match (noun, verb) {
            (_, "revoked" | "suspended" | "removed" | "withdrawn" | "login_refused") => "ban",
            (_, "renewed" | "rekeyed") => "renew",
            ("certificate", _) => "cert",
            ("device", _) => "device",
            ("token" | "setup", _) => "ticket",
            ("operator", _) => "user",
            _ => "shield",
        };
        let subject = entry.subject.split(' ').next().unwrap_or_default();
        Self {
            icon: Icon(icon),
            what: words(&entry.action),
            subject: subject.to_owned(),
            who: format!("{} · {}", entry.actor, entry.via),
            when: When::relative(entry.at, now),
        }
    }
}

/// `Certificate issued` for `certificate.issued`.
pub(crate) fn words(action: &str) -> String {
    let (noun, verb) = action.split_once('.').unwrap_or(("", action));
    let noun = match noun {
        "crl" => "revocation list",
        "token" => "enrolment token",
        "operator" => "user",
        other => other,
    };
    sentence(format!("{noun} {}", verb.replace('_', " ")).trim())
}

/// Texts of the authority begin small, so that they fit into longer ones.
pub(crate) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(letters).collect()
}
