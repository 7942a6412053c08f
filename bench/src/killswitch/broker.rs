//! Brokers of each kind, on the configuration that the agent prints.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::Result;
use crate::process::Process;
use crate::target::free_port;

const MOSQUITTO: &str = "/usr/sbin/mosquitto";
const HAPROXY: &str = "/usr/sbin/haproxy";
const RABBITMQ: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// How long a broker may take to begin to listen.
const PATIENCE: Duration = Duration::from_secs(120);

/// What stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Mosquitto,
    RabbitMq,
    /// In front of Mosquitto.
    HaProxy,
    /// In front of rumqttd.
    Gate,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Mosquitto, Self::RabbitMq, Self::HaProxy, Self::Gate];

    /// What `broker add --program` calls it.
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Mosquitto => "mosquitto",
            Self::RabbitMq => "rabbitmq",
            Self::HaProxy => "haproxy",
            Self::Gate => "gate",
        }
    }

    /// Fails before anything is started if a program is missing.
    pub(super) fn check(self) -> Result<()> {
        let needed = match self {
            Self::Mosquitto => vec![MOSQUITTO.into()],
            Self::RabbitMq => vec![RABBITMQ.into()],
            Self::HaProxy => vec![MOSQUITTO.into(), HAPROXY.into()],
            Self::Gate => vec![rumqttd()],
        };
        match needed.iter().find(|program| !program.exists()) {
            Some(missing) => Err(format!(
                "{} is not there (apt-get install mosquitto haproxy rabbitmq-server; scripts/bench installs rumqttd)",
                missing.display()
            )
            .into()),
            None => Ok(()),
        }
    }
}

/// `scripts/bench` says where it is.
fn rumqttd() -> PathBuf {
    std::env::var_os("RUMQTTD").map_or_else(|| "rumqttd".into(), PathBuf::from)
}

/// Where a broker is.
pub(super) struct Place {
    pub(super) dir: PathBuf,
    /// For devices.
    pub(super) port: u16,
    /// Without TLS, or the management API.
    pub(super) inner: u16,
    /// Where the agent answers.
    pub(super) answer: u16,
    /// Where Erlang's nodes find each other.
    epmd: u16,
}

