//! X.509 time (RFC 5280, section 4.1.2.5): whole seconds, UTCTime until 2049, GeneralizedTime after.

use std::time::Duration;

use der::asn1::{GeneralizedTime, UtcTime};
use jiff::Timestamp;
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
