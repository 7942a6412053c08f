//! Real listeners, each with its printed configuration in which something may have been spoilt.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::common::{Muster, Running, end_epmd, free_port, tool, wait_for};
use crate::faults::{Program, Row};
use crate::fleet::{BROKER, Fleet, Mosquitto, Printed, install, openssl, spawn, wait_for_port};

const RABBIT: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// The names that are tried with; with RabbitMQ they have to be users.
const NAMES: [&str; 3] = [
    "muster-canary.trial-1",
    "muster-canary.trial-11",
    "muster-canary.revoked",
];

pub fn has_rabbitmq() -> bool {
    Path::new(RABBIT).exists()
}

/// What all of them share.
pub struct Stage {
    pub fleet: Fleet,
    printed: Printed,
    /// Who gives WebSocket and a session to everybody, and who judges by client ids.
    web: u16,
    judged: u16,
}

/// One that runs.
pub struct Listener {
    pub row: &'static Row,
    pub port: u16,
    etc: PathBuf,
    mosquitto: Option<Mosquitto>,
    _front: Option<Running>,
    _rabbit: Option<Rabbit>,
}

impl Stage {
    pub fn new() -> Option<Self> {
        let fleet = Fleet::start()?;
        let printed = fleet.issue_broker();
        fleet.issue("brief", &["--kind", "brief", "--san", "localhost"]);
        fleet.issue("other.example.org", &["--kind", "server"]);
        fleet.issue("site-9", &["--kind", "client"]);
        let own = |name: &str| fleet.path(name).display().to_string();
        let (content, said) = openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            &own("self.key"),
            "-out",
            &own("self.crt"),
        ]);
        assert!(content, "{said}");
        let bundle = fs::read_to_string(fleet.file(BROKER, "crt")).unwrap();
        let leaf = bundle
            .split_inclusive("-----END CERTIFICATE-----\n")
            .next()
            .unwrap();
        fs::write(fleet.path("alone.crt"), leaf).unwrap();
        let both = ["self.crt", &format!("{BROKER}/ca.crt")].map(|name| fs::read(fleet.path(name)).unwrap());
        fs::write(fleet.path("both.crt"), both.concat()).unwrap();
        let other = Muster::stopped(&[]);
        other.ok(&["init", "--yes", "--name", "Other"]);
        other.ok(&["ca", "crl", "--out", &own("foreign.crl")]);
        let brief = fleet.file("brief", "crt").display().to_string();
        wait_for("the end of a certificate", || {
            !fleet.muster.run(&["cert", "verify", &brief]).status.success()
        });
        Some(Self {
            fleet,
            printed,
            web: web(&[]),
            judged: web(&[".revoked", ".nobody"]),
        })
    }

    /// The lists of all CAs.
    pub fn lists(&self) -> String {
        let file = self.fleet.path("new.crl");
        self.fleet.new_crl(&file);
        fs::read_to_string(&file).unwrap()
    }

    pub fn start(&self, row: &'static Row) -> Listener {
        let port = free_port();
        let etc = self.fleet.path(&format!("etc-{port}"));
        let certs = etc.join("certs");
        install(&certs, &self.fleet.path(BROKER));
        let lists = self.lists();
        fs::write(certs.join("crl.pem"), &lists).unwrap();
        for (file, source) in row.files {
            fs::copy(self.fleet.path(source), certs.join(file)).unwrap();
        }
        let mut listener = Listener {
            row,
            port,
            etc,
            mosquitto: None,
            _front: None,
            _rabbit: None,
        };
        match row.program {
            Program::Mosquitto => listener.mosquitto = Some(self.mosquitto(row, &listener)),
            Program::HaProxy => {
                let (front, behind) = self.haproxy(row, &listener);
                (listener._front, listener.mosquitto) = (Some(front), Some(behind));
            }
            Program::RabbitMq => {
                listener.bring(&lists);
                listener._rabbit = Some(self.rabbitmq(row, &listener));
            }
        }
        listener
    }

    fn mosquitto(&self, row: &Row, listener: &Listener) -> Mosquitto {
        let acl = if row.acl.is_empty() {
            self.printed.text("Mosquitto: who may do what")
        } else {
            row.acl.to_owned()
        };
        fs::write(listener.etc.join("muster.acl"), acl).unwrap();
        let conf = edited(self.printed.text("Mosquitto: listener"), row)
            .replace("/etc/mosquitto", &listener.etc.display().to_string())
            .replace("\nlistener 8883\n", &format!("\nlistener {}\n", listener.port));
        Mosquitto::start(&listener.etc, &conf, listener.port)
    }

    fn haproxy(&self, row: &Row, listener: &Listener) -> (Running, Mosquitto) {
        let printed = self.fleet.printed(&["haproxy", BROKER]);
        let (etc, behind) = (listener.etc.join("behind"), free_port());
        fs::create_dir_all(&etc).unwrap();
        let acl = if row.acl.is_empty() {
            printed.text("Mosquitto behind it: who may do what")
        } else {
            row.acl.to_owned()
        };
        fs::write(etc.join("muster.acl"), acl).unwrap();
        let conf = printed
            .text("Mosquitto behind it")
            .replace("/etc/mosquitto", &etc.display().to_string());
        let broker = Mosquitto::start(
            &etc,
            &conf.replace("listener 1883 ", &format!("listener {behind} ")),
            behind,
        );
        let pair =
            ["crt", "key"].map(|kind| fs::read(listener.etc.join(format!("certs/{BROKER}.{kind}"))).unwrap());
        fs::write(listener.etc.join(format!("certs/{BROKER}.pem")), pair.concat()).unwrap();
        let conf = edited(printed.text("HAProxy that ends TLS"), row)
            .replace("/etc/haproxy", &listener.etc.display().to_string())
            .replace("bind :8883 ", &format!("bind :{} ", listener.port))
            .replace("127.0.0.1:1883", &format!("127.0.0.1:{behind}"))
            .replace("@WEB@", &format!("127.0.0.1:{}", self.web))
            .replace("@JUDGED@", &format!("127.0.0.1:{}", self.judged))
            .replacen(
                "global\n",
                &format!(
                    "global\n    stats socket {} level admin\n",
                    listener.control().display()
                ),
                1,
            );
        let (file, log) = (listener.etc.join("haproxy.cfg"), listener.etc.join("log"));
        fs::write(&file, conf).unwrap();
        let mut command = Command::new(tool("haproxy").unwrap());
        let front = spawn(command.arg("-db").arg("-f").arg(&file), &log);
        wait_for_port(listener.port, &log);
        (front, broker)
    }

    fn rabbitmq(&self, row: &Row, listener: &Listener) -> Rabbit {
        let printed = self.fleet.printed(&["rabbitmq", BROKER]);
        let etc = &listener.etc;
        let (plain, port) = (printed.text("RabbitMQ: MQTT"), listener.port.to_string());
        let conf = edited(plain, row).replace("ssl.default = 8883", &format!("ssl.default = {port}"));
        let users = etc.join("users.json");
        fs::write(
            etc.join("rabbitmq.conf"),
            format!(
                "listeners.tcp = none\nload_definitions = {}\n{conf}",
                users.display()
            ),
        )
        .unwrap();
        let advanced =
            edited(printed.text("RabbitMQ: TLS"), row).replace("/etc/rabbitmq", &etc.display().to_string());
        fs::write(etc.join("advanced.config"), advanced).unwrap();
        fs::write(etc.join("plugins"), "[rabbitmq_mqtt].").unwrap();
        fs::write(users, users_of_rabbitmq().to_string()).unwrap();
        Rabbit::start(etc, listener.port)
    }
}

