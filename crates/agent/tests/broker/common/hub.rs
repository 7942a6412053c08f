//! A broker of each kind, as its configuration says, and what the agent beside it works with.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use muster_agent::Clock;
use muster_agent::beside::broker::{Place, adapter};
use muster_agent::beside::enforce::{Enforcer, Parts};
use muster_agent::beside::files::Files;
use muster_agent::beside::gate::{self, Settings};
use muster_agent::beside::listener::{Listener, Seen, Tls};
use muster_agent::beside::local::LocalCa;
use muster_agent::beside::tombstone::Keeper;
use muster_agent::pair::Pair;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use rustls::AlertDescription;

use super::emqx::Emqx;
use super::ports::free_port;
use super::{BROKER, Fleet, now};

/// What stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Mosquitto, run by this user.
    Mosquitto(&'static str),
    /// HAProxy in front of a Mosquitto without TLS.
    HaProxy,
    /// The gate in front of a Mosquitto without TLS.
    Gate,
    /// The gate in front of a rumqttd without TLS.
    Rumqttd,
    /// RabbitMQ with its MQTT plugin.
    RabbitMq,
    /// What stands in for EMQX.
    Emqx,
}

impl Kind {
    fn program(self) -> &'static str {
        match self {
            Self::Mosquitto(_) => "mosquitto",
            Self::HaProxy => "haproxy",
            Self::Gate | Self::Rumqttd => "gate",
            Self::RabbitMq => "rabbitmq",
            Self::Emqx => "emqx",
        }
    }

    fn needs(self) -> Vec<PathBuf> {
        match self {
            Self::Mosquitto(_) | Self::Gate => vec![MOSQUITTO.into()],
            Self::HaProxy => vec![MOSQUITTO.into(), "/usr/sbin/haproxy".into()],
            Self::Rumqttd => vec![rumqttd()],
            Self::RabbitMq => vec![RABBITMQ.into()],
            Self::Emqx => Vec::new(),
        }
    }
}

const MOSQUITTO: &str = "/usr/sbin/mosquitto";
const RABBITMQ: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// `scripts/test` installs it there.
fn rumqttd() -> PathBuf {
    PathBuf::from(std::env::var_os("MUSTER_TEST_BIN").unwrap_or_default()).join("rumqttd")
}

/// A broker, and what the agent beside it works with.
pub struct Hub {
    dir: tempfile::TempDir,
    kind: Kind,
    pub listener: Listener,
    pub port: u16,
    /// The port without TLS, where there is one.
    pub plain: u16,
    /// Where the agent answers, and where Erlang's nodes find each other.
    answer: u16,
    epmd: u16,
    broker: Vec<Child>,
    gate: Option<tokio::task::JoinHandle<()>>,
    server: Arc<Pair>,
    /// How many seconds the gate's clock is ahead.
    pub ahead: Arc<AtomicI64>,
    /// What time the agent is told.
    pub clock: fn() -> Timestamp,
}

