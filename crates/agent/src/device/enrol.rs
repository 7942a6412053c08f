//! Enrolling: from a code that an operator made to a certificate, once and for all.
//!
//! The same call may be made again after any interruption. The key is on the disk before the CA is asked; the CA binds the token to
//! it and answers the same question with the same certificate, until the device says that it has it; and what says that all is done
//! is written last. A device that has enrolled before works with what it has until then.

use std::path::{Path, PathBuf};

use muster_api::types::{Certificate as View, EnrolRequest, Issued};
use muster_api::{Client, Code};
use muster_pki::cert::Certificate;
use muster_pki::csr::Csr;
use muster_pki::key::{PrivateKey, sha256};
use muster_pki::pem;

use super::files::{Home, when_free};
use super::settings::{Settings, check_name, has_enrolled, if_readable, read_pending, settings_file};
use super::status::Status;
use super::{anchors, found, renew, time};
use crate::disk::group_id;
use crate::pair::{Pair, new_key};
use crate::{Clock, Error, ca};
use muster_pki::hex;

/// How the CA says that there is nothing for this code.
const REFUSED: [u16; 5] = [400, 401, 403, 404, 409];

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

/// How a directory stands to a code.
enum Standing {
    /// A device has enrolled with it.
    Enrolled(Settings),
    /// An enrolment with it was interrupted.
    Begun(Settings),
    /// Neither; a device may have enrolled with another.
    Other(Option<Settings>),
}

/// Enrols, or goes on with what was interrupted.
pub async fn enrol(ask: Ask, system: &Clock) -> Result<Enrolled, Error> {
    let name = name(&ask)?;
    // A group that is not there shows before anything is written.
    ask.group.as_deref().map(group_id).transpose()?;
    let enrolled_with = hex(&sha256(ask.code.secret.as_bytes()));
    // 1. Where nothing is to be changed, an agent may be at work.
    if let Some(done) = unchanged(&ask, &name, &enrolled_with)? {
        return Ok(done);
    }
    let home = when_free(|| Home::open(&ask.dir)).await?;
    let settings = match standing(&home, &ask, &name, &enrolled_with)? {
        // 2. The device has its certificate, and is told something else.
        Standing::Enrolled(known) => {
            let settings = ask.wishes(known);
            tell(&home, &ask, &settings, system).await?;
            return done(home, settings, true);
        }
        // 3. The key is on the disk, and perhaps more.
        Standing::Begun(told) => ask.wishes(told),
        // 4. Nothing of this code is there yet.
        Standing::Other(known) => begin(&home, &ask, (name, enrolled_with), known, system).await?,
    };
    home.save_pending(&settings)?;
    let settings = finish_enrolment(&home, settings, &ask.code, system).await?;
    done(home, settings, false)
}

impl Ask {
    /// What a device is told with this; what is not said stays as it was.
    fn wishes(&self, told: Settings) -> Settings {
        Settings {
            broker: self.broker.clone().or(told.broker),
            group: self.group.clone().or(told.group),
            hook: self.hook.clone().or(told.hook),
            ..told
        }
    }
}

/// The device, if it has enrolled with this very code and is told nothing new.
fn unchanged(ask: &Ask, name: &str, enrolled_with: &str) -> Result<Option<Enrolled>, Error> {
    let known = if_readable(&settings_file(&ask.dir))?;
    let known = known.filter(|known| known.name == name && known.enrolled_with == enrolled_with);
    let Some(known) = known.filter(|known| ask.wishes(known.clone()) == *known) else {
        return Ok(None);
    };
    if read_pending(&ask.dir)?.is_some() {
        return Ok(None);
    }
    // Without its certificate it is gone on with.
    Ok(done(Home::look(&ask.dir)?, known, true).ok())
}

