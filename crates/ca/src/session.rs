//! Logging in: a password and perhaps a one-time code become a session, which proves who asks until it ends.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use muster_pki::key::sha256;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::Ca;
use crate::audit::Act;
use crate::enrol::who::{Evidence, Origin, Proof, Who, unproven};
use crate::error::Error;
use crate::operator::{Login, Operator, Permission};
use crate::password;
use crate::ports::{Change, Kept, StoreError, Write};

/// A session ends when nobody used it for so long.
pub const IDLE: SignedDuration = SignedDuration::from_hours(1);
/// A session ends so long after its beginning, used or not.
pub const LONGEST: SignedDuration = SignedDuration::from_hours(12);
/// How often the use of a session is written down.
const NOTED: SignedDuration = SignedDuration::from_mins(5);
/// How long a one-time code is remembered as used; it is good for a minute and a half.
const CODE: SignedDuration = SignedDuration::from_mins(5);

/// A browser in which somebody logged in, or chose a password by a link, is known for so long.
const KNOWN: SignedDuration = SignedDuration::from_hours(180 * 24);

/// What somebody who logged in has from then on. Both are secrets of the browser's.
pub struct Begun {
    /// Proves who asks.
    pub session: Zeroizing<String>,
    /// Tells the next time that this person has logged in from here before; proves nothing.
    pub browser: Zeroizing<String>,
}

/// What somebody who logs in shows.
#[derive(Clone)]
pub struct Shown {
    /// The operator's name.
    pub name: String,
    /// The password.
    pub password: Zeroizing<String>,
    /// The one-time code; empty if there is none.
    pub code: String,
}

/// What the drawer holds of a session.
#[derive(Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) operator: String,
    /// The stamp of what was logged in with.
    pub(crate) stamp: [u8; 32],
    /// Seconds since 1970.
    pub(crate) began: i64,
    /// The address that it began from.
    pub(crate) source: String,
}

impl Ca {
    /// Begins a session. Its secret is new every time, and is in the answer and nowhere else.
    ///
    /// Holds its thread for as long as it takes to check a password.
    pub async fn log_in(&self, shown: &Shown, origin: Origin) -> Result<Begun, Error> {
        let operator = self.operator_named(&shown.name).await?;
        let login = operator.as_ref().and_then(|operator| operator.login.as_ref());
        let right = password::is_right(&shown.password, login.map(|login| login.password.as_str()));
        let now = self.clock.now();
        let (Some(login), true) = (login, right) else {
            return self.refuse_login(operator.as_ref(), now, origin).await;
        };
        let mut writes = Vec::new();
        if let Some(secret) = &login.totp {
            let Some(step) = password::step_of_code(secret, &shown.code, now) else {
                return self.refuse_login(operator.as_ref(), now, origin).await;
            };
            writes.push(Write::Keep(Kept {
                key: format!("code/{}/{step}", shown.name),
                value: Vec::new(),
                expires: now + CODE,
            }));
        }
        let (browser, known) = self.new_browser(&shown.name, now);
        writes.push(known);
        let begun = Begun {
            session: self.secret("ms_"),
            browser,
        };
        let session = Session {
            operator: shown.name.clone(),
            stamp: login.stamp(),
            began: now.as_second(),
            source: origin.source.clone(),
        };
        writes.push(Write::Keep(Kept {
            key: key_of(&begun.session),
            value: serde_json::to_vec(&session).map_err(|why| Error::Internal(why.to_string()))?,
            expires: now + IDLE,
        }));
        let act = act_of(&shown.name, now, origin, "operator.logged_in");
        match self.store.commit(Change { writes, act }).await {
            Err(StoreError::Exists(_)) => Err(unproven(
                "this code was used already: wait for the next, half a minute at most",
            )),
            done => Ok(done.map(|()| begun)?),
        }
    }

    /// What a browser is known by from now on, and what is kept of that.
    pub(crate) fn new_browser(&self, name: &str, now: Timestamp) -> (Zeroizing<String>, Write) {
        let secret = self.secret("");
        let kept = Kept {
            key: browser_key(&secret),
            value: name.as_bytes().to_vec(),
            expires: now + KNOWN,
        };
        (secret, Write::Keep(kept))
    }

