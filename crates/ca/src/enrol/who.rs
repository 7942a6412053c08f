//! Who asks: the only place where a [`Proof`] becomes a [`Caller`].

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use muster_pki::cert;
use muster_pki::jose::Jws;
use muster_pki::key::sha256;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::Ca;
use crate::certificate::{Certificate, Serial, Status};
use crate::clone;
use crate::device::{Device, State};
use crate::error::{Error, Refusal};
use crate::operator::{Permission, Role};
use crate::state::LoadedProvisioner;
use crate::token::EnrolmentToken;

/// Clocks of clients may be off by this much, in seconds (RFC 7519 section 4.1.4 allows "some small leeway").
const LEEWAY: i64 = 60;
/// The furthest that a one-time token may end in the future, in seconds; `step` makes them for five minutes.
const LONGEST_TOKEN: i64 = 3600;

/// By which door somebody came, and from where; for the audit log.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The protocol: `step`, `rest`, `local`, `process`.
    pub via: &'static str,
    /// The peer's address; empty on the local socket.
    pub source: String,
}

/// What a protocol extracted from a request, unjudged.
#[derive(Clone)]
pub struct Proof {
    /// What was shown.
    pub evidence: Evidence,
    /// By which door.
    pub origin: Origin,
    /// Whether they only want to know what would be done: everything is judged as always, and nothing is changed.
    pub dry_run: bool,
}

/// The closed list of things that prove who somebody is.
#[derive(Clone)]
pub enum Evidence {
    /// A one-time token of a provisioner: a compact JWS.
    OneTimeToken(String),
    /// The client certificate of the TLS connection, DER; the handshake has proved its key and nothing else.
    ClientCertificate(Vec<u8>),
    /// A request signed by a certificate's key, `step`'s `x5cInsecure` form: for certificates that have expired.
    SignedByCertificate(String),
    /// The secret of an enrolment token.
    EnrolmentToken(Zeroizing<String>),
    /// An operator's API key.
    ApiKey(Zeroizing<String>),
    /// The secret of an operator's session, as the browser's cookie holds it.
    Session(Zeroizing<String>),
    /// The same, by a page that looks on by itself: it does not keep the session alive.
    Glance(Zeroizing<String>),
    /// The user at the other end of the local socket.
    LocalUser {
        /// The peer's user id.
        uid: u32,
        /// Whether it is the user that Muster runs as, or root.
        trusted: bool,
    },
}

/// What a one-time token must have been made for: `step` names it in the audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Sign,
    Renew,
    Revoke,
}

impl Purpose {
    fn path(self) -> &'static str {
        match self {
            Self::Sign => "sign",
            Self::Renew => "renew",
            Self::Revoke => "revoke",
        }
    }
}

/// Somebody whose proof held.
#[derive(Debug)]
pub struct Caller {
    who: Who,
    origin: Origin,
    dry_run: bool,
}

#[derive(Debug)]
pub(crate) enum Who {
    /// The holder of a provisioner's key, through one token.
    Token(Token),
    /// The holder of an enrolment token.
    Enrolment(EnrolmentToken),
    /// A device, by its certificate.
    Device(Box<Holder>),
    /// An operator.
    Operator { name: String, role: Role },
}

/// What a valid one-time token says.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) provisioner: Arc<LoadedProvisioner>,
    pub(crate) subject: String,
    pub(crate) sans: Vec<String>,
    /// SHA-256 over the only request that it is good for.
    pub(crate) csr: Option<Vec<u8>>,
    pub(crate) id: [u8; 32],
    pub(crate) expires: Timestamp,
}

/// A device that proved its key.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) certificate: Certificate,
    pub(crate) device: Device,
    /// The token that proved the key, and until when it is remembered; a handshake leaves nothing to use twice.
    pub(crate) spend: Option<([u8; 32], Timestamp)>,
    /// SHA-256 over the only request that the token is good for.
    pub(crate) request: Option<Vec<u8>>,
}

