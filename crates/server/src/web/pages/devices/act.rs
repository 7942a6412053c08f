//! What can be done to a device: the form says what it does, in numbers; sending the form does it.

use askama::Template;
use axum::extract::Path;
use axum::routing::{get, post};
use http::StatusCode;
use muster_ca::device::{DeviceName, State};
use muster_ca::many::Batch;
use muster_ca::operator::Permission;
use muster_ca::{Error, Proof, Target};
use muster_pki::crl::Reason;
use serde::Deserialize;

use super::super::revoke::reasons;
use super::super::tokens::made;
use crate::web::components::{Field, Icon, Lines, quoted};
use crate::web::fault::Fault;
use crate::web::form::Form;
use crate::web::frame::Frame;
use crate::web::route::Route;
use crate::web::visit::{Answer, Visit, html_with};

pub(super) const FORM: Route = Route::get("devices/{name}/{act}", Permission::Operate, || get(form));
pub(super) const SEND: Route = Route::post("devices/{name}/{act}", Permission::Operate, || post(send));

/// One thing that can be done to a device.
pub(in crate::web::pages) struct Act {
    /// The word of the command line and of `/api/v1`.
    pub(super) verb: &'static str,
    pub(in crate::web::pages) label: &'static str,
    pub(super) icon: &'static str,
    /// Whether it cannot be undone, so that the name is asked for.
    pub(super) danger: bool,
    /// What was done, after "site-1 ".
    pub(super) done: &'static str,
    pub(super) from: &'static [State],
}

use State::{Active, New, Revoked, Suspended};

const ACTS: [Act; 6] = [
    Act {
        verb: "suspend",
        label: "Suspend",
        icon: "pause",
        danger: false,
        done: "is suspended",
        from: &[New, Active],
    },
    Act {
        verb: "resume",
        label: "Resume",
        icon: "check",
        danger: false,
        done: "is back: its certificates are off hold",
        from: &[Suspended],
    },
    Act {
        verb: "recover",
        label: "Recovery code",
        icon: "ticket",
        danger: false,
        done: "has a recovery code",
        from: &[Active],
    },
    Act {
        verb: "rearm",
        label: "Re-arm",
        icon: "renew",
        danger: false,
        done: "may enrol again",
        from: &[Active, Revoked],
    },
    Act {
        verb: "revoke",
        label: "Revoke",
        icon: "ban",
        danger: true,
        done: "is revoked",
        from: &[New, Active, Suspended],
    },
    Act {
        verb: "retire",
        label: "Retire",
        icon: "archive",
        danger: true,
        done: "is retired",
        from: &[New, Active, Suspended, Revoked],
    },
];

