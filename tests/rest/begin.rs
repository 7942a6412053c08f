//! Beginning and ending: `init` anew, again, and with a CA that is there already; a graceful stop.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::https::Https;
use crate::common::requester::csr;
use crate::common::{MUSTER, Muster, text, tool, wait_for};
use crate::{openssl, without_server};

const INIT: [&str; 4] = ["init", "--yes", "--dns", "localhost"];

/// A root and an issuing CA as openssl makes them: `root.crt`, `root.key`, `issuing.crt`, `issuing.key`.
pub(crate) fn foreign_ca(muster: &Muster, root: &str, issuing: &str) -> Option<()> {
    openssl(
        muster,
        &format!(
            "req -x509 -newkey {root} -nodes -keyout root.key -out root.crt -days 3650 -subj /O=Elsewhere/CN=Elsewhere-Root \
             -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign"
        ),
    )?;
    openssl(
        muster,
        &format!(
            "req -new -newkey {issuing} -nodes -keyout issuing.key -out issuing.csr -subj /O=Elsewhere/CN=Elsewhere-Issuing"
        ),
    )?;
    let extensions = "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";
    std::fs::write(muster.path().join("ca.ext"), extensions).unwrap();
    openssl(
        muster,
        "x509 -req -in issuing.csr -CA root.crt -CAkey root.key -set_serial 4097 -days 1800 -extfile ca.ext -out issuing.crt",
    )?;
    Some(())
}

pub(crate) const P256: &str = "ec -pkeyopt ec_paramgen_curve:P-256";

#[test]
fn init_makes_a_ca_once_and_never_again() {
    let muster = without_server();
    let root = std::fs::read(muster.root()).unwrap();
    let fingerprint = muster.ok(&["ca", "fingerprint"]);
    let password = std::fs::read(muster.data().join("provisioner-password")).unwrap();
    let again = muster.ok(&["init", "--yes", "--name", "Another", "--provisioner", "other"]);
    assert_eq!(again, fingerprint);
    assert_eq!(std::fs::read(muster.root()).unwrap(), root);
    assert_eq!(
        std::fs::read(muster.data().join("provisioner-password")).unwrap(),
        password
    );
    // The copy for people is made again if somebody removed it.
    std::fs::remove_file(muster.root()).unwrap();
    assert_eq!(muster.ok(&INIT), fingerprint);
    assert_eq!(std::fs::read(muster.root()).unwrap(), root);
}

#[test]
fn init_without_a_terminal_wants_yes() {
    let muster = Muster::stopped(&[]);
    let said = muster.exits(2, &["init"]);
    assert!(said.contains("--yes"), "{said}");
    assert!(!muster.data().join("muster.db").exists());
}

#[test]
fn commands_without_a_ca_say_how_to_make_one() {
    let muster = Muster::stopped(&[]);
    for line in [&["status"][..], &["cert", "list"], &["serve"]] {
        let said = muster.exits(1, line);
        assert!(said.contains("muster init"), "{said}");
    }
}

#[test]
fn an_existing_root_and_its_key_get_an_issuing_ca_below() {
    for root in [P256, "ec -pkeyopt ec_paramgen_curve:P-384", "rsa:2048"] {
        let muster = Muster::stopped(&[]);
        if foreign_ca(&muster, root, P256).is_none() {
            return;
        }
        let line = [
            "--name",
            "Mine",
            "--root-cert",
            "root.crt",
            "--root-key",
            "root.key",
        ];
        muster.ok(&[&INIT[..], &line].concat());
        assert_eq!(
            std::fs::read(muster.root()).unwrap(),
            std::fs::read(muster.path().join("root.crt")).unwrap()
        );
        issues_and_verifies(&muster, true);
        muster.ok(&["ca", "rollover", "start"]);
    }
}

#[test]
fn an_existing_issuing_ca_is_taken_over_without_the_roots_key() {
    for issuing in [P256, "rsa:3072"] {
        let muster = Muster::stopped(&[]);
        if foreign_ca(&muster, P256, issuing).is_none() {
            return;
        }
        let line = [
            "--root-cert",
            "root.crt",
            "--issuing-cert",
            "issuing.crt",
            "--issuing-key",
            "issuing.key",
        ];
        muster.ok(&[&INIT[..], &line].concat());
        let subject = muster.json(&["ca", "show"])[0]["generations"][1]["subject"].clone();
        assert_eq!(subject, "Elsewhere-Issuing");
        issues_and_verifies(&muster, false);
        let todos = muster.json(&["status"])["todos"].to_string();
        assert!(todos.contains("no CRL here"), "{todos}");
    }
}

