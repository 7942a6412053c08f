//! Lists as files, sent while they are read, so that a large fleet takes no more memory than a small one.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use muster_ca::list::{MAX_LIMIT, Page};
use muster_ca::{Ca, Error, Proof};

use crate::lists::Listing;
use crate::lists::rows::Row;

/// How many rows are read at a time.
pub(crate) const STEP: usize = MAX_LIMIT;
/// Pages that wait for a slow reader.
const AHEAD: usize = 1;

/// The media type of CSV (RFC 4180) and the end of such a file's name.
pub(crate) const CSV: (&str, &str) = ("text/csv; charset=utf-8", "csv");

/// How the rows of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// RFC 4180, with a head.
    Csv,
    /// An object on each line.
    Lines,
    /// One array of objects.
    Array,
}

impl Form {
    fn kind(self) -> (&'static str, &'static str) {
        match self {
            Self::Csv => CSV,
            Self::Lines => ("application/jsonl", "jsonl"),
            Self::Array => ("application/json", "json"),
        }
    }
}

/// A list from where it begins to its end, as a file.
///
/// The first page is read before anything is answered, so that a refusal has its status. What goes wrong later breaks the
/// connection off, so that nobody takes a part for the whole.
pub(crate) async fn file<L: Listing>(
    ca: Arc<Ca>,
    proof: Proof,
    mut list: L::List,
    form: Form,
) -> Result<Response, Error> {
    L::paging(&mut list).limit = STEP;
    let first = L::page(ca.clone(), proof.clone(), list.clone()).await?;
    let (mut sender, body) = Channel::new(AHEAD);
    let pour = async move {
        let poured = pour::<L>(first, (ca, proof, list), form, &mut sender);
        if let Err(error) = poured.await {
            tracing::warn!(%error, "an export broke off");
            sender.abort(error);
        }
    };
    tokio::spawn(pour);
    // Compressing asks once more after the end.
    Ok((file_headers(form.kind(), L::NOUN), Body::new(body.fuse())).into_response())
}

async fn pour<L: Listing>(
    mut page: Page<L::Row>,
    (ca, proof, mut list): (Arc<Ca>, Proof, L::List),
    form: Form,
    sender: &mut Sender<Bytes, Error>,
) -> Result<(), Error> {
    let mut first = true;
    loop {
        let bytes = match form {
            Form::Csv => csv(first.then_some(L::Row::HEAD), page.items.iter().map(Row::cells))?,
            Form::Lines => lines(&page.items)?,
            Form::Array => array(&page.items, first, page.next.is_none())?,
        };
        first = false;
        if !bytes.is_empty() && sender.send_data(bytes).await.is_err() {
            // Nobody reads any more.
            return Ok(());
        }
        let Some(next) = page.next else { return Ok(()) };
        L::paging(&mut list).cursor = Some(next);
        page = L::page(ca.clone(), proof.clone(), list.clone()).await?;
    }
}

/// What makes a browser save an answer under a name. `stem` is ours, so it needs no quoting.
pub(crate) fn file_headers(
    (media_type, extension): (&'static str, &str),
    stem: &str,
) -> [(http::HeaderName, HeaderValue); 2] {
    let disposition = format!("attachment; filename=\"{stem}.{extension}\"");
    let disposition = HeaderValue::from_str(&disposition);
    [
        (CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (
            CONTENT_DISPOSITION,
            disposition.unwrap_or(HeaderValue::from_static("attachment")),
        ),
    ]
}

/// CSV of these rows, with the head in front if it is given, which a spreadsheet takes for no formulas.
pub fn csv(head: Option<&[&str]>, rows: impl IntoIterator<Item = Vec<String>>) -> Result<Bytes, Error> {
    let broken = |why: &dyn std::fmt::Display| Error::Internal(format!("CSV cannot be written: {why}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    if let Some(head) = head {
        writer.write_record(head).map_err(|why| broken(&why))?;
    }
    for row in rows {
        let row = row.into_iter().map(tame);
        writer.write_record(row).map_err(|why| broken(&why))?;
    }
    Ok(writer.into_inner().map_err(|why| broken(&why))?.into())
}

/// A spreadsheet takes a text that begins so for a formula, and a note may have been written by anybody.
fn tame(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text
    }
}

fn lines<T: Row>(rows: &[T]) -> Result<Bytes, Error> {
    let mut bytes = Vec::new();
    for row in rows {
        object(row, &mut bytes)?;
        bytes.push(b'\n');
    }
    Ok(bytes.into())
}

fn array<T: Row>(rows: &[T], first: bool, last: bool) -> Result<Bytes, Error> {
    let mut bytes = Vec::from(if first { "[" } else { "" });
    for (at, row) in rows.iter().enumerate() {
        bytes.extend_from_slice(if first && at == 0 { b"\n" } else { b",\n" });
        object(row, &mut bytes)?;
    }
    if last {
        bytes.extend_from_slice(b"\n]\n");
    }
    Ok(bytes.into())
}

fn object<T: Row>(row: &T, into: &mut Vec<u8>) -> Result<(), Error> {
    serde_json::to_writer(into, row).map_err(|why| Error::Internal(format!("JSON cannot be written: {why}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use muster_api::types::Device;

    use super::*;

    #[test]
    fn rows_are_what_they_were_and_no_formula() {
        let rows = [
            vec!["a".to_owned(), "=HYPERLINK(\"x\")".to_owned()],
            vec!["b".to_owned(), "two\nlines, \"quoted\"".to_owned()],
        ];
        assert_eq!(
            csv(Some(&["name", "note"]), rows).unwrap(),
            "name,note\na,\"'=HYPERLINK(\"\"x\"\")\"\nb,\"two\nlines, \"\"quoted\"\"\"\n"
        );
    }

    #[test]
    fn pages_make_one_array() {
        let device = |name: &str, note: &str| Device {
            name: name.into(),
            kind: "client".into(),
            state: "new".into(),
            profile: "client".into(),
            note: note.into(),
            created: String::new(),
            certificates: Vec::new(),
        };
        let rows = [device("a", "=1"), device("b", "two\nlines")];
        let whole = [
            array(&rows[..1], true, false).unwrap(),
            array(&rows[1..], false, false).unwrap(),
            array::<Device>(&[], false, true).unwrap(),
        ];
        let read: serde_json::Value = serde_json::from_slice(&whole.concat()).unwrap();
        assert_eq!(read[0]["note"], "=1");
        assert_eq!(read[1]["name"], "b");
        let empty: serde_json::Value =
            serde_json::from_slice(&array::<Device>(&[], true, true).unwrap()).unwrap();
        assert_eq!(empty, serde_json::json!([]));
    }
}
