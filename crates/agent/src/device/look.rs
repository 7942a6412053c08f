//! How it stands with a device: what its agent said last, and what is on the disk now.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::anchors;
use super::files::Home;
use super::settings::{Settings, read_pending};
use super::status::Status;
use super::time::last;
use crate::pair::Pair;
use crate::{Clock, Error};

/// By how many seconds a clock may be wrong before somebody should know.
const CLOCK_OFF: i64 = 60;

/// For how long an agent that runs may say nothing: twice the longest time after which the CA lets it ask again, 6 h.
const SILENT: SignedDuration = SignedDuration::from_hours(12);

/// What is to be said about a device.
#[derive(Debug)]
pub struct Look {
    /// The device's name.
    pub name: String,
    /// When its certificate ends; `None` if there is none that can be used.
    pub not_after: Option<Timestamp>,
    /// When it is to renew, if the CA has been asked.
    pub renew_at: Option<Timestamp>,
    /// What is wrong.
    pub problem: Option<String>,
    /// By how many seconds this machine's clock is ahead of the CA's, if that is known; negative: behind.
    pub clock_ahead: Option<i64>,
    /// When the agent last said something.
    pub at: Option<Timestamp>,
    /// What the CA has vouched for, if it is later than it seems to be now.
    pub last_time: Option<Timestamp>,
}

impl Look {
    /// Looks at the directory of a device that was told this. Needs no lock, and changes nothing.
    pub fn take(dir: &Path, settings: &Settings, clock: &Clock) -> Result<Self, Error> {
        let name = &settings.name;
        let told = Status::read(dir)?;
        let (now, clock_ahead) = now(told.as_ref(), clock());
        let pair = Home::look(dir)?.pair(name)?;
        let problem = match &pair {
            None => Some(format!(
                "{name}.crt or {name}.key is gone or cannot be read, or they do not belong together; if muster agent run does not mend \
                 that, an operator lets the device in again with: muster device recover {name}"
            )),
            Some(pair) => anchors::problem(dir, name, pair.chain())?
                .or_else(|| told.as_ref()?.problem.clone())
                .or_else(|| unsaid(pair, told.as_ref(), now)),
        };
        let problem = problem.or(unfinished(dir, settings)?);
        Ok(Self {
            name: name.clone(),
            not_after: pair.map(|pair| pair.leaf().not_after()),
            renew_at: told.as_ref().and_then(|told| told.renew_at),
            problem,
            clock_ahead,
            at: told.map(|told| told.at),
            last_time: last(dir).filter(|last| last.duration_since(now).as_secs() > CLOCK_OFF),
        })
    }

    /// By how many seconds the clock is ahead, if somebody should know.
    pub fn clock_off(&self) -> Option<i64> {
        self.clock_ahead.filter(|ahead| ahead.abs() > CLOCK_OFF)
    }

    /// Whether nobody is needed.
    pub fn is_well(&self) -> bool {
        self.problem.is_none() && self.clock_off().is_none() && self.last_time.is_none()
    }
}

/// What the time is, and by how much this machine's clock is ahead. The agent has said how far off it was then; since somebody may have set it
/// meanwhile, that holds only if less time has gone by then since the agent said it.
fn now(told: Option<&Status>, system: Timestamp) -> (Timestamp, Option<i64>) {
    let Some((told, ahead)) = told.and_then(|told| Some((told, told.clock_ahead?))) else {
        return (system, None);
    };
    let since = |now: Timestamp| {
        let since = now.duration_since(told.at);
        // The clock may go a little wrong between two questions.
        (since.as_secs() >= -CLOCK_OFF).then_some(since)
    };
    let corrected = system.checked_sub(SignedDuration::from_secs(ahead));
    let corrected = corrected.ok().and_then(|now| Some((since(now)?, now)));
    match (corrected, since(system)) {
        (Some((gone, _)), Some(other)) if other < gone => (system, Some(0)),
        (None, Some(_)) => (system, Some(0)),
        (Some((_, now)), _) => (now, Some(ahead)),
        (None, None) => (system, Some(ahead)),
    }
}

/// What is wrong, and the agent has not said, perhaps because it does not run.
fn unsaid(pair: &Pair, told: Option<&Status>, now: Timestamp) -> Option<String> {
    let leaf = pair.leaf();
    if leaf.not_after() <= now {
        return Some(format!("the certificate has ended on {}", leaf.not_after()));
    }
    // An agent that never ran has been silent since the certificate began.
    let heard = told.map_or(leaf.not_before(), |told| told.at);
    if now.duration_since(heard) > SILENT {
        return Some(format!(
            "the agent has said nothing since {heard:.0}: does muster agent run?"
        ));
    }
    let due = told?.renew_at?;
    // Half of what was left then is gone.
    let late = now.duration_since(due) > leaf.not_after().duration_since(due) / 2;
    late.then(|| format!("it was to renew on {due:.0}: does muster agent run?"))
}

fn unfinished(dir: &Path, settings: &Settings) -> Result<Option<String>, Error> {
    let other = read_pending(dir)?.filter(|pending| pending.enrolled_with != settings.enrolled_with);
    Ok(other.map(|_| "an enrolment with another code has not ended: run its line again".to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn a_clock_that_was_set_meanwhile_is_believed() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let (said, day) = (1_800_000_000, 86_400);
        for (ahead, system, now, left) in [
            // It is as the agent has said.
            (0, said + 60, said + 60, 0),
            (100, said + 160, said + 60, 100),
            (-20 * day, said - 20 * day + 60, said + 60, -20 * day),
            (-said, 60, said + 60, -said),
            (3650 * day, said + 3650 * day + 60, said + 60, 3650 * day),
            // It was set right.
            (-said, said + 60, said + 60, 0),
            (-20 * day, said + 60, said + 60, 0),
            (3650 * day, said + 60, said + 60, 0),
        ] {
            let told = Status {
                at: at(said),
                clock_ahead: Some(ahead),
                ..Status::default()
            };
            assert_eq!(
                super::now(Some(&told), at(system)),
                (at(now), Some(left)),
                "{ahead} {system}"
            );
        }
    }
}
