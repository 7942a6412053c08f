//! Profiles: the validated rules of what may be issued.

mod sans;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use muster_pki::cert::{Pointers, Usages};
use muster_pki::key::{KeyKind, PublicKey, RSA_BITS};
use muster_pki::name::San;
use muster_pki::time::parse_duration;
use serde::Deserialize;

use crate::access::Rules;
use crate::authority;
use crate::broker::epoch::USUAL;
use crate::device::Kind;
use crate::error::{Error, Refusal};
use sans::{SanRule, SanType};

/// No certificate lives longer than ten years, whatever a profile says.
const LONGEST: SignedDuration = SignedDuration::from_hours(10 * 366 * 24);

/// A profile as configuration gives it: what is left out comes from `base`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawProfile {
    /// The built-in profile that this one starts from; its own name if that is built in, else `client`.
    pub base: Option<String>,
    /// Shortest validity, such as `5m`.
    pub min: Option<String>,
    /// Validity when the request does not say.
    pub default: Option<String>,
    /// Longest validity.
    pub max: Option<String>,
    /// How long after its end a certificate may still be renewed with the same key.
    pub grace: Option<String>,
    /// Whether certificates may be renewed at all.
    pub renewable: Option<bool>,
    /// Whether a device is suspended when two of it come.
    pub suspend_clones: Option<bool>,
    /// The authority that issues, by name.
    pub authority: Option<String>,
    /// The keys that are taken, such as `p256` or `rsa3072` (RSA of at least so many bits).
    pub keys: Option<Vec<String>>,
    /// The alternative names that are let in beside the device's own, such as `dns:*.example.org`, `ip:10.0.0.0/8` or
    /// `uri`; an empty list lets none in.
    pub sans: Option<Vec<String>>,
    /// Which pointers certificates carry once `public_url` is set: `crl`, `issuer`.
    pub pointers: Option<Vec<String>>,
    /// Where devices may publish: topic filters in which `%u` stands for the device's name.
    pub publish: Option<Vec<String>>,
    /// What devices may receive, likewise.
    pub subscribe: Option<Vec<String>>,
}

/// The rules of what may be issued. Made by [`Profiles::new`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    name: String,
    kind: Kind,
    authority: String,
    min: SignedDuration,
    default: SignedDuration,
    max: SignedDuration,
    grace: SignedDuration,
    renewable: bool,
    suspend_clones: bool,
    keys: Vec<KeyKind>,
    sans: Vec<SanRule>,
    pointers: Vec<Pointer>,
    rules: Rules,
}

/// What a certificate may point to (RFC 5280, sections 4.2.1.13 and 4.2.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pointer {
    Crl,
    Issuer,
}

impl Pointer {
    const ALL: [(Self, &'static str); 2] = [(Self::Crl, "crl"), (Self::Issuer, "issuer")];

    fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, word)| *word == text);
        found
            .map(|(pointer, _)| *pointer)
            .ok_or_else(|| format!("{text:?} is no pointer: choose crl, issuer or both"))
    }
}

/// The profile of the agents beside brokers, which nobody can ask for: configured profiles have no dot in their name.
pub(crate) const AGENT_PROFILE: &str = "muster.agent";

impl Profile {
    /// What agents and canaries follow; canaries with an authority of the fleet in place of the internal one.
    pub(crate) fn agent() -> Self {
        Self {
            name: AGENT_PROFILE.to_owned(),
            authority: authority::INTERNAL.to_owned(),
            pointers: Vec::new(),
            ..Self::built_in(Kind::Client)
        }
    }

    /// What a server's certificate follows with which a broker is tried.
    pub(crate) fn trial_server() -> Self {
        Self {
            pointers: Vec::new(),
            ..Self::built_in(Kind::Server)
        }
    }

    /// The same, issued by another authority.
    pub(crate) fn issued_by(self, authority: &str) -> Self {
        Self {
            authority: authority.to_owned(),
            ..self
        }
    }

