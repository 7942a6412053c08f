//! Who the agent is: its own certificate from the internal authority, and the broker's from the fleet's.
//!
//! Both keys are made here and never leave. A key is on the disk before anybody is asked for a certificate for it, so the same
//! question may be asked again after any interruption, and has the same answer.

mod join;

use std::path::{Path, PathBuf};

use muster_api::Client;
use muster_api::agent::{Join, Request};
use muster_api::types::Issued;
use muster_pki::cert::Certificate;
use muster_pki::key::PrivateKey;
use muster_pki::{csr, pem};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::beside::check::half;
use crate::ca;
use crate::disk::{self, Access, Lock};
use crate::pair::{Pair, new_key};
use crate::{Clock, Error};
use jiff::Timestamp;

/// Where the CA is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Settings {
    broker: String,
    program: String,
    url: String,
    /// SHA-256 over the secret that the agent joined with.
    joined_with: String,
}

/// The agent's state directory, and who it is.
pub struct Identity {
    dir: PathBuf,
    settings: Settings,
    root: Certificate,
    agent: Pair,
    server: Option<Pair>,
    /// Roots that vouch for the CA's address: the one that the agent joined with, and the fleet's.
    vouchers: Vec<Certificate>,
    clock: Clock,
    _lock: Lock,
}

impl Identity {
    /// Reads who the agent of `broker` is. With a join file that was not used yet, it joins first.
    pub async fn open(dir: &Path, broker: &str, join: Option<&Path>, clock: Clock) -> Result<Self, Error> {
        disk::own_dir(dir)?;
        let lock = Lock::acquire(dir)?;
        if let Some(file) = join {
            join::with_file(dir, broker, file).await?;
        }
        let missing = || {
            Error::new(format!(
                "this agent has not joined yet (on the CA: muster broker add {broker} --program mosquitto, or muster \
                 broker join {broker}; then bring the join file here and add --join FILE)"
            ))
        };
        let settings = disk::read(&dir.join(SETTINGS))?.ok_or_else(missing)?;
        let settings: Settings = serde_json::from_slice(&settings)
            .map_err(|why| Error::new(format!("{} cannot be read: {why}", dir.join(SETTINGS).display())))?;
        if settings.broker != broker {
            return Err(Error::new(format!(
                "{} belongs to the broker {}, not to {broker}",
                dir.display(),
                settings.broker
            )));
        }
        let root = one_certificate(dir, ROOT)?.ok_or_else(missing)?;
        let voucher = one_certificate(dir, VOUCHER)?.ok_or_else(missing)?;
        Ok(Self {
            agent: read_pair(dir, AGENT)?.ok_or_else(missing)?,
            server: read_pair(dir, SERVER)?,
            dir: dir.to_owned(),
            settings,
            root,
            vouchers: vec![voucher],
            clock,
            _lock: lock,
        })
    }

    /// The broker's name.
    pub fn broker(&self) -> &str {
        &self.settings.broker
    }

    /// What the broker is, such as `mosquitto`.
    pub fn program(&self) -> &str {
        &self.settings.program
    }

    /// The internal authority's root, which epochs are believed by.
    pub fn root(&self) -> &Certificate {
        &self.root
    }

    /// A file of the state directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The agent's own certificate.
    pub fn agent(&self) -> &Pair {
        &self.agent
    }

    /// The broker's certificate, chain and key.
    pub fn server(&self) -> Option<&Pair> {
        self.server.as_ref()
    }

    /// From now on, roots among these vouch for the CA's address, too: a fleet's root may follow another. Whether that is new.
    pub fn trust(&mut self, anchors: &[Certificate]) -> bool {
        let roots = anchors
            .iter()
            .filter(|anchor| anchor.verify_issued_by(anchor.key()).is_ok());
        let roots: Vec<Certificate> = roots.cloned().collect();
        let known = self.vouchers.iter().skip(1).map(Certificate::der);
        let new = !known.eq(roots.iter().map(Certificate::der));
        self.vouchers.truncate(1);
        self.vouchers.extend(roots);
        new
    }

    /// A client of the CA that shows the agent's certificate.
    pub fn client(&self) -> Result<Client, Error> {
        let connector = ca::connector(&self.settings.url, &self.vouchers, Some(&self.agent))?;
        Ok(Client::new(connector, None))
    }

    /// Renews the agent's own certificate once half of its life is over. Whether it did: clients have to be made anew then.
    pub async fn renew(&mut self, client: &Client) -> Result<bool, Error> {
        if !is_half_over(&self.agent, (self.clock)()) {
            return Ok(false);
        }
        self.agent = certify(&self.dir, AGENT, client, "/agent/renew", &self.settings.broker).await?;
        Ok(true)
    }

