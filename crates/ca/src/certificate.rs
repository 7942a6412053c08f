//! Certificates as they are recorded.

use jiff::{SignedDuration, Timestamp};
use muster_pki::crl::Reason;

use crate::device::DeviceName;
use crate::enrol::draft::backdate;

/// A serial number: 1 to 20 octets as encoded in DER. The authority draws 18:
///
/// | octets | are |
/// |---|---|
/// | 8 | time: 53 bits of microseconds, and 11 for those that are drawn in the same one |
/// | 2 | the certificate's place among those that renew: see [`plan`](crate::plan) |
/// | 8 | what nobody can guess: 64 bits, as the CA/Browser Forum's Baseline Requirements have it in section 7.1 |
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(Vec<u8>);

impl Serial {
    /// The octets as they stand in a certificate, or as a number without its sign octet.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let start = bytes.iter().position(|byte| *byte != 0)?;
        (bytes.len() - start <= 20).then(|| Self(bytes[start..].to_vec()))
    }

    /// Reads hexadecimal, with or without colons.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        if digits.is_empty() || digits.len() > 42 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let even = if digits.len() % 2 == 1 {
            format!("0{digits}")
        } else {
            digits
        };
        let bytes: Option<Vec<u8>> = (0..even.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&even[at..at + 2], 16).ok())
            .collect();
        Self::from_bytes(&bytes?)
    }

    /// Reads an integer as Go does with base 0: decimal, or with `0x`, `0o`, `0` or `0b` in front; underscores allowed.
    pub fn from_go_integer(text: &str) -> Option<Self> {
        let plain = text.replace('_', "").to_ascii_lowercase();
        let (digits, base) = match plain.as_bytes() {
            [b'0', b'x', ..] => (&plain[2..], 16),
            [b'0', b'o', ..] => (&plain[2..], 8),
            [b'0', b'b', ..] => (&plain[2..], 2),
            [b'0', _, ..] => (&plain[1..], 8),
            _ => (&plain[..], 10),
        };
        // 20 octets have at most 160 binary digits.
        if digits.is_empty() || digits.len() > 160 {
            return None;
        }
        let mut number = [0u8; 21];
        for digit in digits.chars() {
            let mut carry = digit.to_digit(base)?;
            for byte in number.iter_mut().rev() {
                let value = u32::from(*byte) * base + carry;
                *byte = (value & 0xff) as u8;
                carry = value >> 8;
            }
            if carry != 0 {
                return None;
            }
        }
        Self::from_bytes(&number)
    }

    /// What the serial numbers that the authority draws at this moment begin with: 8 octets of time, so that they are in the
    /// order of issue.
    pub fn time_octets(at: Timestamp) -> [u8; 8] {
        let micros = u64::try_from(at.as_microsecond()).unwrap_or(0);
        // 53 bits hold microseconds until 2255; the shift keeps the first octet from being zero.
        (micros << 11).to_be_bytes()
    }

    /// The place of its certificate among those that renew, if the authority drew it.
    pub(crate) fn place(&self) -> Option<u16> {
        let (_, rest) = self.0.split_first_chunk::<8>()?;
        rest.first_chunk().map(|place| u16::from_be_bytes(*place))
    }

    /// When the authority drew it, if it did: what [`Serial::time_octets`] wrote.
    fn drawn(&self) -> Option<Timestamp> {
        let (time, rest) = self.0.split_first_chunk::<8>()?;
        let micros = i64::try_from(u64::from_be_bytes(*time) >> 11).ok()?;
        Timestamp::from_microsecond(micros)
            .ok()
            .filter(|_| !rest.is_empty())
    }

    /// The number's octets, without leading zeros.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Lower-case hexadecimal, two digits an octet.
    pub fn hex(&self) -> String {
        muster_pki::hex(&self.0)
    }

    /// The decimal number, as `step` shows and asks for it.
    pub fn decimal(&self) -> String {
        let mut digits: Vec<u8> = Vec::new();
        for byte in &self.0 {
            let mut carry = u32::from(*byte);
            for digit in &mut digits {
                let value = u32::from(*digit) * 256 + carry;
                *digit = (value % 10) as u8;
                carry = value / 10;
            }
            while carry > 0 {
                digits.push((carry % 10) as u8);
                carry /= 10;
            }
        }
        digits
            .iter()
            .rev()
            .map(|digit| char::from(b'0' + digit))
            .collect()
    }
}