impl Caller {
    pub(crate) fn who(&self) -> &Who {
        &self.who
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether nothing may come of what they ask for.
    pub(crate) fn dry_run(&self) -> bool {
        self.dry_run
    }

    /// How audit entries call it.
    pub fn name(&self) -> String {
        match &self.who {
            Who::Token(token) => format!("provisioner {}", token.provisioner.record.name),
            Who::Enrolment(token) => format!("token {}", token.id),
            Who::Device(holder) => format!("device {}", holder.device.name),
            Who::Operator { name, .. } => name.clone(),
        }
    }

    /// What an operator may do; `None` for everybody else.
    pub fn role(&self) -> Option<Role> {
        match self.who {
            Who::Operator { role, .. } => Some(role),
            Who::Token(_) | Who::Enrolment(_) | Who::Device(_) => None,
        }
    }

    /// Refuses callers that are no operator with this permission.
    pub(crate) fn demand(&self, permission: Permission) -> Result<(), Error> {
        match &self.who {
            Who::Operator { role, .. } => Ok(permission.demand(*role)?),
            Who::Token(_) | Who::Enrolment(_) | Who::Device(_) => {
                Err(Refusal::new("only an operator may do this")
                    .fix("use an API key or the local socket")
                    .into())
            }
        }
    }
}

impl Ca {
    /// Judges a proof that an operator gave, for edges that check a permission before they do anything.
    pub async fn operator(&self, proof: Proof, permission: Permission) -> Result<Caller, Error> {
        let caller = self.identify(proof, Purpose::Sign).await?;
        caller.demand(permission)?;
        Ok(caller)
    }

    pub(crate) async fn identify(&self, proof: Proof, purpose: Purpose) -> Result<Caller, Error> {
        let (origin, dry_run) = (proof.origin, proof.dry_run);
        let who = match proof.evidence {
            Evidence::OneTimeToken(token) => Who::Token(self.one_time_token(&token, purpose)?),
            Evidence::ClientCertificate(der) => self.client_certificate(&der, (&origin, dry_run)).await?,
            Evidence::SignedByCertificate(token) => {
                self.signed_by_certificate(&token, (&origin, dry_run)).await?
            }
            Evidence::EnrolmentToken(secret) => self.enrolment_token(&secret).await?,
            Evidence::ApiKey(key) => self.api_key(&key).await?,
            Evidence::Session(secret) => self.session(&secret, true).await?,
            Evidence::Glance(secret) => self.session(&secret, false).await?,
            Evidence::LocalUser { trusted: true, uid } => Who::Operator {
                name: local_name(uid),
                role: Role::Admin,
            },
            Evidence::LocalUser { trusted: false, uid } => {
                return Err(unproven(format!(
                    "user {uid} is neither root nor the user that Muster runs as; use one of them, or an API key"
                )));
            }
        };
        Ok(Caller { who, origin, dry_run })
    }

    /// Verifies first and spends later: a forged copy of a token cannot burn the true one.
    fn one_time_token(&self, token: &str, purpose: Purpose) -> Result<Token, Error> {
        let jws = Jws::parse(token).map_err(|why| unproven(why.to_string()))?;
        let claims: Claims = serde_json::from_slice(&jws.payload)
            .map_err(|_| unproven("the token's claims are not what step writes"))?;
        let state = self.state.load();
        let provisioner = state
            .provisioners
            .iter()
            .find(|provisioner| {
                provisioner.record.name == claims.iss && provisioner.record.kid == jws.header.kid
            })
            .or_else(|| {
                state
                    .provisioners
                    .iter()
                    .find(|p| p.record.name == claims.iss && jws.header.kid.is_empty())
            })
            .ok_or_else(|| unproven("the token's provisioner is not known here"))?;
        jws.verify(&provisioner.key)
            .map_err(|why| unproven(why.to_string()))?;
        let expires = claims.check(self.clock.now(), purpose, &self.settings.dns)?;
        let unique = if claims.jti.is_empty() { token } else { &claims.jti };
        let id = sha256(format!("{}\0{unique}", provisioner.record.kid).as_bytes());
        let csr = claims.request()?;
        Ok(Token {
            provisioner: provisioner.clone(),
            sans: if claims.sans.is_empty() {
                vec![claims.sub.clone()]
            } else {
                claims.sans
            },
            subject: claims.sub,
            csr,
            id,
            expires,
        })
    }

    async fn client_certificate(&self, der: &[u8], from: (&Origin, bool)) -> Result<Who, Error> {
        let holder = self.holder(der, from).await?;
        if self.clock.now() > holder.certificate.not_after {
            return Err(unproven(format!(
                "the certificate expired on {}",
                holder.certificate.not_after
            )));
        }
        Ok(Who::Device(Box::new(holder)))
    }

