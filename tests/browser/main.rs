//! The GUI in a real browser: Debian's Chromium, driven by Playwright for Python, with axe-core as judge.
//!
//! Each story has a Muster and a browser of its own and is a function in `journeys.py`. `MUSTER_TEST_PYTHON` is the Python that has the
//! packages `playwright` and `axe-playwright-python`. With `MUSTER_TEST_IMAGES` set, the pictures of the documentation are made
//! anew in that directory.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

#[path = "../common/mod.rs"]
mod common;

use std::path::Path;
use std::process::Command;

use common::{MUSTER, Muster, text, tool};

#[test]
fn from_the_setup_link_to_a_client_that_is_shut_out() {
    let tools = ["mosquitto", "mosquitto_pub"];
    Journey::new("first_day", &tools).run();
}

#[test]
fn every_page_is_fit_for_everybody() {
    Journey::new("every_page", &[]).run();
}

#[test]
fn a_keyboard_is_enough() {
    Journey::new("by_keyboard", &[]).run();
}

#[test]
fn scripts_are_not_needed() {
    Journey::new("without_javascript", &[]).run();
}

#[test]
fn a_list_keeps_itself_up_to_date_and_is_sorted_by_keys() {
    Journey::new("live_list", &[]).run();
}

#[test]
fn what_a_page_shows_as_a_command_does_it() {
    Journey::new("shown_lines_work", &["curl"]).run();
}

/// A function of `journeys.py` and the programs that it needs beside the browser.
struct Journey<'a> {
    name: &'a str,
    tools: &'a [&'a str],
}

impl<'a> Journey<'a> {
    fn new(name: &'a str, tools: &'a [&'a str]) -> Self {
        Self { name, tools }
    }

    /// Runs it against a Muster that has just been made, and fails with what it prints.
    #[allow(
        clippy::print_stderr,
        reason = "what a journey measures is shown, and a test that is skipped says so"
    )]
    fn run(&self) {
        let Some(chromium) = tool("chromium") else { return };
        let mut programs = Vec::new();
        for name in self.tools {
            let Some(path) = tool(name) else { return };
            programs.push((name.to_uppercase(), path));
        }
        let Some(python) = std::env::var_os("MUSTER_TEST_PYTHON") else {
            eprintln!("skipped: needs MUSTER_TEST_PYTHON, a Python with the package playwright");
            return;
        };
        let muster = Muster::start();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/journeys.py");
        let output = Command::new(python)
            .args(["-B".as_ref(), script.as_os_str(), self.name.as_ref()])
            .env("CHROMIUM", chromium)
            .env("MUSTER", MUSTER)
            .env("DATA", muster.data())
            .env("API", muster.url())
            .env("PUBLIC", format!("http://127.0.0.1:{}", muster.public))
            .envs(programs)
            .current_dir(muster.path())
            .output()
            .unwrap();
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        eprintln!("{said}");
        assert!(output.status.success(), "{}: {}", self.name, output.status);
    }
}
