//! `muster-agent`, as `scripts/agent` builds it: how large it is, and that it does what `muster agent` does.
//!
//! `MUSTER_TEST_AGENT` is where it is.

use std::path::PathBuf;
use std::process::Command;

use crate::code;
use crate::common::{Running, text, tool, wait_for};
use crate::fleet::spawn;
use crate::mqtt::world;

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
    assert!(bytes <= MOST_BYTES, "{bytes} bytes");
    let Some((fleet, central)) = world() else { return };
    let muster = &fleet.muster;
    let dir = muster.path().join("device");
    let run = |args: &[&str]| {
        let mut command = Command::new(&agent);
        command.args(args).arg("--dir").arg(&dir);
        command
    };
    let enrolled = run(&["enrol", &code(muster, &["site-002"])]).output().unwrap();
    assert!(enrolled.status.success(), "{}", text(&enrolled.stderr));
    let renewed = run(&["renew"]).output().unwrap();
    assert!(renewed.status.success(), "{}", text(&renewed.stderr));
    let child = spawn(&mut run(&["run"]), &muster.path().join("agent.log"));
    wait_for("a plan", || {
        std::fs::read_to_string(dir.join("status.json")).is_ok_and(|text| text.contains("renew_at"))
    });
    let agent_kib = resident(&child);
    let broker = format!("localhost:{}", central.port);
    let log = muster.path().join("client.log");
    let client = spawn(&mut run(&["mqtt", "run", "--broker", &broker]), &log);
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    wait_for("the client", || said().contains("connected"));
    let client_kib = resident(&client);
    eprintln!(
        "measured: muster-agent: {bytes} bytes; resident when idle: {agent_kib} KiB, its MQTT client {client_kib} KiB"
    );
    assert!(agent_kib <= MOST_RESIDENT_KIB, "{agent_kib} KiB resident");
    assert!(client_kib <= MOST_RESIDENT_KIB, "{client_kib} KiB resident");
    let said = run(&["status"]).output().unwrap();
    assert!(
        said.status.success() && text(&said.stdout).contains("site-002"),
        "{}",
        text(&said.stderr)
    );
}

/// What a program has in memory, KiB.
fn resident(program: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.0.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
}
