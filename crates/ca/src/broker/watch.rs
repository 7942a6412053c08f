//! What of the brokers needs somebody, and whether anything about them changed.

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::agent::{Standing, StandingState};
use crate::Ca;
use crate::error::Error;
use crate::standing::{About, Todo};

/// So long after this process began nobody is missed: agents speak every two seconds.
const SETTLING: SignedDuration = SignedDuration::from_secs(10);

impl Ca {
    /// What of the brokers needs somebody.
    pub(crate) async fn broker_todos(&self, now: Timestamp) -> Result<Vec<Todo>, Error> {
        let settled = self.is_settled();
        let all = self.all_standings(now).await?;
        Ok(all.iter().flat_map(|one| todos(one, settled, now)).collect())
    }

    /// Whether every agent that runs had the time to speak since this process began.
    pub(crate) fn is_settled(&self) -> bool {
        self.clock.now().duration_since(self.begun) > SETTLING
    }

    /// A number that is another once something about brokers is another: for pages that keep themselves up to date.
    pub async fn broker_mark(&self) -> Result<u64, Error> {
        let mut hasher = DefaultHasher::new();
        for standing in self.all_standings(self.clock.now()).await? {
            let report = standing.report.as_ref();
            standing.broker.name.hash(&mut hasher);
            standing.state.as_str().hash(&mut hasher);
            report
                .map(|report| (&report.alarms, report.sessions))
                .hash(&mut hasher);
            standing.denied.hash(&mut hasher);
        }
        Ok(hasher.finish())
    }
}

/// What one broker needs.
fn todos(standing: &Standing, settled: bool, now: Timestamp) -> Vec<Todo> {
    let broker = &standing.broker;
    let name = &broker.name;
    let todo = |what: String, fix: &str, urgent| Todo {
        urgent,
        ..Todo::on_the_machine(what, fix)
            .by("muster broker list")
            .about(About::Broker(name.clone()))
    };
    match standing.state {
        StandingState::Retired => Vec::new(),
        StandingState::Waiting => vec![todo(
            format!("the agent of the broker {name} has not joined"),
            "start it beside the broker with the file that broker add wrote",
            false,
        )],
        StandingState::Silent if !settled => Vec::new(),
        StandingState::Silent => vec![todo(
            silent(standing, now),
            "see whether the agent runs and reaches port 9000",
            true,
        )],
        StandingState::Proven | StandingState::Unconfirmed => {
            let alarms = standing.report.iter().flat_map(|report| &report.alarms);
            let mut all: Vec<_> = alarms
                .map(|alarm| {
                    // An alarm is "what (fix)" or all in one.
                    let parts = alarm.strip_suffix(')').and_then(|rest| rest.rsplit_once(" ("));
                    let (what, fix) = parts.unwrap_or((alarm, "look at its page"));
                    // The agent says first whose it is.
                    let what = what.strip_prefix(&format!("{name}: ")).unwrap_or(what);
                    todo(format!("the broker {name}: {what}"), fix, true)
                })
                .collect();
            if let (true, Some(failed)) = (all.is_empty(), &broker.failed) {
                let what = format!(
                    "the broker {name} does not enforce what it has to: {}",
                    failed.why
                );
                all.push(todo(what, "look at its page", true));
            }
            all
        }
    }
}

/// Nobody knows what it enforces; and the list that it holds runs out.
fn silent(standing: &Standing, now: Timestamp) -> String {
    let broker = &standing.broker;
    let since = match standing.heard {
        Some(at) => format!("since {}", moment(at)),
        None => "since Muster was started".into(),
    };
    let end = standing.crl_until().map_or_else(String::new, |end| {
        let end_of = moment(end);
        if end <= now {
            format!("; the CRL that it holds ran out on {end_of}, and from then on it refuses every device")
        } else {
            format!("; on {end_of} the CRL that it holds runs out, and it begins to refuse every device")
        }
    });
    format!(
        "the agent of the broker {} was not heard {since}, so nothing is proved there{end}",
        broker.name
    )
}

fn moment(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC)
        .strftime("%-d %B %Y, %H:%M UTC")
        .to_string()
}
