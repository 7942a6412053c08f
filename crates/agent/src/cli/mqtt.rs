//! A client with the device's certificate: what `muster mqtt` and `muster-agent mqtt` do.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use muster_pki::time::parse_duration;
use serde_json::json;
use tokio::sync::mpsc;

use super::device::DIR;
use super::{Exit, Failure, Voice, broker_address, stopped};
use crate::Clock;
use crate::device::files::read_settings;
use crate::mqtt::{self, Backoff, Health, Message, Place, Qos, Settings, Version};

/// Messages that are read ahead.
const AHEAD: usize = 16;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const KEEP_ALIVE: u16 = 60;

/// What the client does.
#[derive(Subcommand)]
pub enum MqttCommand {
    /// Publish a message, or each line of standard input, and wait until the broker has taken it
    #[command(after_help = "Example:
  muster mqtt pub fleet/site-001/up/test hello --broker mqtt.example.org")]
    Pub {
        /// Where to; %u stands for the device's name
        topic: String,
        /// What to say
        message: Option<String>,
        /// Let the broker show it to whoever comes later
        #[arg(long)]
        retain: bool,
        /// How many attempts to connect may fail in a row
        #[arg(long, default_value_t = 1)]
        attempts: u32,
        /// Who connects, where and how
        #[command(flatten)]
        common: ClientArgs,
    },
    /// Print what is published
    #[command(after_help = "Example:
  muster mqtt sub 'fleet/%u/#' --count 1")]
    Sub {
        /// What to receive; %u stands for the device's name
        #[arg(required = true)]
        filters: Vec<String>,
        /// End after so many messages
        #[arg(long)]
        count: Option<u64>,
        /// How many attempts to connect may fail in a row; as many as want to, unless said
        #[arg(long)]
        attempts: Option<u32>,
        /// Who connects, where and how
        #[command(flatten)]
        common: ClientArgs,
    },
    /// Stay connected: say that the device is online and how it is, and that it is offline when it goes
    #[command(after_help = "Example:
  muster mqtt run --broker mqtt.example.org --subscribe 'fleet/%u/down/#'")]
    Run(RunArgs),
}

/// How to stay connected.
#[derive(clap::Args)]
pub struct RunArgs {
    /// Where online and offline are said, retained; the last will says offline
    #[arg(long, value_name = "TOPIC", default_value = "status/%u")]
    status: String,
    /// Where the device says how it is
    #[arg(long, value_name = "TOPIC", default_value = "fleet/%u/up/health")]
    health: String,
    /// How often
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    every: String,
    /// Print what is published here
    #[arg(long = "subscribe", value_name = "FILTER")]
    filters: Vec<String>,
    /// Publish each line of standard input here
    #[arg(long, value_name = "TOPIC")]
    publish: Option<String>,
    /// How many attempts to connect may fail in a row; as many as want to, unless said
    #[arg(long)]
    attempts: Option<u32>,
    #[command(flatten)]
    common: ClientArgs,
}

/// Who connects, where and how.
#[derive(clap::Args)]
pub struct ClientArgs {
    /// Where ca.crt, NAME.crt and NAME.key are
    #[arg(long, value_name = "DIR", default_value = DIR)]
    dir: PathBuf,
    /// The broker, if the device was not told when it enrolled
    #[arg(long, value_name = "HOST[:PORT]")]
    broker: Option<String>,
    /// Which MQTT
    #[arg(long, value_enum, default_value = "5")]
    protocol: Protocol,
    /// 0: at most once, 1: at least once, 2: exactly once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
}

#[derive(Clone, Copy, ValueEnum)]
enum Protocol {
    /// MQTT 3.1.1
    #[value(name = "3.1.1")]
    V311,
    /// MQTT 5
    #[value(name = "5")]
    V5,
}

impl MqttCommand {
    /// Whether it stays, as a server does.
    pub fn stays(&self) -> bool {
        matches!(self, Self::Run(_))
    }
}

/// Does it.
pub async fn run(voice: Voice, clock: Clock, command: MqttCommand) -> Result<Exit, Failure> {
    match command {
        MqttCommand::Pub {
            topic,
            message,
            retain,
            attempts,
            common,
        } => {
            let settings = common.settings(Some(attempts))?;
            let topic = fill(&topic, &settings.place.name);
            let lines = match message {
                Some(message) => Lines::One(message),
                None => Lines::Input,
            };
            converse((voice, clock), settings, Some((topic, retain, lines)), None).await
        }
        MqttCommand::Sub {
            filters,
            count,
            attempts,
            common,
        } => {
            let mut settings = common.settings(attempts)?;
            settings.filters = filled(&filters, &settings.place.name);
            converse((voice, clock), settings, None, count).await
        }
        MqttCommand::Run(args) => {
            let mut settings = args.common.settings(args.attempts)?;
            let name = settings.place.name.clone();
            let every = parse_duration(&args.every)?.unsigned_abs();
            if every.is_zero() {
                return Err(Failure::usage("--every is more than nothing"));
            }
            settings.persistent = true;
            settings.filters = filled(&args.filters, &name);
            let state = |word: &'static str| Message {
                topic: fill(&args.status, &name),
                payload: word.into(),
                retain: true,
            };
            settings.will = Some(state("offline"));
            settings.online = Some(state("online"));
            settings.health = Some(Health {
                topic: fill(&args.health, &name),
                every,
            });
            let publish = args
                .publish
                .map(|topic| (fill(&topic, &name), false, Lines::Input));
            converse((voice, clock), settings, publish, None).await
        }
    }
}