impl Act {
    /// What can be done to a device in this state.
    pub(super) fn of(state: State) -> impl Iterator<Item = &'static Self> {
        ACTS.iter().filter(move |act| act.from.contains(&state))
    }

    pub(in crate::web::pages) fn parse(verb: &str) -> Result<&'static Self, Fault> {
        let found = ACTS.iter().find(|act| act.verb == verb);
        found.ok_or_else(|| Fault::missing("there is nothing of this name to do to a device"))
    }

    /// What can be done to many devices at once. Codes are shown one by one.
    pub(super) fn of_many(verb: &str) -> Result<&'static Self, Fault> {
        match Self::parse(verb)? {
            Self { verb: "recover", .. } => {
                Err(Fault::missing("a recovery code is made for one device at a time"))
            }
            act => Ok(act),
        }
    }

    /// Does it, or with a [rehearsal](Visit::rehearsal) only says what it would do: the number of certificates.
    pub(super) async fn run(
        &self,
        visit: &Visit,
        proof: Proof,
        name: &DeviceName,
        (reason, note): (&str, &str),
    ) -> Result<usize, Error> {
        let ca = visit.ca();
        let done = match self.verb {
            "suspend" => ca.suspend(proof, name, note).await?,
            "resume" => ca.resume(proof, name, note).await?,
            "retire" => ca.retire(proof, name, note).await?,
            "rearm" => {
                ca.rearm(proof, name, note).await?;
                return living(visit, name).await;
            }
            "recover" => {
                ca.recover(proof, name).await?;
                return living(visit, name).await;
            }
            _ => {
                let reason = Reason::parse(reason)?;
                ca.revoke(proof, Target::Device(name.clone()), reason, note)
                    .await?
            }
        };
        Ok(done.serials.len())
    }

    /// These devices, if it shuts them out for good.
    pub(super) fn batch(&self, names: &[DeviceName]) -> Option<Batch> {
        match self.verb {
            "revoke" => Some(Batch::Devices(names.into())),
            "retire" => Some(Batch::Retiring(names.into())),
            _ => None,
        }
    }

    /// What it means, for so many devices with so many certificates that live.
    pub(in crate::web::pages) fn consequences(&self, devices: usize, certificates: usize) -> Vec<String> {
        let (it, its) = if devices == 1 {
            ("It", "its")
        } else {
            ("They", "their")
        };
        let papers = |one: &str, many: &str| match certificates {
            0 => format!("No certificate is touched: none of {its} certificates lives."),
            1 => format!("1 certificate {one}"),
            count => format!("{count} certificates {many}"),
        };
        match self.verb {
            "suspend" => vec![
                papers(
"goes on hold: it is on the revocation list, and brokers that load it refuse it.",
"go on hold: they are on the revocation list, and brokers that load it refuse them.",
),
                format!("{it} can neither renew nor enrol until somebody resumes {its} certificates."),
                "This can be undone at any time.".into(),
            ],
            "resume" => vec![
                papers(
"comes off hold. Brokers that load the next revocation list accept it again.",
"come off hold. Brokers that load the next revocation list accept them again.",
),
                format!("{it} can renew again."),
            ],
            "rearm" => vec![
                format!("{it} may enrol with any key, once: make a token for it next."),
                papers(
"works until then, and is revoked with it as superseded.",
"work until then, and are revoked with it as superseded.",
),
                "What is revoked stays revoked.".into(),
            ],
            "recover" => vec![
                format!("{it} may enrol with any key, once, within 24 hours: with the code that is shown next, and with nothing else."),
                papers(
"works until then, and is revoked with it as superseded.",
"work until then, and are revoked with it as superseded.",
),
            ],
            "retire" => vec![
                papers(
"is revoked for good.",
"are revoked for good.",
),
                format!("{} stays taken: nothing can ever enrol under it again.", if devices == 1 { "The name" } else { "Each name" }),
                "This cannot be undone.".into(),
            ],
            _ => vec![
                papers(
"is revoked for good: it never becomes valid again.",
"are revoked for good: they never become valid again.",
),
                format!("{it} can neither renew nor enrol until an operator re-arms {its} name."),
                "The new revocation list is made at once. A broker refuses what stands on it as soon as it has loaded it; until it proves that, the revocation is unconfirmed.".into(),
            ],
        }
    }
}

#[derive(Template)]
#[template(path = "pages/devices/act.html")]
struct ActPage {
    frame: Frame,
    act: &'static Act,
    name: String,
    consequences: Vec<String>,
    refusal: Option<String>,
    reason: Option<Field>,
    note: Option<Field>,
    confirm: Option<Field>,
    lines: Lines,
}

#[derive(Deserialize, Default)]
struct Sent {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    note: String,
    #[serde(default)]
    confirm: String,
}

async fn form(visit: Visit, Path((name, verb)): Path<(String, String)>) -> Answer {
    let act = Act::parse(&verb)?;
    page(&visit, act, &name, StatusCode::OK, &Sent::default(), None).await
}

