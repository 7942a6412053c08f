//! Several certificates at once: how many of whom; then, above a number that the configuration sets, with the count typed
//! and perhaps with a second operator, who sees the same.

use std::collections::BTreeSet;

use askama::Template;
use http::StatusCode;
use jiff::Timestamp;
use muster_ca::certificate::Serial;
use muster_ca::device::DeviceName;
use muster_ca::list::MAX_LIMIT;
use muster_ca::many::{Batch, MOST, Many, WaitingRevocation};
use muster_ca::operator::Permission;
use muster_pki::crl::Reason;
use serde::Deserialize;

use super::super::certificates::view;
use super::super::devices::Act;
use super::{counted, reasons};
use crate::lists::CertificateQuery;
use crate::web::components::{Badge, Field, Icon, Lines, When, thousands};
use crate::web::fault::Fault;
use crate::web::form::Form;
use crate::web::frame::Frame;
use crate::web::query::Filters;
use crate::web::visit::{Answer, Visit, html, html_with};

/// Where somebody sees what waits.
pub(in crate::web::pages) const WAITING: &str = "revoke/waiting";
/// As many pages of a list are looked through for one step.
const PAGES: usize = 20;
/// So many rows show what is meant; all of them would be no help.
const SHOWN: usize = 50;

#[derive(Template)]
#[template(path = "pages/revoke/many.html")]
struct ManyPage {
    frame: Frame,
    refusal: Option<String>,
    chosen: Chosen,
    reason: Field,
    note: Field,
    count: Option<Field>,
    second: bool,
    lines: Lines,
}

/// What was ticked and can be revoked.
struct Chosen {
    title: String,
    consequences: Vec<String>,
    serials: Vec<Serial>,
    rows: Vec<Row>,
    more: usize,
}

struct Row {
    name: String,
    serial: String,
    grouped: String,
    status: Badge,
    expires: When,
}

/// A form whose serial numbers come more than once.
struct Sent(Vec<(String, String)>);

impl Sent {
    fn get(&self, name: &str) -> &str {
        let mut found = self.0.iter().filter(|(known, _)| known == name);
        found.next().map_or("", |(_, value)| value.trim())
    }

    fn serials(&self) -> Result<Vec<Serial>, Fault> {
        let named = self.0.iter().filter(|(known, _)| known == "serial");
        let serials: BTreeSet<Serial> = named.filter_map(|(_, value)| Serial::from_hex(value)).collect();
        if serials.is_empty() || serials.len() > MOST {
            let why = format!("tick 1 to {MOST} certificates first");
            return Err(Fault::new(StatusCode::BAD_REQUEST, &why));
        }
        Ok(serials.into_iter().collect())
    }
}

/// Shows what would be done, and with `sure` does it.
pub(super) async fn send(visit: Visit, Form(sent): Form<Vec<(String, String)>>) -> Answer {
    let sent = Sent(sent);
    let mut more = false;
    let serials = match sent.get("all") {
        "" => sent.serials()?,
        query => {
            let (serials, rest) = matching(&visit, query).await?;
            more = rest;
            serials
        }
    };
    let mut chosen = choose(&visit, &serials).await?;
    if chosen.serials.is_empty() {
        let why = "every one of these is revoked already";
        return Err(Fault::new(StatusCode::CONFLICT, why));
    }
    if more {
        chosen.consequences.push(format!(
            "More fit than one step takes. These are {}; come back for the rest afterwards.",
            thousands(chosen.serials.len() as u64)
        ));
    }
    let settings = visit.web().settings();
    let count = chosen.serials.len();
    let counts = settings.asks_for_count(count);
    let second = settings.asks_for_second(count);
    let sure = sent.get("sure") == "yes";
    let miscounted = sure && counts && sent.get("count") != count.to_string();
    let mut refusal = None;
    if sure && !miscounted {
        let reason = Reason::parse(sent.get("reason"))?;
        let batch = Batch::Certificates(chosen.serials.clone());
        match act(&visit, &batch, reason, sent.get("note")).await {
            Ok(Done::Waits(say)) => return Ok(visit.go_and_say(WAITING, &say)),
            Ok(Done::Revoked(say)) => return Ok(visit.go_and_say("revoke/done", &say)),
            Err(fault) => refusal = Some(fault.beside_form()?),
        }
    }
    let wrong = miscounted || refusal.is_some();
    let status = if wrong {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::OK
    };
    let count = Field::text("count", "Type how many they are to confirm")
        .value(sent.get("count"))
        .required()
        .hint(&format!("They are {count}"))
        .with("inputmode", "numeric")
        .with("autocomplete", "off")
        .refused(miscounted.then_some("that is another number; nothing was changed"));
    html_with(
        status,
        &ManyPage {
            frame: visit.frame("Revoke Certificate"),
            refusal,
            reason: Field::choice("reason", "Reason", reasons())
                .value(sent.get("reason"))
                .required(),
            note: Field::text("note", "Note for the audit log")
                .value(sent.get("note"))
                .with("maxlength", "400"),
            count: counts.then_some(count),
            second,
            lines: lines(&chosen.serials, second),
            chosen,
        },
    )
}

