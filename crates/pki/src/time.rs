//! X.509 time (RFC 5280, section 4.1.2.5): whole seconds, UTCTime until 2049, GeneralizedTime after.

use std::time::Duration;

use der::asn1::{GeneralizedTime, UtcTime};
use jiff::{SignedDuration, Timestamp};
use x509_cert::time::Time;

use crate::Error;

/// Encodes a moment; fractions of a second are cut off. Moments before 1970 or after 9999 are refused.
pub fn to_x509(at: Timestamp) -> Result<Time, Error> {
    let seconds = u64::try_from(at.as_second()).map_err(|_| Error::Encode("time"))?;
    let since_epoch = Duration::from_secs(seconds);
    match UtcTime::from_unix_duration(since_epoch) {
        Ok(utc) => Ok(Time::UtcTime(utc)),
        Err(_) => GeneralizedTime::from_unix_duration(since_epoch)
            .map(Time::GeneralTime)
            .map_err(|_| Error::Encode("time")),
    }
}

/// Reads an encoded moment.
pub fn from_x509(time: Time) -> Timestamp {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

/// The longest duration that is read: a hundred years.
const LONGEST: i64 = 100 * 366 * 24 * 3600;

/// Reads a duration: decimal numbers each with a unit, as Go writes them (`1h30m`, `1.5h`, `-5m`; `ns`, `us`, `µs`,
/// `ms`, `s`, `m`, `h`), and with the units that operators think in: `d` and `w`.
pub fn parse_duration(text: &str) -> Result<SignedDuration, Error> {
    let bad = || {
        Error::malformed(
            "duration",
            format!("{:?}; write it like 30d, 12h or 1h30m", shorten(text)),
        )
    };
    let (sign, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (if text.starts_with('-') { -1.0 } else { 1.0 }, rest),
        None => (1.0, text),
    };
    if rest == "0" {
        return Ok(SignedDuration::ZERO);
    }
    if rest.is_empty() || rest.len() > 64 {
        return Err(bad());
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(bad)?;
        let number: f64 = rest[..digits].parse().map_err(|_| bad())?;
        let (unit, after) = UNITS
            .iter()
            .find_map(|(name, unit)| rest[digits..].strip_prefix(name).map(|after| (unit, after)))
            .ok_or_else(bad)?;
        seconds += number * unit;
        rest = after;
    }
    if seconds > LONGEST as f64 {
        return Err(Error::malformed("duration", "it is more than a hundred years"));
    }
    SignedDuration::try_from_secs_f64(sign * seconds).map_err(|_| bad())
}

/// Units and their seconds; those that begin like another come first.
const UNITS: [(&str, f64); 9] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("w", 604_800.0),
    ("d", 86_400.0),
    ("h", 3600.0),
    ("m", 60.0),
    ("s", 1.0),
];

/// Writes a duration for people: `30d`, `1d12h`, `5m`, `10s`.
pub fn format_duration(duration: SignedDuration) -> String {
    let mut seconds = duration.as_secs().unsigned_abs();
    let mut text = if duration.is_negative() {
        "-".to_owned()
    } else {
        String::new()
    };
    for (unit, size) in [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)] {
        if seconds / size > 0 {
            text.push_str(&format!("{}{unit}", seconds / size));
        }
        seconds %= size;
    }
    if text.is_empty() || text == "-" {
        "0s".to_owned()
    } else {
        text
    }
}

/// Writes a duration as Go does, which `step` insists on: `720h0m0s`, `5m0s`, `10s`.
pub fn format_go_duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().unsigned_abs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let sign = if duration.is_negative() { "-" } else { "" };
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, _) => format!("{sign}{minutes}m{seconds}s"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, seconds, people, go) in [
            ("30d", 2_592_000, "30d", "720h0m0s"),
            ("1h30m", 5400, "1h30m", "1h30m0s"),
            ("1.5h", 5400, "1h30m", "1h30m0s"),
            ("-5m", -300, "-5m", "-5m0s"),
            ("2w", 1_209_600, "14d", "336h0m0s"),
            ("0", 0, "0s", "0s"),
            ("10s", 10, "10s", "10s"),
        ] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(duration.as_secs(), seconds, "{text}");
            assert_eq!(
                (
                    format_duration(duration).as_str(),
                    format_go_duration(duration).as_str()
                ),
                (people, go)
            );
        }
        for bad in ["", "-", "5", "h", "5x", "1..5h", "99999999999999h", "5 m", "é"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
