//! `muster gate`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use muster_agent::beside::gate::{Settings, run};
use muster_agent::cli::stopped;

use super::report::{Exit, Failure, Voice};
use crate::real;

#[derive(clap::Args)]
#[command(
    after_help = "Example, beside the agent of a broker that was added with --program gate:
  muster gate --listen 0.0.0.0:8883 --to 127.0.0.1:1883"
)]
pub(super) struct GateArgs {
    /// Where the agent brings its files
    #[arg(long, value_name = "DIR", default_value = "/etc/gate/muster")]
    dir: PathBuf,
    /// Where devices connect
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8883")]
    listen: SocketAddr,
    /// Where the broker listens without TLS
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:1883")]
    to: String,
    /// Tell the broker who connects from where: PROXY protocol version 2 with the certificate's name
    #[arg(long)]
    proxy_protocol: bool,
    /// The most connections at once; others wait
    #[arg(long, default_value_t = 20_000)]
    max_connections: usize,
}

pub(super) async fn start(voice: Voice, args: GateArgs) -> Result<Exit, Failure> {
    let to = args.to.clone();
    let settings = Settings {
        dir: args.dir,
        listen: args.listen,
        to: args.to,
        proxy_protocol: args.proxy_protocol,
        most: args.max_connections,
    };
    let ready = |address| voice.say(&format!("Devices connect to {address}, and reach {to}."));
    run(settings, Arc::new(real::now), ready, stopped()?)
        .await
        .map_err(|why| Failure::failed(why.0))?;
    voice.say("Stopped. Every session has ended.");
    Ok(Exit::Ok)
}
