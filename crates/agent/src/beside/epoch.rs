//! Epochs: what a broker has to enforce, signed and numbered.
//!
//! [`open`] believes what the internal authority signed for this broker; [`Whole::take`] merges it into what is known already,
//! and refuses a number that is not higher.

use std::collections::{BTreeMap, BTreeSet};

use muster_api::agent::{Canary, CrlNeed, EPOCH_FORMAT, EPOCH_TYPE, Epoch, Rules};
use muster_pki::cert::Certificate;
use rumqttc::mqttbytes::valid_filter;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The most devices that are shut out, and that have rules of their own, each.
const MAX_DEVICES: usize = 1_000_000;
/// The most rules of one device, and the longest.
const MAX_RULES: usize = 1000;
const MAX_RULE: usize = 1024;
/// The most CAs that a broker trusts.
const MAX_ANCHORS: usize = 64;

/// Everything that the epochs so far add up to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whole {
    /// The number of the newest; 0: there was none.
    pub number: u64,
    /// The audit entry up to which everything is in it.
    pub sequence: u64,
    /// Every CA that the broker trusts, PEM.
    pub anchors: String,
    /// A CRL for each of them.
    pub crls: Vec<CrlNeed>,
    /// Revoked canaries of the newest epoch.
    pub canaries: Vec<Canary>,
    /// Devices that must not come in.
    pub shut_out: BTreeSet<String>,
    /// What devices may do that have no rules of their own.
    pub default: Rules,
    /// The rules of those that have.
    pub devices: BTreeMap<String, Rules>,
}

/// What is to be done about sessions because of an epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sessions {
    /// Devices that are newly shut out.
    pub shut_out: Vec<String>,
    /// Devices that may come in again.
    pub let_in: Vec<String>,
    /// Devices whose sessions end once.
    pub kicked: Vec<String>,
}

/// Why an epoch was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It changes lists that are not here: a whole one has to be asked for.
    #[error("the epoch {0} changes lists that this agent does not have")]
    Gap(u64),
    /// It is older than what is here. Nothing to worry about: epochs may come twice.
    #[error("the epoch {0} is not newer than {1}, which is here already")]
    Old(u64, u64),
    /// It is not what an epoch may be.
    #[error("{0}")]
    Bad(String),
}

/// Reads an epoch that the authority below `root` signed for this broker.
pub fn open(text: &str, broker: &str, root: &Certificate) -> Result<Epoch, Error> {
    let payload = muster_pki::message::open(text, EPOCH_TYPE, root)?;
    let epoch = read(&payload)?;
    if epoch.broker != broker {
        return Err(Error::new(format!(
            "an epoch is for the broker {:?}, and this is the agent of {broker}",
            epoch.broker
        )));
    }
    Ok(epoch)
}

fn read(payload: &[u8]) -> Result<Epoch, Error> {
    let epoch: Epoch = serde_json::from_slice(payload)
        .map_err(|why| Error::new(format!("an epoch cannot be read: {why} (is this agent too old?)")))?;
    if epoch.format > EPOCH_FORMAT {
        return Err(Error::new(format!(
            "an epoch has the format {}, and this agent understands {EPOCH_FORMAT} (install the CA's version beside the broker)",
            epoch.format
        )));
    }
    Ok(epoch)
}

impl Whole {
    /// Merges an epoch. If it is refused, nothing has changed.
    pub fn take(&mut self, epoch: Epoch) -> Result<Sessions, Refused> {
        if epoch.number <= self.number {
            return Err(Refused::Old(epoch.number, self.number));
        }
        check(&epoch).map_err(Refused::Bad)?;
        let mut next = match epoch.after {
            Some(after) if self.number == 0 || after != self.sequence => {
                return Err(Refused::Gap(epoch.number));
            }
            Some(_) => self.clone(),
            None => Self::default(),
        };
        for name in epoch.let_in.iter() {
            next.shut_out.remove(name);
        }
        next.shut_out.extend(epoch.shut_out);
        for name in &epoch.access.removed {
            next.devices.remove(name);
        }
        let own = epoch.access.devices.into_iter();
        next.devices.extend(own.map(|device| (device.name, device.rules)));
        if next.shut_out.len() > MAX_DEVICES || next.devices.len() > MAX_DEVICES {
            return Err(Refused::Bad(format!(
                "an epoch names more than {MAX_DEVICES} devices"
            )));
        }
        let sessions = Sessions {
            shut_out: next.shut_out.difference(&self.shut_out).cloned().collect(),
            let_in: self.shut_out.difference(&next.shut_out).cloned().collect(),
            kicked: epoch.kicked,
        };
        *self = Self {
            number: epoch.number,
            sequence: epoch.sequence,
            anchors: epoch.anchors,
            crls: epoch.crls,
            canaries: epoch.canaries,
            default: epoch.access.default,
            ..next
        };
        Ok(sessions)
    }
}