impl std::fmt::Debug for Serial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.hex())
    }
}

impl std::fmt::Display for Serial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.hex())
    }
}

/// Whether a certificate is to be trusted. Expired is derived from the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Nothing speaks against it.
    Active,
    /// On its issuer's CRL; on hold if the reason says so.
    Revoked {
        /// Since when.
        at: Timestamp,
        /// Why.
        reason: Reason,
    },
}

/// One certificate as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its serial number.
    pub serial: Serial,
    /// The authority that issued it, by name.
    pub authority: String,
    /// That authority's generation.
    pub generation: u32,
    /// Whose it is.
    pub device: DeviceName,
    /// The profile it follows.
    pub profile: String,
    /// First moment of validity.
    pub not_before: Timestamp,
    /// Last moment of validity, inclusive.
    pub not_after: Timestamp,
    /// Whether it is to be trusted.
    pub status: Status,
    /// SHA-256 over its SubjectPublicKeyInfo.
    pub key: [u8; 32],
    /// How it was asked for: `operator`, `renewal:` and the serial number of the certificate that was renewed, `listener`, `token:` and the enrolment token's id, or `step:` and the provisioner's name.
    pub how: String,
    /// The certificate, DER.
    pub der: Vec<u8>,
}

impl Certificate {
    /// The id of the enrolment token that it was asked for with.
    pub fn enrolment_token(&self) -> Option<&str> {
        self.how.strip_prefix("token:")
    }

    /// The certificate whose holder renewed and got this one.
    pub(crate) fn renewed_from(&self) -> Option<Serial> {
        self.how.strip_prefix("renewal:").and_then(Serial::from_hex)
    }

    /// When it was issued. Validity is backdated, by an hour at most, in whole seconds; the serial number says when that was.
    pub fn issued(&self) -> Timestamp {
        let backdated = SignedDuration::from_hours(1) + SignedDuration::from_secs(1);
        let drawn = self.serial.drawn();
        let plausible = |at: &Timestamp| (self.not_before..=self.not_before + backdated).contains(at);
        drawn.filter(plausible).unwrap_or(self.not_before)
    }

    /// When it is due for renewal: at two thirds of its life.
    pub fn renewal_due(&self) -> Timestamp {
        renewal_due(self.not_before, self.not_after)
    }

    /// From when on a holder that renews by itself is late: with a quarter of the validity left. Renewals are spread, and all
    /// come before.
    pub fn overdue_since(&self) -> Timestamp {
        self.not_after - self.not_after.duration_since(self.not_before) / 4
    }

    /// How it was asked for, without which token or provisioner it was.
    pub fn way(&self) -> &str {
        self.how.split(':').next().unwrap_or_default()
    }

    /// Not revoked, and within its validity.
    pub fn is_living(&self, now: Timestamp) -> bool {
        self.status == Status::Active && now <= self.not_after
    }
}

/// When a certificate of this validity is due for renewal. The time that it was backdated by does not count.
pub(crate) fn renewal_due(not_before: Timestamp, not_after: Timestamp) -> Timestamp {
    let start = not_before + backdate(not_before, not_after);
    start + not_after.duration_since(start) * 2 / 3
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn serials_are_read_as_go_reads_integers() {
        let hex = |text| Serial::from_go_integer(text).map(|serial| serial.hex());
        assert_eq!(hex("255").unwrap(), "ff");
        assert_eq!(hex("0xff").unwrap(), "ff");
        assert_eq!(hex("0b1_0").unwrap(), "02");
        assert_eq!(hex("0o17").unwrap(), "0f");
        assert_eq!(hex("017").unwrap(), "0f");
        for bad in [
            "",
            "0",
            "0x",
            "12a",
            "-1",
            "08",
            &"9".repeat(60),
            &"9".repeat(1000),
        ] {
            assert_eq!(hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_serial_comes_back_from_its_decimal_form() {
        let serial = Serial::from_hex("33:f0:00:00:00:00:00:00:00:00:00:00:00:00:00:00:01:02").unwrap();
        assert_eq!(Serial::from_go_integer(&serial.decimal()).unwrap(), serial);
        assert_eq!(Serial::from_bytes(&[1, 0]).unwrap().decimal(), "256");
    }
}
