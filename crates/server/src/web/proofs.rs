//! Whether what was done to a device is in force: at which brokers, and since when not.

use askama::Template;
use askama::filters::HtmlSafe;
use jiff::Timestamp;
use muster_ca::broker::agent::{Standing, StandingState};

use super::components::{Badge, Mood, When};

/// See the module.
#[derive(Template)]
#[template(path = "components/proofs.html")]
pub(crate) struct Proofs {
    base: String,
    all: Vec<Row>,
    summary: String,
    mood: Mood,
}

impl HtmlSafe for Proofs {}

struct Row {
    name: String,
    badge: Badge,
    note: String,
    heard: Option<When>,
}

impl Proofs {
    /// Of the brokers in service. `since`: when what has to be proved was decided.
    pub(crate) fn of(base: &str, all: &[Standing], since: Option<Timestamp>, now: Timestamp) -> Self {
        let serving: Vec<_> = all
            .iter()
            .filter(|one| one.state != StandingState::Retired)
            .collect();
        let proven: Vec<_> = serving
            .iter()
            .filter(|one| one.state == StandingState::Proven)
            .collect();
        let slowest = proven
            .iter()
            .filter_map(|one| one.broker.enforced.map(|enforced| enforced.micros))
            .max();
        let done = !serving.is_empty() && proven.len() == serving.len();
        let counted = format!("{} of {}", proven.len(), serving.len());
        Self {
            base: base.to_owned(),
            summary: match (serving.is_empty(), done, slowest) {
                (true, ..) => "Unconfirmed: there is no broker with an agent that could prove it".into(),
                (_, true, Some(micros)) => format!("{counted}, proven, {}", took(micros)),
                (_, true, None) => format!("{counted}, proven"),
                (_, false, _) => format!("Unconfirmed: proven at {counted}"),
            },
            mood: if done { Mood::Good } else { Mood::Warning },
            all: serving.into_iter().map(|one| row(one, since, now)).collect(),
        }
    }

    /// In a few words: "4 of 4, proven, 38 ms".
    pub(crate) fn summary(&self) -> Badge {
        Badge::new(self.mood, &self.summary)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

fn row(standing: &Standing, since: Option<Timestamp>, now: Timestamp) -> Row {
    // "hub-lab unconfirmed since 09:14"
    let unconfirmed = match since {
        Some(since) => format!("unconfirmed since {}", When::clock(since, now)),
        None => "unconfirmed".into(),
    };
    let note = match standing.state {
        StandingState::Proven => standing
            .broker
            .enforced
            .map_or_else(String::new, |enforced| format!("took {}", took(enforced.micros))),
        StandingState::Unconfirmed => match &standing.broker.failed {
            Some(failed) => format!("{unconfirmed}: {}", failed.why),
            None => unconfirmed,
        },
        StandingState::Silent => format!("{unconfirmed}: its agent does not speak"),
        StandingState::Waiting => format!("{unconfirmed}: its agent has not joined"),
        StandingState::Retired => String::new(),
    };
    Row {
        name: standing.broker.name.to_string(),
        badge: badge(standing.state),
        note,
        heard: standing.heard.map(|at| When::relative(at, now)),
    }
}

/// How a broker stands, at a glance.
pub(crate) fn badge(state: StandingState) -> Badge {
    match state {
        StandingState::Proven => Badge::new(Mood::Good, "Proven"),
        StandingState::Unconfirmed => Badge::new(Mood::Warning, "Unconfirmed"),
        StandingState::Silent => Badge::new(Mood::Bad, "Silent"),
        StandingState::Waiting => Badge::new(Mood::Quiet, "Not joined").icon("clock"),
        StandingState::Retired => Badge::new(Mood::Quiet, "Retired").icon("archive"),
    }
}

/// A duration of microseconds, as people read it.
pub(crate) fn took(micros: u64) -> String {
    if micros < 10_000 {
        format!("{}.{} ms", micros / 1000, micros % 1000 / 100)
    } else {
        format!("{} ms", micros / 1000)
    }
}
