//! What a command says, as the agent's commands do, and what errors of the authority and of a server become.

use muster_agent::cli;
pub(crate) use muster_agent::cli::{Exit, Voice};
use muster_ca::ports::SignerError;

/// Why a command did not do it, and what would help.
#[derive(Debug)]
pub(crate) struct Failure(cli::Failure);

impl Failure {
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self(cli::Failure::new(exit, what))
    }

    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self::new(Exit::Failed, what)
    }

    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    pub(crate) fn fix(self, fix: impl Into<String>) -> Self {
        Self(self.0.fix(fix))
    }

    /// Says it, and what the program ends with.
    pub(crate) fn tell(&self, voice: Voice) -> Exit {
        voice.fail(&self.0);
        self.0.exit
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl From<cli::Failure> for Failure {
    fn from(failure: cli::Failure) -> Self {
        Self(failure)
    }
}

impl From<muster_api::Error> for Failure {
    fn from(error: muster_api::Error) -> Self {
        Self(error.into())
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

/// A table with aligned columns.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let all: Vec<_> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let mut widths = [0; N];
    for row in &all {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; N]| {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}
