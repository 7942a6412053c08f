//! Programs that others wrote accept what Muster issues: openssl, GnuTLS, Python's cryptography, and pkilint.
//!
//! Every profile with every key type that it takes, what `step` obtains, the server's own certificate, the CAs and
//! their CRLs; with pointers in the certificates and without. Python is the one of `MUSTER_TEST_PYTHON`, which needs the
//! packages `cryptography` and `pkilint`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

#[path = "../common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use common::{Muster, python, text, tool};

/// Name, kind, key type and further names of every certificate.
const CERTIFICATES: [(&str, &str, &str, &str); 17] = [
    ("site-p256", "client", "p256", ""),
    ("site-p384", "client", "p384", ""),
    ("site-p521", "client", "p521", ""),
    ("site-ed25519", "client", "ed25519", ""),
    ("site-rsa2048", "client", "rsa2048", ""),
    ("site-rsa4096", "client", "rsa4096", ""),
    ("site-7.example.org", "client", "p256", ""),
    (
        "site-many",
        "client",
        "p256",
        "a.example.org,10.0.0.7,2001:db8::7,ops@example.org,https://sites.example.org/many",
    ),
    (
        "mqtt-p256.example.org",
        "server",
        "p256",
        "mqtt-p256.example.org,10.0.80.50",
    ),
    ("mqtt-p384.example.org", "server", "p384", "second.example.org"),
    ("mqtt-p521.example.org", "server", "p521", ""),
    ("mqtt-rsa2048.example.org", "server", "rsa2048", ""),
    ("mqtt-rsa4096.example.org", "server", "rsa4096", ""),
    ("bridge-p256.example.org", "broker", "p256", ""),
    ("bridge-p384.example.org", "broker", "p384", ""),
    ("bridge-p521.example.org", "broker", "p521", ""),
    (
        "bridge-rsa4096.example.org",
        "broker",
        "rsa4096",
        "bridge.example.org",
    ),
];
/// Names that verifiers take and pkilint calls an error: an operator who asks for them gets them.
const UNLINTED: [(&str, &str, &str, &str); 2] = [
    ("wild.example.org", "server", "p256", "*.mqtt.example.org"),
    (
        "site-mac",
        "client",
        "p256",
        "urn:dev:mac:0024befffe804ff1,spiffe://example.org/site",
    ),
];
/// What Python has to have.
const PACKAGES: [&str; 2] = ["cryptography", "pkilint"];
const REVOKED: &str = "site-revoked";
const SUSPENDED: &str = "site-suspended";
/// The server's own certificate. Its name here is `localhost`, which pkilint does not like either.
const LISTENER: &str = "muster-ca";

/// What one CA issued, as files.
struct Fleet {
    ca: Muster,
    dir: tempfile::TempDir,
}

static PLAIN: Mutex<Weak<Fleet>> = Mutex::new(Weak::new());
static POINTING: Mutex<Weak<Fleet>> = Mutex::new(Weak::new());

/// Both kinds of fleets; each is made once as long as a test uses it.
fn fleets() -> [Arc<Fleet>; 2] {
    [
        (&PLAIN, ""),
        (&POINTING, "public_url = \"http://pki.example.org:9080\"\n"),
    ]
    .map(|(kept, toml)| {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.upgrade().unwrap_or_else(|| {
            let made = Arc::new(Fleet::new(toml));
            *kept = Arc::downgrade(&made);
            made
        })
    })
}

impl Fleet {
    fn new(toml: &str) -> Self {
        let fleet = Self {
            ca: Muster::start_with(&[], toml),
            dir: tempfile::tempdir().unwrap(),
        };
        for sub in ["certificates", "unlinted", "crls"] {
            std::fs::create_dir(fleet.path(sub)).unwrap();
        }
        fleet.authorities();
        // Before anything is revoked: lists with nothing on them are a case of their own.
        fleet.crl("empty", 1);
        for (name, kind, key, sans) in CERTIFICATES.into_iter().chain(UNLINTED) {
            fleet.issue(name, kind, key, sans);
        }
        for name in [REVOKED, SUSPENDED] {
            fleet.issue(name, "client", "p256", "");
        }
        fleet.download(LISTENER);
        fleet.ca.exits(
            5,
            &["cert", "revoke", REVOKED, "--reason", "key-compromise", "--yes"],
        );
        fleet.ca.exits(5, &["device", "suspend", SUSPENDED]);
        fleet.crl("issuing", 1);
        fleet.crl("root", 0);
        std::fs::write(fleet.path("revoked.txt"), format!("{REVOKED}\n{SUSPENDED}\n")).unwrap();
        fleet
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn leaf(&self, name: &str) -> String {
        let unlinted = name == LISTENER || UNLINTED.iter().any(|(other, ..)| *other == name);
        format!(
            "{}/{name}.pem",
            if unlinted { "unlinted" } else { "certificates" }
        )
    }

    fn authorities(&self) {
        let all = self.ca.json(&["ca", "show"]);
        let default = all
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["name"] == "default")
            .unwrap();
        for (generation, file) in [(0, "root.pem"), (1, "issuing.pem")] {
            let pem = default["generations"][generation]["pem"].as_str().unwrap();
            std::fs::write(self.path(file), pem).unwrap();
        }
        let both = ["issuing.pem", "root.pem"].map(|file| std::fs::read_to_string(self.path(file)).unwrap());
        std::fs::write(self.path("ca.pem"), both.concat()).unwrap();
    }

