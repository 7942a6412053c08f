//! Forms that were sent, and text in URLs.

use axum::body::Body;
use axum::extract::multipart::MultipartError;
use axum::extract::rejection::FormRejection;
use axum::extract::{FromRequest, Multipart, Request};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde::de::DeserializeOwned;

use super::fault::Fault;
use super::{FORM_BODY, Web};

/// The fields of a form. Take `Form<Vec<(String, String)>>` where a field may come more than once.
pub(crate) struct Form<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Web> for Form<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, web: &Web) -> Result<Self, Fault> {
        let request = if is_multipart(&request) {
            flattened(request, web).await?
        } else {
            request
        };
        let read: Result<axum::Form<T>, FormRejection> = axum::Form::from_request(request, web).await;
        read.map(|axum::Form(fields)| Self(fields))
            .map_err(|why| unread(why.status()))
    }
}

fn is_multipart(request: &Request) -> bool {
    let kind = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("multipart/form-data"))
}

/// Why a form was not read, in words of the page: the framework's are about fields that nobody sees.
fn unread(status: StatusCode) -> Fault {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let limit = FORM_BODY >> 10;
            let why = format!("the form is longer than {limit} KiB, which is all that is read");
            Fault::new(status, &why).fix("send less text or a smaller file")
        }
        _ => Fault::new(status, "what was sent is not the form of this page")
            .fix("load the page again, fill in its form and send that"),
    }
}

/// A form with files (RFC 7578) as one without: a file is the field's value. One that is no text is taken for DER and becomes
/// PEM, as somebody would paste it.
async fn flattened(request: Request, web: &Web) -> Result<Request, Fault> {
    let mut fields = Multipart::from_request(request, web)
        .await
        .map_err(|why| unread(why.status()))?;
    let broken = |why: MultipartError| unread(why.status());
    let mut pairs = Vec::new();
    while let Some(field) = fields.next_field().await.map_err(broken)? {
        let name = field.name().unwrap_or_default().to_owned();
        let bytes = field.bytes().await.map_err(broken)?;
        let text = match std::str::from_utf8(&bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => muster_pki::pem::encode(muster_pki::pem::CSR, &bytes)?,
        };
        pairs.push(format!("{}={}", escape(&name), escape(&text)));
    }
    let mut flat = Request::new(Body::from(pairs.join("&")));
    *flat.method_mut() = http::Method::POST;
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    flat.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(flat)
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
    if leads_away || climbs(path) || path.len() > 2048 {
        ""
    } else {
        path
    }
}

/// Whether a segment leads up, out of the base path; browsers take `%2e` for a dot (URL Standard, section 4.1).
fn climbs(path: &str) -> bool {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    path.split('/').any(|segment| unescape(segment).trim() == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_on_this_server() {
        for path in ["devices?q=a%20b", "devices?q=../a", "devices/a..b"] {
            assert_eq!(local_path(path), path);
        }
        for path in [
            "/evil.example",
            "//evil.example",
            "\\evil.example",
            "/\\evil",
            "a\\b",
            "\t/evil",
            "..",
            "../other",
            "devices/../../other",
            "%2e%2E/other",
            ".%2e?q=a",
            ".. ",
        ] {
            assert_eq!(local_path(path), "", "{path}");
        }
        assert_eq!(unescape(&escape("a b;c=ä\"<")), "a b;c=ä\"<");
    }
}
