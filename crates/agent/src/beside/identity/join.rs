//! Joining: from a file with a secret to a certificate of the internal authority.

use std::path::Path;

use muster_api::Client;
use muster_api::agent::Join;
use muster_api::types::{EnrolRequest, Issued};
use muster_pki::key::sha256;

use super::{AGENT, ROOT, SERVER, SETTINGS, Settings, VOUCHER, keep, next_key, read_join, request};
use crate::Error;
use crate::ca;
use crate::disk::{self, Access};
use muster_pki::hex;

/// Joins with a file, and removes it. A file that is gone was used; one that was used and is still there only goes.
pub(super) async fn with_file(dir: &Path, broker: &str, file: &Path) -> Result<(), Error> {
    let Some(join) = read_join(file)? else {
        return Ok(());
    };
    if join.broker != broker {
        return Err(Error::new(format!(
            "{} is for the broker {}, not for {broker}",
            file.display(),
            join.broker
        )));
    }
    let joined_with = hex(&sha256(join.token.as_bytes()));
    let known: Option<Settings> =
        disk::read(&dir.join(SETTINGS))?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    if known.is_none_or(|known| known.joined_with != joined_with) {
        enrol(dir, &join).await?;
        let settings = Settings {
            broker: join.broker.clone(),
            program: join.program.clone(),
            url: join.url.clone(),
            joined_with,
        };
        let json = serde_json::to_vec(&settings).map_err(|why| Error::new(why.to_string()))?;
        // What comes last says that all of the rest is there.
        disk::write(&dir.join(SETTINGS), &json, Access::OWN)?;
    }
    disk::remove(file)
}

async fn enrol(dir: &Path, join: &Join) -> Result<(), Error> {
    let root = ca::root(&join.url, &join.fingerprint).await?;
    let client = Client::new(ca::connector(&join.url, std::slice::from_ref(&root), None)?, None);
    let key = next_key(dir, AGENT)?;
    let ask = EnrolRequest {
        token: join.token.clone(),
        csr: request(&key, &join.broker)?.csr,
    };
    let issued: Issued = client.post("/enrol", &ask).await?;
    disk::write(&dir.join(VOUCHER), root.to_pem()?.as_bytes(), Access::OWN)?;
    disk::write(&dir.join(ROOT), issued.root.as_bytes(), Access::OWN)?;
    // Another agent's broker certificate is of no use here: its key is replaced with the agent's.
    disk::remove(&dir.join(SERVER))?;
    keep(dir, AGENT, key, &issued).map(drop)
}
