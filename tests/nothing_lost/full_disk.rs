//! A disk without room: clear errors, reads go on, and so does everything else once there is room again.
//!
//! The disk is a small `tmpfs` in a mount namespace of its own, so the test runs itself again inside `unshare`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::common::requester::{Requester, csr, sign_body};
use crate::common::wire::{Dialer, Wire};
use crate::common::{Muster, http_get, text, tool, wait_for};

const TEST: &str = "full_disk::a_full_disk_is_said_clearly_and_survived";
/// Set in the inner run.
const INSIDE: &str = "MUSTER_TEST_IN_NAMESPACE";
/// What the disk holds: room for the database and its log, no more than is filled in a moment.
const SIZE: &str = "size=24m";
/// The log has room inside before it grows; sooner or later it must.
const MOST_UNTIL_FULL: usize = 3_000;

#[test]
fn a_full_disk_is_said_clearly_and_survived() {
    if std::env::var_os(INSIDE).is_some() {
        return story();
    }
    let Some(unshare) = tool("unshare") else { return };
    let flags = if rustix::process::geteuid().is_root() {
        "-m"
    } else {
        "-rm"
    };
    let mount = |target: &Path| {
        let script = format!("mount -t tmpfs -o {SIZE} none {}", target.display());
        Command::new(&unshare)
            .args([flags, "sh", "-c", &script])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let tried = mount(tempfile::tempdir().unwrap().path());
    if !tried.status.success() {
        return eprintln!(
            "skipped: needs to mount a small tmpfs: {}",
            text(&tried.stderr).trim()
        );
    }
    let mut again = Command::new(&unshare);
    again
        .arg(flags)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"]);
    let output = again.env(INSIDE, "1").stdin(Stdio::null()).output().unwrap();
    eprint!("{}", text(&output.stderr));
    assert!(output.status.success(), "{}", text(&output.stdout));
}

fn story() {
    let mut muster = Muster::stopped(&[]);
    let data = muster.data();
    std::fs::create_dir(&data).unwrap();
    let mount = ["-t", "tmpfs", "-o", &format!("{SIZE},mode=700"), "none"];
    assert!(
        Command::new("mount")
            .args(mount)
            .arg(&data)
            .status()
            .unwrap()
            .success()
    );
    muster.serve();
    let requester = Requester::of(&muster);
    let mut connection = Dialer::new(muster.api, &muster.root()).tls().unwrap();
    let mut sign = |subject: &str, body: &str| {
        let (status, answer) = connection
            .post("/sign", body)
            .unwrap_or_else(|why| panic!("{subject}: {why}"));
        (status, text(&answer))
    };
    let request = |subject: &str| sign_body(&csr(subject), &requester.token(subject));
    assert_eq!(sign("before", &request("before")).0, 201);

    // Full: requests are refused with a status that says "later" and words that say why.
    fill(&data.join("filler"));
    let mut issued = 1;
    let (name, refused, (status, answer)) = (0..MOST_UNTIL_FULL)
        .find_map(|number| {
            let name = format!("site-{number}");
            let body = request(&name);
            let answer = sign(&name, &body);
            issued += usize::from(answer.0 == 201);
            (answer.0 != 201).then_some((name, body, answer))
        })
        .expect("a full disk is noticed");
    assert_eq!(status, 503, "{answer}");
    let problem: Value = serde_json::from_str(&answer).unwrap();
    assert!(problem["message"].as_str().unwrap().contains("full"), "{answer}");

    // Reads go on.
    assert_eq!(
        http_get(&format!("http://127.0.0.1:{}/healthz", muster.public))
            .unwrap()
            .0,
        200
    );
    let get = |path: &str| {
        Dialer::new(muster.api, &muster.root())
            .tls()
            .unwrap()
            .get(path)
            .unwrap()
    };
    for (path, status) in [("/crl", 200), ("/roots", 201), ("/health", 503), ("/readyz", 503)] {
        let (answered, body) = get(path);
        assert_eq!(answered, status, "{path}: {}", text(&body));
    }
    let mut local = Wire::local(&data).unwrap();
    let (status, page) = local.get("/api/v1/certificates?limit=500&device=before").unwrap();
    let page: Value = serde_json::from_slice(&page).unwrap();
    assert_eq!(
        (status, page["items"].as_array().unwrap().len()),
        (200, 1),
        "{page}"
    );

    // It goes on by itself, and the refused token was not spent.
    std::fs::remove_file(data.join("filler")).unwrap();
    let (status, answer) = sign(&name, &refused);
    assert_eq!(status, 201, "{answer}");
    wait_for("it to be ready again", || get("/readyz").0 == 200);
    assert_eq!(sign("after", &request("after")).0, 201);
    assert_eq!(muster.json(&["audit", "verify"])["intact"], true);

    // And after a power cut, too.
    muster.kill();
    muster.serve();
    assert_eq!(muster.json(&["audit", "verify"])["intact"], true);

    // Without a server, too: commands read, an act is refused, and the next one goes through.
    drop(muster.stop());
    fill(&data.join("filler"));
    let found = muster.json(&["cert", "list", "--device", "before"]);
    assert_eq!(found["items"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!(muster.json(&["audit", "verify"])["intact"], true);
    let refused = muster.run(&["device", "create", "site-late"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("full"),
        "{}",
        text(&refused.stderr)
    );
    std::fs::remove_file(data.join("filler")).unwrap();
    assert!(muster.run(&["device", "create", "site-late"]).status.success());
    eprintln!("measured: {issued} certificates before the full disk was felt");
    // The namespace goes with this process; the directory is removed before.
    assert!(Command::new("umount").arg(&data).status().unwrap().success());
}

/// Writes until nothing fits any more.
fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).unwrap();
    for size in [1 << 20, 1 << 12, 1] {
        let part = vec![0; size];
        while file.write_all(&part).is_ok() {}
    }
}
