//! A new generation of the issuing CA, and authorities that were made elsewhere.

use jiff::Timestamp;
use muster_pki::crl::Reason;
use muster_pki::name;

use crate::Ca;
use crate::audit::Act;
use crate::authority::{Authority, Generation, ROOT, Stage};
use crate::device::DeviceName;
use crate::enrol::who::{Caller, Proof, Purpose};
use crate::error::{Error, Refusal};
use crate::many::Batch;
use crate::operator::Permission;
use crate::ports::{Change, Crl, Signer, Write};
use crate::queries::LISTENER;
use crate::setup::{Import, check_name, issuing_name};

/// An issuing CA that issues no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaving {
    /// Its number.
    pub generation: u32,
    /// How many certificates of the fleet by it are not revoked and run out today or later.
    pub certificates: usize,
    /// Until when something of it lives or must stay on its CRL, for the fleet to the end of the day (of UTC); `None`: it can be
    /// retired.
    pub until: Option<Timestamp>,
}

impl Ca {
    /// Makes the next issuing CA below the same root, on standby: published, so that brokers learn to trust it before it
    /// issues. Needs the root's key. For a dry run, both signers must be ones that keep nothing.
    pub async fn start_rollover(
        &self,
        proof: Proof,
        authority: &str,
        root_signer: &dyn Signer,
    ) -> Result<Generation, Error> {
        let caller = self.administrator(proof).await?;
        let now = self.clock.now();
        let (root, number, display) = {
            let state = self.state.load();
            let loaded = state.authority(authority)?;
            if let Some(waiting) = loaded
                .record
                .issuing()
                .find(|generation| generation.stage == Stage::Standby)
            {
                return Err(Error::Conflict(format!(
                    "generation {} stands by already; activate it with: muster ca rollover activate",
                    waiting.number
                )));
            }
            let display = display_name(&root_name(loaded.root.subject()?));
            (
                loaded.record.root()?.clone(),
                next_number(&loaded.record, &display)?,
                display,
            )
        };
        // The root signs its list first: a secret that does not open its key shows before another key is made.
        let crl = self.sign_root_crl(authority, &root, root_signer, now).await?;
        let next = self
            .make_issuing(authority, &display, number, &root, root_signer, now)
            .await?;
        let act = caller.act(
            now,
            "authority.standby",
            format!("{authority} {number}"),
            String::new(),
        );
        let standby = Write::Authority {
            name: authority.to_owned(),
            generation: next.clone(),
        };
        self.store
            .commit(Change {
                writes: vec![standby, Write::Crl(crl)],
                act,
            })
            .await?;
        if !caller.dry_run() {
            self.reload().await?;
            self.load_crls().await?;
            self.refresh_crls().await?;
        }
        Ok(next)
    }

    /// Makes a root's CRL anew; it is good for 13 months. Needs the root's key.
    pub async fn renew_root_crl(
        &self,
        proof: Proof,
        authority: &str,
        root_signer: &dyn Signer,
    ) -> Result<Crl, Error> {
        let caller = self.administrator(proof).await?;
        let now = self.clock.now();
        let root = self.state.load().authority(authority)?.record.root()?.clone();
        let crl = self.sign_root_crl(authority, &root, root_signer, now).await?;
        let act = caller.act(
            now,
            "crl.made",
            crate::state::file_stem(authority, ROOT),
            String::new(),
        );
        self.store
            .commit(Change {
                writes: vec![Write::Crl(crl.clone())],
                act,
            })
            .await?;
        self.load_crls().await?;
        Ok(crl)
    }

    /// Lets the issuing CA on standby issue; the one before only makes its CRL from now on.
    pub async fn activate_rollover(&self, proof: Proof, authority: &str) -> Result<Generation, Error> {
        let caller = self.administrator(proof).await?;
        let (mut next, mut before) = {
            let state = self.state.load();
            let record = &state.authority(authority)?.record;
            let waiting = record
                .issuing()
                .find(|generation| generation.stage == Stage::Standby)
                .cloned();
            let waiting = waiting.ok_or_else(|| {
                Error::Conflict("no issuing CA stands by; make one with: muster ca rollover start".into())
            })?;
            (waiting, record.active()?.clone())
        };
        next.stage = Stage::Active;
        before.stage = Stage::Retiring;
        let subject = format!("{authority} {}", next.number);
        let act = caller.act(self.clock.now(), "authority.activated", subject, String::new());
        self.write_generations(authority, vec![before, next.clone()], act)
            .await?;
        Ok(next)
    }

