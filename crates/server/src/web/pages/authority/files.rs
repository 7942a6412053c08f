//! Certificates and lists of the authorities, to save. The public listener has the same for everybody.

use axum::extract::Path;
use axum::response::Response;
use axum::routing::get;
use http::HeaderMap;
use http::header::CONTENT_DISPOSITION;
use muster_ca::file_stem;
use muster_ca::operator::Permission;

use crate::published::{self, Form};
use crate::web::export::file_headers;
use crate::web::fault::Fault;
use crate::web::route::Route;
use crate::web::visit::Visit;

pub(super) const CERTIFICATE: Route =
    Route::get("ca/certificates/{file}", Permission::Read, || get(certificate));
pub(super) const CRL: Route = Route::get("ca/lists/{file}", Permission::Read, || get(crl));

async fn certificate(visit: Visit, Path(file): Path<String>) -> Result<Response, Fault> {
    let missing = || Fault::missing("there is no such authority here");
    let (stem, form, extension) = split(&file, "crt").ok_or_else(missing)?;
    let authorities = visit.ca().authorities();
    let mut all = authorities.iter().flat_map(|authority| {
        let named = authority.generations.iter();
        named.map(|generation| (file_stem(&authority.name, generation.number), generation))
    });
    let (name, generation) = all.find(|(name, _)| name == stem).ok_or_else(missing)?;
    let mut response = published::certificate(&generation.certificate, form, &HeaderMap::new());
    let [_, (_, disposition)] = file_headers(("application/pkix-cert", extension), &name);
    response.headers_mut().insert(CONTENT_DISPOSITION, disposition);
    Ok(response)
}

async fn crl(visit: Visit, Path(file): Path<String>) -> Result<Response, Fault> {
    let missing = || Fault::missing("there is no such revocation list here");
    let (stem, form, _) = split(&file, "crl").ok_or_else(missing)?;
    let lists = visit.ca().crls();
    let mut all = lists
        .iter()
        .map(|crl| (file_stem(&crl.authority, crl.generation), crl));
    let (name, crl) = all.find(|(name, _)| name == stem).ok_or_else(missing)?;
    Ok(published::crl(
        visit.web().edge(),
        crl,
        form,
        &name,
        &HeaderMap::new(),
    ))
}

/// The name, the form and the extension.
fn split<'a>(file: &'a str, der: &'static str) -> Option<(&'a str, Form, &'static str)> {
    match file.rsplit_once('.')? {
        (stem, "pem") => Some((stem, Form::Pem, "pem")),
        (stem, extension) => (extension == der).then_some((stem, Form::Der, der)),
    }
}
