//! Makes enrolment tokens: for one device, for a wave, or one for each name of a list.

use askama::Template;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use muster_ca::Error;
use muster_ca::device::DeviceName;
use muster_ca::operator::Permission;
use muster_ca::registry::TokenWish;
use muster_ca::token::MAX_USES;
use muster_pki::time::parse_duration;
use serde::Deserialize;

use super::made;
use crate::web::components::{Field, Lines};
use crate::web::export::{CSV, csv_text, file_headers};
use crate::web::fault::Fault;
use crate::web::form::Form;
use crate::web::frame::Frame;
use crate::web::pages::devices::profiles;
use crate::web::query::Filters;
use crate::web::route::Route;
use crate::web::visit::{Answer, Visit, html_with};

pub(super) const FORM: Route = Route::get("tokens/-/new", Permission::Operate, || get(form));
pub(super) const SEND: Route = Route::post("tokens/-/new", Permission::Operate, || post(send));

/// For whom: value and words.
const WHOM: [(&str, &str); 3] = [
    ("one", "One device"),
    ("wave", "A wave"),
    ("list", "A list of names"),
];
/// How long: value and words.
const LIFETIMES: [(&str, &str); 5] = [
    ("1h", "1 hour"),
    ("24h", "1 day"),
    ("7d", "1 week"),
    ("30d", "30 days"),
    ("90d", "90 days"),
];

#[derive(Template)]
#[template(path = "pages/tokens/create.html")]
struct Create {
    frame: Frame,
    /// Value, words, and whether it is chosen.
    whom: [(&'static str, &'static str, bool); 3],
    chosen: &'static str,
    explained: &'static str,
    refusal: Option<String>,
    fields: Vec<Field>,
    button: &'static str,
    /// What another button sends, and its words.
    other: Option<(&'static str, &'static str)>,
    lines: Lines,
}

#[derive(Deserialize, Default)]
struct Sent {
    #[serde(default, rename = "for")]
    whom: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    wave: String,
    #[serde(default)]
    uses: String,
    #[serde(default)]
    names: String,
    #[serde(default)]
    profile: String,
    #[serde(default)]
    lifetime: String,
    /// How a list is handed out: as a `sheet`, else as CSV.
    #[serde(default, rename = "as")]
    form: String,
}

