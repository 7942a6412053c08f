//! What can be looked up. Reading needs a right, too, but for what is public by nature.

use jiff::Timestamp;
use muster_pki::key::KeyKind;

use crate::Ca;
use crate::audit::Entry;
use crate::authority::{Authority, Stage};
use crate::certificate::{Certificate, Serial, Status, renewal_due};
use crate::device::{Device, DeviceName, State};
use crate::enrol::draft::Draft;
use crate::enrol::who::Proof;
use crate::enrol::{Issued, may};
use crate::error::Error;
use crate::list::{
    AuditList, CertificateList, DeviceList, OperatorList, Page, Paging, ProfileList, ProvisionerList, Search,
    TokenList,
};
use crate::operator::{Operator, Permission};
use crate::ports::{Change, Counts, Renewing};
use crate::profile::Profile;
use crate::provisioner::Provisioner;
use crate::setup::own_act;
use crate::token::EnrolmentToken;

/// How certificates were asked for that their holders renew.
const RENEWING_WAYS: [&str; 4] = ["renewal", "token", "listener", "agent"];

/// The name of the authority's own HTTPS listener.
pub(crate) const LISTENER: &str = "muster-ca";

/// Whether the authority can do its work now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readiness {
    /// What stands in the way, in words; empty if nothing does.
    pub problems: Vec<String>,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Devices.
    pub devices: Vec<Device>,
    /// Certificates.
    pub certificates: Vec<Certificate>,
}

/// How many certificates run out on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpiryDay {
    /// Days since 1970, UTC.
    pub day: i64,
    /// Those that are renewed without anybody's doing.
    pub by_itself: u64,
    /// The others.
    pub needs_you: u64,
}

impl Ca {
    /// A device.
    pub async fn device(&self, proof: Proof, name: &DeviceName) -> Result<Device, Error> {
        self.operator(proof, Permission::Read).await?;
        self.known_device(name).await
    }

    /// Whether a device may enrol with any key, as one may that is not known yet. For the server itself.
    pub async fn is_new(&self, name: &DeviceName) -> Result<bool, Error> {
        let device = self.store.device(name).await?;
        Ok(device.is_none_or(|device| device.state == State::New))
    }

    /// A page of devices.
    pub async fn devices(&self, proof: Proof, list: DeviceList) -> Result<Page<Device>, Error> {
        self.operator(proof, Permission::Read).await?;
        Ok(self.store.devices(list).await?)
    }

    /// A certificate with its chain.
    pub async fn certificate(&self, proof: Proof, serial: &Serial) -> Result<Issued, Error> {
        self.operator(proof, Permission::Read).await?;
        let found = self.store.certificate(serial).await?;
        self.hand_out(
            found.ok_or_else(|| {
                Error::Missing(format!(
                    "no certificate has the serial number {serial}; find it by name with: muster search NAME"
                ))
            })?,
            false,
        )
    }

    /// A device's certificates, newest first; those that ran out before `since` left out.
    pub async fn certificates_of(
        &self,
        proof: Proof,
        name: &DeviceName,
        since: Timestamp,
    ) -> Result<Vec<Certificate>, Error> {
        self.operator(proof, Permission::Read).await?;
        Ok(self.store.certificates_of(name, since).await?)
    }

    /// A page of certificates.
    pub async fn certificates(
        &self,
        proof: Proof,
        list: CertificateList,
    ) -> Result<Page<Certificate>, Error> {
        self.operator(proof, Permission::Read).await?;
        Ok(self.store.certificates(list).await?)
    }

    /// A page of enrolment tokens.
    pub async fn tokens(&self, proof: Proof, list: TokenList) -> Result<Page<EnrolmentToken>, Error> {
        self.operator(proof, Permission::Read).await?;
        Ok(self.store.tokens(list).await?)
    }

    /// A page of operators.
    pub async fn operators(&self, proof: Proof, list: OperatorList) -> Result<Page<Operator>, Error> {
        self.operator(proof, Permission::Administer).await?;
        list.page(self.store.operators().await?)
    }

    /// An operator by its name.
    pub async fn one_operator(&self, proof: Proof, name: &str) -> Result<Operator, Error> {
        self.operator(proof, Permission::Administer).await?;
        self.known_operator(name).await
    }

