//! What Mosquitto refused, from its log. MQTT 3.1.1 does not tell the device.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use muster_api::agent::Denial;

use crate::Error;

/// How much is read at once; what was written faster than this is passed over.
const MOST: u64 = 4 << 20;
/// How many devices and topics are told apart.
const MOST_DENIALS: usize = 100;
/// The longest line that is looked at.
const MAX_LINE: usize = 70_000;

/// Reads what was added to a log.
#[derive(Debug)]
pub(super) struct Follower {
    path: PathBuf,
    /// The file that was read last, and how far.
    seen: Option<(u64, u64)>,
    /// The beginning of a line whose end is not there yet.
    rest: Vec<u8>,
}

impl Follower {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            seen: None,
            rest: Vec::new(),
        }
    }

    /// What was refused since the last call; the first looks for where the log ends.
    pub(super) fn denials(&mut self) -> Result<Vec<Denial>, Error> {
        let read = self.read().map_err(|why| {
            Error::new(format!(
                "the broker's log {} cannot be read: {why} (let the agent's user read it, or leave --log out)",
                self.path.display()
            ))
        })?;
        let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
        self.rest.extend(read);
        let end = self
            .rest
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        let whole: Vec<u8> = self.rest.drain(..end).collect();
        if self.rest.len() > MAX_LINE {
            self.rest.clear();
        }
        for line in whole.split(|byte| *byte == b'\n') {
            let Some(denial) = denial(&String::from_utf8_lossy(line)) else {
                continue;
            };
            if counts.len() < MOST_DENIALS || counts.contains_key(&denial) {
                *counts.entry(denial).or_default() += 1;
            }
        }
        let each = counts.into_iter();
        Ok(each
            .map(|((device, topic), times)| Denial { device, topic, times })
            .collect())
    }

    fn read(&mut self) -> std::io::Result<Vec<u8>> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            // A broker that does not run yet has no log.
            Err(why) if why.kind() == ErrorKind::NotFound => {
                self.seen = Some((0, 0));
                return Ok(Vec::new());
            }
            Err(why) => return Err(why),
        };
        let about = file.metadata()?;
        let start = match self.seen {
            None => about.size(),
            Some((inode, offset)) if inode == about.ino() && offset <= about.size() => offset,
            // Another file, or it was cut: it begins anew.
            Some(_) => 0,
        };
        let start = start.max(about.size().saturating_sub(MOST));
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(MOST).read_to_end(&mut bytes)?;
        self.seen = Some((about.ino(), start + bytes.len() as u64));
        Ok(bytes)
    }
}

/// `Denied PUBLISH from DEVICE (d0, q1, r0, m7, 'TOPIC', ... (1 bytes))`: who, and on which topic.
fn denial(line: &str) -> Option<(String, String)> {
    let (_, rest) = line.split_once("Denied PUBLISH from ")?;
    let (device, rest) = rest.split_once(" (d")?;
    let (_, rest) = rest.split_once(", '")?;
    let (topic, _) = rest.rsplit_once("', ... (")?;
    let sound = device.len() <= 64 && !device.contains(char::is_whitespace) && !device.is_empty();
    let short = |text: &str| {
        text.chars()
            .filter(|letter| !letter.is_control())
            .take(200)
            .collect()
    };
    sound.then(|| (device.to_owned(), short(topic)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use std::io::Write;

    use super::*;

    #[test]
    fn denials_are_counted_across_reads_and_rotations() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let line = |device: &str, topic: &str| {
            format!("1700000000: Denied PUBLISH from {device} (d0, q1, r0, m7, '{topic}', ... (1 bytes))\n")
        };
        std::fs::write(&path, line("old", "t")).unwrap();
        let mut follower = Follower::new(path.clone());
        assert_eq!(follower.denials().unwrap(), []);
        let mut log = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        let text = format!("noise\n{}{}", line("dev1", "a/b"), line("dev1", "a/b"));
        let (first, second) = text.split_at(text.len() - 20);
        log.write_all(first.as_bytes()).unwrap();
        assert_eq!(follower.denials().unwrap()[0].times, 1);
        log.write_all(second.as_bytes()).unwrap();
        assert_eq!(follower.denials().unwrap()[0].times, 1);
        std::fs::rename(&path, dir.path().join("log.1")).unwrap();
        std::fs::write(&path, line("dev2", "c', ... (9 bytes))")).unwrap();
        let denied = follower.denials().unwrap();
        assert_eq!(
            (denied[0].device.as_str(), denied[0].topic.as_str()),
            ("dev2", "c', ... (9 bytes))")
        );
    }

    #[test]
    fn any_line_is_read_without_harm() {
        bolero::check!().for_each(|bytes| {
            let text = String::from_utf8_lossy(bytes);
            if let Some((device, topic)) = denial(&format!("Denied PUBLISH from {text}")) {
                assert!(device.len() <= 64 && topic.chars().count() <= 200);
            }
        });
    }
}
