//! What the GUI's pages and what the REST API reads cost with a large fleet: one request at a time.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Deserialize;
use tokio::net::UnixStream;

use crate::Result;
use crate::gui::{self, Browser};
use crate::http::Connection;
use crate::process::Process;
use crate::report::{Report, progress, quantile, thousands};
use crate::target::free_port;

/// How long the server may take to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pages that are gone on to, of each list.
const PAGES: usize = 10;

#[derive(Args)]
pub(crate) struct Options {
    /// Certificates in the store
    #[arg(long, default_value_t = 1_000_000)]
    certificates: u64,
    /// Devices they belong to
    #[arg(long, default_value_t = 200_000)]
    devices: u64,
    /// How often each list is begun
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A data directory that was seeded before, or shall be kept for the next time
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A fleet of 20,000 certificates, to see whether everything works
    #[arg(long)]
    quick: bool,
}

const LINES: &str = "\
p95_ms       | <= 150 | the slowest page, list, search or figure: 95 of 100 answers
p50_ms       |        | the same one, median
all_p50_ms   |        | all of them, median
certificates |        | certificates in the store
requests     |        | answers that were measured
";

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    items: Vec<Item>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    name: Option<String>,
    id: Option<String>,
    device: Option<String>,
    serial: Option<String>,
    fingerprint: Option<String>,
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let place = tempfile::tempdir()?;
    let data = options.data.clone().unwrap_or_else(|| place.path().join("data"));
    let (certificates, devices) = if options.quick {
        (20_000, 4_000)
    } else {
        (options.certificates, options.devices)
    };
    let muster = std::env::current_exe()?.with_file_name("muster");
    if !data.join("muster.db").exists() {
        progress(format_args!("seeding {} certificates", thousands(certificates)));
        let mut init = Command::new(&muster);
        finish(
            init.args(["init", "--yes", "--quiet", "--dns", "localhost", "--data"])
                .arg(&data),
        )?;
        let mut seed = Command::new(&muster);
        seed.args(["seed", "--quiet", "--certificates", &certificates.to_string()]);
        seed.args(["--devices", &devices.to_string(), "--data"]);
        finish(seed.arg(&data))?;
    }
    let mut serve = Command::new(&muster);
    serve.args(["up", "--quiet", "--data"]).arg(&data);
    let web = free_port()?;
    for (door, port) in [
        ("--listen", free_port()?),
        ("--public-listen", free_port()?),
        ("--web-listen", web),
    ] {
        serve.arg(door).arg(format!("127.0.0.1:{port}"));
    }
    serve.env("PKI_PASSWORD", gui::PASSWORD);
    let mut process = Process::start(&mut serve, &place.path().join("log"))?;
    let mut asker = Asker::reach(&mut process, &data.join("muster.sock")).await?;
    let mut findings = measure(&mut asker, options.rounds).await?;
    let mut browser = Browser::log_in(web).await?;
    findings.extend(measure_pages(&mut browser, &mut asker, options.rounds).await?);
    process.stop().await?;
    report(findings, certificates)
}

/// Runs a program to its end.
fn finish(command: &mut Command) -> Result<()> {
    let status = command.stdout(std::process::Stdio::null()).status()?;
    status
        .success()
        .then_some(())
        .ok_or_else(|| format!("{} failed: {status}", command.get_program().display()).into())
}

/// A connection to the socket.
struct Asker(Connection<UnixStream>);

