//! Renewal and re-keying: the same path as enrolment, with a certificate as the proof.

use jiff::Timestamp;
use muster_pki::csr::Csr;
use muster_pki::key::PublicKey;

use crate::Ca;
use crate::certificate::Certificate;
use crate::enrol::draft::Draft;
use crate::enrol::may;
use crate::enrol::who::{Caller, Proof, Purpose, Who};
use crate::enrol::{Issued, audit_subject};
use crate::error::Error;
use crate::ports::{Change, StoreError, Write};

impl Ca {
    /// Renews: the same name, alternative names, key and length of life.
    pub async fn renew(&self, proof: Proof) -> Result<Issued, Error> {
        let caller = self.identify(proof, Purpose::Renew).await?;
        let key = match caller.who() {
            Who::Device(holder) => muster_pki::cert::Certificate::from_der(&holder.certificate.der)?
                .key()
                .clone(),
            Who::Token(_) | Who::Enrolment(_) | Who::Operator { .. } => {
                return Err(Error::Unproven(
                    "only a certificate can be renewed: present it".into(),
                ));
            }
        };
        self.renew_for(&caller, &key).await
    }

    /// Renews with another key, which signs the request (DER). The request's names do not matter.
    pub async fn rekey(&self, proof: Proof, csr: &[u8]) -> Result<Issued, Error> {
        let caller = self.identify(proof, Purpose::Renew).await?;
        let csr = Csr::from_der(csr)?;
        self.renew_for(&caller, csr.public_key()).await
    }

    /// A device says that it has its certificate: the enrolment token that gave it gives it no more. Whoever renews says so,
    /// too. A certificate that came in another way needs no confirmation, and takes none amiss.
    pub async fn confirm(&self, proof: Proof) -> Result<Certificate, Error> {
        let caller = self.identify(proof, Purpose::Renew).await?;
        let Who::Device(holder) = caller.who() else {
            return Err(Error::Unproven(
                "only the holder of a certificate can confirm it: present it".into(),
            ));
        };
        let now = self.clock.now();
        let certificate = holder.certificate.clone();
        let Some(token) = certificate.enrolment_token() else {
            return Ok(certificate);
        };
        let open = self.store.binding(token, &certificate.key).await?;
        if open.is_some_and(|binding| binding.confirmed.is_none()) {
            let writes = confirmation(&certificate, now).into_iter().collect();
            let subject = audit_subject(&certificate.device, &certificate.serial);
            let act = caller.act(now, "certificate.confirmed", subject, String::new());
            self.store.commit(Change { writes, act }).await?;
        }
        Ok(certificate)
    }

    async fn renew_for(&self, caller: &Caller, key: &PublicKey) -> Result<Issued, Error> {
        let Who::Device(holder) = caller.who() else {
            return Err(Error::Unproven(
                "only a certificate can be renewed: present it".into(),
            ));
        };
        let now = self.clock.now();
        let profile = self.settings.profiles.get(&holder.certificate.profile)?;
        let grant = may::renewal(caller, profile, key, now)?;
        let (issuer, root) = {
            let state = self.state.load();
            let authority = state.authority(grant.authority())?;
            (authority.active()?.clone(), authority.root.der().to_vec())
        };
        let draft = Draft::new(grant, &issuer, self.serial(now)?, now)?;
        let signature = self.sign_for(caller, &draft).await?;
        let act = caller.act(now, "certificate.renewed", draft.subject(), draft.detail());
        let (issued, mut writes) = draft.signed(&signature, &issuer, &root)?;
        // Who renews a certificate has it.
        writes.extend(confirmation(&holder.certificate, now));
        match self.store.commit(Change { writes, act }).await {
            Ok(()) if caller.dry_run() => Ok(issued.unsigned()),
            Ok(()) => {
                self.tell_if_clamped(&issued).await;
                Ok(issued)
            }
            Err(StoreError::Changed(_)) => Err(Error::Conflict(
                "the device was changed at the same moment; ask again".into(),
            )),
            Err(other) => Err(other.into()),
        }
    }
}

/// What marks the use of the enrolment token that gave this certificate, if one did, as confirmed.
fn confirmation(certificate: &Certificate, at: Timestamp) -> Option<Write> {
    certificate.enrolment_token().map(|token| Write::Confirm {
        token: token.to_owned(),
        key: certificate.key,
        at,
    })
}
