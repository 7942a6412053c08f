//! One server under load, and what was measured on it.

use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::Deserialize;

use crate::Result;
use crate::http::Dialer;
use crate::identity::Identity;
use crate::load::{Lane, Outcome, Source, drive, fresh_name, prepare, sign_body};
use crate::process::Memory;
use crate::report::{median, progress, quantile, thousands};
use crate::target::{Launch, Target};

/// Connections of the load.
const CONNECTIONS: usize = 64;
/// Requests prepared at once while the store is filled; their tokens live five minutes.
const FILL_BATCH: usize = 50_000;
/// The most that is prepared for one window: about 400 MiB.
const LARGEST_POOL: usize = 250_000;
/// Renewals of one device.
const RENEWALS: usize = 30;
/// A window without a deadline: ended by its pool.
const NO_DEADLINE: Duration = Duration::from_secs(600);

/// A server and what was measured on it.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    launch: Launch,
    target: Target,
    rest: Memory,
    windows: Vec<Outcome>,
    /// What the next window is prepared for, certificates a second.
    expected: f64,
    issued: usize,
    renew: Option<Outcome>,
    latencies: Vec<f64>,
}

#[derive(Deserialize)]
struct Signed {
    #[serde(rename = "certChain")]
    chain: Vec<String>,
}

impl Subject {
    /// Starts it, measures it at rest and warms it up.
    pub(crate) async fn start(name: &'static str, mut launch: Launch) -> Result<Self> {
        progress(format_args!("{name}: starting"));
        let target = launch.start().await?;
        let mut subject = Self {
            name,
            launch,
            rest: Memory {
                resident: 0.0,
                peak: 0.0,
            },
            target,
            windows: Vec::new(),
            expected: 0.0,
            issued: 0,
            renew: None,
            latencies: Vec::new(),
        };
        tokio::time::sleep(Duration::from_secs(3)).await;
        subject.rest = subject.target.process.memory()?;
        let warm = subject.sign(2000, NO_DEADLINE, CONNECTIONS).await?;
        subject.expected = warm.rate();
        Ok(subject)
    }

    /// `POST /sign` from a fresh pool of `count` requests.
    async fn sign(&mut self, count: usize, limit: Duration, connections: usize) -> Result<Outcome> {
        let pool = prepare(&self.target.dialer, &self.target.provisioner, count).await?;
        let mut lanes = Vec::with_capacity(connections);
        for _ in 0..connections {
            lanes.push(Lane::open(&self.target.dialer, Vec::new()).await?);
        }
        let outcome = drive(lanes, &Source::Each(pool), limit, self.target.process.id()).await?;
        self.issued += outcome.count;
        Ok(outcome)
    }

    /// One window of `POST /sign` over 64 connections.
    pub(crate) async fn sign_window(&mut self, length: Duration) -> Result<()> {
        let wanted = (self.expected * length.as_secs_f64() * 1.5) as usize;
        let outcome = self
            .sign(wanted.clamp(5000, LARGEST_POOL), length, CONNECTIONS)
            .await?;
        self.expected = outcome.rate();
        progress(format_args!(
            "  {} in {:.1} s: {} a second, {:.0} us of the server's processor each",
            thousands(outcome.count as u64),
            outcome.elapsed.as_secs_f64(),
            thousands(outcome.rate() as u64),
            outcome.cpu_each()
        ));
        self.windows.push(outcome);
        Ok(())
    }

