//! All certificates, and each one.

mod list;
mod show;
pub(in crate::web) mod view;

use axum::routing::get;
use muster_ca::operator::Permission;

use crate::lists::CertificateQuery;
use crate::web::export;
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
            get(export::csv::<CertificateQuery>)
        }),
        Route::get("certificates/-/certificates.json", Permission::Read, || {
            get(export::json::<CertificateQuery>)
        }),
        Route::get("certificates/{serial}", Permission::Read, || get(show::show)),
        Route::get("certificates/{serial}/{form}", Permission::Read, || {
            get(show::download)
        }),
    ],
};