/// As the printed configuration says that each device has to be known; and the one that RabbitMQ has by itself.
fn users_of_rabbitmq() -> serde_json::Value {
    let mut users = NAMES
        .map(|name| serde_json::json!({ "name": name, "password_hash": "", "tags": "" }))
        .to_vec();
    users.push(serde_json::json!({ "name": "guest", "password": "guest", "tags": "" }));
    let all =
        serde_json::json!({ "user": "guest", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*" });
    let mut rights = NAMES.map(|name| {
        let name = name.replace('.', "\\.");
        let (queue, both) = (
            format!("^mqtt-subscription-{name}qos[01]$"),
            format!("^(mqtt-subscription-{name}qos[01]|amq\\.topic)$"),
        );
        serde_json::json!({ "user": name.replace('\\', ""), "vhost": "/", "configure": queue, "write": both, "read": both })
    }).to_vec();
    rights.push(all);
    // A dot in an MQTT topic is a slash in RabbitMQ's.
    let topics = NAMES.map(|name| {
        let own = format!("^fleet\\.{}\\.", name.replace('.', "/"));
        serde_json::json!({ "user": name, "vhost": "/", "exchange": "amq.topic", "write": own, "read": own })
    });
    serde_json::json!({ "users": users, "vhosts": [{ "name": "/" }], "permissions": rights, "topic_permissions": topics })
}

fn edited(mut text: String, row: &Row) -> String {
    for (good, bad) in row.edits {
        if text.contains(good) {
            text = text.replace(good, bad);
        } else {
            // RabbitMQ has two files.
            assert!(
                row.program == Program::RabbitMq,
                "{}: {good:?} is not in\n{text}",
                row.what
            );
        }
    }
    text
}

impl Listener {
    fn control(&self) -> PathBuf {
        self.etc.join("sock")
    }

    /// Brings new lists, as the printed configuration says.
    pub fn bring(&self, lists: &str) {
        let file = self.etc.join("certs/crl.pem");
        let new = file.with_extension("new");
        fs::write(&new, lists).unwrap();
        fs::rename(&new, &file).unwrap();
        match self.row.program {
            Program::Mosquitto => self.mosquitto.as_ref().unwrap().signal(Signal::HUP),
            Program::HaProxy => {
                self.tell(&format!("set ssl crl-file {} <<\n{lists}\n", file.display()));
                self.tell(&format!("commit ssl crl-file {}\n", file.display()));
            }
            Program::RabbitMq => self.hashed(lists),
        }
    }

    /// One order to HAProxy; what it answers is seen in who gets in.
    fn tell(&self, order: &str) {
        let mut socket = UnixStream::connect(self.control()).unwrap();
        socket.write_all(order.as_bytes()).unwrap();
        let _ = socket.read_to_end(&mut Vec::new());
    }

    /// Each list under the name that OpenSSL gives it.
    fn hashed(&self, lists: &str) {
        let dir = self.etc.join("certs/crl");
        fs::create_dir_all(&dir).unwrap();
        let new = self.etc.join("certs/one.new");
        for list in lists
            .split_inclusive("-----END X509 CRL-----\n")
            .filter(|list| list.contains("BEGIN"))
        {
            fs::write(&new, list).unwrap();
            let (content, hash) = openssl(&["crl", "-hash", "-noout", "-in", new.to_str().unwrap()]);
            assert!(content, "{hash}");
            fs::rename(&new, dir.join(format!("{}.r0", hash.trim()))).unwrap();
        }
    }

    /// What its program said.
    pub fn log(&self) -> String {
        let said = fs::read_to_string(self.etc.join("log")).unwrap_or_default();
        said.lines().rev().take(30).collect::<Vec<_>>().join("\n")
    }
}

impl Fleet {
    /// What `muster broker config` prints.
    pub fn printed(&self, args: &[&str]) -> Printed {
        Printed::new(&self.muster.json(&[&["broker", "config"], args].concat()))
    }
}

/// Stands in for a broker's WebSocket: says yes to whoever asks, and refuses the sessions of some. Over MQTT it refuses everybody's.
fn web(refused: &'static [&'static str]) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.unwrap();
            // Who asks may go away at any time.
            std::thread::spawn(move || answer(&mut stream, refused));
        }
    });
    port
}

