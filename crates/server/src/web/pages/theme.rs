//! The colours: as the system has them, light, or dark. The choice is the browser's, so it needs nobody's permission.
//! `static/app.js` changes them at once and stays on the page; without it the browser comes back to the page.

use axum::response::Response;
use axum::routing::post;
use muster_ca::operator::Permission;
use serde::Deserialize;

use crate::web::cookie;
use crate::web::form::{Form, local_path};
use crate::web::route::{Page, Route};
use crate::web::visit::Guest;

pub(in crate::web) const PAGE: Page = Page {
    menu: None,
    routes: &[Route::post("theme", Permission::Read, || post(choose)).open()],
};

#[derive(Deserialize)]
struct Choice {
    theme: String,
    #[serde(default)]
    back: String,
}

async fn choose(guest: Guest, Form(choice): Form<Choice>) -> Response {
    let mut response = guest.go(local_path(&choice.back));
    let theme = ["light", "dark"].into_iter().find(|theme| *theme == choice.theme);
    cookie::set_theme(guest.web(), guest.client(), &mut response, theme);
    response
}
