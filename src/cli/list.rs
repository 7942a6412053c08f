//! Lists: a page as a table or JSON, or everything that fits as CSV.

use std::io::Write;

use muster_api::Client;
use muster_api::client::escape;
use muster_api::types::Page;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::connect::Session;
use super::report::{Exit, Failure, Voice};

/// Options of every list.
#[derive(clap::Args)]
pub(super) struct Paging {
    /// At most so many rows; 1 to 500
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Continue there (the `next` or `previous` of a page)
    #[arg(long)]
    cursor: Option<String>,
    /// Print everything that fits as CSV, instead of a page
    #[arg(long)]
    csv: bool,
}

/// The parameters of a list that were given.
pub(super) type Wishes<'a> = &'a [(&'a str, &'a Option<String>)];

/// Every row of a short list, page by page.
pub(super) async fn whole<T: DeserializeOwned>(client: &Client, noun: &str) -> Result<Vec<T>, Failure> {
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let paging = Paging {
            limit: 500,
            cursor,
            csv: false,
        };
        let page: Page<T> = client.get(&path(noun, &[], &paging)).await?;
        all.extend(page.items);
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(all),
        }
    }
}

/// Asks for a list and prints it.
pub(super) async fn run<T: Serialize + DeserializeOwned>(
    session: Session,
    voice: Voice,
    noun: &str,
    wishes: Wishes<'_>,
    paging: &Paging,
    rows: impl FnOnce(&[T]) -> String,
) -> Result<Exit, Failure> {
    let path = path(noun, wishes, paging);
    if paging.csv {
        print(&session.client, &format!("{path}&format=csv")).await?;
        session.finish().await?;
        return Ok(Exit::Ok);
    }
    let page: Page<T> = session.client.get(&path).await?;
    session.finish().await?;
    voice.data(&rows(&page.items), &page)?;
    if let Some(next) = &page.next {
        let so_far = if page.cut_short {
            "Not all was looked at"
        } else {
            "There are more"
        };
        voice.say(&format!("{so_far}: add --cursor {next}"));
    }
    Ok(Exit::Ok)
}

fn path(noun: &str, wishes: Wishes<'_>, paging: &Paging) -> String {
    let mut path = format!("/{noun}?limit={}", paging.limit);
    let cursor = ("cursor", &paging.cursor);
    for (key, value) in wishes.iter().chain(std::iter::once(&cursor)) {
        if let Some(value) = value {
            path.push_str(&format!("&{key}={}", escape(value)));
        }
    }
    path
}

/// Prints an answer as it comes.
async fn print(client: &Client, path: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let mut hung_up = false;
    let printed = client
        .download(path, |piece| {
            let written = out.write_all(piece);
            hung_up = matches!(&written, Err(why) if why.kind() == std::io::ErrorKind::BrokenPipe);
            written
        })
        .await;
    // `muster … | head` is no failure.
    if hung_up { Ok(()) } else { Ok(printed?) }
}
