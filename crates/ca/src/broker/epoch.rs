//! Epochs: what a broker has to enforce, numbered and signed by the internal authority.

use std::collections::BTreeSet;

use jiff::Timestamp;
use muster_pki::message::Message;
use serde::Serialize;

use super::Broker;
use super::feed::Reach;
use crate::Ca;
use crate::access::Rules;
use crate::authority::{Generation, INTERNAL, ROOT, Stage};
use crate::certificate::{Certificate, Status};
use crate::device::{Device, DeviceName, State};
use crate::enrol::who::Proof;
use crate::error::Error;
use crate::list::{CertificateList, CertificateStatus, DeviceList, Paging};
use crate::ports::ToBeSigned;
use crate::queries::LISTENER;
use crate::state::file_stem;

/// What an agent has to understand to enforce an epoch: rises when an older one would misread it.
const FORMAT: u32 = 1;
/// The type of a signed epoch.
const TYPE: &str = "muster-epoch";
/// The profile whose rules most devices follow.
pub(crate) const USUAL: &str = "client";
/// How many rows are read at a time.
const STEP: usize = 500;

/// What the agent at the other end of a stream has heard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// The sequence of the last epoch that it has; none: it has nothing, or nothing that can be built on.
    pub sequence: Option<u64>,
    /// That epoch's number, or a higher one that it knows of.
    pub number: u64,
    /// From which entry on changes are told one by one.
    base: Option<u64>,
    crls: Vec<CrlNeed>,
    anchors: String,
}

