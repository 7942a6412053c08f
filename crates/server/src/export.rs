//! Lists as files, sent while they are read, so that a large fleet takes no more memory than a small one.

use std::future::Future;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use muster_ca::Error;
use muster_ca::list::{Cursor, MAX_LIMIT};

/// How many rows are read at a time.
pub(crate) const STEP: usize = MAX_LIMIT;
/// Pages that wait for a slow reader.
const AHEAD: usize = 1;

/// The media type of CSV (RFC 4180) and the end of such a file's name.
pub(crate) const CSV: (&str, &str) = ("text/csv; charset=utf-8", "csv");

/// Some rows, and where the next begin.
pub(crate) struct Chunk<T> {
    pub(crate) rows: Vec<T>,
    pub(crate) next: Option<Cursor>,
}

/// Sends `first` and all that `read` gives after it, as `write` writes it; `write` hears which chunk is the last.
///
/// The first is read before anything is answered, so that a refusal has its status. What goes wrong later breaks the
/// connection off, so that nobody takes a part for the whole.
pub(crate) fn send<T, F>(
    stem: &str,
    kind: (&'static str, &str),
    first: Chunk<T>,
    read: impl FnMut(Cursor) -> F + Send + 'static,
    write: impl FnMut(&[T], bool) -> Result<Bytes, Error> + Send + 'static,
) -> Response
where
    T: Send + Sync + 'static,
    F: Future<Output = Result<Chunk<T>, Error>> + Send,
{
    let (mut sender, body) = Channel::new(AHEAD);
    tokio::spawn(async move {
        if let Err(error) = pour(first, read, write, &mut sender).await {
            tracing::warn!(%error, "an export broke off");
            sender.abort(error);
        }
    });
    // Compressing asks once more after the end.
    (file_headers(kind, stem), Body::new(body.fuse())).into_response()
}

async fn pour<T, F>(
    mut chunk: Chunk<T>,
    mut read: impl FnMut(Cursor) -> F,
    mut write: impl FnMut(&[T], bool) -> Result<Bytes, Error>,
    sender: &mut Sender<Bytes, Error>,
) -> Result<(), Error>
where
    F: Future<Output = Result<Chunk<T>, Error>>,
{
    loop {
        let bytes = write(&chunk.rows, chunk.next.is_none())?;
        if !bytes.is_empty() && sender.send_data(bytes).await.is_err() {
            // Nobody reads any more.
            return Ok(());
        }
        let Some(next) = chunk.next else { return Ok(()) };
        chunk = read(next).await?;
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

/// CSV of these rows, with the head in front if it is given.
pub(crate) fn csv(
    head: Option<&[&str]>,
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Result<Bytes, Error> {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
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
}
