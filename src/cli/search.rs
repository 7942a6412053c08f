//! `muster search`

use muster_api::client::escape;
use muster_api::types::Found;

use super::connect::Session;
use super::report::{Exit, Failure, Voice};
use super::{Common, cert, device};

#[derive(clap::Args)]
pub(super) struct SearchArgs {
    /// Beginning of a name, a serial number, or the beginning of a fingerprint of a certificate or key
    what: String,
    /// At most so many devices and so many certificates; 1 to 50
    #[arg(long, default_value_t = 10)]
    limit: usize,
}

pub(super) async fn run(common: &Common, voice: Voice, args: SearchArgs) -> Result<Exit, Failure> {
    let session = Session::start(common).await?;
    let path = format!("/search?q={}&limit={}", escape(&args.what), args.limit);
    let found: Found = session.client.get(&path).await?;
    session.finish().await?;
    if found.devices.is_empty() && found.certificates.is_empty() {
        voice.data("", &found)?;
        voice.say("Nothing has this name, serial number or fingerprint.");
        return Ok(Exit::Missing);
    }
    let mut tables = Vec::new();
    if !found.devices.is_empty() {
        tables.push(device::rows(&found.devices));
    }
    if !found.certificates.is_empty() {
        tables.push(cert::rows(&found.certificates));
    }
    voice.data(&tables.join("\n\n"), &found)?;
    Ok(Exit::Ok)
}
