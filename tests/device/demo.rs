//! Every indented line of `docs/demo.md` as it stands there, in a network of its own where `ca` and `mosquitto` are this machine;
//! and in the place of containers what they run, as plain processes.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::common::{MUSTER, Running, text, tool, wait_for};
use crate::program;

const PAGE: &str = include_str!("../../docs/demo.md");

/// What is bound to other places before anything runs: a file of names, and the directory that the broker's container has.
const BINDS: &str = "mount --bind hosts /etc/hosts && mount --bind mosquitto /etc/mosquitto && ip link set lo up && echo ready && exec cat";

/// The containers' program where `scripts/agent` has not built it: the same commands.
const AGENT: &str = "#!/bin/sh\n[ \"$1\" = mqtt ] || set -- agent \"$@\"\nexec muster \"$@\"\n";

/// A directory, and a network with names of its own; it goes with its holder, which ends when the test does.
struct Machine {
    place: tempfile::TempDir,
    holder: Running,
}

impl Machine {
    fn new() -> Option<Self> {
        for name in ["unshare", "nsenter", "ip", "setpriv", "mosquitto"] {
            tool(name)?;
        }
        let place = tempfile::tempdir().unwrap();
        let bin = place.path().join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir(place.path().join("mosquitto")).unwrap();
        fs::write(place.path().join("hosts"), "127.0.0.1 localhost\n").unwrap();
        std::os::unix::fs::symlink(MUSTER, bin.join("muster")).unwrap();
        let agent = bin.join("muster-agent");
        match std::env::var_os("MUSTER_TEST_AGENT") {
            Some(built) => std::os::unix::fs::symlink(built, agent).unwrap(),
            None => program(&agent, AGENT),
        }
        let mut command = Command::new(tool("unshare")?);
        command
            .args(["--mount", "--net", "sh", "-c", BINDS])
            .current_dir(place.path());
        let made = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut holder = Running(made.unwrap());
        let mut ready = String::new();
        let mut said = BufReader::new(holder.0.stdout.take().unwrap());
        said.read_line(&mut ready).unwrap();
        if ready != "ready\n" {
            eprintln!(
                "skipped: needs root, and a network and mounts of its own (unshare), and /etc/mosquitto"
            );
            return None;
        }
        Some(Self { place, holder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A line for a shell in the directory.
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(tool("nsenter").unwrap());
        command.args(["--mount", "--net", "--target", &self.holder.0.id().to_string()]);
        command
            .args(["sh", "-c", &format!("cd \"$0\" && {line}")])
            .arg(self.place.path());
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.path("bin").display());
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.place.path());
        command.stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn ok(&self, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        assert!(
            output.status.success(),
            "{line}: {}{}",
            text(&output.stderr),
            self.read("up.out")
        );
        text(&output.stdout)
    }

    /// What stays, with what it prints in a file.
    fn start(&self, line: &str, log: &str) -> Child {
        let file = File::create(self.path(log)).unwrap();
        let mut command = self.command(&format!("exec {line}"));
        command
            .stdin(Stdio::piped())
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        command.spawn().unwrap()
    }
}

/// A container of the page's `compose.yaml`: the values of one service, as JSON.
fn service(name: &str, key: &str) -> serde_json::Value {
    let found = PAGE.split(&format!("\n  {name}:\n")).nth(1).unwrap();
    let own = found.lines().take_while(|line| line.starts_with("    "));
    let mut values = own.filter_map(|line| line.trim().strip_prefix(&format!("{key}: ")));
    serde_json::from_str(values.next().unwrap()).unwrap()
}

/// What it runs, with the directory that it has in a volume's place.
fn container(name: &str) -> String {
    let command: Vec<String> = serde_json::from_value(service(name, "command")).unwrap();
    let line = command.join(" ");
    if name == "mosquitto" {
        assert_eq!(service(name, "volumes")[0], "./mosquitto:/etc/mosquitto:ro");
        let user = service(name, "user").as_str().unwrap().replace(':', " --regid ");
        return format!("setpriv --reuid {user} --clear-groups {line}");
    }
    let volume = service(name, "volumes")[0].as_str().unwrap().to_owned();
    let (host, inside) = volume.trim_end_matches(":ro").split_once(':').unwrap();
    format!("muster-agent {}", line.replace(inside, host))
}

/// What the page tells to run, in order.
fn lines() -> Vec<&'static str> {
    let mut fenced = false;
    let told = PAGE.lines().filter_map(|line| {
        fenced ^= line.starts_with("```");
        line.strip_prefix("    ").filter(|_| !fenced)
    });
    told.collect()
}

