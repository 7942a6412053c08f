//! `muster device access`: where a device may publish, and what it may receive.

use muster_api::client::escape;
use muster_api::types::{DeviceAccess, Done, SetAccess};

use super::Common;
use super::connect::Session;
use super::report::{Exit, Failure, Voice};

#[derive(clap::Args)]
pub(super) struct AccessArgs {
    /// Its name
    name: String,
    /// A topic filter to which it may publish; may be given several times
    #[arg(long, value_name = "FILTER")]
    publish: Vec<String>,
    /// A topic filter that it may receive; may be given several times
    #[arg(long, value_name = "FILTER")]
    subscribe: Vec<String>,
    /// Follow its profile again
    #[arg(long, conflicts_with_all = ["publish", "subscribe"])]
    reset: bool,
    /// Only check
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(common: &Common, voice: Voice, args: AccessArgs) -> Result<Exit, Failure> {
    let path = format!("/devices/{}/access", escape(&args.name));
    let session = Session::start(common).await?.dry_run(args.dry_run);
    if args.publish.is_empty() && args.subscribe.is_empty() && !args.reset {
        let rules: DeviceAccess = session.client.get(&path).await?;
        session.finish().await?;
        voice.data(&in_words(&rules), &rules)?;
        return Ok(Exit::Ok);
    }
    let done: Done = if args.reset {
        session.client.delete(&path).await?
    } else {
        let rules = SetAccess {
            publish: args.publish,
            subscribe: args.subscribe,
        };
        session.client.post(&path, &rules).await?
    };
    session.finish().await?;
    voice.data(voice.done("changed", args.dry_run), &done)?;
    Ok(Exit::Ok)
}

fn in_words(rules: &DeviceAccess) -> String {
    let each = |word: &str, filters: &[String]| {
        let lines: Vec<_> = filters.iter().map(|filter| format!("{word} {filter}")).collect();
        if lines.is_empty() {
            format!("{word} nothing")
        } else {
            lines.join("\n")
        }
    };
    let whose = if rules.own { "its own" } else { "its profile's" };
    format!(
        "{}\n{}\nrules      {whose}",
        each("publish   ", &rules.publish),
        each("subscribe ", &rules.subscribe)
    )
}
