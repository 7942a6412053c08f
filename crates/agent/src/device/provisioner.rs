//! A certificate by a provisioner's password, in the protocol of `step`: from Muster, or from a step-ca.
//!
//! The password opens the provisioner's key, which the CA publishes encrypted, and that key signs the one-time token. So whoever reads the
//! password can enrol any free name, and an enrolment token is better wherever there is one.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jiff::Timestamp;
use muster_api::Client;
use muster_api::client::escape;
use muster_pki::cert::Certificate;
use muster_pki::csr::Csr;
use muster_pki::jose::decrypt_private_jwk;
use muster_pki::key::{PrivateKey, sha256};
use muster_pki::{message, pem};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::files::{Home, read_anchors, when_free};
use super::settings::{check_name, read_settings};
use super::{anchors, found, time};
use crate::{Clock, Error, ca};
use muster_pki::hex;

/// How long a one-time token holds, in seconds, as `step` has it.
const TOKEN_LIFE: i64 = 300;
/// So many pages of provisioners are read, each of 100.
const MOST_PAGES: usize = 100;

/// What is asked for, and with what.
pub struct Ask {
    /// The device's name.
    pub name: String,
    /// The CA's address, such as `https://ca.example.org:9000`.
    pub url: String,
    /// SHA-256 over the root's DER, hexadecimal.
    pub fingerprint: String,
    /// The provisioner's name.
    pub provisioner: String,
    /// Its password.
    pub password: Zeroizing<String>,
    /// How long the certificate shall hold, in Go's form, such as `720h`; empty: as long as the CA says.
    pub validity: String,
    /// Where the files go.
    pub dir: PathBuf,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    provisioners: Option<Vec<serde_json::Value>>,
    #[serde(rename = "nextCursor", default)]
    next: String,
}

#[derive(Deserialize)]
struct Sealed {
    key: String,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "certChain")]
    chain: Vec<String>,
}

/// A connection to the CA, and the provisioner's key.
struct Session {
    /// The root that vouches for the CA's address, then those of its other authorities, from which the provisioner's profile may issue.
    roots: Vec<Certificate>,
    clock: Clock,
    client: Client,
    kid: String,
    key: PrivateKey,
}

/// Gets a certificate for the key in the directory, or for a new one, and puts `ca.crt`, `NAME.crt` and `NAME.key` there. Returns until when it
/// holds.
pub async fn sign(ask: &Ask, system: &Clock) -> Result<Timestamp, Error> {
    let session = session(ask, system).await?;
    let home = when_free(|| Home::open(&ask.dir)).await?;
    may_write(ask, &session.roots)?;
    let key = home.own_key(&ask.name)?;
    let csr = Csr::build(&ask.name, &[], &key)?;
    let body = serde_json::json!({
        "csr": pem::encode(pem::CSR, &csr)?, "ott": session.token(ask, &csr)?, "notBefore": "", "notAfter": ask.validity,
    });
    let answer: Answer = session.client.post_step("/1.0/sign", &body).await?;
    let chain = Certificate::all_from_pem(&answer.chain.concat())?;
    let (leaf, root) = checked(&chain, &key, &ask.name, &session.roots)?;
    let issuers = chain.get(1..).unwrap_or_default();
    // Another of this CA's roots may be its brokers'.
    let mut roots = read_anchors(&ask.dir)?;
    roots.retain(|one| one.der() != root.der() && anchors::is_in(one, &session.roots));
    roots.insert(0, root.clone());
    home.save_anchors(&format!("{}{}", anchors::pem(&roots)?, anchors::pem(issuers)?))?;
    home.save_certificate(&ask.name, &anchors::pem(&chain)?)?;
    Ok(leaf.not_after())
}

/// Whether the password opens the provisioner's key. Writes nothing, and no certificate is asked for.
pub async fn rehearse(ask: &Ask, system: &Clock) -> Result<(), Error> {
    let session = session(ask, system).await?;
    may_write(ask, &session.roots)
}

/// What an enrolled device believes is not overwritten, and neither is what belongs to somebody else.
fn may_write(ask: &Ask, roots: &[Certificate]) -> Result<(), Error> {
    if read_settings(&ask.dir)?.is_some() {
        return Err(Error::new(format!(
            "a device has enrolled in {}, and works with the ca.crt there (choose another directory with --dir)",
            ask.dir.display()
        )));
    }
    found::may_use(&ask.dir, &ask.name, roots)
}

