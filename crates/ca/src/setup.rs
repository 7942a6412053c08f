//! The first run: a root, an issuing CA, the internal authority and a provisioner, recorded in one transaction.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use muster_pki::cert::{Certificate, Issuer, Pointers, Role, Template, assemble};
use muster_pki::crl::{Entry, Reason};
use muster_pki::jose::{JweRandom, Jwk, encrypt_private_jwk};
use muster_pki::key::{KeyKind, PublicKey};

use crate::audit::Act;
use crate::authority::{DEFAULT, Follows, Generation, INTERNAL, ROOT, Stage};
use crate::cross::Older;
use crate::error::{Error, Refusal};
use crate::ports::{Change, Clock, Crl, Entropy, Signer, SignerError, Store, ToBeSigned, Write};
use crate::provisioner::Provisioner;
use crate::state::pointers;
use crate::{Ca, Settings};

/// The longest name of an authority, so that every generation's common name fits 64 characters.
const MAX_NAME: usize = 40;
/// A root lives 20 years.
const ROOT_LIFE: SignedDuration = SignedDuration::from_hours(20 * 8766);
/// An issuing CA lives 5 years.
const ISSUING_LIFE: SignedDuration = SignedDuration::from_hours(5 * 8766);
/// Clocks of devices are often behind by an hour.
const BACKDATE: SignedDuration = SignedDuration::from_hours(1);
/// A provisioner's password protects a key that anybody can download; 22 characters of base64 hold 128 bits.
const MIN_PASSWORD: usize = 22;
/// So often may the making of a CA have been cut off.
const MAX_ATTEMPTS: usize = 100;

/// What a [`Ca`] stands on.
pub struct Parts {
    /// Where everything is recorded.
    pub store: Arc<dyn Store>,
    /// What holds the issuing keys.
    pub signer: Arc<dyn Signer>,
    /// What tells the time.
    pub clock: Arc<dyn Clock>,
    /// What draws secrets.
    pub entropy: Arc<dyn Entropy>,
    /// What the operator decided.
    pub settings: Settings,
}

/// What the first run makes.
pub struct Founding<'a> {
    /// The authority's display name, such as `AK-SG IoT CA`; 1 to 40 characters.
    pub name: &'a str,
    /// The first provisioner's name.
    pub provisioner: &'a str,
    /// Its password; at least 128 bits.
    pub password: &'a str,
    /// Holds root keys; locked with a secret of its own, and gone after this.
    pub root_signer: &'a dyn Signer,
    /// An authority made elsewhere to begin with, in place of a new one.
    pub import: Option<Import>,
}

/// An authority that was made elsewhere. Its issuing key is imported into the signer before.
#[derive(Debug, Clone)]
pub struct Import {
    /// The root's certificate.
    pub root: Certificate,
    /// The name of the root's key in the root signer, if it came along.
    pub root_key: Option<String>,
    /// The issuing CA's certificate and the name of its key in the signer; without it a new one is made below the root.
    pub issuing: Option<(Certificate, String)>,
}

impl Ca {
    /// Opens an authority that was founded before.
    pub async fn open(parts: Parts) -> Result<Self, Error> {
        let ca = Self::assemble(parts).await?;
        ca.state.load().authority(DEFAULT)?;
        Ok(ca)
    }

    /// Whether this store holds an authority.
    pub async fn is_founded(store: &dyn Store) -> Result<bool, Error> {
        Ok(!store.authorities().await?.is_empty())
    }

