//! `scripts/bench issue`: what a certificate costs, against the crypto floor and the real step-ca.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::findings::Findings;
use crate::floor;
use crate::report::{median, progress, thousands};
use crate::subject::Subject;
use crate::target::Launch;
use crate::{Result, crl};

const CRL_ENTRIES: u32 = 100_000;
/// `f_type` of a file system in memory (statfs(2)).
const TMPFS: i64 = 0x0102_1994;

#[derive(Args)]
pub(crate) struct Options {
    /// Small counts: to try it out, not to quote
    #[arg(long)]
    quick: bool,
    /// Which servers are measured
    #[arg(long, value_enum, default_value_t = Subjects::Both)]
    subjects: Subjects,
    /// Certificates in the store for the last part [default: 1,000,000, or 20,000 with --quick]
    #[arg(long)]
    fill: Option<usize>,
    /// Windows of load for each server, interleaved
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The muster binary [default: the one beside this program]
    #[arg(long, env = "MUSTER_BIN")]
    muster: Option<PathBuf>,
    /// The step-ca binary
    #[arg(long, env = "STEP_CA", default_value = "step-ca")]
    step_ca: PathBuf,
    /// The step binary
    #[arg(long, env = "STEP", default_value = "step")]
    step: PathBuf,
    /// Where the stores are made; must not be in memory, since commits are part of what is measured
    #[arg(long, env = "TMPDIR", default_value = "/tmp")]
    dir: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subjects {
    Both,
    Muster,
    StepCa,
}

impl Options {
    fn window(&self) -> Duration {
        Duration::from_secs(if self.quick { 2 } else { 5 })
    }

    fn store_size(&self) -> usize {
        self.fill.unwrap_or(if self.quick { 20_000 } else { 1_000_000 })
    }

    fn latency_samples(&self) -> usize {
        if self.quick { 500 } else { 5000 }
    }

    fn muster_program(&self) -> Result<PathBuf> {
        Ok(match &self.muster {
            Some(path) => path.clone(),
            None => std::env::current_exe()?.with_file_name("muster"),
        })
    }
}

/// Runs the whole benchmark; about eight minutes, or one with `--quick`.
pub(crate) async fn run(options: &Options) -> Result<()> {
    durable(&options.dir)?;
    let place = tempfile::Builder::new()
        .prefix("muster-bench-")
        .tempdir_in(&options.dir)?;
    let (mut floors, floor_alone) = (vec![floor::measure()?], floor::measure_alone()?);
    let (mut muster, mut step_ca) = (None, None);
    if options.subjects != Subjects::StepCa {
        let launch = Launch::muster(&options.muster_program()?, place.path())?;
        muster = Some(Subject::start("muster", launch).await?);
    }
    if options.subjects != Subjects::Muster {
        let launch = Launch::step_ca(&options.step_ca, &options.step, place.path())?;
        step_ca = Some(Subject::start("step-ca", launch).await?);
    }

    for round in 1..=options.rounds {
        floors.push(floor::measure()?);
        for subject in [&mut muster, &mut step_ca].into_iter().flatten() {
            progress(format_args!(
                "{}: POST /sign, window {round} of {}",
                subject.name, options.rounds
            ));
            subject.sign_window(options.window()).await?;
        }
    }
    for subject in [&mut muster, &mut step_ca].into_iter().flatten() {
        subject.renew_window(options.window()).await?;
        subject.latency(options.latency_samples()).await?;
    }
    let step_ca = match step_ca {
        Some(subject) => {
            let figures = subject.figures();
            subject.stop().await?;
            Some(figures)
        }
        None => None,
    };
    // From here on without a rival on the machine.
    progress(format_args!("CRL of {} entries", thousands(CRL_ENTRIES.into())));
    let crl = median(
        (0..5)
            .map(|_| crl::measure(CRL_ENTRIES))
            .collect::<Result<Vec<_>>>()?,
    );
    let figures = muster.as_ref().map(Subject::figures);
    let full = match muster {
        Some(subject) => Some(subject.fill_and_restart(options.store_size()).await?),
        None => None,
    };
    Findings {
        floors,
        floor_alone,
        muster: figures,
        step_ca,
        full,
        crl,
        quick: options.quick,
    }
    .report()
    .print()
}

/// Refuses a place where a commit costs nothing.
fn durable(dir: &Path) -> Result<()> {
    let found = rustix::fs::statfs(dir).map_err(|why| format!("{}: {why}", dir.display()))?;
    if found.f_type as i64 == TMPFS {
        return Err(format!(
            "{} is in memory: name a directory on a disk with --dir",
            dir.display()
        )
        .into());
    }
    Ok(())
}
