//! Mosquitto 2.0: four files and SIGHUP.
//!
//! It takes up everything at SIGHUP if the listener has `crlfile` and `require_certificate true`, keeps live sessions, and lets
//! everybody in if it cannot read the CRL file (2.0) or ends (2.1). So what it reads is always whole.

mod acl;
mod log;

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use muster_api::agent::Denial;
use muster_pki::snippet::mosquitto_kept;
use rustix::process::Signal;

use super::{Broker, Ended, Orders, Place, Refusal, Rendered};
use crate::Error;
use crate::beside::files::File;
use crate::beside::process;

/// Mosquitto 2.0.11 lets a client wait for 94 s between handshake and CONNECT (2.1: 30 s).
const HALF_OPEN: Duration = Duration::from_secs(120);

/// What its process is called.
const NAME: &str = "mosquitto";
/// What it reads, in the order in which it is put in place.
const FILES: [&str; 4] = ["crls.pem", "trust.pem", "server.pem", "acl"];

/// The adapter.
pub(super) struct Mosquitto {
    dir: PathBuf,
    pid_file: Option<PathBuf>,
    log: Option<Mutex<log::Follower>>,
    port: String,
}

impl Mosquitto {
    pub(super) fn new(dir: PathBuf, place: &Place) -> Self {
        Self {
            dir,
            pid_file: place.pid_file.clone(),
            log: place
                .log
                .as_ref()
                .map(|path| Mutex::new(log::Follower::new(path.clone()))),
            port: place.port().to_owned(),
        }
    }
}

#[async_trait]
impl Broker for Mosquitto {
    fn render(&self, orders: &Orders) -> Result<Rendered, Error> {
        let (acl, shortfalls) = acl::render(orders);
        // A list for a CA that is not trusted yet does no harm; a CA without a list is refused.
        let [crls, trust, server, list] = FILES;
        let files = vec![
            File::open(crls, &orders.crls_pem()?),
            File::open(trust, &orders.trust),
            File::secret(server, &orders.server),
            File::secret(list, &acl),
        ];
        Ok(Rendered { files, shortfalls })
    }

    /// It read its key as root when it started, and reads it as its own user at the signal: then, it would refuse everybody.
    fn can_read(&self) -> Result<(), Error> {
        let files = FILES.map(|name| self.dir.join(name));
        process::find(NAME, self.pid_file.as_deref()).map_or(Ok(()), |broker| broker.can_read(&files))
    }

    async fn signal(&self) -> Result<(), Error> {
        process::find(NAME, self.pid_file.as_deref())?.send(Signal::HUP)
    }

    async fn shut_out(&self, _devices: &[String]) -> Result<Ended, Error> {
        Ok(Ended::TakeOver)
    }

    fn refusal(&self) -> Refusal {
        Refusal::Handshake
    }

    fn half_open(&self) -> Duration {
        HALF_OPEN
    }

    async fn denials(&self) -> Result<Vec<Denial>, Error> {
        let follower = self.log.as_ref().and_then(|log| log.lock().ok());
        follower.map_or(Ok(Vec::new()), |mut follower| follower.denials())
    }

    fn config(&self) -> String {
        mosquitto_kept(&self.dir, &self.port)
    }
}