/// A command takes one at a time, so it is no way round a second operator.
fn lines(serials: &[Serial], second: bool) -> Lines {
    let serials: Vec<_> = serials.iter().map(Serial::hex).collect();
    let reason = Reason::CessationOfOperation.to_string();
    let body = serde_json::json!({ "serials": serials, "reason": reason, "count": serials.len() });
    let lines = if second {
        Lines::call("many", "POST /revocations")
    } else {
        let each = serials.join(" ");
        let cli =
            format!("for serial in {each}; do muster cert revoke $serial --reason {reason} --yes; done");
        Lines::new("many", &cli, "POST /revocations")
    };
    lines.with_body(&body)
}

/// What fits a list's address and can be revoked, as much as one step takes, and whether there may be more.
async fn matching(visit: &Visit, query: &str) -> Result<(Vec<Serial>, bool), Fault> {
    let mut list = Filters::parse(query)?.asked::<CertificateQuery>(visit.now())?;
    list.paging.limit = MAX_LIMIT;
    let mut serials = Vec::new();
    for _ in 0..PAGES {
        let page = visit.ca().certificates(visit.proof(), list.clone()).await?;
        let fits = page.items.into_iter().filter(view::may_be_revoked);
        serials.extend(fits.map(|one| one.serial));
        list.paging.cursor = page.next;
        if serials.len() > MOST || list.paging.cursor.is_none() {
            break;
        }
    }
    let more = serials.len() > MOST || list.paging.cursor.is_some();
    serials.truncate(MOST);
    if serials.is_empty() {
        let why = "nothing that fits can be revoked";
        return Err(Fault::new(StatusCode::CONFLICT, why));
    }
    Ok((serials, more))
}

/// What became of a batch, in words.
pub(in crate::web::pages) enum Done {
    /// A second operator has to agree.
    Waits(String),
    Revoked(String),
}

/// Revokes a batch, or asks a second operator to agree if the configuration wants one for so many.
pub(in crate::web::pages) async fn act(
    visit: &Visit,
    batch: &Batch,
    reason: Reason,
    note: &str,
) -> Result<Done, Fault> {
    let ca = visit.ca();
    if visit.web().settings().asks_for_second(batch.len()) {
        ca.ask_to_revoke(visit.proof(), batch, reason, note).await?;
        let say = "Nothing is revoked yet: a second operator has to agree.";
        return Ok(Done::Waits(say.into()));
    }
    let done = ca.revoke_many(visit.proof(), batch, reason, note).await?;
    Ok(Done::Revoked(told(batch, &done)))
}

fn told(batch: &Batch, done: &Many) -> String {
    let (what, word) = match batch {
        Batch::Certificates(_) => (counted(done.revoked.len()), "revoked"),
        Batch::Devices(_) => (devices(done.devices), "revoked"),
        Batch::Retiring(_) => (devices(done.devices), "retired"),
        Batch::Issuing {
            authority,
            generation,
            ..
        } => (
            format!("The issuing CA {generation} of {authority}"),
            "is retired",
        ),
    };
    let before = match done.before {
        0 => String::new(),
        count => format!(" {count} of them were so before."),
    };
    format!("{what} {word}.{before} No broker has confirmed it yet.")
}

fn devices(count: usize) -> String {
    format!("{count} device{}", if count == 1 { "" } else { "s" })
}

