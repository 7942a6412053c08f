//! Enrolling: from a word that an operator made to a certificate, once and for all.
//!
//! The same call may be made again after any interruption. The key is on the disk before the CA is asked; the CA binds the token to
//! it and answers the same question with the same certificate, until the device says that it has it; and what says that all is done
//! is written last. A device that has enrolled before works with what it has until then.

use std::path::PathBuf;

use muster_api::types::{Certificate as View, EnrolRequest, Issued};
use muster_api::{Client, Code};
use muster_pki::csr::Csr;
use muster_pki::key::{PrivateKey, sha256};
use muster_pki::pem;
use muster_pki::snippet::{Facts, Use};

use super::files::{Home, Settings};
use super::{anchors, renew, time};
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
    let wishes = |told: Settings| Settings {
        broker: ask.broker.clone().or(told.broker),
        group: ask.group.clone().or(told.group),
        hook: ask.hook.clone().or(told.hook),
        ..told
    };
    if let Some(known) = known
        .clone()
        .filter(|known| known.enrolled && known.enrolled_with == enrolled_with)
    {
        let settings = wishes(known);
        home.save(&settings)?;
        return done(home, settings, true);
    }
    let settings = match home.pending()?.filter(|told| told.enrolled_with == enrolled_with) {
        Some(told) => wishes(told),
        None => {
            let root = ca::root(&ask.code.url(), &ask.code.fingerprint).await?;
            // The key that was made for another code is not shown with this one.
            home.forget_enrolment_key(&name)?;
            let (broker, group, hook) = known.map_or((None, None, None), |known| {
                (known.broker, known.group, known.hook)
            });
            wishes(Settings {
                name,
                url: ask.code.url(),
                root: root.to_pem()?,
                enrolled_with,
                enrolled: false,
                broker,
                group,
                hook,
            })
        }
    };
    home.save_pending(&settings)?;
    let settings = go_on(&home, settings, &ask.code, system).await?;
    if let Err(why) = renew::hook(&home, &settings).await {
        tracing::warn!("the certificate is in place, but {why}");
    }
    done(home, settings, false)
}

fn done(home: Home, settings: Settings, before: bool) -> Result<Enrolled, Error> {
    let pair = home.pair_in_use(&settings.name)?;
    Ok(Enrolled {
        home,
        settings,
        pair,
        before,
    })
}

/// From the settings of an enrolment to a device that has enrolled. Until the certificate is there, what the device had is in use.
async fn go_on(home: &Home, mut settings: Settings, code: &Code, system: &Clock) -> Result<Settings, Error> {
    let roots = ca::roots(&settings.root)?;
    let clock = time::right(home.dir(), &settings.url, &roots, system).await?;
    let key = home.enrolment_key(&settings.name, settings.group.as_deref())?;
    let pair = home.pair(&settings.name)?;
    if pair.is_none_or(|pair| pair.leaf().key() != key.public()) {
        settings = fetch(home, settings, code, &key, &clock).await?;
    }
    let pair = home.pair_in_use(&settings.name)?;
    let connector = ca::connector_by(&settings.url, &roots, Some(&pair), &clock)?;
    let client = Client::new(connector, None);
    let _: View = client.post("/enrol/confirm", &serde_json::json!({})).await?;
    settings.enrolled = true;
    home.promote(&settings)?;
    Ok(settings)
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

/// A certificate for a key that is on the disk, and both in place. Returns the settings with the roots that came with it.
async fn fetch(
    home: &Home,
    settings: Settings,
    code: &Code,
    key: &PrivateKey,
    clock: &Clock,
) -> Result<Settings, Error> {
    let name = &settings.name;
    let roots = ca::roots(&settings.root)?;
    let client = Client::new(ca::connector_by(&settings.url, &roots, None, clock)?, None);
    let request = EnrolRequest {
        token: code.secret.to_string(),
        csr: request(key, name)?,
    };
    let issued: Issued = client.post("/enrol", &request).await?;
    let believing = anchors::believe(home, &settings, &issued, clock())?;
    home.save_pending(&believing)?;
    home.keep_enrolled(&believing, key, &issued)?;
    home.install(name)?;
    home.commit(name)?;
    Ok(believing)
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