    fn built_in(kind: Kind) -> Self {
        let days = |days: i64| SignedDuration::from_hours(days * 24);
        let (default, max) = match kind {
            Kind::Client => (days(30), days(366)),
            Kind::Server | Kind::Broker => (days(365), days(825)),
        };
        Self {
            name: kind.as_str().to_owned(),
            kind,
            authority: authority::DEFAULT.to_owned(),
            min: SignedDuration::from_mins(5),
            default,
            max,
            grace: days(7),
            renewable: true,
            suspend_clones: false,
            keys: built_in_keys(kind),
            sans: SanType::ALL.map(|(kind, _)| SanRule::Any(kind)).into(),
            pointers: Pointer::ALL.map(|(pointer, _)| pointer).into(),
            rules: Rules::usual(),
        }
    }

    fn from_raw(name: &str, raw: &RawProfile) -> Result<Self, Vec<String>> {
        let mut mistakes = Vec::new();
        if !is_name(name) {
            mistakes.push(format!(
                "profile.{name:?}: a profile is called by 1 to 32 letters, digits, '-' and '_'"
            ));
        }
        let base = raw.base.as_deref().unwrap_or(if Kind::parse(name).is_some() {
            name
        } else {
            "client"
        });
        if Kind::parse(name).is_some() && base != name {
            mistakes.push(format!(
                "profile.{name}.base: the built-in profile {name:?} stays a {name}"
            ));
        }
        let kind = Kind::parse(base).unwrap_or_else(|| {
            mistakes.push(format!(
                "profile.{name}.base: {base:?} is not client, server or broker"
            ));
            Kind::Client
        });
        let mut profile = Self {
            name: name.to_owned(),
            ..Self::built_in(kind)
        };
        let texts = [&raw.min, &raw.default, &raw.max, &raw.grace];
        let fields = [
            &mut profile.min,
            &mut profile.default,
            &mut profile.max,
            &mut profile.grace,
        ];
        for ((text, field), key) in texts
            .into_iter()
            .zip(fields)
            .zip(["min", "default", "max", "grace"])
        {
            match text.as_deref().map(parse_duration) {
                Some(Ok(duration)) => *field = duration,
                Some(Err(why)) => mistakes.push(format!("profile.{name}.{key}: {why}")),
                None => {}
            }
        }
        if let Some(authority) = &raw.authority {
            profile.authority.clone_from(authority);
        }
        profile.renewable = raw.renewable.unwrap_or(profile.renewable);
        profile.suspend_clones = raw.suspend_clones.unwrap_or(profile.suspend_clones);
        let mut note = |key: &str, why: String| mistakes.push(format!("profile.{name}.{key}: {why}"));
        let read_key = |text: &str| {
            let key = KeyKind::parse(text).map_err(|why| why.to_string())?;
            refuse_ed25519(key, kind).map_err(|why| why.to_string())?;
            Ok(key)
        };
        read_list(&raw.keys, read_key, &mut profile.keys, |why| note("keys", why));
        read_list(&raw.sans, SanRule::parse, &mut profile.sans, |why| {
            note("sans", why)
        });
        read_list(&raw.pointers, Pointer::parse, &mut profile.pointers, |why| {
            note("pointers", why)
        });
        for (raw, filters) in [
            (&raw.publish, &mut profile.rules.publish),
            (&raw.subscribe, &mut profile.rules.subscribe),
        ] {
            if let Some(raw) = raw {
                filters.clone_from(raw);
            }
        }
        if let Err(why) = profile.rules.check() {
            note("publish", why);
        }
        if name == USUAL && profile.rules.has_parts() {
            let why = "%t and %i stand in the rules of other profiles alone: brokers fill in those of this one by themselves";
            note("publish", why.into());
        }
        if raw.keys.as_ref().is_some_and(Vec::is_empty) {
            note("keys", "a profile that takes no key issues nothing".into());
        }
        mistakes.extend(
            profile
                .contradiction()
                .map(|why| format!("profile.{name}: {why}")),
        );
        if mistakes.is_empty() {
            Ok(profile)
        } else {
            Err(mistakes)
        }
    }