impl ClientArgs {
    fn settings(&self, attempts: Option<u32>) -> Result<Settings, Failure> {
        let failed = |why: crate::Error| Failure::failed(why.0);
        let told = read_settings(&self.dir).map_err(failed)?;
        let name = match &told {
            Some(told) => told.name.clone(),
            None => only_name(&self.dir)?,
        };
        let broker = self.broker.clone().or_else(|| told.and_then(|told| told.broker));
        let broker = broker.ok_or_else(|| {
            Failure::usage("it is not known where the broker is").fix("add --broker HOST[:PORT]")
        })?;
        let (host, port) = broker_address(&broker)?;
        Ok(Settings {
            place: Place {
                host: host.trim_matches(['[', ']']).to_owned(),
                port,
                ca: self.dir.join("ca.crt"),
                certificate: self.dir.join(format!("{name}.crt")),
                key: self.dir.join(format!("{name}.key")),
                name,
            },
            version: match self.protocol {
                Protocol::V311 => Version::V311,
                Protocol::V5 => Version::V5,
            },
            qos: match self.qos {
                0 => Qos::AtMostOnce,
                1 => Qos::AtLeastOnce,
                _ => Qos::ExactlyOnce,
            },
            keep_alive: KEEP_ALIVE,
            persistent: false,
            filters: Vec::new(),
            will: None,
            online: None,
            health: None,
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE, attempts),
        })
    }
}

/// The name of the one pair in a directory that no device has enrolled in: a bundle's.
fn only_name(dir: &Path) -> Result<String, Failure> {
    let cannot = |why: &dyn std::fmt::Display| {
        Failure::failed(format!("cannot look into {}: {why}", dir.display()))
            .fix("say where ca.crt, NAME.crt and NAME.key are: --dir DIR")
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|why| cannot(&why))? {
        let file = entry.map_err(|why| cannot(&why))?.file_name();
        let name = file.to_str().and_then(|file| file.strip_suffix(".key"));
        names.extend(name.map(str::to_owned));
    }
    match &names[..] {
        [name] => Ok(name.clone()),
        [] => Err(cannot(&"there is no NAME.key")),
        [..] => Err(cannot(&"there are several keys")),
    }
}

fn fill(topic: &str, name: &str) -> String {
    topic.replace("%u", name)
}

fn filled(filters: &[String], name: &str) -> Vec<String> {
    filters.iter().map(|filter| fill(filter, name)).collect()
}

/// What is published.
enum Lines {
    One(String),
    Input,
}

async fn converse(
    (voice, clock): (Voice, Clock),
    settings: Settings,
    publish: Option<(String, bool, Lines)>,
    count: Option<u64>,
) -> Result<Exit, Failure> {
    let (send, outgoing) = mpsc::channel(AHEAD);
    let (received, messages) = mpsc::channel(AHEAD);
    if let Some((topic, retain, lines)) = publish {
        // Standard input blocks, and may never end.
        std::thread::spawn(move || feed(&send, &topic, retain, lines));
    }
    let stop = stopped()?;
    let printing = tokio::spawn(print(voice, messages, count));
    let done = mqtt::run(settings, clock, outgoing, received, stop).await;
    let printed = printing.await.map_err(|why| Failure::failed(why.to_string()))?;
    done.map_err(|why| Failure::failed(why.0))?;
    printed?;
    Ok(Exit::Ok)
}

fn feed(send: &mpsc::Sender<Message>, topic: &str, retain: bool, lines: Lines) {
    let message = |text: String| Message {
        topic: topic.to_owned(),
        payload: text.into_bytes().into(),
        retain,
    };
    match lines {
        Lines::One(text) => drop(send.blocking_send(message(text))),
        Lines::Input => {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if send.blocking_send(message(line)).is_err() {
                    return;
                }
            }
        }
    }
}

/// Prints until there is enough, or nobody listens.
async fn print(
    voice: Voice,
    mut messages: mpsc::Receiver<Message>,
    count: Option<u64>,
) -> Result<(), Failure> {
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0 {
        let Some(message) = messages.recv().await else {
            break;
        };
        let text = String::from_utf8_lossy(&message.payload);
        let line = if voice.json {
            json!({ "topic": message.topic, "payload": text, "retain": message.retain }).to_string()
        } else {
            format!("{} {text}", message.topic)
        };
        let mut out = std::io::stdout();
        match writeln!(out, "{line}").and_then(|()| out.flush()) {
            // `muster mqtt sub … | head` is no failure.
            Err(why) if why.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
        left -= 1;
    }
    Ok(())
}
