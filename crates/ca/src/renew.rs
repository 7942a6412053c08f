//! Renewal and re-keying: the same path as enrolment, with a certificate as the proof.

use muster_pki::csr::Csr;
use muster_pki::key::PublicKey;

use crate::Ca;
use crate::enrol::Issued;
use crate::enrol::draft::Draft;
use crate::enrol::may;
use crate::enrol::who::{Caller, Proof, Purpose, Who};
use crate::error::Error;
use crate::ports::{Change, StoreError};

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
        let signature = self.signer.sign(draft.to_be_signed()).await?;
        let act = caller.act(now, "certificate.renewed", draft.subject(), draft.detail());
        let (issued, writes) = draft.signed(&signature, &issuer, &root)?;
        match self.store.commit(Change { writes, act }).await {
            Ok(()) => Ok(issued),
            Err(StoreError::Changed(_)) => Err(Error::Conflict(
                "the device was changed at the same moment; ask again".into(),
            )),
            Err(other) => Err(other.into()),
        }
    }
}
