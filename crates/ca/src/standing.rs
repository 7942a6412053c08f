//! How things stand: until when everything keeps working by itself, and what needs somebody.

use std::sync::{MutexGuard, PoisonError};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::Ca;
use crate::authority::{Authority, Generation, INTERNAL, ROOT, Stage};
use crate::crl::BACKDATE;
use crate::device::DeviceName;
use crate::enrol::who::Proof;
use crate::error::Error;
use crate::list::{Cursor, Paging, Part};
use crate::operator::Permission;
use crate::ports::{Counts, Unrenewed};

/// From when on a to-do asks for the next issuing CA.
const ROLLOVER_NOTICE: SignedDuration = SignedDuration::from_hours(400 * 24);
/// From when on a to-do asks for a root's next CRL: whoever keeps the recovery secret has to be found.
const ROOT_CRL_NOTICE: SignedDuration = SignedDuration::from_hours(90 * 24);
/// From when on a to-do tells of a certificate that somebody has to renew; of one that renews by itself as soon as that is
/// overdue.
const CERTIFICATE_NOTICE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Of how many certificates a to-do tells.
const TOLD: usize = 3;

/// How long after a walk over what runs out first the next one begins.
const WALKED_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// How things stand.
#[derive(Debug, Clone)]
pub struct Standing {
    /// What comes to an end first unless somebody sees to it. What is renewed by itself and in time is none of it.
    pub first_end: Option<End>,
    /// If not all certificates could be looked at yet: those that run out until then need nobody.
    pub looked_until: Option<Timestamp>,
    /// What needs somebody, the most urgent first.
    pub todos: Vec<Todo>,
    /// How many there are.
    pub counts: Counts,
}

/// Something that comes to an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// When it ends.
    pub at: Timestamp,
    /// What ends.
    pub what: String,
    /// Whether it should have been renewed by itself by now.
    pub by_itself: bool,
}

/// What needs somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Todo {
    /// What is the matter, and why that matters.
    pub what: String,
    /// What to do, as one would say it.
    pub fix: String,
    /// A line for a shell on the machine that does it, if one does.
    pub command: Option<String>,
    /// Where one does it.
    pub about: About,
    /// Whether something stops working soon.
    pub urgent: bool,
}

/// Where one sees to a to-do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// On the machine itself: its files.
    Machine,
    /// By the link with which the first person sets up how to log in.
    FirstLogin,
    /// In the audit log.
    AuditLog,
    /// In the configuration, under this key.
    Setting(&'static str),
    /// At the authorities.
    Authorities,
    /// At a device.
    Device(DeviceName),
    /// At a broker.
    Broker(DeviceName),
    /// At the enrolment token of this id.
    Token(String),
    /// At the certificates that run out.
    RunningOut,
}

impl std::fmt::Display for Todo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.what, self.fix)?;
        match &self.command {
            Some(command) => write!(f, ": {command}"),
            None => Ok(()),
        }
    }
}

impl Todo {
    /// Something to see to on the machine.
    pub fn on_the_machine(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            fix: fix.into(),
            command: None,
            about: About::Machine,
            urgent: false,
        }
    }

    /// The same with a line for a shell that does it.
    pub fn by(self, command: impl Into<String>) -> Self {
        Self {
            command: Some(command.into()),
            ..self
        }
    }

    /// The same, seen to elsewhere.
    pub fn about(self, about: About) -> Self {
        Self { about, ..self }
    }
}

/// How far the walk over what runs out first has come. In a large fleet that renews, so many certificates run out whose
/// devices have younger ones, or renew when it is time, that no request can look at them all.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// Up to there nothing needed anybody.
    clear: Option<Cursor>,
    /// Where the walk under way looks on.
    at: Option<Cursor>,
    /// Whether one came to its end; until then the first says what is clear as it goes.
    ended: bool,
    /// No other begins before.
    rests_until: Option<Timestamp>,
}

