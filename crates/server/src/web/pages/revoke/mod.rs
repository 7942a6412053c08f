//! Revoke Certificate: what is to be shut out and why, what comes of it, and the list that brokers need then.

pub(super) mod many;

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use http::StatusCode;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use muster_ca::Target;
use muster_ca::certificate::{Certificate, Serial};
use muster_ca::device::DeviceName;
use muster_ca::operator::Permission;
use muster_pki::crl::Reason;
use serde::Deserialize;

use super::certificates::view;
use crate::web::components::{Badge, Field, Icon, Lines, When};
use crate::web::fault::Fault;
use crate::web::form::{Form, escape};
use crate::web::frame::Frame;
use crate::web::proofs::Proofs;
use crate::web::route::{Entry, Page, Route};
use crate::web::visit::{Answer, Visit, html, html_with};

pub(in crate::web) const PAGE: Page = Page {
    menu: Some(Entry {
        section: "Certificates",
        label: "Revoke Certificate",
        icon: "ban",
    }),
    routes: &[
        Route::get("revoke", Permission::Operate, || get(show)),
        Route::post("revoke", Permission::Operate, || post(revoke)),
        Route::post("revoke/many", Permission::Operate, || post(many::send)),
        Route::get("revoke/waiting", Permission::Operate, || get(many::waiting)),
        Route::post("revoke/waiting", Permission::Operate, || post(many::judge)),
        Route::get("revoke/done", Permission::Operate, || get(done)),
        Route::post("revoke/crl/{authority}", Permission::Operate, || post(list)),
    ],
};

/// Why, in the words of RFC 5280, and what that means. What is likeliest to be in a hurry comes first.
const REASONS: [(Reason, &str); 6] = [
    (
        Reason::KeyCompromise,
        "Key compromise: stolen, cloned, or somebody else may know the key",
    ),
    (
        Reason::CessationOfOperation,
        "Cessation of operation: the device is gone for good",
    ),
    (
        Reason::Superseded,
        "Superseded: a newer certificate took its place",
    ),
    (
        Reason::AffiliationChanged,
        "Affiliation changed: it belongs to somebody else now",
    ),
    (
        Reason::PrivilegeWithdrawn,
        "Privilege withdrawn: it may not do this any more",
    ),
    (Reason::Unspecified, "Unspecified: none of these, or nobody knows"),
];

#[derive(Deserialize, Default)]
#[serde(default)]
struct Sent {
    /// A device's name or a serial number.
    what: String,
    reason: String,
    note: String,
    confirm: String,
}

#[derive(Template)]
#[template(path = "pages/revoke/revoke.html")]
struct RevokePage {
    frame: Frame,
    find: Field,
    refusal: Option<String>,
    /// Who asked for a revocation that waits for a second operator.
    asked: Option<String>,
    chosen: Option<Chosen>,
}

/// What was found, and what would come of revoking it.
struct Chosen {
    /// The name, or the serial number.
    what: String,
    name: String,
    /// Whether all of the device is meant.
    whole: bool,
    title: String,
    consequences: Vec<String>,
    certificates: Vec<Row>,
    reason: Field,
    note: Field,
    confirm: Field,
    lines: Lines,
}

struct Row {
    serial: String,
    grouped: String,
    status: Badge,
    expires: When,
    /// Whether it stops working.
    ends: bool,
}

async fn show(visit: Visit, Query(sent): Query<Sent>) -> Answer {
    page(&visit, &sent, StatusCode::OK, None).await
}

async fn revoke(visit: Visit, Form(sent): Form<Sent>) -> Answer {
    let (target, name) = find(&visit, &sent.what).await?;
    let again = StatusCode::UNPROCESSABLE_ENTITY;
    if sent.confirm.trim() != name.as_str() {
        return page(&visit, &sent, again, None).await;
    }
    let reason = Reason::parse(&sent.reason)?;
    match visit.ca().revoke(visit.proof(), target, reason, &sent.note).await {
        Ok(revocation) => {
            let say = format!("{} of {name} revoked.", counted(revocation.serials.len()));
            Ok(visit.go_and_say(&format!("revoke/done?what={}", escape(name.as_str())), &say))
        }
        Err(why) => {
            let why = Fault::from(why).beside_form()?;
            page(&visit, &sent, again, Some(why)).await
        }
    }
}

