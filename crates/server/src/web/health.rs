//! How a device is, in one line: what lists show as a badge, and its own page as a sentence.

use jiff::{SignedDuration, Timestamp};
use muster_ca::Ca;
use muster_ca::certificate::{Certificate, Status};
use muster_ca::device::{Device, State};

use super::components::{Badge, Mood, When};

/// How a device is, of its state and of its newest certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Health {
    /// Registered, without a certificate.
    Waiting,
    /// Has certificates that live, and may enrol with another key.
    Rearmed,
    /// Its certificate lives and is not due for renewal.
    Healthy(Life),
    /// Its certificate lives, but should have been renewed.
    Overdue(Life),
    /// It has no certificate that lives.
    Expired,
    /// On hold.
    Suspended,
    /// Shut out.
    Revoked,
    /// Out of service.
    Retired,
}

/// What is known of the newest certificate that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Life {
    due: Timestamp,
    until: Timestamp,
    /// Whether the device renews it without anybody's doing.
    by_itself: bool,
}

impl Health {
    /// Of the certificates only those that have not run out matter, newest first.
    pub(crate) fn of(ca: &Ca, device: &Device, certificates: &[Certificate], now: Timestamp) -> Self {
        let newest = certificates
            .iter()
            .filter(|certificate| certificate.is_living(now))
            .max_by_key(|certificate| certificate.not_after);
        match (device.state, newest) {
            (State::Suspended, _) => Self::Suspended,
            (State::Revoked, _) => Self::Revoked,
            (State::Retired, _) => Self::Retired,
            (State::New, None) => Self::Waiting,
            (State::New, Some(_)) => Self::Rearmed,
            (State::Active, None) => Self::Expired,
            (State::Active, Some(newest)) => {
                let life = Life {
                    due: newest.renewal_due(),
                    until: newest.not_after,
                    by_itself: ca.expects_renewal(newest),
                };
                if now > newest.overdue_since() {
                    Self::Overdue(life)
                } else {
                    Self::Healthy(life)
                }
            }
        }
    }

    /// Whether somebody should see to it.
    pub(crate) fn is_trouble(&self) -> bool {
        matches!(self, Self::Overdue(_) | Self::Expired | Self::Suspended)
    }

    /// Until when its newest certificate that lives is good.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Healthy(life) | Self::Overdue(life) => Some(life.until),
            Self::Waiting
            | Self::Rearmed
            | Self::Expired
            | Self::Suspended
            | Self::Revoked
            | Self::Retired => None,
        }
    }

    pub(crate) fn badge(&self) -> Badge {
        match self {
            Self::Waiting => Badge::device(State::New),
            Self::Rearmed => Badge::new(Mood::Quiet, "Re-armed").icon("renew"),
            Self::Healthy(_) => Badge::new(Mood::Good, "Healthy"),
            Self::Overdue(life) if life.by_itself => Badge::new(Mood::Warning, "Renewal overdue"),
            Self::Overdue(_) => Badge::new(Mood::Warning, "Needs renewal"),
            Self::Expired => Badge::new(Mood::Bad, "Expired").icon("clock"),
            Self::Suspended => Badge::device(State::Suspended),
            Self::Revoked => Badge::device(State::Revoked),
            Self::Retired => Badge::device(State::Retired),
        }
    }

    pub(crate) fn mood(&self) -> Mood {
        match self {
            Self::Healthy(_) => Mood::Good,
            Self::Overdue(_) | Self::Suspended => Mood::Warning,
            Self::Expired | Self::Revoked => Mood::Bad,
            Self::Waiting | Self::Rearmed | Self::Retired => Mood::Quiet,
        }
    }

    /// What to know of it, without the name.
    pub(crate) fn words(&self) -> &'static str {
        match self {
            Self::Waiting => "It is registered and has no certificate yet.",
            Self::Rearmed => {
                "It may enrol again with another key. What it has works until then, and is revoked with it."
            }
            Self::Healthy(life) if life.by_itself => "Nobody has to do anything: it renews by itself.",
            Self::Healthy(_) => {
                "It does not renew by itself, as far as is known: give it the next certificate before that."
            }
            Self::Overdue(life) if life.by_itself => {
                "It should have renewed. Look whether it runs and reaches port 9000."
            }
            Self::Overdue(_) => {
                "It does not renew by itself, as far as is known: give it the next certificate now."
            }
            Self::Expired => "It has no certificate that is valid, so brokers refuse it.",
            Self::Suspended => "Its certificates are on hold, and it can neither renew nor enrol.",
            Self::Revoked => "It is shut out, and can neither renew nor enrol until somebody re-arms it.",
            Self::Retired => "It is out of service for good. Its name stays taken.",
        }
    }

    /// The date that matters, for the page's headline.
    pub(crate) fn date(&self, now: Timestamp) -> Option<(&'static str, When)> {
        match self {
            Self::Healthy(life) if !life.by_itself => Some(("Good until", When::date(life.until))),
            Self::Healthy(life) if life.due > now => Some(("Renews", When::relative(life.due, now))),
            Self::Healthy(life) => Some(("Is about to renew; good until", When::date(life.until))),
            Self::Overdue(life) => Some(("Brokers refuse it after", When::long(life.until))),
            Self::Waiting
            | Self::Rearmed
            | Self::Expired
            | Self::Suspended
            | Self::Revoked
            | Self::Retired => None,
        }
    }
}

/// Since when a certificate has its status, if it is revoked or on hold.
pub(crate) fn revoked_since(certificate: &Certificate) -> Option<Timestamp> {
    match certificate.status {
        Status::Active => None,
        Status::Revoked { at, .. } => Some(at),
    }
}

/// Within which time before its end a certificate is looked at in the first place.
pub(crate) const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);
