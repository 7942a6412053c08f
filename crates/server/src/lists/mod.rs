//! The words in which lists are asked for, wherever they are: `status=active&sort=-expiry&q=site-`.

mod few;
mod nouns;
pub(crate) mod rows;

use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use muster_ca::Error;
use muster_ca::device::{DeviceName, Kind, State};
use muster_ca::list::{
    AuditList, CertificateList, CertificateSort, CertificateStatus, Cursor, DeviceList, DeviceSort,
    MAX_LIMIT, Paging, Search, Span, TokenList, TokenStatus,
};
use muster_pki::time::parse_duration;
use schemars::JsonSchema;
use serde::Deserialize;

pub(crate) use self::few::{BrokerQuery, OperatorQuery, ProfileQuery, ProvisionerQuery};
pub(crate) use self::nouns::Listing;

/// The length of a page when nobody says.
const LIMIT: usize = 100;

/// Which certificates.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CertificateQuery {
    /// `all`, `active`, `expired` or `revoked`.
    pub(crate) status: Option<String>,
    /// Only active ones that run out within this time, such as `7d`.
    pub(crate) expires_within: Option<String>,
    /// Of this device.
    pub(crate) device: Option<String>,
    /// Following this profile.
    pub(crate) profile: Option<String>,
    /// Of this authority.
    pub(crate) authority: Option<String>,
    /// `operator`, `renewal`, `listener`, `token`, `step`, or one of the last two with `:` and which.
    pub(crate) how: Option<String>,
    /// Issued at this moment or day or later.
    pub(crate) issued_from: Option<String>,
    /// Issued before this moment or day.
    pub(crate) issued_until: Option<String>,
    /// Running out at this moment or day or later.
    pub(crate) expires_from: Option<String>,
    /// Running out before this moment or day.
    pub(crate) expires_until: Option<String>,
    /// The beginning of a name, a serial number or the beginning of a fingerprint.
    pub(crate) q: Option<String>,
    /// `issued`, `expiry` or `name`; with `-` in front the greatest comes first.
    pub(crate) sort: Option<String>,
    /// How many rows.
    pub(crate) limit: Option<usize>,
    /// Where the page begins.
    pub(crate) cursor: Option<String>,
    /// `json`, `jsonl` or `csv`.
    pub(crate) format: Option<String>,
}

impl CertificateQuery {
    fn wish(&self, now: Timestamp) -> Result<CertificateList, Error> {
        let mut status = choice(&self.status, "status", &CERTIFICATE_STATUSES)?;
        let mut expires = span(&self.expires_from, &self.expires_until)?;
        let within = given(&self.expires_within).map(parse_duration).transpose()?;
        if let Some(within) = within {
            status = Some(CertificateStatus::Active);
            let end = now.checked_add(within).unwrap_or(Timestamp::MAX);
            expires.until = Some(expires.until.unwrap_or(end).min(end));
        }
        // What runs out next, and what ran out last, is what somebody wants to see of these.
        let usual = match status {
            Some(CertificateStatus::Active) if within.is_some() => "expiry",
            Some(CertificateStatus::Expired) => "-expiry",
            Some(CertificateStatus::Active | CertificateStatus::Revoked) | None => "-issued",
        };
        let (sort, descending) = order(&self.sort, usual, &CERTIFICATE_SORTS)?;
        Ok(CertificateList {
            status,
            device: given(&self.device).map(|name| DeviceName::restored(name.to_owned())),
            profile: given(&self.profile).map(str::to_owned),
            authority: given(&self.authority).map(str::to_owned),
            how: given(&self.how).map(str::to_owned),
            issued: span(&self.issued_from, &self.issued_until)?,
            expires,
            search: given(&self.q).and_then(Search::parse),
            sort,
            descending,
            now,
            paging: paging(&self.cursor, self.limit)?,
        })
    }
}

const CERTIFICATE_STATUSES: [(&str, CertificateStatus); 3] = [
    ("active", CertificateStatus::Active),
    ("expired", CertificateStatus::Expired),
    ("revoked", CertificateStatus::Revoked),
];
const CERTIFICATE_SORTS: [(&str, CertificateSort); 3] = [
    ("issued", CertificateSort::Issued),
    ("expiry", CertificateSort::Expiry),
    ("name", CertificateSort::Name),
];

