//! [`Ca`]: what it holds, and what it keeps in memory of small and seldom changed things.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use event_listener::{Event, EventListener};
use jiff::Timestamp;
use muster_pki::cert::{Certificate, Issuer, Pointers};
use muster_pki::jose::Jwk;
use muster_pki::key::PublicKey;

use crate::authority::{Authority, Generation, ROOT, line};
use crate::beacon::Teller;
use crate::broker::agent::Reports;
use crate::broker::canary::{Asked, Canaries};
use crate::broker::feed::Feed;
use crate::broker::trial::Trials;
use crate::certificate::Serial;
use crate::clamp::ClampAlarms;
use crate::diagnosis::Listener;
use crate::error::{Error, Refusal};
use crate::plan::Places;
use crate::ports::{Clock, Crl, Entropy, Signer, Store};
use crate::profile::Profiles;
use crate::provisioner::Provisioner;
use crate::standing::Walk;
use crate::verify::Watch;

/// What the operator decided, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Host names and addresses under which clients reach the CA API; what a token's audience must name.
    pub dns: Vec<String>,
    /// Where verifiers reach the public listener, such as `http://ca.example.org:9080`; no pointers without it.
    pub public_url: Option<String>,
    /// What may be issued.
    pub profiles: Profiles,
}

/// The certification authority. Everything that has an effect takes a proof and asks who it is.
pub struct Ca {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) settings: Settings,
    pub(crate) state: ArcSwap<State>,
    pub(crate) crls: ArcSwap<HashMap<(String, u32), Arc<Crl>>>,
    reloads: AtomicU64,
    last_serial: AtomicU64,
    /// Those of the certificates that this process issues.
    places: Places,
    pub(crate) last_crl: AtomicU64,
    /// Rises with every revocation; a CRL made at an older count is out of date.
    pub(crate) revocations: AtomicU64,
    pub(crate) revoked: Event,
    pub(crate) clamps: ClampAlarms,
    pub(crate) audit_watch: Watch,
    pub(crate) walk: Mutex<Walk>,
    pub(crate) feed: Feed,
    pub(crate) canaries: Canaries,
    pub(crate) reports: Reports,
    /// How often agents asked for good canaries.
    pub(crate) asked: Asked,
    /// Certificates with which brokers are tried just now.
    pub(crate) trials: Trials,
    /// What was seen at the diagnosis listener.
    pub(crate) listener: Listener,
    /// What tells the time.
    pub(crate) teller: Teller,
    /// When this process began.
    pub(crate) begun: Timestamp,
    /// Wakes whoever waits for what brokers have to hear.
    pub(crate) news: Event,
}

/// What is read at start and after each change by an administrator.
pub(crate) struct State {
    /// Which reload read it.
    turn: u64,
    pub(crate) authorities: Vec<LoadedAuthority>,
    pub(crate) provisioners: Vec<Arc<LoadedProvisioner>>,
}

/// A provisioner with its key ready to verify.
#[derive(Debug)]
pub(crate) struct LoadedProvisioner {
    pub(crate) record: Provisioner,
    pub(crate) key: PublicKey,
}

/// An authority with its certificates read.
pub(crate) struct LoadedAuthority {
    pub(crate) record: Authority,
    pub(crate) root: Certificate,
    /// What is handed out beside the issuing CA.
    roots: Roots,
    /// Every issuing CA that is not retired.
    pub(crate) issuing: Vec<Arc<LoadedIssuer>>,
}

/// Roots and cross-certificates, DER, each with its last moment.
type Roots = Vec<(Timestamp, Arc<[u8]>)>;

/// An issuing CA, ready to sign.
#[derive(Debug)]
pub(crate) struct LoadedIssuer {
    pub(crate) authority: String,
    pub(crate) generation: Generation,
    pub(crate) certificate: Certificate,
    pub(crate) issuer: Issuer,
    pub(crate) pointers: Pointers,
}