    /// Devices and certificates that fit what somebody typed, at most so many of each. Devices come by name, certificates
    /// newest first.
    pub async fn search(&self, proof: Proof, search: Search, limit: usize) -> Result<Found, Error> {
        self.operator(proof, Permission::Read).await?;
        let paging = Paging { cursor: None, limit };
        let devices = DeviceList {
            prefix: search.prefix.clone(),
            paging: paging.clone(),
            ..DeviceList::default()
        };
        let certificates = CertificateList {
            search: Some(search),
            descending: true,
            now: self.clock.now(),
            paging,
            ..CertificateList::default()
        };
        Ok(Found {
            devices: self.store.devices(devices).await?.items,
            certificates: self.store.certificates(certificates).await?.items,
        })
    }

    /// When certificates run out, a day at a time from today on (of UTC; today's holds those that ran out since midnight),
    /// and whether they need somebody for it.
    pub async fn expiries(&self, proof: Proof, days: u16) -> Result<Vec<ExpiryDay>, Error> {
        self.operator(proof, Permission::Read).await?;
        let now = self.clock.now();
        let mut all: Vec<_> = (0..i64::from(days))
            .map(|ahead| ExpiryDay {
                day: now.as_second().div_euclid(86_400) + ahead,
                by_itself: 0,
                needs_you: 0,
            })
            .collect();
        for found in self.store.expiries(now, days).await? {
            let Some(day) = all.iter_mut().find(|day| day.day == found.day) else {
                continue;
            };
            if self.renews_by_itself(&found.profile, &found.how) {
                day.by_itself += found.count;
            } else {
                day.needs_you += found.count;
            }
        }
        Ok(all)
    }

    /// Whether the device is expected to renew this certificate without anybody's doing.
    pub fn expects_renewal(&self, certificate: &Certificate) -> bool {
        self.renews_by_itself(&certificate.profile, certificate.way())
    }

    /// Whether what holds a certificate renews it: it has done so before, it enrolled with a token of ours, which agents
    /// do, it is Muster itself, or the agent beside a broker. What an operator issued, and what `step` asked for once, nobody has promised to renew.
    fn renews_by_itself(&self, profile: &str, way: &str) -> bool {
        let renewable = self
            .settings
            .profiles
            .get(profile)
            .is_ok_and(|profile| profile.renewable());
        renewable && RENEWING_WAYS.contains(&way)
    }

    /// The same for the store.
    pub(crate) fn renewing(&self) -> Renewing {
        let profiles = self.settings.profiles.iter();
        let renewable = profiles.filter(|profile| profile.renewable());
        Renewing {
            profiles: renewable.map(|profile| profile.name().to_owned()).collect(),
            ways: RENEWING_WAYS.map(str::to_owned).into(),
        }
    }

    /// Makes what was recorded since the last time findable; see [`Store::catch_up`](crate::ports::Store::catch_up).
    pub async fn catch_up(&self) -> Result<(), Error> {
        Ok(self.store.catch_up().await?)
    }

    /// The number of the newest audit entry; 0 if there is none. For the server itself.
    pub async fn last_entry(&self) -> Result<u64, Error> {
        let newest = AuditList {
            paging: Paging {
                cursor: None,
                limit: 1,
            },
            ..AuditList::default()
        };
        let newest = self.store.audit(newest).await?.items;
        Ok(newest.first().map_or(0, |entry| entry.sequence))
    }

    /// The audit entries after this number, in order, at most so many. For the server itself.
    pub async fn entries_after(&self, after: u64, limit: usize) -> Result<Vec<Entry>, Error> {
        Ok(self.store.entries(after, limit).await?)
    }

    /// How many there are.
    pub async fn counts(&self) -> Result<Counts, Error> {
        Ok(self.store.counts(self.clock.now()).await?)
    }

    /// A page of audit entries.
    pub async fn audit(&self, proof: Proof, list: AuditList) -> Result<Page<Entry>, Error> {
        self.operator(proof, Permission::ReadAudit).await?;
        Ok(self.store.audit(list).await?)
    }

    /// Every authority. Public: certificates are.
    pub fn authorities(&self) -> Vec<Authority> {
        self.state
            .load()
            .authorities
            .iter()
            .map(|authority| authority.record.clone())
            .collect()
    }

    /// Every provisioner. Public, as `step` expects.
    pub fn provisioners(&self) -> Vec<Provisioner> {
        self.state
            .load()
            .provisioners
            .iter()
            .map(|provisioner| provisioner.record.clone())
            .collect()
    }

    /// A page of provisioners.
    pub fn list_provisioners(&self, list: &ProvisionerList) -> Result<Page<Provisioner>, Error> {
        list.page(self.provisioners())
    }

