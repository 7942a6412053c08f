//! What `scripts/enroll-site.sh` is given, and what it finds: tokens as people paste them, files that are gone or are none, and a server
//! that never stops talking.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use rustls::{ServerConnection, StreamOwned};

use crate::common::{Muster, Running, text, tool, wait_for};
use crate::lines::fed;
use crate::other_ca::{Authority, shown};

/// A CA, and where a site's files go.
struct Site {
    muster: Muster,
    print: String,
}

impl Site {
    fn new() -> Option<Self> {
        for name in ["curl", "openssl"] {
            tool(name)?;
        }
        let muster = Muster::start_with(
            &[],
            "[profile.brief]\nbase = \"client\"\nmin = \"1s\"\ndefault = \"2s\"\n",
        );
        let print = muster.ok(&["ca", "fingerprint"]).trim().to_owned();
        Some(Self { muster, print })
    }

    fn command(&self, url: &str, name: &str, token: &[&str]) -> Command {
        let mut command = Command::new("sh");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/enroll-site.sh");
        let args = [script, "-o", "certs", name, url, &self.print];
        command.args(args).args(token).current_dir(self.muster.path());
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, name: &str, token: &[&str]) -> Output {
        self.command(&self.muster.url(), name, token).output().unwrap()
    }

    #[track_caller]
    fn ok(&self, name: &str, token: &[&str]) -> String {
        let output = self.run(name, token);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    }

    #[track_caller]
    fn refused(&self, name: &str, token: &[&str]) -> String {
        let output = self.run(name, token);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "");
        text(&output.stderr)
    }

    fn token(&self, args: &[&str], what: &str) -> String {
        let made = self.muster.json(&[&["token", "create"], args].concat());
        made[what].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_token_may_be_given_as_people_paste_it() {
    let Some(site) = Site::new() else { return };
    // The whole line's code; on standard input with blanks around it and no end of line; and as the agent's file is.
    site.ok("site-1", &[&site.token(&["site-1"], "code")]);
    let typed = format!(" {}\r", site.token(&["site-2"], "secret"));
    let output = fed(site.command(&site.muster.url(), "site-2", &[]), typed.as_bytes());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let secret = site.token(&["site-3"], "secret");
    let output = fed(
        site.command(&site.muster.url(), "site-3", &["/dev/stdin"]),
        format!("{secret}\n").as_bytes(),
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn what_lies_there_is_looked_at_first() {
    let Some(site) = Site::new() else { return };
    let certs = site.muster.path().join("certs");
    let secret = site.token(&["site-1"], "secret");
    std::fs::create_dir_all(certs.join("site-1.crt")).unwrap();
    assert!(site.refused("site-1", &[&secret]).contains("is no file"));
    std::fs::remove_dir(certs.join("site-1.crt")).unwrap();
    site.ok("site-1", &[&secret]);
    // A timetable mails what is said: nothing, while there is nothing to do.
    assert_eq!(site.ok("site-1", &[]), "");
    let cas = std::fs::read_to_string(certs.join("ca.crt")).unwrap();
    std::fs::remove_file(certs.join("ca.crt")).unwrap();
    assert!(site.ok("site-1", &[]).contains("was gone and is there again"));
    assert_eq!(std::fs::read_to_string(certs.join("ca.crt")).unwrap(), cas);
    // An agent's directory is the agent's.
    std::fs::write(certs.join("agent.json"), "{}").unwrap();
    assert!(site.refused("site-1", &[]).contains("the agent renews"));
    let another = site.token(&["site-2"], "secret");
    assert!(
        site.refused("site-2", &[&another])
            .contains("an agent is at work")
    );
    std::fs::remove_file(certs.join("agent.json")).unwrap();
    site.ok("site-2", &[&another]);

    site.ok(
        "brief",
        &[&site.token(&["brief", "--profile", "brief"], "secret")],
    );
    // Who ran the line meanwhile would renew.
    wait_for("the end of a certificate", || {
        let mut holds = Command::new("openssl");
        holds.args(["x509", "-noout", "-checkend", "0", "-in"]);
        let said = holds.arg(certs.join("brief.crt")).output().unwrap();
        !said.status.success()
    });
    let said = site.refused("brief", &[]);
    assert!(said.contains("ended on"), "{said}");
    assert!(said.contains("muster device recover brief"), "{said}");
}

#[test]
fn several_at_once_in_one_directory_come_one_after_another() {
    let Some(site) = Site::new() else { return };
    if tool("flock").is_none() {
        return;
    }
    let certs = site.muster.path().join("certs");
    std::fs::create_dir(&certs).unwrap();
    let lock = std::fs::File::open(&certs).unwrap();
    lock.try_lock().unwrap();
    let token = site.token(&["site-1"], "secret");
    let logs: Vec<_> = (0..3)
        .map(|run| site.muster.path().join(format!("run-{run}.log")))
        .collect();
    let mut runs: Vec<_> = logs
        .iter()
        .map(|log| {
            let mut command = site.command(&site.muster.url(), "site-1", &[&token]);
            let command = command
                .stdout(Stdio::null())
                .stderr(std::fs::File::create(log).unwrap());
            Running(command.spawn().unwrap())
        })
        .collect();
    let read = |log| std::fs::read_to_string(log).unwrap();
    wait_for("all to wait", || {
        logs.iter().all(|log| read(log).contains("waiting: another"))
    });
    assert!(!certs.join("site-1.key").exists());
    drop(lock);
    for (run, log) in runs.iter_mut().zip(&logs) {
        assert!(run.0.wait().unwrap().success(), "{}", read(log));
    }
    let living = site.muster.json(&["cert", "list", "--status", "active"]);
    let living = living["items"].as_array().unwrap().iter();
    assert_eq!(living.filter(|row| row["device"] == "site-1").count(), 1);
}

#[test]
fn nobody_fills_the_disk_before_the_ca_is_known() {
    let Some(site) = Site::new() else { return };
    let stranger = shown(&Authority::root("Stranger", (-1, 100)));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(stranger.clone()).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            let chunk = [&b"10000\r\n"[..], &[b'x'; 0x10000], b"\r\n"].concat();
            while stream.write_all(&chunk).is_ok() {}
        }
    });
    let output = site.command(&url, "site-1", &["mt_x"]).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("sends more than an answer"), "{said}");
    assert!(!site.muster.path().join("certs/.site-1.enrolling").exists());
}
