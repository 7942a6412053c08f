//! `muster device import`: many devices from a CSV file, one certificate a row however often it is interrupted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use muster_api::Client;
use muster_api::types::{IssueRequest, Profile};
use muster_pki::cert::Certificate;
use muster_pki::key::PrivateKey;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::connect::Session;
use super::list::whole;
use super::report::{Exit, Failure, Voice};
use super::{Common, files, issue};

/// Rows that are worked on at once: enough for the server to commit them together.
const AT_ONCE: usize = 16;
/// The most rows of one file.
const MAX_ROWS: usize = 1_000_000;

#[derive(clap::Args)]
#[command(
    after_help = "The file has a header line; name is needed, the rest may be missing:
  name,kind,validity,sans
  site-001,client,30d,
  mqtt.ak-sg.com,server,365d,mqtt.ak-sg.com;10.0.80.50"
)]
pub(super) struct ImportArgs {
    /// CSV file
    file: PathBuf,
    /// Directory in which each device gets a directory of its own
    #[arg(long, value_name = "DIR", default_value = "certs")]
    out: PathBuf,
    /// Only check every row
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    validity: Option<String>,
    #[serde(default)]
    sans: Option<String>,
}

/// How the import went.
#[derive(Serialize)]
struct Outcome {
    rows: usize,
    done: usize,
    failed: Vec<FailedRow>,
}

#[derive(Serialize)]
struct FailedRow {
    name: String,
    why: String,
}

pub(super) async fn run(common: &Common, voice: Voice, args: ImportArgs) -> Result<Exit, Failure> {
    let rows = read(&args.file)?;
    let session = Session::start(common).await?.dry_run(args.dry_run);
    let profiles: Arc<[Profile]> = whole::<Profile>(&session.client, "profiles").await?.into();
    let total = rows.len();
    let bar = progress(voice, total);
    let failed = Arc::new(Mutex::new(Vec::new()));
    let next = Arc::new(AtomicUsize::new(0));
    let rows = Arc::new(rows);
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE.min(total) {
        let (client, profiles, rows, next, failed) = (
            session.client.another(),
            profiles.clone(),
            rows.clone(),
            next.clone(),
            failed.clone(),
        );
        let (out, bar, dry_run) = (args.out.clone(), bar.clone(), args.dry_run);
        workers.spawn(async move {
            while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(why) = one(&client, &profiles, row, &out, dry_run).await {
                    failed.lock().await.push(FailedRow {
                        name: row.name.clone(),
                        why: why.to_string(),
                    });
                }
                bar.inc(1);
            }
        });
    }
    while workers.join_next().await.is_some() {}
    bar.finish_and_clear();
    session.finish().await?;
    let failed = std::mem::take(&mut *failed.lock().await);
    tell(
        voice,
        Outcome {
            rows: total,
            done: total - failed.len(),
            failed,
        },
        &args,
    )
}

/// The key is on the disk before it is asked for, and the certificate is the last file to be written. So whatever is
/// cut off can be done again: the same key gets the same certificate.
async fn one(
    client: &Client,
    profiles: &[Profile],
    row: &Row,
    out: &Path,
    dry_run: bool,
) -> Result<(), Failure> {
    // The name becomes a path: the server's rules for names are applied before anything is touched.
    muster_ca::device::DeviceName::parse(&row.name).map_err(|why| Failure::usage(why.to_string()))?;
    let dir = out.join(&row.name);
    if is_done(&dir, &row.name) {
        return Ok(());
    }
    let profile = row.kind.clone().filter(|kind| !kind.is_empty());
    let kind = issue::key_kind(profiles, profile.as_deref(), None)?;
    let key = if dry_run {
        use muster_ca::ports::Entropy;
        crate::real::SystemEntropy
            .private_key(kind)
            .map_err(muster_ca::Error::from)?
    } else {
        std::fs::create_dir_all(&dir)?;
        issue::kept_key(&dir.join(format!("{}.key", row.name)), kind)?
    };
    let request = IssueRequest {
        name: Some(row.name.clone()),
        csr: issue::request_pem(&row.name, &key)?,
        profile,
        sans: row
            .sans
            .iter()
            .flat_map(|sans| sans.split(';'))
            .map(str::trim)
            .filter(|san| !san.is_empty())
            .map(str::to_owned)
            .collect(),
        validity: row.validity.clone().filter(|validity| !validity.is_empty()),
        reuse: true,
    };
    let issued = issue::ask_again(client, &request).await?;
    if dry_run {
        return Ok(());
    }
    let bundle = issue::bundle(&issued, Some(key.to_pem()?), None, issue::kind(&issued))?;
    let (certificate, others): (Vec<_>, Vec<_>) = bundle
        .files()
        .into_iter()
        .partition(|file| file.name == format!("{}.crt", row.name));
    files::write_bundle(&dir, &row.name, &others)?;
    files::write_bundle(&dir, &row.name, &certificate).map(drop)
}

