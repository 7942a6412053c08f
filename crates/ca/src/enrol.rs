//! The path: who asks, what may they have, sign, record, hand out.

pub(crate) mod draft;
pub(crate) mod may;
pub mod who;

use std::sync::Arc;

use jiff::Timestamp;
use muster_pki::crl::Reason;
use muster_pki::csr::Csr;
use muster_pki::key::{KeyKind, PrivateKey};
use muster_pki::name::San;

use crate::Ca;
use crate::audit::Act;
use crate::certificate::{Certificate, Serial, Status};
use crate::device::DeviceName;
use crate::enrol::draft::Draft;
use crate::enrol::who::{Caller, Proof, Purpose, Who};
use crate::error::{About, Error, Refusal};
use crate::ports::{Binding, Change, StoreError, Write};

/// How often a change is prepared anew because somebody else was faster.
pub(crate) const ATTEMPTS: usize = 4;

/// What somebody asks for, and their proof.
pub struct Ask {
    /// Who they say they are.
    pub proof: Proof,
    /// Their certificate request, DER.
    pub csr: Vec<u8>,
    /// What else they would like.
    pub wish: Wish,
}

/// What a caller would like to have. All of it is subject to the profile.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// The device's name, where the proof does not fix it; else the request's common name is meant.
    pub name: Option<String>,
    /// The profile; only operators choose.
    pub profile: Option<String>,
    /// Alternative names; only operators choose, tokens carry their own.
    pub sans: Vec<San>,
    /// First moment of validity; else now, backdated for clocks that are behind.
    pub not_before: Option<Timestamp>,
    /// Last moment of validity; else as long as the profile says.
    pub not_after: Option<Timestamp>,
    /// Whether a living certificate for the same key and names will do: makes an interrupted import repeatable.
    pub reuse: bool,
}

/// A certificate that has been recorded, with what its holder needs beside it.
#[derive(Debug, Clone)]
pub struct Issued {
    certificate: Certificate,
    issuing: Vec<u8>,
    roots: Vec<Arc<[u8]>>,
    clamped: bool,
    /// After a dry run, when there is no certificate to read them from.
    planned: Vec<San>,
}

impl Issued {
    pub(crate) fn new(
        certificate: Certificate,
        issuing: &[u8],
        roots: Vec<Arc<[u8]>>,
        clamped: bool,
    ) -> Self {
        Self {
            certificate,
            issuing: issuing.to_vec(),
            roots,
            clamped,
            planned: Vec::new(),
        }
    }

    /// What would have been issued, after a dry run: all but the certificate itself.
    pub(crate) fn unsigned(mut self) -> Self {
        self.planned = self.sans();
        self.certificate.der.clear();
        self
    }

    /// The alternative names; after a dry run those that it would have.
    pub fn sans(&self) -> Vec<San> {
        let read = muster_pki::cert::Certificate::from_der(&self.certificate.der);
        read.map_or_else(|_| self.planned.clone(), |certificate| certificate.sans())
    }

    /// The certificate as recorded.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The issuing CA's certificate, DER.
    pub fn issuing(&self) -> &[u8] {
        &self.issuing
    }

    /// The root's certificate, DER.
    pub fn root(&self) -> &[u8] {
        self.roots.first().map_or(&[], |root| root)
    }

    /// The root; then the other roots that follow one another with it, which its holder may meet at others, and the cross-certificates by
    /// which they vouch for each other, but for those that have ended. DER.
    pub fn roots(&self) -> impl Iterator<Item = &[u8]> {
        self.roots.iter().map(|one| &**one)
    }

    /// Whether it ends earlier than asked for, with its issuer: time to roll over.
    pub fn clamped(&self) -> bool {
        self.clamped
    }
}

impl Ca {
    /// Issues a certificate for a request.
    ///
    /// When this returns, the certificate, the spent or bound token, the device's state, and the audit entry
    /// are on the disk. An enrolment token that was bound to this very key gives the certificate it gave before.
    pub async fn enrol(&self, ask: Ask) -> Result<Issued, Error> {
        // 1. Who asks. First, because it is what a stranger fails at, and costs them no work of ours.
        let mut caller = self.identify(ask.proof.clone(), Purpose::Sign).await?;
        // 2. What for, and do they hold the key.
        let csr = Csr::from_der(&ask.csr)?;
        for _ in 0..ATTEMPTS {
            match self.enrol_once(&caller, &csr, &ask.wish).await {
                // 3 to 6 again: the device or the token changed between looking and recording, so policy has to look
                // again.
                Err(Error::Conflict(_)) => caller = self.identify(ask.proof.clone(), Purpose::Sign).await?,
                Err(Error::Refused(refusal)) => return Err(self.spent_or(&caller, refusal).await?),
                done => return done,
            }
        }
        Err(always_changing())
    }