fn standing(home: &Home, ask: &Ask, name: &str, enrolled_with: &str) -> Result<Standing, Error> {
    let known = home.settings_if_readable()?;
    if let Some(other) = known.as_ref().filter(|known| known.name != name) {
        return Err(Error::new(format!(
            "{} belongs to {} already (choose another directory with --dir)",
            home.dir().display(),
            other.name
        )));
    }
    home.recover(name)?;
    if let Some(known) = known.clone().filter(|known| known.enrolled_with == enrolled_with) {
        return Ok(Standing::Enrolled(known));
    }
    let is_same = |told: &Settings| told.enrolled_with == enrolled_with && told.name == name;
    let begun = home.pending()?.filter(is_same);
    let begun = begun.filter(|told| told.url == ask.code.url());
    Ok(begun.map_or(Standing::Other(known), Standing::Begun))
}

/// A device that has enrolled is told something else.
async fn tell(home: &Home, ask: &Ask, settings: &Settings, system: &Clock) -> Result<(), Error> {
    if ask.group.is_some() {
        home.share_key(settings)?;
    }
    home.save(settings)?;
    if ask.broker.is_some() {
        let clock = renew::corrected_clock(home, settings, system).await?;
        warn_of(renew::try_broker(home, settings, &clock).await);
    }
    Ok(())
}

