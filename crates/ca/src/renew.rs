//! Renewal and re-keying: the same path as enrolment, with a certificate as the proof.

use jiff::Timestamp;
use muster_pki::crl::Reason;
use muster_pki::csr::Csr;
use muster_pki::key::sha256;

use crate::Ca;
use crate::certificate::{Certificate, Serial, Status};
use crate::clone;
use crate::enrol::who::{Caller, Holder, Proof, Purpose, Who};
use crate::enrol::{ATTEMPTS, Issued, always_changing, audit_subject, may};
use crate::error::{Error, Refusal};
use crate::ports::{Change, Write};

impl Ca {
    /// Renews: the same name, alternative names, key and length of life.
    pub async fn renew(&self, proof: Proof) -> Result<Issued, Error> {
        self.renew_with(proof, None).await
    }

    /// Renews with another key, which signs the request (DER). The request's names do not matter.
    pub async fn rekey(&self, proof: Proof, csr: &[u8]) -> Result<Issued, Error> {
        self.renew_with(proof, Some(csr)).await
    }

    /// A device says that it has its certificate: the enrolment token that gave it gives it no more, and if it was got by
    /// re-keying, those with the old key are revoked as superseded. Whoever renews says so, too. A certificate that came in
    /// another way needs no confirmation, and takes none amiss.
    pub async fn confirm(&self, proof: Proof) -> Result<Certificate, Error> {
        let caller = self.identify(proof, Purpose::Renew).await?;
        let Who::Device(holder) = caller.who() else {
            return Err(Error::Unproven(
                "only the holder of a certificate can confirm it: present it".into(),
            ));
        };
        let now = self.clock.now();
        let certificate = holder.certificate.clone();
        let outlived = self.outlived(&certificate, now).await?;
        let open = match certificate.enrolment_token() {
            Some(token) => self.store.binding(token, &certificate.key).await?,
            None => None,
        };
        let unconfirmed = open.is_some_and(|binding| binding.confirmed.is_none());
        if !unconfirmed && outlived.is_empty() {
            return Ok(certificate);
        }
        let to = Status::Revoked {
            at: now,
            reason: Reason::Superseded,
        };
        let serials: Vec<_> = outlived.iter().map(|(serial, _)| serial.hex()).collect();
        let mut writes: Vec<_> = confirmation(&certificate, now).into_iter().collect();
        writes.extend(
            outlived
                .into_iter()
                .map(|(serial, from)| Write::Status { serial, from, to }),
        );
        let subject = audit_subject(&certificate.device, &certificate.serial);
        let detail = match serials[..] {
            [] => String::new(),
            _ => serde_json::json!({ "superseded": serials }).to_string(),
        };
        let act = caller.act(now, "certificate.confirmed", subject, detail);
        self.store.commit(Change { writes, act }).await?;
        if !serials.is_empty() {
            self.tell_of_revocation(&caller);
        }
        Ok(certificate)
    }

    /// What lives of the key that this certificate's key took the place of: nobody needs it once the new one is in use, and
    /// not before, since the answer to a re-keying may be lost.
    async fn outlived(
        &self,
        certificate: &Certificate,
        now: Timestamp,
    ) -> Result<Vec<(Serial, Status)>, Error> {
        let Some(old) = certificate.renewed_from() else {
            return Ok(Vec::new());
        };
        let old = self.store.certificate(&old).await?;
        let Some(key) = old.map(|old| old.key).filter(|key| *key != certificate.key) else {
            return Ok(Vec::new());
        };
        let usable = self.usable(&certificate.device, now).await?;
        let of_old = usable
            .into_iter()
            .filter(|one| one.key == key && one.status == Status::Active);
        Ok(of_old.map(|one| (one.serial, one.status)).collect())
    }

