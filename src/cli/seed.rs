//! `muster seed`: a made-up fleet, to measure at its size.

use indicatif::{ProgressBar, ProgressStyle};

use super::Common;
use super::report::{Exit, Failure, Voice};
use crate::assemble::{self, Size};

#[derive(clap::Args)]
#[command(
    after_help = "Nothing of it can be used: its certificates' signatures are zeros, nobody has the keys or the secrets.

Example:
  muster init --yes --data big && muster seed --data big && muster up --data big"
)]
pub(super) struct SeedArgs {
    /// Certificates
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    certificates: u64,
    /// Devices they belong to
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    devices: u64,
    /// Only say what would be made
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(common: &Common, voice: Voice, args: &SeedArgs) -> Result<Exit, Failure> {
    let size = Size {
        certificates: args.certificates,
        devices: args.devices,
    };
    let bar = progress(voice);
    let seeded = assemble::seed(&common.data, size, args.dry_run, |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    });
    seeded.await?;
    bar.finish_and_clear();
    let fleet = format!("{} certificates of {} devices", size.certificates, size.devices);
    let data = common.data.display();
    let text = if args.dry_run {
        format!("Would make {fleet} in {data}. Nothing was changed.")
    } else {
        format!("{data} has {fleet}")
    };
    let json = serde_json::json!({ "certificates": size.certificates, "devices": size.devices });
    voice.data(&text, &json)?;
    Ok(Exit::Ok)
}

fn progress(voice: Voice) -> ProgressBar {
    if voice.quiet {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len}  {per_sec}  {eta} left");
    ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
