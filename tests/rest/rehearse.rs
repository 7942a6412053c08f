//! `--dry-run`: every command that changes something has it, says what would be, and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::begin::{P256, foreign_ca};
use crate::common::requester::csr;
use crate::common::{Muster, text};
use crate::{second, without_server};

/// Commands that only look, serve, or write no more than the file that they are asked for. Whatever else the program
/// offers must appear in [`every_writing_command_says_what_it_would_do_and_does_nothing`].
const READING: &[&str] = &[
    "up",
    "serve",
    "status",
    "doctor device",
    "doctor seen",
    "completion",
    "man",
    "cert list",
    "cert show",
    "cert download",
    "cert inspect",
    "cert verify",
    "device list",
    "device show",
    "search",
    "token list",
    "revocation list",
    "ca show",
    "ca root",
    "ca fingerprint",
    "ca crl",
    "ca profile",
    "ca provisioner list",
    "broker config",
    "broker lint",
    "broker list",
    "broker run",
    "gate",
    "agent run",
    "agent status",
    "mqtt pub",
    "mqtt run",
    "mqtt sub",
    "broker test",
    "audit list",
    "audit verify",
    "user list",
    "help",
    "",
];

/// What a command's help lists under `Commands:`, but for `help`.
fn below(muster: &Muster, command: &str) -> (Vec<String>, String) {
    let mut line: Vec<&str> = command.split_whitespace().collect();
    line.push("--help");
    let help = muster.ok(&line);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = listed
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help");
    (names.map(str::to_owned).collect(), help)
}

/// Every command that has none below it, with its help.
fn commands(muster: &Muster) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![String::new()];
    while let Some(command) = waiting.pop() {
        let (names, help) = below(muster, &command);
        if names.is_empty() {
            found.insert(command, help);
        } else {
            waiting.extend(
                names
                    .iter()
                    .map(|name| format!("{command} {name}").trim().to_owned()),
            );
        }
    }
    found
}

/// Every file of the story and what is in it. The lock's time of use is no change.
fn files(muster: &Muster) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![muster.path().to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(muster.path()).unwrap().display().to_string();
            if path.is_dir() {
                found.insert(format!("{name}/"), Vec::new());
                waiting.push(path);
            } else if name != "data/lock" {
                found.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    found
}

#[track_caller]
fn assert_same_files(before: &BTreeMap<String, Vec<u8>>, after: &BTreeMap<String, Vec<u8>>, line: &str) {
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(before), names(after), "muster {line}");
    let changed: Vec<_> = before
        .iter()
        .filter(|(name, bytes)| after[*name] != **bytes)
        .collect();
    let changed: Vec<_> = changed.iter().map(|(name, _)| name).collect();
    assert!(changed.is_empty(), "muster {line} changed {changed:?}");
}

/// A story in which every command that changes something is possible when its turn comes, with its exit code.
/// `SERIAL` and `TOKEN` stand for the newest.
const STORY: [(&str, i32); 39] = [
    ("init --yes --name Test --dns localhost,127.0.0.1", 0),
    ("ca rollover start", 0),
    ("ca rollover activate", 0),
    ("ca rollover finish", 0),
    ("ca rollover start", 0),
    ("ca rollover activate", 0),
    ("ca rollover revoke --yes", 0),
    ("ca root-crl", 0),
    ("ca create lab --name Lab", 0),
    ("ca create next --name Next --follows default", 0),
    (
        "ca import elsewhere --root-cert root.crt --issuing-cert issuing.crt --issuing-key issuing.key",
        0,
    ),
    ("ca provisioner add lab --password-file lab-password", 0),
    ("ca provisioner remove lab", 0),
    ("device create site-001", 0),
    ("cert issue site-001 --out site-001", 0),
    ("cert sign request.pem --out signed.crt", 0),
    ("cert renew site-001 --out renewed", 0),
    ("device access site-001 --publish plant/#", 0),
    ("device suspend site-001", 5),
    ("device resume site-001", 5),
    ("cert revoke SERIAL --yes", 5),
    ("device recover site-001", 0),
    ("device rearm site-001", 0),
    ("device revoke site-001 --yes", 5),
    ("device retire site-001 --yes", 5),
    ("device import fleet.csv --out certs", 0),
    ("token create site-009", 0),
    ("token unbind TOKEN site-009", 5),
    ("token revoke TOKEN", 0),
    ("user create ci --role operator", 0),
    ("user create bob --role viewer --person", 0),
    ("user invite bob", 0),
    ("user role bob auditor", 0),
    ("user key bob", 0),
    ("user key bob --revoke", 0),
    ("user remove ci", 0),
    ("broker add hub.example.org --san 10.0.0.5", 0),
    ("broker join hub.example.org --out again.join", 0),
    ("broker retire hub.example.org", 0),
];