/// The device of this name, else the certificate of this serial number: a name may look like a number, and a device that
/// is there is what was meant.
async fn find(visit: &Visit, what: &str) -> Result<(Target, DeviceName), Fault> {
    let what = what.trim();
    let missing = || {
        let why = format!("there is no device {what:?}, and no certificate with that serial number");
        Fault::missing(&why).fix("look for it in the list of all certificates")
    };
    let name = DeviceName::restored(what.to_owned());
    match visit.ca().device(visit.proof(), &name).await {
        Ok(device) => return Ok((Target::Device(device.name.clone()), device.name)),
        Err(muster_ca::Error::Missing(_)) => {}
        Err(why) => return Err(why.into()),
    }
    let serial = Serial::from_hex(&what.replace(' ', "")).ok_or_else(missing)?;
    match visit.ca().certificate(visit.proof(), &serial).await {
        Ok(issued) => Ok((Target::Certificate(serial), issued.certificate().device.clone())),
        Err(muster_ca::Error::Missing(_)) => Err(missing()),
        Err(why) => Err(why.into()),
    }
}

async fn page(visit: &Visit, sent: &Sent, status: StatusCode, refusal: Option<String>) -> Answer {
    let find_field = Field::text("what", "Name or serial number")
        .value(&sent.what)
        .required()
        .hint("The device's name shuts out the device with all its certificates; a serial number revokes that one.")
        .verbatim();
    let waiting = visit.ca().waiting_revocation(visit.proof()).await?;
    let mut page = RevokePage {
        frame: visit.frame("Revoke Certificate"),
        find: find_field,
        refusal,
        asked: waiting.map(|waiting| waiting.by),
        chosen: None,
    };
    if sent.what.trim().is_empty() {
        return html(&page);
    }
    match find(visit, &sent.what).await {
        Ok((target, name)) => {
            let wrong = status != StatusCode::OK && sent.confirm.trim() != name.as_str();
            match choose(visit, sent, target, name, wrong).await {
                Ok(chosen) => page.chosen = Some(chosen),
                Err(fault) => page.refusal = Some(fault.beside_form()?),
            }
            html_with(status, &page)
        }
        Err(fault) if fault.status == StatusCode::NOT_FOUND => {
            page.find = page.find.refused(Some(&fault.message));
            html_with(StatusCode::NOT_FOUND, &page)
        }
        Err(fault) => Err(fault),
    }
}

async fn choose(
    visit: &Visit,
    sent: &Sent,
    target: Target,
    name: DeviceName,
    wrong_name: bool,
) -> Result<Chosen, Fault> {
    let ca = visit.ca();
    let reason = if sent.reason.is_empty() {
        Reason::KeyCompromise
    } else {
        Reason::parse(&sent.reason)?
    };
    let whole = matches!(target, Target::Device(_));
    let what = match &target {
        Target::Device(name) => name.to_string(),
        Target::Certificate(serial) => serial.hex(),
    };
    // The very thing that would be done, but for keeping it.
    let rehearsed = ca.revoke(visit.rehearsal(), target, reason, "").await?;
    let all = ca.certificates_of(visit.proof(), &name, visit.now()).await?;
    let ends = |one: &Certificate| rehearsed.serials.contains(&one.serial);
    let ending = all
        .iter()
        .filter(|one| one.is_living(visit.now()) && ends(one))
        .count();
    let stay = all
        .iter()
        .filter(|one| one.is_living(visit.now()) && !ends(one))
        .count();
    let row = |one: &Certificate| Row {
        serial: one.serial.hex(),
        grouped: view::grouped(&one.serial),
        status: view::status(one, visit.now()),
        expires: When::date(one.not_after),
        ends: ends(one),
    };
    let confirm = Field::text("confirm", "Type the device's name to confirm")
        .value(&sent.confirm)
        .required()
        .hint(&format!("The name is {name}"))
        .verbatim();
    Ok(Chosen {
        title: if whole {
            format!("Revoke {name} and shut it out?")
        } else {
            format!("Revoke this certificate of {name}?")
        },
        consequences: consequences(&name, whole, ending, stay),
        certificates: all.iter().map(row).collect(),
        reason: Field::choice("reason", "Reason", reasons())
            .value(&reason.to_string())
            .hint("A key that is revoked as compromised never gets a certificate again.")
            .required(),
        note: Field::text("note", "Note for the audit log")
            .value(&sent.note)
            .with("maxlength", "500"),
        confirm: confirm.refused(wrong_name.then_some("this is not its name; nothing was changed")),
        lines: lines(&what, whole, reason),
        name: name.to_string(),
        what,
        whole,
    })
}