#[test]
fn encrypted_keys_are_opened_with_their_password() {
    let muster = Muster::stopped(&[]);
    if foreign_ca(&muster, P256, P256).is_none() {
        return;
    }
    std::fs::write(muster.path().join("password"), "correct horse\n").unwrap();
    openssl(
        &muster,
        "pkcs8 -topk8 -in issuing.key -out sealed.key -passout file:password",
    )
    .unwrap();
    let line = [
        "--root-cert",
        "root.crt",
        "--issuing-cert",
        "issuing.crt",
        "--issuing-key",
        "sealed.key",
    ];
    let said = muster.exits(2, &[&INIT[..], &line].concat());
    assert!(said.contains("--key-password-file"), "{said}");
    std::fs::write(muster.path().join("wrong"), "battery staple").unwrap();
    muster.exits(2, &[&INIT[..], &line, &["--key-password-file", "wrong"]].concat());
    muster.ok(&[&INIT[..], &line, &["--key-password-file", "password"]].concat());
    issues_and_verifies(&muster, false);
}

#[test]
fn a_ca_that_step_ca_made_is_taken_over() {
    let muster = Muster::stopped(&[]);
    let Some(step) = tool("step") else { return };
    std::fs::write(muster.path().join("password"), "correct horse").unwrap();
    let run = |line: &str| {
        let mut command = std::process::Command::new(&step);
        command
            .args(line.split_whitespace())
            .current_dir(muster.path())
            .env("STEPPATH", muster.path().join("step"));
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "step {line}: {}", text(&output.stderr));
    };
    run("certificate create Old-Root root.crt root.key --profile root-ca --password-file password");
    run(
        "certificate create Old-Issuing issuing.crt issuing.key --profile intermediate-ca --ca root.crt --ca-key root.key --ca-password-file password --password-file password",
    );
    let line = [
        "--root-cert",
        "root.crt",
        "--root-key",
        "root.key",
        "--issuing-cert",
        "issuing.crt",
        "--issuing-key",
        "issuing.key",
    ];
    let said = muster.exits(
        2,
        &[&INIT[..], &line, &["--key-password-file", "password"]].concat(),
    );
    assert!(
        said.contains("openssl pkcs8 -topk8"),
        "the old PEM encryption, and how to leave it: {said}"
    );
    for key in ["root", "issuing"] {
        if openssl(
            &muster,
            &format!("pkcs8 -topk8 -nocrypt -in {key}.key -out {key}.open -passin file:password"),
        )
        .is_none()
        {
            return;
        }
        std::fs::rename(
            muster.path().join(format!("{key}.open")),
            muster.path().join(format!("{key}.key")),
        )
        .unwrap();
    }
    muster.ok(&[&INIT[..], &line].concat());
    issues_and_verifies(&muster, true);
}

#[test]
fn a_ca_that_cannot_work_is_not_taken_and_leaves_nothing_behind() {
    let muster = Muster::stopped(&[]);
    if foreign_ca(&muster, P256, P256).is_none() {
        return;
    }
    let init = |code: i32, line: &[&str]| muster.exits(code, &[&INIT[..], line].concat());
    assert!(init(2, &["--root-cert", "root.crt"]).contains("--root-key"));
    assert!(init(2, &["--root-cert", "root.crt", "--root-key", "issuing.key"]).contains("not the key"));
    init(2, &["--root-cert", "root.key", "--root-key", "root.key"]);
    init(3, &["--root-cert", "missing.crt", "--root-key", "root.key"]);
    assert!(init(4, &["--root-cert", "issuing.crt", "--root-key", "issuing.key"]).contains("path length"));
    openssl(&muster, &format!("req -x509 -newkey {P256} -nodes -keyout other.key -out other.crt -subj /CN=Other -addext keyUsage=critical,keyCertSign,cRLSign")).unwrap();
    let crossed = [
        "--root-cert",
        "other.crt",
        "--issuing-cert",
        "issuing.crt",
        "--issuing-key",
        "issuing.key",
    ];
    assert!(init(4, &crossed).contains("did not sign"));
    openssl(&muster, &format!("req -x509 -newkey {P256} -nodes -keyout leaf.key -out leaf.crt -subj /CN=Leaf -addext basicConstraints=CA:FALSE")).unwrap();
    init(4, &["--root-cert", "leaf.crt", "--root-key", "leaf.key"]);
    // After all of that a good one can still be made.
    init(0, &["--root-cert", "root.crt", "--root-key", "root.key"]);
    issues_and_verifies(&muster, true);
}