/// Which devices.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DeviceQuery {
    /// `all`, `client`, `server` or `broker`.
    pub(crate) kind: Option<String>,
    /// `all`, `new`, `active`, `suspended`, `revoked` or `retired`.
    pub(crate) state: Option<String>,
    /// Following this profile.
    pub(crate) profile: Option<String>,
    /// The beginning of a name.
    pub(crate) q: Option<String>,
    /// `name` or `created`; with `-` in front the greatest comes first.
    pub(crate) sort: Option<String>,
    /// How many rows.
    pub(crate) limit: Option<usize>,
    /// Where the page begins.
    pub(crate) cursor: Option<String>,
    /// `json`, `jsonl` or `csv`.
    pub(crate) format: Option<String>,
}

impl DeviceQuery {
    fn wish(&self) -> Result<DeviceList, Error> {
        let (sort, descending) = order(&self.sort, "name", &DEVICE_SORTS)?;
        Ok(DeviceList {
            kind: choice(&self.kind, "kind", &Kind::ALL.map(|(kind, word)| (word, kind)))?,
            state: choice(
                &self.state,
                "state",
                &State::ALL.map(|(state, word)| (word, state)),
            )?,
            profile: given(&self.profile).map(str::to_owned),
            prefix: prefix(&self.q),
            sort,
            descending,
            paging: paging(&self.cursor, self.limit)?,
        })
    }
}

const DEVICE_SORTS: [(&str, DeviceSort); 2] = [("name", DeviceSort::Name), ("created", DeviceSort::Created)];

/// Which enrolment tokens.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TokenQuery {
    /// `all`, `open`, `used-up`, `expired` or `withdrawn`.
    pub(crate) status: Option<String>,
    /// For devices that follow this profile.
    pub(crate) profile: Option<String>,
    /// The beginning of an id, of a device's name or of a wave's.
    pub(crate) q: Option<String>,
    /// `created`; with `-` in front the newest come first.
    pub(crate) sort: Option<String>,
    /// How many rows.
    pub(crate) limit: Option<usize>,
    /// Where the page begins.
    pub(crate) cursor: Option<String>,
    /// `json`, `jsonl` or `csv`.
    pub(crate) format: Option<String>,
}

impl TokenQuery {
    fn wish(&self, now: Timestamp) -> Result<TokenList, Error> {
        let ((), descending) = order(&self.sort, "-created", &[("created", ())])?;
        Ok(TokenList {
            status: choice(&self.status, "status", &TOKEN_STATUSES)?,
            id: None,
            profile: given(&self.profile).map(str::to_owned),
            // Waves are called as somebody liked.
            prefix: given(&self.q).unwrap_or_default().trim().to_owned(),
            descending,
            now,
            paging: paging(&self.cursor, self.limit)?,
        })
    }
}

const TOKEN_STATUSES: [(&str, TokenStatus); 4] = [
    ("open", TokenStatus::Open),
    ("used-up", TokenStatus::UsedUp),
    ("expired", TokenStatus::Expired),
    ("withdrawn", TokenStatus::Withdrawn),
];

/// Which audit entries.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AuditQuery {
    /// By this one.
    pub(crate) actor: Option<String>,
    /// Of this action, such as `device.revoked`.
    pub(crate) action: Option<String>,
    /// About this device, or whatever else an act was about.
    pub(crate) subject: Option<String>,
    /// At this moment or day or later.
    pub(crate) from: Option<String>,
    /// Before this moment or day.
    pub(crate) until: Option<String>,
    /// `at`; with `-` in front, as when nothing is said, the newest come first.
    pub(crate) sort: Option<String>,
    /// How many rows.
    pub(crate) limit: Option<usize>,
    /// Where the page begins.
    pub(crate) cursor: Option<String>,
    /// `json`, `jsonl` or `csv`.
    pub(crate) format: Option<String>,
}

impl AuditQuery {
    fn wish(&self) -> Result<AuditList, Error> {
        let ((), newest_first) = order(&self.sort, "-at", &[("at", ())])?;
        Ok(AuditList {
            oldest_first: !newest_first,
            actor: given(&self.actor).map(str::to_owned),
            action: given(&self.action).map(str::to_owned),
            subject: given(&self.subject).map(str::to_owned),
            at: span(&self.from, &self.until)?,
            paging: paging(&self.cursor, self.limit)?,
        })
    }
}

