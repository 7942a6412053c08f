//! `scripts/bench stampede`: when a fleet that enrolled within a minute comes back, by the CA's own planner, in simulated time.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and may fail"
)]

use jiff::{SignedDuration, Timestamp};
use muster_ca::certificate::Serial;
use muster_ca::plan::{Life, renew_at};
use muster_pki::key::sha256;

const DEVICES: u64 = 100_000;
const LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// The window is judged in so many equal parts.
const PARTS: usize = 1_000;
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

    fn enrolled(number: u64, begin: Timestamp) -> Self {
        let issued = begin + SignedDuration::from_micros((drawn("when", number) % 60_000_000) as i64);
        let mut bytes = Serial::drawn_at(issued, number).to_vec();
        bytes.extend(&sha256(&number.to_be_bytes())[..10]);
        let mut device = Self {
            serial: Serial::from_bytes(&bytes).unwrap(),
            issued,
            slot: issued,
        };
        device.slot = renew_at(device.life(), issued, false);
        device
    }
}

/// The fullest part in parts of the mean.
fn peak_over_mean(slots: &[Timestamp]) -> f64 {
    let (first, last) = (slots.iter().min().unwrap(), slots.iter().max().unwrap());
    let whole = last.duration_since(*first).as_secs_f64();
    let mut parts = vec![0u32; PARTS];
    for slot in slots {
        let at = slot.duration_since(*first).as_secs_f64() / whole;
        parts[((at * PARTS as f64) as usize).min(PARTS - 1)] += 1;
    }
    f64::from(*parts.iter().max().unwrap()) * PARTS as f64 / slots.len() as f64
}

fn main() {
    let begin: Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
    let fleet: Vec<Device> = (0..DEVICES)
        .map(|number| Device::enrolled(number, begin))
        .collect();
    let slots: Vec<Timestamp> = fleet.iter().map(|device| device.slot).collect();
    let peak = peak_over_mean(&slots);
    println!("devices                       {DEVICES}, enrolled within a minute, 30 days each");
    println!(
        "first and last slot           {} .. {}",
        slots.iter().min().unwrap(),
        slots.iter().max().unwrap()
    );
    println!("peak over mean                {peak:.3}, in thousandths of the window");
    let (mut expired, mut worst) = (0, 0.0f64);
    for tenth in 0..=9 {
        // The CA is away for a third of the life, from this part of it on.
        let away = begin + LIFE * tenth / 15;
        let back = away + LIFE / 3;
        let late: Vec<_> = fleet
            .iter()
            .enumerate()
            .filter(|(_, device)| device.slot >= away && device.slot < back)
            .collect();
        let replanned: Vec<Timestamp> = late
            .iter()
            .map(|(number, device)| {
                let tries =
                    back + SignedDuration::from_millis((drawn("again", *number as u64) % PAUSE_MS) as i64);
                renew_at(device.life(), tries, false)
            })
            .collect();
        let lost = late
            .iter()
            .zip(&replanned)
            .filter(|((_, device), slot)| **slot >= device.life().ends)
            .count();
        expired += lost;
        let peak = if replanned.len() > PARTS {
            peak_over_mean(&replanned)
        } else {
            0.0
        };
        worst = worst.max(peak);
        println!(
            "away from {:>4.1} % of the life   {:>6} late, {lost} expired, peak over mean {peak:.2}",
            f64::from(tenth) / 0.15,
            late.len()
        );
    }
    let json = serde_json::json!({
        "devices": DEVICES, "peak_over_mean": peak, "expired": expired, "peak_over_mean_after_outage": worst,
    });
    println!("{json}");
}
