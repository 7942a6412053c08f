//! `scripts/enroll-site.sh` on a machine that has nothing but a shell, curl and openssl.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common::{Muster, text, tool};
use crate::{living, mode};

/// What a bare Debian has of what the script needs.
const PROGRAMS: [&str; 12] = [
    "sh", "curl", "openssl", "sed", "mktemp", "mkdir", "mv", "rm", "cat", "tr", "chmod", "sync",
];

/// A root directory with these programs, what they are linked with, and the script.
fn bare_root(muster: &Muster) -> Option<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root for chroot");
        return None;
    }
    let (chroot, root) = (tool("chroot")?, muster.path().join("bare"));
    drop(chroot);
    let copy = |from: &Path| {
        let to = root.join(from.strip_prefix("/").unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    };
    let mut libraries = BTreeSet::new();
    for name in PROGRAMS {
        let program = tool(name)?;
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::copy(
            std::fs::canonicalize(&program).unwrap(),
            root.join("bin").join(name),
        )
        .unwrap();
        let linked = Command::new("ldd").arg(&program).output().unwrap();
        let words = text(&linked.stdout);
        let paths = words.split_whitespace().filter(|word| word.starts_with('/'));
        libraries.extend(paths.map(PathBuf::from));
    }
    libraries.iter().for_each(|library| copy(library));
    for dir in ["tmp", "etc", "dev"] {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    std::fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
    std::fs::write(root.join("dev/null"), "").unwrap();
    for config in ["/etc/ssl/openssl.cnf", "/usr/lib/ssl/openssl.cnf"] {
        if Path::new(config).is_file() {
            copy(Path::new(config));
        }
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/enroll-site.sh");
    std::fs::copy(script, root.join("enroll-site.sh")).unwrap();
    Some(root)
}

fn run(root: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(tool("chroot").unwrap());
    command.arg(root).args(["/bin/sh", "/enroll-site.sh"]).args(args);
    command.env_clear().env("PATH", "/bin").output().unwrap()
}

#[test]
fn a_site_enrols_with_a_shell_curl_and_openssl() {
    let muster = Muster::start();
    let Some(root) = bare_root(&muster) else { return };
    let url = muster.url();
    let fingerprint = muster.ok(&["ca", "fingerprint"]);
    let made = muster.json(&["token", "create", "site-001"]);
    let secret = made["secret"].as_str().unwrap();
    std::fs::write(root.join("token"), format!("{secret}\r\n")).unwrap();
    let args = |token| ["-o", "/certs", "site-001", &url, fingerprint.trim(), token].map(str::to_owned);
    let as_words = |args: &[String]| run(&root, &args.iter().map(String::as_str).collect::<Vec<_>>());

    let mut wrong = args(secret);
    wrong[4] = "0".repeat(64);
    let said = as_words(&wrong);
    assert_eq!(said.status.code(), Some(1), "{}", text(&said.stderr));
    assert!(text(&said.stderr).contains("does not show the root with this fingerprint"));
    assert_eq!(muster.json(&["token", "list"])["items"][0]["used"], 0);

    let quoted = format!("{secret}\"");
    for (bad, words) in [("/tokne", "there is none"), (&quoted, "was not copied as it is")] {
        let said = as_words(&args(bad));
        assert_eq!(said.status.code(), Some(1), "{}", text(&said.stderr));
        assert!(text(&said.stderr).contains(words), "{}", text(&said.stderr));
        assert!(!text(&said.stderr).contains(bad), "{}", text(&said.stderr));
    }

    // A key that is not on the disk is shown to nobody.
    let sync = root.join("bin/sync");
    let kept = std::fs::read(&sync).unwrap();
    std::fs::write(&sync, "#!/bin/sh\nexit 1\n").unwrap();
    let said = as_words(&args("/token"));
    assert_eq!(said.status.code(), Some(1), "{}", text(&said.stderr));
    assert!(
        text(&said.stderr).contains("cannot write to the disk"),
        "{}",
        text(&said.stderr)
    );
    assert_eq!(muster.json(&["token", "list"])["items"][0]["used"], 0);
    std::fs::write(&sync, kept).unwrap();

    // From a file, then again by value: the second time there is nothing left to do.
    for token in ["/token", secret] {
        let said = as_words(&args(token));
        assert!(said.status.success(), "{}", text(&said.stderr));
        assert!(
            text(&said.stdout).contains("bridge_certfile /certs/site-001.crt"),
            "{}",
            text(&said.stdout)
        );
        assert!(!text(&said.stderr).contains(secret));
    }
    let certs = root.join("certs");
    assert_eq!(mode(&certs.join("site-001.key")), 0o600);
    assert_eq!(living(&muster, "site-001").len(), 1);
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
    // A recovery code is for another key: a copy may have this one.
    let recovery = muster.json(&["device", "recover", "site-001"]);
    let recovery = args(recovery["secret"].as_str().unwrap());
    let said = as_words(&recovery);
    assert_eq!(said.status.code(), Some(1), "{}", text(&said.stderr));
    assert!(
        text(&said.stderr).contains("mv /certs/site-001.key /certs/site-001.key.old, and run this again"),
        "{}",
        text(&said.stderr)
    );
    std::fs::rename(certs.join("site-001.key"), certs.join("site-001.key.old")).unwrap();
    let said = as_words(&recovery);
    assert!(said.status.success(), "{}", text(&said.stderr));
    assert_eq!(living(&muster, "site-001").len(), 1);
    // Another machine with the same token.
    std::fs::rename(&certs, root.join("first")).unwrap();
    let said = as_words(&args(secret));
    assert_eq!(said.status.code(), Some(1));
    assert!(
        text(&said.stderr).contains("has been used 1 of 1 times"),
        "{}",
        text(&said.stderr)
    );
    let left = std::fs::read_dir(&certs)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert_eq!(
        left.collect::<Vec<_>>(),
        ["site-001.key"],
        "nothing but the key, for the next try"
    );
    for bad in [
        vec!["-x"],
        vec!["site-001"],
        vec!["Bad Name", &url, fingerprint.trim(), secret],
    ] {
        assert!(!run(&root, &bad).status.success(), "{bad:?}");
    }
}
