//! CRLs: one full list per issuer, made off the request path.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::{SignedDuration, Timestamp};
use muster_pki::cert::{Issuer, assemble};
use muster_pki::crl::{CrlTemplate, Entry};

use crate::Ca;
use crate::authority::{INTERNAL, ROOT};
use crate::enrol::who::{Caller, Proof};
use crate::error::Error;
use crate::operator::Permission;
use crate::ports::{Change, Crl, Signer, StoreError, ToBeSigned, Write};
use crate::setup::own_act;
use crate::state::{LoadedIssuer, file_stem};

/// How long an issuing CA's list holds.
const LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long a root's list holds: 13 months.
const ROOT_LIFE: SignedDuration = SignedDuration::from_hours(396 * 24);
/// A list is made anew when it is this old, even if nothing was revoked.
const RENEW_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// Lists are backdated as certificates are.
pub(crate) const BACKDATE: SignedDuration = SignedDuration::from_hours(1);
/// So long an entry stays after its certificate can no longer be renewed: at least one more list (RFC 5280, section 3.3).
const KEEP: SignedDuration = SignedDuration::from_hours(2 * 24);

impl Ca {
    /// An issuer's newest list; generation 0 is the root. `None` if it never had one.
    pub fn crl(&self, authority: &str, generation: u32) -> Option<Arc<Crl>> {
        self.crls.load().get(&(authority.to_owned(), generation)).cloned()
    }

    /// Every issuer's newest list.
    pub fn crls(&self) -> Vec<Arc<Crl>> {
        let mut all: Vec<_> = self.crls.load().values().cloned().collect();
        all.sort_by(|a, b| (&a.authority, a.generation).cmp(&(&b.authority, b.generation)));
        all
    }

    /// Makes the list of every issuing CA anew that has something new to say, or is due. Called after each revocation, and
    /// daily.
    pub async fn refresh_crls(&self) -> Result<(), Error> {
        let issuers: Vec<_> = self
            .state
            .load()
            .authorities
            .iter()
            .flat_map(|authority| authority.issuing.clone())
            .collect();
        // One authority whose key cannot be used must not keep the others' lists from being made.
        let mut outcome = Ok(());
        for issuer in issuers {
            if let Err(why) = self.make_crl(&issuer, None).await {
                tracing::error!(authority = issuer.authority, %why, "a CRL could not be made");
                outcome = outcome.and(Err(why));
            }
        }
        outcome
    }

    /// Every list that a broker needs of an authority, as it is published: that of the issuing CA that signs now, those of its
    /// others that are not retired, then the root's. Or only one generation's.
    pub fn published_crls(&self, authority: &str, generation: Option<u32>) -> Result<Vec<Arc<Crl>>, Error> {
        let numbers = self.generations_with_crl(authority, generation)?;
        let lists: Vec<_> = numbers
            .into_iter()
            .filter_map(|number| self.crl(authority, number))
            .collect();
        if lists.is_empty() {
            return Err(Error::Missing(format!("{authority} has no such CRL here")));
        }
        Ok(lists)
    }

    /// The same, made anew; but for the root's: its key is not here.
    pub async fn fresh_crls(
        &self,
        proof: Proof,
        authority: &str,
        generation: Option<u32>,
    ) -> Result<Vec<Arc<Crl>>, Error> {
        let caller = self.operator(proof, Permission::Operate).await?;
        for number in self.generations_with_crl(authority, generation)? {
            let issuer = {
                let state = self.state.load();
                let mut issuing = state.authority(authority)?.issuing.iter();
                issuing.find(|issuer| issuer.generation.number == number).cloned()
            };
            if let Some(issuer) = issuer
                && !caller.dry_run()
            {
                self.make_crl(&issuer, Some(&caller)).await?;
            }
        }
        self.published_crls(authority, generation)
    }

    fn generations_with_crl(&self, authority: &str, only: Option<u32>) -> Result<Vec<u32>, Error> {
        let state = self.state.load();
        let record = &state.authority(authority)?.record;
        let active = record.active()?.number;
        let others = record.issuing().map(|generation| generation.number);
        let mut all = vec![active];
        all.extend(others.filter(|number| *number != active));
        all.push(ROOT);
        match only {
            None => Ok(all),
            Some(number) if all.contains(&number) => Ok(vec![number]),
            Some(number) => Err(Error::Missing(format!(
                "{authority} has no generation {number} that signs"
            ))),
        }
    }