fn words<'a>(line: &'a str, names: &'a BTreeMap<&str, String>) -> Vec<&'a str> {
    line.split_whitespace()
        .map(|word| names.get(word).map_or(word, String::as_str))
        .collect()
}

/// What the newest certificate and token are called now.
fn newest(muster: &Muster) -> BTreeMap<&'static str, String> {
    let first = |line: &[&str], field: &str| {
        let list = muster.json(line);
        list["items"][0][field].as_str().unwrap_or_default().to_owned()
    };
    BTreeMap::from([
        (
            "SERIAL",
            first(&["cert", "list", "--device", "site-001"], "serial"),
        ),
        ("TOKEN", first(&["token", "list"], "id")),
    ])
}

/// What is pasted on a device, first to see what it would do. It needs a server, which is gone afterwards. The code names the port
/// that the first run wrote down; the server has another.
fn enrol(muster: &mut Muster, said: &str) {
    muster.serve();
    let line = said
        .lines()
        .next()
        .unwrap()
        .replace(":9000/", &format!(":{}/", muster.api));
    let mut args: Vec<&str> = line.split_whitespace().skip(1).collect();
    args.extend(["--dir", "device", "--dry-run"]);
    let used = |muster: &Muster| muster.json(&["token", "list"])["items"][0]["used"].clone();
    let output = muster.ok(&args);
    assert!(output.contains("would"), "{output}");
    assert!(!muster.path().join("device").exists() && used(muster) == 0);
    args.pop();
    muster.ok(&args);
    assert!(used(muster) == 1);
    let renew = ["agent", "renew", "--dir", "device", "--dry-run"];
    let device = |muster: &Muster| std::fs::read(muster.path().join("device/site-009.crt")).unwrap();
    let before = device(muster);
    assert!(muster.ok(&renew).contains("would") && device(muster) == before);
    muster.ok(&renew[..4]);
    assert_ne!(device(muster), before);
    let (url, print) = (muster.url(), muster.ok(&["ca", "fingerprint"]));
    let sign = [
        "agent",
        "sign",
        "site-010",
        "--ca-url",
        &url,
        "--fingerprint",
        print.trim(),
    ];
    let flags = [
        "--password-file",
        "data/provisioner-password",
        "--dir",
        "signed",
        "--dry-run",
    ];
    let mut sign = [&sign[..], &flags].concat();
    assert!(muster.ok(&sign).contains("would") && !muster.path().join("signed").exists());
    sign.pop();
    muster.ok(&sign);
    assert!(muster.path().join("signed/site-010.crt").exists());
    // It is the server that would listen; that it does is shown in tests/brokers.
    assert!(muster.ok(&["doctor", "listen", "--dry-run"]).contains("would"));
    muster.stop();
}