impl Asker {
    async fn reach(process: &mut Process, socket: &std::path::Path) -> Result<Self> {
        let begun = Instant::now();
        loop {
            if let Ok(stream) = UnixStream::connect(socket).await {
                return Ok(Self(Connection::over(stream)));
            }
            process.check()?;
            if begun.elapsed() > PATIENCE {
                return Err(format!("the server does not answer:\n{}", process.last_words()).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The answer and how many milliseconds it took.
    async fn get(&mut self, path: &str) -> Result<(Vec<u8>, f64)> {
        let request = format!("GET /api/v1{path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let begun = Instant::now();
        let answer = self.0.send(request.as_bytes()).await?;
        let took = begun.elapsed().as_secs_f64() * 1e3;
        let body = self.0.body(&answer)?;
        if answer.status != 200 {
            return Err(format!("{path}: {} {}", answer.status, String::from_utf8_lossy(&body)).into());
        }
        Ok((body, took))
    }
}

/// Milliseconds by what was asked.
type Findings = Vec<(String, Vec<f64>)>;

async fn measure(asker: &mut Asker, rounds: usize) -> Result<Findings> {
    let mut findings = Findings::new();
    let (first, _) = asker.get("/certificates?limit=500").await?;
    let first: Page = serde_json::from_slice(&first)?;
    for path in paths(&first.items) {
        let mut took = Vec::new();
        for _ in 0..rounds {
            let mut cursor = String::new();
            for _ in 0..PAGES {
                let (body, ms) = asker.get(&format!("{path}{cursor}")).await?;
                took.push(ms);
                // What is no list has no next page, and is asked again.
                let page: Option<Page> = serde_json::from_slice(&body).ok();
                cursor = page
                    .and_then(|page| page.next)
                    .map(|next| format!("&cursor={next}"))
                    .unwrap_or_default();
            }
        }
        let path = format!("/api/v1{path}");
        tell(&path, &took);
        findings.push((path, took));
    }
    Ok(findings)
}

/// The pages of the GUI; the lists are gone through as somebody does who presses "Next".
async fn measure_pages(browser: &mut Browser, asker: &mut Asker, rounds: usize) -> Result<Findings> {
    let some = |body: Vec<u8>| -> Result<Item> {
        let page: Page = serde_json::from_slice(&body)?;
        page.items
            .into_iter()
            .next()
            .ok_or_else(|| "the fleet is empty".into())
    };
    let certificate = some(asker.get("/certificates?how=token&sort=issued&limit=1").await?.0)?;
    let token = some(asker.get("/tokens?limit=1").await?.0)?;
    let broker = some(asker.get("/brokers?limit=1").await?.0)?;
    let (device, serial) = (
        certificate.device.unwrap_or_default(),
        certificate.serial.unwrap_or_default(),
    );
    let mut findings = Findings::new();
    let token = token.id.unwrap_or_default();
    let broker = broker.name.unwrap_or_default();
    for path in gui::paths(&device, &serial, &token, &broker)? {
        let mut took = Vec::new();
        for _ in 0..rounds {
            let mut place = path.clone();
            for _ in 0..PAGES {
                let (page, ms) = browser.get(&place).await?;
                took.push(ms);
                // What is no list has no next page, and is asked for again.
                place = gui::next(&page).unwrap_or_else(|| path.clone());
            }
        }
        tell(&path, &took);
        findings.push((path, took));
    }
    Ok(findings)
}

fn tell(path: &str, took: &[f64]) {
    let p95 = quantile(&mut took.to_vec(), 0.95).unwrap_or_default();
    progress(format_args!("{p95:>8.2} ms {path}"));
}

/// Everything that can be asked for: each filter with each order, as pages of 100 rows, and one of 500.
fn paths(some: &[Item]) -> Vec<String> {
    let mut paths: Vec<String> = [
        "/status",
        "/expiries?days=30",
        "/expiries?days=90",
        "/tokens?limit=100",
    ]
    .map(str::to_owned)
    .into();
    let middle = some.get(some.len() / 2);
    let serial = middle.and_then(|item| item.serial.clone()).unwrap_or_default();
    let fingerprint = middle
        .and_then(|item| item.fingerprint.clone())
        .unwrap_or_default();
    for what in [
        "site-1",
        "site-0123",
        "mqtt-",
        "zzz",
        &serial,
        &fingerprint,
        "0123456789abcdef",
    ] {
        paths.push(format!("/search?q={what}"));
    }
    let certificates = [
        "",
        "status=active",
        "status=expired",
        "status=revoked",
        "expires_within=7d",
        "profile=client",
        "profile=broker",
        "profile=none",
        "how=operator",
        "how=listener",
        "authority=none",
        "device=site-000123",
        "q=site-00012",
        "q=site-",
        "q=zzz",
        "status=revoked&profile=broker",
        "status=active&how=token",
        "issued_from=2020-01-01&issued_until=2090-01-01",
        "expires_until=2020-01-01",
    ];
    for filter in certificates {
        for sort in ["issued", "-issued", "expiry", "-expiry", "name", "-name"] {
            paths.push(format!("/certificates?limit=100&sort={sort}&{filter}"));
        }
    }
    paths.push("/certificates?limit=500&sort=name".into());
    for filter in [
        "",
        "kind=broker",
        "kind=client",
        "state=new",
        "state=active",
        "state=revoked",
        "state=suspended",
        "profile=none",
        "q=site-0001",
        "q=site-",
        "q=zzz",
    ] {
        for sort in ["name", "-name", "created", "-created"] {
            paths.push(format!("/devices?limit=100&sort={sort}&{filter}"));
        }
    }
    for filter in ["status=open", "status=expired", "q=region-1", "q=zzz"] {
        paths.push(format!("/tokens?limit=100&{filter}"));
    }
    for filter in [
        "",
        "actor=alice",
        "actor=nobody",
        "actor=site-000123",
        "action=certificate.revoked",
        "action=certificate.issued",
        "action=none",
        "subject=site-000123",
        "subject=nobody",
        "from=2020-01-01&until=2090-01-01",
        "until=2020-01-01",
        "actor=alice&action=certificate.revoked",
    ] {
        paths.push(format!("/audit?limit=100&{filter}"));
    }
    paths
}

fn report(findings: Findings, certificates: u64) -> Result<()> {
    let mut report = Report::new(LINES);
    let mut all: Vec<f64> = findings.iter().flat_map(|(_, took)| took.clone()).collect();
    let slowest = findings
        .into_iter()
        .filter_map(|(path, mut took)| Some((quantile(&mut took, 0.95)?, quantile(&mut took, 0.5)?, path)))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let (p95, p50, path) = slowest.ok_or("nothing was measured")?;
    report.set("p95_ms", Some(p95));
    report.set("p50_ms", Some(p50));
    report.note("slowest", path);
    report.set("requests", Some(all.len() as f64));
    report.set("all_p50_ms", quantile(&mut all, 0.5));
    report.set("certificates", Some(certificates as f64));
    report.print()
}
