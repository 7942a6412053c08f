//! HAProxy's runtime API (HAProxy Management Guide, section 9.3): one command in, one answer out, on a Unix socket.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::Error;

/// How long an answer may take, and how long it may be: a list of a million serial numbers.
const ANSWER: Duration = Duration::from_secs(10);
const MAX_ANSWER: u64 = 128 << 20;
/// Commands that go together on one line; HAProxy takes no line longer than its buffer, 16 KiB unless told.
const TOGETHER: usize = 32;

/// The socket.
#[derive(Debug)]
pub(super) struct Runtime {
    socket: PathBuf,
}

impl Runtime {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Brings the list of serial numbers that HAProxy has in memory to what it has to be.
    pub(super) async fn list(&self, path: &Path, serials: &BTreeSet<String>) -> Result<(), Error> {
        let path = path.display();
        let shown = self.ask(&format!("show acl {path}\n")).await?;
        // Each line is an address and the entry.
        let known = shown.lines().filter_map(|line| line.split_whitespace().nth(1));
        let known: BTreeSet<String> = known.map(str::to_owned).collect();
        if shown.contains("Unknown ACL") {
            return Err(Error::new(format!(
                "HAProxy reads no list {path} (its configuration has to be what `muster broker run --print-config` prints)"
            )));
        }
        let add = serials
            .difference(&known)
            .map(|serial| format!("add acl {path} {serial}"));
        let remove = known
            .difference(serials)
            .map(|serial| format!("del acl {path} {serial}"));
        let commands: Vec<String> = add.chain(remove).collect();
        for some in commands.chunks(TOGETHER) {
            let answer = self.ask(&format!("{}\n", some.join(";"))).await?;
            if !answer.trim().is_empty() {
                return Err(Error::new(format!(
                    "HAProxy does not take the list {path}: {}",
                    short(&answer)
                )));
            }
        }
        Ok(())
    }

    /// Replaces a file that HAProxy has in memory. `kind` is `crl-file` or `ca-file`.
    pub(super) async fn replace(&self, kind: &str, path: &Path, pem: &str) -> Result<(), Error> {
        let path = path.display();
        // An empty line ends what is sent.
        let lines: Vec<&str> = pem.lines().filter(|line| !line.trim().is_empty()).collect();
        let answer = self
            .ask(&format!("set ssl {kind} {path} <<\n{}\n\n", lines.join("\n")))
            .await?;
        let committed = if answer.contains("ransaction created") || answer.contains("ransaction updated") {
            self.ask(&format!("commit ssl {kind} {path}\n")).await?
        } else {
            answer
        };
        if committed.contains("Success!") {
            return Ok(());
        }
        let _ = self.ask(&format!("abort ssl {kind} {path}\n")).await;
        let why = if committed.trim().is_empty() {
            format!(
                "it is too long (in HAProxy's global section, set tune.bufsize to {} or more, and reload HAProxy)",
                (pem.len() + pem.len() / 2).next_power_of_two()
            )
        } else {
            short(&committed)
        };
        Err(Error::new(format!("HAProxy does not take {path}: {why}")))
    }

    /// Whether the certificate that it shows from this file has this serial number.
    pub(super) async fn shows(&self, path: &Path, serial: &str) -> Result<bool, Error> {
        let shown = self.ask(&format!("show ssl cert {}\n", path.display())).await?;
        let known = shown.lines().find_map(|line| line.strip_prefix("Serial: "));
        Ok(known.is_some_and(|known| known.trim() == serial))
    }

    /// How many connections it has.
    pub(super) async fn connections(&self) -> Option<u64> {
        let info = self.ask("show info\n").await.ok()?;
        let line = info.lines().find_map(|line| line.strip_prefix("CurrConns: "))?;
        line.trim().parse().ok()
    }

    /// An answer; empty if HAProxy hung up before all of the command was there.
    async fn ask(&self, command: &str) -> Result<String, Error> {
        let down = |why: std::io::Error| {
            Error::new(format!(
                "HAProxy does not run, or not with the socket {}: {why} (start it with the configuration that `muster broker \
                 run --print-config` prints)",
                self.socket.display()
            ))
        };
        let mut stream = UnixStream::connect(&self.socket).await.map_err(down)?;
        let talk = async {
            let mut answer = Vec::new();
            // What is too long is not read to its end.
            let _ = stream.write_all(command.as_bytes()).await;
            let _ = stream.take(MAX_ANSWER).read_to_end(&mut answer).await;
            String::from_utf8_lossy(&answer).into_owned()
        };
        tokio::time::timeout(ANSWER, talk)
            .await
            .map_err(|_| Error::new("HAProxy does not answer on its socket"))
    }
}

fn short(answer: &str) -> String {
    let words: Vec<&str> = answer.split_whitespace().collect();
    words.join(" ").chars().take(300).collect()
}
