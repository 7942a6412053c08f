//! What `scripts/enroll-site.sh` is given, and what it finds: tokens as people paste them, files that are gone, are none or somebody
//! else's, directories with a colon, and a server that never stops talking. And the timetable that `docs/device.md` has for it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustls::{ServerConnection, StreamOwned};

use crate::common::{Muster, Running, text, tool, wait_for};
use crate::lines::fed;
use crate::living;
use crate::other_ca::{Authority, shown};
use crate::roots::{configure, create};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/enroll-site.sh");

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
        self.command_in("certs", url, name, token)
    }

    fn command_in(&self, dir: &str, url: &str, name: &str, token: &[&str]) -> Command {
        let mut command = Command::new("sh");
        let args = [SCRIPT, "-o", dir, name, url, &self.print];
        command.args(args).args(token).current_dir(self.muster.path());
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, name: &str, token: &[&str]) -> Output {
        self.command(&self.muster.url(), name, token).output().unwrap()
    }

    #[track_caller]
    fn ok(&self, name: &str, token: &[&str]) -> String {
        self.ok_in("certs", name, token)
    }

    #[track_caller]
    fn ok_in(&self, dir: &str, name: &str, token: &[&str]) -> String {
        let output = self
            .command_in(dir, &self.muster.url(), name, token)
            .output()
            .unwrap();
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
    let recovery = site.muster.json(&["device", "recover", "brief"]);
    let recovery = recovery["secret"].as_str().unwrap();
    assert!(site.refused("brief", &[recovery]).contains("had this key before"));
    std::fs::remove_file(certs.join("brief.key")).unwrap();
    site.ok("brief", &[recovery]);
}

/// What a directory holds.
fn look(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let all = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    all.map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect()
}

#[test]
fn what_belongs_to_another_ca_is_seen_before_the_token_is_used() {
    let (Some(site), Some(other)) = (Site::new(), Site::new()) else {
        return;
    };
    other.ok("site-1", &[&other.token(&["site-1"], "secret")]);
    let theirs = |name: &str| std::fs::read(other.muster.path().join("certs").join(name)).unwrap();
    let certs = site.muster.path().join("certs");
    std::fs::create_dir(&certs).unwrap();
    let secret = site.token(&["site-1"], "secret");
    let refused = |there: &[&str], which: &str| {
        for name in there {
            std::fs::write(certs.join(name), theirs(name)).unwrap();
        }
        let before = look(&certs);
        let said = site.refused("site-1", &[&secret]);
        let words = format!("certs/{which} belongs to another CA, and the token was not used");
        assert!(said.contains(&words), "{there:?}: {said}");
        assert_eq!(look(&certs), before, "{there:?}");
        std::fs::remove_dir_all(&certs).unwrap();
        std::fs::create_dir(&certs).unwrap();
        assert_eq!(site.muster.json(&["token", "list"])["items"][0]["used"], 0);
    };
    refused(&["ca.crt"], "ca.crt");
    refused(&["ca.crt", "site-1.crt", "site-1.key"], "ca.crt");
    refused(&["site-1.crt", "site-1.key"], "site-1.crt");
    // As it says, with another directory; and what a power cut has left as nothing belongs to nobody.
    std::fs::write(certs.join("ca.crt"), theirs("ca.crt")).unwrap();
    site.ok_in("elsewhere", "site-1", &[&secret]);
    std::fs::write(certs.join("ca.crt"), [0; 512]).unwrap();
    std::fs::write(certs.join("site-2.crt"), "\n").unwrap();
    site.ok("site-2", &[&site.token(&["site-2"], "secret")]);
    // This CA's are gone on with, whoever wrote them.
    std::fs::copy(site.muster.root(), certs.join("ca.crt")).unwrap();
    site.ok("site-3", &[&site.token(&["site-3"], "secret")]);
}

