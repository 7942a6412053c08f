//! A certificate as files, and keys that the server makes because an operator asks it to.

use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use jiff::Timestamp;
use muster_ca::{Ca, Error, Issued};
use muster_pki::bundle::{self, Bundle, File, Parts, Use};
use muster_pki::key::{KeyKind, PrivateKey};
use muster_pki::p12::SEED_LEN;
use muster_pki::{cert, pem};
use zeroize::Zeroizing;

use crate::Edge;
use crate::published::pem_of;

/// The files that there are of a certificate with its key, by the end of their links.
pub(crate) const FORMATS: [&str; 10] = [
    "zip", "p12", "pem", "crt", "ca.crt", "key", "der", "key.der", "k8s", "h",
];

/// A bundle with its key, and the password of its PKCS#12 file.
pub(crate) struct Handout {
    /// The files.
    pub(crate) bundle: Bundle,
    /// Made for this file alone.
    pub(crate) password: Zeroizing<String>,
}

impl Handout {
    /// What is handed out with a certificate whose key the server made.
    pub(crate) fn new(ca: &Ca, issued: &Issued, key: &PrivateKey) -> Result<Self, Error> {
        let mut parts = parts(issued)?;
        parts.key_pem = Some(key.to_pem()?);
        let mut drawn = Zeroizing::new([0; 15]);
        ca.draw(&mut *drawn);
        Ok(Self {
            bundle: Bundle::new(parts).map_err(broken)?,
            password: Zeroizing::new(muster_ca::password::secret_text(&*drawn)),
        })
    }

    /// One of its files; see [`file`].
    pub(crate) fn file(&self, ca: &Ca, form: &str) -> Result<Option<File>, Error> {
        if form != "p12" {
            return file(&self.bundle, form, ca.now());
        }
        let mut seed = Zeroizing::new([0; SEED_LEN]);
        ca.draw(&mut *seed);
        self.bundle.p12(&self.password, &seed).map_err(broken)
    }
}

/// The kind of key that the server makes for a profile.
pub(crate) fn usual_key(ca: &Ca, profile: &str) -> Result<KeyKind, Error> {
    let keys = ca.settings().profiles.get(profile)?.keys();
    let first = keys.first().map_or("p256", String::as_str);
    let word = if keys.iter().any(|key| key == "p256") {
        "p256"
    } else {
        first
    };
    Ok(KeyKind::parse(word)?)
}

/// Makes a key for somebody who asked for it.
pub(crate) async fn new_key(edge: &Edge, kind: KeyKind) -> Result<PrivateKey, Error> {
    match kind {
        // Takes a second; such threads are few.
        KeyKind::Rsa(_) => edge.hashing(move |ca| async move { ca.make_key(kind) }).await,
        KeyKind::P256 | KeyKind::P384 | KeyKind::P521 | KeyKind::Ed25519 => edge.ca().make_key(kind),
    }
}

/// A certificate without its key.
pub(crate) fn bundle(issued: &Issued) -> Result<Bundle, Error> {
    Bundle::new(parts(issued)?).map_err(broken)
}

/// What a bundle without a key is made of.
fn parts(issued: &Issued) -> Result<Parts, Error> {
    let text = |der: &[u8]| pem::encode(pem::CERTIFICATE, der);
    let certificate = issued.certificate();
    let (leaf, issuing) = (text(&certificate.der)?, text(issued.issuing())?);
    Ok(Parts {
        name: certificate.device.to_string(),
        kind: Use::of(&cert::Certificate::from_der(&certificate.der)?),
        ca_pem: pem_of(issued.roots())? + &issuing,
        chain_pem: format!("{leaf}{issuing}"),
        key_pem: None,
        broker: None,
    })
}

pub(crate) fn broken(why: bundle::Error) -> Error {
    Error::Internal(format!("the files cannot be made: {why}"))
}

/// One of a bundle's files by the end of its link; `None` if it is not there. PKCS#12 needs a password and is made
/// elsewhere.
pub(crate) fn file(bundle: &Bundle, form: &str, now: Timestamp) -> Result<Option<File>, Error> {
    let named = |ending: &str| {
        bundle
            .files()
            .into_iter()
            .find(|file| file.name.ends_with(ending))
    };
    Ok(match form {
        "zip" => Some(File {
            name: bundle.zip_name(),
            bytes: bundle.zip(now).map_err(broken)?,
            secret: true,
        }),
        "crt" => bundle.files().into_iter().nth(1),
        "ca.crt" => bundle.files().into_iter().next(),
        "key" => named(".key"),
        "pem" => Some(bundle.pem()),
        "der" => Some(bundle.der()),
        "key.der" => bundle.key_der().map_err(broken)?,
        "k8s" => bundle.kubernetes(),
        "h" => Some(bundle.c_header()),
        _ => None,
    })
}

/// A file to keep.
pub(crate) fn attachment(file: &File) -> Response {
    let kind = match file.name.rsplit('.').next().unwrap_or_default() {
        "zip" => "application/zip",
        "p12" => "application/x-pkcs12",
        "yaml" => "application/yaml",
        "crt" | "pem" | "key" => "application/x-pem-file",
        "der" => "application/octet-stream",
        _ => "text/plain; charset=utf-8",
    };
    // Names of devices have no character that a header would take for something else.
    let name = file
        .name
        .replace(|c: char| !c.is_ascii_graphic() || "\"\\".contains(c), "_");
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""));
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (
            CONTENT_DISPOSITION,
            disposition.unwrap_or(HeaderValue::from_static("attachment")),
        ),
    ];
    (headers, file.bytes.to_vec()).into_response()
}
