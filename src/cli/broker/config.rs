//! `muster broker config`: what has to stand in a broker's configuration, with the files of a bundle.

use std::net::IpAddr;

use clap::ValueEnum;
use muster_agent::cli::broker_address;
use muster_pki::snippet::{BadName, Facts, MQTTS_PORT, Program, Snippet, Use, for_program};

use crate::cli::report::{Exit, Failure, Voice};

#[derive(clap::Args)]
pub(in crate::cli) struct ConfigArgs {
    /// What is to be configured
    program: Word,
    /// The name in its certificate
    name: String,
    /// The port on which it listens for devices
    #[arg(long, default_value_t = MQTTS_PORT)]
    port: u16,
    /// bridge: the broker that it connects to
    #[arg(long, value_name = "HOST[:PORT]")]
    broker: Option<String>,
    /// haproxy-tcp: the broker's own address, not that of the name which leads to HAProxy
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Word {
    /// Mosquitto that devices connect to
    Mosquitto,
    /// Mosquitto at a site, as a bridge to the central broker
    Bridge,
    /// EMQX 5 (HOCON)
    Emqx,
    /// RabbitMQ with its MQTT plug-in
    Rabbitmq,
    /// HAProxy that ends TLS in front of a broker
    Haproxy,
    /// HAProxy that passes TLS through to the broker
    HaproxyTcp,
}

impl From<Word> for Program {
    fn from(word: Word) -> Self {
        match word {
            Word::Mosquitto => Self::Mosquitto,
            Word::Bridge => Self::Bridge,
            Word::Emqx => Self::Emqx,
            Word::Rabbitmq => Self::RabbitMq,
            Word::Haproxy => Self::HaProxy,
            Word::HaproxyTcp => Self::HaProxyTcp,
        }
    }
}

pub(super) fn print(voice: Voice, args: ConfigArgs) -> Result<Exit, Failure> {
    let facts = facts(&args)?;
    let snippets = for_program(&facts, args.program.into());
    let text: Vec<_> = snippets.iter().map(headed).collect();
    voice.data(
        &text.join("\n"),
        &serde_json::json!({ "configuration": snippets }),
    )?;
    Ok(Exit::Ok)
}

fn facts(args: &ConfigArgs) -> Result<Facts, Failure> {
    let bad = |why: BadName| Failure::usage(why.to_string());
    if let Word::Bridge = args.program {
        let facts = Facts::new(&args.name, Use::Client).map_err(bad)?;
        return match &args.broker {
            Some(broker) => {
                let (host, port) = broker_address(broker)?;
                facts.with_broker(&host, port).map_err(bad)
            }
            None => Ok(facts),
        };
    }
    let facts = Facts::new(&args.name, Use::Server).map_err(bad)?;
    let facts = facts.with_sans([], args.address);
    facts.with_broker(&args.name, args.port).map_err(bad)
}

/// A text below where it goes, as `cert issue` prints it.
pub(in crate::cli) fn headed(snippet: &Snippet) -> String {
    format!("# {} -> {}\n{}", snippet.title, snippet.file, snippet.text)
}
