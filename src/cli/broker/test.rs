//! `muster broker test`: a listener, tried as everybody does who must not get in.

use std::sync::Arc;
use std::time::Duration;

use muster_agent::beside::listener::Listener;
use muster_agent::beside::trial::{self, Outcome, Papers, Trial};
use muster_api::Client;
use muster_api::agent::Request;
use muster_api::types::{Authority, Done, Trials};
use muster_ca::authority::INTERNAL;
use muster_ca::ports::Entropy;
use muster_pki::cert::Certificate;
use muster_pki::csr::Csr;
use muster_pki::explain::{self, Purpose, VerifyInput};
use muster_pki::key::{KeyKind, PrivateKey};
use muster_pki::pem;

use crate::cli::Common;
use crate::cli::connect::Session;
use crate::cli::inspect::fetch;
use crate::cli::report::{Exit, Failure, Voice, table};
use crate::real::{self, SystemEntropy};

#[derive(clap::Args)]
pub(in crate::cli) struct TestArgs {
    /// The listener, HOST:PORT, under the name that devices use
    listener: String,
    /// How long the broker may take to refuse what was revoked, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    wait: u64,
}

pub(super) async fn run(common: &Common, voice: Voice, args: TestArgs) -> Result<Exit, Failure> {
    let bad = || Failure::usage(format!("{:?} is no HOST:PORT", args.listener));
    let (host, port) = args.listener.rsplit_once(':').ok_or_else(bad)?;
    let port = port.parse().map_err(|_| bad())?;
    let listener = Listener::new(&args.listener);
    let plain = trial::without_tls(&listener).await;
    let plain = plain.map_err(|why| Failure::failed(why.0))?;
    if plain.outcome == Outcome::Wrong {
        return tell(voice, &[plain]);
    }
    let chain = fetch(host, port).await?;
    let session = Session::start(common).await?;
    let key = SystemEntropy
        .private_key(KeyKind::P256)
        .map_err(muster_ca::Error::from)?;
    let csr = pem::encode(pem::CSR, &Csr::build("muster-canary", &[], &key)?)?;
    let given: Trials = session.client.post("/trials", &Request { csr }).await?;
    let mut all = vec![plain, server(&chain, &given, host)];
    let cas = cas(&session.client).await?;
    let (papers, serial) = papers(&given, key, cas)?;
    // What it shows is judged above; here it only has to stay the same.
    let shown = Certificate::all_from_pem(&chain)?;
    listener.pin(&shown.iter().take(1).collect::<Vec<_>>());
    let revoke = || async {
        let path = format!("/trials/{serial}/revoke");
        let done: Result<Done, _> = session.client.post(&path, &serde_json::json!({})).await;
        done.map(drop).map_err(muster_agent::Error::from)
    };
    let patience = Duration::from_secs(args.wait);
    let clock: muster_agent::Clock = Arc::new(real::now);
    let tried = trial::run(&listener, &papers, revoke, patience, &clock).await;
    session.finish().await?;
    all.extend(tried.map_err(|why| Failure::failed(why.0))?);
    tell(voice, &all)
}

/// Whether clients that check it and have the root would believe the broker.
fn server(chain: &str, given: &Trials, host: &str) -> Trial {
    let verdict = explain::verify(&VerifyInput {
        leaf_chain: chain.as_bytes(),
        trust_anchors: given.root.as_bytes(),
        crls: &[],
        purpose: Some(Purpose::Server),
        host: Some(host.trim_matches(['[', ']'])),
        now: real::now(),
    });
    let (outcome, words) = if verdict.ok {
        (
            Outcome::Held,
            "the broker's certificate is good for this name".to_owned(),
        )
    } else {
        let text = verdict.to_string();
        (
            Outcome::Wrong,
            text.lines().map(str::trim).collect::<Vec<_>>().join("; "),
        )
    };
    Trial {
        whom: "a client that checks",
        outcome,
        words,
    }
}

/// The subjects of the CAs that a broker may trust.
async fn cas(client: &Client) -> Result<Vec<Vec<u8>>, Failure> {
    let all: Vec<Authority> = client.get("/authorities").await?;
    let fleet = all.iter().filter(|authority| authority.name != INTERNAL);
    let living = fleet
        .flat_map(|authority| &authority.generations)
        .filter(|one| one.stage != "retired");
    let mut subjects = Vec::new();
    for generation in living {
        for certificate in Certificate::all_from_pem(&generation.pem)? {
            subjects.push(certificate.subject()?);
        }
    }
    Ok(subjects)
}

/// The certificates by what they are there for, and the serial number of the one that can be revoked.
fn papers(given: &Trials, key: PrivateKey, cas: Vec<Vec<u8>>) -> Result<(Papers, String), Failure> {
    let find = |what: &str| {
        let found = given.certificates.iter().find(|one| one.what == what);
        found.ok_or_else(|| {
            Failure::failed(format!(
                "the CA gave no certificate {what:?}; it may be an older version"
            ))
        })
    };
    let parsed = |text: &str| {
        let mut all = Certificate::all_from_pem(text)?;
        let first = (!all.is_empty()).then(|| all.swap_remove(0));
        first.ok_or_else(|| Failure::failed("the CA gave an empty certificate"))
    };
    let one = |what: &str| parsed(&find(what)?.pem);
    let papers = Papers {
        key,
        cas,
        issuing: parsed(&given.issuing)?,
        good: one("good")?,
        other: one("other")?,
        expired: one("expired")?,
        early: one("early")?,
        server: one("server")?,
        revocable: one("revocable")?,
    };
    Ok((papers, find("revocable")?.serial.clone()))
}

fn tell(voice: Voice, all: &[Trial]) -> Result<Exit, Failure> {
    let row = |trial: &Trial| {
        let word = match trial.outcome {
            Outcome::Held => "ok",
            Outcome::Wrong => "WRONG",
            Outcome::NotTried => "not tried",
        };
        [word.to_owned(), trial.whom.to_owned(), trial.words.clone()]
    };
    let head = ["RESULT", "AS", "WHAT HAPPENED"];
    voice.data(
        &table(head, all.iter().map(row)),
        &serde_json::json!({ "trials": all }),
    )?;
    let wrong = all.iter().filter(|trial| trial.outcome == Outcome::Wrong).count();
    let open: Vec<_> = all
        .iter()
        .filter(|trial| trial.leaves_open())
        .map(|trial| trial.whom)
        .collect();
    voice.say(&match wrong {
        0 if open.is_empty() => "The listener holds.".to_owned(),
        0 => format!(
            "Nothing wrong was seen, but this could not be tried, so whether the listener holds is open: {}.",
            open.join(", ")
        ),
        1 => "1 thing is wrong. To find its line: muster broker lint FILE".to_owned(),
        more => format!("{more} things are wrong. To find their lines: muster broker lint FILE"),
    });
    Ok(if wrong == 0 && open.is_empty() {
        Exit::Ok
    } else {
        Exit::Attention
    })
}
