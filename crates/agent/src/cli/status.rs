//! `muster agent status`: how it stands with a device, in words or as JSON.

use std::path::Path;

use jiff::SignedDuration;
use muster_pki::time::format_duration;
use serde_json::{Value, json};

use super::{Exit, Failure, Voice};
use crate::Clock;
use crate::device::look::Look;
use crate::device::settings::{read_pending, read_settings};

/// Says it; ends with 5 if somebody is needed.
pub(super) fn status(voice: Voice, clock: &Clock, dir: &Path) -> Result<Exit, Failure> {
    let Some(settings) = read_settings(dir)? else {
        return Err(nobody(dir)?);
    };
    let look = Look::take(dir, &settings, clock)?;
    voice.data(&text(&look), &json(&look))?;
    Ok(if look.is_well() { Exit::Ok } else { Exit::Attention })
}

fn nobody(dir: &Path) -> Result<Failure, Failure> {
    Ok(match read_pending(dir)? {
        Some(pending) => Failure::new(
            Exit::Attention,
            format!("{} has not ended enrolling", pending.name),
        )
        .fix("run the line of muster token create again"),
        None => Failure::new(
            Exit::Missing,
            format!("no device has enrolled in {}", dir.display()),
        )
        .fix("at the CA: muster token create NAME; it prints the line to run here"),
    })
}

fn text(look: &Look) -> String {
    let until = look.not_after.map_or("-".to_owned(), |until| until.to_string());
    let renewal = match look.renew_at {
        Some(at) => format!("{at:.0}"),
        None => "not planned: muster agent run asks the CA".to_owned(),
    };
    let problem = look.problem.as_deref().unwrap_or("none");
    let mut lines = vec![
        format!("device    {}", look.name),
        format!("until     {until}"),
        format!("renewal   {renewal}"),
        format!("problem   {problem}"),
    ];
    lines.extend(look.clock_off().map(clock_words));
    lines.extend(look.last_time.map(|last| {
        format!("last-time {last}: the CA has vouched for this, and it is later than it seems to be now; the CA is asked again")
    }));
    lines.join("\n")
}

/// How far off the clock is, and what that means.
fn clock_words(ahead: i64) -> String {
    let by = format_duration(SignedDuration::from_secs(ahead).abs());
    let way = if ahead > 0 { "ahead of" } else { "behind" };
    format!(
        "clock     {by} {way} the CA's: this agent allows for it, and other programs here believe no certificate until it is set"
    )
}

fn json(look: &Look) -> Value {
    json!({
        "name": look.name, "not_after": look.not_after, "renew_at": look.renew_at, "problem": look.problem,
        "clock_ahead": look.clock_ahead, "at": look.at, "last_time": look.last_time,
    })
}
