//! `notBefore` and `notAfter`: empty, RFC 3339, or a Go duration.

use jiff::Timestamp;
use muster_pki::time::parse_duration;

use super::error::Failure;

/// The wished first and last moment. A relative end counts from the wished start, else from now.
pub(super) fn read(
    not_before: &str,
    not_after: &str,
    now: Timestamp,
) -> Result<(Option<Timestamp>, Option<Timestamp>), Failure> {
    let start = moment("notBefore", not_before, now)?;
    let end = moment("notAfter", not_after, start.unwrap_or(now))?;
    Ok((start, end))
}

fn moment(name: &str, text: &str, from: Timestamp) -> Result<Option<Timestamp>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    if let Ok(at) = text.parse() {
        return Ok(Some(at));
    }
    let duration = parse_duration(text).map_err(|why| Failure::bad(format!("invalid {name}: {why}")))?;
    let at = from
        .checked_add(duration)
        .map_err(|_| Failure::bad(format!("invalid {name}: it is beyond all calendars")))?;
    Ok(Some(at))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn times_are_read_as_step_writes_them() {
        let now: Timestamp = "2026-05-01T12:00:00Z".parse().unwrap();
        let end = |start, end| read(start, end, now).map(|(_, end)| end.map(|at| at.to_string()));
        assert_eq!(end("", "").unwrap(), None);
        assert_eq!(end("", "1h").unwrap().unwrap(), "2026-05-01T13:00:00Z");
        assert_eq!(end("1h", "1h30m").unwrap().unwrap(), "2026-05-01T14:30:00Z");
        assert_eq!(end("-5m", "1h").unwrap().unwrap(), "2026-05-01T12:55:00Z");
        assert_eq!(
            end("", "2026-05-02T14:00:00.5+02:00").unwrap().unwrap(),
            "2026-05-02T12:00:00.5Z"
        );
        for bad in ["tomorrow", "1", "2026-05-02", "99999999h", "2026-05-02T14:00:00"] {
            assert!(end("", bad).is_err(), "{bad}");
        }
    }

    /// Whatever is sent, whenever, is a time or refused.
    #[test]
    fn any_text_as_a_time() {
        bolero::check!()
            .with_type::<(String, String, i64)>()
            .for_each(|(start, end, now)| {
                let now = Timestamp::from_second(*now % 253_402_207_200).unwrap();
                let _ = read(start, end, now);
                for relative in [
                    "-99999h",
                    "876000h",
                    "0",
                    "1ns",
                    "9999-12-30T22:00:00Z",
                    "-009999-01-02T01:59:59Z",
                ] {
                    let _ = read(relative, end, now);
                    let _ = read(start, relative, now);
                    let _ = read(relative, relative, now);
                }
            });
    }
}