    /// Makes the authorities and the first provisioner. Refuses a store that holds an authority.
    pub async fn found(parts: Parts, founding: Founding<'_>) -> Result<Self, Error> {
        check_name(founding.name)?;
        if Self::is_founded(&*parts.store).await? {
            return Err(Error::Conflict(
                "there is an authority already; nothing was changed".into(),
            ));
        }
        let ca = Self::assemble(parts).await?;
        let now = ca.clock.now();
        let mut writes = match &founding.import {
            Some(import) => {
                ca.adopt(DEFAULT, founding.name, import, None, founding.root_signer, now)
                    .await?
            }
            None => {
                ca.make_authority(DEFAULT, founding.name, None, founding.root_signer, now)
                    .await?
            }
        };
        let internal = format!("{} Internal", founding.name);
        writes.extend(
            ca.make_authority(INTERNAL, &internal, None, founding.root_signer, now)
                .await?,
        );
        writes.push(Write::Provisioner(ca.make_provisioner(
            founding.provisioner,
            founding.password,
            now,
        )?));
        let act = own_act(now, "authority.founded", founding.name);
        ca.store.commit(Change { writes, act }).await?;
        ca.reload().await?;
        ca.refresh_crls().await?;
        Ok(ca)
    }

    /// Writes for an authority with a new root, which follows the older one if there is one.
    pub(crate) async fn make_authority(
        &self,
        authority: &str,
        display: &str,
        older: Option<&Older>,
        root_signer: &dyn Signer,
        now: Timestamp,
    ) -> Result<Vec<Write>, Error> {
        let (key_name, key) = new_key(root_signer, &format!("{authority}-root")).await?;
        let common_name = format!("{display} Root CA");
        let serial = self.serial(now)?;
        let template = Template {
            serial: serial.as_bytes(),
            common_name: &common_name,
            sans: &[],
            not_before: now - BACKDATE,
            not_after: now + ROOT_LIFE,
            key: &key,
            // How deep it may go is the issuing CAs' matter: a limit here would keep it from vouching for a root that follows.
            role: Role::Authority { path_len: None },
            pointers: &Pointers::default(),
        };
        let certificate = sign(root_signer, &key_name, &key, &template, None).await?;
        let follows = match older {
            Some(older) => Some(self.vouch(older, &certificate, root_signer, now).await?),
            None => None,
        };
        let import = Import {
            root: certificate,
            root_key: Some(key_name),
            issuing: None,
        };
        self.adopt(authority, display, &import, follows, root_signer, now)
            .await
    }

    /// Writes for an authority whose root exists; makes the issuing CA unless it came along.
    pub(crate) async fn adopt(
        &self,
        authority: &str,
        display: &str,
        import: &Import,
        follows: Option<Follows>,
        root_signer: &dyn Signer,
        now: Timestamp,
    ) -> Result<Vec<Write>, Error> {
        check_root(&import.root, now)?;
        let root = Generation {
            number: ROOT,
            stage: Stage::Active,
            key: import.root_key.clone(),
            certificate: import.root.der().to_vec(),
            created: now,
            revoked: None,
            follows,
        };
        let mut issuing = match &import.issuing {
            Some((certificate, key)) => {
                check_issuing(certificate, &import.root, now)?;
                Generation {
                    number: 1,
                    stage: Stage::Active,
                    key: Some(key.clone()),
                    certificate: certificate.der().to_vec(),
                    created: now,
                    revoked: None,
                    follows: None,
                }
            }
            None => {
                self.make_issuing(authority, display, 1, &root, root_signer, now)
                    .await?
            }
        };
        issuing.stage = Stage::Active;
        let mut writes = Vec::new();
        if import.root_key.is_some() {
            writes.push(Write::Crl(
                self.sign_root_crl(authority, &root, root_signer, now).await?,
            ));
        }
        for generation in [root, issuing] {
            writes.push(Write::Authority {
                name: authority.to_owned(),
                generation,
            });
        }
        Ok(writes)
    }