    fn crl(&self, name: &str, generation: u32) {
        let file = self.path("crls").join(format!("{name}.pem"));
        let generation = generation.to_string();
        self.ca.ok(&[
            "ca",
            "crl",
            "--generation",
            &generation,
            "--out",
            file.to_str().unwrap(),
        ]);
    }

    fn issue(&self, name: &str, kind: &str, key: &str, sans: &str) {
        let out = self.path("bundles");
        let mut line = vec![
            "cert",
            "issue",
            name,
            "--kind",
            kind,
            "--key-type",
            key,
            "--out",
            out.to_str().unwrap(),
        ];
        if !sans.is_empty() {
            line.extend(["--san", sans]);
        }
        self.ca.ok(&line);
        self.keep_leaf(name, &out);
    }

    fn download(&self, name: &str) {
        let out = self.path("bundles");
        self.ca
            .ok(&["cert", "download", name, "--out", out.to_str().unwrap()]);
        self.keep_leaf(name, &out);
    }

    /// The first certificate of the bundle's chain: linters read one.
    fn keep_leaf(&self, name: &str, bundle: &Path) {
        let chain = std::fs::read_to_string(bundle.join(format!("{name}.crt"))).unwrap();
        let end = "-----END CERTIFICATE-----\n";
        let leaf = &chain[..chain.find(end).unwrap() + end.len()];
        std::fs::write(self.path(&self.leaf(name)), leaf).unwrap();
    }

    /// Runs a program in the directory.
    fn run(&self, program: &Path, line: &str) -> Output {
        Command::new(program)
            .args(line.split_whitespace())
            .current_dir(self.dir.path())
            .output()
            .unwrap()
    }

    #[track_caller]
    fn ok(&self, program: &Path, line: &str) -> String {
        let output = self.run(program, line);
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{} {line}:\n{said}", program.display());
        said
    }
}

const VERIFY: &str = "verify -x509_strict -crl_check_all -CAfile root.pem -untrusted issuing.pem -CRLfile crls/issuing.pem -CRLfile crls/root.pem";

#[test]
fn openssl_verifies_every_certificate_with_both_crls() {
    let Some(openssl) = tool("openssl") else { return };
    for fleet in fleets() {
        for (name, kind, ..) in CERTIFICATES.into_iter().chain(UNLINTED) {
            let purposes: &[&str] = match kind {
                "client" => &["sslclient"],
                "server" => &["sslserver"],
                _ => &["sslclient", "sslserver"],
            };
            for purpose in purposes {
                fleet.ok(
                    &openssl,
                    &format!("{VERIFY} -purpose {purpose} {}", fleet.leaf(name)),
                );
            }
        }
        let host = format!(
            "{VERIFY} -purpose sslserver -verify_hostname localhost {}",
            fleet.leaf(LISTENER)
        );
        fleet.ok(&openssl, &host);
    }
}

#[test]
fn openssl_refuses_what_is_revoked_suspended_or_for_another_purpose() {
    let Some(openssl) = tool("openssl") else { return };
    for fleet in fleets() {
        for name in [REVOKED, SUSPENDED] {
            let output = fleet.run(&openssl, &format!("{VERIFY} {}", fleet.leaf(name)));
            assert!(!output.status.success());
            assert!(
                text(&output.stderr).contains("revoked"),
                "{}",
                text(&output.stderr)
            );
        }
        let client_as_server = format!("{VERIFY} -purpose sslserver {}", fleet.leaf("site-p256"));
        assert!(!fleet.run(&openssl, &client_as_server).status.success());
        let server_as_client = format!(
            "{VERIFY} -purpose sslclient {}",
            fleet.leaf("mqtt-p256.example.org")
        );
        assert!(!fleet.run(&openssl, &server_as_client).status.success());
    }
}

#[test]
fn openssl_reads_every_crl() {
    let Some(openssl) = tool("openssl") else { return };
    for fleet in fleets() {
        for (name, entries) in [("empty", 0), ("issuing", 2), ("root", 0)] {
            let said = fleet.ok(
                &openssl,
                &format!("crl -in crls/{name}.pem -CAfile ca.pem -verify -noout -text"),
            );
            assert!(said.contains("verify OK"), "{name}: {said}");
            assert_eq!(said.matches("Serial Number:").count(), entries, "{name}: {said}");
            assert!(!said.contains("critical"), "no critical extension: {said}");
        }
        let said = fleet.ok(&openssl, "crl -in crls/issuing.pem -noout -text");
        assert!(
            said.contains("Key Compromise") && said.contains("Certificate Hold"),
            "{said}"
        );
    }
}