impl Ca {
    /// Looks on along the certificates that run out until one is found that needs somebody; an hour later it begins anew, since
    /// a younger certificate may have been revoked, or a renewal be overdue. Says whether there is more to look at now.
    pub async fn walk_renewed(&self) -> Result<bool, Error> {
        let now = self.clock.now();
        let cursor = {
            let walk = self.looked();
            if walk.rests_until.is_some_and(|until| now < until) {
                return Ok(false);
            }
            walk.at.clone()
        };
        let paging = Paging { cursor, limit: 1 };
        let page = self.store.unrenewed(now, self.renewing(), None, paging).await?;
        let mut walk = self.looked();
        let Some(next) = page.next else {
            walk.clear = walk.at.take();
            walk.ended = true;
            walk.rests_until = Some(now + WALKED_EVERY);
            return Ok(false);
        };
        if !walk.ended {
            walk.clear = Some(next.clone());
        }
        walk.at = Some(next);
        Ok(true)
    }

    fn looked(&self) -> MutexGuard<'_, Walk> {
        // Nothing that holds it can leave it half changed.
        self.walk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that run out first, and until when everything was looked at if that is not all.
    async fn unrenewed(
        &self,
        now: Timestamp,
        late_by: Option<Timestamp>,
    ) -> Result<(Vec<Unrenewed>, Option<Timestamp>), Error> {
        let paging = Paging {
            cursor: self.looked().clear.clone(),
            limit: TOLD + 1,
        };
        let page = self
            .store
            .unrenewed(now, self.renewing(), late_by, paging)
            .await?;
        let until = match page.next.as_ref().and_then(|next| next.place.first()) {
            Some(Part::Number(moment)) => Timestamp::from_millisecond(*moment).ok(),
            Some(Part::Text(_) | Part::Bytes(_)) | None => None,
        };
        Ok((page.items, until))
    }

    /// Those that a to-do tells of, perhaps one more than it names, by those that run out first: where these need nobody yet, one
    /// that is overdue may stand behind them.
    async fn late(&self, first: Vec<Unrenewed>, now: Timestamp) -> Result<Vec<Unrenewed>, Error> {
        let all = first.len() <= TOLD;
        let late = |one: &Unrenewed| one.overdue || is_soon(one, now);
        let late: Vec<_> = first.into_iter().filter(late).collect();
        if all || late.len() > TOLD {
            return Ok(late);
        }
        Ok(self.unrenewed(now, Some(now + CERTIFICATE_NOTICE)).await?.0)
    }

    /// How things stand now.
    pub async fn standing(&self, proof: Proof) -> Result<Standing, Error> {
        self.operator(proof, Permission::Read).await?;
        let now = self.clock.now();
        let mut ends = Vec::new();
        let mut todos = Vec::new();
        let (unrenewed, looked_until) = self.unrenewed(now, None).await?;
        ends.extend(unrenewed.first().map(end_of));
        let late = self.late(unrenewed, now).await?;
        if late.len() > TOLD {
            todos.push(all_late(&late, now));
        } else {
            todos.extend(late.iter().map(|one| one_late(one, now)));
        }
        for authority in self.authorities() {
            self.look_at(&authority, now, &mut ends, &mut todos)?;
        }
        if self.settings.public_url.is_none() {
            let todo = Todo::on_the_machine(
                "certificates do not say where their revocation list is",
                "set public_url in muster.toml to where everybody reaches port 9080, such as http://ca.example.org:9080",
            );
            todos.push(todo.about(About::Setting("public_url")));
        }
        todos.extend(self.clone_todos(now).await?);
        todos.extend(self.refusal_todos(now).await?);
        todos.extend(self.broker_todos(now).await?);
        todos.sort_by_key(|todo| !todo.urgent);
        Ok(Standing {
            first_end: ends.into_iter().min_by_key(|end| end.at),
            looked_until,
            todos,
            counts: self.counts().await?,
        })
    }

