//! What the routes share: the authority, the counters, and answers that are expensive to make.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use axum::extract::FromRef;
use bytes::Bytes;
use jiff::SignedDuration;
use muster_api::Code;
use muster_ca::Ca;
use muster_ca::Proof;
use muster_ca::authority::DEFAULT;
use muster_ca::ports::Crl;
use muster_ca::standing::{About, Todo};
use muster_ca::token::EnrolmentToken;
use muster_pki::{Error, pem};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::attempts::{Attempts, Who};
use crate::diagnosis::Diagnosis;
use crate::health::Probe;
use crate::metrics::Metrics;
use crate::settings::Settings;

/// Tells what an operator should see to that only the program knows: files that should not be where they are.
pub type Todos = Arc<dyn Fn() -> Vec<Todo> + Send + Sync>;

/// How many passwords are hashed at once: each takes 19 MiB and a core for some hundredths of a second.
const HASHING: usize = 2;

/// What every route of every listener shares. Cheap to clone.
#[derive(Clone)]
pub struct Edge(Arc<Inner>);

struct Inner {
    ca: Arc<Ca>,
    todos: Todos,
    metrics: Metrics,
    probe: Probe,
    settings: Settings,
    attempts: Attempts,
    diagnosis: Arc<Diagnosis>,
    hashing: Arc<Semaphore>,
    issuing: ArcSwapOption<Armoured>,
    crls: Mutex<HashMap<(String, u32), (u64, Bytes)>>,
}

struct Armoured {
    der: Vec<u8>,
    pem: Arc<str>,
}

impl Edge {
    /// Puts the edge in front of an authority. `todos` tells what an operator should see to that only the program knows.
    pub fn new(ca: Arc<Ca>, todos: Todos, settings: Settings) -> Self {
        Self(Arc::new(Inner {
            ca,
            todos,
            diagnosis: Arc::new(Diagnosis::new(settings.diagnosis_listen)),
            settings,
            attempts: Attempts::default(),
            metrics: Metrics::default(),
            probe: Probe::default(),
            hashing: Arc::new(Semaphore::new(HASHING)),
            issuing: ArcSwapOption::empty(),
            crls: Mutex::default(),
        }))
    }

    /// The authority.
    pub fn ca(&self) -> &Arc<Ca> {
        &self.0.ca
    }

    /// What an operator should see to, the most urgent first: in the authority, and what only the program knows.
    pub(crate) async fn todos(&self, known: Vec<Todo>) -> Result<Vec<Todo>, muster_ca::Error> {
        let mut all = [known, (self.0.todos)()].concat();
        if all.iter().any(|todo| todo.about == About::FirstLogin) && !self.ca().awaits_setup().await? {
            all.retain(|todo| todo.about != About::FirstLogin);
        }
        all.sort_by_key(|todo| !todo.urgent);
        Ok(all)
    }

    /// What the configuration says.
    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// SHA-256 over the root that vouches for the CA API, hexadecimal: the default authority's.
    pub(crate) fn fingerprint(&self) -> Result<String, muster_ca::Error> {
        let all = self.ca().authorities();
        let default = all.iter().find(|authority| authority.name == DEFAULT);
        let missing = || muster_ca::Error::Internal("there is no default authority".into());
        let root = default.ok_or_else(missing)?.root()?.parsed()?;
        Ok(root
            .fingerprint()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect())
    }

    /// What a device enrols with.
    pub(crate) fn code(&self, token: &EnrolmentToken, secret: &str) -> Result<Code, muster_ca::Error> {
        let url = &self.settings().ca_url;
        Ok(Code {
            name: token.device.as_ref().map(ToString::to_string),
            secret: Zeroizing::new(secret.to_owned()),
            host: url.strip_prefix("https://").unwrap_or(url).to_owned(),
            fingerprint: self.fingerprint()?,
        })
    }

