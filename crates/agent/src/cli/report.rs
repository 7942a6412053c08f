//! What a command says: data on stdout, talk on stderr, an exit code.

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;

use crate::Kind;

/// Exit codes, as the manual lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Not done.
    Failed = 1,
    /// The line, or what it gave, cannot be used.
    Usage = 2,
    /// What it is about is not there.
    Missing = 3,
    /// The CA refused.
    NotAllowed = 4,
    /// Somebody is needed.
    Attention = 5,
    /// A part of it was done.
    Partly = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do it, and what would help.
#[derive(Debug)]
pub struct Failure {
    /// What the program ends with.
    pub exit: Exit,
    what: String,
    fix: Option<String>,
}

impl Failure {
    /// With this exit code.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            fix: None,
        }
    }

    /// Not done.
    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(Exit::Failed, what)
    }

    /// The line, or what it gave, cannot be used.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// What would help.
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
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

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<muster_api::Error> for Failure {
    fn from(error: muster_api::Error) -> Self {
        crate::Error::from(error).into()
    }
}

impl From<crate::Error> for Failure {
    fn from(error: crate::Error) -> Self {
        let exit = match error.kind() {
            Kind::Missing | Kind::Refused(404) => Exit::Missing,
            Kind::Usage | Kind::Refused(400 | 409 | 413) => Exit::Usage,
            Kind::Refused(401 | 403) => Exit::NotAllowed,
            Kind::Refused(_) | Kind::Busy | Kind::Unreachable | Kind::Failed => Exit::Failed,
        };
        // The CA's sentence is "what; fix".
        match error.0.split_once("; ").filter(|_| error.status().is_some()) {
            Some((what, fix)) => Self::new(exit, what).fix(fix),
            None => Self::new(exit, error.0),
        }
    }
}

impl From<muster_pki::Error> for Failure {
    fn from(error: muster_pki::Error) -> Self {
        Self::usage(error.to_string())
    }
}

/// How a command speaks.
#[derive(Debug, Clone, Copy)]
pub struct Voice {
    /// In JSON.
    pub json: bool,
    /// Nothing but the answer.
    pub quiet: bool,
}

impl Voice {
    /// Data: the text, or the same as JSON.
    pub fn data(self, text: &str, json: &impl Serialize) -> Result<(), Failure> {
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
    pub fn done(self, word: &'static str, dry_run: bool) -> &'static str {
        if dry_run {
            "This would be done. Nothing was changed."
        } else {
            word
        }
    }

    /// Talk. What cannot be said is not worth failing for.
    pub fn say(self, text: &str) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// Why it did not work.
    pub fn fail(self, failure: &Failure) {
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
