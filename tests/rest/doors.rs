//! The same commands through the socket, to a remote server, and without a server; and their exit codes.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::common::wire::Wire;
use crate::common::{MUSTER, Muster, Running, text, wait_for};
use crate::{last_act, without_server};

#[test]
fn the_socket_needs_no_key_and_lets_only_its_owner_in() {
    let muster = Muster::start();
    let (status, body) = Wire::local(&muster.data())
        .unwrap()
        .get("/api/v1/status")
        .unwrap();
    assert_eq!(status, 200, "{}", text(&body));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&muster.data()), 0o700);
    assert_eq!(mode(&muster.data().join("muster.sock")), 0o600);
    for secret in ["passphrase", "recovery-secret", "provisioner-password"] {
        assert_eq!(mode(&muster.data().join(secret)), 0o600, "{secret}");
    }
    for keys in ["keys", "root-keys"] {
        for file in std::fs::read_dir(muster.data().join(keys)).unwrap() {
            let path = file.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            assert!(
                std::fs::read_to_string(&path)
                    .unwrap()
                    .contains("ENCRYPTED PRIVATE KEY"),
                "{}",
                path.display()
            );
        }
    }
}

/// A command line on another machine: no data directory, a URL and an API key in a file.
struct Far {
    home: tempfile::TempDir,
    url: String,
    root: String,
}

impl Far {
    fn new(muster: &Muster, key: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("api-key"), format!("{key}\n")).unwrap();
        Self {
            home,
            url: muster.url(),
            root: muster.root().display().to_string(),
        }
    }

    fn bare(&self, args: &[&str]) -> Command {
        let mut command = Command::new(MUSTER);
        command
            .args(args)
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .env_remove("MUSTER_TEST_PYTHON");
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = self.bare(args);
        command
            .args(["--url", &self.url, "--root", &self.root])
            .env("MUSTER_API_KEY_FILE", "api-key");
        command.output().unwrap()
    }
}

#[track_caller]
fn ends(output: &Output, code: i32, words: &str) {
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(words), "{words:?} is not in: {said}");
}

#[test]
fn a_remote_command_line_does_what_its_role_may() {
    let muster = Muster::start();
    let key = muster.ok(&["user", "create", "far", "--role", "operator"]);
    let far = Far::new(&muster, key.trim());
    ends(
        &far.run(&["cert", "issue", "far-1", "--kind", "client", "--out", "far-1"]),
        0,
        "far-1.crt",
    );
    let made = std::fs::read_to_string(far.home.path().join("far-1/far-1.key")).unwrap();
    assert!(made.contains("PRIVATE KEY"), "the key was made there");
    ends(&far.run(&["device", "list"]), 0, "far-1");
    ends(
        &far.run(&["ca", "fingerprint"]),
        0,
        muster.ok(&["ca", "fingerprint"]).trim(),
    );
    ends(
        &far.run(&["device", "revoke", "far-1", "--yes"]),
        5,
        "unconfirmed",
    );
    ends(&far.run(&["user", "list"]), 4, "may not");
    ends(&far.run(&["audit", "list"]), 4, "may not");
    ends(&far.run(&["device", "show", "nobody"]), 3, "nobody");
    assert!(
        !far.home.path().join("muster-data").exists(),
        "nothing is made here"
    );
    let viewer = muster.ok(&["user", "create", "watch", "--role", "viewer"]);
    let watching = Far::new(&muster, viewer.trim());
    ends(&watching.run(&["status"]), 0, "All right");
    ends(
        &watching.run(&["cert", "issue", "far-2", "--kind", "client"]),
        4,
        "may not",
    );
}

#[test]
fn a_remote_command_line_says_what_it_lacks() {
    let muster = Muster::start();
    let far = Far::new(&muster, "mk_wrong");
    ends(&far.run(&["status"]), 4, "not known");
    let no_key = far
        .bare(&["status", "--url", &far.url, "--root", &far.root])
        .output()
        .unwrap();
    ends(&no_key, 2, "API key");
    let no_root = far
        .bare(&["status", "--url", &far.url])
        .env("MUSTER_API_KEY", "mk_x")
        .output()
        .unwrap();
    ends(&no_root, 2, "--root");
    let other = without_server();
    let wrong_root = far.bare(&[
        "status",
        "--url",
        &far.url,
        "--root",
        other.root().to_str().unwrap(),
    ]);
    let mut wrong_root = wrong_root;
    ends(
        &wrong_root.env("MUSTER_API_KEY", "mk_x").output().unwrap(),
        1,
        "cannot reach",
    );
    let nobody = far.bare(&["status", "--url", "https://localhost:1", "--root", &far.root]);
    let mut nobody = nobody;
    ends(
        &nobody.env("MUSTER_API_KEY", "mk_x").output().unwrap(),
        1,
        "cannot reach",
    );
    ends(
        &far.bare(&["status", "--url", "ftp://localhost", "--root", &far.root])
            .env("MUSTER_API_KEY", "mk_x")
            .output()
            .unwrap(),
        2,
        "no URL",
    );
    ends(&far.bare(&["status"]).output().unwrap(), 1, "muster init");
}