    async fn signed_by_certificate(&self, token: &str, from: (&Origin, bool)) -> Result<Who, Error> {
        let jws = Jws::parse(token).map_err(|why| unproven(why.to_string()))?;
        let leaf = jws.header.leaf().map_err(|why| unproven(why.to_string()))?;
        let parsed = cert::Certificate::from_der(&leaf).map_err(|why| unproven(why.to_string()))?;
        jws.verify(parsed.key())
            .map_err(|why| unproven(why.to_string()))?;
        let claims: Claims = serde_json::from_slice(&jws.payload)
            .map_err(|_| unproven("the token's claims are not what step writes"))?;
        let expires = claims.check(self.clock.now(), Purpose::Renew, &self.settings.dns)?;
        let mut holder = self.holder(&leaf, from).await?;
        if claims.sub != holder.device.name.as_str() {
            return Err(unproven("the token's subject is not the certificate's name"));
        }
        let profile = self.settings.profiles.known(&holder.certificate.profile)?;
        if self.clock.now() > holder.certificate.not_after + profile.grace() {
            return Err(unproven(format!(
                "the certificate expired on {} and its time of grace is over; an operator lets the device in again with: muster device recover {}",
                holder.certificate.not_after, holder.device.name
            )));
        }
        // Not the whole token: of an ECDSA signature there are two that verify.
        let signed = token.rsplit_once('.').map_or(token, |(signed, _)| signed);
        let unique = if claims.jti.is_empty() {
            signed
        } else {
            &claims.jti
        };
        let id = sha256(format!("certificate {}\0{unique}", holder.certificate.serial).as_bytes());
        holder.spend = Some((id, expires));
        holder.request = claims.request()?;
        Ok(Who::Device(Box::new(holder)))
    }

    /// The stored certificate that this is, byte for byte, and its device. That we issued it is what makes it ours;
    /// no chain needs to be built.
    async fn holder(&self, der: &[u8], (origin, dry_run): (&Origin, bool)) -> Result<Holder, Error> {
        let unknown = || unproven("the certificate was not issued here");
        let parsed = cert::Certificate::from_der(der).map_err(|why| unproven(why.to_string()))?;
        let serial = Serial::from_bytes(parsed.serial()).ok_or_else(unknown)?;
        let certificate = self
            .store
            .certificate(&serial)
            .await?
            .filter(|stored| stored.der == der)
            .ok_or_else(unknown)?;
        if self.clock.now() < certificate.not_before {
            return Err(unproven(format!(
                "the certificate is not valid before {}",
                certificate.not_before
            )));
        }
        let device = self
            .store
            .device(&certificate.device)
            .await?
            .ok_or_else(unknown)?;
        let holder = Holder {
            certificate,
            device,
            spend: None,
            request: None,
        };
        let certificate = &holder.certificate;
        if let Status::Revoked { at, reason } = certificate.status {
            let why = format!(
                "the certificate was revoked on {at} ({reason}){}",
                way_back(&holder.device)
            );
            if clone::is_superseded(certificate) {
                self.superseded_came(holder, origin, dry_run).await?;
            }
            return Err(unproven(why));
        }
        let device = &holder.device;
        match device.state {
            State::New | State::Active => Ok(holder),
            State::Suspended | State::Revoked | State::Retired => {
                Err(unproven(format!("the device may not renew{}", way_back(device))))
            }
        }
    }

    /// Its key was proved, so it is the device, or a copy of it.
    async fn superseded_came(&self, holder: Holder, origin: &Origin, dry_run: bool) -> Result<(), Error> {
        let caller = Caller {
            who: Who::Device(Box::new(holder)),
            origin: origin.clone(),
            dry_run,
        };
        match &caller.who {
            Who::Device(holder) => self.watch_superseded(&caller, holder).await,
            Who::Token(_) | Who::Enrolment(_) | Who::Operator { .. } => Ok(()),
        }
    }

    async fn enrolment_token(&self, secret: &str) -> Result<Who, Error> {
        // The hash is looked up, not compared: what timing tells is about the hash of a guess, not about the secret.
        let token = self.store.token(&sha256(secret.as_bytes())).await?;
        // Whether it may still bind another key is asked where that is to happen.
        let token = token.ok_or_else(|| unproven("the enrolment token is not known here: it was mistyped, or made at another CA; an operator makes one with: muster token create NAME"))?;
        Ok(Who::Enrolment(token))
    }