    /// Retires an issuing CA of which nothing lives any more. The listener's own certificate does not count: a server that
    /// runs gets another when the next issuing CA is activated, one that does not when it starts.
    pub async fn finish_rollover(&self, proof: Proof, authority: &str) -> Result<Generation, Error> {
        let (caller, old) = self.retiring(proof, authority).await?;
        let now = self.clock.now();
        let listener = DeviceName::own(LISTENER);
        if let Some(end) = self.store.last_end(authority, old.number, now, &listener).await? {
            return Err(Refusal::new(format!(
                "certificates of generation {} live until {end}",
                old.number
            ))
            .fix("renew them and wait: what is revoked stays on the list until its end")
            .into());
        }
        self.withdraw(caller, authority, old, "").await
    }

    /// The issuing CA of an authority that issues no more, and what lives of it; `None` if none is retiring.
    pub async fn leaving(&self, proof: Proof, authority: &str) -> Result<Option<Leaving>, Error> {
        self.operator(proof, Permission::Read).await?;
        let old = match self.find_retiring(authority) {
            Ok(old) => old,
            Err(Error::Conflict(_)) => return Ok(None),
            Err(other) => return Err(other),
        };
        let now = self.clock.now();
        let listener = DeviceName::own(LISTENER);
        Ok(Some(Leaving {
            generation: old.number,
            certificates: self.count_issued(authority, &old, now).await?,
            until: self.store.last_day(authority, old.number, now, &listener).await?,
        }))
    }

    /// Everything that lives of the issuing CA that issues no more, to be revoked with it: somebody else has its key.
    pub async fn issuing_batch(&self, proof: Proof, authority: &str) -> Result<Batch, Error> {
        let (_, old) = self.retiring(proof, authority).await?;
        Ok(Batch::Issuing {
            authority: authority.to_owned(),
            generation: old.number,
            certificates: self.count_issued(authority, &old, self.clock.now()).await?,
        })
    }

