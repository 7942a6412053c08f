//! Who may go where: every route passes here, since [`Route`](super::route::Route) puts the gate in front of it.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, LOCATION, ORIGIN};
use http::{HeaderMap, HeaderName, StatusCode};
use muster_ca::Proof;
use muster_ca::enrol::who::Evidence;
use muster_ca::operator::Permission;

use super::fault::Fault;
use super::origin::Client;
use super::route::{Method, Needs};
use super::visit::Visitor;
use super::{Web, cookie};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// htmx would put a login page into the middle of another, so it is told to go there.
const HX_REQUEST: HeaderName = HeaderName::from_static("hx-request");
/// What a page sends by itself, without anybody's doing, says so.
const REFRESH: HeaderName = HeaderName::from_static("muster-refresh");
const HX_REDIRECT: HeaderName = HeaderName::from_static("hx-redirect");

/// Lets through who has the permission, and what comes from a page of ours.
pub(super) async fn judge(
    State((web, needs, method)): State<(Web, Needs, Method)>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(client) = request.extensions().get::<Client>().cloned() else {
        return Fault::new(StatusCode::FORBIDDEN, "the GUI is for browsers").into_response();
    };
    // What only takes forms cannot be looked at, and the router says so to whoever tries.
    if request.method().is_safe() && method == Method::Post {
        return next.run(request).await;
    }
    if !request.method().is_safe() && !comes_from_us(request.headers(), &client) {
        let why = "this form was not sent from a page of this server, so nothing was done";
        return Fault::new(StatusCode::FORBIDDEN, why)
            .fix("open the page here and send it again")
            .into_response();
    }
    if let Needs::Permission(permission) = needs {
        match visitor(&web, request.headers(), &client, permission).await {
            Ok(visitor) => {
                request.extensions_mut().insert(visitor);
            }
            Err(muster_ca::Error::Unproven(_)) => return to_login(&web, &request),
            Err(why) => return Fault::from(why).into_response(),
        }
    }
    next.run(request).await
}

async fn visitor(
    web: &Web,
    headers: &HeaderMap,
    client: &Client,
    permission: Permission,
) -> Result<Visitor, muster_ca::Error> {
    let secret = cookie::session(web, client, headers)
        .ok_or_else(|| muster_ca::Error::Unproven("there is no session".into()))?;
    let proof = Proof {
        evidence: if by_itself(headers) {
            Evidence::Glance(secret)
        } else {
            Evidence::Session(secret)
        },
        origin: client.origin(),
        dry_run: false,
    };
    let caller = web.edge().ca().operator(proof.clone(), permission).await?;
    let role = caller
        .role()
        .ok_or_else(|| muster_ca::Error::Internal("a session belongs to no operator".into()))?;
    Ok(Visitor {
        proof,
        name: caller.name(),
        role,
    })
}

/// Whether a page asks without anybody's doing, which must not keep a session alive. A stream of events can send no header of
/// ours, but says what it takes (HTML, section 9.2.2).
fn by_itself(headers: &HeaderMap) -> bool {
    let streams = |kind: &http::HeaderValue| kind.as_bytes() == b"text/event-stream";
    headers.contains_key(REFRESH) || headers.get(ACCEPT).is_some_and(streams)
}

/// A page of ours is the only one that may send our forms. Browsers say where a request comes from; the cookie, which is
/// `SameSite=Strict`, would not come along from elsewhere either.
fn comes_from_us(headers: &HeaderMap, client: &Client) -> bool {
    let said = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    match (said(&SEC_FETCH_SITE), said(&ORIGIN)) {
        (Some(site), None) => site == "same-origin",
        (Some(site), Some(origin)) => site == "same-origin" && origin.eq_ignore_ascii_case(&client.site()),
        (None, Some(origin)) => origin.eq_ignore_ascii_case(&client.site()),
        (None, None) => false,
    }
}

fn to_login(web: &Web, request: &Request) -> Response {
    let base = &web.settings().base_path;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let next = path.strip_prefix(base.as_str()).unwrap_or_default();
    let login = if next.is_empty() || request.method() != http::Method::GET {
        format!("{base}login")
    } else {
        format!("{base}login?next={}", super::form::escape(next))
    };
    if request.headers().contains_key(HX_REQUEST) {
        return (StatusCode::UNAUTHORIZED, [(HX_REDIRECT, login)]).into_response();
    }
    (StatusCode::SEE_OTHER, [(LOCATION, login)]).into_response()
}