    async fn api_key(&self, key: &str) -> Result<Who, Error> {
        let hash = sha256(key.as_bytes());
        let operators = self.store.operators().await?;
        let is_it = |key: [u8; 32]| aws_lc_rs::constant_time::verify_slices_are_equal(&key, &hash).is_ok();
        let found = operators
            .into_iter()
            .find(|operator| operator.key.is_some_and(is_it));
        let operator = found.ok_or_else(|| unproven("the API key is not known here"))?;
        Ok(Who::Operator {
            name: operator.name,
            role: operator.role,
        })
    }
}

/// How a device is, and what lets it in again.
fn way_back(device: &Device) -> String {
    let name = &device.name;
    match device.state {
        State::New | State::Active => {
            format!("; an operator lets the device in again with: muster device recover {name}")
        }
        State::Suspended => {
            format!(": {name} is suspended; an operator resumes it with: muster device resume {name}")
        }
        State::Revoked => {
            format!(
                ": {name} is revoked; an operator lets it in again with: muster device rearm {name} && muster token create {name}"
            )
        }
        State::Retired => format!(": {name} is retired; its name stays taken, so choose another"),
    }
}

/// The claims that matter (RFC 7519, and what `step` adds).
#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    sub: String,
    #[serde(default)]
    sans: Vec<String>,
    #[serde(default)]
    jti: String,
    exp: Option<NumericDate>,
    nbf: Option<NumericDate>,
    iat: Option<NumericDate>,
    cnf: Option<Confirmation>,
}

#[derive(Deserialize)]
struct Confirmation {
    #[serde(rename = "x5rt#S256")]
    csr: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Seconds since 1970 (RFC 7519, section 2). Some writers of tokens, `step crypto jwt` among them, write `1.79e+09`.
#[derive(Clone, Copy, Deserialize)]
#[serde(from = "f64")]
struct NumericDate(i64);

impl From<f64> for NumericDate {
    fn from(seconds: f64) -> Self {
        // What no calendar holds becomes the nearest that an i64 holds, and is refused as too far away.
        Self(seconds as i64)
    }
}

impl Claims {
    /// SHA-256 over the only request that the token is good for, if it names one.
    fn request(&self) -> Result<Option<Vec<u8>>, Error> {
        let hash = self.cnf.as_ref().and_then(|cnf| cnf.csr.as_ref());
        let decoded = hash.map(|hash| URL_SAFE_NO_PAD.decode(hash)).transpose();
        decoded.map_err(|_| unproven("the token's cnf is not base64url"))
    }

    fn check(&self, now: Timestamp, purpose: Purpose, hosts: &[String]) -> Result<Timestamp, Error> {
        let now = now.as_second();
        let NumericDate(exp) = self.exp.ok_or_else(|| unproven("the token has no end (exp)"))?;
        if exp < now - LEEWAY {
            return Err(unproven("the token has expired: get a new one"));
        }
        if exp > now + LONGEST_TOKEN + LEEWAY {
            return Err(unproven("the token lives too long: at most an hour is accepted"));
        }
        if self
            .nbf
            .into_iter()
            .chain(self.iat)
            .any(|NumericDate(moment)| moment > now + LEEWAY)
        {
            return Err(unproven(
                "the token is not valid yet: is the clock of its maker ahead?",
            ));
        }
        if self.jti.is_empty() && purpose != Purpose::Renew {
            return Err(unproven(
                "the token has no id (jti), so that it could be used twice",
            ));
        }
        if self.sub.is_empty() {
            return Err(unproven("the token has no subject"));
        }
        self.check_audience(purpose, hosts)?;
        Timestamp::from_second(exp + LEEWAY).map_err(|_| unproven("the token's end is not a time"))
    }

    fn check_audience(&self, purpose: Purpose, hosts: &[String]) -> Result<(), Error> {
        let audiences = match &self.aud {
            Audience::One(one) => std::slice::from_ref(one),
            Audience::Many(many) => many.as_slice(),
        };
        let ours: Vec<_> = audiences
            .iter()
            .filter_map(|audience| audience_path(audience, hosts))
            .collect();
        if ours.is_empty() {
            return Err(unproven(format!(
                "the token is for {}, which is not a name of this CA; its names are {}",
                audiences.first().map_or("nobody", String::as_str),
                hosts.join(", ")
            )));
        }
        if !ours.contains(&purpose.path()) {
            return Err(unproven(format!("the token was not made to {}", purpose.path())));
        }
        Ok(())
    }
}

/// The operation that an audience names, if its host is one of ours. Ports do not count, nor does `/1.0`.
fn audience_path<'a>(audience: &'a str, hosts: &[String]) -> Option<&'a str> {
    let rest = audience.strip_prefix("https://")?;
    let (authority, path) = rest.split_once('/')?;
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?.0,
        None => authority.split(':').next()?,
    };
    let known = hosts.iter().any(|known| known.eq_ignore_ascii_case(host));
    known.then(|| path.strip_prefix("1.0/").unwrap_or(path))
}

fn local_name(uid: u32) -> String {
    if uid == 0 {
        "root (local)".into()
    } else {
        format!("uid {uid} (local)")
    }
}

pub(crate) fn unproven(why: impl Into<String>) -> Error {
    Error::Unproven(why.into())
}
