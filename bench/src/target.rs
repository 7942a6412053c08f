//! The servers that are measured: Muster and the real step-ca, which speak the same protocol.
//!
//! How each is started stands here and nowhere else.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

use crate::Result;
use crate::http::Dialer;
use crate::process::Process;
use crate::provisioner::{Provisioner, hex};

/// How long a server may take to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(60);
const PROVISIONER: &str = "iot-devices";

/// How to start a server.
pub(crate) struct Launch {
    command: Command,
    password: PathBuf,
    log: PathBuf,
    port: u16,
}

/// A server that answers.
pub(crate) struct Target {
    /// The process.
    pub(crate) process: Process,
    /// Connections that trust its root.
    pub(crate) dialer: Dialer,
    /// Its root, PEM.
    pub(crate) root: Vec<u8>,
    /// Its provisioner, key open.
    pub(crate) provisioner: Arc<Provisioner>,
    /// Its port on loopback.
    pub(crate) port: u16,
    /// From exec to the first answer on `/health`.
    pub(crate) started_in: Duration,
}

#[derive(Deserialize)]
struct Provisioners {
    provisioners: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    key: Option<ListedKey>,
}

#[derive(Deserialize)]
struct ListedKey {
    kid: String,
}

#[derive(Deserialize)]
struct SealedKey {
    key: String,
}

impl Launch {
    /// `muster up` on a new data directory below `place`.
    pub(crate) fn muster(program: &Path, place: &Path) -> Result<Self> {
        let (port, public) = (free_port()?, free_port()?);
        let data = place.join("muster");
        let mut command = Command::new(program);
        command
            .arg("up")
            .arg("--data")
            .arg(&data)
            .args(["--name", "bench", "--dns", "localhost"]);
        command.arg("--listen").arg(format!("127.0.0.1:{port}"));
        command.arg("--public-listen").arg(format!("127.0.0.1:{public}"));
        command.arg("--web-listen").arg("127.0.0.1:0");
        Ok(Self {
            command,
            password: data.join("provisioner-password"),
            log: place.join("muster.log"),
            port,
        })
    }

    /// `step-ca` with the configuration and the Badger store that `step ca init` makes below `place`.
    pub(crate) fn step_ca(program: &Path, step: &Path, place: &Path) -> Result<Self> {
        let (port, home) = (free_port()?, place.join("step"));
        fs::create_dir(&home)?;
        let password = home.join("password");
        fs::write(&password, "a password of the benchmark")?;
        let log = place.join("step-init.log");
        let output = fs::File::create(&log)?;
        let status = Command::new(step)
            .args([
                "ca",
                "init",
                "--deployment-type",
                "standalone",
                "--name",
                "bench",
                "--dns",
                "localhost",
            ])
            .args([
                "--provisioner",
                PROVISIONER,
                "--address",
                &format!("127.0.0.1:{port}"),
            ])
            .arg("--password-file")
            .arg(&password)
            .env("STEPPATH", &home)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .status()
            .map_err(|why| format!("{} does not start: {why}", step.display()))?;
        if !status.success() {
            return Err(format!("step ca init failed:\n{}", fs::read_to_string(log)?).into());
        }
        let mut command = Command::new(program);
        command
            .arg(home.join("config/ca.json"))
            .arg("--password-file")
            .arg(&password)
            .env("STEPPATH", &home);
        Ok(Self {
            command,
            password,
            log: place.join("step-ca.log"),
            port,
        })
    }

    /// Starts it and waits until it answers; may be called again once the last one has stopped.
    pub(crate) async fn start(&mut self) -> Result<Target> {
        let begun = Instant::now();
        let mut process = Process::start(&mut self.command, &self.log)?;
        self.healthy(&mut process, begun).await?;
        let started_in = begun.elapsed();
        let (_, root) = self.get(&Dialer::trusting(self.port)?, "/roots.pem").await?;
        let dialer = Dialer::new(self.port, &root, None)?;
        let provisioner = self.provisioner(&dialer, &root).await?;
        Ok(Target {
            process,
            dialer,
            root,
            provisioner,
            port: self.port,
            started_in,
        })
    }

    async fn healthy(&self, process: &mut Process, begun: Instant) -> Result<()> {
        let dialer = Dialer::trusting(self.port)?;
        let request = dialer.request("GET", "/health", "");
        while !matches!(dialer.once(&request).await, Ok((200, _))) {
            process.check()?;
            if begun.elapsed() > PATIENCE {
                return Err(format!("the server does not answer:\n{}", process.last_words()).into());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    async fn provisioner(&self, dialer: &Dialer, root: &[u8]) -> Result<Arc<Provisioner>> {
        let (_, list) = self.get(dialer, "/provisioners?limit=100").await?;
        let list: Provisioners = serde_json::from_slice(&list)?;
        let mut named = list
            .provisioners
            .into_iter()
            .filter(|listed| listed.name == PROVISIONER);
        let key = named
            .find_map(|listed| listed.key)
            .ok_or("the server has no provisioner iot-devices")?;
        let (_, sealed) = self
            .get(dialer, &format!("/provisioners/{}/encrypted-key", key.kid))
            .await?;
        let sealed: SealedKey = serde_json::from_slice(&sealed)?;
        let password = fs::read(&self.password)?;
        let audience = format!("https://localhost:{}/1.0/sign", self.port);
        let root = CertificateDer::from_pem_slice(root)?;
        let fingerprint = hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &root).as_ref());
        Provisioner::open(
            &sealed.key,
            password.trim_ascii_end(),
            PROVISIONER,
            &audience,
            &fingerprint,
        )
    }

    async fn get(&self, dialer: &Dialer, path: &str) -> Result<(u16, Vec<u8>)> {
        let (status, body) = dialer.once(&dialer.request("GET", path, "")).await?;
        if status >= 400 {
            return Err(format!("GET {path}: {status} {}", String::from_utf8_lossy(&body)).into());
        }
        Ok((status, body))
    }
}

/// A port on loopback that nobody listens on now.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
