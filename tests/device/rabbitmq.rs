//! `muster mqtt` with a real RabbitMQ: what it does with Mosquitto, and a renewal beside it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::common::{end_epmd, free_port, wait_for};
use crate::fleet::{BROKER, Fleet};
use crate::hooks::renews_beside_a_client;
use crate::mqtt::{
    Client, backs_off_within_bounds, believes_nobody_else, comes_and_goes, fails, loses_nothing_at_a_restart,
    loses_nothing_on_a_bad_network, messages_of_every_quality, mqtt,
};

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
        let names = ["site-001", "site-011", "backend", "ops"];
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
        end_epmd(self.epmd);
        if std::thread::panicking() {
            eprintln!(
                "--- RabbitMQ said\n{}",
                std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
            );
        }
    }
}

fn world() -> Option<(Fleet, Rabbit)> {
    let fleet = Fleet::start()?;
    fleet.issue_broker();
    for name in ["site-001", "backend", "ops"] {
        fleet.issue(name, &["--kind", "client"]);
    }
    let rabbit = Rabbit::start(&fleet)?;
    Some((fleet, rabbit))
}

/// The one version that RabbitMQ 3.10 speaks.
const V311: &str = "3.1.1";

#[test]
fn the_client_stays_with_a_rabbitmq_that_restarts_and_a_network_that_breaks() {
    let Some((fleet, mut rabbit)) = world() else {
        return;
    };
    let port = rabbit.port;
    let watch = Client::watch(&fleet, port);
    messages_of_every_quality(&fleet, port, V311, &watch);
    comes_and_goes(&fleet, port, V311, &watch);
    believes_nobody_else(&fleet, port, V311, &watch);
    loses_nothing_on_a_bad_network(&fleet, port, V311, &watch);
    drop(watch);
    loses_nothing_at_a_restart(&fleet, port, V311, |meanwhile| {
        rabbit.stop();
        backs_off_within_bounds(&fleet, port, V311);
        meanwhile();
        rabbit.run();
    });
}

#[test]
fn a_rabbitmq_knows_a_renewal_from_an_alarm_and_no_mqtt_5() {
    let Some((fleet, rabbit)) = world() else { return };
    let watch = Client::watch(&fleet, rabbit.port);
    renews_beside_a_client(&fleet, rabbit.port, V311, "site-011", &watch);
    drop(watch);
    let device = Client::stay(
        &fleet,
        rabbit.port,
        V311,
        &["--health", "$SYS/health", "--every", "1s"],
    );
    let sub = ["sub", "$SYS/health", "--protocol", V311];
    let sees = Client::start(mqtt(&fleet, "ops", rabbit.port, &sub), &fleet.path("sub.log"));
    wait_for("its health", || {
        sees.printed()
            .iter()
            .any(|line| line.starts_with("$SYS/health {"))
    });
    drop(device);
    let said = fails(mqtt(
        &fleet,
        "site-001",
        rabbit.port,
        &["pub", "fleet/%u/up/t", "x"],
    ));
    assert!(said.contains("add --protocol 3.1.1"), "{said}");
}