    fn look_at(
        &self,
        authority: &Authority,
        now: Timestamp,
        ends: &mut Vec<End>,
        todos: &mut Vec<Todo>,
    ) -> Result<(), Error> {
        let name = &authority.name;
        let mut todo = |what: String, fix: &str, command: &str, urgent| {
            todos.push(Todo {
                urgent,
                ..Todo::on_the_machine(what, fix)
                    .by(command)
                    .about(About::Authorities)
            });
        };
        let active = authority
            .issuing()
            .filter(|generation| generation.stage == Stage::Active);
        for generation in active {
            let end = generation.parsed()?.not_after();
            if end - ROLLOVER_NOTICE <= now {
                let number = generation.number;
                todo(
                    format!(
                        "the issuing CA {name} {number} ends on {} and cuts certificates short",
                        day(end)
                    ),
                    "start the next one; both are trusted until it takes over",
                    "muster ca rollover start",
                    end - ROOT_CRL_NOTICE <= now,
                );
            }
            ends.push(End {
                at: end,
                what: format!("the issuing CA {name}"),
                by_itself: false,
            });
        }
        match self.crl(name, ROOT) {
            None => todo(
                format!("the root of {name} has no CRL here"),
                "HAProxy asks for one, which takes the recovery secret",
                "muster ca root-crl",
                false,
            ),
            Some(crl) => {
                let lacks = |one: &&Generation| one.revoked.is_some_and(|at| at > crl.this_update + BACKDATE);
                if let Some(lacking) = authority.generations.iter().find(lacks) {
                    todo(
                        format!(
                            "the list of the root of {name} does not name the issuing CA {name} {}",
                            lacking.number
                        ),
                        "somebody else has its key; who keeps the recovery secret makes the next list",
                        "muster ca root-crl",
                        true,
                    );
                }
                if crl.next_update - ROOT_CRL_NOTICE <= now {
                    todo(
                        format!(
                            "the CRL of the root of {name} runs out on {}",
                            day(crl.next_update)
                        ),
                        "make the next one, which takes the recovery secret",
                        "muster ca root-crl",
                        true,
                    );
                }
                if name != INTERNAL {
                    ends.push(End {
                        at: crl.next_update,
                        what: format!("the CRL of the root of {name}"),
                        by_itself: false,
                    });
                }
            }
        }
        Ok(())
    }
}

fn end_of(unrenewed: &Unrenewed) -> End {
    End {
        at: unrenewed.not_after,
        what: format!("the certificate of {}", unrenewed.device),
        by_itself: unrenewed.overdue,
    }
}

fn is_soon(unrenewed: &Unrenewed, now: Timestamp) -> bool {
    unrenewed.not_after - CERTIFICATE_NOTICE <= now
}

fn one_late(unrenewed: &Unrenewed, now: Timestamp) -> Todo {
    let device = &unrenewed.device;
    Todo {
        what: format!(
            "the certificate of {device} runs out on {} and nobody has renewed it",
            day(unrenewed.not_after)
        ),
        fix: "see whether it runs, or give it the next".into(),
        command: Some(format!("muster device show {device}")),
        about: About::Device(device.clone()),
        urgent: is_soon(unrenewed, now),
    }
}

/// More than one can tell of one by one.
fn all_late(late: &[Unrenewed], now: Timestamp) -> Todo {
    let named: Vec<_> = late.iter().take(TOLD).map(|one| one.device.as_str()).collect();
    Todo {
        what: format!(
            "certificates run out within a week or should have been renewed by now: of {} and others",
            named.join(", ")
        ),
        fix: "see whether these devices run, or give them the next".into(),
        command: Some("muster cert list --status active --sort expiry".into()),
        about: About::RunningOut,
        urgent: late.iter().any(|one| is_soon(one, now)),
    }
}

fn day(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%-d %B %Y").to_string()
}
