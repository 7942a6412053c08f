//! A CA, a broker and the agent beside it, as an operator starts them.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use muster_pki::key::PrivateKey;
use muster_pki::{csr, pem};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use super::broker::{Kind, Place, Running};
use super::device::Device;
use crate::http::Connection;
use crate::process::Process;
use crate::target::free_port;
use crate::{Fault, Result};

/// How long each of them may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
const NAME: &str = "hub";

/// All three, and a connection to the CA's socket.
pub(super) struct Hub {
    place: tempfile::TempDir,
    muster: PathBuf,
    ca: Option<Process>,
    broker: Option<Running>,
    agent: Option<Process>,
    socket: Option<Mutex<Connection<UnixStream>>>,
    kind: Kind,
    at: Place,
}

#[derive(Deserialize)]
struct Issued {
    pem: String,
    issuing: String,
}

impl Hub {
    pub(super) async fn start(kind: Kind) -> Result<Self> {
        let beside = std::env::current_exe()?;
        let place = tempfile::tempdir()?;
        let mut hub = Self {
            at: Place::new(place.path())?,
            place,
            muster: beside.parent().ok_or("no directory")?.join("muster"),
            ca: None,
            broker: None,
            agent: None,
            socket: None,
            kind,
        };
        hub.start_ca().await?;
        hub.start_agent().await?;
        hub.start_broker().await?;
        hub.until("the broker's proof", |hub| {
            let listed = hub.command(&["broker", "list", "--json"]).output().ok();
            let all: Option<Value> = listed.and_then(|listed| serde_json::from_slice(&listed.stdout).ok());
            all.is_some_and(|all| all["items"][0]["state"] == "proven")
        })
        .await?;
        // Not before: the CA hangs up on who says nothing while a broker starts.
        let stream = UnixStream::connect(hub.path("data/muster.sock")).await?;
        hub.socket = Some(Mutex::new(Connection::over(stream)));
        Ok(hub)
    }

    pub(super) fn port(&self) -> u16 {
        self.at.port
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.muster);
        command.args(args).arg("--data").arg(self.path("data"));
        command.current_dir(self.place.path()).stdin(Stdio::null());
        command
    }

    async fn start_ca(&mut self) -> Result<()> {
        let api = free_port()?;
        let mut command = self.command(&["up", "--quiet", "--dns", "localhost"]);
        command.args(["--listen", &format!("127.0.0.1:{api}")]);
        for door in ["--public-listen", "--web-listen"] {
            command.arg(door).arg(format!("127.0.0.1:{}", free_port()?));
        }
        self.ca = Some(Process::start(&mut command, &self.path("ca.log"))?);
        let socket = self.path("data/muster.sock");
        let end = Instant::now() + PATIENCE;
        while let Err(why) = UnixStream::connect(&socket).await {
            if Instant::now() > end {
                return Err(why.into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let url = format!("https://localhost:{api}");
        let mut add = self.command(&["broker", "add", NAME, "--san", "localhost", "--ca-url", &url]);
        add.args(["--program", self.kind.program()]);
        let added = add.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        added
            .success()
            .then_some(())
            .ok_or_else(|| "broker add failed".into())
    }

    async fn start_agent(&mut self) -> Result<()> {
        let mut command = self.agent_command();
        self.agent = Some(Process::start(&mut command, &self.path("agent.log"))?);
        self.until("the agent's files", |hub| hub.path("etc/server.pem").exists())
            .await
    }

    fn agent_command(&self) -> Command {
        let mut command = self.command(&["broker", "run", NAME]);
        command.arg("--join").arg(self.path(&format!("{NAME}.join")));
        command.arg("--state").arg(self.path("agent"));
        command.arg("--dir").arg(self.path("etc"));
        command.arg("--pid-file").arg(self.path("pid"));
        command.args(["--listener", &format!("127.0.0.1:{}", self.at.port)]);
        command.args(["--control", &self.at.control(self.kind)]);
        command.args(["--answer", &format!("127.0.0.1:{}", self.at.answer)]);
        command
    }

    async fn start_broker(&mut self) -> Result<()> {
        let mut print = self.agent_command();
        print.args(["--print-config", "--program", self.kind.program()]);
        let conf = String::from_utf8(print.output()?.stdout)?;
        self.broker = Some(self.at.start(self.kind, &conf, &self.muster).await?);
        Ok(())
    }

    async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while !done(self) {
            if Instant::now() > end {
                return Err(self.words(what));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// What went wrong, with what each said last.
    pub(super) fn words(&self, what: &str) -> Fault {
        let last = |process: &Option<Process>| process.as_ref().map(Process::last_words).unwrap_or_default();
        let broker = self.broker.as_ref().map(Running::last_words).unwrap_or_default();
        let all = [
            ("CA", last(&self.ca)),
            ("agent", last(&self.agent)),
            ("broker", broker),
        ];
        let words = all.map(|(name, said)| format!("--- {name}\n{said}"));
        format!("{what}:\n{}", words.join("\n")).into()
    }

    /// A device with a certificate.
    pub(super) async fn enrol(&self, name: &str) -> Result<Device> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
        let pkcs8 = pair.to_pkcs8v1()?.as_ref().to_vec();
        let key = PrivateKey::from_pkcs8(pkcs8.clone().into())?;
        let request = pem::encode(pem::CSR, &csr::Csr::build(name, &[], &key)?)?;
        let body = json!({ "name": name, "csr": request, "profile": "client" });
        let issued: Issued = serde_json::from_value(self.post("/certificates", &body).await?)?;
        let chain = CertificateDer::pem_slice_iter((issued.pem + &issued.issuing).as_bytes())
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("data/root_ca.crt"))?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12])?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, PrivatePkcs8KeyDer::from(pkcs8).into())?;
        Ok(Device {
            name: name.to_owned(),
            config,
        })
    }

    /// What an operator's `device revoke` asks for.
    pub(super) async fn revoke(&self, name: &str) -> Result<()> {
        self.post(&format!("/devices/{name}/revoke"), &json!({}))
            .await
            .map(drop)
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let mut socket = self.socket.as_ref().ok_or("the broker is starting")?.lock().await;
        let body = body.to_string();
        let request = format!(
            "POST /api/v1{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = socket.send(request.as_bytes()).await?;
        let body = socket.body(&answer)?;
        if answer.status >= 300 {
            return Err(format!("{path}: {} {}", answer.status, String::from_utf8_lossy(&body)).into());
        }
        Ok(serde_json::from_slice(&body)?)
    }

    /// Ends all three.
    pub(super) async fn stop(mut self) -> Result<()> {
        for process in [self.agent.take(), self.ca.take()].into_iter().flatten() {
            process.stop().await?;
        }
        Ok(())
    }
}
