//! Access lists: Mosquitto's `acl_file`, and EMQX's `acl.conf`.

use super::{At, Looked, Report};

/// Mosquitto's, a source of its own.
pub(super) fn lint(report: &mut Report<'_>, source: usize, text: &str) {
    let mut named = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        named |= line.starts_with("user ");
        if let Some((why, fix)) = judge(line, named) {
            report.danger((source, number + 1), line, why, fix);
        }
    }
}

/// Mosquitto's, which a configuration names: told at the line that names it.
pub(super) fn look(report: &mut Report<'_>, at: At, path: &str) {
    let seen = match (report.look)(path) {
        Looked::Elsewhere => return,
        Looked::Missing => {
            return report.danger(
                at,
                format!("{path} is not there"),
                "Mosquitto does not start",
                "write it: muster broker config mosquitto NAME prints one",
            );
        }
        Looked::There(seen) => seen,
    };
    let text = String::from_utf8_lossy(&seen.bytes).into_owned();
    let mut named = false;
    for line in text.lines().map(str::trim) {
        named |= line.starts_with("user ");
        if let Some((why, fix)) = judge(line, named) {
            report.danger(at, format!("{path}: {line}"), why, fix);
        }
    }
}

/// What is wrong with a line. `named`: it comes after a `user` line.
fn judge(line: &str, named: bool) -> Option<(&'static str, &'static str)> {
    let mut words = line.split_whitespace();
    let kind = words.next()?;
    let mut filter = words.next()?;
    if ["read", "write", "readwrite"].contains(&filter) {
        filter = words.next()?;
    }
    if filter == "deny" {
        return None;
    }
    match kind {
        "topic" if !named && filter == "#" => Some((
            "whoever has no user name reads and writes everything",
            "take the line out, or put it below the user that it is for",
        )),
        "pattern" if !filter.split('/').any(|level| level == "%u" || level == "%c") && !has_part(filter) => {
            Some((
                "every device has this topic, whatever its name",
                "pattern readwrite fleet/%u/#",
            ))
        }
        "pattern" if has_part(filter) => Some((
            "a name that is a part of another, or begins with the same letters, reads and writes the other's topics",
            "%u alone between slashes: pattern readwrite fleet/%u/#",
        )),
        _ => None,
    }
}

/// Whether a name is only a part of a level.
fn has_part(filter: &str) -> bool {
    let part = |level: &str| (level.contains("%u") || level.contains("%c")) && level.len() > 2;
    filter.split('/').any(part)
}

/// EMQX's: Erlang terms, each ended by a dot.
pub(super) fn lint_emqx(report: &mut Report<'_>, source: usize, text: &str) {
    for (number, line) in text.lines().enumerate() {
        let line = line.split('%').next().unwrap_or_default();
        let bare: String = line.chars().filter(|letter| !letter.is_whitespace()).collect();
        let everything = bare.starts_with("{allow,all}.")
            || (bare.starts_with("{allow,all,") && (bare.contains("\"#\"") || bare.ends_with(",all}.")));
        if everything {
            report.danger(
                (source, number + 1),
                line.trim(),
                "what no rule before forbids is allowed to everybody",
                "{deny, all}.",
            );
        }
    }
}
