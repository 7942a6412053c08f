//! What is wrong now, in words for people: in the report, and in the agent's own log when it begins and once a day.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::beside::check::Late;

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    /// The broker lets somebody in, or nobody, or is not there.
    Broker,
    /// The newest epoch is not in force.
    Epoch,
    /// A list runs out.
    Crl,
    /// A certificate ends.
    Certificate,
    /// The CA cannot be reached.
    Ca,
    /// Mosquitto cannot do quite what the rules say.
    Access,
    /// The broker's log cannot be read.
    Log,
}

/// What is wrong, and since when it was last said.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    now: BTreeMap<Topic, (Vec<String>, Timestamp)>,
}

impl Alarms {
    /// Says what is wrong about a topic; nothing: all is well.
    pub(crate) fn set(&mut self, broker: &str, topic: Topic, words: Vec<String>, now: Timestamp) {
        let before = self.now.get(&topic);
        if words.is_empty() {
            if self.now.remove(&topic).is_some() {
                tracing::info!(broker, "well again: {topic:?}");
            }
            return;
        }
        let said = match before {
            Some((same, said)) if *same == words && now.duration_since(*said) < DAY => *said,
            Some(_) | None => {
                words
                    .iter()
                    .for_each(|words| tracing::warn!(broker, "ALARM: {words}"));
                now
            }
        };
        self.now.insert(topic, (words, said));
    }

    /// All of it.
    pub(crate) fn all(&self, broker: &str) -> Vec<String> {
        let words = self.now.values().flat_map(|(words, _)| words);
        words.map(|words| format!("{broker}: {words}")).collect()
    }
}

/// What it means that lists are late, and what to do.
pub(crate) fn crl(late: &[Late], now: Timestamp) -> Vec<String> {
    late.iter().map(|late| words(late, now)).collect()
}

fn words(late: &Late, now: Timestamp) -> String {
    let Late { end, of, .. } = late;
    let fix = if late.root {
        "make the next one where the CA is: muster ca root-crl"
    } else {
        "let the agent reach the CA"
    };
    if *end <= now {
        return format!("the CRL of {of} ran out at {end}: the broker refuses all of its devices ({fix})");
    }
    let since = if late.root {
        "ends soon"
    } else {
        "is past half of its life"
    };
    format!(
        "the CRL of {of} that the broker holds {since}, and at {end} the broker begins to refuse all of its devices ({fix} \
         before)"
    )
}

/// A certificate is past three quarters of its life: by now it should have been renewed.
pub(crate) fn certificate(what: &str, begin: Timestamp, end: Timestamp, now: Timestamp) -> Option<String> {
    let late = super::check::half(super::check::half(begin, end), end);
    if end <= now {
        return Some(format!("{what} ended at {end}"));
    }
    (late <= now).then(|| format!("{what} ends at {end} and could not be renewed so far"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_said_when_it_begins_and_goes_when_it_ends() {
        let mut alarms = Alarms::default();
        alarms.set("b", Topic::Ca, vec!["away".into()], Timestamp::UNIX_EPOCH);
        assert_eq!(alarms.all("b"), ["b: away"]);
        alarms.set("b", Topic::Ca, Vec::new(), Timestamp::UNIX_EPOCH);
        assert!(alarms.all("b").is_empty());
    }

    #[test]
    fn what_stays_wrong_is_said_again_every_day() {
        let mut alarms = Alarms::default();
        let at = |hours: i64| Timestamp::from_second(hours * 3600).unwrap_or_default();
        let mut said = |hours, words: &str| {
            alarms.set("b", Topic::Crl, vec![words.into()], at(hours));
            alarms.now.get(&Topic::Crl).map(|(_, said)| *said)
        };
        assert_eq!(said(0, "late"), Some(at(0)));
        assert_eq!(said(23, "late"), Some(at(0)));
        assert_eq!(said(24, "late"), Some(at(24)));
        assert_eq!(said(25, "over"), Some(at(25)), "something else is said at once");
    }

    #[test]
    fn a_certificate_is_late_after_three_quarters() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap_or_default();
        let said = |now| certificate("it", at(0), at(1000), at(now));
        assert_eq!(said(749), None);
        assert!(said(750).is_some_and(|words| words.contains("ends at")));
        assert!(said(1000).is_some_and(|words| words.contains("ended at")));
    }
}