/// A client's certificate that openssl verifies, with CRLs where there are both.
#[track_caller]
fn issues_and_verifies(muster: &Muster, root_crl: bool) {
    muster.ok(&[
        "cert", "issue", "site-001", "--kind", "client", "--out", "site-001",
    ]);
    muster.ok(&["ca", "root", "--out", "trusted.pem"]);
    muster.ok(&["ca", "crl", "--out", "issuing.crl"]);
    let mut line =
        "verify -x509_strict -CAfile trusted.pem -untrusted site-001/site-001.crt -CRLfile issuing.crl"
            .to_owned();
    line.push_str(if root_crl {
        " -crl_check_all -CRLfile root.crl"
    } else {
        " -crl_check"
    });
    if root_crl {
        muster.ok(&["ca", "crl", "--generation", "0", "--out", "root.crl"]);
    }
    openssl(
        muster,
        &format!("{line} -purpose sslclient site-001/site-001.crt"),
    );
    assert_eq!(muster.json(&["audit", "verify"])["intact"], true);
}

#[test]
fn a_second_authority_issues_what_a_profile_says() {
    let muster = without_server();
    if foreign_ca(&muster, P256, P256).is_none() {
        return;
    }
    let line = [
        "ca",
        "import",
        "elsewhere",
        "--root-cert",
        "root.crt",
        "--issuing-cert",
        "issuing.crt",
        "--issuing-key",
        "issuing.key",
    ];
    muster.ok(&line);
    muster.exits(2, &line);
    let file = muster.data().join("muster.toml");
    let toml = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        format!("{toml}\n[profile.plant]\nbase = \"client\"\nauthority = \"elsewhere\"\ndefault = \"7d\"\n"),
    )
    .unwrap();
    muster.ok(&["cert", "issue", "robot-1", "--kind", "plant", "--out", "robot-1"]);
    openssl(
        &muster,
        "verify -x509_strict -CAfile root.crt -untrusted issuing.crt robot-1/robot-1.crt",
    );
    muster.exits(5, &["device", "revoke", "robot-1", "--yes"]);
    assert_eq!(
        muster.json(&["ca", "crl", "--authority", "elsewhere"])["entries"],
        1
    );
    // A broker may trust both, and so may what it is given.
    muster.ok(&["ca", "crl", "--out", "all.pem"]);
    muster.ok(&["ca", "root", "--chain", "--out", "trust.pem"]);
    openssl(&muster, "verify -CAfile trust.pem robot-1/robot-1.crt");
    let refused = muster.run(&[
        "cert",
        "verify",
        "robot-1/robot-1.crt",
        "--ca",
        "trust.pem",
        "--crl",
        "all.pem",
    ]);
    let said = format!("{}{}", text(&refused.stdout), text(&refused.stderr));
    assert!(!refused.status.success() && said.contains("revoked"), "{said}");
}

/// As after a volume that is not mounted, or half of a restore.
#[test]
fn a_ca_that_has_lost_its_database_is_not_replaced() {
    let muster = without_server();
    let root = std::fs::read(muster.data().join("root_ca.crt")).unwrap();
    let database = muster.data().join("muster.db");
    for empty in [false, true] {
        let _ = std::fs::remove_file(&database);
        if empty {
            std::fs::write(&database, "").unwrap();
        }
        for line in [&["init", "--yes"][..], &["init", "--yes", "--dry-run"], &["up"]] {
            let said = muster.exits(1, line);
            assert!(
                said.contains("lost its database") && said.contains("backup"),
                "{said}"
            );
        }
    }
    assert_eq!(std::fs::read(muster.data().join("root_ca.crt")).unwrap(), root);
    assert!(muster.data().join("keys/default-issuing-1").exists() || muster.data().join("keys").exists());
    let aside = std::fs::read_dir(muster.data()).unwrap();
    let aside = aside.filter(|file| {
        file.as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains("unfinished")
    });
    assert_eq!(aside.count(), 0);
}