impl Ca {
    pub(crate) async fn assemble(parts: crate::Parts) -> Result<Self, Error> {
        let state = State::load(&*parts.store, &parts.settings, 0).await?;
        let feed = Feed::begin_at(parts.store.head().await?);
        let begun = parts.clock.now();
        // Elsewhere in each process: many issue one certificate and end.
        let mut start = [0; 8];
        parts.entropy.fill(&mut start);
        let ca = Self {
            store: parts.store,
            signer: parts.signer,
            clock: parts.clock,
            entropy: parts.entropy,
            settings: parts.settings,
            state: ArcSwap::from_pointee(state),
            crls: ArcSwap::default(),
            reloads: AtomicU64::new(0),
            last_serial: AtomicU64::new(0),
            places: Places::begin_at(u64::from_be_bytes(start)),
            last_crl: AtomicU64::new(0),
            revocations: AtomicU64::new(0),
            revoked: Event::new(),
            clamps: ClampAlarms::default(),
            audit_watch: Watch::default(),
            walk: Mutex::default(),
            feed,
            canaries: Canaries::default(),
            reports: Reports::default(),
            asked: Asked::default(),
            trials: Trials::default(),
            listener: Listener::default(),
            teller: Teller::default(),
            begun,
            news: Event::new(),
        };
        ca.load_crls().await?;
        ca.load_visitors().await?;
        Ok(ca)
    }

    /// Of two that overlap, the one that began later has read what both changed, and stays.
    pub(crate) async fn reload(&self) -> Result<(), Error> {
        let turn = self.reloads.fetch_add(1, Ordering::SeqCst) + 1;
        let read = Arc::new(State::load(&*self.store, &self.settings, turn).await?);
        self.state.rcu(|there| {
            let newer = if there.turn > turn { there } else { &read };
            newer.clone()
        });
        Ok(())
    }

    /// The settings it was opened with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Now, by the authority's clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Fills with bytes that nobody can guess.
    pub fn draw(&self, bytes: &mut [u8]) {
        self.entropy.fill(bytes);
    }

    /// Wakes when something was revoked since this was called.
    pub fn on_revocation(&self) -> EventListener {
        self.revoked.listen()
    }

    /// Wakes when there may be something that brokers have to hear, or something that an agent said.
    pub fn on_news(&self) -> EventListener {
        self.news.listen()
    }

    /// A new serial number: 8 octets of time that rise with every call, so that they stay together in an index, then 10
    /// that nobody can guess (RFC 5280 section 4.1.2.2 allows 20).
    pub(crate) fn serial(&self, now: Timestamp) -> Result<Serial, Error> {
        self.serial_with(now, &[])
    }

    /// The same for a certificate whose holder renews: the first 2 of the 10 are its place. Nothing else takes a place, so that what is
    /// drawn in between, such as an enrolment token's id, leaves no gaps.
    pub(crate) fn serial_in_place(&self, now: Timestamp) -> Result<Serial, Error> {
        self.serial_with(now, &self.places.take())
    }

    fn serial_with(&self, now: Timestamp, place: &[u8]) -> Result<Serial, Error> {
        let time = u64::from_be_bytes(Serial::time_octets(now));
        let step = |last: u64| Some(time.max(last + 1));
        let before = self
            .last_serial
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step)
            .unwrap_or(0);
        let mut bytes = [0; 18];
        bytes[..8].copy_from_slice(&time.max(before + 1).to_be_bytes());
        self.entropy.fill(&mut bytes[8..]);
        bytes[8..8 + place.len()].copy_from_slice(place);
        Serial::from_bytes(&bytes).ok_or_else(|| Error::Internal("the clock says 1970".into()))
    }
}

