//! `muster broker`

mod config;
mod lint;
mod run;
mod test;

use std::path::PathBuf;

pub(super) use config::headed;

use clap::Subcommand;
use muster_api::agent::Join;
use muster_api::client::escape;
use muster_api::types::{ActRequest, AddBroker, Broker, Done, JoinBroker};

use super::connect::Session;
use super::list::Paging;
use super::report::{Exit, Failure, Voice, table};
use super::{Common, list as pages};
use crate::config::{Config, Flags};
use crate::secret::write_private;

#[derive(Subcommand)]
pub(super) enum BrokerCommand {
    /// Register a broker, and write what the agent beside it joins with
    #[command(after_help = "Example:
  muster broker add mqtt.example.org --program mosquitto --san 10.0.0.5
  scp mqtt.example.org.join hub:            # then, beside the broker:
  muster broker run mqtt.example.org --join mqtt.example.org.join")]
    Add {
        /// Its name, which is also a DNS name of its certificate if it is one
        name: String,
        /// mosquitto, rabbitmq, emqx, haproxy or gate
        #[arg(long, default_value = "mosquitto")]
        program: String,
        /// server, broker (it also connects to others), or a configured profile
        #[arg(long, default_value = "server", visible_alias = "profile")]
        kind: String,
        /// More names for its certificate
        #[arg(long = "san", value_delimiter = ',')]
        sans: Vec<String>,
        #[command(flatten)]
        join: JoinArgs,
    },
    /// Run the agent beside a broker until stopped
    #[command(after_help = "Example:
  muster broker run mqtt.example.org --print-config > /etc/mosquitto/conf.d/muster.conf
  muster broker run mqtt.example.org --join mqtt.example.org.join --group mosquitto")]
    Run(run::RunArgs),
    /// Print a complete configuration for a broker, a bridge or a proxy
    #[command(after_help = "Example:
  muster broker config mosquitto mqtt.example.org
  muster broker config bridge site-001 --broker mqtt.example.org")]
    Config(config::ConfigArgs),
    /// Find what is dangerous in a broker's configuration
    #[command(after_help = "Example:
  muster broker lint /etc/mosquitto/conf.d/*.conf
  muster broker lint /etc/rabbitmq/rabbitmq.conf /etc/rabbitmq/advanced.config

Exit code 5 if a line is dangerous")]
    Lint(lint::LintArgs),
    /// Try a broker's listener as everybody who must not get in, and as one who must
    #[command(after_help = "Example:
  muster broker test mqtt.example.org:8883

It asks the CA for certificates with reserved names that live for ten minutes. Exit code 5 if the listener lets in
who must not get in, or keeps out who must.")]
    Test(test::TestArgs),
    /// List brokers: what each enforces, since when, and what is wrong; what needs somebody comes first
    #[command(
        after_help = "Exit code 5 if one that is shown is not proven, or something is wrong there; --csv does not judge"
    )]
    List(ListArgs),
    /// Let a broker's agent join again: its machine was lost, or its key
    Join {
        /// The broker's name
        name: String,
        #[command(flatten)]
        join: JoinArgs,
    },
    /// Take a broker out of service: no revocation waits for it any more
    Retire {
        /// The broker's name
        name: String,
        /// Words for the audit log
        #[arg(long, default_value = "")]
        note: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(clap::Args)]
pub(super) struct ListArgs {
    /// all, proven, unconfirmed, silent, waiting or retired
    #[arg(long)]
    state: Option<String>,
    /// all, mosquitto, rabbitmq, emqx, haproxy or gate
    #[arg(long)]
    program: Option<String>,
    /// Beginning of a name
    #[arg(long, value_name = "WHAT")]
    search: Option<String>,
    /// state, name, proof, certificate, crl, sessions or created; with - in front it is turned round
    #[arg(long, allow_hyphen_values = true)]
    sort: Option<String>,
    #[command(flatten)]
    paging: Paging,
}

#[derive(clap::Args)]
pub(super) struct JoinArgs {
    /// Where to write it; NAME.join unless said
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The address under which the agent reaches the CA, such as https://ca.example.org:9000
    #[arg(long, value_name = "URL")]
    ca_url: Option<String>,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

impl BrokerCommand {
    /// Whether it stays, as a server does.
    pub(super) fn stays(&self) -> bool {
        matches!(self, Self::Run(_))
    }
}

pub(super) async fn run(common: &Common, voice: Voice, command: BrokerCommand) -> Result<Exit, Failure> {
    match command {
        BrokerCommand::Add {
            name,
            program,
            kind,
            sans,
            join,
        } => {
            let request = AddBroker {
                name: name.clone(),
                program,
                profile: kind,
                sans,
            };
            let session = Session::start(common).await?.dry_run(join.dry_run);
            let file = JoinFile::prepare(common, &name, join)?;
            let made: JoinBroker = session.client.post("/brokers", &request).await?;
            session.finish().await?;
            file.write(voice, made, "registered")
        }
        BrokerCommand::Join { name, join } => {
            let session = Session::start(common).await?.dry_run(join.dry_run);
            let file = JoinFile::prepare(common, &name, join)?;
            let path = format!("/brokers/{}/join", escape(&name));
            let made: JoinBroker = session.client.post(&path, &serde_json::json!({})).await?;
            session.finish().await?;
            file.write(voice, made, "may join again")
        }
        BrokerCommand::Run(args) => run::start(voice, args).await,
        BrokerCommand::Config(args) => config::print(voice, args),
        BrokerCommand::Lint(args) => lint::run(voice, &args),
        BrokerCommand::Test(args) => test::run(common, voice, args).await,
        BrokerCommand::List(args) => {
            let session = Session::start(common).await?;
            let wishes = [
                ("state", &args.state),
                ("program", &args.program),
                ("q", &args.search),
                ("sort", &args.sort),
            ];
            let mut well = true;
            let shown = pages::run(session, voice, "brokers", &wishes, &args.paging, |all| {
                well = all.iter().all(|broker: &Broker| {
                    matches!(broker.state.as_str(), "proven" | "retired") && broker.wrong.is_empty()
                });
                format!("{}{}", rows(all), refused(all, None))
            });
            let exit = shown.await?;
            Ok(if well { exit } else { Exit::Attention })
        }
        BrokerCommand::Retire { name, note, dry_run } => {
            let session = Session::start(common).await?.dry_run(dry_run);
            let path = format!("/brokers/{}/retire", escape(&name));
            let request = ActRequest { reason: None, note };
            let answer: Done = session.client.post(&path, &request).await?;
            session.finish().await?;
            voice.data(voice.done("retired", dry_run), &answer)?;
            Ok(Exit::Ok)
        }
    }
}

/// Where the secret will go. What stands in its way is said before there is a secret.
struct JoinFile {
    path: PathBuf,
    url: String,
    dry_run: bool,
}

impl JoinFile {
    fn prepare(common: &Common, name: &str, args: JoinArgs) -> Result<Self, Failure> {
        let path = args.out.unwrap_or_else(|| PathBuf::from(format!("{name}.join")));
        if path.exists() {
            let what = format!("{} is there already", path.display());
            return Err(Failure::usage(what).fix("remove it, or say --out FILE"));
        }
        let url = match args.ca_url.or_else(|| common.url.clone()) {
            Some(url) => url,
            None => Config::load(&common.data, &Flags::default())?.web.settings.ca_url,
        };
        Ok(Self {
            path,
            url,
            dry_run: args.dry_run,
        })
    }

    fn write(self, voice: Voice, made: JoinBroker, word: &str) -> Result<Exit, Failure> {
        let path = self.path.display();
        if self.dry_run {
            voice.data(
                &format!("Would write {path} for {}. Nothing was changed.", made.broker),
                &made,
            )?;
            return Ok(Exit::Ok);
        }
        let join = Join {
            broker: made.broker.clone(),
            program: made.program.clone(),
            url: self.url,
            fingerprint: made.fingerprint.clone(),
            token: made.token,
        };
        let text = serde_json::to_string_pretty(&join).map_err(|why| Failure::failed(why.to_string()))?;
        write_private(&self.path, text.as_bytes())
            .map_err(|why| Failure::failed(format!("cannot write {path}: {why}")))?;
        let answer = serde_json::json!({ "broker": made.broker, "program": made.program, "join": self.path });
        voice.data(&format!("{} {word}: {path}", made.broker), &answer)?;
        voice.say(&format!(
            "Bring {path} beside the broker within a day (it is secret) and run there: muster broker run {} --join {path}",
            made.broker
        ));
        Ok(Exit::Ok)
    }
}

/// What brokers refused in the last day, the newest first: of one device, or of all. Nothing is said of nothing.
pub(super) fn refused(brokers: &[Broker], only: Option<&str>) -> String {
    let mut all = Vec::new();
    for broker in brokers {
        let wanted = broker
            .denials
            .iter()
            .filter(|denial| only.is_none_or(|name| name == denial.device));
        all.extend(wanted.map(|denial| {
            let (device, topic) = (denial.device.clone(), denial.topic.clone());
            let (times, last) = (denial.times.to_string(), denial.last.clone());
            [broker.name.clone(), device, topic, times, last]
        }));
    }
    if all.is_empty() {
        return String::new();
    }
    let head = ["BROKER", "DEVICE", "REFUSED TOPIC", "TIMES", "LAST"];
    format!("\n\n{}", table(head, all))
}

fn rows(brokers: &[Broker]) -> String {
    let head = [
        "NAME",
        "PROGRAM",
        "STATE",
        "EPOCH",
        "LAST PROOF",
        "TOOK",
        "CERTIFICATE ENDS",
        "CRL RUNS OUT",
        "SESSIONS",
        "WRONG",
    ];
    let row = |broker: &Broker| {
        let enforced = broker.enforced.as_ref();
        let text = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        [
            broker.name.clone(),
            broker.program.clone(),
            broker.state.clone(),
            text(enforced.map(|enforced| enforced.number.to_string())),
            text(enforced.map(|enforced| enforced.at.clone())),
            text(enforced.map(|enforced| format!("{} ms", enforced.micros / 1000))),
            text(broker.certificate_not_after.clone()),
            text(broker.crl_next_update.clone()),
            text(broker.sessions.map(|sessions| sessions.to_string())),
            text((!broker.wrong.is_empty()).then(|| broker.wrong.join("; "))),
        ]
    };
    table(head, brokers.iter().map(row))
}
