//! A list as an answer: a page of JSON, or every row that fits as a stream of CSV or of JSON lines, which holds no more
//! than two pages in memory, however many rows there are.

use std::future::Future;

use axum::Json;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use muster_api::types as api;
use muster_ca::Error;
use muster_ca::list::{Page, Paging};
use serde::Serialize;

use super::Failure;
use crate::export::{self, Chunk};

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Lines,
    Csv,
}

impl Form {
    const ALL: [(&'static str, &'static str, Self); 3] = [
        ("json", "application/json", Self::Json),
        ("jsonl", "application/jsonl", Self::Lines),
        ("csv", "text/csv", Self::Csv),
    ];

    /// What `format` says, else what `Accept` names.
    fn asked(format: Option<&str>, headers: &HeaderMap) -> Result<Self, Failure> {
        let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
        let found = match format.filter(|format| !format.is_empty()) {
            Some(format) => Self::ALL.iter().find(|(word, ..)| *word == format),
            None => Self::ALL
                .iter()
                .find(|(_, media, _)| accepted == Some(media))
                .or(Self::ALL.first()),
        };
        found
            .map(|(.., form)| *form)
            .ok_or_else(|| Failure::bad("a list is written as json, jsonl or csv"))
    }
}

/// A row of CSV.
pub(super) trait Row: Serialize + Send + Sync + 'static {
    /// What stands above the columns.
    const HEAD: &'static [&'static str];
    /// The columns.
    fn cells(&self) -> Vec<String>;
}

/// Answers with a list whose pages `page` gets; exports begin where `paging` says and go on to the end.
pub(super) async fn answer<T, F>(
    format: Option<&str>,
    headers: &HeaderMap,
    name: &str,
    paging: Paging,
    mut page: impl FnMut(Paging) -> F + Send + 'static,
) -> Result<Response, Failure>
where
    T: Row,
    F: Future<Output = Result<Page<T>, Error>> + Send + 'static,
{
    let form = Form::asked(format, headers)?;
    if form == Form::Json {
        return Ok(Json(view(page(paging).await?)).into_response());
    }
    let first = page(Paging {
        limit: export::STEP,
        ..paging
    })
    .await?;
    let read = move |next| {
        let found = page(Paging {
            cursor: Some(next),
            limit: export::STEP,
        });
        async move { Ok(chunk(found.await?)) }
    };
    let mut head = Some(T::HEAD);
    let answer = match form {
        Form::Csv => export::send(name, export::CSV, chunk(first), read, move |rows: &[T], _| {
            export::csv(head.take(), rows.iter().map(Row::cells))
        }),
        Form::Json | Form::Lines => {
            let kind = ("application/jsonl", "jsonl");
            export::send(name, kind, chunk(first), read, |rows: &[T], _| lines(rows))
        }
    };
    Ok(answer)
}

fn chunk<T>(page: Page<T>) -> Chunk<T> {
    Chunk {
        rows: page.items,
        next: page.next,
    }
}

fn view<T>(page: Page<T>) -> api::Page<T> {
    api::Page {
        items: page.items,
        next: page.next.map(|cursor| cursor.to_string()),
        previous: page.previous.map(|cursor| cursor.to_string()),
        cut_short: page.cut_short,
    }
}

fn lines<T: Row>(rows: &[T]) -> Result<Bytes, Error> {
    let mut bytes = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut bytes, row)
            .map_err(|why| Error::Internal(format!("JSON cannot be written: {why}")))?;
        bytes.push(b'\n');
    }
    Ok(bytes.into())
}

impl Row for api::Certificate {
    const HEAD: &'static [&'static str] = &[
        "device",
        "status",
        "profile",
        "sans",
        "not_before",
        "not_after",
        "revoked_at",
        "reason",
        "authority",
        "generation",
        "how",
        "serial",
        "fingerprint",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.device.clone(),
            self.status.clone(),
            self.profile.clone(),
            self.sans.join(" "),
            self.not_before.clone(),
            self.not_after.clone(),
            self.revoked_at.clone().unwrap_or_default(),
            self.reason.clone().unwrap_or_default(),
            self.authority.clone(),
            self.generation.to_string(),
            self.how.clone(),
            self.serial.clone(),
            self.fingerprint.clone(),
        ]
    }
}

impl Row for api::Device {
    const HEAD: &'static [&'static str] = &["name", "kind", "state", "profile", "created", "note"];

    fn cells(&self) -> Vec<String> {
        let cells = [
            &self.name,
            &self.kind,
            &self.state,
            &self.profile,
            &self.created,
            &self.note,
        ];
        cells.map(Clone::clone).into()
    }
}

impl Row for api::Token {
    const HEAD: &'static [&'static str] = &[
        "id", "device", "wave", "uses", "used", "profile", "created", "expires", "status", "by",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.device.clone().unwrap_or_default(),
            self.wave.clone(),
            self.uses.to_string(),
            self.used.to_string(),
            self.profile.clone(),
            self.created.clone(),
            self.expires.clone(),
            self.status.clone(),
            self.by.clone(),
        ]
    }
}

impl Row for api::AuditEntry {
    const HEAD: &'static [&'static str] = &[
        "sequence", "at", "actor", "via", "source", "action", "subject", "detail", "writer", "hash",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.sequence.to_string(),
            self.at.clone(),
            self.actor.clone(),
            self.via.clone(),
            self.source.clone(),
            self.action.clone(),
            self.subject.clone(),
            self.detail.clone(),
            self.writer.clone(),
            self.hash.clone(),
        ]
    }
}