/// What may be written into a broker's files: no name or topic can smuggle in a line.
fn check(epoch: &Epoch) -> Result<(), String> {
    let access = &epoch.access;
    let names = epoch.shut_out.iter().chain(&epoch.let_in).chain(&epoch.kicked);
    let names = names.chain(&access.removed);
    let names = names.chain(access.devices.iter().map(|device| &device.name));
    if let Some(bad) = names.into_iter().find(|name| !is_name(name)) {
        return Err(format!("an epoch names the device {bad:?}, which is no name"));
    }
    check_rules("most devices", &access.default)?;
    for device in &access.devices {
        check_rules(&device.name, &device.rules)?;
    }
    let crls = || epoch.crls.iter();
    let is_crl = |name: &str| name.len() <= 128 && !name.is_empty() && name.bytes().all(is_plain);
    if let Some(bad) = crls().find(|need| !is_crl(&need.name)) {
        return Err(format!("an epoch needs the CRL {:?}, which is no name", bad.name));
    }
    if crls().count() > MAX_ANCHORS || epoch.canaries.len() > MAX_ANCHORS {
        return Err(format!("an epoch names more than {MAX_ANCHORS} CAs"));
    }
    Ok(())
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._".contains(&byte)
}

fn is_name(name: &str) -> bool {
    let bad = |letter: char| letter.is_control() || letter.is_whitespace() || "/+#$".contains(letter);
    (1..=64).contains(&name.chars().count()) && !name.contains(bad)
}

fn check_rules(whose: &str, rules: &Rules) -> Result<(), String> {
    let all = || rules.publish.iter().chain(&rules.subscribe);
    if all().count() > MAX_RULES {
        return Err(format!("there are more than {MAX_RULES} rules for {whose}"));
    }
    match all().find(|filter| !is_filter(filter)) {
        Some(bad) => Err(format!("a rule of {whose} has {bad:?}, which is no topic filter")),
        None => Ok(()),
    }
}

