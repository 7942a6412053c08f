//! What is dangerous in a broker's configuration: each line with what, why and what to write instead.
//!
//! A small reader for each format, tolerant as the programs themselves are: what it does not know, it passes over. Files that a
//! configuration names are looked at through a function, if they are on this machine.

mod acl;
mod bridge;
mod emqx;
mod erlang;
mod files;
mod haproxy;
mod hocon;
mod mosquitto;
mod rabbitmq;
mod rumqttd;

use jiff::Timestamp;
use serde::Serialize;

/// The largest file that is read.
pub const MAX_FILE: usize = 1 << 20;
/// The most findings that are told.
const MOST: usize = 200;

/// One file of a configuration.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// What it is called in findings.
    pub name: &'a str,
    /// What stands in it.
    pub text: &'a str,
    /// What it is.
    pub format: Format,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// `mosquitto.conf` or a part of it.
    Mosquitto,
    /// What Mosquitto's `acl_file` names.
    MosquittoAcl,
    /// `emqx.conf`, HOCON.
    Emqx,
    /// EMQX's `acl.conf`.
    EmqxAcl,
    /// `rabbitmq.conf`.
    RabbitMq,
    /// RabbitMQ's `advanced.config`, Erlang terms.
    RabbitMqAdvanced,
    /// `haproxy.cfg`.
    HaProxy,
    /// `rumqttd.toml`.
    Rumqttd,
}

impl Format {
    /// What a file is, by what stands in it.
    pub fn guess(text: &str) -> Self {
        let lines = || {
            text.lines()
                .map(str::trim)
                .filter(|line| !line.is_empty() && !line.starts_with(['#', '%']))
        };
        let first_word = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
        let any = |words: &[&str]| lines().any(|line| words.contains(&first_word(line).as_str()));
        let first = lines().next().unwrap_or_default();
        if lines().any(|line| line.starts_with("[v4.") || line.starts_with("[v5.")) {
            return Self::Rumqttd;
        }
        if first.starts_with('[') {
            return Self::RabbitMqAdvanced;
        }
        if first.starts_with("{allow") || first.starts_with("{deny") {
            return Self::EmqxAcl;
        }
        if any(&["frontend", "backend", "defaults", "listen"]) {
            return Self::HaProxy;
        }
        if any(&["pattern"]) || (any(&["user"]) && any(&["topic"]) && !any(&["connection", "listener"])) {
            return Self::MosquittoAcl;
        }
        let set = |line: &str| {
            line.split_once('=')
                .is_some_and(|(key, _)| !key.trim().contains(' '))
        };
        if lines().any(|line| line.ends_with('{')) {
            return Self::Emqx;
        }
        if lines().any(set) {
            let emqx = [
                "listeners.ssl.",
                "listeners.tcp.default.",
                "mqtt.peer",
                "authorization.",
            ];
            let is_emqx = lines().any(|line| emqx.iter().any(|start| line.starts_with(start)));
            let is_rabbit =
                lines().any(|line| line.starts_with("mqtt.listeners") || line.starts_with("ssl_options"));
            return if is_emqx && !is_rabbit {
                Self::Emqx
            } else {
                Self::RabbitMq
            };
        }
        Self::Mosquitto
    }
}

/// A line that somebody has to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// How bad it is.
    pub level: Level,
    /// What stands there, or is missing.
    pub what: String,
    /// What comes of it.
    pub why: String,
    /// What to do.
    pub fix: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// It lets in who should not be, or shuts out who should not be, or loses messages.
    Danger,
    /// Sound where one knows what it does not do.
    Note,
}

/// What a configuration names a file for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// Its directory is not on this machine, or may not be looked into.
    Elsewhere,
    /// Its directory is there, and it is not.
    Missing,
    /// It is there.
    There(Seen),
}

/// A file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What it holds; empty if it may not be read.
    pub bytes: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
    /// The user that it belongs to.
    pub owner: u32,
}

/// Looks at a file that a configuration names.
pub type Look<'a> = &'a dyn Fn(&str) -> Looked;

/// Where something stands: which source, and which line from 1.
type At = (usize, usize);

/// What was found so far.
struct Report<'a> {
    sources: &'a [Source<'a>],
    look: Look<'a>,
    now: Timestamp,
    findings: Vec<Finding>,
}

impl Report<'_> {
    fn danger(&mut self, at: At, what: impl Into<String>, why: &str, fix: impl Into<String>) {
        self.say(Level::Danger, at, what.into(), why, fix.into());
    }

    fn note(&mut self, at: At, what: impl Into<String>, why: &str, fix: impl Into<String>) {
        self.say(Level::Note, at, what.into(), why, fix.into());
    }

    fn say(&mut self, level: Level, at: At, what: String, why: &str, fix: String) {
        if self.findings.len() < MOST {
            self.findings.push(Finding {
                file: self.sources.get(at.0).map_or("", |source| source.name).to_owned(),
                line: at.1,
                level,
                what: what.chars().take(200).collect(),
                why: why.to_owned(),
                fix,
            });
        }
    }
}

/// Everything that is dangerous in files that belong together, in the order of files and lines.
pub fn lint(sources: &[Source<'_>], look: Look<'_>, now: Timestamp) -> Vec<Finding> {
    let mut report = Report {
        sources,
        look,
        now,
        findings: Vec::new(),
    };
    let of = |format| {
        let each = sources.iter().enumerate();
        let ours = each.filter(move |(_, source)| source.format == format);
        ours.map(|(number, source)| (number, source.text))
            .collect::<Vec<_>>()
    };
    mosquitto::lint(&mut report, &of(Format::Mosquitto));
    for (number, text) in of(Format::MosquittoAcl) {
        acl::lint(&mut report, number, text);
    }
    emqx::lint(&mut report, &of(Format::Emqx));
    for (number, text) in of(Format::EmqxAcl) {
        acl::lint_emqx(&mut report, number, text);
    }
    rabbitmq::lint(&mut report, &of(Format::RabbitMq), &of(Format::RabbitMqAdvanced));
    haproxy::lint(&mut report, &of(Format::HaProxy));
    for (number, text) in of(Format::Rumqttd) {
        rumqttd::lint(&mut report, number, text);
    }
    let mut findings = report.findings;
    let place = |file: &str| sources.iter().position(|source| source.name == file);
    findings.sort_by_key(|finding| (place(&finding.file), finding.line));
    findings
}