#[test]
fn a_remote_command_line_finds_what_step_was_told() {
    let muster = Muster::start();
    let key = muster.ok(&["user", "create", "far", "--role", "viewer"]);
    let far = Far::new(&muster, key.trim());
    let mut by_names = far.bare(&["status"]);
    by_names
        .env("STEP_CA_URL", &far.url)
        .env("STEP_CA_ROOT", &far.root)
        .env("MUSTER_API_KEY_FILE", "api-key");
    ends(&by_names.output().unwrap(), 0, "All right");
    let step = far.home.path().join("step/config");
    std::fs::create_dir_all(&step).unwrap();
    let defaults = serde_json::json!({ "ca-url": far.url, "root": far.root, "fingerprint": "" });
    std::fs::write(step.join("defaults.json"), defaults.to_string()).unwrap();
    let mut by_file = far.bare(&["status"]);
    by_file
        .env("STEPPATH", far.home.path().join("step"))
        .env("MUSTER_API_KEY_FILE", "api-key");
    ends(&by_file.output().unwrap(), 0, "All right");
}

/// The path of a socket has 107 bytes at most; who asks, and with what environment, must not matter.
#[test]
fn a_data_directory_far_down_has_its_socket_too() {
    let muster = Muster::stopped(&[]);
    let data = muster.path().join("far-down-".repeat(12)).join("data");
    std::fs::create_dir_all(data.parent().unwrap()).unwrap();
    let line = |args: &[&str]| {
        let mut command = Command::new(MUSTER);
        command.args(args).arg("--data").arg(&data).stdin(Stdio::null());
        command.env_remove("MUSTER_TEST_PYTHON");
        command
    };
    let ports = [muster.api, muster.public].map(|port| format!("127.0.0.1:{port}"));
    let up = ["up", "--listen", &ports[0], "--public-listen", &ports[1]];
    let quiet = || std::fs::File::create(muster.path().join("log")).unwrap();
    let _server = Running(line(&up).stdout(quiet()).stderr(quiet()).spawn().unwrap());
    wait_for("the socket", || data.join("muster.sock").exists());
    for runtime in ["/run/user/1", "/nowhere"] {
        let made = line(&[
            "device",
            "create",
            &format!("of{}", runtime.replace('/', "-")),
            "--json",
        ])
        .env("XDG_RUNTIME_DIR", runtime)
        .output()
        .unwrap();
        ends(&made, 0, "");
    }
    let log = line(&["audit", "list", "--json"]).output().unwrap();
    assert_eq!(
        text(&log.stdout).matches("\"socket\"").count(),
        2,
        "{}",
        text(&log.stdout)
    );
}

/// Some user who is not root, by number.
const NOBODY: u32 = 65534;

#[test]
#[allow(clippy::print_stderr, reason = "says what it skips")]
fn a_socket_that_another_user_serves_is_told_nothing() {
    let muster = Muster::stopped(&[]);
    std::fs::create_dir(muster.data()).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(muster.data().join("muster.sock")).unwrap();
    if std::os::unix::fs::chown(muster.data(), Some(NOBODY), None).is_err() {
        eprintln!("skipped: needs root");
        return;
    }
    let said = muster.exits(1, &["device", "create", "secret-name"]);
    assert!(said.contains("serves there"), "{said}");
}

