//! A server under test: started, measured, stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;

/// How long a server may take to stop when asked to.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running child; killed when dropped.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

/// Memory of a process, MiB.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// Resident now (VmRSS).
    pub(crate) resident: f64,
    /// The most that was resident (VmHWM).
    pub(crate) peak: f64,
}

impl Process {
    /// Starts `command` with its output in `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let output = fs::File::create(log)?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let child = command
            .spawn()
            .map_err(|why| format!("{} does not start: {why}", command.get_program().display()))?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails, with the end of its log, if it has gone.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("the server ended ({status}):\n{}", self.last_words()).into()),
        }
    }

    /// The last lines that it wrote.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Its memory.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let mib = |key: &str| -> Result<f64> {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(key))
                .ok_or("no memory figures")?;
            Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
        };
        Ok(Memory {
            resident: mib("VmRSS:")?,
            peak: mib("VmHWM:")?,
        })
    }

    /// Asks it to stop (SIGTERM) and waits; returns how long that took.
    pub(crate) async fn stop(mut self) -> Result<Duration> {
        let begun = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        while self.child.try_wait()?.is_none() {
            if begun.elapsed() > PATIENCE {
                return Err("the server does not stop".into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(begun.elapsed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor time that process `id` has used, user and system, in seconds (proc_pid_stat(5), fields 14 and 15).
pub(crate) fn cpu_seconds(id: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The second field is a name in brackets that may hold blanks.
    let (_, after) = stat.rsplit_once(')').ok_or("no processor figures")?;
    let ticks: u64 = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse().unwrap_or(0))
        .sum();
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}
