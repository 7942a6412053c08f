//! A list as an answer: a page of JSON, or every row that fits as CSV or as lines of JSON.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use axum::response::{IntoResponse, Response};
use muster_api::types as api;
use muster_ca::list::Page;

use super::{Api, Failure, Query};
use crate::export::{self, Form};
use crate::gate::Sender;
use crate::lists::Listing;

/// The word for a form, its media type, and the form; none is a page of JSON.
const FORMS: [(&str, &str, Option<Form>); 3] = [
    ("json", "application/json", None),
    ("jsonl", "application/jsonl", Some(Form::Lines)),
    ("csv", "text/csv", Some(Form::Csv)),
];

/// Answers every list of `/api/v1`.
pub(super) async fn list<L: Listing>(
    State(api): State<Api>,
    Sender(proof): Sender,
    Query(query): Query<L>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let list = query.list(api.ca.now())?;
    match asked(query.format(), &headers)? {
        None => Ok(Json(view(L::page(api.ca.clone(), proof, list).await?)).into_response()),
        Some(form) => Ok(export::file::<L>(api.ca.clone(), proof, list, form).await?),
    }
}

/// What `format` says, else what `Accept` names.
fn asked(format: Option<&str>, headers: &HeaderMap) -> Result<Option<Form>, Failure> {
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let found = match format.filter(|format| !format.is_empty()) {
        Some(format) => FORMS.iter().find(|(word, ..)| *word == format),
        None => FORMS
            .iter()
            .find(|(_, media, _)| accepted == Some(media))
            .or(FORMS.first()),
    };
    found
        .map(|(.., form)| *form)
        .ok_or_else(|| Failure::bad("a list is written as json, jsonl or csv"))
}

fn view<T>(page: Page<T>) -> api::Page<T> {
    api::Page {
        items: page.items,
        next: page.next.map(|cursor| cursor.to_string()),
        previous: page.previous.map(|cursor| cursor.to_string()),
        cut_short: page.cut_short,
    }
}