#[test]
#[allow(clippy::print_stderr, reason = "says what it skips")]
fn what_may_not_be_looked_into_is_not_called_empty() {
    use std::os::unix::process::CommandExt;
    let muster = without_server();
    std::fs::set_permissions(muster.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = muster.command(&["status"]);
    let Ok(output) = command.uid(NOBODY).gid(NOBODY).output() else {
        eprintln!("skipped: needs root, and a program that others can run");
        return;
    };
    ends(&output, 4, "belongs to the user");
}

#[test]
fn without_a_server_a_command_does_it_itself() {
    let muster = without_server();
    muster.ok(&["cert", "issue", "alone", "--kind", "client", "--out", "alone"]);
    muster.exits(5, &["device", "revoke", "alone", "--yes"]);
    let crl = muster.json(&["ca", "crl"]);
    assert_eq!(crl["entries"], 1);
    assert_eq!(last_act(&muster)["via"], "command");
    assert_eq!(muster.json(&["audit", "verify"])["intact"], true);
}

#[test]
fn a_second_server_on_the_same_directory_is_refused() {
    let muster = Muster::start();
    let said = muster.exits(
        1,
        &[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--public-listen",
            "127.0.0.1:0",
            "--web-listen",
            "127.0.0.1:0",
        ],
    );
    assert!(said.contains("fix:"), "{said}");
    muster.ok(&["status"]);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let muster = without_server();
    let said = muster.exits(
        1,
        &[
            "serve",
            "--listen",
            &address,
            "--public-listen",
            "127.0.0.1:0",
            "--web-listen",
            "127.0.0.1:0",
        ],
    );
    assert!(said.contains(&address) && said.contains("--listen"), "{said}");
}

#[test]
fn exit_codes_say_what_kind_of_trouble_it_is() {
    let muster = Muster::start();
    muster.ok(&["cert", "issue", "there", "--kind", "client", "--out", "there"]);
    let unknown = "33061600000000000000000000000000beef";
    // 2: the line is wrong.
    muster.exits(2, &["cert", "issue"]);
    muster.exits(2, &["nonsense"]);
    muster.exits(2, &["cert", "issue", "x", "--validity", "soon"]);
    muster.exits(2, &["device", "create", "there"]);
    muster.exits(2, &["device", "revoke", "there", "--reason", "boredom", "--yes"]);
    muster.exits(2, &["device", "revoke", "there"]);
    muster.exits(2, &["cert", "list", "--status", "lost"]);
    // 3: it is not there.
    muster.exits(3, &["device", "show", "nobody"]);
    muster.exits(3, &["device", "suspend", "nobody"]);
    muster.exits(3, &["cert", "show", unknown]);
    muster.exits(3, &["cert", "revoke", unknown, "--yes"]);
    muster.exits(3, &["token", "revoke", "none"]);
    muster.exits(3, &["ca", "root", "--authority", "none"]);
    muster.exits(3, &["ca", "crl", "--authority", "none"]);
    muster.exits(3, &["ca", "provisioner", "remove", "none"]);
    muster.exits(3, &["cert", "sign", "no-such-file.csr"]);
    // 4: it is not allowed.
    muster.exits(4, &["cert", "issue", "muster-x", "--kind", "client"]);
    muster.exits(
        4,
        &["cert", "issue", "x", "--kind", "client", "--validity", "3000d"],
    );
    muster.exits(4, &["cert", "issue", "there", "--kind", "server"]);
    muster.exits(
        4,
        &[
            "cert",
            "issue",
            "b.example.org",
            "--kind",
            "server",
            "--key-type",
            "ed25519",
        ],
    );
    // 5: it is recorded, and no broker has proved it.
    let said = muster.exits(5, &["cert", "revoke", "there", "--yes"]);
    assert!(said.contains("unconfirmed"), "{said}");
    muster.exits(2, &["device", "resume", "there"]);
}

#[test]
fn errors_in_json_have_code_message_and_fix() {
    let muster = Muster::start();
    let output = muster.run(&[
        "cert",
        "issue",
        "x",
        "--kind",
        "client",
        "--validity",
        "3000d",
        "--json",
    ]);
    assert!(output.stdout.is_empty());
    let said: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(said["error"]["code"], 4);
    assert!(
        said["error"]["message"].as_str().unwrap().contains("too long"),
        "{said}"
    );
    assert!(
        said["error"]["fix"].as_str().unwrap().contains("at most"),
        "{said}"
    );
}

#[test]
fn dry_runs_change_nothing() {
    let muster = Muster::start();
    muster.ok(&["cert", "issue", "kept", "--kind", "client", "--out", "kept"]);
    let before = last_act(&muster);
    muster.ok(&[
        "cert",
        "issue",
        "maybe",
        "--kind",
        "client",
        "--dry-run",
        "--out",
        "maybe",
    ]);
    muster.ok(&["device", "create", "perhaps", "--dry-run"]);
    muster.ok(&["device", "revoke", "kept", "--dry-run"]);
    muster.ok(&["device", "suspend", "kept", "--dry-run"]);
    muster.ok(&["cert", "revoke", "kept", "--dry-run"]);
    muster.ok(&["cert", "renew", "kept", "--dry-run", "--out", "kept"]);
    std::fs::write(muster.path().join("fleet.csv"), "name\nrow-1\nrow-2\n").unwrap();
    muster.ok(&["device", "import", "fleet.csv", "--dry-run"]);
    assert_eq!(last_act(&muster), before);
    assert!(!muster.path().join("maybe").exists() && !muster.path().join("certs").exists());
    muster.exits(3, &["device", "show", "maybe"]);
}
