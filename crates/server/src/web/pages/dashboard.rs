//! Dashboard: does everything work, until when, and what needs somebody.

use askama::Template;
use axum::routing::get;
use muster_ca::operator::Permission;

use crate::web::components::{Badge, Mood};
use crate::web::frame::Frame;
use crate::web::route::{Entry, Page, Route};
use crate::web::visit::{Answer, Visit, html};

pub(in crate::web) const PAGE: Page = Page {
    menu: Some(Entry {
        section: "",
        label: "Dashboard",
        icon: "gauge",
    }),
    routes: &[Route::get("", Permission::Read, || get(show))],
};

#[derive(Template)]
#[template(path = "pages/dashboard.html")]
struct Dashboard {
    frame: Frame,
    ready: Badge,
    problems: Vec<String>,
    counts: muster_ca::ports::Counts,
}

async fn show(visit: Visit) -> Answer {
    let problems = visit.ca().readiness().await.problems;
    html(&Dashboard {
        frame: visit.frame("Dashboard"),
        ready: if problems.is_empty() {
            Badge::new(Mood::Good, "Signing")
        } else {
            Badge::new(Mood::Bad, "Not all right")
        },
        problems,
        counts: visit.ca().counts().await?,
    })
}
