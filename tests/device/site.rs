//! `scripts/enroll-site.sh` on a machine that has nothing but a shell, curl and openssl.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use crate::common::{Muster, text, tool, wait_for};
use crate::fleet::openssl;
use crate::other_ca::{Authority, Scene, serve, shown};
use crate::{living, mode};

/// What a bare Debian has of what the script needs.
const PROGRAMS: [&str; 13] = [
    "sh", "curl", "openssl", "sed", "mkdir", "mv", "cp", "rm", "cat", "tr", "expr", "chmod", "sync",
];

/// A root directory with these programs, what they are linked with, and the script.
fn bare_root(place: &Path) -> Option<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root for chroot");
        return None;
    }
    let (chroot, root) = (tool("chroot")?, place.join("bare"));
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
    let Some(root) = bare_root(muster.path()) else {
        return;
    };
    let url = muster.url();
    let fingerprint = muster.ok(&["ca", "fingerprint"]);
    let made = muster.json(&["token", "create", "site-001"]);
    let secret = made["secret"].as_str().unwrap();
    std::fs::write(root.join("token"), format!("{secret}\r\n")).unwrap();
    let args = |token: &str| ["-o", "/certs", "site-001", &url, fingerprint.trim(), token].map(str::to_owned);
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

    // What another CA's ca.crt is there for goes on.
    let foreign = root.join("certs/ca.crt");
    let path = foreign.to_str().unwrap();
    let make = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ];
    let (made, said) = openssl(
        &[
            &make[..],
            &["-subj", "/CN=Another", "-keyout", "/dev/null", "-out", path],
        ]
        .concat(),
    );
    assert!(made, "{said}");
    let before = std::fs::read(&foreign).unwrap();
    let said = as_words(&args("/token"));
    assert_eq!(said.status.code(), Some(1), "{}", text(&said.stderr));
    assert!(
        text(&said.stderr).contains("belongs to another CA"),
        "{}",
        text(&said.stderr)
    );
    assert_eq!(std::fs::read(&foreign).unwrap(), before);
    assert!(!root.join("certs/site-001.crt").exists());
    std::fs::remove_file(foreign).unwrap();

    // What a run that was cut off has left.
    let left = root.join("certs/.site-001.enrolling");
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("key"), "").unwrap();
    // From a file, then again by value, options behind: the second time there is nothing left to do.
    let mut behind = args(secret).to_vec();
    behind.rotate_left(2);
    behind.extend(["-v", "1h"].map(str::to_owned));
    for words in [args("/token").to_vec(), behind] {
        let said = as_words(&words);
        assert!(said.status.success(), "{}", text(&said.stderr));
        assert!(
            text(&said.stdout).contains("bridge_certfile /certs/site-001.crt"),
            "{}",
            text(&said.stdout)
        );
        assert!(
            text(&said.stdout).contains("chgrp mosquitto \"/certs/site-001.key\" && chmod 640"),
            "{}",
            text(&said.stdout)
        );
        assert!(!text(&said.stderr).contains(secret));
        let told = text(&said.stderr).contains("-v does nothing here");
        assert_eq!(told, words.contains(&"-v".to_owned()));
        assert!(!left.exists());
    }
    let certs = root.join("certs");
    assert_eq!(mode(&certs.join("site-001.key")), 0o600);
    // Mosquitto runs as a user of its own.
    for open in ["", "ca.crt", "site-001.crt"] {
        assert_eq!(mode(&certs.join(open)) & 0o444, 0o444, "{open}");
    }
    assert_eq!(mode(&certs), 0o755);
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
    // A certificate that is there is none that may be renewed: only what the CA says of this token and key counts.
    for wrong in [
        format!("mt_{}", "x".repeat(43)),
        secret.to_uppercase().replacen("MT_", "mt_", 1),
    ] {
        let said = as_words(&args(&wrong));
        assert_eq!(said.status.code(), Some(1), "{}", text(&said.stderr));
        assert!(
            text(&said.stderr).contains("is not known here"),
            "{}",
            text(&said.stderr)
        );
    }
    muster.exits(5, &["device", "suspend", "site-001"]);
    let said = as_words(&args(secret));
    assert_eq!(said.status.code(), Some(1), "{}", text(&said.stderr));
    assert!(
        text(&said.stderr).contains("is suspended"),
        "{}",
        text(&said.stderr)
    );
    muster.exits(5, &["device", "resume", "site-001"]);
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
        vec!["ca", &url, fingerprint.trim(), secret],
        vec!["site-001", &url, fingerprint.trim(), secret, "-o"],
    ] {
        assert!(!run(&root, &bad).status.success(), "{bad:?}");
    }
    muster.exits(5, &["device", "revoke", "site-001", "--yes"]);
    let _ = std::fs::remove_dir_all(&certs);
    std::fs::rename(root.join("first"), &certs).unwrap();
    let said = as_words(&recovery);
    assert_eq!(said.status.code(), Some(1), "{}", text(&said.stderr));
    assert!(
        text(&said.stderr).contains("is revoked"),
        "{}",
        text(&said.stderr)
    );
}