#[test]
fn certificates_say_where_to_look_only_if_that_is_configured() {
    let Some(openssl) = tool("openssl") else { return };
    let [plain, pointing] = fleets();
    let shown = |fleet: &Fleet, file: &str| fleet.ok(&openssl, &format!("x509 -noout -text -in {file}"));
    for file in [
        plain.leaf("site-p256"),
        plain.leaf("bridge-p256.example.org"),
        "issuing.pem".into(),
    ] {
        let said = shown(&plain, &file);
        assert!(
            !said.contains("http://") && !said.contains("CRL Distribution"),
            "{said}"
        );
        let said = shown(&pointing, &file);
        assert!(said.contains("URI:http://pki.example.org:9080/crl/"), "{said}");
        assert!(
            said.contains("CA Issuers - URI:http://pki.example.org:9080/ca/"),
            "{said}"
        );
        assert!(
            !said.contains("localhost") && !said.contains("127.0.0.1"),
            "{said}"
        );
    }
    // What the pointers name is there.
    let issuing = shown(&pointing, &pointing.leaf("site-p256"));
    for part in issuing.split("http://pki.example.org:9080/").skip(1) {
        let path = part.split_whitespace().next().unwrap();
        let answer = common::http_get(&format!("http://127.0.0.1:{}/{path}", pointing.ca.public)).unwrap();
        assert_eq!(answer.0, 200, "{path}");
        assert_eq!(answer.1.first(), Some(&0x30), "{path} is DER");
    }
}

#[test]
fn gnutls_verifies_every_chain() {
    let Some(certtool) = tool("certtool") else { return };
    for fleet in fleets() {
        for (name, ..) in CERTIFICATES.into_iter().chain(UNLINTED) {
            let chain = [fleet.leaf(name), "ca.pem".into()]
                .map(|file| std::fs::read_to_string(fleet.path(&file)).unwrap());
            let file = format!("chain-{name}.pem");
            std::fs::write(fleet.path(&file), chain.concat()).unwrap();
            let said = fleet.ok(&certtool, &format!("--verify-chain --infile {file}"));
            assert!(
                said.contains("Chain verification output: Verified. The certificate is trusted."),
                "{name}: {said}"
            );
            let said = fleet.ok(
                &certtool,
                &format!("--certificate-info --infile {}", fleet.leaf(name)),
            );
            assert!(said.contains(name), "{said}");
        }
    }
}

#[test]
fn gnutls_reads_and_verifies_every_crl() {
    let Some(certtool) = tool("certtool") else { return };
    for fleet in fleets() {
        for (name, issuer) in [("empty", "issuing"), ("issuing", "issuing"), ("root", "root")] {
            let line = format!("--verify-crl --load-ca-certificate {issuer}.pem --infile crls/{name}.pem");
            let said = fleet.ok(&certtool, &line);
            assert!(said.contains("Verified"), "{name}: {said}");
            let said = fleet.ok(&certtool, &format!("--crl-info --infile crls/{name}.pem"));
            assert!(said.contains("CRL Number"), "{name}: {said}");
        }
        let said = fleet.ok(&certtool, "--crl-info --infile crls/issuing.pem");
        assert!(said.contains("Revoked certificates (2)"), "{said}");
    }
}

#[test]
fn python_cryptography_verifies_everything() {
    let Some(python) = python(&PACKAGES) else { return };
    fleets()
        .iter()
        .for_each(|fleet| judged(fleet, &python, "cryptography"));
}

#[test]
fn pkilint_finds_nothing_at_error_level() {
    let Some(python) = python(&PACKAGES) else { return };
    fleets()
        .iter()
        .for_each(|fleet| judged(fleet, &python, "pkilint"));
}

#[test]
fn pkilint_would_find_something() {
    let (Some(python), Some(openssl)) = (python(&PACKAGES), tool("openssl")) else {
        return;
    };
    let [fleet, _] = fleets();
    let wrong = tempfile::tempdir().unwrap();
    for sub in ["certificates", "crls"] {
        std::fs::create_dir(wrong.path().join(sub)).unwrap();
    }
    for ca in ["root.pem", "issuing.pem"] {
        std::fs::copy(fleet.path(ca), wrong.path().join(ca)).unwrap();
    }
    let out = wrong.path().join("certificates/wrong.pem");
    let line = format!(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj /CN=wrong -addext subjectAltName=DNS:under_score..x -out {}",
        out.display()
    );
    fleet.ok(&openssl, &line);
    let output = Command::new(python)
        .arg(judge())
        .arg("pkilint")
        .arg(wrong.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(
        text(&output.stdout).starts_with("wrong: ERROR"),
        "{}",
        text(&output.stdout)
    );
}

fn judged(fleet: &Fleet, python: &Path, by: &str) {
    let output = Command::new(python)
        .arg(judge())
        .arg(by)
        .arg(fleet.dir.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{by}:\n{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

fn judge() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/judge.py")
}
