//! `/api/v1` and the command line, by every door: over HTTPS with API keys, through the socket, in one process.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

#[path = "../common/mod.rs"]
mod common;

mod at_once;
mod begin;
mod bounds;
mod brokers;
mod clones;
mod compromise;
mod configuration;
mod doors;
mod effects;
mod enrol;
mod fleet;
mod import;
mod life;
mod lists;
mod profiles;
mod provisioners;
mod rehearse;
mod replaced;
mod roles;
mod rollover;
mod roots;
mod second;
mod seeded;
mod shown_again;
mod tokens;

use std::process::Command;

use common::{Muster, text, tool};

/// A Muster that has a CA and does not run: commands run it in their own process.
fn without_server() -> Muster {
    let muster = Muster::stopped(&[]);
    muster.ok(&["init", "--yes", "--name", "Test", "--dns", "localhost,127.0.0.1"]);
    muster
}

/// The newest audit entry that somebody caused; what the server does by itself comes at any time.
fn last_act(muster: &Muster) -> serde_json::Value {
    let log = muster.json(&["audit", "list"]);
    let mut entries = log["items"].as_array().unwrap().iter();
    entries
        .find(|entry| entry["via"] != "internal")
        .cloned()
        .unwrap_or_default()
}

/// Runs openssl, which must succeed, in the story's directory. `None` if there is none.
#[track_caller]
fn openssl(muster: &Muster, line: &str) -> Option<String> {
    let output = Command::new(tool("openssl")?)
        .args(line.split_whitespace())
        .current_dir(muster.path())
        .output()
        .unwrap();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "openssl {line}: {said}");
    Some(said)
}