    /// When the next list must be made if nothing is revoked before. At once if the clock was set back to before a list
    /// begins: verifiers refuse everybody by such a list.
    pub fn next_crl_due(&self) -> Timestamp {
        let now = self.clock.now();
        let lists = self.crls.load();
        let lists = lists.values().filter(|crl| crl.generation != ROOT);
        lists.map(|crl| due(crl, now)).min().unwrap_or(now)
    }

    /// The list that runs out first, of those that brokers check: none of theirs trusts the internal authority.
    pub fn first_crl_to_expire(&self) -> Option<Arc<Crl>> {
        self.crls
            .load()
            .values()
            .filter(|crl| crl.authority != INTERNAL)
            .min_by_key(|crl| crl.next_update)
            .cloned()
    }

    /// How many revocations there were since start; a list that was made at an older count is out of date.
    pub fn revocations(&self) -> u64 {
        self.revocations.load(Ordering::SeqCst)
    }

    pub(crate) async fn load_crls(&self) -> Result<(), Error> {
        let mut wanted = Vec::new();
        for authority in &self.state.load().authorities {
            wanted.push((authority.record.name.clone(), ROOT));
            wanted.extend(
                authority
                    .issuing
                    .iter()
                    .map(|issuer| (issuer.authority.clone(), issuer.generation.number)),
            );
        }
        let mut found = HashMap::new();
        for (authority, generation) in wanted {
            if let Some(crl) = self.store.crl(&authority, generation).await? {
                self.last_crl.fetch_max(crl.number, Ordering::Relaxed);
                found.insert((authority, generation), Arc::new(crl));
            }
        }
        // What was published since it was read here is newer.
        self.crls.rcu(|there| {
            let mut newest = found.clone();
            for (place, crl) in &mut newest {
                if let Some(published) = there.get(place).filter(|there| there.number > crl.number) {
                    crl.clone_from(published);
                }
            }
            newest
        });
        Ok(())
    }

    /// Makes a list anew: for a caller at any rate, else if there is something new to say.
    async fn make_crl(&self, issuer: &LoadedIssuer, caller: Option<&Caller>) -> Result<(), Error> {
        let now = self.clock.now();
        issuer.accept_clock(now)?;
        let (authority, generation) = (&issuer.authority, issuer.generation.number);
        let key = issuer.generation.key.as_deref();
        let key = key.ok_or_else(|| Error::Internal("the issuing CA has no key here".into()))?;
        // The number is drawn before the entries are read, so that of two lists the one with the higher number
        // never lacks what the other has.
        let number = self.crl_number(now);
        let since = now - self.settings.profiles.longest_grace() - KEEP;
        let (revoked, covers) = self.store.revoked(authority, generation, since).await?;
        let mut entries: Vec<_> = revoked
            .into_iter()
            .map(|entry| Entry {
                serial: entry.serial.as_bytes().to_vec(),
                revoked_at: entry.at,
                reason: entry.reason,
            })
            .collect();
        let living = self.canaries.living(&file_stem(authority, generation), now);
        entries.extend(living.iter().map(|canary| canary.entry()));
        let has_canary = !living.is_empty() || !self.needs_canary(issuer).await?;
        if caller.is_none() && has_canary && self.says_the_same(issuer, &entries, now)? {
            self.covers_more(authority, generation, covers);
            return Ok(());
        }
        let canary = self.revoked_canary(issuer, number, now).await?;
        entries.extend(canary.iter().map(|canary| canary.entry()));
        let crl = self
            .sign_numbered(
                &*self.signer,
                key,
                &issuer.issuer,
                authority,
                generation,
                &entries,
                now,
                number,
            )
            .await?;
        let subject = file_stem(authority, generation);
        let act = match caller {
            Some(caller) => caller.act(now, "crl.made", subject, String::new()),
            None => own_act(now, "crl.made", &subject),
        };
        let crl = Arc::new(Crl { covers, ..crl });
        let writes = vec![Write::Crl(Crl::clone(&crl))];
        match self.store.commit(Change { writes, act }).await {
            Ok(()) => {
                if let Some(canary) = canary {
                    self.canaries.add(canary);
                }
                self.publish(&crl);
                self.news.notify(usize::MAX);
            }
            // Somebody else made a newer one meanwhile, which has all that this one has.
            Err(StoreError::Changed(_)) => {}
            Err(other) => return Err(other.into()),
        }
        Ok(())
    }

