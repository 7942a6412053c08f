//! A token that was just made: its secret is shown this once.

use askama::Template;
use muster_ca::Error;
use muster_ca::token::EnrolmentToken;
use zeroize::Zeroizing;

use super::whom;
use crate::Edge;
use crate::web::components::{Copied, Icon, Lines, Qr, When};
use crate::web::frame::Frame;
use crate::web::visit::{Answer, Visit, html};

#[derive(Template)]
#[template(path = "pages/tokens/made.html")]
struct Made<'a> {
    frame: Frame,
    whom: String,
    id: &'a str,
    secret: Copied,
    uses: u32,
    expires: When,
    qr: Qr,
    line: Copied,
    /// What the line asks for, if that does not hold it.
    code: Option<Copied>,
    device: Option<String>,
    notes: Vec<String>,
}

pub(in crate::web::pages) async fn page(visit: &Visit, token: &EnrolmentToken, secret: &str) -> Answer {
    let code = visit.web().edge().code(token, secret)?.to_string();
    // A device that is there already may have others looking on: its processes and its shell's history shall not have the code.
    let (title, line, asked) = if token.recovers {
        let asked = Copied::new("code", &code, "Copy the code");
        (
            "The recovery code is made",
            "muster agent enrol".to_owned(),
            Some(asked),
        )
    } else {
        (
            "The token is made",
            line(visit.web().edge(), token, secret)?,
            None,
        )
    };
    html(&Made {
        frame: visit.frame(title),
        whom: whom(token),
        id: &token.id,
        secret: Copied::new("secret", secret, "Copy the secret"),
        uses: token.uses,
        expires: When::long(token.expires),
        qr: Qr::new(&code, "QR code of what the device enrols with"),
        line: Copied::new("line", &line, "Copy the line"),
        code: asked,
        device: token.device.as_ref().map(ToString::to_string),
        notes: visit.web().edge().notes(visit.proof(), token).await?,
    })
}

/// Tokens for a list of names, as a sheet to be printed and cut up.
#[derive(Template)]
#[template(path = "pages/tokens/sheet.html")]
struct Sheet {
    frame: Frame,
    wave: String,
    expires: When,
    tickets: Vec<Ticket>,
    lines: Lines,
}

struct Ticket {
    name: String,
    qr: Qr,
    line: String,
}

pub(super) fn sheet(visit: &Visit, made: &[(EnrolmentToken, Zeroizing<String>)], lines: Lines) -> Answer {
    let edge = visit.web().edge();
    let ticket = |(token, secret): &(EnrolmentToken, Zeroizing<String>)| {
        Ok(Ticket {
            name: whom(token),
            qr: Qr::new(
                &edge.code(token, secret)?.to_string(),
                "QR code of what the device enrols with",
            ),
            line: line(edge, token, secret)?,
        })
    };
    let tickets: Result<Vec<_>, Error> = made.iter().map(ticket).collect();
    let first = made.first().map(|(token, _)| token);
    html(&Sheet {
        frame: visit.frame("The tokens are made"),
        wave: first.map(|token| token.wave.clone()).unwrap_or_default(),
        expires: When::long(first.map_or(visit.now(), |token| token.expires)),
        tickets: tickets?,
        lines,
    })
}

/// What is pasted on the device, which makes its own key.
pub(super) fn line(edge: &Edge, token: &EnrolmentToken, secret: &str) -> Result<String, Error> {
    let name = if token.device.is_none() {
        " --name NAME"
    } else {
        ""
    };
    Ok(format!("muster agent enrol {}{name}", edge.code(token, secret)?))
}
