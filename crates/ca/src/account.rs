//! What operators do with what they log in with themselves. Each takes the password again, so that a browser that was left
//! open or a stolen session is not enough.

use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::Ca;
use crate::enrol::who::{Caller, Evidence, Proof};
use crate::error::{Error, Refusal};
use crate::operator::{Login, Operator, Permission};
use crate::operators::check_code;
use crate::password;
use crate::ports::Write;
use crate::session::{IDLE, Session, key_of};

/// The most sessions that are looked at; everybody who can log in has a few.
const MOST_SESSIONS: usize = 10_000;

/// A session as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// What it is ended by; proves nothing.
    pub id: String,
    /// When somebody logged in.
    pub began: Timestamp,
    /// When it was used last, to some minutes.
    pub used: Timestamp,
    /// From which address somebody logged in.
    pub source: String,
    /// Whether it is the one that asks.
    pub own: bool,
}

impl Ca {
    /// The asking operator, and its sessions, newest first.
    pub async fn own_account(&self, proof: Proof) -> Result<(Operator, Vec<Sighting>), Error> {
        let caller = self.operator(proof.clone(), Permission::Read).await?;
        let operator = self.known_operator(&caller.name()).await?;
        Ok((operator, self.own_sessions(proof).await?))
    }

    /// What the asking operator logs in with; `None` without a password.
    pub async fn own_login(&self, proof: Proof) -> Result<Option<Login>, Error> {
        let caller = self.operator(proof, Permission::Read).await?;
        Ok(self
            .operator_named(&caller.name())
            .await?
            .and_then(|operator| operator.login))
    }

    /// Changes the asking operator's password; the second factor stays. All its sessions end.
    ///
    /// Holds its thread for as long as it takes to hash passwords.
    pub async fn change_own_password(
        &self,
        proof: Proof,
        current: &Zeroizing<String>,
        new: &Zeroizing<String>,
    ) -> Result<(), Error> {
        let (caller, login) = self.proven_again(proof, current).await?;
        let login = self.new_login(new, login.totp)?;
        self.set_own_login(&caller, login, "operator.password_set").await
    }

    /// Sets the secret of the asking operator's second factor, with a code that shows that an app has it; or goes without.
    /// All its sessions end.
    ///
    /// Holds its thread for as long as it takes to check a password.
    pub async fn set_own_second_factor(
        &self,
        proof: Proof,
        current: &Zeroizing<String>,
        factor: Option<(Vec<u8>, String)>,
    ) -> Result<(), Error> {
        let (caller, login) = self.proven_again(proof, current).await?;
        let action = if factor.is_some() {
            "operator.second_factor_set"
        } else {
            "operator.second_factor_removed"
        };
        if let Some((secret, code)) = &factor {
            check_code(secret, code, self.clock.now())?;
        }
        let login = Login {
            totp: factor.map(|(secret, _)| secret),
            ..login
        };
        self.set_own_login(&caller, login, action).await
    }

    /// The sessions of the asking operator, newest first.
    pub async fn own_sessions(&self, proof: Proof) -> Result<Vec<Sighting>, Error> {
        let own = if let Evidence::Session(secret) = &proof.evidence {
            Some(key_of(secret))
        } else {
            None
        };
        let caller = self.operator(proof, Permission::Read).await?;
        let now = self.clock.now();
        let login = self.known_operator(&caller.name()).await?.login;
        let stamp = login.map(|login| login.stamp());
        let kept = self.store.kept_below("session", now, MOST_SESSIONS).await?;
        let mut sightings = Vec::new();
        for kept in kept {
            let session: Session = serde_json::from_slice(&kept.value)
                .map_err(|_| Error::Internal("a session cannot be read".into()))?;
            let (Some((_, id)), true) = (
                kept.key.split_once('/'),
                session.operator == caller.name() && Some(session.stamp) == stamp,
            ) else {
                continue;
            };
            sightings.push(Sighting {
                id: id.to_owned(),
                began: Timestamp::from_second(session.began).unwrap_or(now),
                used: (kept.expires - IDLE).min(now),
                source: session.source,
                own: own.as_ref() == Some(&kept.key),
            });
        }
        sightings.sort_by_key(|sighting| std::cmp::Reverse(sighting.began));
        Ok(sightings)
    }

    /// Ends one of the asking operator's sessions.
    pub async fn end_own_session(&self, proof: Proof, id: &str) -> Result<(), Error> {
        let known = self.own_sessions(proof.clone()).await?;
        if !known.iter().any(|sighting| sighting.id == id) {
            return Err(Error::Missing("this session has ended already".into()));
        }
        let caller = self.operator(proof, Permission::Read).await?;
        let writes = vec![Write::Drop(format!("session/{id}"))];
        self.commit_of(
            &caller,
            "operator.session_ended",
            &caller.name(),
            String::new(),
            writes,
        )
        .await
    }

    /// Who asks, if they know the password as well.
    async fn proven_again(
        &self,
        proof: Proof,
        current: &Zeroizing<String>,
    ) -> Result<(Caller, Login), Error> {
        let caller = self.operator(proof, Permission::Read).await?;
        let operator = self.known_operator(&caller.name()).await?;
        let login = operator
            .login
            .ok_or_else(|| Refusal::new("you have no password here, so there is none to change"))?;
        if !password::is_right(current, Some(&login.password)) {
            return Err(Refusal::new("this is not the password that you log in with now").into());
        }
        Ok((caller, login))
    }

    async fn set_own_login(&self, caller: &Caller, login: Login, action: &'static str) -> Result<(), Error> {
        let writes = vec![Write::Login {
            name: caller.name(),
            login,
        }];
        self.commit_of(caller, action, &caller.name(), String::new(), writes)
            .await
    }
}
