//! Dates, numbers and algorithms as people say them.

use const_oid::ObjectIdentifier;
use const_oid::db::DB;
use const_oid::db::rfc5280::{
    ANY_EXTENDED_KEY_USAGE, ID_KP_CLIENT_AUTH, ID_KP_CODE_SIGNING, ID_KP_EMAIL_PROTECTION,
    ID_KP_OCSP_SIGNING, ID_KP_SERVER_AUTH, ID_KP_TIME_STAMPING,
};
use const_oid::db::rfc5912::{
    ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ECDSA_WITH_SHA_512, ID_RSASSA_PSS, MD_5_WITH_RSA_ENCRYPTION,
    SHA_1_WITH_RSA_ENCRYPTION, SHA_256_WITH_RSA_ENCRYPTION, SHA_384_WITH_RSA_ENCRYPTION,
    SHA_512_WITH_RSA_ENCRYPTION,
};
use const_oid::db::rfc8410::ID_ED_25519;
use jiff::Timestamp;
use x509_cert::name::Name;

/// Longer texts from a certificate are cut: nobody reads on, and one line stays one line.
const MAX_TEXT: usize = 512;

/// Text from a foreign file that can be printed: control characters and those that turn the writing direction become `\u{…}`.
pub(crate) fn clean(text: &str) -> String {
    let mut cleaned = String::new();
    for (count, letter) in text.chars().enumerate() {
        if count == MAX_TEXT {
            cleaned.push('…');
            break;
        }
        if letter.is_control() || turns_direction(letter) {
            cleaned.extend(letter.escape_unicode());
        } else {
            cleaned.push(letter);
        }
    }
    cleaned
}

fn turns_direction(letter: char) -> bool {
    matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}' | '\u{2066}'..='\u{2069}')
}

/// `21 Nov 2027`, in UTC.
pub(crate) fn date(at: Timestamp) -> String {
    // X.509 writes "no end" as the last second of 9999, which is beyond what a time stamp holds.
    if at >= Timestamp::MAX {
        "31 Dec 9999".to_owned()
    } else {
        at.strftime("%-d %b %Y").to_string()
    }
}

/// `21 Nov 2027 04:00 UTC`.
pub(crate) fn moment(at: Timestamp) -> String {
    if at >= Timestamp::MAX {
        date(at)
    } else {
        at.strftime("%-d %b %Y %H:%M UTC").to_string()
    }
}

/// How far `then` is from `now`: `in 365 days`, `in 5 hours`, `3 days ago`.
pub(crate) fn distance(now: Timestamp, then: Timestamp) -> String {
    let seconds = then.as_second().saturating_sub(now.as_second());
    let length = length(seconds.unsigned_abs());
    match seconds.signum() {
        0 => "now".into(),
        -1 => format!("{length} ago"),
        _ => format!("in {length}"),
    }
}

/// A length of time in its largest unit that leaves at least two: `365 days`, `36 hours`, `90 seconds`.
pub(crate) fn length(seconds: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "day"), (3600, "hour"), (60, "minute")];
    let (count, unit) = UNITS
        .into_iter()
        .map(|(size, unit)| (seconds / size, unit))
        .find(|(count, _)| *count >= 2)
        .unwrap_or((seconds, "second"));
    if count == 1 {
        format!("1 {unit}")
    } else {
        format!("{count} {unit}s")
    }
}

/// A big-endian number in base ten, as `step` prints serial numbers.
pub(crate) fn decimal(bytes: &[u8]) -> String {
    let mut digits = vec![0_u8];
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            let value = u32::from(*digit) * 256 + carry;
            *digit = u8::try_from(value % 10).unwrap_or(0);
            carry = value / 10;
        }
        while carry > 0 {
            digits.push(u8::try_from(carry % 10).unwrap_or(0));
            carry /= 10;
        }
    }
    digits
        .iter()
        .rev()
        .map(|digit| char::from(b'0' + digit))
        .collect()
}

/// The whole name in RFC 4514 order, or a word for none.
pub(crate) fn name(name: &Name) -> String {
    if name.is_empty() {
        "(no name)".to_owned()
    } else {
        clean(&name.to_string())
    }
}

/// What one calls the holder of a name: its common name, else the whole name.
pub(crate) fn short_name(whole: &Name) -> String {
    crate::name::first_common_name(whole).map_or_else(|| name(whole), |common| clean(&common))
}