impl Hub {
    /// Not without the programs.
    pub fn new(fleet: &mut Fleet, kind: Kind) -> Option<Self> {
        if let Some(missing) = kind.needs().iter().find(|program| !program.exists()) {
            eprintln!("skipped: needs {}", missing.display());
            return None;
        }
        let port = free_port();
        let dir = tempfile::tempdir().unwrap();
        set_mode(dir.path(), 0o755);
        for name in ["agent", "files", "run"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        set_mode(&dir.path().join("run"), 0o777);
        Some(Self {
            dir,
            kind,
            listener: Listener::new(&format!("127.0.0.1:{port}")),
            port,
            plain: free_port(),
            answer: free_port(),
            epmd: free_port(),
            broker: Vec::new(),
            gate: None,
            server: Arc::new(fleet.server()),
            ahead: Arc::default(),
            clock: now,
        })
    }

    pub fn files(&self) -> PathBuf {
        self.path("files")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn place(&self) -> Place {
        let control = match self.kind {
            Kind::Mosquitto(_) | Kind::Gate | Kind::Rumqttd => None,
            Kind::HaProxy => Some(self.path("control").display().to_string()),
            Kind::RabbitMq | Kind::Emqx => Some(format!("127.0.0.1:{}", self.plain)),
        };
        Place {
            dir: Some(self.files()),
            pid_file: Some(self.path("run/pid")),
            log: Some(self.path("log")),
            listener: format!("127.0.0.1:{}", self.port),
            control,
            answer: Some(format!("127.0.0.1:{}", self.answer)),
        }
    }

    /// An agent that begins with what lies on the disk.
    pub async fn enforcer(&self) -> Enforcer {
        let state = self.path("agent");
        let local = Arc::new(LocalCa::open(&state.join("ca.pem"), BROKER, now()).unwrap());
        let clock: Clock = Arc::new(self.clock);
        let broker = adapter(self.kind.program(), &self.place(), &clock).unwrap();
        // An agent that was dropped lets go of its port when the runtime comes round to it.
        let mut started = broker.start().await;
        for _ in 0..100 {
            if started.is_ok() {
                break;
            }
            tokio::task::yield_now().await;
            started = broker.start().await;
        }
        started.unwrap();
        let parts = Parts {
            broker,
            files: Files::open(&self.files(), None).unwrap(),
            listener: self.listener.clone(),
            keeper: Keeper::start(self.listener.clone(), local.clone(), clock.clone()),
            local,
            clock,
        };
        Enforcer::open(parts, &state, self.server.clone()).unwrap()
    }

    pub async fn start_broker(&mut self) {
        self.is_silent(self.port).await;
        let clock: Clock = Arc::new(self.clock);
        let conf = adapter(self.kind.program(), &self.place(), &clock)
            .unwrap()
            .config();
        match self.kind {
            Kind::Mosquitto(user) => {
                let listener = format!("\nlistener {} 127.0.0.1\n", self.port);
                let conf = conf.replace(&format!("\nlistener {}\n", self.port), &listener);
                let conf = conf.replace("#log_type all", "log_type all");
                let pid = self.path("run/pid");
                self.mosquitto(&format!("user {user}\n{conf}pid_file {}\n", pid.display()));
            }
            Kind::HaProxy => {
                self.plain_mosquitto().await;
                let conf = conf.replace("bind :", "bind 127.0.0.1:");
                let conf = conf.replace("127.0.0.1:1883", &format!("127.0.0.1:{}", self.plain));
                fs::write(self.path("haproxy.cfg"), conf).unwrap();
                let mut command = Command::new("/usr/sbin/haproxy");
                command.arg("-W").arg("-f").arg(self.path("haproxy.cfg"));
                command.arg("-p").arg(self.path("run/pid"));
                self.run(&mut command);
            }
            Kind::Gate | Kind::Rumqttd => {
                if self.kind == Kind::Gate {
                    self.plain_mosquitto().await;
                } else {
                    self.plain_rumqttd().await;
                }
                let settings = Settings {
                    dir: self.files(),
                    listen: ([127, 0, 0, 1], self.port).into(),
                    to: format!("127.0.0.1:{}", self.plain),
                    proxy_protocol: false,
                    most: 100,
                };
                let never = std::future::pending();
                let ahead = self.ahead.clone();
                let clock = move || now() + SignedDuration::from_secs(ahead.load(Ordering::Relaxed));
                let gate = gate::run(settings, Arc::new(clock), |_| {}, never);
                self.gate = Some(tokio::spawn(async { gate.await.unwrap() }));
            }
            Kind::RabbitMq => self.rabbitmq(&conf),
            Kind::Emqx => self.gate = Some(tokio::spawn(Emqx::run(conf.replace("0.0.0.0", "127.0.0.1")))),
        }
        self.answers(self.port).await;
    }

    /// A Mosquitto that leaves everything to what stands in front of it; only topics are its own matter.
    async fn plain_mosquitto(&mut self) {
        let acl = self.path("plain.acl");
        // The gate looks at topics itself.
        let rule = if self.kind == Kind::Gate {
            "topic readwrite #"
        } else {
            "pattern readwrite fleet/%c/#"
        };
        fs::write(&acl, format!("{rule}\n")).unwrap();
        self.mosquitto(&format!(
            "user root\nlistener {} 127.0.0.1\nallow_anonymous true\nacl_file {}\nlog_type all\n",
            self.plain,
            acl.display()
        ));
        self.answers(self.plain).await;
    }

    fn rabbitmq(&mut self, conf: &str) {
        let (conf, advanced) = conf.split_once("#---- ").unwrap();
        let (_, advanced) = advanced.split_once('\n').unwrap();
        let conf = conf.replace("ssl.default = ", "ssl.default = 127.0.0.1:");
        fs::write(
            self.path("rabbitmq.conf"),
            format!("listeners.tcp = none\n{conf}"),
        )
        .unwrap();
        fs::write(self.path("advanced.config"), advanced).unwrap();
        let plugins = "[rabbitmq_mqtt,rabbitmq_management,rabbitmq_auth_backend_http].";
        fs::write(self.path("plugins"), plugins).unwrap();
        let mut command = Command::new(RABBITMQ);
        // Its own group, so that all of it ends.
        command.process_group(0);
        command.env("HOME", self.dir.path());
        for (name, file) in [
            ("CONFIG_FILE", "rabbitmq"),
            ("ADVANCED_CONFIG_FILE", "advanced.config"),
            ("MNESIA_BASE", "mnesia"),
            ("LOG_BASE", "run"),
            ("ENABLED_PLUGINS_FILE", "plugins"),
        ] {
            command.env(format!("RABBITMQ_{name}"), self.path(file));
        }
        command.env("RABBITMQ_NODENAME", format!("hub{}@localhost", self.port));
        command.env("RABBITMQ_DIST_PORT", free_port().to_string());
        command.env("ERL_EPMD_PORT", self.epmd.to_string());
        command.env("ERL_EPMD_ADDRESS", "127.0.0.1");
        self.run(&mut command);
    }

    async fn plain_rumqttd(&mut self) {
        let conf = format!(
            "id = 0\n[router]\nid = 0\nmax_connections = 2000\nmax_outgoing_packet_count = 200\nmax_segment_size = 1048576\n\
             max_segment_count = 10\n[v4.1]\nname = \"v4-1\"\nlisten = \"127.0.0.1:{}\"\nnext_connection_delay_ms = 1\n\
             [v4.1.connections]\nconnection_timeout_ms = 60000\nmax_payload_size = 20480\nmax_inflight_count = 100\n\
             dynamic_filters = true\n",
            self.plain
        );
        fs::write(self.path("rumqttd.toml"), conf).unwrap();
        let mut command = Command::new(rumqttd());
        command.arg("-q").arg("-c").arg(self.path("rumqttd.toml"));
        self.run(&mut command);
        self.answers(self.plain).await;
    }

    fn mosquitto(&mut self, conf: &str) {
        fs::write(self.path("mosquitto.conf"), conf).unwrap();
        let mut command = Command::new(MOSQUITTO);
        command.arg("-c").arg(self.path("mosquitto.conf"));
        self.run(&mut command);
    }

    fn run(&mut self, command: &mut Command) {
        let mut log = fs::OpenOptions::new();
        let log = log.create(true).append(true).open(self.path("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap());
        self.broker.push(command.stderr(log).spawn().unwrap());
    }

    async fn answers(&self, port: u16) {
        let end = Instant::now() + Duration::from_secs(180);
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(Instant::now() < end, "{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What was ended may have its port for a moment longer than its parent lives.
    async fn is_silent(&self, port: u16) {
        let end = Instant::now() + Duration::from_secs(60);
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            assert!(Instant::now() < end, "{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub fn stop_broker(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.abort();
        }
        for mut broker in self.broker.drain(..) {
            // HAProxy's master ends its workers only when it is asked.
            let pid = Pid::from_child(&broker);
            let _ = match self.kind {
                Kind::HaProxy => kill_process(pid, Signal::TERM),
                Kind::RabbitMq => kill_process_group(pid, Signal::KILL),
                Kind::Mosquitto(_) | Kind::Gate | Kind::Rumqttd | Kind::Emqx => {
                    kill_process(pid, Signal::KILL)
                }
            };
            let _ = broker.wait();
        }
        if self.kind == Kind::RabbitMq {
            let mut epmd = Command::new("epmd");
            epmd.args(["-port", &self.epmd.to_string(), "-kill"]);
            let _ = epmd.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }

    /// Another certificate for the broker.
    pub fn renew(&mut self, server: Pair) -> Arc<Pair> {
        self.server = Arc::new(server);
        self.server.clone()
    }

    /// Whether a device is refused as revoked: in the handshake, or by a broker that asks the agent, when its session begins.
    pub async fn refuses(&self, pair: &Pair) -> bool {
        let seen = self.sees(pair).await;
        if self.kind == Kind::Emqx {
            return matches!(seen, Seen::Refused(_));
        }
        seen == Seen::Alert(AlertDescription::CertificateRevoked)
    }

    /// What a device meets.
    pub async fn sees(&self, pair: &Pair) -> Seen {
        self.sees_as(pair, &pair.leaf().common_name().unwrap()).await
    }

    /// The same with a client id of its own choice.
    pub async fn sees_as(&self, pair: &Pair, id: &str) -> Seen {
        match self.listener.connect(pair, id, Tls::Only12).await {
            Ok(session) => {
                session.leave().await;
                Seen::Accepted
            }
            Err(seen) => seen,
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop_broker();
        if std::thread::panicking() {
            eprintln!("--- the broker's log\n{}", self.log());
        }
    }
}

pub fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
