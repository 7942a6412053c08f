//! Issue Certificate: what is wished for, what would come of it, and the certificate.

mod form;
mod handout;

use askama::Template;
use axum::extract::Query;
use axum::routing::{get, post};
use http::StatusCode;
use muster_ca::operator::Permission;
use muster_ca::{Ask, Issued, Proof, Wish};
use muster_pki::csr::Csr;
use muster_pki::key::PrivateKey;

use self::form::{FIELDS, Refusals, Refused, Sent, Wished};
use super::certificates::view::may_by_profile;
use crate::files::{self, Handout};
use crate::web::components::{Field, Icon, Lines, When};
use crate::web::fault::Fault;
use crate::web::form::Form;
use crate::web::frame::Frame;
use crate::web::route::{Entry, Page, Route};
use crate::web::visit::{Answer, Partly, Visit, html, html_with};

pub(in crate::web) const PAGE: Page = Page {
    menu: Some(Entry {
        section: "Certificates",
        label: "Issue Certificate",
        icon: "plus",
    }),
    routes: &[
        Route::get("issue", Permission::Operate, || get(show)),
        Route::post("issue", Permission::Operate, || post(issue)),
        Route::post("issue/preview", Permission::Operate, || post(preview)),
        Route::get("issue/{serial}", Permission::Operate, || get(handout::show)),
        Route::get("issue/{serial}/{form}", Permission::Operate, || {
            get(handout::download)
        }),
        Route::post("issue/{serial}/forget", Permission::Operate, || {
            post(handout::forget)
        }),
    ],
};

#[derive(Template)]
#[template(path = "pages/issue/issue.html")]
struct IssuePage {
    frame: Frame,
    refusal: Option<String>,
    name: Field,
    profile: Field,
    validity: Field,
    sans: Field,
    own_key: bool,
    csr: Field,
    preview: Preview,
}

/// What would be issued; also the part that htmx puts into the page, with the refusals for beside the fields.
#[derive(Template)]
#[template(path = "pages/issue/preview.html")]
struct Preview {
    plan: Option<Plan>,
    /// Why nothing would be issued.
    refusals: Refusals,
    partly: bool,
}

impl askama::filters::HtmlSafe for Preview {}

struct Plan {
    name: String,
    may: &'static str,
    profile: String,
    from: When,
    until: When,
    far: When,
    sans: String,
    issuer: String,
    clamped: bool,
    /// How many certificates of this name work now.
    beside: usize,
    lines: Lines,
}

async fn show(visit: Visit, Query(sent): Query<Sent>) -> Answer {
    page(&visit, StatusCode::OK, &sent, Preview::empty())
}

/// What the button without JavaScript shows, and what htmx asks for while somebody types.
async fn preview(visit: Visit, Partly(partly): Partly, Form(sent): Form<Sent>) -> Answer {
    let mut preview = match plan(&visit, &sent).await {
        Ok(plan) => Preview {
            plan: Some(plan),
            ..Preview::empty()
        },
        Err(Refused::Form(why)) => Preview::refused(why),
        Err(Refused::Fault(fault)) => return Err(fault),
    };
    // Whoever has typed nothing yet needs no reproach.
    if partly && sent.is_blank() {
        preview = Preview::empty();
    }
    if partly {
        preview.partly = true;
        return html(&preview);
    }
    page(&visit, StatusCode::OK, &sent, preview)
}

async fn issue(visit: Visit, Form(sent): Form<Sent>) -> Answer {
    match try_issue(&visit, &sent).await {
        Ok(place) => Ok(visit.go(&place)),
        Err(Refused::Fault(fault)) => Err(fault),
        Err(Refused::Form(why)) => {
            let preview = Preview::refused(why);
            page(&visit, StatusCode::UNPROCESSABLE_ENTITY, &sent, preview)
        }
    }
}

async fn plan(visit: &Visit, sent: &Sent) -> Result<Plan, Refused> {
    let wished = form::read(visit, sent)?;
    let (csr, _) = request(visit, sent, &wished).await?;
    let issued = enrol(visit, visit.rehearsal(), csr, wished.wish.clone()).await?;
    let certificate = issued.certificate();
    let (now, device) = (visit.now(), &certificate.device);
    let living = visit.ca().certificates_of(visit.proof(), device, now).await?;
    let sans: Vec<_> = issued.sans().iter().map(ToString::to_string).collect();
    Ok(Plan {
        name: device.to_string(),
        may: may_by_profile(visit, &certificate.profile),
        profile: certificate.profile.clone(),
        from: When::long(certificate.not_before),
        until: When::long(certificate.not_after),
        far: When::relative(certificate.not_after, now),
        sans: sans.join(", "),
        issuer: format!("{} {}", certificate.authority, certificate.generation),
        clamped: issued.clamped(),
        beside: living.iter().filter(|one| one.is_living(now)).count(),
        lines: form::lines(sent, &wished),
    })
}

/// Issues, and says where to go then.
async fn try_issue(visit: &Visit, sent: &Sent) -> Result<String, Refused> {
    let wished = form::read(visit, sent)?;
    let handouts = visit.web().handouts();
    if !sent.own_key() {
        handouts.room(&visit.visitor().name, visit.now())?;
    }
    let (csr, key) = request(visit, sent, &wished).await?;
    let issued = enrol(visit, visit.proof(), csr, wished.wish).await?;
    let serial = issued.certificate().serial.clone();
    let Some(key) = key else {
        return Ok(format!("certificates/{serial}"));
    };
    let handout = Handout::new(visit.ca(), &issued, &key)?;
    let (operator, place) = (visit.visitor().name.clone(), (visit.session(), serial.clone()));
    handouts.keep(operator, place, handout, visit.now());
    Ok(format!("issue/{serial}"))
}

async fn enrol(visit: &Visit, proof: Proof, csr: Vec<u8>, wish: Wish) -> Result<Issued, Refused> {
    Ok(visit.ca().enrol(Ask { proof, csr, wish }).await?)
}

/// The request that somebody brought along, or one with a key of ours.
async fn request(
    visit: &Visit,
    sent: &Sent,
    wished: &Wished,
) -> Result<(Vec<u8>, Option<PrivateKey>), Refused> {
    if sent.own_key() {
        return Ok((wished.csr.clone(), None));
    }
    let key = files::new_key(visit.web().edge(), wished.key).await?;
    let csr = Csr::build(wished.name.as_str(), &[], &key).map_err(Fault::from)?;
    Ok((csr, Some(key)))
}

fn page(visit: &Visit, status: StatusCode, sent: &Sent, preview: Preview) -> Answer {
    let why = |field: &str| Some(preview.refusals.of(field)).filter(|why| !why.is_empty());
    let page = IssuePage {
        frame: visit.frame("Issue Certificate"),
        refusal: preview.refusals.whole.clone(),
        name: form::name(sent).refused(why("name")),
        profile: form::profile(visit, sent).refused(why("profile")),
        validity: form::validity(visit, sent).refused(why("validity")),
        sans: form::sans(sent).refused(why("sans")),
        own_key: sent.own_key(),
        csr: form::csr(sent).refused(why("csr")),
        preview,
    };
    html_with(status, &page)
}

impl Preview {
    fn empty() -> Self {
        Self::refused(Refusals::default())
    }

    fn refused(refusals: Refusals) -> Self {
        Self {
            plan: None,
            refusals,
            partly: false,
        }
    }
}