#[test]
fn a_site_renews_with_a_shell_curl_and_openssl() {
    let muster = Muster::start_with(
        &[],
        "[profile.brief]\nbase = \"client\"\nmin = \"1s\"\ndefault = \"90s\"\n",
    );
    let Some(root) = bare_root(muster.path()) else {
        return;
    };
    let (url, print) = (muster.url(), muster.ok(&["ca", "fingerprint"]));
    let made = muster.json(&["token", "create", "site-001", "--profile", "brief"]);
    let line = ["-o", "/certs", "site-001", &url, print.trim()];
    let enrolled = run(&root, &[&line[..], &[made["secret"].as_str().unwrap()]].concat());
    assert!(enrolled.status.success(), "{}", text(&enrolled.stderr));
    let certs = root.join("certs");
    let read = |name: &str| std::fs::read_to_string(certs.join(name)).unwrap();
    let renews = || {
        let said = run(&root, &line);
        assert!(said.status.success(), "{}", text(&said.stderr));
        assert!(text(&said.stdout).contains("bridge_certfile /certs/site-001.crt"));
        text(&said.stderr)
    };
    // For Mosquitto's group, as the printed configuration says.
    let open = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(certs.join("site-001.key"), open).unwrap();
    let (before, old_key) = (read("site-001.crt"), read("site-001.key"));
    let said = renews();
    assert_eq!(said, "", "nothing to say until it is time");
    assert_eq!(
        (read("site-001.crt"), read("site-001.key")),
        (before.clone(), old_key.clone())
    );
    // Another root is believed by nobody's word but that of one that is there.
    let ours = read("ca.crt");
    let others = Authority::root("Another", (-1, 100)).pem();
    std::fs::write(certs.join("ca.crt"), &others).unwrap();
    wait_for("the day on which it renews", || {
        text(&run(&root, &line).stderr).contains("none in /certs/ca.crt vouches for it")
    });
    assert_eq!((read("ca.crt"), read("site-001.crt")), (others, before.clone()));
    std::fs::write(certs.join("ca.crt"), ours).unwrap();
    assert!(renews().contains("has renewed"));
    assert_ne!(read("site-001.crt"), before);
    assert_ne!(read("site-001.key"), old_key);
    assert_eq!(mode(&certs.join("site-001.key")), 0o640);
    assert_eq!(
        living(&muster, "site-001").len(),
        1,
        "the one before is superseded"
    );
    // The power failed between the certificate and its key.
    std::fs::rename(certs.join("site-001.key"), certs.join("site-001.key.next")).unwrap();
    std::fs::write(certs.join("site-001.key"), &old_key).unwrap();
    renews();
    assert!(!certs.join("site-001.key.next").exists());
    assert_ne!(read("site-001.key"), old_key);
    // Another key is none, and whom the CA shuts out hears that.
    let key = read("site-001.key");
    std::fs::write(certs.join("site-001.key"), &old_key).unwrap();
    let said = run(&root, &line);
    assert!(
        text(&said.stderr).contains("is not the key of"),
        "{}",
        text(&said.stderr)
    );
    std::fs::write(certs.join("site-001.key"), key).unwrap();
    muster.exits(5, &["device", "suspend", "site-001"]);
    let said = run(&root, &line);
    assert_eq!(said.status.code(), Some(1));
    assert!(
        text(&said.stderr).contains("is suspended"),
        "{}",
        text(&said.stderr)
    );
}

