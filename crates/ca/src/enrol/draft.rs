//! Grant and serial number to draft, draft and signature to certificate.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use muster_pki::cert::{Template, assemble};

use crate::certificate::{Certificate, Serial, Status};
use crate::enrol::may::Grant;
use crate::enrol::{Issued, audit_subject};
use crate::error::{Error, Refusal};
use crate::ports::{ToBeSigned, Write};
use crate::state::LoadedIssuer;

/// The longest backdating; a certificate of a week gets it whole.
pub(crate) const BACKDATE: SignedDuration = SignedDuration::from_hours(1);
const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What the authority has decided to sign. Made of a [`Grant`] and nothing else.
pub(crate) struct Draft {
    grant: Grant,
    certificate: Certificate,
    to_be_signed: ToBeSigned,
    clamped: bool,
    now: Timestamp,
}

impl Draft {
    pub(crate) fn new(
        grant: Grant,
        issuer: &LoadedIssuer,
        serial: Serial,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let (start, wished_end) = grant.times();
        // No leaf outlives its issuer.
        let last = issuer.certificate.not_after();
        if last <= now {
            return Err(Refusal::new(format!("the issuing CA ended on {last}"))
                .fix("make a new one with: muster ca rollover start")
                .into());
        }
        issuer.accept_clock(now)?;
        let not_after = whole(wished_end.min(last));
        let not_before = whole(start.unwrap_or_else(|| now - backdate_of(not_after.duration_since(now))))
            .max(issuer.certificate.not_before());
        let pointers = grant.profile().chosen(&issuer.pointers);
        let template = Template {
            serial: serial.as_bytes(),
            common_name: grant.device().as_str(),
            sans: grant.sans(),
            not_before,
            not_after,
            key: grant.key(),
            role: grant.role(),
            pointers: &pointers,
        };
        let bytes = template.to_be_signed(Some(&issuer.issuer))?;
        let key = issuer.generation.key.as_deref();
        let key = key.ok_or_else(|| Error::Internal("the issuing CA has no key here".into()))?;
        let certificate = Certificate {
            serial,
            authority: issuer.authority.clone(),
            generation: issuer.generation.number,
            device: grant.device().clone(),
            profile: grant.profile().name().to_owned(),
            not_before,
            not_after,
            status: Status::Active,
            key: grant.key().fingerprint(),
            how: grant.how().to_owned(),
            der: Vec::new(),
        };
        Ok(Self {
            clamped: wished_end > last,
            to_be_signed: ToBeSigned::new(key, bytes),
            grant,
            certificate,
            now,
        })
    }

    pub(crate) fn to_be_signed(&self) -> &ToBeSigned {
        &self.to_be_signed
    }

    /// Whether recording it revokes others.
    pub(crate) fn revokes(&self) -> bool {
        self.grant.superseded().next().is_some()
    }

    /// The audit entry's subject.
    pub(crate) fn subject(&self) -> String {
        audit_subject(&self.certificate.device, &self.certificate.serial)
    }

    /// The audit entry's detail.
    pub(crate) fn detail(&self) -> String {
        let mut more = String::from(if self.clamped { r#","clamped":true"# } else { "" });
        let superseded: Vec<_> = self.grant.superseded().map(Serial::hex).collect();
        if !superseded.is_empty() {
            more.push_str(&format!(r#","superseded":["{}"]"#, superseded.join(r#"",""#)));
        }
        format!(
            r#"{{"profile":{},"how":{},"not_after":"{}"{more}}}"#,
            json_text(&self.certificate.profile),
            json_text(&self.certificate.how),
            self.certificate.not_after
        )
    }

    /// The certificate, and what is to be recorded with it.
    pub(crate) fn signed(
        mut self,
        signature: &[u8],
        issuer: &LoadedIssuer,
        roots: Vec<Arc<[u8]>>,
    ) -> Result<(Issued, Vec<Write>), Error> {
        self.certificate.der = assemble(self.to_be_signed.bytes(), issuer.issuer.algorithm, signature)?;
        let mut writes = self.grant.writes(&self.certificate, self.now);
        writes.push(Write::Certificate(self.certificate.clone()));
        Ok((
            Issued::new(self.certificate, issuer.certificate.der(), roots, self.clamped),
            writes,
        ))
    }
}

/// How far a certificate that has been issued was backdated.
pub(crate) fn backdate(not_before: Timestamp, not_after: Timestamp) -> SignedDuration {
    let whole = not_after.duration_since(not_before);
    // life + life/168 = whole, unless the hour was reached.
    let life = SignedDuration::from_secs(whole.as_secs() * 168 / 169);
    backdate_of(life).min(whole)
}

/// An hour; less for lifetimes under a week, in proportion.
fn backdate_of(life: SignedDuration) -> SignedDuration {
    if life >= WEEK {
        BACKDATE
    } else {
        SignedDuration::from_secs(life.as_secs() / 168)
    }
}

fn whole(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