    /// A page of profiles.
    pub fn list_profiles(&self, list: &ProfileList) -> Result<Page<Profile>, Error> {
        list.page(self.profiles())
    }

    /// Every profile.
    pub fn profiles(&self) -> impl Iterator<Item = &Profile> {
        self.settings.profiles.iter()
    }

    /// Profiles that name an authority that is not there, in words with their keys; empty if all is well.
    pub fn profile_mistakes(&self) -> Vec<String> {
        let state = self.state.load();
        let homeless = self
            .profiles()
            .filter(|profile| state.authority(profile.authority()).is_err());
        homeless
            .map(|profile| {
                let (name, authority) = (profile.name(), profile.authority());
                format!("profile.{name}.authority: there is no authority {authority:?}")
            })
            .collect()
    }

    /// When the first living certificate is due for renewal: at two thirds of its life.
    pub async fn first_renewal_due(&self) -> Result<Option<Timestamp>, Error> {
        let first = self.store.first_to_expire(self.clock.now()).await?;
        Ok(first.map(|(not_before, not_after)| renewal_due(not_before, not_after)))
    }

    /// Whether the store can be written, the key used, and the lists are fresh.
    pub async fn readiness(&self) -> Readiness {
        let now = self.clock.now();
        let mut problems = Vec::new();
        if let Err(why) = self.store.probe(now).await {
            problems.push(format!("the database cannot be written: {why}"));
        }
        for authority in &self.state.load().authorities {
            for issuer in &authority.issuing {
                if let Err(why) = issuer.accept_clock(now) {
                    problems.push(why.to_string());
                }
                if issuer.generation.stage == Stage::Active && issuer.certificate.not_after() <= now {
                    problems.push(format!("the issuing CA {} has expired", issuer.authority));
                }
            }
        }
        if let Err(why) = self.try_keys().await {
            problems.push(why.to_string());
        }
        for crl in self.crls() {
            if crl.next_update <= now {
                problems.push(format!(
                    "the CRL of {} {} has run out",
                    crl.authority, crl.generation
                ));
            }
        }
        Readiness { problems }
    }

    async fn try_keys(&self) -> Result<(), Error> {
        let keys: Vec<_> = {
            let state = self.state.load();
            let issuers = state.authorities.iter().flat_map(|authority| &authority.issuing);
            issuers
                .filter_map(|issuer| issuer.generation.key.clone())
                .collect()
        };
        for key in keys {
            // No structure of X.509 begins with this text, so the signature is good for nothing else.
            let draft = crate::ports::ToBeSigned::new(&key, b"muster readiness check".to_vec());
            self.signer.sign(&draft).await?;
        }
        Ok(())
    }

    /// Deletes what has expired in the store.
    pub async fn tidy(&self) -> Result<(), Error> {
        Ok(self.store.tidy(self.clock.now()).await?)
    }

    /// Whether a certificate was issued here and is not revoked.
    pub async fn is_active(&self, serial: &Serial) -> Result<bool, Error> {
        let found = self.store.certificate(serial).await?;
        Ok(found.is_some_and(|certificate| certificate.status == Status::Active))
    }

    /// A certificate and key for the authority's own HTTPS listener, from the default authority as `step` expects.
    ///
    /// The key lives in memory only; the certificate is recorded as every other.
    pub async fn listener_identity(&self) -> Result<(Issued, muster_pki::key::PrivateKey), Error> {
        let now = self.clock.now();
        let key = self.entropy.private_key(KeyKind::P256)?;
        let name = DeviceName::own(LISTENER);
        let device = self.store.device(&name).await?;
        let grant = may::listener(&self.settings, name, device.as_ref(), key.public(), now)?;
        Ok((self.issue_own(grant, now).await?, key))
    }

    /// What Muster granted itself becomes a certificate, recorded as every other.
    pub(crate) async fn issue_own(&self, grant: may::Grant, now: Timestamp) -> Result<Issued, Error> {
        let (issuer, roots) = {
            let state = self.state.load();
            let authority = state.authority(grant.authority())?;
            (authority.active()?.clone(), authority.roots(now))
        };
        let draft = Draft::new(grant, &issuer, self.serial(now)?, now)?;
        let signature = self.signer.sign(draft.to_be_signed()).await?;
        let mut act = own_act(now, "certificate.issued", &draft.subject());
        act.detail = draft.detail();
        let (issued, writes) = draft.signed(&signature, &issuer, roots)?;
        self.store.commit(Change { writes, act }).await?;
        Ok(issued)
    }
}
