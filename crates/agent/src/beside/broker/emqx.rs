//! EMQX 5: questions that it asks the agent when somebody comes and does something, and its REST API, by which sessions end.
//!
//! EMQX fetches lists by itself, once a minute at best, and never ends a session because of one. So it looks at no list at all: the agent
//! looks at the certificate of everybody who comes. EMQX has not been run by those who wrote this: `tests/adapters.rs` has a stand-in.

mod judge;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use muster_api::agent::Denial;
use muster_api::client::escape;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use self::judge::Judge;
use super::{Broker, Ended, Orders, Place, Refusal, Rendered};
use crate::beside::access::AccessList;
use crate::beside::denials::Denials;
use crate::beside::files::File;
use crate::beside::http::{self, Answering};
use crate::{Clock, Error, disk};

/// Where its REST API is, unless told.
const CONTROL: &str = "127.0.0.1:18083";
/// As which its API knows the agent.
const USER: &str = "muster-agent";
const KEY: &str = "api-key";
/// For how long a device that is shut out is banned as well, in which time its will is not published. It is refused after that, too: by the agent.
const BAN: SignedDuration = SignedDuration::from_mins(10);
/// How many calls are made at once.
const AT_ONCE: usize = 64;
/// How many sessions are ended with one call.
const MOST_KICKS: usize = 500;

/// The adapter.
pub(super) struct Emqx {
    dir: PathBuf,
    port: String,
    answer: SocketAddr,
    api: Api,
    known: Arc<Known>,
    answering: Mutex<Option<Answering>>,
    /// Bans that have to be lifted.
    to_lift: Mutex<BTreeSet<String>>,
}

/// What answers are made of.
struct Known {
    judge: RwLock<Option<Judge>>,
    denials: Denials,
    clock: Clock,
}

impl Emqx {
    pub(super) fn new(dir: PathBuf, place: &Place, clock: Clock) -> Result<Self, Error> {
        let kept = disk::read_text(&dir.join(KEY)).ok().flatten().map(Zeroizing::new);
        let kept = kept
            .as_ref()
            .and_then(|line| line.trim().strip_prefix(USER)?.strip_prefix(':'));
        let key = match kept {
            Some(key) => Zeroizing::new(key.to_owned()),
            None => http::secret()?,
        };
        Ok(Self {
            dir,
            port: place.port().to_owned(),
            answer: place.answer()?,
            api: Api {
                address: place.control.clone().unwrap_or_else(|| CONTROL.into()),
                key: Arc::new(key),
            },
            known: Arc::new(Known {
                judge: RwLock::default(),
                denials: Denials::default(),
                clock,
            }),
            answering: Mutex::default(),
            to_lift: Mutex::default(),
        })
    }

    /// Lifts the bans of those who are let in again. What fails is tried again with the next set; a ban ends by itself, too.
    async fn lift(&self) -> Result<(), Error> {
        let all: Vec<String> = {
            let mut to_lift = self.to_lift.lock().unwrap_or_else(PoisonError::into_inner);
            to_lift.retain(|device| self.known.lets_in(device));
            to_lift.iter().cloned().collect()
        };
        for some in all.chunks(AT_ONCE) {
            let paths = some
                .iter()
                .map(|device| format!("/banned/clientid/{}", escape(device)));
            self.api.all("DELETE", paths.map(|path| (path, None))).await?;
            let mut to_lift = self.to_lift.lock().unwrap_or_else(PoisonError::into_inner);
            to_lift.retain(|device| !some.contains(device));
        }
        Ok(())
    }
}

impl Known {
    fn with<T>(&self, ask: impl FnOnce(&Judge) -> T) -> Option<T> {
        let judge = self.judge.read().unwrap_or_else(PoisonError::into_inner);
        judge.as_ref().map(ask)
    }

    /// Whether a device is let in, as far as its name goes.
    fn lets_in(&self, device: &str) -> bool {
        self.with(|judge| judge.access.lets_in(device)) == Some(true)
    }

    /// An answer as EMQX wants it. What is no question is refused.
    fn answer(&self, path: &str, body: &[u8]) -> String {
        let answer = match path {
            "/authentication" => self.admission(body),
            "/authorization" => self.permission(body),
            _ => None,
        };
        answer.unwrap_or_else(|| json!({ "result": "deny" })).to_string()
    }

    fn admission(&self, body: &[u8]) -> Option<Value> {
        let who = read(body)?;
        let until = self.with(|judge| judge.admits(&who, (self.clock)()))??;
        // EMQX ends the session then.
        Some(json!({ "result": "allow", "is_superuser": false, "expire_at": until.as_second() }))
    }

    fn permission(&self, body: &[u8]) -> Option<Value> {
        let what: judge::Use = read(body)?;
        if self.with(|judge| judge.allows(&what)) == Some(true) {
            return Some(json!({ "result": "allow" }));
        }
        self.denials.note(&what.clientid, &what.topic);
        None
    }
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}

