//! One request as a page sees it.

use std::convert::Infallible;
use std::ops::Deref;
use std::sync::Arc;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use muster_ca::enrol::who::Evidence;
use muster_ca::operator::{Permission, Role};
use muster_ca::{Ca, Proof};
use muster_pki::key::sha256;

use super::fault::Fault;
use super::frame::Frame;
use super::origin::Client;
use super::{Web, cookie};

/// What a page answers.
pub(crate) type Answer = Result<Response, Fault>;

pub(super) const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// Somebody with a session; put into the request by the gate.
#[derive(Clone)]
pub(crate) struct Visitor {
    pub(super) proof: Proof,
    /// The operator's name.
    pub(crate) name: String,
    /// What it may do.
    pub(crate) role: Role,
}

/// A request of anybody.
pub(crate) struct Guest {
    web: Web,
    client: Client,
    headers: HeaderMap,
    path: String,
    /// Whether it only looks.
    looks: bool,
}

/// A request of somebody who is logged in.
pub(crate) struct Visit {
    guest: Guest,
    visitor: Visitor,
}

impl Guest {
    pub(crate) fn web(&self) -> &Web {
        &self.web
    }

    pub(crate) fn ca(&self) -> &Arc<Ca> {
        self.web.edge().ca()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.ca().now()
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// A path below the base path, as a link has it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.web.settings().base_path)
    }

    /// Sends the browser to a path below the base path.
    pub(crate) fn go(&self, path: &str) -> Response {
        (StatusCode::SEE_OTHER, [(LOCATION, self.url(path))]).into_response()
    }

    /// The same, and the page there says something once.
    pub(crate) fn go_and_say(&self, path: &str, text: &str) -> Response {
        let mut response = self.go(path);
        cookie::set_notice(&self.web, &self.client, &mut response, text);
        response
    }

    /// What stands around a page that nobody needs a session for.
    pub(crate) fn frame(&self, title: &str) -> Frame {
        let frame = Frame::new(&self.web, &self.headers, title, &self.path, None);
        Frame {
            reloads: self.looks,
            ..frame
        }
    }
}

impl Visit {
    /// Who asks; every method of the authority wants to know.
    pub(crate) fn proof(&self) -> Proof {
        self.visitor.proof.clone()
    }

    /// The same, to be told what would be done: it is judged as always, and nothing is changed.
    pub(crate) fn rehearsal(&self) -> Proof {
        Proof {
            dry_run: true,
            ..self.proof()
        }
    }

    /// The same for what a page does by itself, which does not keep the session alive.
    pub(crate) fn glance(&self) -> Proof {
        let mut proof = self.proof();
        if let Evidence::Session(secret) = proof.evidence {
            proof.evidence = Evidence::Glance(secret);
        }
        proof
    }

    /// What the session is known by in memory: the SHA-256 of its secret.
    pub(crate) fn session(&self) -> [u8; 32] {
        if let Evidence::Session(secret) | Evidence::Glance(secret) = &self.visitor.proof.evidence {
            sha256(secret.as_bytes())
        } else {
            sha256(&[])
        }
    }

    /// The operator.
    pub(crate) fn visitor(&self) -> &Visitor {
        &self.visitor
    }

    /// Whether to show what only some may do. It is judged again when they do it.
    pub(crate) fn may(&self, permission: Permission) -> bool {
        permission.is_given_to(self.visitor.role)
    }

    /// What stands around the page.
    pub(crate) fn frame(&self, title: &str) -> Frame {
        let guest = &self.guest;
        let frame = Frame::new(
            &guest.web,
            &guest.headers,
            title,
            &guest.path,
            Some(&self.visitor),
        );
        Frame {
            reloads: guest.looks,
            ..frame
        }
    }
}

impl Deref for Visit {
    type Target = Guest;

    fn deref(&self) -> &Guest {
        &self.guest
    }
}

/// A template, filled.
pub(crate) fn html(page: &impl Template) -> Answer {
    html_with(StatusCode::OK, page)
}

/// The same with a status: 422 for a form that has to be mended.
pub(crate) fn html_with(status: StatusCode, page: &impl Template) -> Answer {
    let text = page
        .render()
        .map_err(|why| muster_ca::Error::Internal(why.to_string()))?;
    Ok((status, [(CONTENT_TYPE, HTML)], text).into_response())
}

impl FromRequestParts<Web> for Guest {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Fault> {
        let client = parts.extensions.get::<Client>().cloned();
        let base = web.settings().base_path.as_str();
        let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
        Ok(Self {
            web: web.clone(),
            client: client.ok_or_else(|| Fault::new(StatusCode::FORBIDDEN, "the GUI is for browsers"))?,
            headers: parts.headers.clone(),
            path: path.strip_prefix(base).unwrap_or_default().to_owned(),
            looks: parts.method.is_safe(),
        })
    }
}

impl FromRequestParts<Web> for Visit {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Fault> {
        let visitor = parts.extensions.get::<Visitor>().cloned();
        Ok(Self {
            guest: Guest::from_request_parts(parts, web).await?,
            visitor: visitor.ok_or_else(|| Fault::new(StatusCode::FORBIDDEN, "log in first"))?,
        })
    }
}

/// Whether the browser asked for a part of the page to put into the one it shows.
pub(crate) struct Partly(pub(crate) bool);

impl FromRequestParts<Web> for Partly {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _web: &Web) -> Result<Self, Infallible> {
        Ok(Self(parts.headers.contains_key("hx-request")))
    }
}
