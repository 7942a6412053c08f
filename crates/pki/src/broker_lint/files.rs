//! Files that a configuration names: keys, CAs and revocation lists.

use crate::cert::Certificate;
use crate::crl::Crl;
use crate::name::San;
use crate::pem;

use super::{At, Looked, MAX_FILE, Report, Seen};

/// Of which CAs a program needs a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Of those that issue to devices.
    Issuing,
    /// Of every CA of the chain, the root, too.
    All,
}

/// A list that holds for less than this is soon missed.
const SHORT: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// A key that Mosquitto reads as root when it starts, and as its own user at a reload.
pub(super) fn mosquitto_key(report: &mut Report<'_>, at: At, path: &str) {
    open_key(report, at, path);
    if let Looked::There(Seen { mode, owner: 0, .. }) = (report.look)(path)
        && mode & 0o044 == 0
    {
        report.danger(
            at,
            format!("{path} can be read by root alone"),
            "Mosquitto reads it at start, cannot at a reload, and refuses everybody from then on",
            format!("chgrp mosquitto {path} && chmod 0640 {path}"),
        );
    }
}

/// A key that is there and that not everybody may read.
pub(super) fn open_key(report: &mut Report<'_>, at: At, path: &str) {
    match (report.look)(path) {
        Looked::Missing => report.danger(
            at,
            format!("{path} is not there"),
            "nobody can connect",
            "bring the key that belongs to the certificate",
        ),
        Looked::There(seen) if seen.mode & 0o004 != 0 => report.danger(
            at,
            format!("{path} can be read by everybody on this machine"),
            "whoever has the key is the broker",
            format!("chmod 0640 {path}"),
        ),
        Looked::There(_) | Looked::Elsewhere => {}
    }
}

/// What a broker shows: its certificate, its issuing CA's behind it.
pub(super) fn server(report: &mut Report<'_>, at: At, path: &str) {
    let Some((leaf, alone)) = certificate(report, at, path) else {
        return;
    };
    if !leaf.usages().server {
        report.danger(
            at,
            format!("the certificate in {path} is not a server's"),
            "clients refuse the broker",
            "muster cert issue NAME --kind server",
        );
    }
    if !leaf.sans().iter().any(|name| matches!(name, San::Dns(_))) {
        report.danger(
            at,
            format!("the certificate in {path} has no DNS name beside its common name"),
            "clients compare the host name with the alternative names alone, and refuse the broker",
            "muster cert issue NAME --kind server --san NAME,ADDRESS",
        );
    }
    if alone {
        report.danger(
            at,
            format!("{path} has the certificate without its issuing CA's"),
            "clients that have the root alone refuse the broker",
            "the certificate, then the issuing CA's, in one file",
        );
    }
}

/// What a bridge shows.
pub(super) fn client(report: &mut Report<'_>, at: At, path: &str) {
    if let Some((leaf, _)) = certificate(report, at, path)
        && !leaf.usages().client
    {
        report.danger(
            at,
            format!("the certificate in {path} is not a client's"),
            "the other broker refuses the bridge (unsupported certificate)",
            "muster cert issue NAME --kind client, or broker for both",
        );
    }
}

/// The first certificate of a file, and whether there is no other behind it; what is wrong with any.
fn certificate(report: &mut Report<'_>, at: At, path: &str) -> Option<(Certificate, bool)> {
    let seen = match (report.look)(path) {
        Looked::Elsewhere => return None,
        Looked::Missing => {
            report.danger(
                at,
                format!("{path} is not there"),
                "nobody can connect",
                "bring the certificate, with its issuing CA's behind it",
            );
            return None;
        }
        // A directory, or what may not be read.
        Looked::There(seen) if seen.bytes.is_empty() || seen.bytes.len() > MAX_FILE => return None,
        Looked::There(seen) => seen,
    };
    let text = String::from_utf8_lossy(&seen.bytes);
    let mut all = Certificate::all_from_pem(&text).unwrap_or_default();
    if all.is_empty() {
        report.danger(
            at,
            format!("{path} holds no certificate that can be read"),
            "nobody can connect",
            "the certificate in PEM, with its issuing CA's behind it",
        );
        return None;
    }
    let leaf = all.swap_remove(0);
    let now = report.now;
    if leaf.not_after() <= now {
        report.danger(
            at,
            format!("the certificate in {path} ran out at {}", leaf.not_after()),
            "everybody refuses who shows it",
            "muster cert renew NAME; an agent beside the broker keeps it young by itself",
        );
    } else if leaf.not_before() > now {
        report.danger(
            at,
            format!("the certificate in {path} begins only at {}", leaf.not_before()),
            "until then everybody refuses who shows it",
            "set this machine's clock",
        );
    }
    let own_root = leaf.verify_issued_by(leaf.key()).is_ok();
    Some((leaf, all.is_empty() && !own_root))
}

/// Revocation lists: there, whole, in time, and one for every CA that needs one.
pub(super) fn crls(report: &mut Report<'_>, at: At, path: &str, trust: Option<&str>, needs: Needs) {
    let fix = format!("muster ca crl --out {path}");
    let seen = match (report.look)(path) {
        Looked::Elsewhere => return,
        Looked::Missing => {
            return report.danger(
                at,
                format!("{path} is not there"),
                "the broker does not start; one that runs lets revoked devices in at its next reload",
                fix,
            );
        }
        Looked::There(seen) => seen,
    };
    if seen.bytes.len() > MAX_FILE {
        return;
    }
    let blocks = pem::decode_all(&String::from_utf8_lossy(&seen.bytes)).unwrap_or_default();
    let lists: Vec<Crl> = blocks
        .iter()
        .filter_map(|block| Crl::from_der(&block.der).ok())
        .collect();
    if lists.is_empty() || lists.len() < blocks.len() {
        return report.danger(
            at,
            format!("{path} is no revocation list"),
            "at its next reload the broker lets revoked devices in, or ends",
            fix,
        );
    }
    let now = report.now;
    for list in &lists {
        let Some(end) = list.next_update() else { continue };
        if end <= now {
            report.danger(
                at,
                format!("a list in {path} ran out at {end}"),
                "every device of that CA is refused, with the alert of an expired certificate",
                &fix,
            );
        } else if end.duration_since(list.this_update()) < SHORT {
            report.danger(
                at,
                format!("a list in {path} holds for less than a day"),
                "one renewal that is missed refuses every device",
                "lists that hold for weeks and are made anew every day, as Muster makes them",
            );
        }
    }
    let Some(Looked::There(trusted)) = trust.map(report.look) else {
        return;
    };
    let all = Certificate::all_from_pem(&String::from_utf8_lossy(&trusted.bytes)).unwrap_or_default();
    for ca in &all {
        let root = ca.verify_issued_by(ca.key()).is_ok();
        let needed = needs == Needs::All || !root || all.len() == 1;
        if needed && !lists.iter().any(|list| list.verify_issued_by(ca.key()).is_ok()) {
            let name = ca.common_name().unwrap_or_default();
            report.danger(
                at,
                format!("{path} has no list of {name}"),
                "every device of that CA is refused (unknown ca)",
                &fix,
            );
        }
    }
}
