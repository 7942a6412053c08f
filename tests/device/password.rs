//! `scripts/enroll-site.sh` with a provisioner's password, of Muster and of a real step-ca: the program `muster`, and neither curl nor
//! openssl nor `step`.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use muster_pki::cert::Certificate;

use crate::common::{MUSTER, Muster, Running, free_port, text, tool, wait_for};
use crate::fleet::spawn;
use crate::{living, mode, program};

/// What a shell's script needs, and no more.
const PROGRAMS: [&str; 8] = ["sed", "mkdir", "mv", "rm", "cat", "tr", "chmod", "sync"];

/// A machine with these programs and a `muster` that writes down how it was called.
struct Site {
    dir: tempfile::TempDir,
    url: String,
    fingerprint: String,
}

impl Site {
    fn new(url: String, fingerprint: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        for name in PROGRAMS {
            symlink(tool(name).unwrap(), bin.join(name)).unwrap();
        }
        let calls = dir.path().join("calls");
        let wrapper = format!(
            "#!/bin/sh\nprintf '%s ' \"$@\" >>{}\nexec {MUSTER} \"$@\"\n",
            calls.display()
        );
        program(&bin.join("muster"), &wrapper);
        Self {
            dir,
            url,
            fingerprint: fingerprint.to_owned(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, name: &str, secret: &str, options: &[&str]) -> Output {
        let mut command = Command::new("/bin/sh");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/enroll-site.sh"));
        command.args(options).arg("-o").arg(self.path("certs"));
        command.args([name, &self.url, &self.fingerprint, secret]);
        let output = command
            .env_clear()
            .env("PATH", self.path("bin"))
            .stdin(Stdio::null())
            .output();
        output.unwrap()
    }

    fn enrols(&self, name: &str, secret: &str, options: &[&str]) -> Output {
        let output = self.run(name, secret, options);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let certs = self.path("certs");
        let printed = text(&output.stdout);
        assert!(
            printed.contains(&format!("bridge_certfile {}/{name}.crt", certs.display())),
            "{printed}"
        );
        assert_eq!(mode(&certs.join(format!("{name}.key"))), 0o600);
        output
    }

    fn refused(&self, name: &str, secret: &str, words: &str) {
        let output = self.run(name, secret, &[]);
        let said = text(&output.stderr);
        assert!(!output.status.success(), "{said}");
        assert!(said.contains(words), "{said}");
        assert!(!said.contains(secret), "{said}");
    }

    /// Neither in what was said nor in how programs were called.
    fn keeps_to_itself(&self, secret: &str, output: &Output) {
        let calls = std::fs::read_to_string(self.path("calls")).unwrap();
        assert!(calls.contains("agent sign"), "{calls}");
        for words in [calls, text(&output.stdout), text(&output.stderr)] {
            assert!(!words.contains(secret), "{words}");
        }
    }

    /// The certificate, and until when it holds after its beginning, in seconds.
    fn lasts(&self, name: &str) -> i64 {
        let pem = std::fs::read_to_string(self.path("certs").join(format!("{name}.crt"))).unwrap();
        let leaf = &Certificate::all_from_pem(&pem).unwrap()[0];
        leaf.not_after().duration_since(leaf.not_before()).as_secs()
    }
}

#[test]
fn a_password_of_muster_is_enough_where_the_program_is() {
    let muster = Muster::start();
    let site = Site::new(muster.url(), muster.ok(&["ca", "fingerprint"]).trim());
    let file = muster.data().join("provisioner-password");
    let password = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    let said = site.enrols("site-001", file.to_str().unwrap(), &["-v", "48h"]);
    assert!(
        text(&said.stderr).contains("can enrol any free name"),
        "{}",
        text(&said.stderr)
    );
    site.keeps_to_itself(&password, &said);
    assert!(!muster.log().contains(&password));
    let hours = site.lasts("site-001") / 3600;
    assert!((48..=49).contains(&hours), "{hours}");
    let certs = site.path("certs");
    let path = |name: &str| certs.join(name).to_str().unwrap().to_owned();
    muster.ok(&[
        "cert",
        "verify",
        &path("site-001.crt"),
        "--ca",
        &path("ca.crt"),
        "--purpose",
        "client",
    ]);
    // The key stays whatever is asked for again; and the name is taken for every other one.
    let key = std::fs::read(path("site-001.key")).unwrap();
    let again = site.enrols("site-001", &password, &[]);
    site.keeps_to_itself(&password, &again);
    assert_eq!(std::fs::read(path("site-001.key")).unwrap(), key);
    // What somebody else put there stays.
    let anchors = std::fs::read(path("ca.crt")).unwrap();
    let other = std::fs::read(path("site-001.crt")).unwrap();
    std::fs::write(path("ca.crt"), &other).unwrap();
    site.refused("site-001", &password, "begins with another certificate");
    assert_eq!(std::fs::read(path("ca.crt")).unwrap(), other);
    std::fs::write(path("ca.crt"), &anchors).unwrap();
    site.enrols("site-001", &password, &[]);
    std::fs::remove_dir_all(&certs).unwrap();
    site.refused("site-001", &password, "muster device recover site-001");
    site.refused("site-002", "not the password", "the password does not open");
    site.refused("site-002", "-o not the password", "the password does not open");
    let other = Site::new(site.url.clone(), &"0".repeat(64));
    other.refused("site-002", &password, "");
    assert!(
        !other.path("certs/site-002.key").exists(),
        "no key before somebody is believed"
    );
    // A token needs no more than that, either.
    let made = muster.json(&["token", "create", "site-003"]);
    let secret = made["secret"].as_str().unwrap();
    site.enrols("site-003", secret, &[]);
    assert_eq!(living(&muster, "site-003").len(), 1);
    // What the enrolled device believes is not overwritten.
    site.refused("site-002", &password, "a device has enrolled in");
    assert!(!certs.join("site-002.key").exists());
    let calls = std::fs::read_to_string(site.path("calls")).unwrap();
    assert!(
        calls.contains("agent enrol") && !calls.contains(secret),
        "{calls}"
    );
    // Without the program there is no way.
    std::fs::remove_file(site.path("bin/muster")).unwrap();
    site.refused("site-002", &password, "needs the program muster");
    site.refused(
        "site-004",
        secret,
        "neither curl and openssl nor muster is installed",
    );
}

/// A step-ca as `step ca init` makes it.
fn step_ca(place: &Path) -> Option<(Running, String, String)> {
    let (step, program) = (tool("step")?, tool("step-ca")?);
    let (home, port) = (place.join("step"), free_port());
    std::fs::create_dir(&home).unwrap();
    let password = home.join("password");
    std::fs::write(&password, "a password of a test").unwrap();
    let address = format!("127.0.0.1:{port}");
    let mut init = Command::new(step);
    init.args([
        "ca",
        "init",
        "--deployment-type",
        "standalone",
        "--name",
        "Test",
        "--dns",
        "localhost",
    ]);
    init.args([
        "--provisioner",
        "iot-devices",
        "--address",
        &address,
        "--password-file",
    ])
    .arg(&password);
    let made = init.env("STEPPATH", &home).stdin(Stdio::null()).output().unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    let mut command = Command::new(program);
    command
        .arg(home.join("config/ca.json"))
        .arg("--password-file")
        .arg(&password)
        .env("STEPPATH", &home);
    let running = spawn(&mut command, &home.join("log"));
    wait_for("step-ca", || std::net::TcpStream::connect(&address).is_ok());
    let root = std::fs::read_to_string(home.join("certs/root_ca.crt")).unwrap();
    let print = Certificate::all_from_pem(&root).unwrap()[0].fingerprint();
    let print = print
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect::<Vec<_>>()
        .join(":");
    Some((running, format!("https://localhost:{port}/"), print))
}

#[test]
fn a_password_of_a_step_ca_is_enough_where_the_program_is() {
    let place = tempfile::tempdir().unwrap();
    let Some((_running, url, print)) = step_ca(place.path()) else {
        return;
    };
    let site = Site::new(url, &print);
    let password = "a password of a test";
    site.refused("site-001", "another password", "the password does not open");
    // Its own longest time is a day.
    site.refused("site-001", password, "24h");
    let said = site.enrols("site-001", password, &["-v", "12h"]);
    assert!(
        text(&said.stderr).contains("can enrol any free name"),
        "{}",
        text(&said.stderr)
    );
    site.keeps_to_itself(password, &said);
    let hours = site.lasts("site-001") / 3600;
    assert_eq!(hours, 12);
    let certs = site.path("certs");
    let anchors = std::fs::read_to_string(certs.join("ca.crt")).unwrap();
    assert_eq!(Certificate::all_from_pem(&anchors).unwrap().len(), 2);
    site.enrols("site-002", password, &["-v", "12h"]);
    assert_ne!(
        std::fs::read(certs.join("site-001.key")).unwrap(),
        std::fs::read(certs.join("site-002.key")).unwrap()
    );
}
