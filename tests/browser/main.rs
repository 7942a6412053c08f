//! The GUI in a real browser: Debian's Chromium, driven by Playwright for Python, with axe-core as judge.
//!
//! Each story has a Muster and a browser of its own and is a function in `journeys.py`. `MUSTER_TEST_PYTHON` is the Python that has the
//! packages `playwright` and `axe-playwright-python`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

#[path = "../common/mod.rs"]
mod common;

use std::path::Path;
use std::process::Command;

use common::{MUSTER, Muster, python, text, tool};
use muster_server::web::Method;

#[test]
fn from_the_setup_link_to_a_client_that_is_shut_out() {
    let tools = ["mosquitto", "mosquitto_pub"];
    Journey::new("first_day", &tools).run();
}

/// On a roll-over, and with few certificates that need a second operator already, so that every page there is has its turn.
#[test]
fn every_page_is_fit_for_everybody() {
    let mut muster = Muster::start_with(&[], "[web]\nrevoke_limit = 1\nsecond_operator = true\n");
    muster.stop();
    muster.ok(&["ca", "rollover", "start"]);
    muster.serve();
    Journey::new("every_page", &[]).run_on(&muster);
}

#[test]
fn a_keyboard_is_enough() {
    Journey::new("by_keyboard", &[]).run();
}

#[test]
fn a_keyboard_is_enough_without_scripts() {
    Journey::new("by_keyboard_without_javascript", &[]).run();
}

#[test]
fn a_base_path_is_not_left() {
    let muster = Muster::start_with(&[], "[web]\nbase_path = \"/pki/\"\n");
    Journey::new("below_a_base_path", &[]).run_on(&muster);
}

/// With MUSTER_TEST_IMAGES set, the pictures of the documentation are made anew in that directory.
#[test]
fn a_fleet_that_renews_needs_nobody() {
    let profile =
        |name: &str, days: u8| format!("[profile.{name}]\nbase = \"client\"\ndefault = \"{days}d\"\n");
    let mut toml =
        "public_url = \"http://ca.ak-sg.com:9080\"\npassphrase_file = \"../passphrase\"\n".to_owned();
    for (name, days) in [("gateway", 25), ("pump", 18), ("meter", 11)] {
        toml.push_str(&profile(name, days));
    }
    let mut muster = Muster::stopped(&[]);
    std::fs::write(
        muster.path().join("passphrase"),
        "a passphrase that lies elsewhere",
    )
    .unwrap();
    std::fs::create_dir_all(muster.data()).unwrap();
    std::fs::write(muster.data().join("muster.toml"), toml).unwrap();
    muster.name = "AK-SG IoT";
    muster.serve();
    Journey::new("pictures", &[]).run_on(&muster);
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

    /// Runs it against a Muster that has just been made.
    fn run(&self) {
        self.run_on(&Muster::start());
    }

    /// Runs it, and fails with what it prints.
    #[allow(clippy::print_stderr, reason = "what a journey measures is shown")]
    fn run_on(&self, muster: &Muster) {
        let Some(chromium) = tool("chromium") else { return };
        let mut programs = Vec::new();
        for name in self.tools {
            let Some(path) = tool(name) else { return };
            programs.push((name.to_uppercase(), path));
        }
        let modules = ["playwright", "axe_playwright_python"];
        let Some(python) = python(&modules) else { return };
        let routes = muster_server::web::table().filter(|(method, ..)| *method == Method::Get);
        let routes: Vec<_> = routes.map(|(_, path, _)| path).collect();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/journeys.py");
        let output = Command::new(python)
            .args(["-B".as_ref(), script.as_os_str(), self.name.as_ref()])
            .env("CHROMIUM", chromium)
            .env("MUSTER", MUSTER)
            .env("DATA", muster.data())
            .env("API", muster.url())
            .env("ROUTES", routes.join("\n"))
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
