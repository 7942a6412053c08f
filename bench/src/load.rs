//! The load: requests made beforehand, sent over many connections, timed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use crate::Result;
use crate::http::{Connection, Dialer};
use crate::identity::Identity;
use crate::process::cpu_seconds;
use crate::provisioner::Provisioner;

/// Requests, ready to be written.
pub(crate) type Pool = Arc<Vec<Box<[u8]>>>;

/// What is sent.
#[derive(Clone)]
pub(crate) enum Source {
    /// Each request once.
    Each(Pool),
    /// The same request, so many times on each connection.
    Again(Arc<[u8]>, usize),
}

/// What came of it.
pub(crate) struct Outcome {
    /// Certificates that came back.
    pub(crate) count: usize,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// Processor time of the server meanwhile, seconds.
    pub(crate) cpu: f64,
    /// Processor time of this program meanwhile, seconds.
    pub(crate) own_cpu: f64,
    /// Of each answer, microseconds.
    pub(crate) latencies: Vec<f64>,
}

impl Outcome {
    /// Certificates a second.
    pub(crate) fn rate(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64()
    }

    /// Processor time of the server for each, microseconds.
    pub(crate) fn cpu_each(&self) -> f64 {
        self.cpu * 1e6 / self.count.max(1) as f64
    }

    /// Processor time of the generator for each, microseconds.
    pub(crate) fn own_cpu_each(&self) -> f64 {
        self.own_cpu * 1e6 / self.count.max(1) as f64
    }
}

/// A name that this run has not used before; it fits every profile.
pub(crate) fn fresh_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("site-{:07}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The body of `POST /sign` for one device.
pub(crate) fn sign_body(name: &str, identity: &Identity, provisioner: &Provisioner) -> Result<String> {
    let token = provisioner.token(name)?;
    Ok(json!({"csr": identity.csr_pem()?, "ott": token, "notBefore": "", "notAfter": ""}).to_string())
}

/// Makes `count` requests for `POST /sign` on all cores: distinct names, fresh keys, fresh tokens.
pub(crate) async fn prepare(dialer: &Dialer, provisioner: &Arc<Provisioner>, count: usize) -> Result<Pool> {
    let workers = std::thread::available_parallelism()?.get();
    let mut tasks = JoinSet::new();
    for worker in 0..workers {
        let share = count / workers + usize::from(worker < count % workers);
        let (dialer, provisioner) = (dialer.clone(), Arc::clone(provisioner));
        tasks.spawn_blocking(move || {
            (0..share)
                .map(|_| sign_request(&dialer, &provisioner))
                .collect::<Result<Vec<_>>>()
        });
    }
    let mut pool = Vec::with_capacity(count);
    while let Some(done) = tasks.join_next().await {
        pool.append(&mut done??);
    }
    Ok(Arc::new(pool))
}

fn sign_request(dialer: &Dialer, provisioner: &Provisioner) -> Result<Box<[u8]>> {
    let name = fresh_name();
    let body = sign_body(&name, &Identity::new(&name)?, provisioner)?;
    Ok(dialer.request("POST", "/sign", &body).into_boxed_slice())
}

/// One connection at a time: the first is open when the load begins, the others are opened when their turn comes.
pub(crate) struct Lane {
    open: Connection,
    then: Vec<Dialer>,
}

impl Lane {
    pub(crate) async fn open(first: &Dialer, then: Vec<Dialer>) -> Result<Self> {
        Ok(Self {
            open: first.dial().await?,
            then,
        })
    }
}

/// Sends from `source` over all `lanes` until `limit` has passed or nothing is left. Every answer must be a 201.
pub(crate) async fn drive(
    lanes: Vec<Lane>,
    source: &Source,
    limit: Duration,
    server: u32,
) -> Result<Outcome> {
    let next = Arc::new(AtomicUsize::new(0));
    let (cpu_before, own_before) = (cpu_seconds(server)?, cpu_seconds(std::process::id())?);
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for lane in lanes {
        tasks.spawn(one_lane(lane, source.clone(), Arc::clone(&next), begun + limit));
    }
    let mut latencies = Vec::new();
    while let Some(done) = tasks.join_next().await {
        latencies.append(&mut done??);
    }
    let elapsed = begun.elapsed();
    Ok(Outcome {
        count: latencies.len(),
        elapsed,
        cpu: cpu_seconds(server)? - cpu_before,
        own_cpu: cpu_seconds(std::process::id())? - own_before,
        latencies,
    })
}

async fn one_lane(lane: Lane, source: Source, next: Arc<AtomicUsize>, deadline: Instant) -> Result<Vec<f64>> {
    let mut latencies = Vec::with_capacity(4096);
    let (mut connection, mut then) = (lane.open, lane.then.into_iter());
    loop {
        let mut begun = Instant::now();
        let mut sent = 0;
        while begun < deadline {
            let request: &[u8] = match &source {
                Source::Each(pool) => match pool.get(next.fetch_add(1, Ordering::Relaxed)) {
                    Some(request) => request,
                    None => break,
                },
                Source::Again(_, most) if sent == *most => break,
                Source::Again(request, _) => request,
            };
            let answer = connection.send(request).await?;
            if answer.status != 201 {
                let body = connection.body(&answer)?;
                return Err(format!("answer {}: {}", answer.status, String::from_utf8_lossy(&body)).into());
            }
            sent += 1;
            let now = Instant::now();
            latencies.push((now - begun).as_secs_f64() * 1e6);
            begun = now;
        }
        match then.next() {
            Some(dialer) if Instant::now() < deadline => connection = dialer.dial().await?,
            Some(_) | None => return Ok(latencies),
        }
    }
}