    /// Makes an issuing CA below a root, on standby.
    pub(crate) async fn make_issuing(
        &self,
        authority: &str,
        display: &str,
        number: u32,
        root: &Generation,
        root_signer: &dyn Signer,
        now: Timestamp,
    ) -> Result<Generation, Error> {
        let root_certificate = root.parsed()?;
        let root_key = root
            .key
            .as_deref()
            .ok_or_else(|| Refusal::new("the root's key is not here"))?;
        let (key_name, key) = new_key(&*self.signer, &format!("{authority}-issuing-{number}")).await?;
        let common_name = issuing_name(display, number);
        let serial = self.serial(now)?;
        let template = Template {
            serial: serial.as_bytes(),
            common_name: &common_name,
            sans: &[],
            not_before: now - BACKDATE,
            not_after: (now + ISSUING_LIFE).min(root_certificate.not_after()),
            key: &key,
            role: Role::Authority { path_len: Some(0) },
            pointers: &pointers(self.settings.public_url.as_deref(), authority, ROOT),
        };
        let issuer = root_certificate.as_issuer()?;
        let certificate = sign(root_signer, root_key, &key, &template, Some(&issuer)).await?;
        Ok(Generation {
            number,
            stage: Stage::Standby,
            key: Some(key_name),
            certificate: certificate.der().to_vec(),
            created: now,
            revoked: None,
            follows: None,
        })
    }

    pub(crate) async fn sign_root_crl(
        &self,
        authority: &str,
        root: &Generation,
        root_signer: &dyn Signer,
        now: Timestamp,
    ) -> Result<Crl, Error> {
        let issuer = root.parsed()?.as_issuer()?;
        let key = root
            .key
            .as_deref()
            .ok_or_else(|| Refusal::new("the root's key is not here"))?;
        let entries = self.withdrawn(authority)?;
        self.sign_crl(root_signer, key, &issuer, authority, ROOT, &entries, now)
            .await
    }

    /// The issuing CAs that the root's list names; an authority that is just being made has none.
    fn withdrawn(&self, authority: &str) -> Result<Vec<Entry>, Error> {
        let state = self.state.load();
        let record = state.authority(authority).ok().map(|loaded| &loaded.record);
        let generations = record.into_iter().flat_map(|record| &record.generations);
        let revoked = generations.filter_map(|one| one.revoked.map(|at| (one, at)));
        let entry = |(one, at): (&Generation, Timestamp)| -> Result<Entry, Error> {
            Ok(Entry {
                serial: one.parsed()?.serial().to_vec(),
                revoked_at: at,
                reason: Reason::CaCompromise,
            })
        };
        revoked.map(entry).collect()
    }

    /// A provisioner with a new key that only its password opens.
    pub(crate) fn make_provisioner(
        &self,
        name: &str,
        password: &str,
        now: Timestamp,
    ) -> Result<Provisioner, Error> {
        if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
            return Err(Error::Bad(
                "a provisioner's name has 1 to 64 printable characters".into(),
            ));
        }
        if password.len() < MIN_PASSWORD {
            return Err(Refusal::new(
                "the provisioner's password is too weak: its encrypted key is public by step's design",
            )
            .fix(format!(
                "leave it out to have one generated, or give at least {MIN_PASSWORD} random characters"
            ))
            .into());
        }
        let key = self.entropy.private_key(KeyKind::P256)?;
        let mut random = JweRandom {
            salt: [0; 16],
            cek: [0; 32],
            iv: [0; 12],
        };
        self.entropy.fill(&mut random.salt);
        self.entropy.fill(&mut random.cek);
        self.entropy.fill(&mut random.iv);
        let jwk = Jwk::from_p256(key.public())?;
        Ok(Provisioner {
            name: name.to_owned(),
            kid: jwk.kid.clone(),
            jwk: serde_json::to_string(&jwk).map_err(|why| Error::Internal(why.to_string()))?,
            encrypted_key: Some(encrypt_private_jwk(&key, password.as_bytes(), &random)?),
            profiles: vec!["client".into(), "server".into()],
            names: Vec::new(),
            may_replace: false,
            created: now,
        })
    }
}

/// The common name of an issuing CA.
pub(crate) fn issuing_name(display: &str, number: u32) -> String {
    format!("{display} Issuing CA {number}")
}

