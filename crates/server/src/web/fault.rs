//! What goes wrong, as a page; and what every answer carries.

use askama::Template;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, REFERRER_POLICY};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::frame::Frame;
use super::origin::Client;
use super::visit::HTML;
use super::{Web, cookie};
use crate::answer::Told;

/// Nothing but what this server sends, and no script or style inside a page.
pub(super) const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);
const COOP: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");
/// The longest text of a framework's own error that is repeated, in bytes.
const MAX_TEXT: usize = 4096;

/// Why a page does not do what was asked for.
pub(crate) type Fault = Told;

impl Fault {
    pub(crate) fn new(status: StatusCode, message: &str) -> Self {
        Self {
            status,
            message: message.to_owned(),
            fix: None,
        }
    }

    pub(crate) fn missing(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn fix(mut self, fix: &str) -> Self {
        self.fix = Some(fix.to_owned());
        self
    }

    /// Whether mending the form would help: then the message belongs beside it.
    pub(crate) fn is_of_the_form(&self) -> bool {
        [
            StatusCode::BAD_REQUEST,
            StatusCode::CONFLICT,
            StatusCode::FORBIDDEN,
            StatusCode::UNAUTHORIZED,
        ]
        .contains(&self.status)
    }

    /// What stands beside the form if mending that would help; else the fault itself.
    pub(crate) fn beside_form(self) -> Result<String, Self> {
        if self.is_of_the_form() {
            Ok(self.in_one_line())
        } else {
            Err(self)
        }
    }
}

impl From<muster_pki::Error> for Fault {
    fn from(error: muster_pki::Error) -> Self {
        muster_ca::Error::from(error).into()
    }
}

#[derive(Template)]
#[template(path = "components/fault.html")]
struct FaultPage<'a> {
    frame: Frame,
    fault: &'a Fault,
}

/// What an unknown path gets.
pub(super) async fn no_page() -> Fault {
    Fault::missing("there is no page at this address")
}

/// A fault before anything is known of the sender.
pub(super) fn bare(web: &Web, fault: &Fault) -> Response {
    let mut response = page(web, &HeaderMap::new(), fault);
    hold_together(response.headers_mut());
    response
}

/// Turns faults into pages, and puts on every answer what keeps pages of others away from it.
pub(super) async fn dress(State(web): State<Web>, request: Request, next: Next) -> Response {
    let headers = request.headers().clone();
    let client = request.extensions().get::<Client>().cloned();
    let looked = request.method().is_safe();
    let mut response = next.run(request).await;
    let is_html = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| *kind == HTML);
    let failed = response.status().is_client_error() || response.status().is_server_error();
    if failed && !is_html {
        let fault = match response.extensions_mut().remove::<Fault>() {
            Some(fault) => fault,
            None => told_by_framework(&mut response, looked).await,
        };
        let page = page(&web, &headers, &fault);
        let (parts, body) = page.into_parts();
        *response.body_mut() = body;
        response.headers_mut().remove(http::header::CONTENT_LENGTH);
        response.headers_mut().extend(parts.headers);
    } else if is_html
        && let Some(client) = client
        && cookie::notice(&headers).is_some()
    {
        cookie::end_notice(&web, &client, &mut response);
    }
    hold_together(response.headers_mut());
    response
}

async fn told_by_framework(response: &mut Response, looked: bool) -> Fault {
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let why = if looked {
            "this address only takes what a form sends"
        } else {
            "this address is there to be looked at"
        };
        return Fault::new(response.status(), why).fix("go to the page that leads here and use its buttons");
    }
    let body = std::mem::take(response.body_mut());
    let text = to_bytes(body, MAX_TEXT).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let reason = response.status().canonical_reason().unwrap_or("error");
    Fault::new(response.status(), if text.is_empty() { reason } else { &text })
}

fn page(web: &Web, headers: &HeaderMap, fault: &Fault) -> Response {
    let title = fault.status.canonical_reason().unwrap_or("Error");
    let frame = Frame::new(web, headers, title, "", None);
    let text = FaultPage { frame, fault }.render().unwrap_or_default();
    (fault.status, [(CONTENT_TYPE, HTML)], text).into_response()
}

/// What the shell puts on every answer keeps it from doing anything; this is for pages.
fn hold_together(headers: &mut HeaderMap) {
    // Without a referrer browsers would say `Origin: null` for our own forms.
    headers.insert(REFERRER_POLICY, SAME_ORIGIN);
    headers.insert(COOP, SAME_ORIGIN);
    headers.insert(CORP, SAME_ORIGIN);
}
