//! The files of `static/`: part of the program, under names that change with what is in them.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use muster_ca::operator::Permission;
use muster_pki::key::sha256;

use super::fault::Fault;
use super::route::{Page, Route};

/// They say nothing that is not public, and the login page needs them.
pub(super) const PAGE: Page = Page {
    menu: None,
    routes: &[Route::get("static/{file}", Permission::Read, || get(file)).open()],
};

const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

struct Asset {
    name: &'static str,
    hashed: String,
    media_type: &'static str,
    bytes: Bytes,
}

impl Asset {
    fn new(name: &'static str, media_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let hash = sha256(&bytes);
        let short: String = hash[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        Self {
            name,
            hashed: format!("{stem}.{short}.{extension}"),
            media_type,
            bytes,
        }
    }
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    let font = Asset::new(
        FONT,
        "font/woff2",
        include_bytes!("static/inter.woff2").as_slice(),
    );
    let style = include_str!("static/app.css").replace(FONT, &font.hashed);
    vec![
        Asset::new("app.css", "text/css; charset=utf-8", style),
        Asset::new("app.js", SCRIPT, include_str!("static/app.js")),
        Asset::new("live.js", SCRIPT, include_str!("static/live.js")),
        Asset::new("htmx.js", SCRIPT, include_str!("static/htmx.min.js")),
        Asset::new("icon.svg", "image/svg+xml", include_str!("static/icon.svg")),
        font,
    ]
});

/// What the style sheet calls it, too.
const FONT: &str = "inter.woff2";

/// The name under which a file is served. A name that is not there is a defect that tests find: the page asks for it.
pub(super) fn hashed(name: &str) -> &str {
    let found = ASSETS.iter().find(|asset| asset.name == name);
    found.map_or(name, |asset| &asset.hashed)
}

async fn file(Path(name): Path<String>) -> Result<Response, Fault> {
    let found = ASSETS.iter().find(|asset| asset.hashed == name);
    let asset = found.ok_or_else(|| Fault::missing("there is no such file"))?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(asset.media_type)),
        (CACHE_CONTROL, FOR_EVER),
    ];
    Ok((headers, asset.bytes.clone()).into_response())
}
