//! Charts: SVG from the server, and the same as a table for whoever cannot see it.
//!
//! Every size is an attribute, since the content security policy allows no style in a page.

use askama::Template;
use askama::filters::HtmlSafe;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use muster_ca::queries::ExpiryDay;

/// What runs out on each of some days, from today on: what is renewed by itself, and above it what needs somebody.
#[derive(Template)]
#[template(path = "components/days.html")]
pub(crate) struct Days {
    label: String,
    /// What a day's link begins with.
    path: String,
    days: Vec<Day>,
    marks: Vec<Mark>,
    step: u32,
    gap: u32,
    every: usize,
}

impl HtmlSafe for Days {}

/// The two parts of a bar, from below.
const PARTS: [&str; 2] = ["renew by themselves", "need you"];

struct Day {
    /// `23 Nov`.
    name: String,
    by_itself: u64,
    needs_you: u64,
    /// The end of its link: its first moment and the next day's.
    link: String,
    x: u32,
    low: u32,
    high: u32,
}

impl Day {
    fn is_any(&self) -> bool {
        self.by_itself + self.needs_you > 0
    }
}

/// A line of the scale.
struct Mark {
    y: u32,
    count: u64,
}

/// The drawing's measures; `days.html` has the rest of them.
const LEFT: u32 = 44;
const WIDTH: u32 = 720;
const TOP: u32 = 12;
const HEIGHT: u32 = 160;

impl Days {
    /// `label` says what is counted; a day's link is `path` and the day as the filter of the list of certificates.
    pub(crate) fn new(label: &str, path: &str, counts: &[ExpiryDay]) -> Self {
        let most = counts.iter().map(|day| day.by_itself + day.needs_you).max();
        let top = round_up(most.unwrap_or(0));
        let tall = |count: u64| {
            let exact = u128::from(count) * u128::from(HEIGHT) / u128::from(top);
            let height = u32::try_from(exact).unwrap_or(HEIGHT);
            if count > 0 { height.max(2) } else { 0 }
        };
        let step = (WIDTH / u32::try_from(counts.len().max(1)).unwrap_or(WIDTH)).max(4);
        let days = counts.iter().zip(0..).map(|(day, place)| Day {
            name: date(day.day, "%-d %b"),
            by_itself: day.by_itself,
            needs_you: day.needs_you,
            link: format!(
                "expires_from={}&expires_until={}",
                date(day.day, "%Y-%m-%d"),
                date(day.day + 1, "%Y-%m-%d")
            ),
            x: LEFT + place * step,
            low: tall(day.by_itself),
            high: tall(day.needs_you),
        });
        let marks = [0, top / 2, top].map(|count| Mark {
            y: TOP + HEIGHT - tall(count),
            count,
        });
        Self {
            label: label.to_owned(),
            path: path.to_owned(),
            days: days.collect(),
            marks: marks.into(),
            step,
            gap: if step > 12 { 3 } else { 1 },
            every: counts.len().div_ceil(7).max(1),
        }
    }

    fn width(&self) -> u32 {
        LEFT + u32::try_from(self.days.len()).unwrap_or(0) * self.step + 4
    }
}

/// A day since 1970 in a form of strftime.
fn date(day: i64, form: &str) -> String {
    let at = Timestamp::from_second(day * DAY).unwrap_or_default();
    at.to_zoned(TimeZone::UTC).strftime(form).to_string()
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
    /// `Nov 2031`.
    end: String,
    x: i64,
    width: i64,
    y: usize,
}

/// Where the scale begins and ends in the drawing.
const SCALE: (i64, i64) = (150, 740);
const LANE: usize = 42;
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
                    end: lane.to.to_zoned(TimeZone::UTC).strftime("%b %Y").to_string(),
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

/// The year of a moment.
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
        let day = |by_itself, needs_you| ExpiryDay {
            day: now.as_second() / DAY,
            by_itself,
            needs_you,
        };
        let drawn = Days::new("Certificates", "/certificates?", &[day(0, 0), day(12, 3)]).to_string();
        let row = "expires_from=2030-06-01&#38;expires_until=2030-06-02\">1 Jun</a></td><td data-label=\"renew by themselves\">12</td><td data-label=\"need you\">3</td>";
        assert!(drawn.contains(row), "{drawn}");
        assert_eq!(drawn.matches("class=\"bar").count(), 2, "{drawn}");
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