/// The one command that reads what it writes.
fn set_password(muster: &Muster) {
    let path = muster.path().join("new-password");
    std::fs::write(&path, "correct horse battery\n").unwrap();
    let set = |flags: &[&str]| {
        let mut command = muster.command(&["user", "password", "bob"]);
        let typed = std::fs::File::open(&path).unwrap();
        let output = command.args(flags).stdin(typed).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let logs_in = || muster.json(&["user", "list"])["items"][0]["logs_in"] == true;
    assert!(set(&["--dry-run"]).contains("would"));
    assert!(!logs_in());
    assert_eq!(set(&[]), "changed\n");
    assert!(logs_in());
}

/// The two commands that are about what somebody else has asked a server for.
fn judge(muster: &mut Muster) {
    std::fs::write(muster.data().join("muster.toml"), second::TOML).unwrap();
    muster.serve();
    second::asked(muster);
    let at = second::when(muster);
    for verdict in ["agree", "reject"] {
        let line = ["revocation", verdict, &at];
        let said = muster.ok(&[&line[..], &["--dry-run"]].concat());
        assert!(said.to_lowercase().contains("would"), "{said}");
        assert_eq!(second::when(muster), at);
        assert_eq!(second::states(muster), ["active", "active"]);
    }
    muster.ok(&["revocation", "reject", &at]);
    muster.stop();
}

#[test]
fn every_writing_command_says_what_it_would_do_and_does_nothing() {
    let mut muster = Muster::stopped(&[]);
    let mut missing: BTreeSet<String> = BTreeSet::new();
    for (command, help) in commands(&muster) {
        if READING.contains(&command.as_str()) {
            assert!(!help.contains("--dry-run"), "muster {command} changes nothing");
        } else {
            assert!(help.contains("--dry-run"), "muster {command} has no --dry-run");
            missing.insert(command);
        }
    }
    if foreign_ca(&muster, P256, P256).is_none() {
        return;
    }
    std::fs::write(muster.path().join("fleet.csv"), "name\nrow-1\nrow-2\n").unwrap();
    std::fs::write(muster.path().join("request.pem"), csr("signed")).unwrap();
    for (line, code) in STORY {
        let names = if muster.root().exists() {
            newest(&muster)
        } else {
            BTreeMap::new()
        };
        let mut args = words(line, &names);
        let before = files(&muster);
        args.push("--dry-run");
        let said = muster.ok(&args);
        assert!(
            said.to_lowercase().contains("would") || said.contains("could"),
            "muster {line}: {said}"
        );
        assert_same_files(&before, &files(&muster), line);
        args.pop();
        let said = muster.exits(code, &args);
        if line.starts_with("token create") {
            enrol(&mut muster, &said);
            missing.remove("agent enrol");
            missing.remove("agent renew");
            missing.remove("agent sign");
            missing.remove("doctor listen");
        }
        missing.retain(|command| !line.starts_with(command.as_str()));
    }
    set_password(&muster);
    missing.remove("user password");
    judge(&mut muster);
    missing.remove("revocation agree");
    missing.remove("revocation reject");
    assert!(
        missing.is_empty(),
        "commands that no line of the story tries: {missing:?}"
    );
    assert_eq!(muster.json(&["audit", "verify"])["intact"], true);
}

#[test]
fn a_dry_run_refuses_what_the_real_one_refuses() {
    let muster = without_server();
    muster.ok(&["cert", "issue", "kept", "--out", "kept"]);
    muster.ok(&["user", "create", "ci"]);
    muster.ok(&["ca", "provisioner", "add", "lab", "--password-file", "password"]);
    std::fs::write(muster.path().join("guess"), "not the secret at all").unwrap();
    let before = files(&muster);
    for (code, line) in [
        (2, "device create kept"),
        (2, "device resume kept"),
        (3, "device revoke nobody --yes"),
        (3, "token revoke none"),
        (2, "token create kept --lifetime 9999d"),
        (3, "user remove nobody"),
        (2, "user create ci"),
        (2, "user create x --role emperor"),
        (3, "ca provisioner remove nobody"),
        (2, "ca provisioner add lab --password-file password"),
        (4, "ca provisioner add short --password-file kept/kept.crt.short"),
        (2, "ca rollover activate"),
        (2, "ca rollover finish"),
        (2, "ca create default --name Other"),
        (2, "ca create lab --name Test"),
        (3, "ca create lab --name Lab --follows nobody"),
        (2, "ca create lab --name Lab --follows internal"),
        (1, "ca create lab --name Lab --recovery-secret guess"),
        (1, "ca rollover start --recovery-secret guess"),
        (1, "ca rollover start --recovery-secret missing"),
        (1, "ca root-crl --recovery-secret guess"),
    ] {
        std::fs::write(muster.path().join("kept/kept.crt.short"), "short").unwrap();
        let real = muster.run(&line.split_whitespace().collect::<Vec<_>>());
        let dry = muster.run(&format!("{line} --dry-run").split_whitespace().collect::<Vec<_>>());
        assert_eq!(
            real.status.code(),
            Some(code),
            "muster {line}: {}",
            text(&real.stderr)
        );
        assert_eq!(
            dry.status.code(),
            Some(code),
            "muster {line} --dry-run: {}",
            text(&dry.stderr)
        );
        assert_eq!(text(&real.stderr), text(&dry.stderr), "muster {line}");
        std::fs::remove_file(muster.path().join("kept/kept.crt.short")).unwrap();
        assert_same_files(&before, &files(&muster), line);
    }
}

#[test]
fn a_first_run_that_cannot_be_is_refused_in_a_dry_run_too() {
    let muster = Muster::stopped(&[]);
    let long = "x".repeat(41);
    for line in [
        vec!["init", "--yes", "--name", &long],
        vec!["init", "--yes", "--passphrase-file", "missing"],
    ] {
        let before = files(&muster);
        let dry = muster.run(&[&line[..], &["--dry-run"]].concat());
        assert!(!dry.status.success(), "{line:?}");
        assert_same_files(&before, &files(&muster), "init --dry-run");
        let real = muster.run(&line);
        assert_eq!(text(&real.stderr), text(&dry.stderr), "{line:?}");
        assert!(
            !Path::new(&muster.data().join("muster.toml")).exists(),
            "{line:?}"
        );
    }
    muster.ok(&["init", "--yes", "--name", "Test"]);
}
