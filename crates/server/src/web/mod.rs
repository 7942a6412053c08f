//! The web GUI: pages made on the server.
//!
//! A page is a file in [`pages`]: its place in the menu and its routes, each with the permission that it needs. The
//! [`gate`] judges whoever comes before the page hears of it, and every method of [`Ca`](muster_ca::Ca) judges again.
//! Everything works without JavaScript; what there is of it makes some things quicker. No page loads anything from
//! elsewhere, and the content security policy sees to that.

mod assets;
mod components;
mod cookie;
mod event;
mod export;
mod fault;
mod form;
mod frame;
mod gate;
mod handout;
mod health;
mod history;
mod live;
mod origin;
mod pages;
mod proofs;
mod query;
mod route;
mod several;
mod visit;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use muster_ca::operator::Permission;
use tower_http::compression::CompressionLayer;

use self::handout::Handouts;
use self::live::Live;
pub use self::route::{Method, Needs};
use self::route::{Page, Route};
use crate::attempts::Attempts;
use crate::background::Stop;
use crate::{Edge, Settings, shell};

/// Every page, in the order of the menu.
const PAGES: &[Page] = &[
    pages::dashboard::PAGE,
    pages::devices::PAGE,
    pages::tokens::PAGE,
    pages::brokers::PAGE,
    pages::diagnosis::PAGE,
    pages::issue::PAGE,
    pages::certificates::PAGE,
    pages::revoke::PAGE,
    pages::authority::PAGE,
    pages::profiles::PAGE,
    pages::audit::PAGE,
    pages::users::PAGE,
    pages::account::PAGE,
    pages::search::PAGE,
    pages::settings::PAGE,
    pages::login::PAGE,
    pages::setup::PAGE,
    pages::theme::PAGE,
    live::PAGE,
    assets::PAGE,
];

/// The longest form.
const FORM_BODY: usize = 256 << 10;

/// What every page knows. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Web(Arc<Inner>);

struct Inner {
    edge: Edge,
    /// Whether only this machine reaches the listener.
    loopback: bool,
    handouts: Handouts,
    live: Live,
}

impl Web {
    pub(crate) fn edge(&self) -> &Edge {
        &self.0.edge
    }

    pub(crate) fn settings(&self) -> &Settings {
        self.0.edge.settings()
    }

    fn attempts(&self) -> &Attempts {
        self.0.edge.attempts()
    }

    fn handouts(&self) -> &Handouts {
        &self.0.handouts
    }

    fn live(&self) -> &Live {
        &self.0.live
    }
}

/// What the GUI's listener answers: the pages, and the API for programs.
///
/// `api` is below the base path already. `loopback` says that the listener can be reached from this machine alone, so that plain HTTP will do. `stop` ends what is
/// open for long.
pub(crate) fn service(edge: &Edge, loopback: bool, api: Router, stop: Stop) -> Router {
    let web = Web(Arc::new(Inner {
        edge: edge.clone(),
        loopback,
        handouts: Handouts::default(),
        live: Live::new(stop),
    }));
    let base = &web.settings().base_path;
    let mut pages = Router::new();
    for route in routes() {
        pages = pages.route(&format!("{base}{}", route.path), route.build(&web));
    }
    if base != "/" {
        let to = axum::response::Redirect::permanent(base);
        let go = move || std::future::ready(to.clone());
        pages = pages
            .route("/", axum::routing::get(go.clone()))
            .route(base.trim_end_matches('/'), axum::routing::get(go));
    }
    let pages = pages.fallback(fault::no_page);
    let pages = shell::bounded(pages)
        .layer(DefaultBodyLimit::max(FORM_BODY))
        .layer(from_fn_with_state(web.clone(), fault::dress))
        .layer(CompressionLayer::new())
        .with_state(web.clone());
    let all = pages
        .merge(shell::bounded(api))
        .layer(from_fn_with_state(web, origin::at_the_door));
    shell::around_all(all, edge, fault::POLICY)
}

/// Every route: its method, its path below the base path, and what it needs.
pub fn table() -> impl Iterator<Item = (Method, &'static str, Needs)> {
    routes().map(|route| (route.method, route.path, route.needs))
}

fn routes() -> impl Iterator<Item = &'static Route> {
    PAGES.iter().flat_map(|page| page.routes)
}

/// Whether everybody who may log in may see a path.
fn needs_of(path: &str) -> Option<Permission> {
    let route = routes().find(|route| route.path == path && route.method == Method::Get)?;
    match route.needs {
        Needs::Permission(permission) => Some(permission),
        Needs::Nothing => None,
    }
}