    /// Gets the broker's certificate, or another once half of its life is over. Whether it did.
    pub async fn renew_server(&mut self, client: &Client) -> Result<bool, Error> {
        let young = self
            .server
            .as_ref()
            .filter(|pair| !is_half_over(pair, (self.clock)()));
        if young.is_some() {
            return Ok(false);
        }
        let broker = &self.settings.broker;
        self.server = Some(certify(&self.dir, SERVER, client, "/agent/certificate", broker).await?);
        Ok(true)
    }

    /// A good canary with a key of its own; it lives for minutes, so nothing of it is kept.
    pub async fn canary(&self, client: &Client) -> Result<Pair, Error> {
        let key = new_key()?;
        let issued: Issued = client
            .post("/agent/canary", &request(&key, self.broker())?)
            .await?;
        pair(key, &issued)
    }
}

/// Files of the state directory.
const SETTINGS: &str = "ca.json";
const ROOT: &str = "internal-root.pem";
const VOUCHER: &str = "ca-root.pem";
const AGENT: &str = "agent.pem";
const SERVER: &str = "broker.pem";

/// Asks for a certificate for a new key that is on the disk already, and keeps both in one file.
async fn certify(dir: &Path, name: &str, client: &Client, path: &str, broker: &str) -> Result<Pair, Error> {
    let key = next_key(dir, name)?;
    let issued: Issued = client.post(path, &request(&key, broker)?).await?;
    keep(dir, name, key, &issued)
}

/// The key that was made for the next certificate, or a new one.
fn next_key(dir: &Path, name: &str) -> Result<PrivateKey, Error> {
    let path = disk::with_suffix(&dir.join(name), "key");
    if let Some(text) = disk::read_text(&path)?.map(Zeroizing::new)
        && let Ok(key) = PrivateKey::from_pem(&text)
    {
        return Ok(key);
    }
    let key = new_key()?;
    disk::write(&path, key.to_pem()?.as_bytes(), Access::OWN)?;
    Ok(key)
}

/// The CA knows who asks; only the first request of all has to name the agent.
fn request(key: &PrivateKey, broker: &str) -> Result<Request, Error> {
    let der = csr::Csr::build(&format!("muster-agent.{broker}"), &[], key)?;
    Ok(Request {
        csr: pem::encode(pem::CSR, &der)?,
    })
}

fn keep(dir: &Path, name: &str, key: PrivateKey, issued: &Issued) -> Result<Pair, Error> {
    let pair = pair(key, issued)?;
    let path = dir.join(name);
    disk::write(&path, pair.to_pem()?.as_bytes(), Access::OWN)?;
    disk::remove(&disk::with_suffix(&path, "key"))?;
    Ok(pair)
}

fn pair(key: PrivateKey, issued: &Issued) -> Result<Pair, Error> {
    let chain = Certificate::all_from_pem(&format!("{}{}", issued.pem, issued.issuing))?;
    let [leaf, issuing, ..] = &chain[..] else {
        return Err(Error::new("the CA has sent no certificate with its issuer"));
    };
    if leaf.key() != key.public() {
        return Err(Error::new("the CA has sent a certificate for another key"));
    }
    leaf.verify_issued_by(issuing.key())?;
    Pair::new(chain, key)
}

fn read_pair(dir: &Path, name: &str) -> Result<Option<Pair>, Error> {
    let path = dir.join(name);
    let text = disk::read_text(&path)?.map(Zeroizing::new);
    let pair = text.map(|text| Pair::from_pem(&text)).transpose();
    pair.map_err(|why| Error::new(format!("{}: {why}", path.display())))
}

fn one_certificate(dir: &Path, name: &str) -> Result<Option<Certificate>, Error> {
    let Some(text) = disk::read_text(&dir.join(name))? else {
        return Ok(None);
    };
    Ok(Certificate::all_from_pem(&text)?.into_iter().next())
}

/// What `broker add` wrote.
fn read_join(file: &Path) -> Result<Option<Join>, Error> {
    let Some(text) = disk::read(file)?.map(Zeroizing::new) else {
        return Ok(None);
    };
    let join = serde_json::from_slice(&text);
    // What serde says may hold what it read, and that is a secret.
    join.map(Some)
        .map_err(|_| Error::new(format!("{} is no join file", file.display())))
}

/// Whether half of a certificate's life is over.
fn is_half_over(pair: &Pair, now: Timestamp) -> bool {
    now >= half(pair.leaf().not_before(), pair.leaf().not_after())
}