    fn contradiction(&self) -> Option<&'static str> {
        let zero = SignedDuration::ZERO;
        if self.min <= zero || self.min > self.default || self.default > self.max {
            Some("min must be more than nothing, at most default, and default at most max")
        } else if self.max > LONGEST {
            Some("max is more than ten years")
        } else if self.grace < zero {
            Some("grace cannot be less than nothing")
        } else {
            None
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its devices may publish and receive.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What its holders are.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The authority that issues.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The extended key usages. A client never gets `serverAuth`.
    pub fn usages(&self) -> Usages {
        match self.kind {
            Kind::Client => Usages {
                client: true,
                server: false,
            },
            Kind::Server => Usages {
                client: false,
                server: true,
            },
            Kind::Broker => Usages {
                client: true,
                server: true,
            },
        }
    }

    /// Shortest, default and longest validity.
    pub fn validity(&self) -> (SignedDuration, SignedDuration, SignedDuration) {
        (self.min, self.default, self.max)
    }

    /// How long after its end a certificate may still be renewed with the same key.
    pub fn grace(&self) -> SignedDuration {
        self.grace
    }

    /// Whether a device is suspended when two of it come.
    pub fn suspends_clones(&self) -> bool {
        self.suspend_clones
    }

    /// Whether certificates may be renewed.
    pub fn renewable(&self) -> bool {
        self.renewable
    }

    /// The keys that are taken, in the words of the configuration.
    pub fn keys(&self) -> Vec<String> {
        self.keys.iter().map(ToString::to_string).collect()
    }

    /// The alternative names that are let in beside the device's own, in the words of the configuration.
    pub fn sans(&self) -> Vec<String> {
        self.sans.iter().map(ToString::to_string).collect()
    }

    /// Which pointers certificates carry once there is a `public_url`, in the words of the configuration.
    pub fn pointers(&self) -> Vec<&'static str> {
        let all = Pointer::ALL.iter();
        all.filter(|(pointer, _)| self.pointers.contains(pointer))
            .map(|(_, word)| *word)
            .collect()
    }

    /// What of an issuer's pointers goes in.
    pub(crate) fn chosen<'a>(&self, all: &'a Pointers) -> Cow<'a, Pointers> {
        if self.pointers.len() >= Pointer::ALL.len() {
            return Cow::Borrowed(all);
        }
        let wanted = |pointer, text: &Option<String>| {
            let text = text.clone();
            text.filter(|_| self.pointers.contains(&pointer))
        };
        Cow::Owned(Pointers {
            crl: wanted(Pointer::Crl, &all.crl),
            issuer: wanted(Pointer::Issuer, &all.issuer),
        })
    }

    /// Refuses keys that this profile does not take.
    pub(crate) fn accept_key(&self, key: &PublicKey) -> Result<(), Refusal> {
        refuse_ed25519(key.kind(), self.kind)?;
        let taken = |allowed: &KeyKind| match (allowed, key.kind()) {
            (KeyKind::Rsa(least), KeyKind::Rsa(bits)) => bits >= *least,
            (one, other) => *one == other,
        };
        if self.keys.iter().any(taken) {
            return Ok(());
        }
        Err(Refusal::new(format!(
            "the profile {:?} does not take a key of type {}",
            self.name,
            key.kind()
        ))
        .fix(format!("make a key of type {}", self.keys().join(" or "))))
    }

    /// Refuses alternative names that this profile does not let in. The device's own name needs no rule.
    pub(crate) fn accept_sans(&self, sans: &[San], own: &str) -> Result<(), Refusal> {
        let is_own = |san: &San| matches!(san, San::Dns(name) if name == own);
        let lets_in = |san: &San| is_own(san) || self.sans.iter().any(|rule| rule.lets_in(san));
        let Some(other) = sans.iter().find(|san| !lets_in(san)) else {
            return Ok(());
        };
        let fix = if self.sans.is_empty() {
            "ask for no alternative name".to_owned()
        } else {
            format!("ask for names of {} only", self.sans().join(", "))
        };
        let why = format!("the profile {:?} does not let the name {other} in", self.name);
        Err(Refusal::new(why).fix(fix))
    }

    /// Refuses a validity outside the rules. Whole seconds count.
    pub(crate) fn accept_validity(&self, wished: SignedDuration) -> Result<(), Refusal> {
        let words = |duration: SignedDuration| muster_pki::time::format_duration(duration);
        if wished < self.min {
            return Err(
                Refusal::new(format!("a validity of {} is too short", words(wished))).fix(format!(
                    "the profile {:?} gives at least {}",
                    self.name,
                    words(self.min)
                )),
            );
        }
        if wished > self.max {
            return Err(
                Refusal::new(format!("a validity of {} is too long", words(wished))).fix(format!(
                    "the profile {:?} gives at most {}",
                    self.name,
                    words(self.max)
                )),
            );
        }
        Ok(())
    }
}