#[test]
fn another_authority_of_the_same_ca_is_no_other_ca() {
    let Some(mut site) = Site::new() else { return };
    create(&mut site.muster, &["apart", "--name", "Apart"]);
    configure(
        &mut site.muster,
        "[profile.apart]\nbase = \"client\"\nauthority = \"apart\"\n",
    );
    let token = |name: &str| site.token(&[name, "--profile", "apart"], "secret");
    // Cut off between the two renames: ca.crt is there, and holds another root than the fingerprint's.
    let bin = site.muster.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let mv = tool("mv").unwrap();
    let fails = format!(
        "#!/bin/sh\ncase $2 in */site-1.crt) exit 1 ;; esac\nexec {} \"$@\"\n",
        mv.display()
    );
    std::fs::write(bin.join("mv"), fails).unwrap();
    std::fs::set_permissions(bin.join("mv"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let first = token("site-1");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut cut = site.command(&site.muster.url(), "site-1", &[&first]);
    let cut = cut.env("PATH", path).output().unwrap();
    assert!(!cut.status.success());
    let certs = site.muster.path().join("certs");
    assert!(certs.join("ca.crt").exists() && !certs.join("site-1.crt").exists());
    site.ok("site-1", &[&first]);
    assert_eq!(living(&site.muster, "site-1").len(), 1);
    assert_eq!(site.ok("site-1", &[]), "");
    // One file cannot be right for both. That is known only once the CA has answered, and the key goes along.
    let second = site.token(&["site-2"], "secret");
    let before = std::fs::read(certs.join("ca.crt")).unwrap();
    let said = site.refused("site-2", &[&second]);
    assert!(
        said.contains("move certs/site-2.key to another directory"),
        "{said}"
    );
    assert_eq!(std::fs::read(certs.join("ca.crt")).unwrap(), before);
    let elsewhere = site.muster.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::rename(certs.join("site-2.key"), elsewhere.join("site-2.key")).unwrap();
    site.ok_in("elsewhere", "site-2", &[&second]);
    let third = token("site-3");
    std::fs::rename(certs.join("ca.crt"), certs.join("ca.crt.old")).unwrap();
    site.ok("site-3", &[&third]);
}

#[test]
fn a_directory_may_have_a_colon_in_its_name() {
    let Some(site) = Site::new() else { return };
    for dir in ["a:b", ":", "c::d/e:"] {
        let name = format!("site-{}", dir.len());
        let said = site.ok_in(dir, &name, &[&site.token(&[&name], "secret")]);
        assert!(!said.contains("was not told"), "{dir}: {said}");
        assert_eq!(site.ok_in(dir, &name, &[]), "", "{dir}");
    }
}

/// What the page tells to write into a timetable, for a site.
fn timetable(site: &str, folder: &Path, shell: &str) -> String {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/device.md")).unwrap();
    let from = page.find("    site=site-001\n").unwrap();
    let lines = page[from..].split("\n\n").next().unwrap();
    let lines = lines.replace("site=site-001", &format!("site={site}"));
    let lines = lines.replace("/etc/cron.d", folder.to_str().unwrap());
    assert!(!lines.contains("/etc/cron.d"));
    let status = Command::new(shell).args(["-euc", &lines]).status().unwrap();
    assert!(status.success());
    std::fs::read_to_string(folder.join("enroll-site")).unwrap()
}

#[test]
fn a_fleet_by_its_timetables_comes_over_the_whole_day() {
    let Some(site) = Site::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let shells = ["sh", "bash"].into_iter().filter_map(tool);
    let shells: Vec<_> = shells.map(|shell| shell.to_str().unwrap().to_owned()).collect();
    let (mut minutes, mut hours) = (BTreeMap::new(), BTreeMap::new());
    for number in 1..=240 {
        let name = format!("site-{number:03}");
        let line = timetable(&name, folder.path(), &shells[number % shells.len()]);
        let words: Vec<_> = line.split_whitespace().collect();
        let at = [words[0], words[1]].map(|word| word.parse::<u8>().unwrap());
        assert!(at[0] < 60 && at[1] < 24, "{line}");
        assert_eq!(words[2..6], ["*", "*", "*", "root"], "{line}");
        assert!(
            line.ends_with('\n') && !line.contains('%'),
            "cron takes it: {line}"
        );
        *minutes.entry(at).or_insert(0) += 1;
        *hours.entry(at[1]).or_insert(0) += 1;
    }
    assert!(minutes.values().all(|count| *count <= 4), "{minutes:?}");
    assert!(
        hours.len() == 24 && hours.values().all(|count| *count <= 24),
        "{hours:?}"
    );

    // What stands behind the user's name is a line that works.
    site.ok("site-001", &[&site.token(&["site-001"], "secret")]);
    let line = timetable("site-001", folder.path(), "sh");
    let line = line.trim_end().split_once(" root ").unwrap().1.trim_start();
    let certs = site.muster.path().join("certs");
    let line = line
        .replace("/etc/mosquitto/certs", certs.to_str().unwrap())
        .replace("https://ca.example.org:9000", &site.muster.url())
        .replace("3f1c…", &site.print)
        .replace("/usr/local/bin/enroll-site.sh", SCRIPT);
    let mut run = Command::new("sh");
    let output = run.args(["-c", &line]).stdin(Stdio::null()).output().unwrap();
    let said = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{line}: {said:?}");
    assert_eq!(said, (String::new(), String::new()), "nothing to mail: {line}");
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
