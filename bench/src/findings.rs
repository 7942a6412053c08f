//! What `scripts/bench issue` found, as a table.

use crate::floor::Floor;
use crate::report::{Report, median};
use crate::subject::{Figures, Full};

/// The lines of the table: key, what is wanted, what it is.
const LINES: &str = "
cpu_over_floor      | <= 2   | server CPU for a certificate / crypto floor
times_step_ca       | >= 8   | certificates a second / step-ca's
renew_per_s         |        | renewals a second over mutual TLS, 64 connections, each of 30
p50_us              |        | latency of issuing on one connection, median
p99_us              |        | latency of issuing on one connection, 99 of 100
rss_rest_mib        | <= 40  | resident memory at rest
rss_1m_mib          | <= 150 | resident memory with the store full
start_1m_s          | < 1    | start with the store full, until /health answers
crl_100k_s          | < 0.2  | build and sign a CRL of 100,000 entries
issue_per_s         |        | certificates a second, 64 connections
cpu_us              |        | server CPU for a certificate
loaded_p99_us       |        | latency of issuing on 64 connections, 99 of 100
renew_cpu_us        |        | server CPU for a renewal
start_s             |        | first start, with making the authority
store_size          |        | certificates in the full store
peak_1m_mib         |        | most memory ever resident
stop_1m_s           |        | graceful stop with the store full
floor_us            |        | crypto floor: verify CSR, verify token, sign leaf; CPU, with every processor busy as under load
floor_alone_us      |        | the same on one processor, the others idle
floor_per_s         |        | the same a second, on one busy processor
floor_csr_us        |        | verify a CSR, key never seen before
floor_token_us      |        | verify a token
floor_sign_us       |        | sign a leaf
step_ca_per_s       |        | step-ca: certificates a second, 64 connections
step_ca_cpu_us      |        | step-ca: CPU for a certificate
step_ca_renew_per_s |        | step-ca: renewals a second
step_ca_p50_us      |        | step-ca: latency on one connection, median
step_ca_p99_us      |        | step-ca: latency on one connection, 99 of 100
step_ca_rest_mib    |        | step-ca: resident memory at rest
generator_us        |        | CPU of the load generator for a certificate
";

/// Everything that was measured; what was not is `None`.
pub(crate) struct Findings {
    /// Rounds of the crypto floor.
    pub(crate) floors: Vec<Floor>,
    /// Microseconds of the crypto floor on one processor, the others idle.
    pub(crate) floor_alone: f64,
    /// Muster, with a small store.
    pub(crate) muster: Option<Figures>,
    /// The rival.
    pub(crate) step_ca: Option<Figures>,
    /// Muster, with a full store.
    pub(crate) full: Option<Full>,
    /// Seconds for the CRL.
    pub(crate) crl: Option<f64>,
    /// Whether the counts were small.
    pub(crate) quick: bool,
}

impl Findings {
    /// The table.
    pub(crate) fn report(&self) -> Report {
        let mut report = Report::new(LINES);
        self.ratios(&mut report);
        self.muster(&mut report);
        self.full(&mut report);
        self.yardsticks(&mut report);
        report.note(
            "cores",
            std::thread::available_parallelism().map_or(0, usize::from),
        );
        report.note("quick", self.quick);
        report
    }

    fn ratios(&self, to: &mut Report) {
        let over = |a: Option<f64>, b: Option<f64>| Some(a? / b?);
        to.set(
            "cpu_over_floor",
            over(self.ours(|f| f.cpu), self.floor(Floor::total)),
        );
        to.set(
            "times_step_ca",
            over(self.ours(|f| f.rate), self.theirs(|f| f.rate)),
        );
    }

    fn muster(&self, to: &mut Report) {
        to.set("renew_per_s", self.ours(|f| f.renew));
        to.set("p50_us", self.ours(|f| f.p50));
        to.set("p99_us", self.ours(|f| f.p99));
        to.set("rss_rest_mib", self.ours(|f| Some(f.rest)));
        to.set("crl_100k_s", self.crl);
        to.set("issue_per_s", self.ours(|f| f.rate));
        to.set("cpu_us", self.ours(|f| f.cpu));
        to.set("loaded_p99_us", self.ours(|f| f.loaded_p99));
        to.set("renew_cpu_us", self.ours(|f| f.renew_cpu));
        to.set("start_s", self.ours(|f| Some(f.start)));
    }

    fn full(&self, to: &mut Report) {
        let full = |part: fn(&Full) -> f64| self.full.as_ref().map(part);
        to.set("rss_1m_mib", full(|full| full.memory.resident));
        to.set("peak_1m_mib", full(|full| full.memory.peak));
        to.set("start_1m_s", full(|full| full.start.as_secs_f64()));
        to.set("stop_1m_s", full(|full| full.stop.as_secs_f64()));
        to.set("store_size", full(|full| full.size as f64));
    }

    fn yardsticks(&self, to: &mut Report) {
        to.set("floor_us", self.floor(Floor::total));
        to.set("floor_alone_us", Some(self.floor_alone));
        to.set("floor_per_s", self.floor(Floor::total).map(|us| 1e6 / us));
        to.set("floor_csr_us", self.floor(|floor| floor.request));
        to.set("floor_token_us", self.floor(|floor| floor.token));
        to.set("floor_sign_us", self.floor(|floor| floor.sign));
        to.set("step_ca_per_s", self.theirs(|f| f.rate));
        to.set("step_ca_cpu_us", self.theirs(|f| f.cpu));
        to.set("step_ca_renew_per_s", self.theirs(|f| f.renew));
        to.set("step_ca_p50_us", self.theirs(|f| f.p50));
        to.set("step_ca_p99_us", self.theirs(|f| f.p99));
        to.set("step_ca_rest_mib", self.theirs(|f| Some(f.rest)));
        to.set(
            "generator_us",
            self.ours(|f| f.own_cpu).or_else(|| self.theirs(|f| f.own_cpu)),
        );
    }

    fn floor(&self, part: fn(&Floor) -> f64) -> Option<f64> {
        median(self.floors.iter().map(part))
    }

    fn ours(&self, part: fn(&Figures) -> Option<f64>) -> Option<f64> {
        self.muster.as_ref().and_then(part)
    }

    fn theirs(&self, part: fn(&Figures) -> Option<f64>) -> Option<f64> {
        self.step_ca.as_ref().and_then(part)
    }
}
