//! Enrolling: from a word that an operator made to a certificate, once and for all.
//!
//! The same call may be made again after any interruption. The key is on the disk before the CA is asked; the CA binds the token to
//! it and answers the same question with the same certificate, until the device says that it has it; and what says that all is done
//! is written last.

use std::path::PathBuf;

use muster_api::types::{Certificate as View, EnrolRequest, Issued};
use muster_api::{Client, Code};
use muster_pki::csr::Csr;
use muster_pki::key::{PrivateKey, sha256};
use muster_pki::pem;
use muster_pki::snippet::{Facts, Use};

use super::files::{Home, Settings};
use super::{anchors, time};
use crate::files::hex;
use crate::local::{Pair, new_key};
use crate::{Clock, Error, ca};

/// What a device enrols with.
#[derive(Debug, Clone)]
pub struct Ask {
    /// What an operator gave it.
    pub code: Code,
    /// Its name, if the code is for a wave.
    pub name: Option<String>,
    /// Where its files go.
    pub dir: PathBuf,
    /// The group that may read its key, by name or number.
    pub group: Option<String>,
    /// Its broker, `HOST:PORT`.
    pub broker: Option<String>,
    /// What `/bin/sh` runs when the files have changed.
    pub hook: Option<String>,
}

/// A device that has a certificate.
#[derive(Debug)]
pub struct Enrolled {
    /// Its files.
    pub home: Home,
    /// What it was told.
    pub settings: Settings,
    /// Its certificate and key.
    pub pair: Pair,
    /// Whether it had enrolled with this very code before.
    pub before: bool,
}

/// Enrols, or goes on with what was interrupted.
pub async fn enrol(ask: Ask, system: &Clock) -> Result<Enrolled, Error> {
    let name = name(&ask)?;
    let home = Home::open(&ask.dir)?;
    let enrolled_with = hex(&sha256(ask.code.secret.as_bytes()));
    let known = home.settings()?;
    if let Some(other) = known.as_ref().filter(|known| known.name != name) {
        return Err(Error::new(format!(
            "{} belongs to {} already (choose another directory with --dir)",
            home.dir().display(),
            other.name
        )));
    }
    home.recover(&name)?;
    let mut settings = match known.filter(|known| known.enrolled_with == enrolled_with) {
        Some(known) => Settings {
            broker: ask.broker.or(known.broker),
            group: ask.group.or(known.group),
            hook: ask.hook.or(known.hook),
            ..known
        },
        None => {
            let root = ca::root(&ask.code.url(), &ask.code.fingerprint).await?;
            // From now on a key that comes next is for this code; none: its certificate is in place.
            home.next_key(&name, ask.group.as_deref())?;
            Settings {
                name: name.clone(),
                url: ask.code.url(),
                root: root.to_pem()?,
                enrolled_with,
                enrolled: false,
                broker: ask.broker,
                group: ask.group,
                hook: ask.hook,
            }
        }
    };
    home.save(&settings)?;
    let before = settings.enrolled;
    if !before {
        let roots = ca::roots(&settings.root)?;
        let clock = time::right(home.dir(), &settings.url, &roots, system).await?;
        if home.has_next_key(&name)? {
            fetch(&home, &settings, &ask.code, &clock).await?;
            // A new root may have come.
            settings.root = home.settings()?.map_or(settings.root, |saved| saved.root);
        }
        let pair = home.pair(&name)?;
        let connector = ca::connector_by(&settings.url, &roots, pair.as_ref(), &clock)?;
        let client = Client::new(connector, None);
        let _: View = client.post("/enrol/confirm", &serde_json::json!({})).await?;
        settings.enrolled = true;
        // What comes last says that all of the rest is there.
        home.save(&settings)?;
    }
    let pair = home.pair_in_use(&name)?;
    Ok(Enrolled {
        home,
        settings,
        pair,
        before,
    })
}

/// Whether the CA would give a certificate: it is asked for one for a key that is made for that alone, and gives none. Writes
/// nothing.
pub async fn rehearse(ask: &Ask) -> Result<String, Error> {
    let name = name(ask)?;
    let root = ca::root(&ask.code.url(), &ask.code.fingerprint).await?;
    let connector = ca::connector(&ask.code.url(), std::slice::from_ref(&root), None)?;
    let mut client = Client::new(connector, None);
    client.set_dry_run(true);
    let request = EnrolRequest {
        token: ask.code.secret.to_string(),
        csr: request(&new_key()?, &name)?,
    };
    let _: Issued = client.post("/enrol", &request).await?;
    Ok(name)
}

/// A certificate for a key that is on the disk, and both in place.
async fn fetch(home: &Home, settings: &Settings, code: &Code, clock: &Clock) -> Result<(), Error> {
    let name = &settings.name;
    let key = home.next_key(name, settings.group.as_deref())?;
    let roots = ca::roots(&settings.root)?;
    let client = Client::new(ca::connector_by(&settings.url, &roots, None, clock)?, None);
    let request = EnrolRequest {
        token: code.secret.to_string(),
        csr: request(&key, name)?,
    };
    let issued: Issued = client.post("/enrol", &request).await?;
    anchors::believe(home, settings, &issued)?;
    home.keep_next(name, &issued)?;
    home.install(name)?;
    home.commit(name)
}

/// A certificate request, PEM.
pub(super) fn request(key: &PrivateKey, name: &str) -> Result<String, Error> {
    Ok(pem::encode(pem::CSR, &Csr::build(name, &[], key)?)?)
}

/// The device's name: the code's, or for a wave the device's own.
fn name(ask: &Ask) -> Result<String, Error> {
    let name = match (&ask.code.name, &ask.name) {
        (Some(code), Some(other)) if code != other => {
            return Err(Error::new(format!("the code is for {code}, not for {other}")));
        }
        (Some(name), _) | (None, Some(name)) => name.clone(),
        (None, None) => {
            return Err(Error::new(
                "the code is for any device of a wave (say which this one is: add --name NAME)",
            ));
        }
    };
    // It becomes the name of files, and stands in configuration.
    Facts::new(&name, Use::Client).map_err(|why| Error::new(why.to_string()))?;
    Ok(name)
}