/// A form sends what was not filled in as an empty text.
fn given(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

/// Names have lower-case letters, whatever was typed.
fn prefix(q: &Option<String>) -> String {
    given(q).unwrap_or_default().trim().to_lowercase()
}

fn paging(cursor: &Option<String>, limit: Option<usize>) -> Result<Paging, Error> {
    let limit = limit.unwrap_or(LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Error::Bad(format!(
            "a page has 1 to {MAX_LIMIT} rows, not {limit}"
        )));
    }
    Ok(Paging {
        cursor: given(cursor).map(Cursor::parse).transpose()?,
        limit,
    })
}

fn choice<T: Copy>(text: &Option<String>, what: &str, words: &[(&str, T)]) -> Result<Option<T>, Error> {
    let Some(text) = given(text).filter(|text| *text != "all") else {
        return Ok(None);
    };
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| Some(*value)).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        Error::Bad(format!("{text:?} is no {what}: all, {}", words.join(", ")))
    })
}

fn order<T: Copy>(text: &Option<String>, usual: &str, words: &[(&str, T)]) -> Result<(T, bool), Error> {
    let text = given(text).unwrap_or(usual);
    let (word, descending) = text.strip_prefix('-').map_or((text, false), |word| (word, true));
    let found = words.iter().find(|(known, _)| *known == word);
    found.map(|(_, value)| (*value, descending)).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        Error::Bad(format!(
            "nothing is sorted by {text:?}: {}; put - in front to turn it round",
            words.join(", ")
        ))
    })
}

fn span(from: &Option<String>, until: &Option<String>) -> Result<Span, Error> {
    Ok(Span {
        from: given(from).map(moment).transpose()?,
        until: given(until).map(moment).transpose()?,
    })
}

/// A moment (RFC 3339), or a day, which begins at midnight UTC.
fn moment(text: &str) -> Result<Timestamp, Error> {
    let day = || Date::from_str(text).and_then(|day| day.to_zoned(TimeZone::UTC));
    Timestamp::from_str(text)
        .or_else(|_| day().map(|zoned| zoned.timestamp()))
        .map_err(|_| {
            Error::Bad(format!(
                "{text:?} is no time: write it like 2030-06-01 or 2030-06-01T12:00:00Z"
            ))
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn what_is_asked_for_decides_the_usual_order() {
        let now: Timestamp = "2030-06-01T12:00:00Z".parse().unwrap();
        let order = |status: &str, within: &str, sort: &str| {
            let query = CertificateQuery {
                status: Some(status.into()),
                expires_within: Some(within.into()),
                sort: Some(sort.into()),
                ..CertificateQuery::default()
            };
            let list = query.wish(now).unwrap();
            (list.sort, list.descending)
        };
        assert_eq!(order("", "", ""), (CertificateSort::Issued, true));
        assert_eq!(order("expired", "", ""), (CertificateSort::Expiry, true));
        assert_eq!(order("", "7d", ""), (CertificateSort::Expiry, false));
        assert_eq!(order("expired", "", "name"), (CertificateSort::Name, false));
    }

    #[test]
    fn mistakes_are_told_with_what_would_do() {
        let said = |query: CertificateQuery| query.wish(Timestamp::UNIX_EPOCH).unwrap_err().to_string();
        let text = |text: &str| Some(text.to_owned());
        let query = CertificateQuery::default;
        assert!(
            said(CertificateQuery {
                status: text("lost"),
                ..query()
            })
            .contains("all, active, expired, revoked")
        );
        assert!(
            said(CertificateQuery {
                sort: text("--name"),
                ..query()
            })
            .contains("issued, expiry, name")
        );
        assert!(
            said(CertificateQuery {
                limit: Some(501),
                ..query()
            })
            .contains("1 to 500")
        );
        assert!(
            said(CertificateQuery {
                limit: Some(0),
                ..query()
            })
            .contains("1 to 500")
        );
        assert!(
            said(CertificateQuery {
                issued_from: text("yesterday"),
                ..query()
            })
            .contains("2030-06-01")
        );
        assert!(
            said(CertificateQuery {
                cursor: text("AAAA"),
                ..query()
            })
            .contains("cursor")
        );
    }

    #[test]
    fn a_day_begins_at_midnight() {
        assert_eq!(moment("2030-06-01").unwrap().to_string(), "2030-06-01T00:00:00Z");
        assert_eq!(
            moment("2030-06-01T12:00:00+02:00").unwrap().to_string(),
            "2030-06-01T10:00:00Z"
        );
    }
}