#[async_trait]
impl Broker for Emqx {
    /// With what lies there: whoever was let in before this agent was there is let in now.
    async fn start(&self) -> Result<(), Error> {
        *self.known.judge.write().unwrap_or_else(PoisonError::into_inner) = Judge::load(&self.dir)?;
        let known = self.known.clone();
        let answerer = Arc::new(move |path: &str, body: &[u8]| known.answer(path, body));
        let answering = http::answer(self.answer, "application/json", answerer).await?;
        *self.answering.lock().unwrap_or_else(PoisonError::into_inner) = Some(answering);
        Ok(())
    }

    fn render(&self, orders: &Orders) -> Result<Rendered, Error> {
        let key = Zeroizing::new(format!("{USER}:{}\n", self.api.key.as_str()));
        let files = vec![
            File::open("crls.pem", &orders.crls_pem()?),
            File::open("trust.pem", &orders.trust),
            File::secret("server.pem", &orders.server),
            File::secret("access.json", &AccessList::of(orders)?),
            File::secret(KEY, &key),
        ];
        Ok(Rendered {
            files,
            shortfalls: Vec::new(),
        })
    }

    /// It says so itself: whom it cannot judge, it refuses.
    fn can_read(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The agent's own matter first: from here on, who is shut out is refused.
    async fn signal(&self) -> Result<(), Error> {
        let judge = Judge::load(&self.dir)?;
        let judge = judge.ok_or_else(|| Error::new("the files that the agent answers by are missing"))?;
        let changed = {
            let mut known = self.known.judge.write().unwrap_or_else(PoisonError::into_inner);
            let now = &judge.access;
            let changed = known.as_ref().and_then(|before| now.changed(&before.access));
            let let_in = known.as_ref().map(|before| now.let_in_since(&before.access));
            let mut to_lift = self.to_lift.lock().unwrap_or_else(PoisonError::into_inner);
            to_lift.extend(let_in.unwrap_or_default());
            *known = Some(judge);
            changed
        };
        // EMQX remembers what it was told about topics, and a session what it has subscribed to.
        match changed {
            Some(devices) => self.api.kick(&devices).await?,
            None => self.api.call("DELETE", "/authorization/cache", None).await?,
        }
        self.lift().await
    }

    async fn shut_out(&self, devices: &[String]) -> Result<Ended, Error> {
        let (stay, out): (Vec<_>, Vec<_>) = devices
            .iter()
            .cloned()
            .partition(|device| self.known.lets_in(device));
        let until = ((self.known.clock)() + BAN)
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string();
        let bans = out.iter().map(|device| {
            let ban =
                json!({ "as": "clientid", "who": device, "by": USER, "reason": "shut out", "until": until });
            ("/banned".to_owned(), Some(ban))
        });
        self.api.all("POST", bans).await?;
        // A ban ends the session, but not if there was one already.
        self.api.kick(&[&stay[..], &out].concat()).await?;
        Ok(Ended::Over)
    }

    fn once_more(&self) -> &'static [Duration] {
        &super::ONCE_MORE
    }

    /// It finishes the handshake, and asks then.
    fn refusal(&self) -> Refusal {
        Refusal::Session
    }

    /// It asks when the CONNECT comes.
    fn half_open(&self) -> Duration {
        Duration::ZERO
    }

    async fn denials(&self) -> Result<Vec<Denial>, Error> {
        Ok(self.known.denials.take())
    }

    fn config(&self) -> String {
        include_str!("emqx/muster.conf")
            .replace("@DIR@", &self.dir.display().to_string())
            .replace("@PORT@", &self.port)
            .replace("@ANSWER@", &self.answer.to_string())
            .replace("@CONTROL@", &self.api.address)
    }
}

/// Its REST API (`/api/v5`).
#[derive(Clone)]
struct Api {
    address: String,
    key: Arc<Zeroizing<String>>,
}

impl Api {
    /// A call that has to succeed; what is gone already, or there already, is as good.
    async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(), Error> {
        let path = format!("/api/v5{path}");
        let (status, answer) = http::ask(&self.address, (USER, &self.key), method, &path, body).await?;
        let there = status == 400 && String::from_utf8_lossy(&answer).contains("ALREADY_EXISTS");
        match status {
            200..300 | 404 => Ok(()),
            _ if there => Ok(()),
            401 | 403 => Err(Error::new(format!(
                "EMQX does not know the agent's key (status {status}; it reads it when it starts: restart it once, with what `muster \
                 broker run --print-config --program emqx` prints)"
            ))),
            _ => Err(Error::new(format!(
                "EMQX does not do as it is told (status {status} to {method} {path})"
            ))),
        }
    }

    /// Many of them at once.
    async fn all(
        &self,
        method: &'static str,
        calls: impl Iterator<Item = (String, Option<Value>)>,
    ) -> Result<(), Error> {
        let mut tasks = JoinSet::new();
        for (path, body) in calls {
            let api = self.clone();
            tasks.spawn(async move { api.call(method, &path, body.as_ref()).await });
        }
        while let Some(done) = tasks.join_next().await {
            done.map_err(|why| Error::new(why.to_string()))??;
        }
        Ok(())
    }

    /// Ends the sessions of these, as far as they have any.
    async fn kick(&self, devices: &[String]) -> Result<(), Error> {
        for some in devices.chunks(MOST_KICKS) {
            self.call("POST", "/clients/kickout/bulk", Some(&json!(some)))
                .await?;
        }
        Ok(())
    }
}