#[test]
fn a_graceful_stop_says_by_when_to_run_again() {
    let mut muster = Muster::start();
    muster.ok(&[
        "cert",
        "issue",
        "site-001",
        "--kind",
        "client",
        "--validity",
        "30d",
        "--out",
        "site-001",
    ]);
    let due = muster.json(&["status"])["first_renewal_due"]
        .as_str()
        .unwrap()
        .to_owned();
    let crl = muster.json(&["status"])["first_crl_ends"]
        .as_str()
        .unwrap()
        .to_owned();
    let said = muster.stop();
    assert!(said.contains("Stopped."), "{said}");
    assert!(said.contains(&format!("runs out on {crl}")), "{crl}: {said}");
    assert!(
        said.contains(&format!("due for renewal on {due}")),
        "{due}: {said}"
    );
    let first = due.min(crl);
    assert!(said.contains(&format!("Start it again before {first}")), "{said}");
    assert!(!muster.data().join("muster.sock").exists());
    muster.serve();
    muster.ok(&["status"]);
}

#[test]
fn a_graceful_stop_answers_what_is_in_flight() {
    let mut muster = Muster::start();
    let key = muster
        .ok(&["user", "create", "ci", "--role", "operator"])
        .trim()
        .to_owned();
    let https = Https::new(muster.api, &muster.root());
    let bearer = format!("Bearer {key}");
    let going = AtomicBool::new(true);
    let issued: Vec<String> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let (https, bearer, going) = (&https, &bearer, &going);
                scope.spawn(move || {
                    let mut issued = Vec::new();
                    for number in 0..2000 {
                        let body = serde_json::json!({ "csr": csr(&format!("flying-{client}-{number}")) });
                        let headers = [
                            ("authorization", bearer.as_str()),
                            ("content-type", "application/json"),
                        ];
                        match https.try_send(
                            "POST",
                            "/api/v1/certificates",
                            &headers,
                            body.to_string().as_bytes(),
                        ) {
                            Ok(answer) => issued.push(
                                answer.expect(200, "").json()["serial"]
                                    .as_str()
                                    .unwrap()
                                    .to_owned(),
                            ),
                            Err(why) => {
                                assert!(!going.load(Ordering::SeqCst) && is_refusal(&why), "{why:?}");
                                return issued;
                            }
                        }
                    }
                    issued
                })
            })
            .collect();
        wait_for("some certificates", || {
            muster.json(&["status"])["devices"].as_u64() > Some(20)
        });
        going.store(false, Ordering::SeqCst);
        muster.stop();
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });
    assert!(issued.len() > 10);
    let stored = muster.json(&["cert", "list", "--limit", "500"]).to_string();
    assert!(issued.iter().all(|serial| stored.contains(serial)));
}

/// Whether nobody took the connection, or it ended before a byte of an answer.
fn is_refusal(why: &std::io::Error) -> bool {
    use std::io::ErrorKind as Kind;
    [
        Kind::ConnectionRefused,
        Kind::ConnectionReset,
        Kind::UnexpectedEof,
        Kind::BrokenPipe,
    ]
    .contains(&why.kind())
}

#[test]
fn help_version_completion_and_manual_need_no_ca() {
    let output = |args: &[&str]| {
        std::process::Command::new(MUSTER)
            .args(args)
            .env_remove("MUSTER_TEST_PYTHON")
            .output()
            .unwrap()
    };
    for args in [
        &["--help"][..],
        &["--version"],
        &["completion", "bash"],
        &["man"],
        &["cert", "issue", "--help"],
    ] {
        let done = output(args);
        assert!(
            done.status.success() && !done.stdout.is_empty() && done.stderr.is_empty(),
            "{args:?}"
        );
    }
}

#[test]
fn what_cannot_be_written_is_an_error_and_not_a_defect() {
    for args in [&["completion", "bash"][..], &["man"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let done = std::process::Command::new(MUSTER)
            .args(args)
            .stdout(full)
            .output();
        let done = done.unwrap();
        assert_eq!(done.status.code(), Some(1), "{args:?}: {}", text(&done.stderr));
        assert!(text(&done.stderr).starts_with("error:"), "{}", text(&done.stderr));
    }
}
