//! Renewing: a new key and certificate, tried before they are used, and taken back if they do not hold.
//!
//! ```text
//!   next key ─► ask the CA ─► next certificate ─► handshake ─► install ─► hook ─► reconnect ─► confirm ─► commit
//!                                                    │ refused              │ refused           │ refused
//!                                                    └─ all stays as it is  └─ roll back, hook  └─ roll back, hook, forget, if
//!                                                                                                  the CA takes the one before
//! ```
//!
//! The CA is asked each time, even if the next certificate is on the disk: it may have been revoked meanwhile.
//! Every arrow may be the last thing that happens: what is on the disk says where to go on.

use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use muster_api::Client;
use muster_api::agent::{Plan, Request};
use muster_api::types::{Certificate as View, Issued};
use muster_pki::key::sha256;
use muster_pki::{message, pem};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;
use zeroize::Zeroizing;

use super::enrol::request;
use super::files::Home;
use super::settings::Settings;
use super::status::Status;
use super::{anchors, time, trial};
use crate::mqtt::Place;
use crate::pair::{Pair, new_key};
use crate::{Clock, Error, ca};
use muster_pki::hex;

/// How long the proof of an expired certificate's key holds, in seconds.
const PROOF_LIFE: i64 = 300;
/// How long a hook may take.
const HOOK: Duration = Duration::from_secs(60);

/// Renews, or goes on with a renewal that was interrupted. On an error the pair that was in use is in use again. Whatever the
/// system's clock says, the CA says what the time is.
pub async fn renew(home: &Home, settings: &Settings, system: &Clock) -> Result<(), Error> {
    let clock = corrected_clock(home, settings, system).await?;
    let done = renew_by(home, settings, &clock).await;
    Status::record(home, settings, system, &clock, done.as_ref().err());
    done
}

pub(super) async fn corrected_clock(
    home: &Home,
    settings: &Settings,
    system: &Clock,
) -> Result<Clock, Error> {
    let roots = ca::roots(&settings.root)?;
    Ok(time::corrected_clock(home.dir(), &settings.url, &roots, system).await)
}

/// The same by a clock that is right.
pub(super) async fn renew_by(home: &Home, settings: &Settings, clock: &Clock) -> Result<(), Error> {
    let name = &settings.name;
    home.recover(name)?;
    if home.is_on_trial(name)? && has_ended(&home.pair_in_use(name)?, clock) {
        // Nothing is left to try: it is renewed by its own key.
        home.commit(name)?;
    }
    if !home.is_on_trial(name)? {
        fetch(home, settings, clock).await?;
        // Whatever the broker says, there is nothing else to work with once the certificate in use has ended.
        let has_ended = has_ended(&home.pair_in_use(name)?, clock);
        if let Some(place) = place(home, settings, true)?.filter(|_| !has_ended) {
            let tried = trial::handshake(&place, clock).await;
            tried.map_err(|why| why.but("the new certificate is not in use"))?;
        }
        home.install(name)?;
    }
    let mut refused = None;
    if !home.has_connected(name)? {
        if let Err(why) = reconnect(home, settings, clock).await {
            refused = Some(give_up(home, settings, clock, why).await?);
        }
        home.connected(name)?;
    }
    let outcome = confirm(home, settings, clock).await;
    let with_refusal = |why: Error| match &refused {
        Some(refused) => refused.clone().and(&why.0),
        None => why,
    };
    match outcome {
        Ok(()) => {
            home.commit(name)?;
            refused.map_or(Ok(()), Err)
        }
        Err(why) if why.status() == Some(401) => {
            // The CA may have given the one before up, and its word of that have been lost: then this one is all there is.
            if !is_taken(home.previous(name)?, settings, clock).await {
                return Err(with_refusal(why));
            }
            let why = put_back(home, settings, why).await?;
            home.forget_next(name)?;
            Err(why)
        }
        Err(why) => Err(with_refusal(
            why.but("the new certificate is in use, and the CA does not know that yet"),
        )),
    }
}

