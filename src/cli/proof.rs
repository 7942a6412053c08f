//! Waiting until the brokers have proved what was done.

use std::time::Duration;

use muster_api::client::escape;
use muster_api::types::{BrokerProof, DeviceProof, Revocation};
use tokio::time::{Instant, sleep};

use super::connect::Session;
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
        let proof = wait(&session, &done.device).await?;
        done.confirmed = proof.confirmed;
        done.brokers = proof.brokers;
    }
    session.finish().await?;
    voice.data(&format!("{} {word}: {count} {serials}", done.device), &done)?;
    if nothing_to_prove {
        return Ok(Exit::Ok);
    }
    voice.say(&in_words(&done));
    Ok(if done.confirmed { Exit::Ok } else { Exit::Attention })
}

/// Brokers whose agents are silent are not waited for.
async fn wait(session: &Session, device: &str) -> Result<DeviceProof, Failure> {
    let path = format!("/devices/{}/proof", escape(device));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let proof: DeviceProof = session.client.get(&path).await?;
        let pending = proof.brokers.iter().any(|broker| broker.state == "unconfirmed");
        if !pending || Instant::now() >= deadline {
            return Ok(proof);
        }
        sleep(PAUSE).await;
    }
}

fn in_words(done: &Revocation) -> String {
    if done.brokers.is_empty() {
        return "unconfirmed: no broker has proved it yet. Bring the new CRL to each: muster ca crl --out crl.pem, then \
                reload the broker; or let an agent do that: muster broker add"
            .into();
    }
    let all = done.brokers.len();
    let (proven, open): (Vec<&BrokerProof>, Vec<_>) =
        done.brokers.iter().partition(|broker| broker.state == "proven");
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
        "unconfirmed since {}: {so_far}; not proved: {}. See: muster broker list",
        done.at,
        names.join(", ")
    )
}
