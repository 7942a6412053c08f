//! Tokens that a second device shows: what was used is shown again with another key, and refused.
//!
//! Either the device lost its key, or somebody copied the token; and if a thief was the faster one, the second is the true device. Only
//! an operator can tell, so it is recorded, and a to-do until somebody has acted or a month is over. Who holds such a token can make as
//! many keys as he likes, and fills neither the audit log nor the log with it: each name is told of once an hour, and there is a bound
//! for each token and one over all.

use jiff::{SignedDuration, Timestamp};
use muster_pki::csr::Csr;
use serde::{Deserialize, Serialize};

use crate::Ca;
use crate::clone::place;
use crate::device::DeviceName;
use crate::enrol::Wish;
use crate::enrol::may::{self, Facts};
use crate::enrol::who::{Caller, Proof, Who};
use crate::error::Error;
use crate::operator::Permission;
use crate::ports::{Change, Kept, Write};
use crate::standing::{About, Todo};
use crate::token::EnrolmentToken;

/// How long it is told unless somebody sees to it.
const TOLD_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);
/// The same name is told of again after so long.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_hours(1);
/// Of so many names for one token.
const MOST_OF_TOKEN: usize = 16;
/// Of so many over all.
const MOST: usize = 256;
/// Of how many to-dos tell, the newest.
const TOLD: usize = 3;
/// What keys in the drawer begin with; the token's id and the name follow.
const DRAWER: &str = "token-refused";

/// A token that was refused to another key than the one that it gave a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRefusal {
    /// The token's id.
    pub token: String,
    /// The name that it was shown for.
    pub name: DeviceName,
    /// The address of who showed it last; empty if it is not known.
    pub source: String,
    /// When that was.
    pub at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Note {
    source: String,
    at: Timestamp,
}

impl TokenRefusal {
    fn key(&self) -> String {
        format!("{}/{}", drawer(&self.token), self.name)
    }

    fn keep(&self) -> Result<Write, Error> {
        let (source, at) = (self.source.clone(), self.at);
        let value = serde_json::to_vec(&Note { source, at });
        Ok(Write::Keep(Kept {
            key: self.key(),
            value: value.map_err(|why| Error::Internal(why.to_string()))?,
            expires: self.at + TOLD_FOR,
        }))
    }

    fn read(kept: &Kept) -> Option<Self> {
        let (token, name) = kept
            .key
            .strip_prefix(DRAWER)?
            .strip_prefix('/')?
            .split_once('/')?;
        let Note { source, at } = serde_json::from_slice(&kept.value).ok()?;
        Some(Self {
            token: token.to_owned(),
            name: DeviceName::restored(name.to_owned()),
            source,
            at,
        })
    }

    /// `from 192.0.2.7 at 2027-01-12 14:03:07 UTC`
    pub fn place(&self) -> String {
        place(&self.source, self.at)
    }

    fn todo(&self, known: bool) -> Todo {
        let Self { token, name, .. } = self;
        let (fix, command) = if known {
            (
                format!(
                    "if another device enrolled with it in the place of {name}: muster token unbind {token} {name}; \
                     if nobody needs it any more: muster token revoke {token}; if {name} has lost its key"
                ),
                format!("muster device recover {name}"),
            )
        } else {
            (
                "give the device a token of its own, and withdraw this one".into(),
                format!("muster token revoke {token}"),
            )
        };
        Todo {
            what: format!(
                "the enrolment token {token} of {name} was shown by another device, or by one without its key, {}, and refused",
                self.place()
            ),
            fix,
            command: Some(command),
            about: About::Token(token.clone()),
            urgent: true,
        }
    }
}

fn drawer(token: &str) -> String {
    format!("{DRAWER}/{token}")
}

impl Ca {
    /// Tokens that were refused to a second device, by token and name, until somebody has seen to them. At most 256.
    pub async fn token_refusals(&self, proof: Proof) -> Result<Vec<TokenRefusal>, Error> {
        self.operator(proof, Permission::Read).await?;
        self.refusals(DRAWER, self.clock.now()).await
    }

    async fn refusals(&self, below: &str, now: Timestamp) -> Result<Vec<TokenRefusal>, Error> {
        let kept = self.store.kept_below(below, now, MOST).await?;
        Ok(kept.iter().filter_map(TokenRefusal::read).collect())
    }

