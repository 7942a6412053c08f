//! Brokers as a list, what needs somebody first.

use jiff::Timestamp;

use super::few::{Key, Order};
use super::{Page, Paging};
use crate::broker::Program;
use crate::broker::agent::{Standing, StandingState};
use crate::error::Error;

/// What brokers can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BrokerSort {
    /// How they stand: what needs somebody first.
    #[default]
    State,
    /// Their name.
    Name,
    /// When they last proved what they enforce.
    Proof,
    /// When their certificate ends.
    Certificate,
    /// When the first CRL that they hold runs out.
    Crl,
    /// How many sessions they have.
    Sessions,
    /// When they were registered.
    Created,
}

/// A page of brokers; those out of service, too. What is left out does not narrow it.
#[derive(Debug, Clone, Default)]
pub struct BrokerList {
    /// That stand so.
    pub state: Option<StandingState>,
    /// That are this.
    pub program: Option<Program>,
    /// Whose name begins so.
    pub prefix: String,
    /// The order. Of what is not known about a broker, it comes last.
    pub sort: BrokerSort,
    /// Whether the order is turned round.
    pub descending: bool,
    /// Which page.
    pub paging: Paging,
}

impl BrokerList {
    /// The page of these brokers.
    pub(crate) fn page(&self, mut all: Vec<Standing>) -> Result<Page<Standing>, Error> {
        all.retain(|one| {
            self.state.is_none_or(|state| state == one.state)
                && self.program.is_none_or(|program| program == one.broker.program)
                && one.broker.name.as_str().starts_with(&self.prefix)
        });
        let order = Order {
            name: match self.sort {
                BrokerSort::State => "brokers state",
                BrokerSort::Name => "brokers name",
                BrokerSort::Proof => "brokers proof",
                BrokerSort::Certificate => "brokers certificate",
                BrokerSort::Crl => "brokers crl",
                BrokerSort::Sessions => "brokers sessions",
                BrokerSort::Created => "brokers created",
            },
            descending: self.descending,
        };
        order.page(all, &self.paging, |one| self.key(one))
    }

    fn key(&self, one: &Standing) -> Key {
        let report = one.report.as_ref();
        // The order is turned round for what is known alone.
        let unknown = if self.descending { i64::MIN } else { i64::MAX };
        let moment = |at: Option<Timestamp>| at.map_or(unknown, Timestamp::as_millisecond);
        let number = match self.sort {
            BrokerSort::State => urgency(one),
            BrokerSort::Name => 0,
            BrokerSort::Proof => moment(one.broker.enforced.map(|enforced| enforced.at)),
            BrokerSort::Certificate => moment(report.and_then(|report| report.certificate_not_after)),
            BrokerSort::Crl => moment(one.crl_until()),
            BrokerSort::Sessions => {
                let sessions = report.and_then(|report| report.sessions);
                sessions.map_or(unknown, |count| i64::try_from(count).unwrap_or(i64::MAX))
            }
            BrokerSort::Created => one.broker.created.as_millisecond(),
        };
        (number, String::new(), one.broker.name.to_string())
    }
}

/// What needs somebody comes first.
fn urgency(standing: &Standing) -> i64 {
    match standing.state {
        StandingState::Silent => 0,
        StandingState::Unconfirmed => 1,
        StandingState::Proven if !standing.wrong().is_empty() => 2,
        StandingState::Waiting => 3,
        StandingState::Proven => 4,
        StandingState::Retired => 5,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;
    use crate::broker::agent::Report;
    use crate::broker::{Broker, Failed};
    use crate::device::DeviceName;

    fn all() -> Vec<Standing> {
        let at = |second| Timestamp::from_second(second).unwrap();
        [
            ("a", StandingState::Retired, None, ""),
            ("b", StandingState::Proven, Some(7), ""),
            ("c", StandingState::Proven, Some(9), "the disk is full"),
            ("d", StandingState::Silent, Some(8), ""),
        ]
        .map(|(name, state, sessions, why)| Standing {
            broker: Broker {
                name: DeviceName::parse(name).unwrap(),
                program: Program::Mosquitto,
                sans: Vec::new(),
                created: at(0),
                retired: None,
                enforced: None,
                failed: (!why.is_empty()).then(|| Failed {
                    number: 1,
                    at: at(0),
                    why: why.into(),
                }),
                version: 1,
            },
            state,
            heard: None,
            denied: Vec::new(),
            report: sessions.map(|sessions| Report {
                sessions: Some(sessions),
                ..Report::default()
            }),
        })
        .into()
    }

    fn names(list: BrokerList) -> String {
        let paging = Paging {
            limit: 9,
            ..list.paging.clone()
        };
        let page = BrokerList { paging, ..list }.page(all()).unwrap();
        page.items.iter().map(|one| one.broker.name.as_str()).collect()
    }

    #[test]
    fn what_needs_somebody_comes_first_and_what_nobody_knows_last() {
        let sorted = |sort, descending| {
            names(BrokerList {
                sort,
                descending,
                ..BrokerList::default()
            })
        };
        assert_eq!(sorted(BrokerSort::State, false), "dcba");
        assert_eq!(sorted(BrokerSort::Sessions, false), "bdca");
        assert_eq!(sorted(BrokerSort::Sessions, true), "cdba");
        assert_eq!(sorted(BrokerSort::Name, true), "dcba");
        let proven = BrokerList {
            state: Some(StandingState::Proven),
            ..BrokerList::default()
        };
        assert_eq!(names(proven), "cb");
        let other = BrokerList {
            program: Some(Program::Gate),
            ..BrokerList::default()
        };
        assert_eq!(names(other), "");
    }
}
