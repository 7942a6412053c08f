//! `muster ca profile`

use muster_api::types::Profile;

use super::Common;
use super::connect::Session;
use super::list::{self as pages, Paging};
use super::report::{Exit, Failure, Voice, table};

#[derive(clap::Args)]
pub(super) struct ListArgs {
    /// all, client, server or broker
    #[arg(long)]
    kind: Option<String>,
    /// Beginning of a name
    #[arg(long, value_name = "WHAT")]
    search: Option<String>,
    /// name, kind or validity; with - in front the greatest comes first
    #[arg(long, allow_hyphen_values = true)]
    sort: Option<String>,
    #[command(flatten)]
    paging: Paging,
}

pub(super) async fn list(common: &Common, voice: Voice, args: ListArgs) -> Result<Exit, Failure> {
    let session = Session::start(common).await?;
    let wishes = [("kind", &args.kind), ("q", &args.search), ("sort", &args.sort)];
    pages::run(session, voice, "profiles", &wishes, &args.paging, rows).await
}

fn rows(profiles: &[Profile]) -> String {
    let head = [
        "PROFILE",
        "KIND",
        "AUTHORITY",
        "SHORTEST",
        "DEFAULT",
        "LONGEST",
        "GRACE",
        "KEYS",
        "NAMES",
        "POINTERS",
    ];
    let row = |p: &Profile| {
        [
            p.name.clone(),
            p.kind.clone(),
            p.authority.clone(),
            p.min.clone(),
            p.default.clone(),
            p.max.clone(),
            p.grace.clone(),
            p.keys.join(","),
            p.sans.join(","),
            p.pointers.join(","),
        ]
    };
    table(head, profiles.iter().map(row))
}