struct Story {
    machine: Machine,
    code: String,
    /// They stay until the end.
    staying: Vec<Running>,
    /// What prints what comes in: itself, and where.
    listening: Option<(Running, &'static str)>,
}

impl Story {
    fn run(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["muster", "up", ..] => {
                self.stay(line.strip_suffix(" &").unwrap(), "up.out");
                wait_for("the CA", || self.machine.path("muster-data/muster.sock").exists());
            }
            ["muster", "cert", "issue", "broker", ..] => {
                let printed = self.machine.ok(line);
                self.configure(&printed);
            }
            ["muster", "mqtt", "sub", ..] => {
                self.listening = Some((Running(self.machine.start(line, "sub.out")), "sub.out"));
            }
            ["muster", "mqtt", "pub", topic, message, ..] => {
                self.is_heard(line, &format!("{topic} {message}"))
            }
            ["muster", "mqtt", "run", ..] => self.client(line),
            ["docker", "compose", "up", "-d", "mosquitto"] => {
                self.stay(&container("mosquitto"), "mosquitto.out");
                wait_for("the broker", || {
                    self.machine.read("mosquitto.out").contains("running")
                });
            }
            ["docker", "compose", "up", "-d"] => self.containers(),
            ["docker", "compose", "logs", "-f"] => {
                for (log, words) in [("mosquitto.out", " as client2 "), ("client2.out", "connected")] {
                    wait_for(words, || self.machine.read(log).contains(words));
                }
            }
            ["muster", "agent", "status", ..] => wait_for("the agent to be well", || {
                self.machine.command(line).output().unwrap().status.success()
            }),
            _ => {
                let said = self.machine.ok(&line.replace("CODE", &self.code));
                if let Some(code) = said.split("muster agent enrol ").nth(1) {
                    code.split_whitespace().next().unwrap().clone_into(&mut self.code);
                }
            }
        }
    }

    fn stay(&mut self, line: &str, log: &str) {
        self.staying.push(Running(self.machine.start(line, log)));
    }

    /// The two parts that the page names, as they are printed.
    fn configure(&self, printed: &str) {
        let part = |title: &str| {
            let rest = printed.split(&format!("# {title} -> ")).nth(1).unwrap();
            let of_it = |line: &&str| !(line.starts_with("# ") && line.contains(" -> "));
            let lines = rest.lines().skip(1).take_while(of_it);
            lines.map(|line| format!("{line}\n")).collect::<String>()
        };
        let [listener, acl] = ["Mosquitto: listener", "Mosquitto: who may do what"].map(part);
        fs::write(self.machine.path("mosquitto/muster.conf"), listener).unwrap();
        fs::write(self.machine.path("mosquitto/muster.acl"), acl).unwrap();
    }

    fn connections(&self) -> usize {
        self.machine.read("mosquitto.out").matches(" as client2 ").count()
    }

    /// Sent until it has come: a subscription takes a moment.
    fn is_heard(&mut self, line: &str, words: &str) {
        let (listening, log) = self.listening.take().unwrap();
        wait_for(words, || {
            self.machine.ok(line);
            self.machine.read(log).contains(words)
        });
        drop(listening);
    }

    /// It says what it reads, and prints what comes in.
    fn client(&mut self, line: &str) {
        let mut running = Running(self.machine.start(line, "run.out"));
        let mut input = running.0.stdin.take().unwrap();
        wait_for("the client", || self.connections() > 0);
        let line = "muster mqtt sub fleet/client2/up/t --count 1 --dir backend --broker mosquitto";
        let mut sub = Running(self.machine.start(line, "heard.out"));
        wait_for("what the client publishes", || {
            writeln!(input, "21.5").unwrap();
            sub.0.try_wait().unwrap().is_some()
        });
        assert!(self.machine.read("heard.out").contains("fleet/client2/up/t 21.5"));
        running.0.stdin = Some(input);
        self.listening = Some((running, "run.out"));
    }

    fn containers(&mut self) {
        assert_eq!(service("client2-agent", "extra_hosts")[0], "ca:host-gateway");
        let before = self.connections();
        self.stay(&container("client2"), "client2.out");
        wait_for("the client", || self.connections() > before);
        self.stay(&container("client2-agent"), "agent.out");
    }

    /// As the agent does it when its time has come: by the names that it has in its container.
    fn renews(&mut self) {
        let agent = self.staying.pop();
        drop(agent);
        let (before, was) = (self.machine.read("client2/client2.crt"), self.connections());
        let line = container("client2-agent").replacen(" run ", " renew ", 1);
        self.machine.ok(&line);
        assert_ne!(self.machine.read("client2/client2.crt"), before);
        // The agent with the new certificate, then the client.
        wait_for("the client's next connection", || self.connections() >= was + 2);
    }
}

#[test]
fn every_line_of_the_demo_s_page_works() {
    let Some(machine) = Machine::new() else { return };
    fs::write(machine.path("clients.csv"), "name\nclient4\nclient5\n").unwrap();
    let mut story = Story {
        machine,
        code: String::new(),
        staying: Vec::new(),
        listening: None,
    };
    let lines = lines();
    assert!(lines.len() >= 18, "only {} lines were found", lines.len());
    for line in lines {
        story.run(line);
    }
    story.renews();
    for file in [
        "backend/backend.crt",
        "client3/client3.key",
        "clients/client5/client5.key",
    ] {
        assert!(story.machine.path(file).exists(), "{file}");
    }
}
