//! How a verification went.

use serde::Serialize;

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// It holds, but not with every program.
    Warning,
    /// It does not hold.
    Failed,
    /// There was nothing to check it with.
    Skipped,
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What was checked, stable for scripts: `read`, `order`, `issuer`, `root`, `dates`, `ca`, `extensions`, `purpose`,
    /// `host`, `crl`.
    pub check: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// One sentence.
    pub text: String,
    /// What mends it.
    pub fix: Option<String>,
}

impl Step {
    pub(super) fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self {
            check,
            outcome: Outcome::Ok,
            text: text.into(),
            fix: None,
        }
    }

    pub(super) fn bad(
        check: &'static str,
        outcome: Outcome,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            check,
            outcome,
            text: text.into(),
            fix: Some(fix.into()),
        }
    }

    pub(super) fn failed(check: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::bad(check, Outcome::Failed, text, fix)
    }

    pub(super) fn skipped(check: &'static str, text: impl Into<String>) -> Self {
        Self {
            check,
            outcome: Outcome::Skipped,
            text: text.into(),
            fix: None,
        }
    }
}

/// The answer of [`verify`](super::verify()).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether everything that was asked holds.
    pub ok: bool,
    /// What the certificate's holder is called.
    pub name: Option<String>,
    /// The answer in one sentence.
    pub sentence: String,
    /// What mends the first thing that failed.
    pub fix: Option<String>,
    /// Everything that was checked, in order.
    pub steps: Vec<Step>,
}
