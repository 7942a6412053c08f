//! Every line of `docs/demo.md`, as it stands there.

use std::process::{Command, Stdio};

use crate::common::{MUSTER, Muster, Running, text, wait_for};
use crate::fleet::{Mosquitto, tools};

const PAGE: &str = include_str!("../../docs/demo.md");

/// The words of a line, as a shell would have them.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for letter in line.chars() {
        match (letter, quote) {
            ('\'' | '"', None) => quote = Some(letter),
            (letter, Some(open)) if letter == open => quote = None,
            (' ', None) => words.push(String::new()),
            (letter, _) => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// What the page tells to run, in order.
fn lines() -> impl Iterator<Item = Vec<String>> {
    let lines = PAGE.lines().filter_map(|line| line.strip_prefix("    muster "));
    lines.map(words)
}

struct Story {
    muster: Muster,
    broker: Option<Mosquitto>,
    code: String,
    clients: Vec<Running>,
}

impl Story {
    fn command(&self, args: &[String]) -> Command {
        let port = self.broker.as_ref().map_or(8883, |broker| broker.port);
        let mut command = Command::new(MUSTER);
        let on_a_device = matches!(args[0].as_str(), "agent" | "mqtt");
        for arg in args {
            match arg.as_str() {
                "CODE" => command.arg(&self.code),
                "localhost" if on_a_device => command.arg(format!("localhost:{port}")),
                other => command.arg(other),
            };
        }
        if !on_a_device {
            command.arg("--data").arg(self.muster.data());
        }
        command
            .current_dir(self.muster.path())
            .env_remove("MUSTER_TEST_PYTHON")
            .stdin(Stdio::null());
        command
    }

    fn run(&mut self, args: &[String]) {
        match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            // It runs.
            ["up", ..] => return,
            // It stays, and takes the session over from the one before.
            ["mqtt", "run", ..] => {
                self.clients.clear();
                let child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
                self.clients.push(Running(child));
                let broker = self.broker.as_ref().unwrap();
                wait_for("the client", || broker.log().contains("as client2"));
                return;
            }
            ["mqtt", "sub", ..] => return self.hears(args),
            ["mqtt", "pub", ..] => self.clients.clear(),
            ["device", "import", ..] => {
                std::fs::write(self.muster.path().join("clients.csv"), "name\nclient4\nclient5\n").unwrap();
            }
            _ => {}
        }
        let output = self.command(args).output().unwrap();
        assert!(
            output.status.success(),
            "muster {args:?}: {}",
            text(&output.stderr)
        );
        let said = text(&output.stdout);
        let line = said
            .lines()
            .find_map(|line| line.split("muster agent enrol ").nth(1));
        if let Some(code) = line {
            code.split(' ').next().unwrap().clone_into(&mut self.code);
        }
        if args[..2] == ["ca", "crl"] {
            self.start_broker();
        }
    }

    /// The demo's own `mosquitto.conf`, with the list, on a port that is free.
    fn start_broker(&mut self) {
        let etc = self.muster.path().join("mosquitto");
        let port = crate::common::free_port();
        let certs = etc.join("certs");
        let conf = format!(
            "listener {port} 127.0.0.1\ncafile {0}/ca.crt\ncertfile {0}/broker.crt\nkeyfile {0}/broker.key\ncrlfile {0}/crl.pem\n\
             require_certificate true\nuse_identity_as_username true\nallow_anonymous false\n",
            certs.display()
        );
        self.broker = Some(Mosquitto::start(&etc, &conf, port));
    }

    /// It waits for a message, which somebody has to send.
    fn hears(&mut self, args: &[String]) {
        let mut child = self.command(args).stdout(Stdio::piped()).spawn().unwrap();
        // The page's other client writes: a name is connected once.
        wait_for("the message", || {
            let mut sent = Command::new(MUSTER);
            let broker = format!("localhost:{}", self.broker.as_ref().unwrap().port);
            sent.args([
                "mqtt",
                "pub",
                "fleet/client2/down/set",
                "21",
                "--dir",
                "client",
                "--broker",
                &broker,
            ]);
            assert!(sent.current_dir(self.muster.path()).status().unwrap().success());
            child.try_wait().unwrap().is_some()
        });
        let output = child.wait_with_output().unwrap();
        assert!(text(&output.stdout).contains("fleet/client2/down/set 21"));
    }
}

#[test]
fn every_line_of_the_demo_s_page_works() {
    if !tools() {
        return;
    }
    let mut story = Story {
        muster: Muster::start(),
        broker: None,
        code: String::new(),
        clients: Vec::new(),
    };
    let mut count = 0;
    for line in lines() {
        story.run(&line);
        count += 1;
    }
    assert!(count >= 12, "only {count} lines were found");
    for file in [
        "client/client.crt",
        "client2/client2.crt",
        "client3/client3.key",
        "clients/client5/client5.key",
    ] {
        assert!(story.muster.path().join(file).exists(), "{file}");
    }
    // What the fragment runs in containers.
    let commands: Vec<Vec<String>> = PAGE
        .lines()
        .filter_map(|line| line.trim().strip_prefix("command: "))
        .map(|list| serde_json::from_str(list).unwrap())
        .collect();
    assert_eq!(commands.len(), 2);
    for words in commands {
        let noun = if words[0] == "mqtt" { 2 } else { 1 };
        let mut help = Command::new(MUSTER);
        if noun == 1 {
            help.arg("agent");
        }
        let said = text(&help.args(&words[..noun]).arg("--help").output().unwrap().stdout);
        let flags = words.iter().filter(|word| word.starts_with("--"));
        for flag in flags {
            assert!(said.contains(flag.as_str()), "{flag} of {words:?}");
        }
    }
}
