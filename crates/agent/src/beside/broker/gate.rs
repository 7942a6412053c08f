//! Muster's own gate in front of any broker: four files, and a word on its socket.
//!
//! It ends the sessions of certificates that do not hold any more by itself, when it takes the files up.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use muster_api::agent::Denial;

use super::{Broker, Ended, Orders, Place, Refusal, Rendered};
use crate::Error;
use crate::beside::access::AccessList;
use crate::beside::files::File;
use crate::beside::gate;

/// The adapter.
pub(super) struct Gate {
    dir: PathBuf,
    port: String,
}

impl Gate {
    pub(super) fn new(dir: PathBuf, place: &Place) -> Self {
        Self {
            dir,
            port: place.port().to_owned(),
        }
    }
}

#[async_trait]
impl Broker for Gate {
    fn render(&self, orders: &Orders) -> Result<Rendered, Error> {
        let [crls, trust, server, access] = gate::FILES;
        let files = vec![
            File::open(crls, &orders.crls_pem()?),
            File::open(trust, &orders.trust),
            File::secret(server, &orders.server),
            File::secret(access, &AccessList::of(orders)?),
        ];
        Ok(Rendered {
            files,
            shortfalls: Vec::new(),
        })
    }

    /// It says so itself, and goes on with what it had.
    fn can_read(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn signal(&self) -> Result<(), Error> {
        gate::ask(&self.dir, "reload").await.map(drop)
    }

    async fn shut_out(&self, _devices: &[String]) -> Result<Ended, Error> {
        Ok(Ended::Over)
    }

    fn refusal(&self) -> Refusal {
        Refusal::Handshake
    }

    /// A CONNECT is judged by the newest lists.
    fn half_open(&self) -> Duration {
        Duration::ZERO
    }

    async fn denials(&self) -> Result<Vec<Denial>, Error> {
        // One that does not run has refused nothing; that it does not run is said elsewhere.
        let told = gate::ask(&self.dir, "denials").await;
        Ok(told.map(|told| told.denials).unwrap_or_default())
    }

    async fn sessions(&self) -> Option<u64> {
        let told = gate::ask(&self.dir, "sessions").await;
        told.ok().map(|told| told.sessions)
    }

    fn config(&self) -> String {
        include_str!("gate/muster-gate.service")
            .replace("@DIR@", &self.dir.display().to_string())
            .replace("@PORT@", &self.port)
    }
}