    /// Somebody shows a token with a key that it is not bound to. Once it is used up that is a second device, whatever the reason
    /// for which it is refused.
    pub(crate) async fn watch_used_up(
        &self,
        caller: &Caller,
        (token, csr, wish): (&EnrolmentToken, &Csr, &Wish),
        now: Timestamp,
    ) -> Result<(), Error> {
        if token.used < token.uses {
            return Ok(());
        }
        let only = token.device.clone();
        match only.or_else(|| may::name(caller, csr, wish).ok()) {
            Some(name) => self.tell_of_refusal(caller, token, name, now).await,
            None => Ok(()),
        }
    }

    /// The same for a name that has another key, and a wave's token that has uses left.
    pub(crate) async fn watch_bound(
        &self,
        caller: &Caller,
        csr: &Csr,
        name: DeviceName,
        facts: &Facts<'_>,
    ) -> Result<(), Error> {
        match caller.who() {
            Who::Enrolment(token)
                if may::is_anothers(caller, facts, &name, csr.public_key(), &self.settings.profiles) =>
            {
                self.tell_of_refusal(caller, token, name, facts.now).await
            }
            Who::Enrolment(_) | Who::Token(_) | Who::Device(_) | Who::Operator { .. } => Ok(()),
        }
    }

    async fn tell_of_refusal(
        &self,
        caller: &Caller,
        token: &EnrolmentToken,
        name: DeviceName,
        now: Timestamp,
    ) -> Result<(), Error> {
        // Who withdrew it knows that there are others who have it.
        if caller.dry_run() || token.withdrawn.is_some() {
            return Ok(());
        }
        let refusal = TokenRefusal {
            token: token.id.clone(),
            name,
            source: caller.origin().source.clone(),
            at: now,
        };
        let key = refusal.key();
        let mut writes = Vec::new();
        match self.store.kept(&key, now).await? {
            Some(kept) if TokenRefusal::read(&kept).is_some_and(|told| now < told.at + AGAIN_AFTER) => {
                return Ok(());
            }
            Some(_) => writes.push(Write::Drop(key)),
            None => {
                let all = self.refusals(DRAWER, now).await?;
                let of_token = all.iter().filter(|one| one.token == refusal.token).count();
                if of_token >= MOST_OF_TOKEN || all.len() >= MOST {
                    return Ok(());
                }
            }
        }
        writes.push(refusal.keep()?);
        let (name, source) = (refusal.name.as_str(), refusal.source.as_str());
        tracing::warn!(
            token = token.id,
            name,
            source,
            "a token that was used was shown with another key"
        );
        let act = caller.act(
            now,
            "token.refused",
            format!("{name} {}", token.id),
            String::new(),
        );
        match self
            .store
            .commit(Change { writes, act })
            .await
            .map_err(Error::from)
        {
            // Somebody else showed it at the same moment; what has run out makes room within a minute.
            Err(Error::Conflict(_)) => Ok(()),
            other => other,
        }
    }

    /// What takes back all that is told of a token: somebody has seen to it.
    pub(crate) async fn token_seen_to(&self, token: &str) -> Result<Vec<Write>, Error> {
        let told = self.refusals(&drawer(token), self.clock.now()).await?;
        Ok(told.iter().map(|told| Write::Drop(told.key())).collect())
    }

    /// What takes back all alarms about a device: clones, and tokens that were shown for it.
    pub(crate) async fn seen_to(&self, name: &DeviceName) -> Result<Vec<Write>, Error> {
        let told = self.refusals(DRAWER, self.clock.now()).await?;
        let mine = told.iter().filter(|told| told.name == *name);
        let mut writes: Vec<_> = mine.map(|told| Write::Drop(told.key())).collect();
        writes.extend(self.clone_seen_to(name).await?);
        Ok(writes)
    }

    /// Tokens that a second device showed.
    pub(crate) async fn refusal_todos(&self, now: Timestamp) -> Result<Vec<Todo>, Error> {
        let mut told = self.refusals(DRAWER, now).await?;
        told.sort_by_key(|one| std::cmp::Reverse(one.at));
        let mut todos = Vec::new();
        for one in told.iter().take(TOLD) {
            let known = !one.name.is_own() && self.store.device(&one.name).await?.is_some();
            todos.push(one.todo(known));
        }
        Ok(todos)
    }
}