/// What was refused, and at which field.
struct Refused(&'static str, Fault);

impl<E: Into<Error>> From<(&'static str, E)> for Refused {
    fn from((field, why): (&'static str, E)) -> Self {
        Self(field, why.into().into())
    }
}

async fn form(visit: Visit, filters: Filters) -> Answer {
    let sent = Sent {
        whom: filters.get("for").to_owned(),
        name: filters.get("name").to_owned(),
        profile: "client".into(),
        lifetime: "24h".into(),
        ..Sent::default()
    };
    page(&visit, &sent, StatusCode::OK, None)
}

async fn send(visit: Visit, Form(sent): Form<Sent>) -> Answer {
    let made = match chosen(&sent) {
        "wave" => wave(&visit, &sent).await,
        "list" => list(&visit, &sent).await,
        _ => one(&visit, &sent).await,
    };
    match made {
        Ok(response) => Ok(response),
        // What is not there is a profile that the form names.
        Err(Refused(_, fault)) if !fault.is_of_the_form() && fault.status != StatusCode::NOT_FOUND => {
            Err(fault)
        }
        Err(refused) => page(&visit, &sent, StatusCode::UNPROCESSABLE_ENTITY, Some(refused)),
    }
}

fn chosen(sent: &Sent) -> &'static str {
    let found = WHOM.iter().find(|(value, _)| *value == sent.whom);
    found.map_or("one", |(value, _)| value)
}

fn wish(sent: &Sent) -> Result<TokenWish, Refused> {
    Ok(TokenWish {
        device: None,
        wave: sent.wave.trim().to_owned(),
        uses: 1,
        profile: sent.profile.clone(),
        lifetime: parse_duration(&sent.lifetime).map_err(|why| ("lifetime", why))?,
    })
}

async fn one(visit: &Visit, sent: &Sent) -> Result<Response, Refused> {
    let name = DeviceName::parse(sent.name.trim()).map_err(|why| ("name", why))?;
    let wish = TokenWish {
        device: Some(name),
        wave: String::new(),
        ..wish(sent)?
    };
    make(visit, wish).await
}

async fn wave(visit: &Visit, sent: &Sent) -> Result<Response, Refused> {
    let bad = |field, why: String| Refused::from((field, Error::Bad(why)));
    let wish = wish(sent)?;
    if wish.wave.is_empty() {
        return Err(bad("wave", "say what to call the wave".into()));
    }
    let uses = sent
        .uses
        .trim()
        .parse()
        .ok()
        .filter(|uses| (1..=MAX_USES).contains(uses));
    let uses = uses.ok_or_else(|| bad("uses", format!("a wave has 1 to {MAX_USES} devices")))?;
    let wish = TokenWish { uses, ..wish };
    make(visit, wish).await
}

async fn make(visit: &Visit, wish: TokenWish) -> Result<Response, Refused> {
    let (token, secret) = visit
        .ca()
        .create_token(visit.proof(), wish)
        .await
        .map_err(|why| ("", why))?;
    made::page(visit, &token, &secret)
        .await
        .map_err(|fault| Refused("", fault))
}

/// What the button for a sheet says.
const SHEET: &str = "sheet";
/// As many codes as a page shows and a browser prints without trouble.
const ON_SHEET: usize = 100;
const HEAD: &[&str] = &["id", "device", "wave", "uses", "expires", "secret", "line"];

/// The secrets are in the file, or on the sheet, and nowhere else.
async fn list(visit: &Visit, sent: &Sent) -> Result<Response, Refused> {
    let names = read_names(&sent.names).map_err(|why| ("names", why))?;
    let wish = wish(sent)?;
    let is_sheet = sent.form == SHEET;
    if is_sheet && names.len() > ON_SHEET {
        let why = format!(
            "a sheet has at most {ON_SHEET} names, and these are {}: make it in parts, or download the CSV",
            names.len()
        );
        return Err(Refused::from(("names", Error::Bad(why))));
    }
    let made = visit.ca().create_tokens(visit.proof(), names, wish).await;
    let made = made.map_err(|why| ("names", why))?;
    if is_sheet {
        return made::sheet(visit, &made, lines("list")).map_err(|fault| Refused("", fault));
    }
    let rows = made.iter().map(|(token, secret)| {
        Ok(vec![
            token.id.clone(),
            token.device.as_ref().map(ToString::to_string).unwrap_or_default(),
            token.wave.clone(),
            token.uses.to_string(),
            token.expires.to_string(),
            secret.to_string(),
            made::line(visit.web().edge(), token, secret)?,
        ])
    });
    let rows: Result<Vec<_>, Error> = rows.collect();
    let rows = rows.map_err(|why| ("names", why))?.into_iter();
    let text = csv_text(Some(HEAD), rows).map_err(|why| ("", why))?;
    Ok((file_headers(CSV, "enrolment-tokens"), text).into_response())
}

/// One name a line; of a CSV the first column, and no head.
fn read_names(text: &str) -> Result<Vec<DeviceName>, Error> {
    let mut names = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let cell = line.split([',', ';', '\t']).next().unwrap_or_default();
        let cell = cell.trim().trim_matches('"');
        if cell.is_empty() || (names.is_empty() && cell == "name") {
            continue;
        }
        let name = DeviceName::parse(cell).map_err(|why| Error::Bad(format!("line {}: {why}", at + 1)))?;
        names.push(name);
    }
    Ok(names)
}

