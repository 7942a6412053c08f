//! How things stand: until when everything keeps working by itself, and what needs somebody.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::Ca;
use crate::authority::{Authority, INTERNAL, ROOT, Stage};
use crate::device::DeviceName;
use crate::enrol::who::Proof;
use crate::error::Error;
use crate::operator::Permission;
use crate::ports::Counts;

/// From when on a to-do asks for the next issuing CA.
const ROLLOVER_NOTICE: SignedDuration = SignedDuration::from_hours(400 * 24);
/// From when on a to-do asks for a root's next CRL: whoever keeps the recovery secret has to be found.
const ROOT_CRL_NOTICE: SignedDuration = SignedDuration::from_hours(90 * 24);
/// From when on a to-do tells of a certificate that nobody has renewed.
const CERTIFICATE_NOTICE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Of how many certificates a to-do tells.
const TOLD: usize = 3;

/// How things stand.
#[derive(Debug, Clone)]
pub struct Standing {
    /// What comes to an end first unless somebody sees to it.
    pub first_end: Option<End>,
    /// What needs somebody, the most urgent first.
    pub todos: Vec<Todo>,
    /// How many there are.
    pub counts: Counts,
}

/// Something that does not go on by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// When it ends.
    pub at: Timestamp,
    /// What ends.
    pub what: String,
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

impl Ca {
    /// How things stand now. What a to-do and the end tell is a look at the first certificates to run out, not at all.
    pub async fn standing(&self, proof: Proof) -> Result<Standing, Error> {
        self.operator(proof, Permission::Read).await?;
        let now = self.clock.now();
        let mut ends = Vec::new();
        let mut todos = Vec::new();
        for unrenewed in self.store.unrenewed(now, TOLD).await? {
            let what = format!("the certificate of {}", unrenewed.device);
            if unrenewed.not_after - CERTIFICATE_NOTICE <= now {
                todos.push(Todo {
                    what: format!(
                        "{what} runs out on {} and nobody has renewed it",
                        day(unrenewed.not_after)
                    ),
                    fix: "see whether it runs, or give it the next".into(),
                    command: Some(format!("muster device show {}", unrenewed.device)),
                    about: About::Device(unrenewed.device),
                    urgent: true,
                });
            }
            ends.push(End {
                at: unrenewed.not_after,
                what,
            });
        }
        for authority in self.authorities() {
            self.look_at(&authority, now, &mut ends, &mut todos)?;
        }
        if self.settings.public_url.is_none() {
            let todo = Todo::on_the_machine(
                "certificates carry no CRL pointer",
                "set public_url in muster.toml to where port 9080 is reached, such as http://ca.example.org:9080",
            );
            todos.push(todo.about(About::Setting("public_url")));
        }
        todos.extend(self.broker_todos(now).await?);
        todos.sort_by_key(|todo| !todo.urgent);
        Ok(Standing {
            first_end: ends.into_iter().min_by_key(|end| end.at),
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
                    });
                }
            }
        }
        Ok(())
    }
}

fn day(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%-d %B %Y").to_string()
}
