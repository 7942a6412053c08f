//! How the agent tells the gate: a word and a newline in, one line of JSON out, on a Unix socket beside the files.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use muster_api::agent::Denial;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::sessions::Sessions;
use crate::Error;

/// The longest answer, and how long it may take: a list of a million entries is read in seconds.
const MAX_ANSWER: u64 = 1 << 20;
const ANSWER: Duration = Duration::from_secs(30);
/// How many may ask at a time, and how long one may take to say what.
const PEERS: usize = 8;
const ORDER: Duration = Duration::from_secs(5);
/// The longest order.
const MAX_ORDER: u64 = 16;

/// What a gate answers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Told {
    /// Why it did not do as it was told; empty: it did.
    #[serde(default)]
    pub(crate) why: String,
    /// How many sessions it has.
    pub(crate) sessions: u64,
    /// What it refused since it was last asked for that.
    #[serde(default)]
    pub(crate) denials: Vec<Denial>,
}

/// Tells a gate: `reload`, `denials` or `sessions`.
pub(crate) async fn ask(dir: &Path, order: &str) -> Result<Told, Error> {
    let path = super::socket(dir);
    let down = |why: std::io::Error| {
        Error::new(format!(
            "the gate does not run: {} cannot be reached: {why} (start it: muster gate)",
            path.display()
        ))
    };
    let talk = async {
        let mut stream = UnixStream::connect(&path).await.map_err(down)?;
        stream
            .write_all(format!("{order}\n").as_bytes())
            .await
            .map_err(down)?;
        let mut answer = Vec::new();
        let mut limited = stream.take(MAX_ANSWER);
        limited.read_to_end(&mut answer).await.map_err(down)?;
        serde_json::from_slice::<Told>(&answer)
            .map_err(|why| Error::new(format!("the gate's answer cannot be read: {why}")))
    };
    let told = timeout(ANSWER, talk)
        .await
        .map_err(|_| Error::new("the gate does not answer on its socket"))??;
    if told.why.is_empty() {
        Ok(told)
    } else {
        Err(Error::new(told.why))
    }
}

/// The socket.
pub(super) struct Orders(UnixListener);

impl Orders {
    /// Binds it. What a gate left behind that is not there any more is replaced.
    pub(super) fn open(dir: &Path) -> Result<Self, Error> {
        let path = super::socket(dir);
        let cannot = |why: std::io::Error| {
            Error::new(format!(
                "cannot take orders on {}: {why} (let the gate's user write into that directory)",
                path.display()
            ))
        };
        if std::os::unix::net::UnixStream::connect(&path).is_ok() {
            return Err(Error::new(format!(
                "another gate works with {} (stop it first, or give this one a directory of its own with --dir)",
                dir.display()
            )));
        }
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).map_err(cannot)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(cannot)?;
        Ok(Self(listener))
    }

    /// Does as it is told, by several at a time.
    pub(super) async fn follow(&self, dir: &Path, sessions: &Arc<Sessions>) {
        let mut peers = JoinSet::new();
        loop {
            tokio::select! {
                Some(_) = peers.join_next() => {}
                accepted = self.0.accept(), if peers.len() < PEERS => {
                    let Ok((stream, _)) = accepted else {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    };
                    let (dir, sessions) = (dir.to_owned(), sessions.clone());
                    peers.spawn(async move { timeout(ANSWER, obey(stream, &dir, &sessions)).await });
                }
            }
        }
    }
}

async fn obey(stream: UnixStream, dir: &Path, sessions: &Arc<Sessions>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut order = String::new();
    timeout(ORDER, (&mut stream).take(MAX_ORDER).read_line(&mut order)).await??;
    let mut told = Told::default();
    match order.trim() {
        "reload" => {
            let (dir, own) = (dir.to_owned(), sessions.clone());
            let reloaded = tokio::task::spawn_blocking(move || own.reload(&dir)).await;
            told.why = match reloaded {
                Ok(Ok(())) => String::new(),
                Ok(Err(why)) => why.0,
                Err(why) => why.to_string(),
            };
        }
        "denials" => told.denials = sessions.denials(),
        "sessions" => {}
        other => told.why = format!("the gate knows no order {other:?}"),
    }
    told.sessions = u64::try_from(sessions.count()).unwrap_or(u64::MAX);
    let answer = serde_json::to_vec(&told).unwrap_or_default();
    stream.write_all(&answer).await
}
