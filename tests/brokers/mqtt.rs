//! MQTT clients with certificates: `mosquitto_pub`, `mosquitto_sub`, and `openssl` where the reason is asked for.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::common::{Running, tool, wait_for, wait_for_child};
use crate::fleet::{Fleet, openssl, spawn};

/// What a client shows and where it connects.
#[derive(Clone)]
pub struct Client {
    dir: PathBuf,
    name: String,
    shown: Option<(PathBuf, PathBuf)>,
    ca: PathBuf,
    port: u16,
}

impl Client {
    /// A device with its own certificate.
    pub fn of(fleet: &Fleet, name: &str, port: u16) -> Self {
        let shown = Some((fleet.file(name, "crt"), fleet.file(name, "key")));
        Self {
            shown,
            name: name.into(),
            ..Self::stranger(fleet, port)
        }
    }

    /// Somebody who knows the CA and has no certificate.
    pub fn stranger(fleet: &Fleet, port: u16) -> Self {
        Self {
            dir: fleet.muster.path().to_owned(),
            name: "stranger".into(),
            shown: None,
            ca: fleet.ca(),
            port,
        }
    }

    /// Shows another certificate.
    pub fn showing(mut self, certificate: &Path, key: &Path) -> Self {
        self.shown = Some((certificate.to_owned(), key.to_owned()));
        self
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("stdbuf");
        command.arg("-oL").arg(tool(program).unwrap());
        command.args(["-h", "localhost", "-p", &self.port.to_string(), "-q", "1"]);
        command.arg("--cafile").arg(&self.ca);
        if let Some((certificate, key)) = &self.shown {
            command.arg("--cert").arg(certificate).arg("--key").arg(key);
        }
        command
    }

    /// Publishes with QoS 1; whether the broker took it. A broker says yes, too, to what its access list throws away.
    pub fn publishes(&self, topic: &str, message: &str) -> bool {
        self.publishes_as(&self.name, topic, message)
    }

    /// The same with a client id of its own choice.
    pub fn publishes_as(&self, id: &str, topic: &str, message: &str) -> bool {
        let mut command = self.command("mosquitto_pub");
        command.args(["-i", id, "-t", topic, "-m", message]);
        let log = self.dir.join(format!("pub-{}.log", self.name));
        let mut running = spawn(&mut command, &log);
        wait_for_child(&mut running.0, Duration::from_secs(15)).success()
    }

    /// Subscribes and waits until the broker has granted it.
    pub fn subscribes(&self, topic: &str) -> Subscriber {
        Subscriber::start(self.command("mosquitto_sub"), &self.dir, &self.name, topic)
    }

    /// The alert with which the broker ends the handshake, in OpenSSL's words; none if it does not. With TLS 1.2, since
    /// in 1.3 a client believes that it is connected before its certificate has been looked at.
    pub fn alert(&self) -> Option<String> {
        let address = format!("localhost:{}", self.port);
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let mut args = vec!["s_client".into(), "-connect".into(), address, "-tls1_2".into()];
        args.extend(["-CAfile".into(), path(&self.ca)]);
        if let Some((certificate, key)) = &self.shown {
            args.extend(["-cert".into(), path(certificate), "-key".into(), path(key)]);
            args.extend(["-cert_chain".into(), path(certificate)]);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (_, said) = openssl(&args);
        let alert = said.split(" alert ").nth(1)?.split(':').next()?;
        Some(alert.to_owned())
    }
}

/// A running `mosquitto_sub`.
pub struct Subscriber {
    _program: Running,
    log: PathBuf,
}

impl Subscriber {
    fn start(mut command: Command, dir: &Path, name: &str, topic: &str) -> Self {
        let log = dir.join(format!("sub-{name}.log"));
        command.args(["-i", name, "-t", topic, "-F", "received %t %p", "-d"]);
        let program = spawn(&mut command, &log);
        let subscriber = Self {
            _program: program,
            log,
        };
        wait_for("a subscription", || subscriber.said().contains("\nSubscribed "));
        subscriber
    }

    /// A subscriber of a broker that asks for no certificate.
    pub fn plain(dir: &Path, name: &str, port: u16, topic: &str) -> Self {
        let mut command = Command::new("stdbuf");
        command.arg("-oL").arg(tool("mosquitto_sub").unwrap());
        command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1"]);
        Self::start(command, dir, name, topic)
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Everything that arrived, in order.
    pub fn received(&self) -> Vec<String> {
        let said = self.said();
        let lines = said.lines().filter_map(|line| line.strip_prefix("received "));
        lines.map(str::to_owned).collect()
    }

    /// Waits for a message, as `TOPIC TEXT`.
    pub fn waits_for(&self, message: &str) {
        wait_for(message, || self.received().iter().any(|one| one == message));
    }

    /// How often it had to connect; it does so again by itself when the broker throws it off.
    pub fn connections(&self) -> usize {
        self.said().matches("received CONNACK").count()
    }
}

/// Publishes on a broker that asks for no certificate.
pub fn publish_plain(dir: &Path, port: u16, topic: &str, message: &str) {
    let mut command = Command::new(tool("mosquitto_pub").unwrap());
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1"]);
    command.args(["-t", topic, "-m", message]);
    let mut running = spawn(&mut command, &dir.join("pub-plain.log"));
    assert!(wait_for_child(&mut running.0, Duration::from_secs(15)).success());
}
