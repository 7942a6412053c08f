//! What fits a page's list, as a file.

use super::query::Filters;
use super::visit::{Answer, Visit};
pub(crate) use crate::export::{CSV, csv as csv_text, file_headers};
use crate::export::{Form, file};
use crate::lists::Listing;

/// CSV with a head.
pub(crate) async fn csv<L: Listing>(visit: Visit, filters: Filters) -> Answer {
    send::<L>(&visit, &filters, Form::Csv).await
}

/// One array of objects.
pub(crate) async fn json<L: Listing>(visit: Visit, filters: Filters) -> Answer {
    send::<L>(&visit, &filters, Form::Array).await
}

async fn send<L: Listing>(visit: &Visit, filters: &Filters, form: Form) -> Answer {
    let mut list = filters.asked::<L>(visit.now())?;
    L::paging(&mut list).cursor = None;
    Ok(file::<L>(visit.ca().clone(), visit.proof(), list, form).await?)
}