    /// Refuses to renew what ran out and was renewed before by somebody who used that; and tells of a device that is two.
    async fn watch_line(
        &self,
        caller: &Caller,
        holder: &Holder,
        line: &[Certificate],
        now: Timestamp,
    ) -> Result<(), Error> {
        let certificate = &holder.certificate;
        let expired = now > certificate.not_after;
        let after = clone::used_successor(certificate, line).filter(|_| expired);
        let Some(other) = after.or_else(|| clone::other_side(certificate, line)) else {
            return Ok(());
        };
        self.tell_of_clone(caller, holder, other).await?;
        let suspends = self
            .settings
            .profiles
            .known(&certificate.profile)?
            .suspends_clones();
        if after.is_some() || (suspends && !caller.dry_run()) {
            let name = &holder.device.name;
            return Err(Refusal::new(format!(
                "another device has renewed the same certificate of {name}, which is in use there"
            ))
            .fix(format!(
                "an operator finds out which is the true one and lets that in again with: muster device recover {name}"
            ))
            .into());
        }
        Ok(())
    }

    async fn renew_with(&self, proof: Proof, csr: Option<&[u8]>) -> Result<Issued, Error> {
        for _ in 0..ATTEMPTS {
            let caller = self.identify(proof.clone(), Purpose::Renew).await?;
            let Who::Device(holder) = caller.who() else {
                return Err(Error::Unproven(
                    "only a certificate can be renewed: present it".into(),
                ));
            };
            match self.renew_once(&caller, holder, csr).await {
                // The device or its issuer changed between looking and recording, so policy has to look again.
                Err(Error::Conflict(_)) => {}
                done => return done,
            }
        }
        Err(always_changing())
    }

    async fn renew_once(
        &self,
        caller: &Caller,
        holder: &Holder,
        csr: Option<&[u8]>,
    ) -> Result<Issued, Error> {
        let now = self.clock.now();
        let key = match csr {
            Some(csr) => {
                accept_request(holder, csr)?;
                Csr::from_der(csr)?.public_key().clone()
            }
            None => muster_pki::cert::Certificate::from_der(&holder.certificate.der)?
                .key()
                .clone(),
        };
        let line = self.line_of(&holder.certificate).await?;
        // What this key got from this certificate before: a lost answer costs nothing.
        let same = |one: &&Certificate| {
            one.key == key.fingerprint()
                && one.is_living(now)
                && one.renewed_from().as_ref() == Some(&holder.certificate.serial)
        };
        if csr.is_some()
            && let Some(before) = line.iter().find(same)
        {
            return self.hand_out(before.clone(), false);
        }
        self.watch_line(caller, holder, &line, now).await?;
        clone::accept_rekeying(&holder.certificate, &key.fingerprint(), &line, now)?;
        let profile = self.settings.profiles.known(&holder.certificate.profile)?;
        let mut superseded = self.outlived(&holder.certificate, now).await?;
        superseded.extend(clone::unconfirmed(&holder.certificate, &key.fingerprint(), &line));
        let grant = may::renewal(caller, &profile, &key, superseded, now)?;
        // Its names were free when it got them; one may have become a server's since.
        self.refuse_foreign_server_names(&grant).await?;
        let name = grant.device();
        let living = self.store.living(name, now, may::MOST_LIVING).await?;
        may::accept_another(name, living.saturating_sub(grant.superseded().count()))?;
        // Who renews a certificate has it.
        let beside = confirmation(&holder.certificate, now).into_iter().collect();
        self.record(caller, grant, "certificate.renewed", beside, now)
            .await
    }
}

/// Who holds a token that asks for another key, and did not make it, cannot put a key of its own in that one's place.
fn accept_request(holder: &Holder, csr: &[u8]) -> Result<(), Error> {
    let pinned =
        |hash: &Vec<u8>| aws_lc_rs::constant_time::verify_slices_are_equal(hash, &sha256(csr)).is_ok();
    if holder.spend.is_none() || holder.request.as_ref().is_some_and(pinned) {
        return Ok(());
    }
    Err(Error::Unproven(
        "the token is for another request, or for none: it names the one that it is for (cnf)".into(),
    ))
}

/// What marks the use of the enrolment token that gave this certificate, if one did, as confirmed.
fn confirmation(certificate: &Certificate, at: Timestamp) -> Option<Write> {
    certificate.enrolment_token().map(|token| Write::Confirm {
        token: token.to_owned(),
        key: certificate.key,
        at,
    })
}
