//! The filtered set of a page's list as a file.

use std::future::Future;

use axum::response::Response;
use muster_ca::Error;
use muster_ca::list::Cursor;

use super::fault::Fault;
use crate::export;
pub(crate) use crate::export::{CSV, STEP, csv as csv_text, file_headers};

/// Rows of cells, and where the next begin.
pub(crate) type Chunk = export::Chunk<Vec<String>>;

/// How the rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// RFC 4180, with a head.
    Csv,
    /// An array of objects with the names of the head.
    Json,
}

/// Sends every row that `read` gives, from the beginning on.
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
    let kind = match format {
        Format::Csv => CSV,
        Format::Json => ("application/json", "json"),
    };
    let mut begun = false;
    let write = move |rows: &[Vec<String>], last| {
        let begins = !std::mem::replace(&mut begun, true);
        match format {
            Format::Csv => csv_text(begins.then_some(head), rows.iter().cloned()),
            Format::Json => Ok(json_text(head, rows, begins, last).into()),
        }
    };
    Ok(export::send(
        stem,
        kind,
        first,
        move |next| read(Some(next)),
        write,
    ))
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
    fn chunks_make_one_array() {
        let rows = [
            vec!["a".to_owned(), "=1".to_owned()],
            vec!["b".to_owned(), "two\nlines".to_owned()],
        ];
        let whole = json_text(&["name", "note"], &rows[..1], true, false)
            + &json_text(&["name", "note"], &rows[1..], false, false)
            + &json_text(&["name", "note"], &[], false, true);
        let read: serde_json::Value = serde_json::from_str(&whole).unwrap();
        assert_eq!(read[0]["note"], "=1");
        assert_eq!(read[1]["name"], "b");
        let empty: serde_json::Value = serde_json::from_str(&json_text(&["a"], &[], true, true)).unwrap();
        assert_eq!(empty, serde_json::json!([]));
    }
}
