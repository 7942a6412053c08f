//! A certificate by a provisioner's password, in the protocol of `step`: from Muster, or from a step-ca.
//!
//! The password opens the provisioner's key, which the CA publishes encrypted, and that key signs the one-time token. So whoever reads the
//! password can enrol any free name, and an enrolment token is better wherever there is one.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jiff::Timestamp;
use muster_api::Client;
use muster_api::client::escape;
use muster_pki::cert::Certificate;
use muster_pki::csr::Csr;
use muster_pki::jose::decrypt_private_jwk;
use muster_pki::key::{PrivateKey, sha256};
use muster_pki::snippet::{Facts, Use};
use muster_pki::{message, pem};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::anchors;
use super::files::{Home, read_anchors, read_settings};
use crate::files::hex;
use crate::{Clock, Error, ca};

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

/// What the CA would be asked with.
struct Right {
    root: Certificate,
    client: Client,
    kid: String,
    key: PrivateKey,
}

/// Gets a certificate for the key in the directory, or for a new one, and puts `ca.crt`, `NAME.crt` and `NAME.key` there. Returns until when it
/// holds.
pub async fn sign(ask: &Ask, clock: &Clock) -> Result<Timestamp, Error> {
    let right = right(ask).await?;
    let home = Home::open(&ask.dir)?;
    may_write(&ask.dir, &right.root)?;
    let key = home.own_key(&ask.name)?;
    let csr = Csr::build(&ask.name, &[], &key)?;
    let body = serde_json::json!({
        "csr": pem::encode(pem::CSR, &csr)?, "ott": right.token(ask, &csr, clock)?, "notBefore": "", "notAfter": ask.validity,
    });
    let answer: Answer = right.client.post_step("/1.0/sign", &body).await?;
    let chain = Certificate::all_from_pem(&answer.chain.concat())?;
    let leaf = checked(&chain, &key, &ask.name, &right.root)?;
    let issuers = chain.get(1..).unwrap_or_default();
    home.save_anchors(&format!("{}{}", right.root.to_pem()?, anchors::pem(issuers)?))?;
    home.save_certificate(&ask.name, &anchors::pem(&chain)?)?;
    Ok(leaf.not_after())
}

/// Whether the password opens the provisioner's key. Writes nothing, and no certificate is asked for.
pub async fn rehearse(ask: &Ask) -> Result<(), Error> {
    let right = right(ask).await?;
    may_write(&ask.dir, &right.root)
}

/// `ca.crt` is what an enrolled device believes, or what was put there for another CA: neither is overwritten.
fn may_write(dir: &Path, root: &Certificate) -> Result<(), Error> {
    let place = dir.display();
    if read_settings(dir)?.is_some() {
        return Err(Error::new(format!(
            "a device has enrolled in {place}, and works with the ca.crt there (choose another directory with --dir)"
        )));
    }
    let known = read_anchors(dir)?;
    if known.first().is_some_and(|first| first.der() != root.der()) {
        return Err(Error::new(format!(
            "ca.crt in {place} begins with another certificate than the root of this CA (choose another directory with --dir, or move that \
             file away if nothing needs it)"
        )));
    }
    Ok(())
}

async fn right(ask: &Ask) -> Result<Right, Error> {
    // It becomes the name of files.
    Facts::new(&ask.name, Use::Client).map_err(|why| Error::new(why.to_string()))?;
    let root = ca::root(&ask.url, &ask.fingerprint).await?;
    let client = Client::new(ca::connector(&ask.url, std::slice::from_ref(&root), None)?, None);
    let kid = kid(&client, &ask.provisioner).await?;
    // A step-ca takes the name of a key as it stands there, without unescaping.
    let path = format!("/provisioners/{kid}/encrypted-key");
    let sealed: Sealed = client.get_step(&path).await?;
    let key = decrypt_private_jwk(&sealed.key, ask.password.as_bytes())?;
    Ok(Right {
        root,
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

impl Right {
    /// A one-time token for this request alone.
    fn token(&self, ask: &Ask, csr: &[u8], clock: &Clock) -> Result<String, Error> {
        let mut id = [0; 32];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| Error::new("no random number could be drawn"))?;
        let now = clock().as_second();
        let claims = serde_json::json!({
            "iss": ask.provisioner, "aud": format!("{}/1.0/sign", ask.url), "sub": ask.name, "sans": [ask.name],
            "sha": hex(&self.root.fingerprint()), "jti": hex(&id), "iat": now, "nbf": now, "exp": now + TOKEN_LIFE,
            "cnf": { "x5rt#S256": BASE64URL.encode(sha256(csr)) },
        });
        Ok(message::by_provisioner(
            &self.kid,
            &self.key,
            claims.to_string().as_bytes(),
        )?)
    }
}

/// The certificate, if it is for this key and name and comes from this root by way of the others.
fn checked<'a>(
    chain: &'a [Certificate],
    key: &PrivateKey,
    name: &str,
    root: &Certificate,
) -> Result<&'a Certificate, Error> {
    let (leaf, issuers) = chain
        .split_first()
        .ok_or_else(|| Error::new("the CA has sent no certificate"))?;
    if leaf.key() != key.public() || leaf.common_name().as_deref() != Some(name) {
        return Err(Error::new(
            "the CA has sent a certificate for another key or another name",
        ));
    }
    leaf.verify_issued_by(issuers.first().unwrap_or(root).key())?;
    let above = issuers.iter().skip(1).chain([root]);
    if !issuers
        .iter()
        .zip(above)
        .all(|(one, issuer)| anchors::is_issued_by(one, issuer))
    {
        return Err(Error::new(
            "the CA has sent a chain that does not lead to its root",
        ));
    }
    Ok(leaf)
}
