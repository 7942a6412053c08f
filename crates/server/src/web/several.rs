//! The same done to several of a short list at once: first what it does to which, then with their count typed.

use std::collections::BTreeSet;

use askama::Template;
use http::StatusCode;
use muster_ca::device::DeviceName;
use muster_ca::list::MAX_LIMIT;
use muster_ca::{Error, Proof};

use super::components::{Field, Icon, Lines, quoted};
use super::fault::Fault;
use super::frame::Frame;
use super::visit::{Answer, Visit, html_with};

/// What is done, and to what.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Several {
    /// Users are removed.
    Users,
    /// Brokers go out of service.
    Brokers,
}

/// How that is said, and where it is done.
struct Words {
    noun: &'static str,
    verb: &'static str,
    done: &'static str,
    keep: &'static str,
    /// The list, and where its form goes; below the base path.
    list: &'static str,
    path: &'static str,
    /// What becomes of them, each with its icon.
    consequences: &'static [(&'static str, &'static str)],
    cli: &'static str,
    api: &'static str,
}

const USERS: Words = Words {
    noun: "user",
    verb: "Remove",
    done: "Removed",
    keep: "Keep them",
    list: "users",
    path: "remove-users",
    consequences: &[
        (
            "ban",
            "Their passwords, API keys and sessions are refused from the next request on.",
        ),
        (
            "list",
            "What they did stays in the audit log, and what they issued stays valid.",
        ),
    ],
    cli: "muster user remove",
    api: "DELETE /operators/NAME",
};
const BROKERS: Words = Words {
    noun: "broker",
    verb: "Retire",
    done: "Retired",
    keep: "Leave them as they are",
    list: "brokers",
    path: "brokers/-/retire",
    consequences: &[
        (
            "check",
            "No revocation waits for them any more: what they enforce from then on nobody knows.",
        ),
        (
            "ban",
            "Their agents are heard no more. Each goes on with what it has until its CRL runs out, and then refuses every device.",
        ),
        (
            "cert",
            "Their certificates stay valid until they end. Revoke those of machines that may fall into other hands.",
        ),
        (
            "archive",
            "This cannot be undone: a broker of the same name is not added again.",
        ),
    ],
    cli: "muster broker retire",
    api: "POST /brokers/NAME/retire",
};

#[derive(Template)]
#[template(path = "components/several.html")]
struct Asked {
    frame: Frame,
    words: &'static Words,
    names: Vec<String>,
    count: Field,
    lines: Lines,
}

impl Several {
    fn words(self) -> &'static Words {
        match self {
            Self::Users => &USERS,
            Self::Brokers => &BROKERS,
        }
    }

    async fn act(self, visit: &Visit, proof: Proof, name: &str) -> Result<(), Error> {
        match self {
            Self::Users => visit.ca().remove_operator(proof, name).await,
            Self::Brokers => {
                let name = DeviceName::restored(name.to_owned());
                visit.ca().retire_broker(proof, &name, "").await.map(|_| ())
            }
        }
    }

    /// Whether it says that somebody else did it meanwhile.
    fn was_done(self, why: &Error) -> bool {
        match self {
            Self::Users => matches!(why, Error::Missing(_)),
            Self::Brokers => matches!(why, Error::Conflict(_)),
        }
    }

    /// Shows to which it would be done, and with the count does it.
    pub(crate) async fn send(self, visit: &Visit, sent: &[(String, String)]) -> Answer {
        let all = |wanted: &'static str| {
            let named = sent.iter().filter(move |(name, _)| name == wanted);
            named.map(|(_, value)| value.trim().to_owned())
        };
        let names = self.known(visit, all("name").collect()).await?;
        let Some(count) = all("count").next() else {
            return self.page(visit, names, None);
        };
        if count.parse() != Ok(names.len()) {
            let why = format!("{} are chosen, so nothing was done", names.len());
            return self.page(visit, names, Some(&why));
        }
        let mut done = 0;
        for name in &names {
            match self.act(visit, visit.proof(), name).await {
                Ok(()) => done += 1,
                Err(why) if self.was_done(&why) => {}
                Err(other) => return Err(other.into()),
            }
        }
        let words = self.words();
        let say = format!("{}: {}.", words.done, words.counted(done));
        Ok(visit.go_and_say(words.list, &say))
    }

    /// Those to which it can be done. One to which it cannot is told before anything is.
    async fn known(self, visit: &Visit, names: BTreeSet<String>) -> Result<Vec<String>, Fault> {
        if names.is_empty() || names.len() > MAX_LIMIT {
            let why = format!("tick 1 to {MAX_LIMIT} {}s first", self.words().noun);
            return Err(Fault::new(StatusCode::BAD_REQUEST, &why));
        }
        for name in &names {
            self.act(visit, visit.rehearsal(), name).await?;
        }
        Ok(names.into_iter().collect())
    }

    fn page(self, visit: &Visit, names: Vec<String>, refusal: Option<&str>) -> Answer {
        let words = self.words();
        let status = match refusal {
            Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
            None => StatusCode::OK,
        };
        let each: Vec<_> = names.iter().map(|name| quoted(name)).collect();
        let cli = format!("for name in {}; do {} $name; done", each.join(" "), words.cli);
        html_with(
            status,
            &Asked {
                frame: visit.frame(&format!("{} {}", words.verb, words.counted(names.len()))),
                words,
                count: Field::text("count", "Type how many they are to confirm")
                    .required()
                    .refused(refusal)
                    .with("inputmode", "numeric")
                    .with("autocomplete", "off"),
                lines: Lines::new("several", &cli, words.api),
                names,
            },
        )
    }
}

impl Words {
    fn counted(&self, count: usize) -> String {
        format!("{count} {}{}", self.noun, if count == 1 { "" } else { "s" })
    }
}