/// MQTT 5.0, section 4.7; and nothing that a file with one rule in a line cannot say.
fn is_filter(filter: &str) -> bool {
    let sound = filter.len() <= MAX_RULE && valid_filter(filter) && filter.trim() == filter;
    sound && !filter.contains(char::is_control) && !filter.contains("%c")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;
    use muster_api::agent::{Access, DeviceRules};

    fn epoch(number: u64, after: Option<u64>) -> Epoch {
        Epoch {
            format: 1,
            broker: "b".into(),
            number,
            sequence: number * 10,
            after,
            at: String::new(),
            anchors: String::new(),
            crls: Vec::new(),
            canaries: Vec::new(),
            shut_out: Vec::new(),
            let_in: Vec::new(),
            kicked: Vec::new(),
            access: Access::default(),
        }
    }

    fn rules(topic: &str) -> Rules {
        Rules {
            publish: vec![topic.into()],
            subscribe: Vec::new(),
        }
    }

    /// An epoch as the first release sent it.
    const FIRST_RELEASE: &str = r#"{"broker":"hub.example.org","number":1795258800123,"sequence":41,"at":"2026-11-21T09:00:00.123Z","anchors":"","crls":[{"name":"default-1","number":1795258800101}],"canaries":[{"issuer":"default-1","certificate":"c","key":"k"}],"shut_out":["site-9"],"let_in":[],"kicked":["site-2"],"access":{"default":{"publish":["fleet/%u/#"],"subscribe":["fleet/%u/#"]},"devices":[{"name":"iotagent","rules":{"publish":["cmd/#"],"subscribe":["fleet/#"]}}],"removed":[]}}"#;

    #[test]
    fn what_older_and_newer_releases_send_is_read() {
        let first = read(FIRST_RELEASE.as_bytes()).unwrap();
        assert_eq!((first.format, first.after), (1, None));
        let mut whole = Whole::default();
        assert_eq!(whole.take(first).unwrap().kicked, ["site-2"]);
        assert!(whole.shut_out.contains("site-9") && whole.devices.contains_key("iotagent"));
        // Additions, at every level, are passed over.
        let newer = FIRST_RELEASE
            .replace(r#""broker":"#, r#""format":1,"policy":{"a":[1]},"broker":"#)
            .replace(r#""issuer":"#, r#""since":"x","issuer":"#)
            .replace(r#""publish":"#, r#""retain":false,"publish":"#)
            .replace(r#""removed":"#, r#""later":[],"removed":"#)
            .replace(r#"123,"sequence""#, r#"124,"sequence""#);
        assert_eq!(
            whole.take(read(newer.as_bytes()).unwrap()).unwrap().shut_out,
            names(&[])
        );
        // What would be misread is refused aloud.
        let strange = FIRST_RELEASE.replace(r#""broker":"#, r#""format":2,"broker":"#);
        let why = read(strange.as_bytes()).unwrap_err().0;
        assert!(why.contains("format 2") && why.contains("install"), "{why}");
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn deltas_add_up_to_what_a_whole_epoch_says() {
        let mut whole = Whole::default();
        let mut first = epoch(1, None);
        first.shut_out = names(&["a", "b"]);
        first.access.devices = vec![DeviceRules {
            name: "x".into(),
            rules: rules("t/x"),
        }];
        assert_eq!(whole.take(first).unwrap().shut_out, ["a", "b"]);
        let mut second = epoch(2, Some(10));
        second.shut_out = names(&["c"]);
        second.let_in = names(&["a"]);
        second.kicked = names(&["k"]);
        second.access.removed = names(&["x"]);
        let sessions = whole.take(second).unwrap();
        assert_eq!(
            (sessions.shut_out, sessions.let_in, sessions.kicked),
            (names(&["c"]), names(&["a"]), names(&["k"]))
        );
        assert_eq!(
            whole.shut_out.iter().map(String::as_str).collect::<Vec<_>>(),
            ["b", "c"]
        );
        assert!(whole.devices.is_empty());
        let mut third = epoch(3, None);
        third.shut_out = names(&["b"]);
        assert_eq!(whole.take(third).unwrap().let_in, ["c"]);
        assert_eq!(whole.shut_out.len(), 1);
    }

    #[test]
    fn old_epochs_gaps_and_smuggled_lines_change_nothing() {
        let mut whole = Whole::default();
        whole.take(epoch(5, None)).unwrap();
        let before = whole.clone();
        assert_eq!(whole.take(epoch(5, None)), Err(Refused::Old(5, 5)));
        assert_eq!(whole.take(epoch(4, None)), Err(Refused::Old(4, 5)));
        assert_eq!(whole.take(epoch(7, Some(40))), Err(Refused::Gap(7)));
        assert_eq!(
            Whole::default().take(epoch(1, Some(0))),
            Err(Refused::Gap(1)),
            "changes of nothing"
        );
        for name in ["a\nuser b", "", "a b", "a/b", "+", &"x".repeat(65)] {
            let mut bad = epoch(6, Some(50));
            bad.shut_out = vec![name.into()];
            assert!(matches!(whole.take(bad), Err(Refused::Bad(_))), "{name:?}");
        }
        for topic in ["a\ntopic #", "a/#/b", "", " a", "a ", "a/%c"] {
            let mut bad = epoch(6, Some(50));
            bad.access.default = rules(topic);
            assert!(matches!(whole.take(bad), Err(Refused::Bad(_))), "{topic:?}");
        }
        let mut bad = epoch(6, Some(50));
        bad.crls = vec![CrlNeed {
            name: "../../etc/passwd".into(),
            number: 1,
        }];
        assert!(matches!(whole.take(bad), Err(Refused::Bad(_))));
        assert_eq!(whole, before);
    }
}
