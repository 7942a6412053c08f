//! All certificates, and each one.

pub(in crate::web::pages) mod list;
mod show;
pub(in crate::web) mod view;

use axum::routing::get;
use muster_ca::operator::Permission;

use crate::web::route::{Entry, Page, Route};

pub(in crate::web) const PAGE: Page = Page {
    menu: Some(Entry {
        section: "Certificates",
        label: "All certificates",
        icon: "cert",
    }),
    routes: &[
        Route::get("certificates", Permission::Read, || get(list::show)),
        Route::get("certificates/-/certificates.csv", Permission::Read, || {
            get(list::csv)
        }),
        Route::get("certificates/-/certificates.json", Permission::Read, || {
            get(list::json)
        }),
        Route::get("certificates/{serial}", Permission::Read, || get(show::show)),
        Route::get("certificates/{serial}/{form}", Permission::Read, || {
            get(show::download)
        }),
    ],
};