/// What of these can be revoked; perhaps nothing.
async fn choose(visit: &Visit, serials: &[Serial]) -> Result<Chosen, Fault> {
    let mut found = Vec::new();
    for serial in serials {
        let issued = visit.ca().certificate(visit.proof(), serial).await?;
        found.push(issued.certificate().clone());
    }
    let all = found.len();
    found.retain(view::may_be_revoked);
    let devices: BTreeSet<_> = found.iter().map(|one| one.device.as_str()).collect();
    let row = |one: &muster_ca::certificate::Certificate| Row {
        name: one.device.to_string(),
        serial: one.serial.hex(),
        grouped: view::grouped(&one.serial),
        status: view::status(one, visit.now()),
        expires: When::date(one.not_after),
    };
    let mut consequences = vec![
        format!(
            "{} of {} device{} stop{} working.",
            counted(found.len()),
            devices.len(),
            if devices.len() == 1 { "" } else { "s" },
            if found.len() == 1 { "s" } else { "" },
        ),
        "It cannot be undone. The devices may enrol again with a token; to keep one out, revoke the device.".into(),
        "Brokers refuse them once they have the new revocation list (CRL); until they prove that, it stays unconfirmed.".into(),
    ];
    if found.len() < all {
        consequences.push(format!(
            "{} of those that you ticked are revoked already and stay so.",
            all - found.len()
        ));
    }
    Ok(Chosen {
        title: format!("Revoke {}?", counted(found.len())),
        consequences,
        serials: found.iter().map(|one| one.serial.clone()).collect(),
        rows: found.iter().take(SHOWN).map(row).collect(),
        more: found.len().saturating_sub(SHOWN),
    })
}

#[derive(Template)]
#[template(path = "pages/revoke/waiting.html")]
struct WaitingPage {
    frame: Frame,
    waiting: Option<Waits>,
    refusal: Option<String>,
    lines: Lines,
}

struct Waits {
    by: String,
    at: String,
    when: When,
    until: When,
    reason: String,
    note: String,
    /// Whether whoever looks asked for it, and so cannot agree.
    own: bool,
    /// Whether everything was revoked meanwhile, one by one.
    void: bool,
    /// Whether whoever looks has the right to agree.
    may_agree: bool,
    title: String,
    /// What the button says.
    agree: &'static str,
    consequences: Vec<String>,
    /// The certificates, if they are meant, and how many more than are shown.
    rows: Vec<Row>,
    more: usize,
    /// The devices, if they are meant.
    names: Vec<String>,
}

/// What waits for a second operator.
pub(super) async fn waiting(visit: Visit) -> Answer {
    waiting_page(&visit, StatusCode::OK, None).await
}

async fn waiting_page(visit: &Visit, status: StatusCode, refusal: Option<String>) -> Answer {
    let waiting = match visit.ca().waiting_revocation(visit.proof()).await? {
        None => None,
        Some(asked) => Some(waits(visit, asked).await?),
    };
    let lines = match &waiting {
        None => Lines::new("waiting", "muster revocation list", "GET /revocations"),
        Some(one) => {
            let verdict = if one.own || one.void || !one.may_agree {
                "reject"
            } else {
                "agree"
            };
            let cli = format!("muster revocation {verdict} {}", one.at);
            Lines::new("waiting", &cli, &format!("POST /revocations/{verdict}"))
                .with_body(&serde_json::json!({ "at": one.at }))
        }
    };
    let page = WaitingPage {
        frame: visit.frame("Revoke Certificate"),
        lines,
        waiting,
        refusal,
    };
    if status == StatusCode::OK {
        html(&page)
    } else {
        html_with(status, &page)
    }
}