/// A CA that this machine believes in all else, as curl and openssl find it.
fn believed_by_the_machine(root: &Path, authority: &Authority) {
    let certs = root.join("etc/ssl/certs");
    std::fs::create_dir_all(&certs).unwrap();
    std::fs::create_dir_all(root.join("usr/lib/ssl")).unwrap();
    std::os::unix::fs::symlink("/etc/ssl/certs", root.join("usr/lib/ssl/certs")).unwrap();
    let file = certs.join("public.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let mut openssl = Command::new(tool("openssl").unwrap());
    let hash = openssl
        .args(["x509", "-noout", "-hash", "-in"])
        .arg(&file)
        .output()
        .unwrap();
    std::fs::copy(&file, certs.join(format!("{}.0", text(&hash.stdout).trim()))).unwrap();
}

#[test]
fn nobody_but_the_root_of_the_fingerprint_is_believed() {
    let place = tempfile::tempdir().unwrap();
    let Some(root) = bare_root(place.path()) else {
        return;
    };
    let (ours, public) = (
        Authority::root("Ours", (-1, 100)),
        Authority::root("Public", (-1, 100)),
    );
    let [issuing, stranger] = [&ours, &public].map(|root| Arc::new(root.below("Issuing")));
    believed_by_the_machine(&root, &public);
    let scene = Arc::new(Mutex::new(Scene::new(&stranger, ours.pem())));
    let port = serve(scene.clone(), &root.join("certs/ca.crt"));
    let change = |change: &dyn Fn(&mut Scene)| change(&mut scene.lock().unwrap());
    let print = ours.fingerprint();
    let ask = |host: &str| {
        let url = format!("https://{host}:{port}");
        let said = run(&root, &["-o", "/certs", "site-001", &url, &print, "mt_secret"]);
        (said.status.code(), text(&said.stderr))
    };
    let refused = |why: &str, words: &str, host: &str| {
        let (code, said) = ask(host);
        assert_eq!(code, Some(1), "{why}: {said}");
        assert!(said.contains(words), "{why}: {said}");
        assert!(!root.join("certs/ca.crt").exists(), "{why}");
        assert!(!root.join("certs/site-001.crt").exists(), "{why}");
    };
    // With nothing but a file of roots, curl would believe it: the machine does.
    let mut curl = Command::new(tool("chroot").unwrap());
    curl.arg(&root)
        .args(["/bin/curl", "-sS", "--cacert", "/ours.pem"]);
    curl.arg(format!("https://localhost:{port}/"));
    std::fs::write(root.join("ours.pem"), ours.pem()).unwrap();
    let believed = curl.output().unwrap();
    assert!(believed.status.success(), "{}", text(&believed.stderr));
    let heard = || {
        let mut heard = std::mem::take(&mut scene.lock().unwrap().heard);
        // Who hangs up has said nothing.
        heard.retain(|path| !path.is_empty());
        heard
    };
    heard();

    let not_shown = "does not show a certificate of this root";
    refused("a CA of the machine", not_shown, "localhost");
    change(&|scene| scene.roots = ours.pem() + &public.pem());
    refused("one beside the root", not_shown, "localhost");
    change(&|scene| scene.tls = shown(&issuing));
    refused("another name", not_shown, "127.0.0.1");
    assert_eq!(
        heard(),
        vec![format!("/root/{print}"); 3],
        "nothing else was sent"
    );

    change(&|scene| scene.roots = ours.pem());
    refused(
        "what another CA has issued",
        "no certificate of its root",
        "localhost",
    );
    assert!(scene.lock().unwrap().confirmed.is_empty());
    for (answer, words) in [
        ((502, "<html>"), "answered 502, and not as a CA does"),
        (
            (403, r#"{"status":403,"message":"it is \"no\" and\/or never"}"#),
            r#"it is "no" and/or never"#,
        ),
    ] {
        change(&|scene| scene.refusal = Some(answer));
        refused("a refusal", words, "localhost");
    }
    change(&|scene| (scene.refusal, scene.issuing) = (None, issuing.clone()));
    let (code, said) = ask("localhost");
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(scene.lock().unwrap().confirmed, [ours.pem() + &issuing.pem()]);
}