/// What the device is told for a code that it has never shown. Only what was begun with another code is given up for it.
async fn begin(
    home: &Home,
    ask: &Ask,
    (name, enrolled_with): (String, String),
    known: Option<Settings>,
    system: &Clock,
) -> Result<Settings, Error> {
    let root = ca::root(&ask.code.url(), &ask.code.fingerprint).await?;
    let pending = home.pending()?;
    if known.is_none() && pending.is_none() {
        may_use(ask, &name, &root, system).await?;
    }
    let is_same = |told: &Settings| told.enrolled_with == enrolled_with && told.name == name;
    // The key that was made for another code or name is not shown with this one.
    if !pending.as_ref().is_some_and(is_same) {
        home.forget_enrolment_key(&name)?;
    }
    if let Some(other) = pending.filter(|told| told.name != name) {
        home.forget_enrolment_key(&other.name)?;
    }
    let (broker, group, hook) = known.map_or((None, None, None), |known| {
        (known.broker, known.group, known.hook)
    });
    Ok(ask.wishes(Settings {
        name,
        url: ask.code.url(),
        root: root.to_pem()?,
        enrolled_with,
        broker,
        group,
        hook,
    }))
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
async fn finish_enrolment(
    home: &Home,
    mut settings: Settings,
    code: &Code,
    system: &Clock,
) -> Result<Settings, Error> {
    let roots = ca::roots(&settings.root)?;
    let clock = time::corrected_clock(home.dir(), &settings.url, &roots, system).await;
    let key = home.enrolment_key(&settings.name, settings.group.as_deref())?;
    let pair = home.pair(&settings.name)?;
    if pair.is_none_or(|pair| pair.leaf().key() != key.public()) {
        settings = fetch(home, settings, code, key, &clock).await?;
    }
    let pair = home.pair_in_use(&settings.name)?;
    let connector = ca::connector_by(&settings.url, &roots, Some(&pair), &clock)?;
    let client = Client::new(connector, None);
    let _: View = client.post("/enrol/confirm", &serde_json::json!({})).await?;
    home.promote(&settings)?;
    Status::record(home, &settings, system, &clock, None);
    warn_of(renew::hook(home, &settings).await);
    warn_of(renew::try_broker(home, &settings, &clock).await);
    Ok(settings)
}

/// The device has its certificate, whatever comes of this.
fn warn_of(done: Result<(), Error>) {
    if let Err(why) = done {
        tracing::warn!("the certificate is in place, but {why}");
    }
}

/// Whether the CA would give a certificate: it is asked for one for a key that is made for that alone, and gives none. Writes
/// nothing.
pub async fn rehearse(ask: &Ask, system: &Clock) -> Result<String, Error> {
    let name = name(ask)?;
    let root = ca::root(&ask.code.url(), &ask.code.fingerprint).await?;
    if if_readable(&settings_file(&ask.dir))?.is_none() {
        may_use(ask, &name, &root, system).await?;
    }
    let mut client = client(ask, &root, system).await?;
    client.set_dry_run(true);
    given(&client, &ask.dir, &ask.code, &name, new_key()?).await?;
    Ok(name)
}

/// What the CA gives for this code, and for which key: for a new one, or for the one that lies in the directory already, if it is that which
/// has the name.
async fn given(
    client: &Client,
    dir: &Path,
    code: &Code,
    name: &str,
    new: PrivateKey,
) -> Result<(Issued, PrivateKey), Error> {
    let ask = async |key: &PrivateKey| -> Result<Issued, Error> {
        let request = EnrolRequest {
            token: code.secret.to_string(),
            csr: request(key, name)?,
        };
        Ok(client.post("/enrol", &request).await?)
    };
    match (ask(&new).await, found::pair(dir, name)?) {
        (Err(why), Some(found)) if why.status() == Some(403) => match ask(found.key()).await {
            Ok(issued) => Ok((issued, found.into_key())),
            Err(_) => Err(why),
        },
        (issued, _) => Ok((issued?, new)),
    }
}

/// Refuses a directory with the files of somebody else.
async fn may_use(ask: &Ask, name: &str, root: &Certificate, system: &Clock) -> Result<(), Error> {
    if !found::lies_there(&ask.dir, name) {
        return Ok(());
    }
    let client = client(ask, root, system).await?;
    found::may_use(&ask.dir, name, &ca::all_roots(&client, root).await?)
}

async fn client(ask: &Ask, root: &Certificate, system: &Clock) -> Result<Client, Error> {
    let (url, roots) = (ask.code.url(), std::slice::from_ref(root));
    let clock = time::ask(&url, roots, system).await;
    Ok(Client::new(ca::connector_by(&url, roots, None, &clock)?, None))
}

/// A certificate for a key that is on the disk, and both in place. Returns the settings with the roots that vouch for the CA's address now.
async fn fetch(
    home: &Home,
    settings: Settings,
    code: &Code,
    key: PrivateKey,
    clock: &Clock,
) -> Result<Settings, Error> {
    let name = &settings.name;
    let roots = ca::roots(&settings.root)?;
    let client = Client::new(ca::connector_by(&settings.url, &roots, None, clock)?, None);
    let (issued, key) = match given(&client, home.dir(), code, name, key).await {
        Ok(given) => given,
        Err(why) => {
            // A device that works is not left half-way because of a code that gets nothing. One that does not may need the key: the CA may
            // have bound the code to it before the device was suspended.
            if why.status().is_some_and(|status| REFUSED.contains(&status))
                && has_enrolled(home.dir())
                && renew::is_taken(home.pair(name)?, &settings, clock).await
            {
                home.forget_pending(name)?;
            }
            return Err(why);
        }
    };
    let believed = anchors::begin(&settings, &issued, clock())?;
    home.keep_enrolled(&settings, &key, &issued)?;
    home.save_pending(&believed.settings)?;
    home.save_anchors(&believed.anchors)?;
    home.install(name)?;
    home.commit(name)?;
    // Once the CA has heard of it, it gives nothing more for this code: by its key a run that comes after a power cut knows what it has.
    home.keep_enrolment_key(&settings, &key)?;
    Ok(believed.settings)
}

/// A certificate request, PEM.
pub(super) fn request(key: &PrivateKey, name: &str) -> Result<String, Error> {
    Ok(pem::encode(pem::CSR, &Csr::build(name, &[], key)?)?)
}

/// The device's name: the code's, or for a wave the device's own.
fn name(ask: &Ask) -> Result<String, Error> {
    let name = match (&ask.code.name, &ask.name) {
        (Some(code), Some(other)) if code != other => {
            return Err(Error::usage(format!("the code is for {code}, not for {other}")));
        }
        (Some(name), _) | (None, Some(name)) => name.clone(),
        (None, None) => {
            return Err(Error::usage(
                "the code is for any device of a wave (say which this one is: add --name NAME)",
            ));
        }
    };
    check_name(&name)?;
    Ok(name)
}
