//! A CA with a profile for certificates that soon expire, and brokers that run on what it prints.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Muster, Running, free_port, text, tool, wait_for};

/// The broker of the guide that this replaces, and its names. The last two are how a test reaches it on this machine.
pub const BROKER: &str = "mqtt.ak-sg.com";
pub const BROKER_SANS: &str = "mqtt.ak-sg.com,10.0.80.50,emqx.local,localhost,127.0.0.1";

/// One second to show it while it holds, and not long to wait until it does not.
const SHORT: &str = "[profile.short]\nbase = \"client\"\nmin = \"1s\"\ndefault = \"4s\"\n\
    [profile.brief]\nbase = \"server\"\nmin = \"1s\"\ndefault = \"2s\"\n";

/// Whether everything is there that these tests need.
pub fn tools() -> bool {
    let needed = [
        "mosquitto",
        "mosquitto_pub",
        "mosquitto_sub",
        "haproxy",
        "openssl",
    ];
    needed.iter().all(|name| tool(name).is_some())
}

/// The CA, and a directory for every certificate.
pub struct Fleet {
    pub muster: Muster,
}

impl Fleet {
    pub fn start() -> Option<Self> {
        tools().then(|| Self {
            muster: Muster::start_with(&[], SHORT),
        })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.muster.path().join(name)
    }

    /// Issues into a directory called as the device, and returns what was printed.
    pub fn issue(&self, name: &str, options: &[&str]) -> Printed {
        let mut args = vec!["cert", "issue", name, "--out", name];
        args.extend(options);
        Printed::new(&self.muster.json(&args))
    }

    pub fn issue_broker(&self) -> Printed {
        self.issue(BROKER, &["--kind", "server", "--san", BROKER_SANS])
    }

    /// A file of a device's bundle.
    pub fn file(&self, name: &str, extension: &str) -> PathBuf {
        self.path(name).join(format!("{name}.{extension}"))
    }

    pub fn ca(&self) -> PathBuf {
        self.path(BROKER).join("ca.crt")
    }

    /// The central broker: the listener and the access list as they were printed, and two programs with rights of their own.
    pub fn central(&self, printed: &Printed) -> Mosquitto {
        let etc = self.path("central");
        install(&etc.join("certs"), &self.path(BROKER));
        let acl = printed.text("Mosquitto: who may do what");
        fs::write(
            etc.join("muster.acl"),
            format!("{acl}user backend\ntopic readwrite fleet/#\nuser ops\ntopic readwrite fleet/#\n"),
        )
        .unwrap();
        self.new_crl(&etc.join("certs/crl.pem"));
        let port = free_port();
        let conf = printed
            .text("Mosquitto: listener")
            .replace("/etc/mosquitto", &etc.display().to_string())
            .replace("\nlistener 8883\n", &format!("\nlistener {port} 127.0.0.1\n"));
        assert!(conf.contains(&format!("listener {port} ")), "{conf}");
        Mosquitto::start(&etc, &conf, port)
    }

    pub fn new_crl(&self, file: &Path) {
        self.muster.ok(&["ca", "crl", "--out", file.to_str().unwrap()]);
    }

    /// Brings a new list to the broker, as its configuration says.
    pub fn reload(&self, broker: &Mosquitto) {
        self.new_crl(&broker.etc.join("certs/crl.pem"));
        broker.signal(Signal::HUP);
    }
}

/// Copies a bundle's files to where a broker reads them.
pub fn install(certs: &Path, bundle: &Path) {
    fs::create_dir_all(certs).unwrap();
    for entry in fs::read_dir(bundle).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), certs.join(entry.file_name())).unwrap();
    }
}

/// What `cert issue` said.
pub struct Printed(serde_json::Value);

impl Printed {
    pub fn new(json: &serde_json::Value) -> Self {
        Self(json["configuration"].clone())
    }

    /// One of the texts, by its title.
    pub fn text(&self, title: &str) -> String {
        let all = self.0.as_array().unwrap();
        let found = all.iter().find(|one| one["title"] == title);
        found.unwrap_or_else(|| panic!("no {title:?} in {all:?}"))["text"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub fn titles(&self) -> Vec<String> {
        let all = self.0.as_array().unwrap().iter();
        all.map(|one| one["title"].as_str().unwrap().to_owned()).collect()
    }
}

/// A running broker.
pub struct Mosquitto {
    program: Running,
    pub etc: PathBuf,
    pub port: u16,
}

impl Mosquitto {
    /// Starts it on a configuration in its directory and waits until it listens.
    pub fn start(etc: &Path, conf: &str, port: u16) -> Self {
        // Only root changes to the user that is named, and the directory is closed to others.
        fs::create_dir_all(etc).unwrap();
        fs::write(etc.join("mosquitto.conf"), format!("user root\n{conf}")).unwrap();
        Self::run(etc, port)
    }

    /// Starts it on the configuration that lies in its directory.
    pub fn run(etc: &Path, port: u16) -> Self {
        let mut command = Command::new(tool("mosquitto").unwrap());
        command.arg("-c").arg(etc.join("mosquitto.conf"));
        let program = spawn(&mut command, &etc.join("log"));
        let broker = Self {
            program,
            etc: etc.to_owned(),
            port,
        };
        wait_for_port(port, &etc.join("log"));
        broker
    }

    /// A broker without certificates, for what stands beside it in its own network.
    pub fn start_plain(etc: &Path, more: &str) -> Self {
        let port = free_port();
        let conf = format!("listener {port} 127.0.0.1\nallow_anonymous true\n{more}");
        Self::start(etc, &conf, port)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.program.0), signal).unwrap();
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.etc.join("log")).unwrap()
    }
}

/// Starts a program that writes everything into one file.
pub fn spawn(command: &mut Command, log: &Path) -> Running {
    let file = File::create(log).unwrap();
    let child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn();
    Running(child.unwrap())
}

pub fn wait_for_port(port: u16, log: &Path) {
    wait_for(&format!("port {port}; {}", log.display()), || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
}

/// Runs `openssl` and returns all that it said, and whether it was content.
pub fn openssl(args: &[&str]) -> (bool, String) {
    let output = Command::new(tool("openssl").unwrap())
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    (output.status.success(), said)
}
