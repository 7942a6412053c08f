//! What every story needs: a Muster of its own on loopback, programs from outside, and waiting with a bound.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may fail, and no story uses everything"
)]

pub mod https;
mod ports;
pub mod requester;
pub mod wire;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub use ports::free_port;

/// The program under test.
pub const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// A running Muster with a data directory of its own. Killed and removed at the end.
pub struct Muster {
    dir: tempfile::TempDir,
    server: Option<Child>,
    pub api: u16,
    pub public: u16,
    pub web: u16,
    /// What it is called.
    pub name: &'static str,
    /// Of the diagnosis listener, when it is on.
    pub diagnosis: u16,
    extra: Vec<String>,
}

impl Muster {
    /// Makes a CA called "Test" for `localhost` and serves it.
    pub fn start() -> Self {
        Self::start_with(&[], "")
    }

    /// The same with more flags for `up`, and with lines for `muster.toml`.
    pub fn start_with(flags: &[&str], toml: &str) -> Self {
        let mut muster = Self::stopped(flags);
        if !toml.is_empty() {
            std::fs::create_dir_all(muster.data()).unwrap();
            std::fs::write(muster.data().join("muster.toml"), toml).unwrap();
        }
        muster.serve();
        muster
    }

    /// A place for a Muster that does not run yet.
    pub fn stopped(flags: &[&str]) -> Self {
        let extra = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Self {
            dir: tempfile::tempdir().unwrap(),
            server: None,
            api: free_port(),
            public: free_port(),
            web: free_port(),
            name: "Test",
            diagnosis: free_port(),
            extra,
        }
    }

    /// Starts the server and waits until it answers.
    pub fn serve(&mut self) {
        let mut command = self.command(&["up", "--name", self.name, "--dns", "localhost,127.0.0.1"]);
        command.args(["--listen", &format!("127.0.0.1:{}", self.api)]);
        command.args(["--public-listen", &format!("127.0.0.1:{}", self.public)]);
        command.args(["--web-listen", &format!("127.0.0.1:{}", self.web)]);
        command.env("MUSTER_DIAGNOSIS_LISTEN", format!("127.0.0.1:{}", self.diagnosis));
        command.args(&self.extra);
        let log = std::fs::File::create(self.log_path()).unwrap();
        let mut child = command
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("muster starts");
        let url = format!("http://127.0.0.1:{}/healthz", self.public);
        wait_for("muster to answer", || {
            assert!(
                child.try_wait().unwrap().is_none(),
                "muster ended:\n{}",
                self.log()
            );
            http_get(&url).is_some()
        });
        self.server = Some(child);
    }

    /// Ends it as an operator does, and waits for it. Returns what it said.
    pub fn stop(&mut self) -> String {
        let mut child = self.server.take().expect("it runs");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = wait_for_child(&mut child, Duration::from_secs(60));
        assert!(status.success(), "muster ended with {status}:\n{}", self.log());
        self.log()
    }

    /// Ends it as a power cut does.
    pub fn kill(&mut self) {
        let mut child = self.server.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.server.as_ref().expect("it runs").id()
    }

    /// The temporary directory of this story; the data directory is `data` inside.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn root(&self) -> PathBuf {
        self.data().join("root_ca.crt")
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.api)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("muster.log")
    }

    /// A command line of this Muster, ready to run.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(MUSTER);
        command
            .args(args)
            .arg("--data")
            .arg(self.data())
            .current_dir(self.path())
            .stdin(Stdio::null());
        // Muster refuses variables that it does not know.
        command.env_remove("MUSTER_TEST_PYTHON");
        command
    }

    /// Runs a command; whatever comes of it.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that must end with 0 and returns what it printed on stdout.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(
            output.status.success(),
            "muster {args:?}: {}\n{}",
            output.status,
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// Runs a command that must end with this code and returns stdout and stderr.
    pub fn exits(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "muster {args:?}:\n{said}");
        said
    }

    /// Runs a command with `--json` that must end with 0.
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let mut args = args.to_vec();
        args.push("--json");
        serde_json::from_str(&self.ok(&args)).unwrap()
    }
}

impl Drop for Muster {
    fn drop(&mut self) {
        if let Some(mut child) = self.server.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- muster's log\n{}", self.log());
        }
    }
}

/// A child that is killed at the end.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits until something is true, for three minutes at most.
pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(180);
    while !done() {
        assert!(Instant::now() < end, "waited three minutes for {what}");
        pause();
    }
}

/// The only pause: between two looks at something outside that cannot call back.
#[allow(clippy::disallowed_methods, reason = "waiting for a condition with a bound")]
pub fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// Ends Erlang's name server, which leaves the group of the program that started it. It stays until it knows that no node is left.
pub fn end_epmd(port: u16) {
    for _ in 0..500 {
        let mut end = Command::new("epmd");
        end.args(["-port", &port.to_string(), "-kill"]);
        let _ = end.stdout(Stdio::null()).stderr(Stdio::null()).status();
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            return;
        }
        pause();
    }
}

pub fn wait_for_child(child: &mut Child, bound: Duration) -> std::process::ExitStatus {
    let end = Instant::now() + bound;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < end, "a program did not end within {bound:?}");
        pause();
    }
}

/// A program from outside, from `MUSTER_TEST_BIN` or the path; `None` says once that the test is skipped.
pub fn tool(name: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("MUSTER_TEST_BIN").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = cache.into_iter().collect();
    places.extend(std::env::split_paths(&path));
    places.extend(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let found = places
        .into_iter()
        .map(|place| place.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: needs {name}");
    }
    found
}

/// The Python of `MUSTER_TEST_PYTHON`, which needs these modules; `None` says once that the test is skipped.
pub fn python(modules: &[&str]) -> Option<PathBuf> {
    const MISSING: &str =
        "import sys, importlib.util as u; sys.exit(not all(map(u.find_spec, sys.argv[1:])))";
    let python = std::env::var_os("MUSTER_TEST_PYTHON").map(PathBuf::from);
    let has_them = |python: &PathBuf| {
        let asked = Command::new(python).args(["-c", MISSING]).args(modules).status();
        asked.is_ok_and(|status| status.success())
    };
    let found = python.filter(has_them);
    if found.is_none() {
        let modules = modules.join(" and ");
        eprintln!("skipped: needs MUSTER_TEST_PYTHON, a Python with {modules}");
    }
    found
}

/// A plain HTTP GET on loopback: the status and the body, if somebody answers.
pub fn http_get(url: &str) -> Option<(u16, Vec<u8>)> {
    use std::io::{Read, Write};
    let rest = url.strip_prefix("http://")?;
    let (host, path) = rest.split_once('/')?;
    let mut stream = std::net::TcpStream::connect(host).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(
        stream,
        "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let head_end = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let status = text(&answer[..head_end])
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()?;
    Some((status, answer[head_end..].to_vec()))
}