    async fn count_issued(&self, authority: &str, old: &Generation, now: Timestamp) -> Result<usize, Error> {
        let count = self.store.issued_by(authority, old.number, now).await?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Retires the issuing CA that issues no more although certificates of it live: somebody else has its key. Nothing trusts it any more that
    /// asks this CA or has an agent beside it; brokers end the sessions of its devices. The root's list names it from when that is next
    /// made, which takes the root's key: [`Self::renew_root_crl`].
    pub(crate) async fn revoke_rollover(
        &self,
        proof: Proof,
        (authority, generation): (&str, u32),
        reason: Reason,
        note: &str,
    ) -> Result<Generation, Error> {
        let (caller, mut old) = self.retiring(proof, authority).await?;
        if old.number != generation {
            return Err(Error::Conflict(format!(
                "generation {generation} of {authority} is not the one that is retiring: that is {}",
                old.number
            )));
        }
        old.revoked = Some(self.clock.now());
        let detail = crate::revoke::act_detail(Some(reason), note, &[]);
        self.withdraw(caller, authority, old, &detail).await
    }

    /// Who asks, and the issuing CA that issues no more.
    async fn retiring(&self, proof: Proof, authority: &str) -> Result<(Caller, Generation), Error> {
        let caller = self.administrator(proof).await?;
        Ok((caller, self.find_retiring(authority)?))
    }

    fn find_retiring(&self, authority: &str) -> Result<Generation, Error> {
        let state = self.state.load();
        let record = &state.authority(authority)?.record;
        let retiring = record
            .issuing()
            .find(|generation| generation.stage == Stage::Retiring);
        retiring.cloned().ok_or_else(|| {
            Error::Conflict(
                "no issuing CA is retiring: activate the next one first (muster ca rollover activate)".into(),
            )
        })
    }

    async fn withdraw(
        &self,
        caller: Caller,
        authority: &str,
        mut old: Generation,
        detail: &str,
    ) -> Result<Generation, Error> {
        old.stage = Stage::Retired;
        let subject = format!("{authority} {}", old.number);
        let act = caller.act(self.clock.now(), "authority.retired", subject, detail.into());
        self.write_generations(authority, vec![old.clone()], act).await?;
        self.load_crls().await?;
        Ok(old)
    }

    /// Makes another authority: a root and an issuing CA of its own. Profiles issue from it once they say so. With the name of an
    /// older authority its root follows that one's, whose key vouches for it. For a dry run, both signers must be ones that keep nothing.
    pub async fn create_authority(
        &self,
        proof: Proof,
        name: &str,
        display: &str,
        follows: Option<&str>,
        root_signer: &dyn Signer,
    ) -> Result<(), Error> {
        let caller = self.administrator(proof).await?;
        self.check_new_authority(name, display)?;
        let now = self.clock.now();
        let older = follows.map(|older| self.older(older, now)).transpose()?;
        let writes = self
            .make_authority(name, display, older.as_ref(), root_signer, now)
            .await?;
        let detail = follows.map(|older| serde_json::json!({ "follows": older }).to_string());
        let detail = detail.unwrap_or_default();
        let act = caller.act(now, "authority.founded", name.to_owned(), detail);
        self.add_authority(writes, act).await
    }

    /// Adds an authority that was made elsewhere under a name of its own.
    pub async fn import_authority(
        &self,
        proof: Proof,
        name: &str,
        import: &Import,
        root_signer: &dyn Signer,
    ) -> Result<(), Error> {
        let caller = self.administrator(proof).await?;
        let now = self.clock.now();
        let display = display_name(&root_name(import.root.subject()?));
        self.check_new_authority(name, &display)?;
        let writes = self.adopt(name, &display, import, None, root_signer, now).await?;
        let act = caller.act(now, "authority.imported", name.to_owned(), String::new());
        self.add_authority(writes, act).await
    }

    fn check_new_authority(&self, name: &str, display: &str) -> Result<(), Error> {
        check_authority_name(name)?;
        check_name(display)?;
        let state = self.state.load();
        if state.authority(name).is_ok() {
            return Err(Error::Conflict(format!("there is an authority {name:?} already")));
        }
        // Verifiers find issuers and CRLs by name: two of one name would be taken for each other.
        let taken = state
            .authorities
            .iter()
            .filter_map(|authority| authority.root.common_name());
        if taken.into_iter().any(|root| display_name(&root) == display) {
            return Err(Error::Conflict(format!(
                "there is an authority called {display:?} already"
            )));
        }
        Ok(())
    }

    async fn add_authority(&self, writes: Vec<Write>, act: Act) -> Result<(), Error> {
        let dry_run = act.dry_run;
        self.store.commit(Change { writes, act }).await?;
        if dry_run {
            return Ok(());
        }
        self.reload().await?;
        self.load_crls().await?;
        self.refresh_crls().await
    }

    async fn write_generations(
        &self,
        authority: &str,
        generations: Vec<Generation>,
        act: Act,
    ) -> Result<(), Error> {
        let write = |generation| Write::Authority {
            name: authority.to_owned(),
            generation,
        };
        self.store
            .commit(Change {
                writes: generations.into_iter().map(write).collect(),
                act,
            })
            .await?;
        self.reload().await
    }

    pub(crate) async fn administrator(&self, proof: Proof) -> Result<Caller, Error> {
        let caller = self.identify(proof, Purpose::Sign).await?;
        caller.demand(Permission::Administer)?;
        Ok(caller)
    }
}

/// The number of the next issuing CA: the next that is free and whose name no other bears, as one that was imported may.
/// Verifiers find issuers and CRLs by name.
fn next_number(authority: &Authority, display: &str) -> Result<u32, Error> {
    let certificates = authority.generations.iter().map(Generation::parsed);
    let certificates = certificates.collect::<Result<Vec<_>, _>>()?;
    let names: Vec<_> = certificates
        .iter()
        .filter_map(|certificate| certificate.common_name())
        .collect();
    let numbers = authority.generations.iter().map(|generation| generation.number);
    let mut next = numbers.max().unwrap_or(ROOT) + 1;
    while names.contains(&issuing_name(display, next)) {
        next += 1;
    }
    Ok(next)
}

/// The root's common name without what [`Ca::found`] puts behind it.
fn display_name(root: &str) -> String {
    let plain = root.strip_suffix(" Root CA").unwrap_or(root);
    plain.chars().take(40).collect()
}

fn root_name(subject: Vec<u8>) -> String {
    name::from_der(&subject)
        .ok()
        .and_then(|name| name::first_common_name(&name))
        .unwrap_or_else(|| "Imported".into())
}

fn check_authority_name(name: &str) -> Result<(), Error> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=32).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(Error::Bad(
        "an authority is called by 1 to 32 lower-case letters, digits and '-'".into(),
    ))
}
