//! Forms that were sent, and text in URLs.

use axum::extract::rejection::FormRejection;
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

use super::Web;
use super::fault::Fault;

/// The fields of a form. Take `Form<Vec<(String, String)>>` where a field may come more than once.
pub(crate) struct Form<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Web> for Form<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, web: &Web) -> Result<Self, Fault> {
        let read: Result<axum::Form<T>, FormRejection> = axum::Form::from_request(request, web).await;
        read.map(|axum::Form(fields)| Self(fields))
            .map_err(|why| Fault::new(why.status(), &why.body_text()))
    }
}

/// Text as it may stand in a query or a cookie.
pub(crate) fn escape(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// What [`escape`] was given.
pub(crate) fn unescape(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

/// A path below the base path that somebody brought along: a place on this server, or nothing.
pub(crate) fn local_path(path: &str) -> &str {
    let leads_away = path.starts_with('/') || path.contains('\\') || path.chars().any(char::is_control);
    if leads_away || path.len() > 2048 { "" } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_on_this_server() {
        assert_eq!(local_path("devices?q=a%20b"), "devices?q=a%20b");
        for path in [
            "/evil.example",
            "//evil.example",
            "\\evil.example",
            "/\\evil",
            "a\\b",
            "\t/evil",
        ] {
            assert_eq!(local_path(path), "", "{path}");
        }
        assert_eq!(unescape(&escape("a b;c=ä\"<")), "a b;c=ä\"<");
    }
}