/// An extended key usage as something that its holder may do.
pub(crate) fn usage(oid: ObjectIdentifier) -> String {
    match oid {
        ID_KP_CLIENT_AUTH => "identify itself as a client".to_owned(),
        ID_KP_SERVER_AUTH => "identify itself as a server".to_owned(),
        ID_KP_OCSP_SIGNING => "answer for a CA whether certificates are revoked (OCSP)".to_owned(),
        ID_KP_CODE_SIGNING => "sign programs".to_owned(),
        ID_KP_EMAIL_PROTECTION => "sign and encrypt e-mail".to_owned(),
        ID_KP_TIME_STAMPING => "sign time stamps".to_owned(),
        ANY_EXTENDED_KEY_USAGE => {
            "be used for anything (which OpenSSL does not count as client or server)".to_owned()
        }
        other => format!("be used for {}", object(other)),
    }
}

/// A signature algorithm's customary name.
pub(crate) fn signature(oid: ObjectIdentifier) -> String {
    let known = match oid {
        ECDSA_WITH_SHA_256 => "ECDSA with SHA-256",
        ECDSA_WITH_SHA_384 => "ECDSA with SHA-384",
        ECDSA_WITH_SHA_512 => "ECDSA with SHA-512",
        ID_ED_25519 => "Ed25519",
        SHA_256_WITH_RSA_ENCRYPTION => "RSA with SHA-256",
        SHA_384_WITH_RSA_ENCRYPTION => "RSA with SHA-384",
        SHA_512_WITH_RSA_ENCRYPTION => "RSA with SHA-512",
        ID_RSASSA_PSS => "RSA-PSS",
        SHA_1_WITH_RSA_ENCRYPTION => "RSA with SHA-1",
        MD_5_WITH_RSA_ENCRYPTION => "RSA with MD5",
        other => return object(other),
    };
    known.to_owned()
}

/// Whether forging such a signature is within reach.
pub(crate) fn is_broken_signature(oid: ObjectIdentifier) -> bool {
    const ECDSA_WITH_SHA_1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.1");
    matches!(
        oid,
        SHA_1_WITH_RSA_ENCRYPTION | MD_5_WITH_RSA_ENCRYPTION | ECDSA_WITH_SHA_1
    )
}

/// An object identifier by its registered name where there is one.
pub(crate) fn object(oid: ObjectIdentifier) -> String {
    DB.by_oid(&oid)
        .map_or_else(|| oid.to_string(), |name| format!("{name} ({oid})"))
}

/// A reason code (RFC 5280, section 5.3.1) as the end of "it was revoked …".
pub(crate) fn reason(code: Option<u8>) -> &'static str {
    match code {
        Some(1) => "because somebody else may hold its key",
        Some(2) => "because the CA's key may be known",
        Some(3) => "because its name or owner changed",
        Some(4) => "because a newer certificate took its place",
        Some(5) => "because the device is gone",
        Some(6) => "for the time being (suspended)",
        Some(9) => "because the right to the name was withdrawn",
        Some(10) => "because the attribute authority's key may be known",
        _ => "without a reason given",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn distances_are_said_in_the_largest_fitting_unit() {
        let now: Timestamp = "2026-11-21T04:00:00Z".parse().unwrap();
        for (then, want) in [
            ("2027-11-21T04:00:00Z", "in 365 days"),
            ("2026-11-22T16:00:00Z", "in 36 hours"),
            ("2026-11-21T04:01:30Z", "in 90 seconds"),
            ("2026-11-21T04:00:00Z", "now"),
            ("2026-11-21T04:00:01Z", "in 1 second"),
            ("2026-11-18T04:00:00Z", "3 days ago"),
        ] {
            assert_eq!(distance(now, then.parse().unwrap()), want);
        }
        assert_eq!(date(now), "21 Nov 2026");
        assert_eq!(moment(Timestamp::MAX), "31 Dec 9999");
        assert!(moment(Timestamp::MIN).ends_with(" UTC"));
    }

    #[test]
    fn big_numbers_are_written_in_base_ten() {
        for (bytes, want) in [
            (&[][..], "0"),
            (&[0, 255], "255"),
            (&[1, 0, 0], "65536"),
            (&[0xff; 20], MAX_SERIAL),
        ] {
            assert_eq!(decimal(bytes), want);
        }
        const MAX_SERIAL: &str = "1461501637330902918203684832716283019655932542975";
    }

    #[test]
    fn foreign_text_cannot_drive_a_terminal() {
        assert_eq!(clean("a\u{1b}[2J\nb\u{202e}c"), "a\\u{1b}[2J\\u{a}b\\u{202e}c");
        assert_eq!(clean(&"x".repeat(10_000)).chars().count(), MAX_TEXT + 1);
    }
}