/// An act of the authority itself.
pub(crate) fn own_act(at: Timestamp, action: &'static str, subject: &str) -> Act {
    Act {
        at,
        actor: "muster".into(),
        via: "internal".into(),
        source: String::new(),
        action,
        subject: subject.to_owned(),
        detail: String::new(),
        dry_run: false,
    }
}

pub(crate) async fn sign(
    signer: &dyn Signer,
    key_name: &str,
    key: &PublicKey,
    template: &Template<'_>,
    issuer: Option<&Issuer>,
) -> Result<Certificate, Error> {
    let bytes = template.to_be_signed(issuer)?;
    let draft = ToBeSigned::new(key_name, bytes);
    let signature = signer.sign(&draft).await?;
    let algorithm = issuer.map_or(key.kind().signature_algorithm(), |issuer| issuer.algorithm);
    Ok(Certificate::from_der(&assemble(
        draft.bytes(),
        algorithm,
        &signature,
    )?)?)
}

/// A new key under this name or, where an attempt that was cut off has left one, under the next that is free. What is
/// left there has signed nothing: an authority is recorded with its first certificate or not at all.
async fn new_key(signer: &dyn Signer, name: &str) -> Result<(String, PublicKey), Error> {
    let mut taken = SignerError::Exists(name.to_owned());
    for attempt in 1..=MAX_ATTEMPTS {
        let name = if attempt == 1 {
            name.to_owned()
        } else {
            format!("{name}-{attempt}")
        };
        match signer.create(&name, KeyKind::P256).await {
            Err(why @ SignerError::Exists(_)) => taken = why,
            made => return Ok((name, made?)),
        }
    }
    Err(taken.into())
}

/// The display name of an authority.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let fits =
        !name.trim().is_empty() && name.chars().count() <= MAX_NAME && !name.chars().any(char::is_control);
    if fits {
        Ok(())
    } else {
        Err(Error::Bad(format!(
            "the authority's name has 1 to {MAX_NAME} printable characters"
        )))
    }
}

/// Mbed TLS cannot parse an Ed25519 CA; OpenSSL refuses every CRL of a CA that may not sign them.
fn check_ca(certificate: &Certificate) -> Option<&'static str> {
    if certificate.key().kind() == KeyKind::Ed25519 {
        return Some("its key is Ed25519, which many devices cannot read in a CA");
    }
    (!certificate.may_sign_crls()).then_some("its key usage does not allow it to sign CRLs")
}

fn check_root(root: &Certificate, now: Timestamp) -> Result<(), Error> {
    let refuse = |why: &str| Err(Refusal::new(format!("the root cannot be taken: {why}")).into());
    match root.authority() {
        None => return refuse("it is no CA certificate (basicConstraints)"),
        Some(Some(0)) => return refuse("its path length 0 leaves no room for an issuing CA"),
        Some(_) => {}
    }
    if !root.may_sign_certificates() {
        return refuse("its key usage does not allow it to sign certificates");
    }
    if let Some(why) = check_ca(root) {
        return refuse(why);
    }
    if root.verify_issued_by(root.key()).is_err() {
        return refuse("it is not signed by its own key");
    }
    if root.not_after() <= now {
        return refuse("it has expired");
    }
    Ok(())
}

fn check_issuing(issuing: &Certificate, root: &Certificate, now: Timestamp) -> Result<(), Error> {
    let refuse = |why: &str| Err(Refusal::new(format!("the issuing CA cannot be taken: {why}")).into());
    if issuing.authority().is_none() || !issuing.may_sign_certificates() {
        return refuse("it is no CA certificate");
    }
    if let Some(why) = check_ca(issuing) {
        return refuse(why);
    }
    if issuing.issuer()? != root.subject()? || issuing.verify_issued_by(root.key()).is_err() {
        return refuse("the root did not sign it");
    }
    if issuing.not_after() <= now {
        return refuse("it has expired");
    }
    if issuing.subject()? == root.subject()? {
        return refuse("it has the same name as its root");
    }
    Ok(())
}