    /// A key for a bundle that an operator asked the server to make. It is neither recorded nor kept.
    pub fn make_key(&self, kind: KeyKind) -> Result<PrivateKey, Error> {
        Ok(self.entropy.private_key(kind)?)
    }

    async fn enrol_once(&self, caller: &Caller, csr: &Csr, wish: &Wish) -> Result<Issued, Error> {
        let now = self.clock.now();
        if let Who::Enrolment(token) = caller.who() {
            match self
                .store
                .binding(&token.id, &csr.public_key().fingerprint())
                .await?
            {
                Some(binding) => return self.bound_before(&binding, now).await,
                None => {
                    self.watch_used_up(caller, (token, csr, wish), now).await?;
                    token.accept_another(now)?;
                }
            }
        }
        // 3. What may they have.
        let name = may::name(caller, csr, wish)?;
        let device = self.store.device(&name).await?;
        let usable = match &device {
            Some(_) => self.usable(&name, now).await?,
            None => Vec::new(),
        };
        let history = match &device {
            Some(_) => self.history(caller, csr, &name, &usable).await?,
            None => Vec::new(),
        };
        let facts = may::Facts {
            device: device.as_ref(),
            usable: &usable,
            history: &history,
            now,
        };
        let profiles = &self.settings.profiles;
        let grant = match may::decide(caller, csr, wish, name.clone(), &facts, profiles) {
            Ok(grant) => grant,
            Err(why) => {
                self.watch_bound(caller, csr, name, &facts).await?;
                return Err(why);
            }
        };
        may::accept_token_names(&grant, &self.settings.dns)?;
        let foreign = self.refuse_foreign_server_names(&grant).await;
        foreign.map_err(|why| why.about(About::Sans))?;
        if wish.reuse
            && let Some(same) = grant.same_as(&usable, now)
        {
            return self.hand_out(same.clone(), false);
        }
        let living = usable.iter().filter(|one| one.is_living(now)).count();
        let replaced = grant.superseded().count();
        let bounded = may::accept_another(grant.device(), living.saturating_sub(replaced));
        bounded.map_err(|why| Error::from(why).about(About::Name))?;
        // Whoever uses a recovery code has seen to what was told of the device.
        let beside = match caller.who() {
            Who::Enrolment(token) if token.recovers => self.seen_to(grant.device()).await?,
            Who::Enrolment(_) | Who::Token(_) | Who::Device(_) | Who::Operator { .. } => Vec::new(),
        };
        self.record(caller, grant, "certificate.issued", beside, now)
            .await
    }

    /// All that a device ever had, newest first, if somebody comes with a token and a key that it does not use.
    async fn history(
        &self,
        caller: &Caller,
        csr: &Csr,
        name: &DeviceName,
        usable: &[Certificate],
    ) -> Result<Vec<Certificate>, Error> {
        let key = csr.public_key().fingerprint();
        let uses = |one: &Certificate| one.key == key && one.status == Status::Active;
        match caller.who() {
            Who::Token(_) | Who::Enrolment(_) if !usable.iter().any(uses) => {
                Ok(self.store.certificates_of(name, Timestamp::UNIX_EPOCH).await?)
            }
            Who::Token(_) | Who::Enrolment(_) | Who::Device(_) | Who::Operator { .. } => Ok(Vec::new()),
        }
    }

    /// What was granted becomes a certificate. `beside` is what is recorded with it.
    pub(crate) async fn record(
        &self,
        caller: &Caller,
        grant: may::Grant,
        action: &'static str,
        beside: Vec<Write>,
        now: Timestamp,
    ) -> Result<Issued, Error> {
        // 4. Draft. 5. Sign.
        let (issuer, roots) = {
            let state = self.state.load();
            let authority = state.authority(grant.authority())?;
            (authority.active()?.clone(), authority.roots(now))
        };
        let serial = if caller.dry_run() {
            self.serial(now)?
        } else {
            self.serial_in_place(now)?
        };
        let draft = Draft::new(grant, &issuer, serial, now)?;
        let signature = self.sign_for(caller, &draft).await?;
        // 6. Record, all of it or nothing; only then is there something to hand out.
        let act = caller.act(now, action, draft.subject(), draft.detail());
        let revokes = draft.revokes();
        let (issued, mut writes) = draft.signed(&signature, &issuer, roots)?;
        writes.extend(beside);
        match self.store.commit(Change { writes, act }).await {
            Ok(()) if caller.dry_run() => Ok(issued.unsigned()),
            Ok(()) => {
                if revokes {
                    self.tell_of_revocation(caller);
                }
                self.tell_if_clamped(&issued).await;
                Ok(issued)
            }
            Err(StoreError::Changed(what)) => Err(Error::Conflict(what)),
            // The next issuing CA was activated after this one had signed.
            Err(StoreError::NotIssuing(what)) => {
                self.reload().await?;
                Err(Error::Conflict(what))
            }
            Err(other) => Err(other.into()),
        }
    }

