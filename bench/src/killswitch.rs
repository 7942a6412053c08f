//! From an operator's revocation to the broker: until the device is refused, and until its live session is dropped.
//!
//! A CA, an agent and a broker as an operator runs them, with many live sessions that publish all the time. The clock begins before
//! the request to revoke is sent.

mod broker;
mod device;
mod hub;

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use crate::Result;
use crate::report::{Report, progress, quantile};
use broker::Kind;
use device::Session;
use hub::Hub;

/// How long a revocation may take until it counts as failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two revocations: one after another, and none waits for another.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Args)]
pub(crate) struct Options {
    /// Live sessions
    #[arg(long, default_value_t = 1000)]
    sessions: usize,
    /// Revocations, one after another
    #[arg(long, default_value_t = 50)]
    revocations: usize,
    /// Only these: mosquitto, rabbitmq, haproxy (in front of Mosquitto), gate (in front of rumqttd); all of them unless said
    #[arg(long, value_delimiter = ',')]
    brokers: Vec<String>,
    /// 50 sessions and 5 revocations, to see whether everything works
    #[arg(long)]
    quick: bool,
}

/// The same for each.
const LINES: [(&str, &str); 5] = [
    (
        "refuse_p50_ms",
        "<= 100 | until a new connection is refused, median",
    ),
    ("refuse_p99_ms", "<= 1000 | the same, 99 of 100"),
    (
        "drop_p50_ms",
        "<= 100 | until the live session is dropped, median",
    ),
    ("drop_p99_ms", "<= 1000 | the same, 99 of 100"),
    (
        "others_lost",
        "0 | sessions and messages of other devices that were lost",
    ),
];

pub(crate) async fn run(options: &Options) -> Result<()> {
    let (sessions, revocations) = if options.quick {
        (50, 5)
    } else {
        (options.sessions, options.revocations)
    };
    let all: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| options.brokers.is_empty() || options.brokers.iter().any(|one| one == kind.program()))
        .collect();
    all.iter().try_for_each(|kind| kind.check())?;
    let lines = all.iter().flat_map(|kind| {
        let line = |(name, rest): &(&str, &str)| format!("{}.{name} | {rest}\n", kind.program());
        LINES.iter().map(line)
    });
    let mut report = Report::new(lines.collect::<String>());
    for kind in all {
        report.note(kind.program(), one(kind, sessions, revocations).await?);
    }
    report.print()
}

async fn one(kind: Kind, count: usize, revocations: usize) -> Result<serde_json::Value> {
    progress(format_args!("starting the CA, the agent and {}", kind.program()));
    let hub = Hub::start(kind).await?;
    progress(format_args!("{count} devices"));
    let mut sessions = Vec::with_capacity(count);
    for number in 0..count {
        let device = hub.enrol(&format!("dev-{number:05}")).await?;
        sessions.push(Session::start(device, hub.port()).await?);
    }
    let (mut refused, mut dropped) = (Vec::new(), Vec::new());
    for session in sessions.iter().take(revocations) {
        let begun = Instant::now();
        let limit = tokio::time::timeout(PATIENCE, async {
            tokio::join!(hub.revoke(session.name()), session.refused(), session.dropped())
        });
        let (revoked, refusal, drop) = limit.await.map_err(|_| hub.words("a revocation did not take"))?;
        revoked?;
        refused.push((refusal? - begun).as_secs_f64() * 1e3);
        dropped.push((drop - begun).as_secs_f64() * 1e3);
        tokio::time::sleep(PAUSE).await;
    }
    let mut lost = 0;
    for session in sessions.into_iter().skip(revocations) {
        lost += session.finish().await;
    }
    hub.stop().await?;
    Ok(json!({
        "refuse_p50_ms": quantile(&mut refused, 0.5),
        "refuse_p99_ms": quantile(&mut refused, 0.99),
        "drop_p50_ms": quantile(&mut dropped, 0.5),
        "drop_p99_ms": quantile(&mut dropped, 0.99),
        "others_lost": lost,
        "sessions": count,
        "revocations": revocations,
    }))
}
