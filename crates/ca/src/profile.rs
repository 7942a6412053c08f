//! Profiles: the validated rules of what may be issued.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use muster_pki::cert::Usages;
use muster_pki::key::{KeyKind, PublicKey};
use muster_pki::time::parse_duration;
use serde::Deserialize;

use crate::authority;
use crate::device::Kind;
use crate::error::Refusal;

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
    /// The authority that issues, by name.
    pub authority: Option<String>,
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
}

impl Profile {
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
        }
    }

    fn from_raw(name: &str, raw: &RawProfile) -> Result<Self, Vec<String>> {
        let mut mistakes = Vec::new();
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

    /// Whether certificates may be renewed.
    pub fn renewable(&self) -> bool {
        self.renewable
    }

    /// Refuses keys that this profile does not take.
    pub(crate) fn accept_key(&self, key: &PublicKey) -> Result<(), Refusal> {
        // Mbed TLS cannot parse a server certificate with an Ed25519 key at all.
        if key.kind() == KeyKind::Ed25519 && self.kind != Kind::Client {
            return Err(Refusal::new(
                "an Ed25519 key is not accepted for a server: many devices could not connect",
            )
            .fix("make a P-256 key"));
        }
        Ok(())
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

/// Every profile by name: the built-in ones, and those that configuration adds or changes.
#[derive(Debug, Clone)]
pub struct Profiles(BTreeMap<String, Profile>);

impl Profiles {
    /// Checks every configured profile; all mistakes are reported at once.
    pub fn new(configured: &BTreeMap<String, RawProfile>) -> Result<Self, Vec<String>> {
        let built_in = [Kind::Client, Kind::Server, Kind::Broker].map(Profile::built_in);
        let mut profiles: BTreeMap<_, _> = built_in
            .into_iter()
            .map(|profile| (profile.name.clone(), profile))
            .collect();
        let mut mistakes = Vec::new();
        for (name, raw) in configured {
            match Profile::from_raw(name, raw) {
                Ok(profile) => drop(profiles.insert(name.clone(), profile)),
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
    pub fn get(&self, name: &str) -> Result<&Profile, Refusal> {
        self.0.get(name).ok_or_else(|| {
            let names: Vec<_> = self.0.keys().map(String::as_str).collect();
            Refusal::new(format!("there is no profile {name:?}"))
                .fix(format!("choose one of {}", names.join(", ")))
        })
    }

    /// The longest time after its end that any certificate may still be renewed.
    pub(crate) fn longest_grace(&self) -> SignedDuration {
        let graces = self.0.values().map(Profile::grace);
        graces.max().unwrap_or_default()
    }

    /// What the authority's own HTTPS listener follows: `server`, always from the default authority, as `step` expects.
    pub(crate) fn listener(&self) -> Result<Profile, Refusal> {
        let server = self.get(Kind::Server.as_str())?;
        Ok(Profile {
            authority: authority::DEFAULT.to_owned(),
            ..server.clone()
        })
    }

    /// Every profile, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Profile> {
        self.0.values()
    }
}
