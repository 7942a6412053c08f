//! Certificates made by the `openssl` program, so that what Muster reads and writes is judged by somebody else.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "each test takes the parts it needs; a test may fail"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use jiff::Timestamp;
use tempfile::TempDir;

/// Says why nothing was tested.
#[expect(clippy::print_stdout, reason = "a test that is passed over must say so")]
pub(crate) fn skipped(needs: &str) {
    println!("skipped: needs {needs}");
}

/// Whether a program can be started, here or in the folders of system programs.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// A folder with keys, certificates and CRLs, called by short names.
pub(crate) struct Lab {
    dir: TempDir,
}

/// How long what the lab issues is valid.
pub(crate) const DAYS: i64 = 30;

impl Lab {
    /// `None`, and a remark, on a machine without `openssl`.
    pub(crate) fn new() -> Option<Self> {
        if program("openssl").is_none() {
            skipped("openssl");
            return None;
        }
        Some(Self {
            dir: tempfile::tempdir().unwrap(),
        })
    }

    /// A root `root`, an issuing CA `ca` below it, and nothing else.
    pub(crate) fn with_cas() -> Option<Self> {
        let lab = Self::new()?;
        lab.root("root", "AK-SG IoT CA", "EC -pkeyopt ec_paramgen_curve:P-256");
        lab.issue("ca", "AK-SG IoT CA issuing CA 1", "root", ISSUING_CA);
        Some(lab)
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    pub(crate) fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(file), text).unwrap();
    }

    /// Several files as one.
    pub(crate) fn join(&self, files: &[&str]) -> String {
        files.iter().map(|file| self.read(file)).collect()
    }

    /// Runs `openssl` in the folder; the arguments are split at blanks, `%20` stands for a blank.
    pub(crate) fn try_openssl(&self, args: &str) -> Output {
        let args = args.split_whitespace().map(|arg| arg.replace("%20", " "));
        Command::new("openssl")
            .args(args)
            .current_dir(self.dir.path())
            .output()
            .unwrap()
    }

    pub(crate) fn openssl(&self, args: &str) -> String {
        let output = self.try_openssl(args);
        assert!(
            output.status.success(),
            "openssl {args}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn key(&self, id: &str, algorithm: &str) {
        self.openssl(&format!("genpkey -algorithm {algorithm} -out {id}.key"));
    }

    pub(crate) fn root(&self, id: &str, name: &str, algorithm: &str) {
        self.key(id, algorithm);
        let name = name.replace(' ', "%20");
        self.openssl(&format!(
            "req -x509 -new -key {id}.key -subj /CN={name} -days {DAYS} -out {id}.crt -addext keyUsage=critical,keyCertSign,cRLSign"
        ));
    }

    /// A certificate with a P-256 key.
    pub(crate) fn issue(&self, id: &str, name: &str, issuer: &str, extensions: &str) {
        self.key(id, "EC -pkeyopt ec_paramgen_curve:P-256");
        self.certify(id, name, issuer, extensions, "-sha256");
    }

    /// A certificate for the key `ID.key`.
    pub(crate) fn certify(&self, id: &str, name: &str, issuer: &str, extensions: &str, hash: &str) {
        self.write(&format!("{id}.ext"), extensions);
        let name = name.replace(' ', "%20");
        self.openssl(&format!("req -new -key {id}.key -subj /CN={name} -out {id}.csr"));
        self.openssl(&format!(
            "x509 -req -in {id}.csr -CA {issuer}.crt -CAkey {issuer}.key -days {DAYS} {hash} -extfile {id}.ext -out {id}.crt"
        ));
    }

    /// A CRL for a week that revokes these, as `ISSUER.crl`.
    pub(crate) fn crl(&self, issuer: &str, revoked: &[(&str, &str)]) -> String {
        self.write(&format!("{issuer}.index"), "");
        self.write(&format!("{issuer}.number"), "0A\n");
        self.write(
            &format!("{issuer}.cnf"),
            format!(
                "[ca]\ndefault_ca=d\n[d]\ndatabase={issuer}.index\ncrlnumber={issuer}.number\ndefault_md=sha256\ncrl_extensions=x\n[x]\nauthorityKeyIdentifier=keyid\n"
            ),
        );
        let base = format!("ca -config {issuer}.cnf -cert {issuer}.crt -keyfile {issuer}.key");
        for (id, reason) in revoked {
            self.openssl(&format!("{base} -revoke {id}.crt -crl_reason {reason}"));
        }
        self.openssl(&format!("{base} -gencrl -crldays 7 -out {issuer}.crl"));
        self.read(&format!("{issuer}.crl"))
    }

    /// A moment shortly after everything was made.
    pub(crate) fn now(&self) -> Timestamp {
        let text = self.openssl("x509 -in root.crt -noout -startdate -dateopt iso_8601");
        let start: Timestamp = text
            .trim()
            .trim_start_matches("notBefore=")
            .replace(' ', "T")
            .parse()
            .unwrap();
        start + jiff::SignedDuration::from_mins(10)
    }
}

pub(crate) const ISSUING_CA: &str = "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";
pub(crate) const CLIENT: &str = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\nauthorityKeyIdentifier=keyid\n";
pub(crate) const SERVER: &str = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\nsubjectAltName=DNS:mqtt.ak-sg.com,DNS:*.fleet.ak-sg.com,IP:10.0.80.50\ncrlDistributionPoints=URI:http://pki.ak-sg.com:9080/crl\nauthorityInfoAccess=OCSP;URI:http://pki.ak-sg.com:9080/ocsp,caIssuers;URI:http://pki.ak-sg.com:9080/ca\n";
