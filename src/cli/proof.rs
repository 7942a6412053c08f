//! Waiting until the brokers have proved what was done.

use std::time::Duration;

use muster_api::client::escape;
use muster_api::types::{Broker, BrokerProof, DeviceProof, Revocation, RevokedMany};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::connect::Session;
use super::list;
use super::report::{Exit, Failure, Voice};

/// How long brokers that are there may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is asked.
const PAUSE: Duration = Duration::from_millis(20);

/// Says what was done, waits for the brokers, and says what they have proved.
pub(super) async fn tell(
    session: Session,
    voice: Voice,
    mut done: Revocation,
    word: &str,
    dry_run: bool,
) -> Result<Exit, Failure> {
    let serials = done.serials.join(", ");
    let count = match done.serials.len() {
        1 => "1 certificate".to_owned(),
        several => format!("{several} certificates"),
    };
    if dry_run {
        session.finish().await?;
        let text = format!("Would touch {count} of {}: {serials}", done.device);
        voice.data(&text, &done)?;
        return Ok(Exit::Ok);
    }
    // Letting a device enrol again shuts nobody out.
    let nothing_to_prove = done.confirmed;
    if !nothing_to_prove {
        let path = format!("/devices/{}/proof", escape(&done.device));
        let ask = async || {
            let proof: DeviceProof = session.client.get(&path).await?;
            Ok(proof.brokers)
        };
        done.brokers = wait(ask).await?;
        done.confirmed = is_in_force(&done.brokers);
    }
    session.finish().await?;
    voice.data(&format!("{} {word}: {count} {serials}", done.device), &done)?;
    if nothing_to_prove {
        return Ok(Exit::Ok);
    }
    voice.say(&in_words(&done.brokers, Some(&done.at)));
    Ok(if done.confirmed { Exit::Ok } else { Exit::Attention })
}

/// What became of many, and what the brokers have proved.
#[derive(Serialize)]
struct Proved {
    #[serde(flatten)]
    done: RevokedMany,
    confirmed: bool,
    brokers: Vec<BrokerProof>,
}

/// The same after a revocation of many: it waits until the brokers have proved all that there is.
pub(super) async fn tell_many(
    session: Session,
    voice: Voice,
    done: RevokedMany,
    dry_run: bool,
) -> Result<Exit, Failure> {
    if dry_run {
        session.finish().await?;
        let text = format!("Would shut out {}. Nothing was changed.", many(&done));
        voice.data(&text, &done)?;
        return Ok(Exit::Ok);
    }
    let ask = async || {
        let all: Vec<Broker> = list::whole(&session.client, "brokers").await?;
        let serving = all.into_iter().filter(|broker| broker.state != "retired");
        Ok(serving.map(proof_of).collect())
    };
    let brokers = wait(ask).await?;
    session.finish().await?;
    let confirmed = is_in_force(&brokers);
    let words = in_words(&brokers, None);
    let text = format!("shut out: {}", many(&done));
    voice.data(
        &text,
        &Proved {
            done,
            confirmed,
            brokers,
        },
    )?;
    voice.say(&words);
    Ok(if confirmed { Exit::Ok } else { Exit::Attention })
}

/// "2 devices with 3 certificates; 1 more was so before".
fn many(done: &RevokedMany) -> String {
    let count = |number: usize, noun: &str| {
        let plural = if number == 1 { "" } else { "s" };
        format!("{number} {noun}{plural}")
    };
    let certificates = count(done.revoked.len(), "certificate");
    let what = match (&done.issuing, done.devices) {
        (Some(issuing), _) => format!("everything that {issuing} has issued"),
        (None, 0) => certificates,
        (None, devices) => format!("{} with {certificates}", count(devices, "device")),
    };
    match done.before {
        0 => what,
        before => format!("{what}; {before} of those that were named were so before"),
    }
}

fn proof_of(broker: Broker) -> BrokerProof {
    BrokerProof {
        micros: broker
            .enforced
            .filter(|_| broker.state == "proven")
            .map(|enforced| enforced.micros),
        name: broker.name,
        state: broker.state,
        heard: broker.heard,
    }
}

/// Never where there is no broker to prove it.
fn is_in_force(brokers: &[BrokerProof]) -> bool {
    !brokers.is_empty() && brokers.iter().all(|broker| broker.state == "proven")
}

/// Brokers whose agents are silent are not waited for.
async fn wait(ask: impl AsyncFn() -> Result<Vec<BrokerProof>, Failure>) -> Result<Vec<BrokerProof>, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let brokers = ask().await?;
        let pending = brokers.iter().any(|broker| broker.state == "unconfirmed");
        if !pending || Instant::now() >= deadline {
            return Ok(brokers);
        }
        sleep(PAUSE).await;
    }
}

fn in_words(brokers: &[BrokerProof], since: Option<&str>) -> String {
    if brokers.is_empty() {
        return "unconfirmed: no broker has proved it yet. Bring the new CRL to each: muster ca crl --out crl.pem, then \
                reload the broker; or let an agent do that: muster broker add"
            .into();
    }
    let all = brokers.len();
    let (proven, open): (Vec<&BrokerProof>, Vec<_>) =
        brokers.iter().partition(|broker| broker.state == "proven");
    let slowest = proven.iter().filter_map(|broker| broker.micros).max();
    let slowest = slowest.map_or(String::new(), |micros| format!(", {} ms", micros / 1000));
    let so_far = format!("{} of {all} brokers, proven{slowest}", proven.len());
    if open.is_empty() {
        return format!("in force: {so_far}");
    }
    let names: Vec<_> = open
        .iter()
        .map(|broker| match &broker.heard {
            Some(heard) => format!("{} (last heard {heard})", broker.name),
            None => format!("{} (not heard yet)", broker.name),
        })
        .collect();
    format!(
        "unconfirmed{}: {so_far}; not proved: {}. See: muster broker list",
        since.map_or(String::new(), |at| format!(" since {at}")),
        names.join(", ")
    )
}