impl Heard {
    /// Nothing, or what an agent says that it has. Its first epoch is sent whatever that is.
    pub fn until(sequence: Option<u64>, number: u64) -> Self {
        Self {
            sequence,
            number,
            base: sequence,
            ..Self::default()
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct CrlNeed {
    name: String,
    number: u64,
    #[serde(skip)]
    root: bool,
}

/// The field names are those of `/api/v1/agent`.
#[derive(Serialize)]
struct Epoch<'a> {
    format: u32,
    broker: &'a str,
    number: u64,
    sequence: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<u64>,
    at: String,
    anchors: &'a str,
    crls: &'a [CrlNeed],
    canaries: Vec<CanaryView>,
    #[serde(flatten)]
    lists: Lists,
}

#[derive(Serialize)]
struct CanaryView {
    issuer: String,
    certificate: String,
    key: String,
}

#[derive(Default, Serialize)]
struct Lists {
    shut_out: Vec<String>,
    let_in: Vec<String>,
    kicked: Vec<String>,
    access: Access,
}

#[derive(Default, Serialize)]
struct Access {
    default: Rules,
    devices: Vec<DeviceRules>,
    removed: Vec<String>,
}

#[derive(Serialize)]
struct DeviceRules {
    name: String,
    rules: Rules,
}

impl Ca {
    /// The next epoch of the broker whose agent this is, if there is one that it has not heard, as a signed message; and what
    /// it has heard then.
    pub async fn next_epoch(&self, proof: Proof, heard: &Heard) -> Result<Option<(String, Heard)>, Error> {
        let (_, broker) = self.agent(proof).await?;
        let now = self.clock.now();
        // The log first, then the lists: what is recorded meanwhile is in both or in the next epoch.
        let reach = self.follow().await?;
        let (mut crls, covers) = self.needed_crls(&broker);
        let sequence = if reach.revoking <= covers {
            reach.head
        } else {
            covers
        };
        // What it has heard stays heard while a CRL is being made.
        let known = heard.sequence.filter(|known| *known <= reach.head);
        let sequence = known.map_or(sequence, |known| known.max(sequence));
        let base = known.and(heard.base);
        let changed = base.and_then(|base| self.feed.changed(base, sequence));
        let anchors = self.anchors(&broker)?;
        let nothing_new = changed.as_ref().is_some_and(Vec::is_empty);
        if nothing_new && heard.crls == crls && heard.anchors == anchors {
            return Ok(None);
        }
        if self.lacks_canary(&crls, now) {
            self.refresh_crls().await?;
            crls = self.needed_crls(&broker).0;
        }
        let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
        let number = millis.max(heard.number.saturating_add(1));
        let mut lists = match changed.as_ref() {
            Some(names) => self.changes_of(names).await?,
            None => self.whole_lists().await?,
        };
        if heard.anchors != anchors {
            lists
                .kicked
                .extend(self.devices_of_the_withdrawn(&broker, now).await?);
        }
        let epoch = Epoch {
            format: FORMAT,
            broker: broker.name.as_str(),
            number,
            sequence,
            after: changed.as_ref().and(known),
            at: now.to_string(),
            anchors: &anchors,
            crls: &crls,
            canaries: self.revoked_canaries(&crls, now),
            lists,
        };
        let text = self.sign_message(&epoch).await?;
        let heard = Heard {
            sequence: Some(sequence),
            number,
            // What is not known one by one was told whole.
            base: Some(base.unwrap_or(reach.begin).max(sequence)),
            crls,
            anchors,
        };
        Ok(Some((text, heard)))
    }

    /// Whether an issuing CA's CRL lists no canary that lives: it was made before there was a broker, or long ago.
    fn lacks_canary(&self, crls: &[CrlNeed], now: Timestamp) -> bool {
        let mut issuing = crls.iter().filter(|crl| !crl.root);
        issuing.any(|crl| self.canaries.listed(&crl.name, crl.number, now).is_none())
    }

    /// Every CRL that the broker needs, by name, and the audit entry up to which all of them have every revocation.
    fn needed_crls(&self, broker: &Broker) -> (Vec<CrlNeed>, u64) {
        let all = self.crls();
        let ours: Vec<_> = all.iter().filter(|crl| broker.trusts(&crl.authority)).collect();
        let issuing = ours.iter().filter(|crl| crl.generation != ROOT);
        let covers = issuing.map(|crl| crl.covers).min().unwrap_or(0);
        let need = ours.iter().map(|crl| CrlNeed {
            name: file_stem(&crl.authority, crl.generation),
            number: crl.number,
            root: crl.generation == ROOT,
        });
        (need.collect(), covers)
    }

    /// The roots and issuing CAs that the broker trusts, PEM, roots first.
    fn anchors(&self, broker: &Broker) -> Result<String, Error> {
        let (mut roots, mut issuing) = (String::new(), String::new());
        let state = self.state.load();
        for authority in state
            .authorities
            .iter()
            .filter(|one| broker.trusts(&one.record.name))
        {
            roots.push_str(&authority.root.to_pem()?);
            for issuer in &authority.issuing {
                issuing.push_str(&issuer.certificate.to_pem()?);
            }
        }
        Ok(roots + &issuing)
    }

    /// Those that the lists revoke, and those of CAs that are trusted no more: none may come in.
    fn revoked_canaries(&self, crls: &[CrlNeed], now: Timestamp) -> Vec<CanaryView> {
        let listed = crls
            .iter()
            .filter_map(|crl| self.canaries.listed(&crl.name, crl.number, now));
        let names: Vec<&str> = crls.iter().map(|crl| crl.name.as_str()).collect();
        listed
            .chain(self.canaries.of_others(&names, now))
            .map(|canary| CanaryView {
                issuer: canary.issuer.clone(),
                certificate: canary.chain.clone(),
                key: canary.key.to_string(),
            })
            .collect()
    }

    /// Whose sessions may stand on a certificate of an issuing CA that was withdrawn before its certificates ended. Nearly always, that is nobody.
    async fn devices_of_the_withdrawn(
        &self,
        broker: &Broker,
        now: Timestamp,
    ) -> Result<BTreeSet<String>, Error> {
        let mut retired: Vec<(String, u32)> = Vec::new();
        for authority in &self.state.load().authorities {
            let record = &authority.record;
            let gone = |generation: &&Generation| generation.stage == Stage::Retired;
            if broker.trusts(&record.name) {
                let gone = record.generations.iter().filter(gone);
                retired.extend(gone.map(|generation| (record.name.clone(), generation.number)));
            }
        }
        let mut names = BTreeSet::new();
        for (authority, number) in retired {
            let listener = DeviceName::own(LISTENER);
            let last = self.store.last_end(&authority, number, now, &listener).await?;
            if last.is_none() {
                continue;
            }
            let living = CertificateList {
                status: Some(CertificateStatus::Active),
                authority: Some(authority),
                now,
                ..CertificateList::default()
            };
            let all = self.all_certificates(living).await?.into_iter();
            let theirs = all.filter(|one| one.generation == number && !one.device.is_own());
            names.extend(theirs.map(|one| one.device.to_string()));
        }
        Ok(names)
    }

    async fn all_certificates(&self, list: CertificateList) -> Result<Vec<Certificate>, Error> {
        let mut all = Vec::new();
        let mut cursor = None;
        loop {
            let paging = Paging { cursor, limit: STEP };
            let list = list.clone();
            let page = self
                .store
                .certificates(CertificateList { paging, ..list })
                .await?;
            all.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                return Ok(all);
            }
        }
    }

    /// How these devices stand now.
    async fn changes_of(&self, names: &[DeviceName]) -> Result<Lists, Error> {
        let mut lists = Lists::default();
        let usual = self.profile_rules(USUAL);
        for name in names {
            let Some(device) = self.store.device(name).await? else {
                continue;
            };
            match device.state {
                State::Suspended | State::Revoked | State::Retired => lists.shut_out.push(name.to_string()),
                State::New | State::Active => {
                    lists.let_in.push(name.to_string());
                    if self.has_revoked(&device).await? {
                        lists.kicked.push(name.to_string());
                    }
                }
            }
            match self.rules_of(&device, &usual).await? {
                Some(rules) => lists.access.devices.push(rules),
                None => lists.access.removed.push(name.to_string()),
            }
        }
        lists.access.default = usual;
        Ok(lists)
    }

    /// Whether a session of it may stand on a certificate that was revoked.
    async fn has_revoked(&self, device: &Device) -> Result<bool, Error> {
        let all = self.store.certificates_of(&device.name, self.clock.now()).await?;
        Ok(all
            .iter()
            .any(|certificate| matches!(certificate.status, Status::Revoked { .. })))
    }

    /// The rules of a device that does not follow the usual ones.
    async fn rules_of(&self, device: &Device, usual: &Rules) -> Result<Option<DeviceRules>, Error> {
        if device.state == State::Retired {
            return Ok(None);
        }
        let own = self.store.access_of(&device.name).await?;
        let rules = own.or_else(|| {
            let profile = self.profile_rules(&device.profile);
            (profile != *usual).then(|| profile.of(&device.name))
        });
        Ok(rules.map(|rules| DeviceRules {
            name: device.name.to_string(),
            rules,
        }))
    }

    /// Whether devices of this profile follow other rules than most.
    pub(crate) fn has_other_rules(&self, profile: &str) -> bool {
        self.profile_rules(profile) != self.profile_rules(USUAL)
    }

    /// Everybody who is shut out, and everybody who has other rules than most.
    async fn whole_lists(&self) -> Result<Lists, Error> {
        let mut lists = Lists::default();
        for state in [State::Suspended, State::Revoked, State::Retired] {
            let out = DeviceList {
                state: Some(state),
                ..DeviceList::default()
            };
            let names = self.all_devices(out).await?.into_iter();
            lists.shut_out.extend(names.map(|device| device.name.to_string()));
        }
        let usual = self.profile_rules(USUAL);
        let mut seen = BTreeSet::new();
        let mut after = None;
        loop {
            let page = self.store.access(after.as_ref(), STEP).await?;
            after = page.last().map(|(name, _)| name.clone());
            let full = page.len() == STEP;
            for (name, rules) in page {
                seen.insert(name.clone());
                let name = name.to_string();
                lists.access.devices.push(DeviceRules { name, rules });
            }
            if !full {
                break;
            }
        }
        let others: Vec<_> = self
            .profiles()
            .map(|profile| profile.name().to_owned())
            .filter(|profile| self.has_other_rules(profile))
            .collect();
        for profile in others {
            let rules = self.profile_rules(&profile);
            let follow = DeviceList {
                profile: Some(profile),
                ..DeviceList::default()
            };
            for device in self.all_devices(follow).await? {
                if device.state != State::Retired && !seen.contains(&device.name) {
                    lists.access.devices.push(DeviceRules {
                        name: device.name.to_string(),
                        rules: rules.of(&device.name),
                    });
                }
            }
        }
        lists.access.default = usual;
        Ok(lists)
    }

    async fn all_devices(&self, list: DeviceList) -> Result<Vec<Device>, Error> {
        let mut all = Vec::new();
        let mut cursor = None;
        loop {
            let paging = Paging { cursor, limit: STEP };
            let page = self
                .store
                .devices(DeviceList {
                    paging,
                    ..list.clone()
                })
                .await?;
            all.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                return Ok(all);
            }
        }
    }

    async fn sign_message(&self, epoch: &Epoch<'_>) -> Result<String, Error> {
        let payload = serde_json::to_vec(epoch).map_err(|why| Error::Internal(why.to_string()))?;
        let issuer = {
            let state = self.state.load();
            state.authority(INTERNAL)?.active()?.clone()
        };
        let key = issuer.generation.key.as_deref();
        let key = key.ok_or_else(|| Error::Internal("the internal authority has no key here".into()))?;
        let message = Message::new(TYPE, &issuer.certificate, &payload);
        let signature = self
            .signer
            .sign(&ToBeSigned::new(key, message.to_be_signed().to_vec()))
            .await?;
        Ok(message.signed(&signature)?)
    }
}

impl Reach {
    /// The last entry that the newest epoch has in it, given what the CRLs have.
    pub(crate) fn newest(self, covers: u64) -> u64 {
        if self.revoking <= covers {
            self.relevant
        } else {
            self.relevant.min(covers)
        }
    }
}