fn consequences(name: &DeviceName, whole: bool, ends: usize, stay: usize) -> Vec<String> {
    let mut all = vec![match ends {
        0 => format!("Nothing of {name} stops working now: what is to be revoked is shut out already."),
        1 => format!("{} of {name} stops working.", counted(1)),
        many => format!("{} of {name} stop working.", counted(many)),
    }];
    if whole {
        all.push(format!(
            "{name} can neither renew nor enrol again until an operator re-arms it."
        ));
    } else if stay > 0 {
        all.push(format!(
            "{} of {name} go{} on working.",
            counted(stay),
            if stay == 1 { "es" } else { "" }
        ));
    } else {
        all.push(format!(
            "{name} has no other that works. It may enrol again with a token."
        ));
    }
    all.push("It cannot be undone. To shut a device out for a while, suspend it instead.".into());
    all.push("Brokers refuse it once they have the new revocation list (CRL); until they prove that, it stays unconfirmed.".into());
    all
}

pub(super) fn counted(count: usize) -> String {
    format!("{count} certificate{}", if count == 1 { "" } else { "s" })
}

pub(super) fn reasons() -> Vec<(String, String)> {
    let option = |(reason, words): (Reason, &str)| (reason.to_string(), words.to_owned());
    REASONS.into_iter().map(option).collect()
}

fn lines(what: &str, whole: bool, reason: Reason) -> Lines {
    let (noun, path) = if whole {
        ("device", "devices")
    } else {
        ("cert", "certificates")
    };
    Lines::new(
        "revoke",
        &format!("muster {noun} revoke {what} --reason {reason}"),
        &format!("POST /{path}/{}/revoke", escape(what)),
    )
    .with_body(&serde_json::json!({ "reason": reason.to_string() }))
}

#[derive(Template)]
#[template(path = "pages/revoke/done.html")]
struct DonePage {
    frame: Frame,
    name: Option<String>,
    proofs: Proofs,
    authorities: Vec<String>,
    lines: Lines,
}

#[derive(Deserialize)]
struct Done {
    /// The device; nothing if they were many.
    what: Option<String>,
}

async fn done(visit: Visit, Query(asked): Query<Done>) -> Answer {
    let ca = visit.ca();
    let mut authorities: Vec<_> = match &asked.what {
        Some(name) => {
            let name = DeviceName::restored(name.clone());
            let all = ca.certificates_of(visit.proof(), &name, visit.now()).await?;
            all.into_iter().map(|one| one.authority).collect()
        }
        None => ca
            .profiles()
            .map(|profile| profile.authority().to_owned())
            .collect(),
    };
    authorities.sort();
    authorities.dedup();
    let first = authorities.first().map_or("default", String::as_str);
    let standings = match &asked.what {
        Some(name) => {
            ca.proof_of(visit.proof(), &DeviceName::restored(name.clone()))
                .await?
        }
        None => ca.broker_standings(visit.proof()).await?,
    };
    html(&DonePage {
        proofs: Proofs::of(&visit.url(""), &standings, None, visit.now()),
        frame: visit.frame("Revoke Certificate"),
        name: asked.what,
        lines: Lines::new(
            "crl",
            "muster ca crl --out crl.pem",
            &format!("GET /authorities/{}/crl", escape(first)),
        ),
        authorities,
    })
}

/// The lists that brokers load, made anew, which is recorded: PEM.
async fn list(visit: Visit, Path(authority): Path<String>) -> Answer {
    let lists = visit.ca().fresh_crls(visit.proof(), &authority, None).await?;
    let mut pem = String::new();
    for list in lists {
        pem.push_str(&muster_pki::pem::encode(muster_pki::pem::CRL, &list.der)?);
    }
    let headers = [
        (CONTENT_TYPE, "application/x-pem-file"),
        (CONTENT_DISPOSITION, "attachment; filename=\"crl.pem\""),
    ];
    Ok((headers, pem).into_response())
}
