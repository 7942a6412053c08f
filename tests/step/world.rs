//! A CA and a `step` with a home of its own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::{Value, json};

use crate::common::https::{Answer, Https};
use crate::common::{Muster, text, tool};

/// Most tests only add to a CA, and share one: it lives as long as one of them.
static SHARED: Mutex<Weak<Muster>> = Mutex::new(Weak::new());

/// The provisioner that the first run makes.
pub(crate) const PROVISIONER: &str = "iot-devices";

pub(crate) struct World {
    pub(crate) ca: Arc<Muster>,
    home: tempfile::TempDir,
    step: PathBuf,
}

impl World {
    /// A bootstrapped `step` of a CA that other tests use, too. `None` if there is no `step`.
    pub(crate) fn shared() -> Option<Self> {
        tool("step")?;
        let ca = {
            // A test that failed to start it leaves nothing half done.
            let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
            shared.upgrade().unwrap_or_else(|| {
                let ca = Arc::new(Muster::start());
                *shared = Arc::downgrade(&ca);
                ca
            })
        };
        Self::stranger(ca).map(Self::bootstrapped)
    }

    /// The same with a CA of its own and lines for its `muster.toml`.
    pub(crate) fn own(toml: &str) -> Option<Self> {
        tool("step")?;
        Self::stranger(Arc::new(Muster::start_with(&[], toml))).map(Self::bootstrapped)
    }

    /// A `step` that knows nothing yet.
    pub(crate) fn stranger(ca: Arc<Muster>) -> Option<Self> {
        Some(Self {
            ca,
            home: tempfile::tempdir().unwrap(),
            step: tool("step")?,
        })
    }

    fn bootstrapped(self) -> Self {
        self.ok(&format!(
            "ca bootstrap --ca-url {} --fingerprint {}",
            self.ca.url(),
            self.fingerprint()
        ));
        self
    }

    /// The root's, as an operator reads it off the server.
    pub(crate) fn fingerprint(&self) -> String {
        self.ca.ok(&["ca", "fingerprint"]).trim().to_owned()
    }

    /// The directory in which `step` runs.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|why| panic!("{name}: {why}"))
    }

    /// `step` with a line of arguments, none of which has a blank in it.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(&self.step);
        command
            .args(line.split_whitespace())
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        command.env("STEPPATH", self.path("step")).env_remove("STEPDEBUG");
        command
    }

    /// Runs `step`, which must succeed, and returns what it printed on stdout.
    #[track_caller]
    pub(crate) fn ok(&self, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        assert!(output.status.success(), "step {line}: {}", said(&output));
        text(&output.stdout)
    }

    /// Runs `step`, which must fail and print these words.
    #[track_caller]
    pub(crate) fn refused(&self, line: &str, words: &str) {
        let output = self.command(line).output().unwrap();
        let said = said(&output);
        assert!(!output.status.success(), "step {line} succeeded: {said}");
        assert!(said.contains(words), "step {line}: {words:?} is not in: {said}");
    }

    /// What picks the provisioner and opens its key.
    pub(crate) fn proof(&self) -> String {
        format!(
            "--provisioner {PROVISIONER} --provisioner-password-file {}",
            self.password_file().display()
        )
    }

    pub(crate) fn password_file(&self) -> PathBuf {
        self.ca.data().join("provisioner-password")
    }

    /// `NAME.crt` and `NAME.key` by `step ca certificate`.
    #[track_caller]
    pub(crate) fn certificate(&self, name: &str, more: &str) {
        self.ok(&format!(
            "ca certificate {name} {name}.crt {name}.key {} {more}",
            self.proof()
        ));
    }

    /// A one-time token by `step ca token`.
    #[track_caller]
    pub(crate) fn token(&self, subject: &str, more: &str) -> String {
        self.ok(&format!("ca token {subject} {} {more}", self.proof()))
            .trim()
            .to_owned()
    }

    /// The provisioner's private key, opened by `step` with its password.
    pub(crate) fn private_jwk(&self) -> PathBuf {
        let jwk = self.path("private.jwk");
        let list = self.https().get("/provisioners").json();
        let kid = list["provisioners"][0]["key"]["kid"].as_str().unwrap().to_owned();
        let sealed = self
            .https()
            .get(&format!("/provisioners/{kid}/encrypted-key"))
            .json();
        let open = format!(
            "crypto jwe decrypt --password-file {}",
            self.password_file().display()
        );
        std::fs::write(&jwk, self.fed(&open, sealed["key"].as_str().unwrap())).unwrap();
        jwk
    }

    /// A token with claims that `step ca token` would not make, signed by `step crypto jwt`.
    pub(crate) fn signed(&self, key: &Path, claims: &Value) -> String {
        let file = self.path("claims.json");
        std::fs::write(&file, claims.to_string()).unwrap();
        self.ok(&format!(
            "crypto jwt sign --subtle --key {} {}",
            key.display(),
            file.display()
        ))
        .trim()
        .to_owned()
    }

    /// The claims of a good token for signing; tests change one.
    pub(crate) fn claims(&self, subject: &str) -> Value {
        let now = now();
        json!({
            "iss": PROVISIONER, "aud": format!("{}/1.0/sign", self.ca.url()), "sub": subject, "sans": [subject],
            "jti": format!("jti of {subject}"), "iat": now, "nbf": now, "exp": now + 300,
        })
    }

    fn fed(&self, line: &str, input: &str) -> String {
        let mut command = self.command(line);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "step {line}");
        text(&output.stdout)
    }

    /// `NAME.csr` and `NAME.key` by openssl; `None` if there is none.
    pub(crate) fn csr(&self, name: &str, key: &str, more: &[&str]) -> Option<()> {
        let openssl = tool("openssl")?;
        let (csr, private) = (format!("{name}.csr"), format!("{name}.key"));
        let mut command = Command::new(openssl);
        command
            .current_dir(self.home.path())
            .args(["req", "-new", "-nodes", "-newkey"])
            .args(key.split_whitespace());
        command
            .args(["-subj", &format!("/CN={name}"), "-out", &csr, "-keyout", &private])
            .args(more);
        let output = command.output().unwrap();
        assert!(output.status.success(), "openssl req {key}: {}", said(&output));
        Some(())
    }

    /// A file as openssl shows it.
    pub(crate) fn openssl(&self, line: &str) -> Option<String> {
        let mut command = Command::new(tool("openssl")?);
        let output = command
            .args(line.split_whitespace())
            .current_dir(self.home.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "openssl {line}: {}", said(&output));
        Some(said(&output))
    }

    /// A certificate file as `step` reads it.
    #[track_caller]
    pub(crate) fn inspect(&self, file: &str) -> Value {
        serde_json::from_str(&self.ok(&format!("certificate inspect --format json {file}"))).unwrap()
    }

    /// The serial number as `step` shows it.
    #[track_caller]
    pub(crate) fn serial(&self, file: &str) -> String {
        self.inspect(file)["serial_number"].as_str().unwrap().to_owned()
    }

    pub(crate) fn https(&self) -> Https {
        Https::new(self.ca.api, &self.ca.root())
    }

    /// `POST /sign` as `step` does it, for the status that `step` does not show.
    pub(crate) fn sign(&self, token: &str, csr: &str) -> Answer {
        let body = json!({ "csr": self.read(csr), "ott": token, "notBefore": "", "notAfter": "" });
        self.https().post("/sign", &body)
    }
}

/// Both outputs, for a person who reads why a test failed.
fn said(output: &Output) -> String {
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// Unix seconds.
#[allow(
    clippy::disallowed_methods,
    reason = "the programs under test read the same clock"
)]
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