async fn session(ask: &Ask, system: &Clock) -> Result<Session, Error> {
    check_name(&ask.name)?;
    let root = ca::root(&ask.url, &ask.fingerprint).await?;
    let clock = time::ask(&ask.url, std::slice::from_ref(&root), system).await;
    let connector = ca::connector_by(&ask.url, std::slice::from_ref(&root), None, &clock)?;
    let client = Client::new(connector, None);
    let kid = kid(&client, &ask.provisioner).await?;
    let roots = ca::all_roots(&client, &root).await?;
    // A step-ca takes the name of a key as it stands there, without unescaping.
    let path = format!("/provisioners/{kid}/encrypted-key");
    let sealed: Sealed = client.get_step(&path).await?;
    let key = decrypt_private_jwk(&sealed.key, ask.password.as_bytes())?;
    Ok(Session {
        roots,
        clock,
        client,
        kid,
        key,
    })
}

/// The name of a provisioner's key.
async fn kid(client: &Client, name: &str) -> Result<String, Error> {
    let mut cursor = String::new();
    for _ in 0..MOST_PAGES {
        let path = format!("/provisioners?limit=100&cursor={}", escape(&cursor));
        let page: Page = client.get_step(&path).await?;
        let all = page.provisioners.unwrap_or_default();
        let found = all.iter().find(|one| one["type"] == "JWK" && one["name"] == name);
        if let Some(kid) = found.and_then(|one| one["key"]["kid"].as_str()) {
            let is_thumbprint = kid
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
            let odd = || {
                Error::new(format!(
                    "the key of the provisioner {name:?} has a name that is no thumbprint"
                ))
            };
            return is_thumbprint.then(|| kid.to_owned()).ok_or_else(odd);
        }
        if page.next.is_empty() {
            break;
        }
        cursor = page.next;
    }
    Err(Error::new(format!(
        "the CA has no provisioner {name:?} with a password (name one that it has)"
    )))
}

impl Session {
    /// A one-time token for this request alone.
    fn token(&self, ask: &Ask, csr: &[u8]) -> Result<String, Error> {
        let mut id = [0; 32];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| Error::new("no random number could be drawn"))?;
        let now = (self.clock)().as_second();
        let claims = serde_json::json!({
            "iss": ask.provisioner, "aud": format!("{}/1.0/sign", ask.url), "sub": ask.name, "sans": [ask.name],
            "sha": ask.fingerprint.to_ascii_lowercase(), "jti": hex(&id), "iat": now, "nbf": now, "exp": now + TOKEN_LIFE,
            "cnf": { "x5rt#S256": BASE64URL.encode(sha256(csr)) },
        });
        Ok(message::by_provisioner(
            &self.kid,
            &self.key,
            claims.to_string().as_bytes(),
        )?)
    }
}

/// The certificate with its root, if it is for this key and name and comes from one of these roots by way of the others.
fn checked<'a>(
    chain: &'a [Certificate],
    key: &PrivateKey,
    name: &str,
    roots: &'a [Certificate],
) -> Result<(&'a Certificate, &'a Certificate), Error> {
    let (leaf, issuers) = chain
        .split_first()
        .ok_or_else(|| Error::new("the CA has sent no certificate"))?;
    if leaf.key() != key.public() || leaf.common_name().as_deref() != Some(name) {
        return Err(Error::new(
            "the CA has sent a certificate for another key or another name",
        ));
    }
    let leads_to = |root: &&Certificate| {
        let above = issuers.iter().skip(1).chain([*root]);
        let is_linked = issuers
            .iter()
            .zip(above)
            .all(|(one, issuer)| anchors::is_issued_by(one, issuer));
        is_linked
            && leaf
                .verify_issued_by(issuers.first().unwrap_or(root).key())
                .is_ok()
    };
    let root = roots.iter().find(leads_to);
    let root = root.ok_or_else(|| Error::new("the CA has sent a chain that leads to none of its roots"))?;
    Ok((leaf, root))
}
