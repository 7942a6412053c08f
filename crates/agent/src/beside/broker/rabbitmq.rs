//! RabbitMQ 3.10 and its MQTT plugin: a directory of CRLs, which it reads at every handshake; questions that it asks the agent; and its
//! management API, by which sessions end.
//!
//! RabbitMQ has to know every user. The agent does not know every device, and need not: it is asked when somebody comes, and
//! knows who is shut out and what each may do.

mod answer;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use muster_api::agent::Denial;
use muster_api::client::escape;
use muster_pki::{name, pem};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::{Broker, Ended, Orders, Place, Refusal, Rendered};
use crate::beside::access::AccessList;
use crate::beside::denials::Denials;
use crate::beside::files::File;
use crate::beside::http::{self, Answering};
use crate::{Error, disk};

/// Where its management API is, unless told.
const CONTROL: &str = "127.0.0.1:15672";
const FILES: [&str; 3] = ["trust.pem", "server.pem", "access.json"];

/// The adapter.
pub(super) struct RabbitMq {
    dir: PathBuf,
    port: String,
    control: String,
    answer: SocketAddr,
    known: Arc<Known>,
    answering: Mutex<Option<Answering>>,
}

/// What answers are made of.
struct Known {
    list: RwLock<AccessList>,
    denials: Denials,
    /// By which RabbitMQ knows the agent: it asks the agent whether it is right.
    secret: Zeroizing<String>,
}

impl RabbitMq {
    pub(super) fn new(dir: PathBuf, place: &Place) -> Result<Self, Error> {
        Ok(Self {
            dir,
            port: place.port().to_owned(),
            control: place.control.clone().unwrap_or_else(|| CONTROL.into()),
            answer: place.answer()?,
            known: Arc::new(Known {
                list: RwLock::default(),
                denials: Denials::default(),
                secret: http::secret()?,
            }),
            answering: Mutex::default(),
        })
    }

    /// The list that lies there; nobody has any right while there is none.
    fn list(&self) -> Result<Option<AccessList>, Error> {
        let text = disk::read_text(&self.dir.join("access.json"))?;
        text.map(|text| AccessList::read(&text)).transpose()
    }

    /// From now on answers are made of this. The list before.
    fn take_up(&self, list: AccessList) -> AccessList {
        let mut known = self.known.list.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *known, list)
    }

    async fn api(&self, method: &str, path: &str) -> Result<(u16, bytes::Bytes), Error> {
        http::ask(
            &self.control,
            (answer::AGENT, &self.known.secret),
            method,
            path,
            None,
        )
        .await
    }

    /// Ends the sessions of these.
    async fn end(&self, devices: &[String]) -> Result<(), Error> {
        let mut tasks = JoinSet::new();
        for device in devices {
            let (control, known) = (self.control.clone(), self.known.clone());
            let path = format!("/api/connections/username/{}", escape(device));
            tasks.spawn(async move {
                http::ask(&control, (answer::AGENT, &known.secret), "DELETE", &path, None).await
            });
        }
        while let Some(done) = tasks.join_next().await {
            match done.map_err(|why| Error::new(why.to_string()))?? {
                (200..300 | 404, _) => {}
                (status, _) => {
                    return Err(Error::new(format!(
                        "RabbitMQ does not end sessions (status {status}; its configuration has to be what `muster broker run \
                         --print-config` prints)"
                    )));
                }
            }
        }
        Ok(())
    }
}

impl Known {
    fn answer(&self, path: &str, body: &[u8]) -> String {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        let (answer, denied) = answer::answer(&list, &self.secret, path, body);
        if let Some((device, topic)) = denied {
            self.denials.note(&device, &topic);
        }
        answer.to_owned()
    }
}

#[async_trait]
impl Broker for RabbitMq {
    /// With what lies there: whoever was let in before this agent was there is let in now.
    async fn start(&self) -> Result<(), Error> {
        if let Some(list) = self.list()? {
            self.take_up(list);
        }
        let known = self.known.clone();
        let answerer = Arc::new(move |path: &str, body: &[u8]| known.answer(path, body));
        let answering = http::answer(self.answer, "text/plain", answerer).await?;
        *self.answering.lock().unwrap_or_else(PoisonError::into_inner) = Some(answering);
        Ok(())
    }

    fn render(&self, orders: &Orders) -> Result<Rendered, Error> {
        let mut files = Vec::new();
        for crl in &orders.crls {
            let hash = name::directory_hash(&crl.issuer()?)?;
            files.push(File::open(
                &format!("{hash}.r0"),
                &pem::encode(pem::CRL, crl.der())?,
            ));
        }
        let [trust, server, access] = FILES;
        files.push(File::open(trust, &orders.trust));
        files.push(File::secret(server, &orders.server));
        files.push(File::secret(access, &AccessList::of(orders)?));
        let names: BTreeSet<&String> = files.iter().map(|file| &file.name).collect();
        if names.len() < files.len() {
            return Err(Error::new(
                "two CAs have the same name for RabbitMQ, which then finds one CRL only",
            ));
        }
        let dotted = orders.devices.keys().filter(|name| name.contains('.'));
        let shortfalls = dotted.map(|name| {
            format!(
                "{name} may use no topic on this broker although its rules say so: RabbitMQ takes dots for slashes, and could not \
                 tell it from another (give it a name without dots)"
            )
        });
        let shortfalls = shortfalls.collect();
        Ok(Rendered { files, shortfalls })
    }

    /// It says so itself: whom it cannot judge, it refuses.
    fn can_read(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Lists are read at each handshake; the rest is the agent's own matter. Rules that are remembered by a session end with it.
    async fn signal(&self) -> Result<(), Error> {
        let list = self.list()?.unwrap_or_default();
        let before = self.take_up(list.clone());
        let changed = list.changed(&before).unwrap_or_default();
        let (status, _) = self.api("GET", "/api/whoami").await?;
        if status != 200 {
            return Err(Error::new(format!(
                "RabbitMQ does not know the agent (status {status}; its configuration has to be what `muster broker run \
                 --print-config` prints)"
            )));
        }
        let changed: Vec<String> = changed.into_iter().collect();
        self.end(&changed).await
    }

    async fn shut_out(&self, devices: &[String]) -> Result<Ended, Error> {
        self.end(devices).await?;
        Ok(Ended::Over)
    }

    fn once_more(&self) -> &'static [Duration] {
        &super::ONCE_MORE
    }

    fn refusal(&self) -> Refusal {
        Refusal::Handshake
    }

    /// It asks when the CONNECT comes.
    fn half_open(&self) -> Duration {
        Duration::ZERO
    }

    async fn denials(&self) -> Result<Vec<Denial>, Error> {
        Ok(self.known.denials.take())
    }

    fn config(&self) -> String {
        let (host, control) = self.control.rsplit_once(':').unwrap_or(("127.0.0.1", "15672"));
        include_str!("rabbitmq/muster.conf")
            .replace("@ADVANCED@", include_str!("rabbitmq/advanced.config").trim_end())
            .replace("@DIR@", &self.dir.display().to_string())
            .replace("@PORT@", &self.port)
            .replace("@ANSWER@", &self.answer.to_string())
            .replace("@HOST@", host)
            .replace("@CONTROL@", control)
    }
}
