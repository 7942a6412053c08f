//! HAProxy 2.6 that ends TLS in front of any broker: files for its next start, and its runtime API for now.
//!
//! Its lists refuse who is revoked in the handshake; a list of serial numbers is looked at once more when the CONNECT comes,
//! which catches who was half-way in. Since client id and certificate's name are the same, sessions end by taking them over at the broker
//! behind it: that needs no map of who is connected from where, and finds those too that began before the agent did.

mod runtime;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use muster_api::agent::Denial;
use muster_pki::crl::Crl;
use rustix::process::Signal;
use zeroize::Zeroizing;

use super::{Broker, Ended, Orders, Place, Refusal, Rendered};
use crate::beside::files::File;
use crate::beside::process;
use crate::pair::Pair;
use crate::{Error, disk};
use runtime::Runtime;

/// The configuration lets a client wait for 5 s.
const HALF_OPEN: Duration = Duration::from_secs(10);
/// Where the configuration has the socket unless told.
const SOCKET: &str = "/run/haproxy/muster.sock";
/// The serial numbers of everybody who is revoked.
const REVOKED: &str = "revoked.lst";
/// What it takes up while it runs, with the word that its runtime API has for it, in order.
const FILES: [(&str, &str); 2] = [("crl-file", "crls.pem"), ("ca-file", "trust.pem")];
/// What it takes up by a reload alone: HAProxy 2.6.12 crashes when it is given a CRL after a certificate.
const SERVER: &str = "server.pem";
/// What its process is called, and where its master writes its id unless told.
const NAME: &str = "haproxy";
const PID_FILE: &str = "/run/haproxy.pid";
/// How long a reload may take.
const RELOAD: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// The adapter.
pub(super) struct HaProxy {
    dir: PathBuf,
    socket: PathBuf,
    pid_file: PathBuf,
    port: String,
    runtime: Runtime,
}

impl HaProxy {
    pub(super) fn new(dir: PathBuf, place: &Place) -> Self {
        let socket = PathBuf::from(place.control.as_deref().unwrap_or(SOCKET));
        Self {
            dir,
            pid_file: place.pid_file.clone().unwrap_or_else(|| PID_FILE.into()),
            port: place.port().to_owned(),
            runtime: Runtime::new(socket.clone()),
            socket,
        }
    }

    fn read(&self, name: &str) -> Result<Zeroizing<String>, Error> {
        let path = self.dir.join(name);
        let text = disk::read_text(&path)?;
        let text = text.map(Zeroizing::new);
        text.ok_or_else(|| Error::new(format!("{} is missing", path.display())))
    }

    /// A reload, if it shows another certificate than lies there. What is open stays open, in the process that had it.
    async fn renew(&self) -> Result<(), Error> {
        let path = self.dir.join(SERVER);
        let server = Pair::from_pem(&self.read(SERVER)?)?;
        let serial = shown(server.leaf().serial());
        if self.runtime.shows(&path, &serial).await? {
            return Ok(());
        }
        process::find(NAME, Some(&self.pid_file))
            .and_then(|master| master.send(Signal::USR2))
            .map_err(|why| {
                Error::new(format!(
                    "HAProxy has to be reloaded for another certificate: {why}"
                ))
            })?;
        let reloaded = async {
            while !matches!(self.runtime.shows(&path, &serial).await, Ok(true)) {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let late = |_| Error::new("HAProxy was reloaded and still shows another certificate (see its log)");
        tokio::time::timeout(RELOAD, reloaded).await.map_err(late)
    }
}

#[async_trait]
impl Broker for HaProxy {
    fn render(&self, orders: &Orders) -> Result<Rendered, Error> {
        let [crls, trust] = FILES.map(|(_, name)| name);
        let files = vec![
            File::open(REVOKED, &serials(&orders.crls)),
            File::open(crls, &orders.crls_pem()?),
            File::open(trust, &orders.trust),
            File::secret(SERVER, &orders.server),
        ];
        let own = orders.devices.len();
        let blind = format!(
            "{own} devices have topic rules of their own, and HAProxy does not look at topics: the broker behind it has to \
             enforce them"
        );
        let shortfalls = (own > 0).then_some(blind).into_iter().collect();
        Ok(Rendered { files, shortfalls })
    }

    /// It reads its files as root, and when it starts.
    fn can_read(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The serial numbers first: they are in force at once, however long the lists are.
    async fn signal(&self) -> Result<(), Error> {
        let revoked: BTreeSet<String> = self.read(REVOKED)?.lines().map(str::to_owned).collect();
        self.runtime.list(&self.dir.join(REVOKED), &revoked).await?;
        for (kind, name) in FILES {
            let pem = self.read(name)?;
            self.runtime.replace(kind, &self.dir.join(name), &pem).await?;
        }
        self.renew().await
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
        Ok(Vec::new())
    }

    async fn sessions(&self) -> Option<u64> {
        self.runtime.connections().await
    }

    fn config(&self) -> String {
        include_str!("haproxy/muster.cfg")
            .replace("@DIR@", &self.dir.display().to_string())
            .replace("@PORT@", &self.port)
            .replace("@SOCKET@", &self.socket.display().to_string())
    }
}

/// As `ssl_c_serial,hex` shows them, one in a line. Serial numbers of Muster are random enough for no two CAs to share one.
fn serials(crls: &[Crl]) -> String {
    let all: BTreeSet<String> = crls.iter().flat_map(Crl::serials).map(shown).collect();
    all.into_iter().map(|serial| serial + "\n").collect()
}

/// OpenSSL keeps the number without the zero that makes it positive.
fn shown(serial: &[u8]) -> String {
    let number = serial.strip_prefix(&[0]).unwrap_or(serial);
    number.iter().map(|byte| format!("{byte:02X}")).collect()
}