/// Names of profiles stand in certificates' records, in commands and on pages.
fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=32).contains(&text.len()) && text.bytes().all(allowed)
}

/// What the field's TLS stacks can use; Mbed TLS cannot parse a server certificate with an Ed25519 key at all.
fn built_in_keys(kind: Kind) -> Vec<KeyKind> {
    let least = u16::try_from(*RSA_BITS.start()).unwrap_or(u16::MAX);
    let mut keys = vec![KeyKind::P256, KeyKind::P384, KeyKind::P521, KeyKind::Rsa(least)];
    if kind == Kind::Client {
        keys.push(KeyKind::Ed25519);
    }
    keys
}

fn refuse_ed25519(key: KeyKind, kind: Kind) -> Result<(), Refusal> {
    if key == KeyKind::Ed25519 && kind != Kind::Client {
        return Err(Refusal::new(
            "an Ed25519 key is not accepted for a server: many devices could not connect",
        )
        .fix("make a P-256 key"));
    }
    Ok(())
}

/// Reads every entry of a list that is given into its place; tells of each that cannot be read.
fn read_list<T>(
    texts: &Option<Vec<String>>,
    read: impl Fn(&str) -> Result<T, String>,
    place: &mut Vec<T>,
    mut mistake: impl FnMut(String),
) {
    let Some(texts) = texts else { return };
    place.clear();
    for text in texts {
        match read(text) {
            Ok(entry) => place.push(entry),
            Err(why) => mistake(why),
        }
    }
}

/// Every profile by name: the built-in ones, and those that configuration adds or changes.
#[derive(Debug, Clone)]
pub struct Profiles(BTreeMap<String, Arc<Profile>>);

impl Profiles {
    /// Checks every configured profile; all mistakes are reported at once.
    pub fn new(configured: &BTreeMap<String, RawProfile>) -> Result<Self, Vec<String>> {
        let built_in = [Kind::Client, Kind::Server, Kind::Broker].map(Profile::built_in);
        let mut profiles: BTreeMap<_, _> = built_in
            .into_iter()
            .map(|profile| (profile.name.clone(), Arc::new(profile)))
            .collect();
        let mut mistakes = Vec::new();
        for (name, raw) in configured {
            match Profile::from_raw(name, raw) {
                Ok(profile) => drop(profiles.insert(name.clone(), Arc::new(profile))),
                Err(more) => mistakes.extend(more),
            }
        }
        if mistakes.is_empty() {
            Ok(Self(profiles))
        } else {
            Err(mistakes)
        }
    }

    /// A profile by name.
    pub fn get(&self, name: &str) -> Result<&Arc<Profile>, Refusal> {
        self.0.get(name).ok_or_else(|| {
            let names: Vec<_> = self.0.keys().map(String::as_str).collect();
            Refusal::new(format!("there is no profile {name:?}"))
                .fix(format!("choose one of {}", names.join(", ")))
        })
    }

    /// The profile that an operator names.
    pub(crate) fn named(&self, name: &str) -> Result<&Arc<Profile>, Error> {
        self.get(name).map_err(|why| Error::Missing(why.to_string()))
    }

    /// A profile by the name that a certificate or a token has it by: one of these, or the agents' own.
    pub(crate) fn known(&self, name: &str) -> Result<Arc<Profile>, Refusal> {
        if name == AGENT_PROFILE {
            return Ok(Arc::new(Profile::agent()));
        }
        self.get(name).cloned()
    }

    /// The longest time after its end that any certificate may still be renewed.
    pub(crate) fn longest_grace(&self) -> SignedDuration {
        let graces = self.iter().map(Profile::grace);
        graces.max().unwrap_or_default()
    }

    /// What the authority's own HTTPS listener follows: `server`, always from the default authority, as `step` expects.
    pub(crate) fn listener(&self) -> Result<Profile, Refusal> {
        let server = self.get(Kind::Server.as_str())?;
        Ok(Profile {
            authority: authority::DEFAULT.to_owned(),
            ..Profile::clone(server)
        })
    }

    /// Every profile, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Profile> {
        self.0.values().map(|profile| &**profile)
    }
}