/// Whether a certificate is there with the key that belongs to it.
fn is_done(dir: &Path, name: &str) -> bool {
    let of = |ending: &str| dir.join(format!("{name}.{ending}"));
    let key = files::private_key(&of("key"), None).ok();
    let key = key.and_then(|key| PrivateKey::from_pkcs8(key).ok());
    let chain = std::fs::read_to_string(of("crt")).unwrap_or_default();
    let chain = Certificate::all_from_pem(&chain).unwrap_or_default();
    chain
        .first()
        .zip(key)
        .is_some_and(|(certificate, key)| certificate.key() == key.public())
}

fn read(path: &Path) -> Result<Vec<Row>, Failure> {
    let bytes = files::bytes(path)?;
    parse(&bytes).map_err(|why| Failure::usage(format!("{}: {why}", path.display())))
}

/// Reads the rows, and refuses a name that stands there twice: which of the two would count?
fn parse(bytes: &[u8]) -> Result<Vec<Row>, String> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .comment(Some(b'#'))
        .flexible(true)
        .from_reader(bytes);
    let mut rows = Vec::new();
    let mut names = std::collections::HashSet::new();
    let head = reader.headers().map_err(|why| why.to_string())?.clone();
    if head.len() == 1 && head[0].contains(';') {
        return Err("its columns are separated by semicolons; it needs commas".into());
    }
    for record in reader.records() {
        let record = record.map_err(|why| why.to_string())?;
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() > head.len() {
            return Err(format!(
                "line {line} has more columns than the head; several names in sans are separated by semicolons"
            ));
        }
        let row: Row = record
            .deserialize(Some(&head))
            .map_err(|why| format!("line {line}: {why}"))?;
        if !names.insert(row.name.clone()) {
            return Err(format!("the name {:?} stands there twice", row.name));
        }
        if rows.len() == MAX_ROWS {
            return Err(format!("it has more than {MAX_ROWS} rows"));
        }
        rows.push(row);
    }
    if rows.is_empty() {
        Err("it has no rows".into())
    } else {
        Ok(rows)
    }
}

fn progress(voice: Voice, total: usize) -> ProgressBar {
    if voice.quiet {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total as u64);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len}  {per_sec}  {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn tell(voice: Voice, outcome: Outcome, args: &ImportArgs) -> Result<Exit, Failure> {
    let word = if args.dry_run {
        "could be enrolled"
    } else {
        "have their certificate"
    };
    let mut text = format!(
        "{} of {} devices {word} in {}",
        outcome.done,
        outcome.rows,
        args.out.display()
    );
    for failed in &outcome.failed {
        text.push_str(&format!("\n  {}: {}", failed.name, failed.why));
    }
    voice.data(&text, &outcome)?;
    if outcome.failed.is_empty() {
        return Ok(Exit::Ok);
    }
    voice.say("Mend the rows that failed and run the same line again: the others are not touched.");
    Ok(if outcome.done == 0 {
        Exit::Failed
    } else {
        Exit::Partly
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn rows_are_read_with_what_they_leave_out() {
        let rows = parse(b"name,kind,validity,sans\n# a remark\nsite-001,client,30d,\nsite-002\n").unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1].name, "site-002");
        assert!(rows[1].kind.is_none());
    }

    #[test]
    fn files_that_cannot_be_meant_are_refused() {
        for bad in [
            "",
            "name\n",
            "name,colour\na,red\n",
            "name,sans\na,one.example.org,10.0.0.9\n",
            "name;kind\na;client\n",
            "name\na\na\n",
            "kind\nclient\n",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    /// Whatever stands in a file is rows with a name each, or refused.
    #[test]
    fn any_bytes_as_a_file() {
        const WORDS: [&str; 12] = [
            "name", "kind", "validity", "sans", ",", "\n", "\r\n", "\"", "#", "site-001", " ", "\u{0}",
        ];
        bolero::check!()
            .with_type::<(Vec<u8>, Vec<u8>)>()
            .for_each(|(bytes, choice)| {
                let text: String = choice
                    .iter()
                    .map(|at| WORDS[usize::from(*at) % WORDS.len()])
                    .collect();
                let with_header = [b"name,kind,validity,sans\n", bytes.as_slice()].concat();
                for file in [bytes, text.as_bytes(), &with_header] {
                    let Ok(rows) = parse(file) else { continue };
                    let names: std::collections::HashSet<_> = rows.iter().map(|row| &row.name).collect();
                    assert!(!rows.is_empty() && names.len() == rows.len());
                }
            });
    }
}