impl State {
    async fn load(store: &dyn Store, settings: &Settings, turn: u64) -> Result<Self, Error> {
        let authorities = store.authorities().await?;
        let provisioners = store.provisioners().await?;
        let roots = authorities
            .iter()
            .map(|authority| roots(&authorities, authority))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            turn,
            authorities: authorities
                .into_iter()
                .zip(roots)
                .map(|(record, roots)| LoadedAuthority::new(record, roots, settings))
                .collect::<Result<_, _>>()?,
            provisioners: provisioners
                .into_iter()
                .map(|record| LoadedProvisioner::new(record).map(Arc::new))
                .collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn authority(&self, name: &str) -> Result<&LoadedAuthority, Error> {
        let found = self
            .authorities
            .iter()
            .find(|authority| authority.record.name == name);
        found.ok_or_else(|| {
            Error::Missing(format!(
                "there is no authority {name:?}; see which there are with: muster ca show"
            ))
        })
    }
}

impl LoadedProvisioner {
    fn new(record: Provisioner) -> Result<Self, Error> {
        let damaged = |why: &dyn std::fmt::Display| {
            Error::Internal(format!(
                "the key of provisioner {:?} cannot be read: {why}",
                record.name
            ))
        };
        let jwk: Jwk = serde_json::from_str(&record.jwk).map_err(|why| damaged(&why))?;
        let key = jwk.public_key().map_err(|why| damaged(&why))?;
        Ok(Self { record, key })
    }
}

impl LoadedAuthority {
    fn new(record: Authority, roots: Roots, settings: &Settings) -> Result<Self, Error> {
        let root = record.root()?.parsed()?;
        let issuing = record
            .issuing()
            .map(|generation| LoadedIssuer::new(&record.name, generation, settings).map(Arc::new))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            record,
            root,
            roots,
            issuing,
        })
    }

    /// What is handed out beside the issuing CA now; see [`Issued::roots`](crate::Issued::roots).
    pub(crate) fn roots(&self, now: Timestamp) -> Vec<Arc<[u8]>> {
        let holding = self.roots.iter().filter(|(until, _)| now <= *until);
        holding.map(|(_, der)| der.clone()).collect()
    }

    /// The issuing CA that issues.
    pub(crate) fn active(&self) -> Result<&Arc<LoadedIssuer>, Error> {
        let number = self.record.active()?.number;
        let found = self
            .issuing
            .iter()
            .find(|issuer| issuer.generation.number == number);
        found.ok_or_else(|| Error::Internal(format!("generation {number} is not loaded")))
    }
}

impl LoadedIssuer {
    /// Before an issuing CA was made nothing can have been signed with it: the clock is behind, as after a power cut on a machine
    /// that keeps no time. A CRL of such a time would have run out for every broker whose clock is right.
    pub(crate) fn accept_clock(&self, now: Timestamp) -> Result<(), Error> {
        let began = self.certificate.not_before();
        if began <= now {
            return Ok(());
        }
        let why = format!("this machine's clock says {now}, and the issuing CA begins only on {began}");
        Err(Refusal::new(why).fix("set the clock").into())
    }

    fn new(authority: &str, generation: &Generation, settings: &Settings) -> Result<Self, Error> {
        let certificate = generation.parsed()?;
        Ok(Self {
            authority: authority.to_owned(),
            generation: generation.clone(),
            issuer: certificate.as_issuer()?,
            certificate,
            pointers: pointers(settings.public_url.as_deref(), authority, generation.number),
        })
    }
}

/// An authority's own root, for ever; then, of those that follow one another with it, the other roots and the cross-certificates until
/// each ends.
fn roots(all: &[Authority], of: &Authority) -> Result<Roots, Error> {
    let line = line(all, &of.name);
    let others = line.iter().skip(1).filter_map(|one| one.root().ok());
    let others = others.map(|root| &root.certificate);
    let crosses = line.iter().filter_map(|one| one.follows());
    let beside = others.chain(crosses.map(|follows| &follows.cross));
    let beside = beside.map(|der| Ok((Certificate::from_der(der)?.not_after(), der.as_slice().into())));
    let own = (Timestamp::MAX, of.root()?.certificate.as_slice().into());
    std::iter::once(Ok(own)).chain(beside).collect()
}

/// Where the public listener shows an issuer's CRL and certificate.
pub(crate) fn pointers(public_url: Option<&str>, authority: &str, generation: u32) -> Pointers {
    let Some(base) = public_url else {
        return Pointers::default();
    };
    let file = file_stem(authority, generation);
    Pointers {
        crl: Some(format!("{base}/crl/{file}.crl")),
        issuer: Some(format!("{base}/ca/{file}.crt")),
    }
}

/// `default-1`, `default-root`: how an issuer's files are called.
pub fn file_stem(authority: &str, generation: u32) -> String {
    match generation {
        ROOT => format!("{authority}-root"),
        number => format!("{authority}-{number}"),
    }
}
