//! Lists: what a page of each noun is asked by, and what it answers. Pages follow each other by cursor, both ways, and no
//! page looks at more rows than a bound, however large the fleet.

mod brokers;
mod few;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::certificate::Serial;
use crate::device::{DeviceName, Kind, State, is_reserved};
use crate::error::Error;

pub use self::brokers::{BrokerList, BrokerSort};
pub use self::few::{OperatorList, OperatorSort, ProfileList, ProfileSort, ProvisionerList, ProvisionerSort};

/// The longest page.
pub const MAX_LIMIT: usize = 500;
/// The longest cursor, in characters: a name and a few numbers.
const MAX_CURSOR: usize = 512;
/// So many hexadecimal digits make a fingerprint or the beginning of a serial number; fewer are a name's beginning only.
const LEAST_DIGITS: usize = 8;
/// SHA-256 in hexadecimal.
const MOST_DIGITS: usize = 64;

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows, in the order that was asked for, whichever way the pages go.
    pub items: Vec<T>,
    /// Where the page behind this one begins; `None` at the end.
    pub next: Option<Cursor>,
    /// Where the page before this one begins; `None` at the beginning.
    pub previous: Option<Cursor>,
    /// Whether it ended before it was full, since rows that fit are rare here and it looked at as many as it may. The
    /// cursor of its way looks on from there.
    pub cut_short: bool,
}

impl<T> Page<T> {
    /// The same page of something else.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(change).collect(),
            next: self.next,
            previous: self.previous,
            cut_short: self.cut_short,
        }
    }
}

/// Which page of a list.
#[derive(Debug, Clone, Default)]
pub struct Paging {
    /// Where it begins, as a page before said; `None` for the first.
    pub cursor: Option<Cursor>,
    /// At most so many rows; 1 to [`MAX_LIMIT`].
    pub limit: usize,
}

/// A place between two rows of a list in one order, and which way the page goes from there. Opaque to whoever passes it on;
/// it holds what the row before it shows and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// The order that it belongs to.
    #[serde(rename = "o")]
    pub order: String,
    /// Whether the page lies before the place.
    #[serde(rename = "b")]
    pub back: bool,
    /// The values that the row is sorted by.
    #[serde(rename = "p")]
    pub place: Vec<Part>,
}

/// A value that a row is sorted by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Part {
    /// A moment or a number.
    Number(i64),
    /// A name.
    Text(String),
    /// A serial number.
    Bytes(Vec<u8>),
}

impl Cursor {
    /// Reads what [`Cursor`]'s `Display` wrote.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let read = || {
            let short = (text.len() <= MAX_CURSOR).then_some(text)?;
            let bytes = URL_SAFE_NO_PAD.decode(short).ok()?;
            serde_json::from_slice(&bytes).ok()
        };
        read().ok_or_else(foreign_cursor)
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let json = serde_json::to_vec(self).map_err(|_| std::fmt::Error)?;
        f.write_str(&URL_SAFE_NO_PAD.encode(json))
    }
}

/// What is said to a cursor that no page of this list gave.
pub(crate) fn foreign_cursor() -> Error {
    Error::Bad("this cursor is not one of this list in this order; begin without it".into())
}

/// A stretch of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// From this moment on.
    pub from: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
}

/// Which certificates, as their status is shown; those on hold are among the revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateStatus {
    /// Neither revoked nor expired.
    Active,
    /// Past their last moment, without having been revoked.
    Expired,
    /// Revoked or on hold, expired or not.
    Revoked,
}

/// What certificates can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CertificateSort {
    /// When they were issued, by their serial numbers.
    #[default]
    Issued,
    /// When they run out.
    Expiry,
    /// The device's name.
    Name,
}

/// A page of certificates. What is left out does not narrow it. Muster's own are shown only to who asks for them by name.
#[derive(Debug, Clone, Default)]
pub struct CertificateList {
    /// Of this status at [`CertificateList::now`].
    pub status: Option<CertificateStatus>,
    /// Of this device.
    pub device: Option<DeviceName>,
    /// Following this profile.
    pub profile: Option<String>,
    /// Of this authority.
    pub authority: Option<String>,
    /// Asked for in this way: `operator`, `renewal`, `listener`, `token`, `step`, or one of the last two with what follows
    /// its colon.
    pub how: Option<String>,
    /// Issued then. The hour that validity is backdated by does not count.
    pub issued: Span,
    /// Running out then.
    pub expires: Span,
    /// With this name, serial number or fingerprint.
    pub search: Option<Search>,
    /// The order.
    pub sort: CertificateSort,
    /// Whether the greatest comes first.
    pub descending: bool,
    /// What the status is compared with.
    pub now: Timestamp,
    /// Which page.
    pub paging: Paging,
}

impl CertificateList {
    /// Whether Muster's own certificates are asked for by name.
    pub fn asks_for_own(&self) -> bool {
        let device = self.device.as_ref().is_some_and(DeviceName::is_own);
        let search = self.search.as_ref();
        device || search.is_some_and(|search| is_reserved(&search.prefix))
    }
}

/// What devices can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceSort {
    /// Their name.
    #[default]
    Name,
    /// When they were first recorded.
    Created,
}

/// A page of devices. What is left out does not narrow it. Muster's own are shown only to who asks for them by name.
#[derive(Debug, Clone, Default)]
pub struct DeviceList {
    /// Of this kind.
    pub kind: Option<Kind>,
    /// In this state.
    pub state: Option<State>,
    /// Following this profile.
    pub profile: Option<String>,
    /// Whose name begins so.
    pub prefix: String,
    /// The order.
    pub sort: DeviceSort,
    /// Whether the greatest comes first.
    pub descending: bool,
    /// Which page.
    pub paging: Paging,
}