    /// In a dry run there is nothing in the signature's place: all else goes its way, and the store keeps none of it.
    async fn sign_for(&self, caller: &Caller, draft: &Draft) -> Result<Vec<u8>, Error> {
        if caller.dry_run() {
            return Ok(Vec::new());
        }
        Ok(self.signer.sign(draft.to_be_signed()).await?)
    }

    /// Who comes a second time with the same token brings another key: that the token is spent is the reason they need
    /// to hear, not that the name lives with the first key. Asked only here, so that good tokens cost no look-up.
    async fn spent_or(&self, caller: &Caller, refusal: Refusal) -> Result<Error, Error> {
        let spent = match caller.who() {
            Who::Token(token) => self.store.is_spent(&token.id, token.expires).await?,
            Who::Enrolment(_) | Who::Device(_) | Who::Operator { .. } => false,
        };
        Ok(if spent {
            StoreError::Spent.into()
        } else {
            refusal.into()
        })
    }

    /// A lost answer costs nothing: the same enrolment token and the same key get the same certificate, until the device
    /// has said that it has it.
    async fn bound_before(&self, binding: &Binding, now: Timestamp) -> Result<Issued, Error> {
        let device = &binding.device;
        let rearm = format!(
            "make a new key; an operator lets the device in again with: muster device recover {device}"
        );
        may::accept_state(self.store.device(device).await?.as_ref(), device)?;
        let found = self.store.certificate(&binding.serial).await?;
        let certificate =
            found.ok_or_else(|| Error::Internal(format!("{} is bound and not there", binding.serial)))?;
        let refusal = match (certificate.status, binding.confirmed) {
            (
                Status::Revoked {
                    reason: Reason::CertificateHold,
                    ..
                },
                _,
            ) => Refusal::new(format!("the device {device} is suspended")).fix(format!(
                "an operator resumes it with: muster device resume {device}"
            )),
            // Another one took its place meanwhile, as it does in the end.
            (
                Status::Active
                | Status::Revoked {
                    reason: Reason::Superseded,
                    ..
                },
                Some(at),
            ) => Refusal::new(format!(
                "{device} confirmed on {at} that it has the certificate of this token and key"
            ))
            .fix(format!("renew with that certificate; if it is lost, {rearm}")),
            (Status::Revoked { at, reason }, _) => Refusal::new(format!(
                "the certificate that this token gave {device} was revoked on {at} ({reason})"
            ))
            .fix(rearm),
            (Status::Active, None) if now > certificate.not_after => Refusal::new(format!(
                "the certificate that this token gave {device} expired on {}",
                certificate.not_after
            ))
            .fix("ask for a new token; an operator makes it with: muster token create"),
            (Status::Active, None) => return self.hand_out(certificate, false),
        };
        Err(refusal.into())
    }

    /// A device never obtains a broker's name, not even as an alternative one.
    pub(crate) async fn refuse_foreign_server_names(&self, grant: &may::Grant) -> Result<(), Error> {
        for name in grant.other_names() {
            if let Some(device) = self.store.device(&name).await? {
                may::accept_other_name(grant, &device)?;
            }
        }
        if grant.has_wildcard() {
            for server in self.store.servers().await? {
                may::accept_wildcards(grant, &server)?;
            }
        }
        Ok(())
    }

    /// A recorded certificate with its chain.
    pub(crate) fn hand_out(&self, certificate: Certificate, clamped: bool) -> Result<Issued, Error> {
        let state = self.state.load();
        let authority = state.authority(&certificate.authority)?;
        let issuing = authority.record.generation(certificate.generation)?;
        Ok(Issued::new(
            certificate,
            &issuing.certificate,
            authority.roots(self.clock.now()),
            clamped,
        ))
    }
}

pub(crate) fn always_changing() -> Error {
    Error::Conflict("others are changing this device at the same moment; ask again".into())
}

impl Caller {
    pub(crate) fn act(&self, at: Timestamp, action: &'static str, subject: String, detail: String) -> Act {
        let origin = self.origin();
        Act {
            at,
            actor: self.name(),
            via: origin.via.to_owned(),
            source: origin.source.clone(),
            action,
            subject,
            detail,
            dry_run: self.dry_run(),
        }
    }
}

/// The subject of an audit entry about a certificate: the device and the serial number.
pub(crate) fn audit_subject(device: &DeviceName, serial: &Serial) -> String {
    format!("{device} {serial}")
}