    /// Whether this operator has logged in with a browser before: who guesses passwords elsewhere must not be able to lock
    /// its owner out.
    pub async fn knows_browser(&self, secret: &str, name: &str) -> Result<bool, Error> {
        let kept = self.store.kept(&browser_key(secret), self.clock.now()).await?;
        Ok(kept.is_some_and(|kept| kept.value == name.as_bytes()))
    }

    /// Ends the session that proves who asks.
    pub async fn log_out(&self, proof: Proof) -> Result<(), Error> {
        let Evidence::Session(secret) = &proof.evidence else {
            return Err(Error::Bad("only a session can be ended".into()));
        };
        let key = key_of(secret);
        let caller = self.operator(proof, Permission::Read).await?;
        let act = caller.act(
            self.clock.now(),
            "operator.logged_out",
            caller.name(),
            String::new(),
        );
        let writes = vec![Write::Drop(key)];
        Ok(self.store.commit(Change { writes, act }).await?)
    }

    /// Gives an operator a password to log in with. A second factor goes, since whoever lost it comes this way; so do
    /// all sessions.
    ///
    /// Holds its thread for as long as it takes to hash a password.
    pub async fn set_password(&self, proof: Proof, name: &str, password: &str) -> Result<(), Error> {
        let caller = self.administrator(proof).await?;
        self.known_operator(name).await?;
        let login = self.new_login(password, None)?;
        let act = caller.act(
            self.clock.now(),
            "operator.password_set",
            name.to_owned(),
            String::new(),
        );
        let writes = vec![Write::Login {
            name: name.to_owned(),
            login,
        }];
        Ok(self.store.commit(Change { writes, act }).await?)
    }

    pub(crate) fn new_login(&self, password: &str, totp: Option<Vec<u8>>) -> Result<Login, Error> {
        let mut salt = [0; 16];
        self.entropy.fill(&mut salt);
        Ok(Login {
            password: password::hash(password, &salt)?,
            totp,
        })
    }

    /// Who a session's secret belongs to. Using a session keeps it alive, unless it is only glanced with.
    pub(crate) async fn session(&self, secret: &str, used: bool) -> Result<Who, Error> {
        let ended = || unproven("the session has ended: log in again");
        let now = self.clock.now();
        let key = key_of(secret);
        let kept = self.store.kept(&key, now).await?.ok_or_else(ended)?;
        let session: Session = serde_json::from_slice(&kept.value)
            .map_err(|_| Error::Internal("a session cannot be read".into()))?;
        let operator = self.operator_named(&session.operator).await?;
        let operator = operator.ok_or_else(ended)?;
        let is_same = |login: &Login| login.stamp() == session.stamp;
        if !operator.login.as_ref().is_some_and(is_same) {
            return Err(ended());
        }
        let began = Timestamp::from_second(session.began).map_err(|_| ended())?;
        let until = (now + IDLE).min(began + LONGEST);
        if used && kept.expires + NOTED < until {
            self.store.extend(&key, until).await?;
        }
        Ok(Who::Operator {
            name: operator.name,
            role: operator.role,
        })
    }

    pub(crate) async fn operator_named(&self, name: &str) -> Result<Option<Operator>, Error> {
        let operators = self.store.operators().await?;
        Ok(operators.into_iter().find(|operator| operator.name == name))
    }

    /// Says no in the same way whatever was wrong. Only attempts on somebody who exists are worth an entry; how many
    /// come is the edge's to bound.
    async fn refuse_login<T>(
        &self,
        operator: Option<&Operator>,
        now: Timestamp,
        origin: Origin,
    ) -> Result<T, Error> {
        if let Some(operator) = operator {
            let act = act_of(&operator.name, now, origin, "operator.login_refused");
            let writes = Vec::new();
            self.store.commit(Change { writes, act }).await?;
        }
        Err(unproven("the name, the password or the code is not right"))
    }
}

/// What the drawer knows a session by: whoever reads the store cannot take one over.
pub(crate) fn key_of(secret: &str) -> String {
    format!("session/{}", URL_SAFE_NO_PAD.encode(sha256(secret.as_bytes())))
}

fn browser_key(secret: &str) -> String {
    format!("browser/{}", URL_SAFE_NO_PAD.encode(sha256(secret.as_bytes())))
}

fn act_of(name: &str, at: Timestamp, origin: Origin, action: &'static str) -> Act {
    Act {
        at,
        actor: name.to_owned(),
        via: origin.via.to_owned(),
        source: origin.source,
        action,
        subject: name.to_owned(),
        detail: String::new(),
        dry_run: false,
    }
}