async fn send(visit: Visit, Path((name, verb)): Path<(String, String)>, Form(sent): Form<Sent>) -> Answer {
    let act = Act::parse(&verb)?;
    let again = StatusCode::UNPROCESSABLE_ENTITY;
    if act.danger && sent.confirm.trim() != name {
        let why = Refused::Name(format!("this is not {name}, so nothing was done"));
        return page(&visit, act, &name, again, &sent, Some(why)).await;
    }
    let device = DeviceName::parse(&name).map_err(Error::from)?;
    if act.verb == "recover" {
        let (token, secret) = visit.ca().recover(visit.proof(), &device).await?;
        return made::page(&visit, &token, &secret).await;
    }
    match act
        .run(&visit, visit.proof(), &device, (&sent.reason, sent.note.trim()))
        .await
    {
        Ok(touched) => Ok(visit.go_and_say(&format!("devices/{name}"), &said(act, &name, touched))),
        Err(why) => {
            let why = Fault::from(why).beside_form()?;
            page(&visit, act, &name, again, &sent, Some(Refused::All(why))).await
        }
    }
}

fn said(act: &Act, name: &str, touched: usize) -> String {
    match (act.verb, touched) {
        ("rearm", _) | (_, 0) => format!("{name} {}.", act.done),
        (_, 1) => format!(
            "{name} {}: 1 certificate. No broker has confirmed it yet.",
            act.done
        ),
        (_, many) => format!(
            "{name} {}: {many} certificates. No broker has confirmed it yet.",
            act.done
        ),
    }
}

/// What was wrong with a form.
enum Refused {
    Name(String),
    All(String),
}

async fn page(
    visit: &Visit,
    act: &'static Act,
    name: &str,
    status: StatusCode,
    sent: &Sent,
    refused: Option<Refused>,
) -> Answer {
    let name = DeviceName::restored(name.to_owned());
    let touched = act
        .run(visit, visit.rehearsal(), &name, ("unspecified", ""))
        .await?;
    let (all, at_name) = match refused {
        None => (None, None),
        Some(Refused::All(why)) => (Some(why), None),
        Some(Refused::Name(why)) => (None, Some(why)),
    };
    html_with(
        status,
        &ActPage {
            frame: visit.frame(&format!("{} {name}", act.label)),
            act,
            consequences: act.consequences(1, touched),
            refusal: all,
            reason: (act.verb == "revoke").then(|| reason(&sent.reason)),
            note: (act.verb != "recover").then(|| note(&sent.note)),
            confirm: act.danger.then(|| {
                Field::text("confirm", "Type the device's name to confirm")
                    .value(&sent.confirm)
                    .required()
                    .refused(at_name.as_deref())
                    .hint(&format!("{name}"))
                    .verbatim()
            }),
            lines: lines(act, name.as_str()),
            name: name.to_string(),
        },
    )
}

/// How many certificates live on until the new one is issued.
async fn living(visit: &Visit, name: &DeviceName) -> Result<usize, Error> {
    let now = visit.now();
    let all = visit.ca().certificates_of(visit.proof(), name, now).await?;
    Ok(all.iter().filter(|one| one.is_living(now)).count())
}

pub(super) fn reason(value: &str) -> Field {
    Field::choice("reason", "Reason", reasons())
        .value(value)
        .required()
        .hint("It stands on the revocation list. A compromised key gets no certificate again.")
}

pub(super) fn note(value: &str) -> Field {
    Field::text("note", "Note")
        .value(value)
        .hint("For the audit log.")
        .with("maxlength", "500")
}

fn lines(act: &Act, name: &str) -> Lines {
    let (more, body) = match act.verb {
        "revoke" => (
            " --reason key-compromise",
            serde_json::json!({ "reason": "key-compromise" }),
        ),
        _ => ("", serde_json::json!({ "note": "" })),
    };
    let cli = format!("muster device {} {}{more}", act.verb, quoted(name));
    let lines = Lines::new("act", &cli, &format!("POST /devices/{name}/{}", act.verb));
    match act.verb {
        "recover" => lines,
        _ => lines.with_body(&body),
    }
}