fn page(visit: &Visit, sent: &Sent, status: StatusCode, refused: Option<Refused>) -> Answer {
    let at = |field: &str| {
        let refused = refused.as_ref().filter(|Refused(at, _)| *at == field);
        refused.map(|Refused(_, fault)| fault.in_one_line())
    };
    let chosen = chosen(sent);
    let mut fields = match chosen {
        "wave" => vec![
            wave_field(sent).required().refused(at("wave").as_deref()),
            Field::text("uses", "How many devices")
                .value(&sent.uses)
                .required()
                .refused(at("uses").as_deref())
                .with("inputmode", "numeric"),
        ],
        "list" => vec![
            Field::lines("names", "Names")
                .value(&sent.names)
                .required()
                .refused(at("names").as_deref())
                .hint("One a line, at most 1,000, on a sheet 100. Of a CSV the first column counts."),
            wave_field(sent).refused(at("wave").as_deref()),
        ],
        _ => vec![
            Field::text("name", "Name of the device")
                .value(&sent.name)
                .required()
                .refused(at("name").as_deref())
                .verbatim(),
        ],
    };
    let lifetimes = LIFETIMES.map(|(value, words)| (value.to_owned(), words.to_owned()));
    fields.push(
        Field::choice("lifetime", "Good for", lifetimes.into())
            .value(&sent.lifetime)
            .required()
            .refused(at("lifetime").as_deref())
            .hint("A token that is stolen before its first use works once. Short is safe."),
    );
    fields.push(profiles(visit, &sent.profile));
    html_with(
        status,
        &Create {
            frame: visit.frame("Make an enrolment token"),
            whom: WHOM.map(|(value, words)| (value, words, value == chosen)),
            chosen,
            explained: explained(chosen),
            refusal: at(""),
            fields,
            button: if chosen == "list" {
                "Make them and download the CSV"
            } else {
                "Make the token"
            },
            other: (chosen == "list").then_some((SHEET, "Make them and show a sheet of QR codes")),
            lines: lines(chosen),
        },
    )
}

fn wave_field(sent: &Sent) -> Field {
    Field::text("wave", "Name of the wave")
        .value(&sent.wave)
        .hint("What you call them together, such as spring-2027.")
        .with("maxlength", "64")
}

fn explained(chosen: &str) -> &'static str {
    match chosen {
        "wave" => {
            "One secret for many devices: each brings its own name and key, until the number is reached."
        }
        "list" => {
            "A secret of its own for each name, all made together or none. The CSV holds them with the line to paste on \
             each device; the sheet has a QR code of each, to be printed. Either is there once: nothing shows the secrets \
             again."
        }
        _ => "One secret for one name. The device makes its own key and shows the secret once.",
    }
}

fn lines(chosen: &str) -> Lines {
    let cli = match chosen {
        "wave" => "muster token create --wave spring-2027 --count 100 --lifetime 24h",
        "list" => "for name in $(cat names); do muster token create $name --lifetime 24h --csv; done",
        _ => "muster token create site-001 --lifetime 24h",
    };
    let (api, body) = match chosen {
        "wave" => (
            "POST /tokens",
            serde_json::json!({ "wave": "spring-2027", "uses": 100, "lifetime": "24h" }),
        ),
        "list" => (
            "POST /tokens/many",
            serde_json::json!({ "devices": ["site-001", "site-002"], "lifetime": "24h" }),
        ),
        _ => (
            "POST /tokens",
            serde_json::json!({ "device": "site-001", "lifetime": "24h" }),
        ),
    };
    Lines::new("create", cli, api).with_body(&body)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn names_come_from_lines_or_the_first_column() {
        let names = |text| -> Vec<String> {
            let names = read_names(text).unwrap();
            names.iter().map(ToString::to_string).collect()
        };
        assert_eq!(names("site-1\r\n\n  site-2 \n"), ["site-1", "site-2"]);
        assert_eq!(
            names("name,kind\n\"site-1\",client\nsite-2;server\n"),
            ["site-1", "site-2"]
        );
        assert!(
            read_names("site-1\nSite 2\n")
                .unwrap_err()
                .to_string()
                .starts_with("line 2:")
        );
    }
}
