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
    /// The same request again and again.
    Again(Arc<[u8]>),
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

/// Opens one connection with each dialer, a few at a time.
pub(crate) async fn connect(dialers: &[Dialer]) -> Result<Vec<Connection>> {
    let mut connections = Vec::with_capacity(dialers.len());
    for dialer in dialers {
        connections.push(dialer.dial().await?);
    }
    Ok(connections)
}

/// Sends from `source` over all `connections` until `limit` has passed or nothing is left. Every answer must be a 201.
pub(crate) async fn drive(
    connections: Vec<Connection>,
    source: &Source,
    limit: Duration,
    server: u32,
) -> Result<Outcome> {
    let next = Arc::new(AtomicUsize::new(0));
    let (cpu_before, own_before) = (cpu_seconds(server)?, cpu_seconds(std::process::id())?);
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for connection in connections {
        tasks.spawn(one_connection(
            connection,
            source.clone(),
            Arc::clone(&next),
            begun + limit,
        ));
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

async fn one_connection(
    mut connection: Connection,
    source: Source,
    next: Arc<AtomicUsize>,
    deadline: Instant,
) -> Result<Vec<f64>> {
    let mut latencies = Vec::with_capacity(4096);
    let mut begun = Instant::now();
    while begun < deadline {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let request: &[u8] = match &source {
            Source::Each(pool) => match pool.get(index) {
                Some(request) => request,
                None => break,
            },
            Source::Again(request) => request,
        };
        let answer = connection.send(request).await?;
        if answer.status != 201 {
            let body = connection.body(&answer)?;
            return Err(format!("answer {}: {}", answer.status, String::from_utf8_lossy(&body)).into());
        }
        let now = Instant::now();
        latencies.push((now - begun).as_secs_f64() * 1e6);
        begun = now;
    }
    Ok(latencies)
}