    /// Whether the published list is not due and has just these entries.
    fn says_the_same(&self, issuer: &LoadedIssuer, entries: &[Entry], now: Timestamp) -> Result<bool, Error> {
        let published = self.crl(&issuer.authority, issuer.generation.number);
        let Some(crl) = published.filter(|crl| crl.entries == entries.len() as u64 && now < due(crl, now))
        else {
            return Ok(false);
        };
        let template = CrlTemplate {
            number: crl.number,
            this_update: crl.this_update,
            next_update: crl.next_update,
            entries,
        };
        Ok(muster_pki::crl::has_signed(
            &crl.der,
            &template.to_be_signed(&issuer.issuer)?,
        ))
    }

    /// The published list stays as it is, and is known to have every revocation up to a later entry.
    fn covers_more(&self, authority: &str, generation: u32, covers: u64) {
        let place = (authority.to_owned(), generation);
        self.crls.rcu(|lists| {
            let mut lists = HashMap::clone(lists);
            if let Some(crl) = lists.get_mut(&place) {
                let covers = crl.covers.max(covers);
                *crl = Arc::new(Crl {
                    covers,
                    ..Crl::clone(crl)
                });
            }
            lists
        });
        self.news.notify(usize::MAX);
    }

    fn publish(&self, crl: &Arc<Crl>) {
        let place = (crl.authority.clone(), crl.generation);
        self.crls.rcu(|lists| {
            let mut lists = HashMap::clone(lists);
            if lists.get(&place).is_none_or(|there| there.number < crl.number) {
                lists.insert(place.clone(), crl.clone());
            }
            lists
        });
    }

    /// `max(last + 1, milliseconds)`: rises over restarts, restored backups and clocks that were set back.
    fn crl_number(&self, now: Timestamp) -> u64 {
        let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
        let next = |last: u64| Some(millis.max(last + 1));
        let last = self
            .last_crl
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, next)
            .unwrap_or(0);
        millis.max(last + 1)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a CRL is made of these and of nothing else"
    )]
    pub(crate) async fn sign_crl(
        &self,
        signer: &dyn Signer,
        key: &str,
        issuer: &Issuer,
        authority: &str,
        generation: u32,
        entries: &[Entry],
        now: Timestamp,
    ) -> Result<Crl, Error> {
        let number = self.crl_number(now);
        self.sign_numbered(signer, key, issuer, authority, generation, entries, now, number)
            .await
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a CRL is made of these and of nothing else"
    )]
    async fn sign_numbered(
        &self,
        signer: &dyn Signer,
        key: &str,
        issuer: &Issuer,
        authority: &str,
        generation: u32,
        entries: &[Entry],
        now: Timestamp,
        number: u64,
    ) -> Result<Crl, Error> {
        let life = if generation == ROOT { ROOT_LIFE } else { LIFE };
        let template = CrlTemplate {
            number,
            this_update: now - BACKDATE,
            next_update: now + life,
            entries,
        };
        let draft = ToBeSigned::new(key, template.to_be_signed(issuer)?);
        let signature = signer.sign(&draft).await?;
        Ok(Crl {
            authority: authority.to_owned(),
            generation,
            number,
            this_update: template.this_update,
            next_update: template.next_update,
            entries: entries.len() as u64,
            covers: 0,
            der: assemble(draft.bytes(), issuer.algorithm, &signature)?,
        })
    }
}

/// When a list is to be made anew even if it says nothing new. At once if it begins in the future.
fn due(crl: &Crl, now: Timestamp) -> Timestamp {
    match crl.this_update {
        begins if begins > now => now,
        begins => begins + BACKDATE + RENEW_AFTER,
    }
}