/// The application or the broker does not take the new pair. The one before is put back, and this ends with the reason; if there is none that holds,
/// the new one stays, and the reason is to be told in the end.
async fn give_up(home: &Home, settings: &Settings, clock: &Clock, why: Error) -> Result<Error, Error> {
    let before = home.previous(&settings.name)?;
    if before.is_some_and(|before| has_ended(&before, clock)) {
        return Ok(why.but("the new certificate stays, since the one before has ended"));
    }
    Err(put_back(home, settings, why).await?)
}

async fn put_back(home: &Home, settings: &Settings, why: Error) -> Result<Error, Error> {
    if !home.is_on_trial(&settings.name)? {
        return Ok(why);
    }
    home.roll_back(&settings.name)?;
    let why = why.but("the certificate before is in use again");
    // The application goes back, too; what it says about that does not change the outcome.
    Ok(match hook(home, settings).await {
        Ok(()) => why,
        Err(hook) => why.and(&format!("when that was put back, once more {hook}")),
    })
}

fn has_ended(pair: &Pair, clock: &Clock) -> bool {
    pair.leaf().not_after() < clock()
}

/// Whether the CA would renew: it is asked for that with a key that is made for it alone, and gives nothing.
pub async fn rehearse(home: &Home, settings: &Settings, system: &Clock) -> Result<(), Error> {
    let clock = corrected_clock(home, settings, system).await?;
    let ask = Request {
        csr: request(&new_key()?, &settings.name)?,
    };
    let mut client = renewing(home, settings, &clock, &ask)?;
    client.set_dry_run(true);
    let _: Issued = client.post("/agent/renew", &ask).await?;
    Ok(())
}

/// A client of the CA that shows the certificate in use.
pub(super) fn client(home: &Home, settings: &Settings, clock: &Clock) -> Result<Client, Error> {
    client_of(&home.pair_in_use(&settings.name)?, settings, clock)
}

fn client_of(pair: &Pair, settings: &Settings, clock: &Clock) -> Result<Client, Error> {
    let roots = ca::roots(&settings.root)?;
    let connector = ca::connector_by(&settings.url, &roots, Some(pair), clock)?;
    Ok(Client::new(connector, None))
}

/// Whether the CA takes this certificate.
pub(super) async fn is_taken(pair: Option<Pair>, settings: &Settings, clock: &Clock) -> bool {
    let Some(client) = pair.and_then(|pair| client_of(&pair, settings, clock).ok()) else {
        return false;
    };
    client.get::<Plan>("/agent/plan").await.is_ok()
}

/// A client that may renew: no handshake comes about with a certificate that has expired, so its key signs for it, and for this request
/// alone.
fn renewing(home: &Home, settings: &Settings, clock: &Clock, ask: &Request) -> Result<Client, Error> {
    let now = clock();
    let pair = home.pair_in_use(&settings.name)?;
    if !has_ended(&pair, clock) {
        return client(home, settings, clock);
    }
    let mut id = [0; 16];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| Error::new("no random number could be drawn"))?;
    let request = sha256(&pem::decode(pem::CSR, &ask.csr)?);
    let claims = serde_json::json!({
        "iss": "muster-agent", "aud": format!("{}/renew", settings.url), "sub": settings.name, "jti": hex(&id),
        "iat": now.as_second(), "exp": now.as_second() + PROOF_LIFE, "cnf": { "x5rt#S256": BASE64URL.encode(request) },
    });
    let token = message::by_holder(pair.leaf(), pair.key(), claims.to_string().as_bytes())?;
    let roots = ca::roots(&settings.root)?;
    let connector = ca::connector_by(&settings.url, &roots, None, clock)?;
    Ok(Client::new(connector, Some(Zeroizing::new(token))))
}