async fn waits(visit: &Visit, asked: WaitingRevocation) -> Result<Waits, Fault> {
    let is_chosen = !matches!(asked.batch, Batch::Issuing { .. });
    let agree = match &asked.batch {
        Batch::Issuing { .. } => "Agree and retire it",
        Batch::Retiring(_) => "Agree and retire them",
        Batch::Certificates(_) | Batch::Devices(_) => "Agree and revoke them",
    };
    let (mut void, mut may_agree) = (false, true);
    let (title, consequences, rows, more, names) = match asked.batch {
        Batch::Certificates(serials) => {
            let mut chosen = choose(visit, &serials).await?;
            if chosen.serials.is_empty() {
                chosen.title = "Nothing is left to revoke".into();
                chosen.consequences = vec!["Every one of them was revoked meanwhile.".into()];
            }
            (
                chosen.title,
                chosen.consequences,
                chosen.rows,
                chosen.more,
                Vec::new(),
            )
        }
        Batch::Devices(names) => of_devices(visit, "revoke", &names).await?,
        Batch::Retiring(names) => of_devices(visit, "retire", &names).await?,
        Batch::Issuing {
            authority,
            generation,
            certificates,
        } => {
            let leaving = visit.ca().leaving(visit.proof(), &authority).await?;
            void = leaving.is_none_or(|leaving| leaving.generation != generation);
            may_agree = visit.may(Permission::Administer);
            let title = if void {
                "It was retired meanwhile".to_owned()
            } else {
                format!("Retire the issuing CA {generation} of {authority} at once?")
            };
            (title, of_issuing(certificates), Vec::new(), 0, Vec::new())
        }
    };
    if is_chosen {
        void = rows.is_empty() && names.is_empty();
    }
    Ok(Waits {
        when: When::relative(asked.at, visit.now()),
        until: When::relative(asked.until, visit.now()),
        at: asked.at.to_string(),
        reason: asked.reason.to_string(),
        note: asked.note,
        own: asked.by == visit.visitor().name,
        void,
        may_agree,
        by: asked.by,
        title,
        agree,
        consequences,
        rows,
        more,
        names,
    })
}

/// What it means that an issuing CA goes with so many certificates that live.
pub(in crate::web::pages) fn of_issuing(certificates: usize) -> Vec<String> {
    vec![
        format!(
            "{} that it issued {} refused from now on, wherever a broker has an agent; the sessions of those devices end.",
            counted(certificates),
            if certificates == 1 { "is" } else { "are" }
        ),
        "Each of these devices needs a certificate of the next issuing CA: re-arm it, then enrol it again.".into(),
        "Brokers without an agent need the new ca.crt from you. Devices that check a broker go by the root alone and are not told.".into(),
        "This cannot be undone.".into(),
    ]
}

/// Some may be shut out since somebody asked; of these nothing is counted.
async fn of_devices(
    visit: &Visit,
    verb: &str,
    names: &[DeviceName],
) -> Result<(String, Vec<String>, Vec<Row>, usize, Vec<String>), Fault> {
    let act = Act::parse(verb)?;
    let mut certificates = 0;
    for name in names {
        let living = visit
            .ca()
            .certificates_of(visit.proof(), name, visit.now())
            .await?;
        certificates += living.iter().filter(|one| view::may_be_revoked(one)).count();
    }
    Ok((
        format!("{} {}?", act.label, devices(names.len())),
        act.consequences(names.len(), certificates),
        Vec::new(),
        0,
        names.iter().map(ToString::to_string).collect(),
    ))
}

#[derive(Deserialize)]
pub(super) struct Judged {
    /// When it was asked for, as the page had it.
    at: String,
    /// `agree` or `reject`.
    act: String,
}

pub(super) async fn judge(visit: Visit, Form(judged): Form<Judged>) -> Answer {
    let ca = visit.ca();
    let at = judged.at.parse::<Timestamp>();
    let at = at.map_err(|_| Fault::missing("this revocation does not wait any more"))?;
    let done = if judged.act == "agree" {
        let batch = ca
            .waiting_revocation(visit.proof())
            .await?
            .map(|asked| asked.batch);
        let done = ca.agree_to_revoke(visit.proof(), at).await;
        let batch = batch.unwrap_or(Batch::Certificates(Vec::new()));
        done.map(|done| ("revoke/done", told(&batch, &done)))
    } else {
        let done = ca.reject_revocation(visit.proof(), at).await;
        done.map(|()| ("revoke", "Rejected: nothing was revoked.".to_owned()))
    };
    match done {
        Ok((place, say)) => Ok(visit.go_and_say(place, &say)),
        Err(why) => {
            let why = Fault::from(why).beside_form()?;
            waiting_page(&visit, StatusCode::UNPROCESSABLE_ENTITY, Some(why)).await
        }
    }
}
