//! What `cert issue` leaves on the disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::common::{text, tool};
use crate::fleet::{BROKER, Fleet, openssl};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_directory_holds_four_files_and_the_letter_has_the_configuration() {
    let Some(fleet) = Fleet::start() else { return };
    let printed = fleet.issue_broker();
    let dir = fleet.path(BROKER);
    let crt = format!("{BROKER}.crt");
    let key = format!("{BROKER}.key");
    assert_eq!(names(&dir), ["README.txt", "ca.crt", &crt, &key]);
    assert_eq!([mode(&dir.join(&key)), mode(&dir.join(&crt))], [0o600, 0o644]);
    let readme = fs::read_to_string(dir.join("README.txt")).unwrap();
    let lines: Vec<&str> = readme.lines().map(str::trim).collect();
    let kinds = printed.titles();
    assert!(
        ["Mosquitto", "EMQX 5", "HAProxy"]
            .iter()
            .all(|broker| kinds.iter().any(|kind| kind.starts_with(broker)))
    );
    for title in kinds {
        assert!(lines.contains(&title.as_str()), "{title} is not in the letter");
        for line in printed.text(&title).lines() {
            assert!(lines.contains(&line.trim()), "{line:?} is not in the letter");
        }
    }
}

#[test]
fn a_zip_has_the_folder_that_the_old_system_had() {
    let Some(fleet) = Fleet::start() else { return };
    let Some(unzip) = tool("unzip") else { return };
    fleet.muster.ok(&[
        "cert", "issue", "site-001", "--kind", "client", "--zip", "--out", "zip",
    ]);
    assert_eq!(names(&fleet.path("zip")), ["site-001-certs.zip"]);
    let zip = fleet.path("zip/site-001-certs.zip");
    assert_eq!(mode(&zip), 0o600);
    let listed = Command::new(&unzip).arg("-Z1").arg(&zip).output().unwrap();
    let mut members: Vec<String> = text(&listed.stdout).lines().map(str::to_owned).collect();
    members.sort();
    let expected =
        ["README.txt", "ca.crt", "site-001.crt", "site-001.key"].map(|name| format!("site-001/{name}"));
    assert_eq!(members, expected);
    let unpacked = fleet.path("unpacked");
    assert!(
        Command::new(unzip)
            .arg("-q")
            .arg(&zip)
            .arg("-d")
            .arg(&unpacked)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(mode(&unpacked.join("site-001/site-001.key")), 0o600);
    fleet.muster.ok(&[
        "cert",
        "verify",
        unpacked.join("site-001/site-001.crt").to_str().unwrap(),
    ]);
}

#[test]
fn openssl_reads_the_p12() {
    let Some(fleet) = Fleet::start() else { return };
    let password = fleet.path("password");
    fs::write(&password, "correct horse battery staple\n").unwrap();
    let secret = password.to_str().unwrap();
    fleet.issue(
        "site-001",
        &["--kind", "client", "--p12", "--p12-password-file", secret],
    );
    let p12 = fleet.file("site-001", "p12");
    assert_eq!(mode(&p12), 0o600);
    let pass = format!("file:{secret}");
    let (content, said) = openssl(&["pkcs12", "-in", p12.to_str().unwrap(), "-nodes", "-passin", &pass]);
    assert!(content, "{said}");
    assert_eq!(said.matches("BEGIN CERTIFICATE").count(), 3, "{said}");
    assert_eq!(said.matches("BEGIN PRIVATE KEY").count(), 1, "{said}");
    let wrong = openssl(&[
        "pkcs12",
        "-in",
        p12.to_str().unwrap(),
        "-nodes",
        "-passin",
        "pass:wrong",
    ]);
    assert!(!wrong.0);
}

#[test]
fn the_guide_shows_what_is_printed() {
    let Some(fleet) = Fleet::start() else { return };
    let guide = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/brokers.md")).unwrap();
    let lines: Vec<&str> = guide.lines().map(str::trim).collect();
    let sans = "mqtt.ak-sg.com,10.0.80.50,emqx.local";
    let server = fleet.issue(BROKER, &["--kind", "server", "--san", sans]);
    let site = fleet.issue("site-001", &["--kind", "client", "--broker", BROKER]);
    for printed in [server, site] {
        for title in printed
            .titles()
            .into_iter()
            .filter(|title| title != "Does it work?")
        {
            for line in printed.text(&title).lines() {
                assert!(lines.contains(&line.trim()), "docs/brokers.md lacks {line:?}");
            }
        }
    }
}
