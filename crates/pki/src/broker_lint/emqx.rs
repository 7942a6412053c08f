//! `emqx.conf`, version 5.

use std::collections::BTreeMap;

use super::hocon::{self, Entry};
use super::{At, Report, files};

/// The kinds of listeners that speak TLS, and those that do not.
const SECURE: [&str; 3] = ["ssl", "wss", "quic"];
const OPEN: [&str; 2] = ["tcp", "ws"];

pub(super) fn lint(report: &mut Report<'_>, sources: &[(usize, &str)]) {
    let entries = sources
        .iter()
        .flat_map(|(number, text)| hocon::read(*number, text));
    let all = All(entries.collect());
    misplaced(report, &all);
    let Some(first) = all
        .0
        .iter()
        .find(|entry| entry.path.starts_with("listeners."))
        .map(|entry| entry.at)
    else {
        return;
    };
    let mut secure = false;
    for (name, at) in all.listeners() {
        if all.value(&format!("{name}.enable")) == Some("false") {
            continue;
        }
        let kind = name.split('.').nth(1).unwrap_or_default();
        if SECURE.contains(&kind) {
            secure = true;
            with_tls(report, &all, &name, at);
        } else if OPEN.contains(&kind) && !is_local(all.value(&format!("{name}.bind")).unwrap_or_default()) {
            open(report, &name, at);
        }
    }
    // There by themselves unless they are switched off.
    for name in [
        "listeners.tcp.default",
        "listeners.ws.default",
        "listeners.wss.default",
    ] {
        if !all.listeners().contains_key(name) {
            open(report, name, first);
        }
    }
    if secure {
        identity(report, &all, first);
    }
    authorization(report, &all, first);
}

/// Everything that was read.
struct All(Vec<Entry>);

impl All {
    fn get(&self, path: &str) -> Option<&Entry> {
        self.0.iter().rev().find(|entry| entry.path == path)
    }

    fn value(&self, path: &str) -> Option<&str> {
        self.get(path).map(|entry| entry.value.as_str())
    }

    /// `listeners.KIND.NAME` and where each is named first.
    fn listeners(&self) -> BTreeMap<String, At> {
        let mut found = BTreeMap::new();
        for entry in &self.0 {
            let mut parts = entry.path.split('.');
            if let (Some("listeners"), Some(kind), Some(name), Some(_)) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            {
                found
                    .entry(format!("listeners.{kind}.{name}"))
                    .or_insert(entry.at);
            }
        }
        found
    }
}

fn is_local(bind: &str) -> bool {
    ["127.", "localhost", "[::1]"]
        .iter()
        .any(|host| bind.starts_with(host))
}

fn open(report: &mut Report<'_>, name: &str, at: At) {
    report.danger(
        at,
        format!("{name} is open"),
        "it asks nobody for a certificate; EMQX starts it unless it is told not to",
        format!("{name}.enable = false"),
    );
}

/// EMQX 4 had these at the listener.
fn misplaced(report: &mut Report<'_>, all: &All) {
    for entry in &all.0 {
        let last = entry.path.rsplit('.').next().unwrap_or_default();
        let identity = ["peer_cert_as_username", "peer_cert_as_clientid"].contains(&last);
        if identity && (entry.path.starts_with("listener")) {
            report.danger(
                entry.at,
                &entry.path,
                "EMQX 5 does not start: there is no such field of a listener",
                format!("mqtt {{ {last} = cn }}"),
            );
        }
    }
}

fn with_tls(report: &mut Report<'_>, all: &All, name: &str, at: At) {
    let option = |key: &str| all.get(&format!("{name}.ssl_options.{key}"));
    let place = |key: &str| option(key).map_or(at, |entry| entry.at);
    let is = |key: &str, value: &str| option(key).is_some_and(|entry| entry.value == value);
    if let Some(certificate) = option("certfile") {
        files::server(report, certificate.at, &certificate.value);
    }
    if let Some(key) = option("keyfile") {
        files::open_key(report, key.at, &key.value);
    }
    let versions = format!("{name}.ssl_options.versions.");
    let old = |entry: &&Entry| {
        entry.path.starts_with(&versions) && ["tlsv1", "tlsv1.1"].contains(&entry.value.as_str())
    };
    if let Some(old) = all.0.iter().find(old) {
        report.danger(
            old.at,
            format!("{name} speaks {}", old.value),
            "TLS before 1.2 is broken",
            "versions = [\"tlsv1.3\", \"tlsv1.2\"]",
        );
    }
    if !is("verify", "verify_peer") {
        return report.danger(
            place("verify"),
            format!("{name} does not verify its clients"),
            "without verify = verify_peer no client is asked for a certificate",
            "verify = verify_peer, and fail_if_no_peer_cert = true",
        );
    }
    if !is("fail_if_no_peer_cert", "true") {
        let asked = if option("fail_if_no_peer_cert").is_some() {
            "fail_if_no_peer_cert"
        } else {
            "verify"
        };
        report.danger(
            place(asked),
            format!("{name} has verify_peer without fail_if_no_peer_cert"),
            "clients that show no certificate are let in",
            "fail_if_no_peer_cert = true",
        );
    }
    if option("cacertfile").is_none() {
        report.danger(
            at,
            format!("{name} has no cacertfile"),
            "no CA of the fleet is trusted",
            "cacertfile, with the root and every issuing CA",
        );
    }
    if !is("reuse_sessions", "false") {
        report.danger(
            place("reuse_sessions"),
            format!("{name} resumes sessions"),
            "a device that was revoked resumes its TLS session, and its certificate is not looked at again",
            "reuse_sessions = false",
        );
    }
    if is("enable_crl_check", "true") {
        report.note(
            place("enable_crl_check"),
            format!("{name} has enable_crl_check"),
            "EMQX fetches the list every 15 minutes by default, and ends no session because of it",
            "to shut a device out at once, ban its client id: POST /api/v5/banned",
        );
    }
}

fn identity(report: &mut Report<'_>, all: &All, at: At) {
    let set = |key: &str| {
        all.0.iter().find(|entry| {
            let root = entry.path == format!("mqtt.{key}");
            root || (entry.path.starts_with("zones.") && entry.path.ends_with(&format!(".mqtt.{key}")))
        })
    };
    for (key, why) in [
        (
            "peer_cert_as_username",
            "the user name is what the client says, so access lists hold for nobody",
        ),
        (
            "peer_cert_as_clientid",
            "any device takes another's client id, and a ban by client id shuts nobody out",
        ),
    ] {
        if set(key).is_none_or(|entry| entry.value == "disabled") {
            let at = set(key).map_or(at, |entry| entry.at);
            report.danger(
                at,
                format!("mqtt.{key} is not set"),
                why,
                format!("mqtt {{ {key} = cn }}"),
            );
        }
    }
}

fn authorization(report: &mut Report<'_>, all: &All, first: At) {
    let no_match = all.get("authorization.no_match");
    if no_match.is_none_or(|entry| entry.value != "deny") {
        let anything = all
            .0
            .iter()
            .find(|entry| entry.path.starts_with("authorization."));
        let at = no_match.or(anything).map_or(first, |entry| entry.at);
        report.danger(
            at,
            "authorization.no_match is not deny",
            "what no rule forbids is allowed: every device reads and writes every topic",
            "authorization { no_match = deny }",
        );
    }
}