fn answer(stream: &mut TcpStream, refused: &[&str]) -> std::io::Result<()> {
    let mut asked = vec![0; 4];
    stream.read_exact(&mut asked)?;
    if asked != b"GET " {
        stream.write_all(&[0x20, 2, 0, 5])?;
        return std::io::copy(stream, &mut std::io::sink()).map(drop);
    }
    while !asked.ends_with(b"\r\n\r\n") {
        let mut next = [0];
        stream.read_exact(&mut next)?;
        asked.extend(next);
    }
    stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")?;
    // A short frame with its mask, as every client's is.
    let mut head = [0; 6];
    stream.read_exact(&mut head)?;
    let mut connect = vec![0; usize::from(head[1] & 0x7f)];
    stream.read_exact(&mut connect)?;
    let plain = connect
        .iter()
        .zip(head[2..].iter().cycle())
        .map(|(one, mask)| one ^ mask);
    let plain = String::from_utf8_lossy(&plain.collect::<Vec<u8>>()).into_owned();
    let code = if refused.iter().any(|name| plain.contains(name)) {
        5
    } else {
        0
    };
    stream.write_all(&[0x82, 4, 0x20, 2, 0, code])?;
    std::io::copy(stream, &mut std::io::sink()).map(drop)
}

/// A RabbitMQ of its own.
pub struct Rabbit {
    program: Child,
    epmd: u16,
}

impl Rabbit {
    pub fn start(etc: &Path, port: u16) -> Self {
        let epmd = free_port();
        let log = fs::File::create(etc.join("log")).unwrap();
        let mut command = Command::new(RABBIT);
        // Its own group, so that all of it ends.
        command.process_group(0).env("HOME", etc);
        for (name, file) in [
            ("CONFIG_FILE", "rabbitmq"),
            ("ADVANCED_CONFIG_FILE", "advanced.config"),
            ("MNESIA_BASE", "mnesia"),
            ("LOG_BASE", "run"),
            ("ENABLED_PLUGINS_FILE", "plugins"),
        ] {
            command.env(format!("RABBITMQ_{name}"), etc.join(file));
        }
        command
            .env("RABBITMQ_NODENAME", format!("tried{port}@localhost"))
            .env("RABBITMQ_DIST_PORT", free_port().to_string())
            .env("ERL_EPMD_PORT", epmd.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let rabbit = Self {
            program: command.spawn().unwrap(),
            epmd,
        };
        // Erlang takes its time on a machine that has much to do.
        for _ in 0..3 {
            if std::panic::catch_unwind(|| wait_for_port(port, &etc.join("log"))).is_ok() {
                return rabbit;
            }
        }
        panic!(
            "RabbitMQ does not start:\n{}",
            fs::read_to_string(etc.join("log")).unwrap_or_default()
        );
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.program), Signal::KILL);
        let _ = self.program.wait();
        end_epmd(self.epmd);
    }
}
