//! `muster mqtt` with a real RabbitMQ: restarts, cuts, a slow network, the last will.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::common::{free_port, wait_for};
use crate::cut::Proxy;
use crate::fleet::{BROKER, Fleet};
use crate::mqtt::{Client, backs_off_within_bounds, believes_nobody_else, mqtt};

const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

struct Rabbit {
    dir: PathBuf,
    port: u16,
    epmd: u16,
    program: Option<Child>,
}

impl Rabbit {
    fn start(fleet: &Fleet) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            eprintln!("skipped: needs {PROGRAM}");
            return None;
        }
        let mut rabbit = Self {
            dir: fleet.path("rabbit"),
            port: free_port(),
            epmd: free_port(),
            program: None,
        };
        std::fs::create_dir_all(&rabbit.dir).unwrap();
        let file = |extension: &str| fleet.file(BROKER, extension).display().to_string();
        let conf = format!(
            "listeners.tcp = none\nmqtt.listeners.tcp = none\nmqtt.listeners.ssl.default = 127.0.0.1:{}\n\
             ssl_options.cacertfile = {}\nssl_options.certfile = {}\nssl_options.keyfile = {}\n\
             ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n\
             mqtt.ssl_cert_login = true\nssl_cert_login_from = common_name\nmqtt.allow_anonymous = false\n\
             load_definitions = {}\n",
            rabbit.port,
            fleet.ca().display(),
            file("crt"),
            file("key"),
            rabbit.dir.join("users.json").display()
        );
        std::fs::write(rabbit.dir.join("rabbitmq.conf"), conf).unwrap();
        std::fs::write(rabbit.dir.join("plugins"), "[rabbitmq_mqtt].").unwrap();
        let names = ["site-001", "backend"];
        let users = names.map(|name| serde_json::json!({ "name": name, "password_hash": "", "tags": "" }));
        let rights = names.map(|name| {
            serde_json::json!({ "user": name, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*" })
        });
        let known = serde_json::json!({ "users": users, "vhosts": [{ "name": "/" }], "permissions": rights });
        std::fs::write(rabbit.dir.join("users.json"), known.to_string()).unwrap();
        rabbit.run();
        Some(rabbit)
    }

    fn run(&mut self) {
        // What was ended may have its port for a moment longer than its parent lives.
        let port = self.port;
        let answers = move || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        wait_for("the port", || !answers());
        let log = std::fs::File::create(self.dir.join("log")).unwrap();
        let mut command = Command::new(PROGRAM);
        // Its own group, so that all of it ends.
        command.process_group(0).env("HOME", &self.dir);
        for (name, file) in [
            ("CONFIG_FILE", "rabbitmq"),
            ("MNESIA_BASE", "mnesia"),
            ("LOG_BASE", "run"),
            ("ENABLED_PLUGINS_FILE", "plugins"),
        ] {
            command.env(format!("RABBITMQ_{name}"), self.dir.join(file));
        }
        command
            .env("RABBITMQ_NODENAME", format!("test{}@localhost", self.port))
            .env("RABBITMQ_DIST_PORT", free_port().to_string())
            .env("ERL_EPMD_PORT", self.epmd.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.program = Some(command.spawn().unwrap());
        wait_for("RabbitMQ", answers);
    }

    fn stop(&mut self) {
        if let Some(mut program) = self.program.take() {
            let _ = kill_process_group(Pid::from_child(&program), Signal::KILL);
            let _ = program.wait();
        }
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        self.stop();
        // Erlang's name server leaves the group.
        let mut end = Command::new("epmd");
        end.args(["-port", &self.epmd.to_string(), "-kill"]);
        let _ = end.stdout(Stdio::null()).stderr(Stdio::null()).status();
        if std::thread::panicking() {
            eprintln!(
                "--- RabbitMQ said\n{}",
                std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
            );
        }
    }
}

/// `backend`, which sees everything from now on.
fn watch(fleet: &Fleet, port: u16) -> Client {
    let args = [
        "run",
        "--protocol",
        "3.1.1",
        "--every",
        "1h",
        "--status",
        "status/backend",
        "--subscribe",
        "status/#",
        "--subscribe",
        "fleet/#",
        // RabbitMQ shows what is retained only to whoever asks for the topic itself: last, so that the others are in force by then.
        "--subscribe",
        "status/backend",
    ];
    let client = Client::start(mqtt(fleet, "backend", port, &args), &fleet.path("watch.log"));
    client.sees("status/backend online");
    client
}

#[test]
fn the_client_stays_with_a_rabbitmq_that_restarts_and_a_network_that_breaks() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.issue_broker();
    for name in ["site-001", "backend"] {
        fleet.issue(name, &["--kind", "client"]);
    }
    let Some(mut rabbit) = Rabbit::start(&fleet) else {
        return;
    };
    let watcher = watch(&fleet, rabbit.port);
    let proxy = Proxy::to(rabbit.port);
    let args = [
        "run",
        "--protocol",
        "3.1.1",
        "--publish",
        "fleet/%u/up/t",
        "--every",
        "1h",
    ];
    let start = || {
        Client::start(
            mqtt(&fleet, "site-001", proxy.port, &args),
            &fleet.path("run.log"),
        )
    };
    let mut device = start();
    device.says("first");
    watcher.sees("fleet/site-001/up/t first");
    watcher.sees("status/site-001 online");
    // A slow network.
    proxy.slow(true);
    for number in 0..10 {
        device.says(&format!("slow {number}"));
    }
    watcher.sees("fleet/site-001/up/t slow 9");
    proxy.slow(false);
    // The network is cut: the broker publishes the last will.
    proxy.shut(true);
    device.says("cut");
    watcher.sees("status/site-001 offline");
    proxy.shut(false);
    watcher.sees("fleet/site-001/up/t cut");
    drop(watcher);
    // The broker restarts.
    rabbit.stop();
    device.says("while it was away");
    backs_off_within_bounds(&fleet, rabbit.port, "3.1.1");
    rabbit.run();
    let watcher = watch(&fleet, rabbit.port);
    device.says("after");
    watcher.sees("fleet/site-001/up/t after");
    device.signal(Signal::KILL);
    watcher.sees("status/site-001 offline");
    believes_nobody_else(&fleet, rabbit.port, "3.1.1", &watcher);
}
