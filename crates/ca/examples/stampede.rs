//! `scripts/bench stampede`: when a fleet that enrolled within a minute comes back, by the CA's own planner, in simulated time.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and may fail"
)]

use std::collections::HashMap;
use std::process::ExitCode;

use jiff::{SignedDuration, Timestamp};
use muster_ca::certificate::Serial;
use muster_ca::plan::{Life, Places, renew_at};
use muster_pki::key::sha256;

const DEVICES: u64 = 100_000;
const LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// The window is judged in so many equal parts, each of 11.5 minutes; and so is what comes after an outage.
const PARTS: f64 = 1_000.0;
/// Nothing but a certificate takes a place. Of these the fleet has every one, or every second and so on, where others enrol with it: so
/// long, and around the 2,048.
const STRIDES: [std::ops::RangeInclusive<usize>; 2] = [1..=16, 2_047..=2_049];
/// Over this part of its life who is late may be put off: those who were late cannot come back more evenly than over that.
const PUT_OFF: f64 = 0.05;
/// The most that a part may have, by the mean; after an outage by what is then possible, where the parts have fewer each and chance
/// has its part in it.
const MOST: f64 = 1.2;
const MOST_AFTER_OUTAGE: f64 = 1.5;
/// How long after an outage devices try again: the agent's longest pause.
const PAUSE_MS: u64 = 300_000;

struct Device {
    serial: Serial,
    issued: Timestamp,
    slot: Timestamp,
}

/// A number that looks drawn, and is the same in every run.
fn drawn(what: &str, number: u64) -> u64 {
    let digest = sha256(format!("{what} {number}").as_bytes());
    u64::from_be_bytes(digest[..8].try_into().unwrap())
}

impl Device {
    fn life(&self) -> Life<'_> {
        Life {
            serial: &self.serial,
            issued: self.issued,
            ends: self.issued + LIFE,
        }
    }

    fn enrolled(number: u64, place: [u8; 2], begin: Timestamp) -> Self {
        let issued = begin + SignedDuration::from_micros((drawn("when", number) % 60_000_000) as i64);
        let mut bytes = Serial::time_octets(issued).to_vec();
        bytes.extend(place);
        bytes.extend(&sha256(&number.to_be_bytes())[..8]);
        let mut device = Self {
            serial: Serial::from_bytes(&bytes).unwrap(),
            issued,
            slot: issued,
        };
        device.slot = renew_at(device.life(), issued, false);
        device
    }
}

/// A fleet that has every so manieth place, from a place on that nobody has chosen.
fn enrolled(stride: usize, begin: Timestamp) -> Vec<Device> {
    let places = Places::begin_at(drawn("start", stride as u64));
    let every = std::iter::repeat_with(|| places.take()).step_by(stride);
    let devices = (0..DEVICES).zip(every);
    devices
        .map(|(number, place)| Device::enrolled(number, place, begin))
        .collect()
}

fn slots(fleet: &[Device]) -> Vec<Timestamp> {
    fleet.iter().map(|device| device.slot).collect()
}

/// The length of a part.
fn part() -> f64 {
    LIFE.as_secs_f64() * (3.0 / 5.0 - 1.0 / 3.0) / PARTS
}

/// How many come in the fullest part.
fn peak(moments: &[Timestamp]) -> f64 {
    let first = moments.iter().min().unwrap();
    let mut parts: HashMap<u64, u32> = HashMap::new();
    for moment in moments {
        let at = moment.duration_since(*first).as_secs_f64() / part();
        *parts.entry(at as u64).or_default() += 1;
    }
    f64::from(*parts.values().max().unwrap())
}

/// The devices that are late once the CA, which was away for a third of the life, is back: when each renews.
fn after_outage(fleet: &[Device], away: Timestamp) -> Vec<(Timestamp, Timestamp)> {
    let back = away + LIFE / 3;
    let late = fleet.iter().enumerate();
    let late = late.filter(|(_, device)| device.slot >= away && device.slot < back);
    let renews = |(number, device): (usize, &Device)| {
        let again = (drawn("again", number as u64) % PAUSE_MS) as i64;
        let tries = back + SignedDuration::from_millis(again);
        // Who is told a moment that is over renews at once.
        (
            renew_at(device.life(), tries, false).max(tries),
            device.life().ends,
        )
    };
    late.map(renews).collect()
}

fn main() -> ExitCode {
    let begin: Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
    let fleet = enrolled(1, begin);
    let alone = slots(&fleet);
    let usual = DEVICES as f64 / PARTS;
    let strides = STRIDES.into_iter().flatten();
    let peaks = strides.map(|stride| (peak(&slots(&enrolled(stride, begin))) / usual, stride));
    let (peak_over_mean, stride) = peaks.max_by(|(a, _), (b, _)| a.total_cmp(b)).unwrap();
    println!("devices                       {DEVICES}, enrolled within a minute, 30 days each");
    println!(
        "first and last slot           {} .. {}",
        alone.iter().min().unwrap(),
        alone.iter().max().unwrap()
    );
    println!(
        "peak over mean                {:.3}, in thousandths of the window",
        peak(&alone) / usual
    );
    println!(
        "the same with others between  {peak_over_mean:.3} at most: of every {stride} places the fleet has one"
    );
    let (mut expired, mut worst) = (0, 0.0f64);
    // The CA is away for a third of the life, from this part of it on, in per cent.
    for percent in [2, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 58] {
        let late = after_outage(&fleet, begin + LIFE * percent / 100);
        let lost = late.iter().filter(|(renews, ends)| renews >= ends).count();
        let moments: Vec<_> = late.iter().map(|(renews, _)| *renews).collect();
        let possible = late.len() as f64 * part() / (LIFE.as_secs_f64() * PUT_OFF);
        let over = peak(&moments) / possible;
        expired += lost;
        worst = worst.max(over);
        println!(
            "away from {percent:>2} % of the life     {:>6} late, {lost} expired, peak {over:.2} of what is possible, {:.2} of the usual mean",
            late.len(),
            peak(&moments) / usual,
        );
    }
    let json = serde_json::json!({
        "devices": DEVICES, "peak_over_mean": peak_over_mean, "expired": expired, "peak_over_possible_after_outage": worst,
    });
    println!("{json}");
    if peak_over_mean <= MOST && worst <= MOST_AFTER_OUTAGE && expired == 0 {
        return ExitCode::SUCCESS;
    }
    println!("too many at once: at most {MOST} and {MOST_AFTER_OUTAGE} are right, and none expired");
    ExitCode::FAILURE
}
