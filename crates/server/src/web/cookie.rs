//! The few cookies there are.

use axum::response::Response;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use zeroize::Zeroizing;

use super::Web;
use super::form::{escape, unescape};
use super::origin::Client;

/// A year, in seconds.
const LONG: u32 = 365 * 86_400;
/// The longest that is read.
const LONGEST: usize = 1024;

const SESSION: &str = "muster_session";
const BROWSER: &str = "muster_browser";
const THEME: &str = "muster_theme";
const NOTICE: &str = "muster_notice";

/// The session's secret. Over TLS the name has a prefix, so that nobody on a neighbouring name can plant one, and no other
/// name is read.
pub(super) fn session(web: &Web, client: &Client, headers: &HeaderMap) -> Option<Zeroizing<String>> {
    let found = read(headers, &session_name(web, client));
    found.map(|secret| Zeroizing::new(secret.to_owned()))
}

/// Tells that somebody has logged in with this browser before.
pub(super) fn browser(headers: &HeaderMap) -> Option<&str> {
    read(headers, BROWSER)
}

/// `light` or `dark`, if somebody chose.
pub(super) fn theme(headers: &HeaderMap) -> Option<&'static str> {
    match read(headers, THEME)? {
        "light" => Some("light"),
        "dark" => Some("dark"),
        _ => None,
    }
}

/// What the page before wants to be said on this one.
pub(super) fn notice(headers: &HeaderMap) -> Option<String> {
    read(headers, NOTICE).map(unescape)
}

pub(super) fn set_session(web: &Web, client: &Client, response: &mut Response, secret: &str) {
    let name = session_name(web, client);
    set(web, client, response, &name, secret, "HttpOnly");
}

pub(super) fn end_session(web: &Web, client: &Client, response: &mut Response) {
    let name = session_name(web, client);
    set(web, client, response, &name, "", "HttpOnly; Max-Age=0");
}

pub(super) fn set_browser(web: &Web, client: &Client, response: &mut Response, secret: &str) {
    let more = format!("HttpOnly; Max-Age={LONG}");
    set(web, client, response, BROWSER, secret, &more);
}

pub(super) fn set_theme(web: &Web, client: &Client, response: &mut Response, theme: Option<&str>) {
    let age = if theme.is_some() { LONG } else { 0 };
    let more = format!("Max-Age={age}");
    set(web, client, response, THEME, theme.unwrap_or_default(), &more);
}

pub(super) fn set_notice(web: &Web, client: &Client, response: &mut Response, text: &str) {
    set(
        web,
        client,
        response,
        NOTICE,
        &escape(text),
        "HttpOnly; Max-Age=60",
    );
}

pub(super) fn end_notice(web: &Web, client: &Client, response: &mut Response) {
    set(web, client, response, NOTICE, "", "HttpOnly; Max-Age=0");
}

fn session_name(web: &Web, client: &Client) -> String {
    // `__Host-` demands the whole host; below a base path there may be other programs.
    let prefix = match web.settings().base_path.as_str() {
        _ if !client.secure => "",
        "/" => "__Host-",
        _ => "__Secure-",
    };
    format!("{prefix}{SESSION}")
}

fn set(web: &Web, client: &Client, response: &mut Response, name: &str, value: &str, more: &str) {
    let path = &web.settings().base_path;
    let secure = if client.secure { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path={path}; SameSite=Strict; {more}{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

/// RFC 6265, section 5.4: pairs, divided by semicolons, on one or more lines.
fn read<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    let mut values = pairs.filter_map(|pair| pair.trim().split_once('='));
    let found = values.find(|(found, _)| *found == name)?.1;
    (!found.is_empty() && found.len() <= LONGEST).then_some(found)
}
