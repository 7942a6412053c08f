//! `muster-agent`, as `scripts/agent` builds it: how large it is, and that it does what `muster agent` does.
//!
//! `MUSTER_TEST_AGENT` is where it is.

use std::path::PathBuf;
use std::process::Command;

use crate::code;
use crate::common::{Muster, text, tool, wait_for};
use crate::fleet::spawn;

/// On the disk, and in memory while it waits.
const MOST_BYTES: u64 = 6 << 20;
const MOST_RESIDENT_KIB: u64 = 8 << 10;

#[test]
fn the_agent_alone_is_small_and_needs_no_library() {
    let Some(agent) = std::env::var_os("MUSTER_TEST_AGENT").map(PathBuf::from) else {
        eprintln!("skipped: needs MUSTER_TEST_AGENT, what scripts/agent builds");
        return;
    };
    let bytes = std::fs::metadata(&agent).unwrap().len();
    if let Some(ldd) = tool("ldd") {
        let output = Command::new(ldd).arg(&agent).output().unwrap();
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(
            said.contains("statically linked") || said.contains("not a dynamic executable"),
            "{said}"
        );
    }
    let muster = Muster::start();
    let dir = muster.path().join("device");
    let run = |args: &[&str]| {
        let mut command = Command::new(&agent);
        command.args(args).arg("--dir").arg(&dir);
        command
    };
    let enrolled = run(&["enrol", &code(&muster, &["site-001"])]).output().unwrap();
    assert!(enrolled.status.success(), "{}", text(&enrolled.stderr));
    let renewed = run(&["renew"]).output().unwrap();
    assert!(renewed.status.success(), "{}", text(&renewed.stderr));
    let child = spawn(&mut run(&["run"]), &muster.path().join("agent.log"));
    wait_for("a plan", || dir.join("status.json").exists());
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.0.id())).unwrap();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let resident: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    eprintln!("measured: muster-agent: {bytes} bytes, {resident} KiB resident when idle");
    assert!(bytes <= MOST_BYTES, "{bytes} bytes");
    assert!(resident <= MOST_RESIDENT_KIB, "{resident} KiB resident");
    let said = run(&["status"]).output().unwrap();
    assert!(
        said.status.success() && text(&said.stdout).contains("site-001"),
        "{}",
        text(&said.stderr)
    );
}
