//! A moment: how far away it is, and on hovering or for a program exactly when.

use askama::Template;
use askama::filters::HtmlSafe;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// See the module.
#[derive(Template, Debug, Clone)]
#[template(
    source = r#"<time datetime="{{ at }}" title="{{ exact }}">{{ words }}</time>"#,
    ext = "html"
)]
pub(crate) struct When {
    at: String,
    exact: String,
    words: String,
}

impl HtmlSafe for When {}

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const DAY: i64 = 86_400;

impl When {
    /// `in 3 days`, `2 hours ago`.
    pub(crate) fn relative(at: Timestamp, now: Timestamp) -> Self {
        let seconds = at.as_second() - now.as_second();
        let size = span(seconds.abs());
        Self {
            words: if seconds.abs() < MINUTE {
                "now".into()
            } else if seconds < 0 {
                format!("{size} ago")
            } else {
                format!("in {size}")
            },
            ..Self::date(at)
        }
    }

    /// `in 3 days`, to stand in a sentence that is text alone.
    pub(crate) fn words(at: Timestamp, now: Timestamp) -> String {
        Self::relative(at, now).words
    }

    /// `23:40 UTC` of a moment of today, else `14 Mar 2029, 23:40 UTC`, to stand in a sentence that is text alone.
    pub(crate) fn clock(at: Timestamp, now: Timestamp) -> String {
        let day = |at: Timestamp| at.to_zoned(TimeZone::UTC).date();
        let form = if day(at) == day(now) {
            "%H:%M UTC"
        } else {
            "%-d %b %Y, %H:%M UTC"
        };
        Self::as_words(at, form).words
    }

    /// `14 Mar 2029, 23:40`, of UTC.
    pub(crate) fn minute(at: Timestamp) -> Self {
        Self::as_words(at, "%-d %b %Y, %H:%M")
    }

    /// `14 Mar 2029`.
    pub(crate) fn date(at: Timestamp) -> Self {
        Self::as_words(at, "%-d %b %Y")
    }

    /// `Monday 23 November 2026, 23:40 UTC`.
    pub(crate) fn long(at: Timestamp) -> Self {
        Self::as_words(at, "%A %-d %B %Y, %H:%M UTC")
    }

    fn as_words(at: Timestamp, form: &str) -> Self {
        let utc = at.to_zoned(TimeZone::UTC);
        Self {
            at: Timestamp::from_second(at.as_second()).unwrap_or(at).to_string(),
            exact: utc.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
            words: utc.strftime(form).to_string(),
        }
    }
}

/// How long something lasts, to the second: `365 days`, `1 day 12 hours`.
pub(crate) fn lasting(duration: SignedDuration) -> String {
    let mut seconds = duration.as_secs();
    let mut words = Vec::new();
    for (length, unit) in [(DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"), (1, "second")] {
        let count = seconds / length;
        seconds %= length;
        if count > 0 {
            words.push(format!("{count} {unit}{}", if count == 1 { "" } else { "s" }));
        }
    }
    words.join(" ")
}

/// How long, in the one unit that says it best: the largest of which there are two, or minutes. Rounded as people do: 30 days
/// less a minute are 30 days.
fn span(seconds: i64) -> String {
    let units = [
        (365 * DAY, "year"),
        (30 * DAY, "month"),
        (DAY, "day"),
        (HOUR, "hour"),
    ];
    let nearest = |length: i64| (seconds + length / 2) / length;
    // A little less than two is two.
    let fits = units
        .into_iter()
        .find(|(length, _)| seconds + length / 48 >= 2 * length);
    let (length, unit) = match fits {
        None if nearest(MINUTE) >= 60 => (HOUR, "hour"),
        None => (MINUTE, "minute"),
        Some((_, "month")) if nearest(30 * DAY) == 12 => (365 * DAY, "year"),
        Some(fits) => fits,
    };
    let count = nearest(length);
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn words_are_short_and_the_moment_is_exact() {
        let now: Timestamp = "2030-06-01T12:00:00Z".parse().unwrap();
        let words = |text: &str| When::words(text.parse().unwrap(), now);
        assert_eq!(words("2030-06-01T12:00:30Z"), "now");
        assert_eq!(words("2030-06-01T13:00:00Z"), "in 1 hour");
        assert_eq!(words("2030-05-29T12:00:00Z"), "3 days ago");
        assert_eq!(words("2035-06-01T12:00:00Z"), "in 5 years");
        assert_eq!(words("2030-07-01T11:59:00Z"), "in 30 days");
        assert_eq!(words("2030-06-01T12:59:50Z"), "in 1 hour");
        assert_eq!(words("2030-06-03T11:30:00Z"), "in 2 days");
        assert_eq!(words("2031-06-01T11:00:00Z"), "in 1 year");
        assert_eq!(words("2030-05-31T11:00:00Z"), "25 hours ago");
        assert_eq!(lasting(SignedDuration::from_hours(36)), "1 day 12 hours");
        assert_eq!(lasting(SignedDuration::from_secs(300)), "5 minutes");
        assert_eq!(
            When::date(now).to_string(),
            r#"<time datetime="2030-06-01T12:00:00Z" title="2030-06-01 12:00:00 UTC">1 Jun 2030</time>"#
        );
    }
}
