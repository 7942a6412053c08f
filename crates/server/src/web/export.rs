//! A filtered list as a file. It is sent while it is read, so that a large fleet takes no more memory than a small one.

use std::future::Future;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use muster_ca::Error;
use muster_ca::list::Cursor;

use super::fault::Fault;

/// How many rows are read at a time.
pub(crate) const STEP: usize = 500;

/// How the rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// RFC 4180, with a head.
    Csv,
    /// An array of objects with the names of the head.
    Json,
}

/// Some rows, and where the next begin.
pub(crate) struct Chunk {
    pub(crate) rows: Vec<Vec<String>>,
    pub(crate) next: Option<Cursor>,
}

/// Sends every row that `read` gives, from the beginning on. What goes wrong in the first rows is an answer; what goes wrong
/// later breaks the connection off, so that nobody takes a part for the whole.
pub(crate) async fn send<F, R>(
    format: Format,
    stem: &str,
    head: &'static [&'static str],
    read: R,
) -> Result<Response, Fault>
where
    F: Future<Output = Result<Chunk, Error>> + Send + 'static,
    R: Fn(Option<Cursor>) -> F + Send + 'static,
{
    let first = read(None).await?;
    let (sender, body) = Channel::new(2);
    tokio::spawn(feed(sender, format, head, first, read));
    let (media_type, extension) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "csv"),
        Format::Json => ("application/json", "json"),
    };
    // Compressing asks once more after the end.
    Ok((file_headers(media_type, stem, extension), Body::new(body.fuse())).into_response())
}

/// What makes a browser save an answer under a name. `stem` is ours, so it needs no quoting.
pub(crate) fn file_headers(
    media_type: &'static str,
    stem: &str,
    extension: &str,
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

async fn feed<F, R>(mut sender: Sender<Bytes, Error>, format: Format, head: &[&str], first: Chunk, read: R)
where
    F: Future<Output = Result<Chunk, Error>> + Send,
    R: Fn(Option<Cursor>) -> F + Send,
{
    let mut chunk = first;
    let mut begun = false;
    loop {
        let text = match format {
            Format::Csv => csv_text((!begun).then_some(head), &chunk.rows),
            Format::Json => Ok(json_text(head, &chunk.rows, !begun, chunk.next.is_none())),
        };
        begun = true;
        let sent = match text {
            Ok(text) => sender.send_data(text.into()).await.map_err(|_| None),
            Err(why) => Err(Some(why)),
        };
        match (sent, chunk.next.take()) {
            // The browser is gone.
            (Err(None), _) | (Ok(()), None) => return,
            (Err(Some(why)), _) => return sender.abort(why),
            (Ok(()), next) => match read(next).await {
                Ok(more) => chunk = more,
                Err(why) => return sender.abort(why),
            },
        }
    }
}

/// CSV of these rows, with the head in front if it is given.
pub(crate) fn csv_text(head: Option<&[&str]>, rows: &[Vec<String>]) -> Result<String, Error> {
    let broken = |why: &dyn std::fmt::Display| Error::Internal(format!("CSV cannot be written: {why}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    if let Some(head) = head {
        writer.write_record(head).map_err(|why| broken(&why))?;
    }
    for row in rows {
        let row = row.iter().map(|text| tame(text));
        writer.write_record(row).map_err(|why| broken(&why))?;
    }
    let bytes = writer.into_inner().map_err(|why| broken(&why))?;
    String::from_utf8(bytes).map_err(|why| broken(&why))
}

/// A spreadsheet takes a text that begins so for a formula, and a note may have been written by anybody.
fn tame(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

fn json_text(head: &[&str], rows: &[Vec<String>], first: bool, last: bool) -> String {
    let mut text = String::from(if first { "[" } else { "" });
    for (at, row) in rows.iter().enumerate() {
        let fields = head
            .iter()
            .zip(row)
            .map(|(name, value)| ((*name).to_owned(), value.as_str().into()));
        let object = serde_json::Value::Object(fields.collect());
        text.push_str(if first && at == 0 { "\n" } else { ",\n" });
        text.push_str(&object.to_string());
    }
    if last {
        text.push_str("\n]\n");
    }
    text
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
            csv_text(Some(&["name", "note"]), &rows).unwrap(),
            "name,note\na,\"'=HYPERLINK(\"\"x\"\")\"\nb,\"two\nlines, \"\"quoted\"\"\"\n"
        );
        let whole = json_text(&["name", "note"], &rows[..1], true, false)
            + &json_text(&["name", "note"], &rows[1..], false, false)
            + &json_text(&["name", "note"], &[], false, true);
        let read: serde_json::Value = serde_json::from_str(&whole).unwrap();
        assert_eq!(read[0]["note"], "=HYPERLINK(\"x\")");
        assert_eq!(read[1]["name"], "b");
        let empty: serde_json::Value = serde_json::from_str(&json_text(&["a"], &[], true, true)).unwrap();
        assert_eq!(empty, serde_json::json!([]));
    }
}