    /// `POST /renew` on 64 connections at a time, each with a certificate of its own. Muster bounds how many certificates of a
    /// device live, so that each lane goes on with another device, on another connection, before that.
    pub(crate) async fn renew_window(&mut self, length: Duration) -> Result<()> {
        progress(format_args!("{}: POST /renew over mutual TLS", self.name));
        let wanted = (self.expected * length.as_secs_f64() * 1.5) as usize;
        let devices = wanted.div_ceil(CONNECTIONS * RENEWALS);
        let mut lanes = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            let mut then = Vec::with_capacity(devices);
            for _ in 0..devices {
                then.push(self.client().await?);
            }
            lanes.push(Lane::open(&self.client().await?, then).await?);
        }
        let request = self.target.dialer.request("POST", "/renew", "").into();
        let source = Source::Again(request, RENEWALS);
        let outcome = drive(lanes, &source, length, self.target.process.id()).await?;
        self.issued += outcome.count;
        progress(format_args!("  {} a second", thousands(outcome.rate() as u64)));
        self.renew = Some(outcome);
        Ok(())
    }

    /// Enrols a device and returns how it connects with its certificate.
    async fn client(&mut self) -> Result<Dialer> {
        let (name, target) = (fresh_name(), &self.target);
        let identity = Identity::new(&name)?;
        let body = sign_body(&name, &identity, &target.provisioner)?;
        let (status, body) = target
            .dialer
            .once(&target.dialer.request("POST", "/sign", &body))
            .await?;
        if status != 201 {
            return Err(format!("answer {status}: {}", String::from_utf8_lossy(&body)).into());
        }
        self.issued += 1;
        let signed: Signed = serde_json::from_slice(&body)?;
        let chain = signed
            .chain
            .iter()
            .map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()));
        let key = PrivatePkcs8KeyDer::from(identity.key.to_pkcs8v1()?.as_ref().to_vec());
        let chain = chain.collect::<std::result::Result<Vec<_>, _>>()?;
        Dialer::new(target.port, &target.root, Some((chain, PrivateKeyDer::from(key))))
    }

    /// `POST /sign` on one connection.
    pub(crate) async fn latency(&mut self, samples: usize) -> Result<()> {
        progress(format_args!("{}: latency on one connection", self.name));
        self.latencies = self.sign(samples, NO_DEADLINE, 1).await?.latencies;
        Ok(())
    }

    /// Issues until the store holds `size` certificates, measures memory, stops, and starts again.
    pub(crate) async fn fill_and_restart(mut self, size: usize) -> Result<Full> {
        while self.issued < size {
            let batch = FILL_BATCH.min(size - self.issued);
            let outcome = self.sign(batch, NO_DEADLINE, CONNECTIONS).await?;
            progress(format_args!(
                "{} of {} certificates in the store, {} a second",
                thousands(self.issued as u64),
                thousands(size as u64),
                thousands(outcome.rate() as u64)
            ));
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        let memory = self.target.process.memory()?;
        progress("stopping, and starting with that store");
        let stop = self.target.process.stop().await?;
        let again = self.launch.start().await?;
        let start = again.started_in;
        let begun = Instant::now();
        again.process.stop().await?;
        progress(format_args!(
            "stopped again in {:.2} s",
            begun.elapsed().as_secs_f64()
        ));
        Ok(Full {
            memory,
            stop,
            start,
            size: self.issued,
        })
    }

    /// Ends it.
    pub(crate) async fn stop(self) -> Result<()> {
        self.target.process.stop().await.map(|_| ())
    }

    /// What was found until now.
    pub(crate) fn figures(&self) -> Figures {
        let mut latencies = self.latencies.clone();
        Figures {
            rate: median(self.windows.iter().map(Outcome::rate)),
            cpu: median(self.windows.iter().map(Outcome::cpu_each)),
            own_cpu: median(self.windows.iter().map(Outcome::own_cpu_each)),
            loaded_p99: median(
                self.windows
                    .iter()
                    .filter_map(|w| quantile(&mut w.latencies.clone(), 0.99)),
            ),
            renew: self.renew.as_ref().map(Outcome::rate),
            renew_cpu: self.renew.as_ref().map(Outcome::cpu_each),
            p50: quantile(&mut latencies, 0.5),
            p99: quantile(&mut latencies, 0.99),
            rest: self.rest.resident,
            start: self.target.started_in.as_secs_f64(),
        }
    }
}

/// Of one server.
#[derive(Clone)]
pub(crate) struct Figures {
    pub(crate) rate: Option<f64>,
    pub(crate) cpu: Option<f64>,
    pub(crate) own_cpu: Option<f64>,
    pub(crate) loaded_p99: Option<f64>,
    pub(crate) renew: Option<f64>,
    pub(crate) renew_cpu: Option<f64>,
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) rest: f64,
    pub(crate) start: f64,
}

/// Of Muster with a full store.
pub(crate) struct Full {
    pub(crate) memory: Memory,
    pub(crate) stop: Duration,
    pub(crate) start: Duration,
    pub(crate) size: usize,
}