/// Sees to it that there is a next pair. The same key gets the same certificate, however often it is asked for. While the CA is
/// away, the certificate that it gave before has to do: that is confirmed before the pair in use is given up.
async fn fetch(home: &Home, settings: &Settings, clock: &Clock) -> Result<(), Error> {
    let name = &settings.name;
    if home.next(name)?.is_some_and(|next| has_ended(&next, clock)) {
        home.forget_next(name)?;
    }
    let key = home.next_key(name, settings.group.as_deref())?;
    let ask = Request {
        csr: request(&key, name)?,
    };
    let client = renewing(home, settings, clock, &ask)?;
    let answer: Result<Issued, muster_api::Error> = client.post("/agent/renew", &ask).await;
    match answer {
        Ok(issued) => {
            // A new issuing CA comes with its first certificate.
            let believed = anchors::follow(home, settings, &issued, clock())?;
            home.keep_next(name, &issued)?;
            home.save_anchors(&believed.anchors)?;
            if believed.settings != *settings {
                home.save(&believed.settings)?;
            }
            Ok(())
        }
        Err(muster_api::Error::Unreachable(..)) if home.next(name)?.is_some() => Ok(()),
        Err(why) => {
            let why = Error::from(why);
            // It may be this very key that gets nothing any more.
            if why.status().is_some_and(|status| (400..=403).contains(&status)) {
                home.forget_next(name)?;
            }
            Err(why)
        }
    }
}

/// The application takes up what is in place now, and the broker lets it in.
async fn reconnect(home: &Home, settings: &Settings, clock: &Clock) -> Result<(), Error> {
    hook(home, settings).await?;
    match place(home, settings, false)? {
        Some(place) => trial::take_over(&place, clock).await,
        None => Ok(()),
    }
}

async fn confirm(home: &Home, settings: &Settings, clock: &Clock) -> Result<(), Error> {
    let client = client(home, settings, clock)?;
    let _: View = client.post("/enrol/confirm", &serde_json::json!({})).await?;
    Ok(())
}

/// Whether the broker takes the certificate in use, by a handshake that nobody else notices; well, too, if no broker is known.
pub(super) async fn try_broker(home: &Home, settings: &Settings, clock: &Clock) -> Result<(), Error> {
    match place(home, settings, false)? {
        Some(place) => trial::handshake(&place, clock).await,
        None => Ok(()),
    }
}

/// The broker, as it is reached with the pair in use or with the next.
fn place(home: &Home, settings: &Settings, next: bool) -> Result<Option<Place>, Error> {
    let Some(broker) = &settings.broker else {
        return Ok(None);
    };
    let bad = || Error::new(format!("{broker:?} in agent.json is no HOST:PORT"));
    let (host, port) = broker.rsplit_once(':').ok_or_else(bad)?;
    let [certificate, key] = if next {
        home.next_files(&settings.name)
    } else {
        [home.certificate(&settings.name), home.key(&settings.name)]
    };
    Ok(Some(Place {
        host: host.trim_matches(['[', ']']).to_owned(),
        port: port.parse().map_err(|_| bad())?,
        ca: home.anchors(),
        certificate,
        key,
        name: settings.name.clone(),
    }))
}

/// Runs what the operator wants to happen when the files have changed.
pub(super) async fn hook(home: &Home, settings: &Settings) -> Result<(), Error> {
    let Some(line) = &settings.hook else {
        return Ok(());
    };
    // The line itself may hold a password.
    let failed = |why: &dyn std::fmt::Display| Error::new(format!("the hook failed: {why}"));
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", line])
        .current_dir(home.dir())
        .stdin(Stdio::null())
        // Standard output may be a configuration that is being written.
        .stdout(std::io::stderr())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|why| failed(&why))?;
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let Ok(status) = tokio::time::timeout(HOOK, child.wait()).await else {
        // What it has started, too.
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        return Err(failed(&"it takes longer than a minute"));
    };
    let status = status.map_err(|why| failed(&why))?;
    if status.success() {
        Ok(())
    } else {
        Err(failed(&status))
    }
}