impl Place {
    pub(super) fn new(dir: &Path) -> Result<Self> {
        Ok(Self {
            dir: dir.to_owned(),
            port: free_port()?,
            inner: free_port()?,
            answer: free_port()?,
            epmd: free_port()?,
        })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Where the broker takes orders.
    pub(super) fn control(&self, kind: Kind) -> String {
        match kind {
            Kind::HaProxy => self.path("control").display().to_string(),
            Kind::Mosquitto | Kind::RabbitMq | Kind::Gate => format!("127.0.0.1:{}", self.inner),
        }
    }

    /// Starts a broker on what the agent printed. The program that faces devices comes last.
    pub(super) async fn start(&self, kind: Kind, conf: &str, muster: &Path) -> Result<Running> {
        let mut running = Running {
            all: Vec::new(),
            epmd: (kind == Kind::RabbitMq).then_some(self.epmd),
        };
        match kind {
            Kind::Mosquitto => {
                let port = self.port;
                let conf = conf.replace(
                    &format!("\nlistener {port}\n"),
                    &format!("\nlistener {port} 127.0.0.1\n"),
                );
                let pid = self.path("pid");
                let conf = format!("user root\n{conf}pid_file {}\n", pid.display());
                running.all.push(self.mosquitto(&conf)?);
            }
            Kind::HaProxy => {
                let plain = format!(
                    "user root\nlistener {} 127.0.0.1\nallow_anonymous true\n",
                    self.inner
                );
                running.all.push(self.mosquitto(&plain)?);
                listens(self.inner).await?;
                let conf = conf.replace("bind :", "bind 127.0.0.1:");
                let conf = conf.replace("127.0.0.1:1883", &format!("127.0.0.1:{}", self.inner));
                fs::write(self.path("haproxy.cfg"), conf)?;
                let mut command = Command::new(HAPROXY);
                command.arg("-db").arg("-f").arg(self.path("haproxy.cfg"));
                running
                    .all
                    .push(Process::start(&mut command, &self.path("broker.log"))?);
            }
            Kind::Gate => {
                running.all.push(self.rumqttd()?);
                listens(self.inner).await?;
                let mut command = Command::new(muster);
                command.arg("gate").arg("--dir").arg(self.path("etc"));
                command.args(["--listen", &format!("127.0.0.1:{}", self.port)]);
                command.args(["--to", &format!("127.0.0.1:{}", self.inner)]);
                running
                    .all
                    .push(Process::start(&mut command, &self.path("broker.log"))?);
            }
            Kind::RabbitMq => running.all.push(self.rabbitmq(conf)?),
        }
        listens(self.port).await?;
        Ok(running)
    }

    fn mosquitto(&self, conf: &str) -> Result<Process> {
        fs::write(self.path("mosquitto.conf"), conf)?;
        let mut command = Command::new(MOSQUITTO);
        command.arg("-c").arg(self.path("mosquitto.conf"));
        Process::start(&mut command, &self.path("mosquitto.log"))
    }

    fn rumqttd(&self) -> Result<Process> {
        let conf = format!(
            "id = 0\n[router]\nid = 0\nmax_connections = 10010\nmax_outgoing_packet_count = 200\nmax_segment_size = 1048576\n\
             max_segment_count = 10\n[v4.1]\nname = \"v4-1\"\nlisten = \"127.0.0.1:{}\"\nnext_connection_delay_ms = 1\n\
             [v4.1.connections]\nconnection_timeout_ms = 60000\nmax_payload_size = 20480\nmax_inflight_count = 100\n\
             dynamic_filters = true\n",
            self.inner
        );
        fs::write(self.path("rumqttd.toml"), conf)?;
        let mut command = Command::new(rumqttd());
        command.arg("-q").arg("-c").arg(self.path("rumqttd.toml"));
        Process::start(&mut command, &self.path("rumqttd.log"))
    }

    fn rabbitmq(&self, conf: &str) -> Result<Process> {
        let (conf, advanced) = conf.split_once("#---- ").ok_or("no advanced.config")?;
        let (_, advanced) = advanced.split_once('\n').ok_or("no advanced.config")?;
        let conf = conf.replace("ssl.default = ", "ssl.default = 127.0.0.1:");
        fs::write(
            self.path("rabbitmq.conf"),
            format!("listeners.tcp = none\n{conf}"),
        )?;
        fs::write(self.path("advanced.config"), advanced)?;
        let plugins = "[rabbitmq_mqtt,rabbitmq_management,rabbitmq_auth_backend_http].";
        fs::write(self.path("plugins"), plugins)?;
        let mut command = Command::new(RABBITMQ);
        // Its own group, so that all of it ends.
        command.process_group(0).env("HOME", &self.dir);
        for (name, file) in [
            ("CONFIG_FILE", "rabbitmq"),
            ("ADVANCED_CONFIG_FILE", "advanced.config"),
            ("MNESIA_BASE", "mnesia"),
            ("LOG_BASE", "log"),
            ("ENABLED_PLUGINS_FILE", "plugins"),
        ] {
            command.env(format!("RABBITMQ_{name}"), self.path(file));
        }
        command.env("RABBITMQ_NODENAME", format!("bench{}@localhost", self.port));
        command.env("RABBITMQ_DIST_PORT", free_port()?.to_string());
        command.env("ERL_EPMD_PORT", self.epmd.to_string());
        command.env("ERL_EPMD_ADDRESS", "127.0.0.1");
        Process::start(&mut command, &self.path("broker.log"))
    }
}

/// A broker's programs.
pub(super) struct Running {
    all: Vec<Process>,
    epmd: Option<u16>,
}

impl Running {
    /// What the one that faces devices said last.
    pub(super) fn last_words(&self) -> String {
        self.all.last().map(Process::last_words).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(epmd) = self.epmd else { return };
        for process in &self.all {
            let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
            let _ = pid.map(|pid| kill_process_group(pid, Signal::KILL));
        }
        let mut command = Command::new("epmd");
        command.args(["-port", &epmd.to_string(), "-kill"]);
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

async fn listens(port: u16) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        if Instant::now() > end {
            return Err(format!("nobody listens on port {port}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
