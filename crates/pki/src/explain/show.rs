//! Explanations and verdicts as text for a terminal.

use std::fmt::{Display, Formatter, Result};

use super::facts::{
    AlternativeName, CertificateFacts, CrlFacts, Explained, Finding, KeyFacts, PrivateKeyFacts, RequestFacts,
    Serial, Severity, Standing, UnreadableFacts,
};
use super::verdict::{Outcome, Step, Verdict};
use super::words;

impl Display for Explained {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Certificate(facts) => facts.fmt(f),
            Self::Request(facts) => facts.fmt(f),
            Self::Crl(facts) => facts.fmt(f),
            Self::PrivateKey(facts) => facts.fmt(f),
            Self::Unreadable(facts) => facts.fmt(f),
        }
    }
}

/// One line of a description: the label in a column of its own.
fn row(f: &mut Formatter<'_>, label: &str, text: impl Display) -> Result {
    writeln!(f, "  {label:<12} {text}")
}

fn rows(f: &mut Formatter<'_>, label: &str, texts: &[String]) -> Result {
    texts
        .iter()
        .enumerate()
        .try_for_each(|(index, text)| row(f, if index == 0 { label } else { "" }, text))
}

fn findings(f: &mut Formatter<'_>, findings: &[Finding]) -> Result {
    findings.iter().try_for_each(|finding| {
        writeln!(f, "  {}: {}", finding.severity, finding.text)?;
        finding
            .fix
            .iter()
            .try_for_each(|fix| writeln!(f, "    fix: {fix}"))
    })
}

impl Display for CertificateFacts {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let who = self.cn.as_ref().unwrap_or(&self.subject);
        writeln!(
            f,
            "{} {who}",
            if self.is_ca {
                "Certificate of the CA"
            } else {
                "Certificate of"
            }
        )?;
        row(f, "subject", &self.subject)?;
        row(
            f,
            "issued by",
            if self.self_issued {
                "itself (a root)"
            } else {
                self.issuer_cn.as_ref().unwrap_or(&self.issuer)
            },
        )?;
        row(f, "valid", Validity(self))?;
        rows(f, "may", &self.usages)?;
        if self.is_ca {
            row(f, "below it", below(self.path_len))?;
        }
        rows(f, "names", &names(&self.alternative_names))?;
        row(f, "key", &self.key)?;
        row(f, "signed with", &self.signature_algorithm)?;
        row(f, "serial", &self.serial)?;
        row(f, "fingerprint", &self.fingerprint_sha256)?;
        row(f, "public key", &self.public_key_sha256)?;
        rows(f, "CRL", &self.crl_urls)?;
        rows(f, "OCSP", &self.ocsp_urls)?;
        rows(f, "issuer at", &self.issuer_urls)?;
        findings(f, &self.findings)
    }
}

struct Validity<'a>(&'a CertificateFacts);

impl Display for Validity<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self(facts) = self;
        let word = match facts.standing {
            Standing::Valid | Standing::NotYetValid => "ends",
            Standing::Expired => "ended",
        };
        let (from, to) = (words::moment(facts.not_before), words::moment(facts.not_after));
        write!(f, "from {from} to {to} ({word} {})", facts.remaining)
    }
}

fn below(path_len: Option<u8>) -> String {
    match path_len {
        Some(0) => "devices and servers, no further CA".to_owned(),
        Some(1) => "one further level of CAs".to_owned(),
        Some(count) => format!("{count} further levels of CAs"),
        None => "any number of levels of CAs".to_owned(),
    }
}

fn names(names: &[AlternativeName]) -> Vec<String> {
    names
        .iter()
        .map(|name| format!("{} {}", name.kind, name.value))
        .collect()
}

impl Display for RequestFacts {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(
            f,
            "Certificate request of {}",
            self.cn.as_ref().unwrap_or(&self.subject)
        )?;
        row(f, "subject", &self.subject)?;
        row(
            f,
            "proof",
            if self.proves_key {
                "signed with its own key"
            } else {
                "none: see below"
            },
        )?;
        rows(f, "wants to", &self.usages)?;
        rows(f, "names", &names(&self.alternative_names))?;
        row(f, "key", &self.key)?;
        row(f, "signed with", &self.signature_algorithm)?;
        row(f, "public key", &self.public_key_sha256)?;
        findings(f, &self.findings)
    }
}

impl Display for CrlFacts {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(
            f,
            "Revocation list of {}",
            self.issuer_cn.as_ref().unwrap_or(&self.issuer)
        )?;
        row(f, "issuer", &self.issuer)?;
        self.number
            .iter()
            .try_for_each(|number| row(f, "number", number))?;
        row(f, "made", words::moment(self.this_update))?;
        if let (Some(end), Some(remaining)) = (self.next_update, &self.remaining) {
            row(
                f,
                "good until",
                format_args!("{} ({remaining})", words::moment(end)),
            )?;
        }
        row(
            f,
            "revokes",
            format_args!("{} ({} of them suspended)", self.revoked, self.suspended),
        )?;
        row(f, "signed with", &self.signature_algorithm)?;
        findings(f, &self.findings)
    }
}

impl Display for PrivateKeyFacts {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(f, "Private key")?;
        row(
            f,
            "form",
            format_args!(
                "{}, {}",
                self.form,
                if self.encrypted {
                    "encrypted"
                } else {
                    "not encrypted"
                }
            ),
        )?;
        self.key.iter().try_for_each(|key| row(f, "key", key))?;
        self.public_key_sha256
            .iter()
            .try_for_each(|fingerprint| row(f, "public key", fingerprint))?;
        findings(f, &self.findings)
    }
}

impl Display for UnreadableFacts {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(
            f,
            "A block called {:?} that cannot be explained: {}",
            self.label, self.why
        )
    }
}

impl Display for KeyFacts {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(&self.algorithm)?;
        // The other kinds say their size in their name.
        match self.bits {
            Some(bits) if self.algorithm == "RSA" => write!(f, ", {bits} bits"),
            Some(_) | None => Ok(()),
        }
    }
}

impl Display for Serial {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{} (decimal {})", self.hex, self.decimal)
    }
}

impl Display for Severity {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

impl Display for Verdict {
    /// The steps, a blank line, the verdict and what to do.
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))?;
        writeln!(f)?;
        writeln!(f, "{}", self.sentence)?;
        self.fix.iter().try_for_each(|fix| writeln!(f, "fix: {fix}"))
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{:<8} {}", self.outcome.to_string(), self.text)
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        })
    }
}
