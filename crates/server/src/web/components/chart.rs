//! Charts: SVG from the server, and the same as a table for whoever cannot see it.
//!
//! Every size is an attribute, since the content security policy allows no style in a page.

use askama::Template;
use askama::filters::HtmlSafe;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// How many things happen on each of some days, from today on.
#[derive(Template)]
#[template(path = "components/days.html")]
pub(crate) struct Days {
    label: String,
    unit: &'static str,
    days: Vec<Day>,
    marks: Vec<Mark>,
}

impl HtmlSafe for Days {}

struct Day {
    /// `23 Nov`.
    name: String,
    count: u64,
    x: u32,
    y: u32,
    height: u32,
}

/// A line of the scale.
struct Mark {
    y: u32,
    count: u64,
}

/// The drawing's measures; `days.html` has the rest of them.
const LEFT: u32 = 44;
const STEP: u32 = 23;
const TOP: u32 = 12;
const HEIGHT: u32 = 160;

impl Days {
    /// `label` says what is counted, `unit` one of them in the plural.
    pub(crate) fn new(label: &str, unit: &'static str, counts: &[u64], now: Timestamp) -> Self {
        let top = round_up(counts.iter().copied().max().unwrap_or(0));
        let tall = |count: u64| {
            let exact = u128::from(count) * u128::from(HEIGHT) / u128::from(top);
            let height = u32::try_from(exact).unwrap_or(HEIGHT);
            if count > 0 { height.max(2) } else { 0 }
        };
        let days = counts.iter().zip(0..).map(|(count, place)| {
            let at = now + SignedDuration::from_hours(24) * place;
            Day {
                name: at.to_zoned(TimeZone::UTC).strftime("%-d %b").to_string(),
                count: *count,
                x: LEFT + place.unsigned_abs() * STEP,
                y: TOP + HEIGHT - tall(*count),
                height: tall(*count),
            }
        });
        let marks = [0, top / 2, top].map(|count| Mark {
            y: TOP + HEIGHT - tall(count),
            count,
        });
        Self {
            label: label.to_owned(),
            unit,
            days: days.collect(),
            marks: marks.into(),
        }
    }

    fn width(&self) -> u32 {
        LEFT + u32::try_from(self.days.len()).unwrap_or(0) * STEP + 4
    }
}

/// The next number that divides a scale well: 2, 4, 10, 20, 40, 100, …
fn round_up(most: u64) -> u64 {
    let mut step = 1u64;
    loop {
        for digit in [2, 4, 10] {
            if step.saturating_mul(digit) >= most {
                return step.saturating_mul(digit);
            }
        }
        step = step.saturating_mul(10);
    }
}

/// When things are valid, each on a line of its own, on one scale of years.
#[derive(Template)]
#[template(path = "components/lanes.html")]
pub(crate) struct Lanes {
    label: String,
    lanes: Vec<Drawn>,
    years: Vec<(i64, i16)>,
    now: i64,
}

impl HtmlSafe for Lanes {}

/// One line.
pub(crate) struct Lane {
    /// What it is.
    pub(crate) name: String,
    /// What is said about it.
    pub(crate) note: String,
    /// `in use`, or how it is drawn otherwise: `quiet`, `next`.
    pub(crate) class: &'static str,
    /// From when to when it is valid.
    pub(crate) from: Timestamp,
    /// See `from`.
    pub(crate) to: Timestamp,
}

struct Drawn {
    name: String,
    note: String,
    class: &'static str,
    from: String,
    to: String,
    x: i64,
    width: i64,
    y: usize,
}

/// Where the scale begins and ends in the drawing.
const SCALE: (i64, i64) = (150, 740);
const LANE: usize = 38;
const DAY: i64 = 86_400;

impl Lanes {
    pub(crate) fn new(label: &str, lanes: Vec<Lane>, now: Timestamp) -> Self {
        let first = lanes.iter().map(|lane| lane.from).min().unwrap_or(now);
        let last = lanes.iter().map(|lane| lane.to).max().unwrap_or(now);
        let (first, last) = (first.as_second() - 100 * DAY, last.as_second() + 100 * DAY);
        let x = |second: i64| SCALE.0 + (second - first) * (SCALE.1 - SCALE.0) / (last - first).max(1);
        let date = |at: Timestamp| at.to_zoned(TimeZone::UTC).strftime("%-d %b %Y").to_string();
        let (begin, end) = (year(first), year(last));
        let every = ((end - begin) / 6).max(1);
        let years = (begin + 1..=end)
            .filter(|year| (year - begin - 1) % every == 0)
            .filter_map(|year| Some((x(new_year(year)?), year)));
        Self {
            label: label.to_owned(),
            years: years.collect(),
            now: x(now.as_second()),
            lanes: lanes
                .into_iter()
                .enumerate()
                .map(|(row, lane)| Drawn {
                    from: date(lane.from),
                    to: date(lane.to),
                    x: x(lane.from.as_second()),
                    width: (x(lane.to.as_second()) - x(lane.from.as_second())).max(3),
                    y: 8 + row * LANE,
                    name: lane.name,
                    note: lane.note,
                    class: lane.class,
                })
                .collect(),
        }
    }

    fn height(&self) -> usize {
        self.lanes.len() * LANE + 8
    }
}

fn year(second: i64) -> i16 {
    let at = Timestamp::from_second(second).unwrap_or_default();
    at.to_zoned(TimeZone::UTC).year()
}

fn new_year(year: i16) -> Option<i64> {
    let date = jiff::civil::Date::new(year, 1, 1).ok()?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn a_scale_ends_at_a_round_number() {
        let tops = [0, 1, 2, 3, 5, 80, 101, 999, 1_000_001].map(round_up);
        assert_eq!(tops, [2, 2, 2, 4, 10, 100, 200, 1000, 2_000_000]);
        assert!(round_up(u64::MAX) == u64::MAX);
    }

    #[test]
    fn what_is_drawn_stands_in_the_table_too() {
        let now: Timestamp = "2030-06-01T12:00:00Z".parse().unwrap();
        let drawn = Days::new("Certificates", "certificates", &[0, 3, 12], now).to_string();
        assert!(drawn.contains("<td>2 Jun</td><td>3</td>"), "{drawn}");
        assert!(drawn.contains("role=\"img\""));
        let lane = Lane {
            name: "Root".into(),
            note: "20 years".into(),
            class: "quiet",
            from: "2026-01-01T00:00:00Z".parse().unwrap(),
            to: "2046-01-01T00:00:00Z".parse().unwrap(),
        };
        let drawn = Lanes::new("Lifetimes", vec![lane], now).to_string();
        assert!(
            drawn.contains("<td>Root</td>") && drawn.contains("1 Jan 2046"),
            "{drawn}"
        );
    }
}
