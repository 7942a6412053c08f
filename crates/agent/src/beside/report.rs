//! What the CA hears from the agent: every two seconds, and whenever something was done.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_api::Client;
use muster_api::agent::{Denial, Heard, Outcome, Report};
use tokio::sync::{Notify, mpsc, watch};

const EVERY: Duration = Duration::from_secs(2);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);
/// The most outcomes and denials that wait to be reported: the oldest are passed over.
const MOST: usize = 100;

/// What waits to be reported.
#[derive(Debug, Default)]
struct Waiting {
    /// What is true now.
    now: Report,
    outcomes: VecDeque<Outcome>,
    denials: Vec<Denial>,
}

/// Reports in the background.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reporter {
    waiting: Arc<Mutex<Waiting>>,
    wake: Arc<Notify>,
}

impl Reporter {
    /// Changes what is true now.
    pub(crate) fn set(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.lock().now);
    }

    /// Reports at once what came of an epoch.
    pub(crate) fn outcome(&self, outcome: Outcome) {
        let mut waiting = self.lock();
        waiting.outcomes.push_back(outcome);
        if waiting.outcomes.len() > MOST {
            waiting.outcomes.pop_front();
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// Reports what the broker refused.
    pub(crate) fn denials(&self, denials: Vec<Denial>) {
        let mut waiting = self.lock();
        for denial in denials {
            let same = |other: &&mut Denial| other.device == denial.device && other.topic == denial.topic;
            if let Some(known) = waiting.denials.iter_mut().find(same) {
                known.times = known.times.saturating_add(denial.times);
            } else if waiting.denials.len() < MOST {
                waiting.denials.push(denial);
            }
        }
    }

    /// Reports until the other end of `newest` is gone, which hears the sequence of the newest epoch, or why there was no answer.
    pub(crate) async fn go_on(
        self,
        client: watch::Receiver<Arc<Client>>,
        newest: mpsc::Sender<Result<u64, String>>,
    ) {
        while !newest.is_closed() {
            let more = self.once(&client, &newest).await;
            if !more {
                tokio::select! {
                    () = tokio::time::sleep(EVERY) => {}
                    () = self.wake.notified() => {}
                }
            }
        }
    }

    /// One report. Whether there is another to be made at once.
    async fn once(
        &self,
        client: &watch::Receiver<Arc<Client>>,
        newest: &mpsc::Sender<Result<u64, String>>,
    ) -> bool {
        let report = {
            let mut waiting = self.lock();
            let mut report = waiting.now.clone();
            report.outcome = waiting.outcomes.pop_front();
            report.denials = std::mem::take(&mut waiting.denials);
            report
        };
        let client = client.borrow().clone();
        let answer = tokio::time::timeout(ANSWER, client.post::<Heard>("/agent/report", &report)).await;
        let heard = match answer {
            Ok(Ok(heard)) => Ok(heard.newest),
            Ok(Err(why)) => Err(why.to_string()),
            Err(_) => Err(format!("no answer within {} s", ANSWER.as_secs())),
        };
        let failed = heard.is_err();
        if failed {
            let mut waiting = self.lock();
            if let Some(outcome) = report.outcome {
                waiting.outcomes.push_front(outcome);
            }
            drop(waiting);
            self.denials(report.denials);
        }
        // A reader that is busy hears the next one.
        let _ = newest.try_send(heard);
        !failed && !self.lock().outcomes.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
