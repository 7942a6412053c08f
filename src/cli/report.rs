//! What a command says: data on stdout, talk on stderr, an exit code.

use std::io::Write;
use std::process::ExitCode;

use muster_ca::ports::SignerError;
use serde::Serialize;

/// Exit codes, as the manual lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok = 0,
    Failed = 1,
    Usage = 2,
    Missing = 3,
    NotAllowed = 4,
    Attention = 5,
    Partly = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do it, and what would help.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    what: String,
    fix: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            fix: None,
        }
    }

    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self::new(Exit::Failed, what)
    }

    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.fix {
            Some(fix) => write!(f, "{} ({fix})", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl From<muster_api::Error> for Failure {
    fn from(error: muster_api::Error) -> Self {
        let exit = match &error {
            muster_api::Error::Refused(problem) => match problem.status {
                404 => Exit::Missing,
                401 | 403 => Exit::NotAllowed,
                400 | 409 | 413 => Exit::Usage,
                _ => Exit::Failed,
            },
            muster_api::Error::Usage(_) => Exit::Usage,
            muster_api::Error::Unreachable(..) | muster_api::Error::Answer(..) => Exit::Failed,
        };
        let text = error.to_string();
        // The server's sentence is "what; fix".
        match text.rsplit_once("; ") {
            Some((what, fix)) => Self::new(exit, what).fix(fix),
            None => Self::new(exit, text),
        }
    }
}

impl From<muster_ca::Error> for Failure {
    fn from(error: muster_ca::Error) -> Self {
        let exit = match &error {
            muster_ca::Error::Bad(_) | muster_ca::Error::Conflict(_) => Exit::Usage,
            muster_ca::Error::Unproven(_) | muster_ca::Error::Refused(_) => Exit::NotAllowed,
            muster_ca::Error::Missing(_) => Exit::Missing,
            muster_ca::Error::Store(_) | muster_ca::Error::Signer(_) | muster_ca::Error::Internal(_) => {
                Exit::Failed
            }
        };
        let failure = Self::new(exit, error.to_string());
        if matches!(error, muster_ca::Error::Signer(SignerError::Locked(_))) {
            return failure.fix(
                "give the secret that belongs to it: --recovery-secret FILE for a root's key, passphrase_file in \
                 muster.toml or MUSTER_PASSPHRASE_FILE for the others",
            );
        }
        failure
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<muster_pki::Error> for Failure {
    fn from(error: muster_pki::Error) -> Self {
        Self::usage(error.to_string())
    }
}

/// How a command speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Voice {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

impl Voice {
    /// Data: the text, or the same as JSON.
    pub(crate) fn data(self, text: &str, json: &impl Serialize) -> Result<(), Failure> {
        let out = if self.json {
            serde_json::to_string_pretty(json).map_err(|why| Failure::failed(why.to_string()))?
        } else {
            text.trim_end().to_owned()
        };
        if out.is_empty() {
            return Ok(());
        }
        match writeln!(std::io::stdout(), "{out}") {
            // `muster … | head` is no failure.
            Err(why) if why.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            other => Ok(other?),
        }
    }

    /// The word for what was done, or that a dry run has done nothing.
    pub(crate) fn done(self, word: &'static str, dry_run: bool) -> &'static str {
        if dry_run {
            "This would be done. Nothing was changed."
        } else {
            word
        }
    }

    /// Talk. What cannot be said is not worth failing for.
    pub(crate) fn say(self, text: &str) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// Why it did not work.
    pub(crate) fn fail(self, failure: &Failure) {
        if self.json {
            let problem = serde_json::json!({ "error": { "code": failure.exit as u8, "message": failure.what, "fix": failure.fix } });
            let _ = writeln!(std::io::stderr(), "{problem}");
            return;
        }
        let _ = writeln!(std::io::stderr(), "error: {}", failure.what);
        if let Some(fix) = &failure.fix {
            let _ = writeln!(std::io::stderr(), "  fix: {fix}");
        }
    }
}

/// A table with aligned columns; the first row is the head.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