impl DeviceList {
    /// Whether Muster's own devices are asked for by name.
    pub fn asks_for_own(&self) -> bool {
        is_reserved(&self.prefix)
    }
}

/// Which enrolment tokens, as their status is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenStatus {
    /// Good for another name.
    Open,
    /// Every use is taken.
    UsedUp,
    /// Past its last moment with uses left.
    Expired,
    /// Withdrawn by an operator.
    Withdrawn,
}

/// A page of enrolment tokens, by when they were made. What is left out does not narrow it.
#[derive(Debug, Clone, Default)]
pub struct TokenList {
    /// Of this status at [`TokenList::now`].
    pub status: Option<TokenStatus>,
    /// The one with this id.
    pub id: Option<String>,
    /// For devices that follow this profile.
    pub profile: Option<String>,
    /// Whose id, device or wave begins so.
    pub prefix: String,
    /// Whether the newest come first.
    pub descending: bool,
    /// What the status is compared with.
    pub now: Timestamp,
    /// Which page.
    pub paging: Paging,
}

/// A page of audit entries, in the order of their numbers. What is left out does not narrow it.
#[derive(Debug, Clone, Default)]
pub struct AuditList {
    /// By this one.
    pub actor: Option<String>,
    /// Of this action, such as `device.revoked`.
    pub action: Option<String>,
    /// About this: a device with everything about its certificates, or whatever else an act was about.
    pub subject: Option<String>,
    /// Written then; by the clock of that moment.
    pub at: Span,
    /// Whether the oldest come first.
    pub oldest_first: bool,
    /// Which page.
    pub paging: Paging,
}

/// What somebody typed to find something: the beginning of a name, a serial number (hexadecimal, with or without colons, or
/// its beginning; or decimal), or the beginning of a SHA-256 fingerprint of a certificate or a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// What a name would begin with.
    pub prefix: String,
    /// What a serial number or a fingerprint would begin with.
    pub digits: Option<Digits>,
    /// The serial number that it would be in decimal.
    pub decimal: Option<Serial>,
}

impl Search {
    /// Reads it; `None` if there is nothing to look for.
    pub fn parse(text: &str) -> Option<Self> {
        let prefix = text.trim().to_lowercase();
        if prefix.is_empty() {
            return None;
        }
        let is_decimal = prefix.len() > LEAST_DIGITS && prefix.bytes().all(|byte| byte.is_ascii_digit());
        // Go would take a leading zero for octal.
        let number = prefix.trim_start_matches('0');
        Some(Self {
            digits: Digits::parse(&prefix),
            decimal: is_decimal.then(|| Serial::from_go_integer(number)).flatten(),
            prefix,
        })
    }
}

/// The beginning of something that is shown in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digits(String);

impl Digits {
    fn parse(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        let right = (LEAST_DIGITS..=MOST_DIGITS).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        right.then_some(Self(digits))
    }

    /// The least octets that begin so, however long the others are.
    pub fn least(&self) -> Vec<u8> {
        self.filled('0', self.0.len().div_ceil(2))
    }

    /// The least and the greatest of `length` octets that begin so.
    pub fn range(&self, length: usize) -> (Vec<u8>, Vec<u8>) {
        (self.filled('0', length), self.filled('f', length))
    }

    /// Whether these octets begin so.
    pub fn begin(&self, octets: &[u8]) -> bool {
        let (least, greatest) = self.range(octets.len());
        (&least[..]..=&greatest[..]).contains(&octets) && self.0.len() <= octets.len() * 2
    }

    fn filled(&self, with: char, length: usize) -> Vec<u8> {
        let digits: Vec<u8> = self
            .0
            .chars()
            .chain(std::iter::repeat(with))
            .take(length * 2)
            .filter_map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok()))
            .collect();
        digits
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_anything_else_is_refused() {
        let cursor = Cursor {
            order: "name".into(),
            back: true,
            place: vec![
                Part::Text("a'b%_\"".into()),
                Part::Number(-7),
                Part::Bytes(vec![0, 255]),
            ],
        };
        assert_eq!(Cursor::parse(&cursor.to_string()).unwrap(), cursor);
        for bad in [
            "",
            "-",
            "e30",
            "bnVsbA",
            "W10",
            "x'; DROP TABLE audit",
            &"A".repeat(9_999),
        ] {
            assert!(matches!(Cursor::parse(bad), Err(Error::Bad(_))), "{bad}");
        }
    }

    #[test]
    fn what_is_typed_may_mean_several_things() {
        let search = |text: &str| Search::parse(text).unwrap();
        assert_eq!(Search::parse(" \t"), None);
        let name = search(" Site-001 ");
        assert_eq!(
            (name.prefix.as_str(), name.digits, name.decimal),
            ("site-001", None, None)
        );
        let hex = search("33:F0:00:01:A").digits.unwrap();
        assert_eq!(
            hex.range(6),
            (
                vec![0x33, 0xf0, 0, 1, 0xa0, 0],
                vec![0x33, 0xf0, 0, 1, 0xaf, 0xff]
            )
        );
        assert!(hex.begin(&[0x33, 0xf0, 0, 1, 0xa5, 9]) && !hex.begin(&[0x33, 0xf0, 0, 1, 0xb0, 0]));
        assert!(!hex.begin(&[0x33, 0xf0]));
        let serial = Serial::from_hex("33f0000000000000000000000000000001ff").unwrap();
        assert_eq!(search(&serial.decimal()).decimal, Some(serial));
        assert_eq!(search("1234567").digits, None, "too short to be a fingerprint");
    }
}