    /// What may keep a device from enrolling with this token: a name of the CA that means another machine there, or a key that it has.
    pub(crate) async fn notes(
        &self,
        proof: Proof,
        token: &EnrolmentToken,
    ) -> Result<Vec<String>, muster_ca::Error> {
        let url = &self.settings().ca_url;
        let host = url.strip_prefix("https://").unwrap_or(url);
        let mut notes = Vec::new();
        if host.split(':').next() == Some("localhost") {
            notes.push(
                "it names this machine as localhost, which is another one elsewhere; for devices elsewhere start the CA with the \
                 name that they reach it by: muster up --dns NAME,localhost"
                    .to_owned(),
            );
        }
        if let Some(name) = token.device.as_ref().filter(|_| !token.recovers) {
            let now = self.ca().now();
            let all = self.ca().certificates_of(proof, name, now).await?;
            let armed = self.ca().is_new(name).await?;
            if !armed && all.iter().any(|one| one.is_living(now)) {
                notes.push(format!(
                    "{name} has a living certificate, so another key will be refused; if it lost its key: muster device recover {name}"
                ));
            }
        }
        Ok(notes)
    }

    /// How often whom may try; the same for every door.
    pub(crate) fn attempts(&self) -> &Attempts {
        &self.0.attempts
    }

    /// The diagnosis listener.
    pub(crate) fn diagnosis(&self) -> &Arc<Diagnosis> {
        &self.0.diagnosis
    }

    /// Where a device connects to the diagnosis listener, such as `ca.example.org:8884`.
    pub(crate) fn diagnosis_address(&self) -> String {
        let url = &self.settings().ca_url;
        let authority = url.strip_prefix("https://").unwrap_or(url);
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        format!("{host}:{}", self.diagnosis().address().port())
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn probe(&self) -> &Probe {
        &self.0.probe
    }

    /// Asks the authority for something that hashes a password: on a thread where that hurts nobody, and few at a time.
    pub(crate) async fn hashing<T, F>(
        &self,
        ask: impl FnOnce(Arc<Ca>) -> F + Send + 'static,
    ) -> Result<T, muster_ca::Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, muster_ca::Error>>,
    {
        let broken = |why: &dyn std::fmt::Display| muster_ca::Error::Internal(why.to_string());
        let turn = self.0.hashing.clone().acquire_owned().await;
        let turn = turn.map_err(|why| broken(&why))?;
        let (ca, runtime) = (self.ca().clone(), tokio::runtime::Handle::current());
        let asked = tokio::task::spawn_blocking(move || {
            let answer = runtime.block_on(ask(ca));
            drop(turn);
            answer
        });
        asked.await.map_err(|why| broken(&why))?
    }

    /// Asks for what takes the password of somebody who is known again. Whoever guesses has to wait so long.
    pub(crate) async fn proving_again<F>(
        &self,
        name: &str,
        ask: impl FnOnce(Arc<Ca>) -> F + Send + 'static,
    ) -> Result<Result<(), muster_ca::Error>, SignedDuration>
    where
        F: Future<Output = Result<(), muster_ca::Error>>,
    {
        let who = [Who::Account(name.to_owned())];
        self.attempts().take(&who, self.ca().now())?;
        let done = self.hashing(ask).await;
        if done.is_ok() {
            self.attempts().give_back(&who);
        }
        Ok(done)
    }

    /// The PEM of an issuing CA's certificate. Nearly every answer has the same one, so the last is kept.
    pub(crate) fn issuing_pem(&self, der: &[u8]) -> Result<Arc<str>, Error> {
        if let Some(last) = &*self.0.issuing.load()
            && last.der == der
        {
            return Ok(last.pem.clone());
        }
        let pem: Arc<str> = pem::encode(pem::CERTIFICATE, der)?.into();
        self.0.issuing.store(Some(Arc::new(Armoured {
            der: der.to_vec(),
            pem: pem.clone(),
        })));
        Ok(pem)
    }

    /// The PEM of a CRL. A list of a large fleet has megabytes, and anybody may ask for it.
    pub(crate) fn crl_pem(&self, crl: &Crl) -> Result<Bytes, Error> {
        let place = (crl.authority.clone(), crl.generation);
        let kept = |lists: &HashMap<_, (u64, Bytes)>| {
            lists
                .get(&place)
                .filter(|(number, _)| *number == crl.number)
                .map(|(_, pem)| pem.clone())
        };
        if let Some(pem) = kept(&self.0.crls.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(pem);
        }
        let pem = Bytes::from(pem::encode(pem::CRL, &crl.der)?);
        let mut lists = self.0.crls.lock().unwrap_or_else(PoisonError::into_inner);
        lists.insert(place, (crl.number, pem.clone()));
        Ok(pem)
    }
}

impl FromRef<Edge> for Arc<Ca> {
    fn from_ref(edge: &Edge) -> Self {
        edge.ca().clone()
    }
}
