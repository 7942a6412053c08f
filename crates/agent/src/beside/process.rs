//! Finding the broker's process, what it may read, and telling it to read.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use crate::Error;

/// A process, and who it runs as.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    pid: Pid,
    user: u32,
    groups: Vec<u32>,
    /// The signals that it has handlers for by now, a bit for each.
    caught: u64,
}

/// The process whose id is in `pid_file`, else the only one with this name.
pub(crate) fn find(name: &str, pid_file: Option<&Path>) -> Result<Process, Error> {
    let pid = match pid_file {
        Some(file) => from_file(name, file)?,
        None => the_only(name)?,
    };
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()));
    let process = status.ok().and_then(|status| Process::read(name, pid, &status));
    process.ok_or_else(|| Error::new(format!("{name} does not run any more (start it)")))
}

impl Process {
    /// Effective user, all groups, and caught signals (proc_pid_status(5)).
    fn read(name: &str, pid: Pid, status: &str) -> Option<Self> {
        let words = |word: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(word));
            line.unwrap_or_default().split_whitespace()
        };
        let numbers = |word: &str| words(word).filter_map(|number| number.parse().ok());
        let mut groups: Vec<u32> = numbers("Groups:").collect();
        groups.extend(numbers("Gid:").nth(1));
        let caught = u64::from_str_radix(words("SigCgt:").next()?, 16).ok()?;
        Some(Self {
            name: name.to_owned(),
            pid,
            user: numbers("Uid:").nth(1)?,
            groups,
            caught,
        })
    }

    /// Sends a signal. Not to a program that is only starting: it would end, and has not read its files for the last time anyway.
    pub(crate) fn send(&self, signal: Signal) -> Result<(), Error> {
        if self.caught >> (signal.as_raw() - 1) & 1 == 0 {
            return Err(Error::new(format!(
                "{} is starting; it is told in a moment",
                self.name
            )));
        }
        kill_process(self.pid, signal).map_err(|why| {
            Error::new(format!(
                "cannot signal {} (process {}): {why} (run the agent as root, or as the broker's user)",
                self.name,
                self.pid.as_raw_nonzero()
            ))
        })
    }

    /// Whether it may read files, by its user and groups and their modes.
    pub(crate) fn can_read(&self, files: &[PathBuf]) -> Result<(), Error> {
        for file in files {
            let dirs = file.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty());
            if self.may(file, 0o4) && dirs.clone().all(|dir| self.may(dir, 0o1)) {
                continue;
            }
            return Err(Error::new(format!(
                "{} runs as the user {} and cannot read {} (start the agent with --group and the broker's group, and let \
                 that user into the directory)",
                self.name,
                self.user,
                file.display()
            )));
        }
        Ok(())
    }

    /// Whether the mode of a file gives it these rights.
    fn may(&self, path: &Path, rights: u32) -> bool {
        let Ok(file) = std::fs::metadata(path) else {
            return false;
        };
        let granted = if self.user == file.uid() {
            file.mode() >> 6
        } else if self.groups.contains(&file.gid()) {
            file.mode() >> 3
        } else {
            file.mode()
        };
        self.user == 0 || granted & rights == rights
    }
}

fn from_file(name: &str, file: &Path) -> Result<Pid, Error> {
    let down = |why: &str| {
        Error::new(format!(
            "{name} does not run: {} {why} (start it; if it runs, its pid_file has to be this one)",
            file.display()
        ))
    };
    let text = std::fs::read_to_string(file).map_err(|why| down(&format!("cannot be read: {why}")))?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| down("holds no process id"))?;
    // A process id that was left behind may be anybody's by now, and SIGHUP ends most programs.
    if name_of(pid.as_raw_nonzero().get()).as_deref() == Some(name) {
        Ok(pid)
    } else {
        Err(down("names a process that is something else"))
    }
}

fn the_only(name: &str) -> Result<Pid, Error> {
    let processes =
        std::fs::read_dir("/proc").map_err(|why| Error::new(format!("cannot read /proc: {why}")))?;
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let mut found: Vec<i32> = ids.filter(|id| name_of(*id).as_deref() == Some(name)).collect();
    let first = found.pop().and_then(Pid::from_raw);
    match (first, found.is_empty()) {
        (Some(pid), true) => Ok(pid),
        (Some(_), false) => Err(Error::new(format!(
            "several programs called {name} run here (say which one with --pid-file)"
        ))),
        (None, _) => Err(Error::new(format!("{name} does not run (start it)"))),
    }
}

fn name_of(pid: i32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}
