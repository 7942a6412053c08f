//! A client with the device's certificate: what `muster mqtt` and `muster-agent mqtt` do.

use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use muster_pki::time::parse_duration;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::device::DIR;
use super::{Exit, Failure, Voice, broker_address, stopped};
use crate::Clock;
use crate::device::settings::read_settings;
use crate::mqtt::{self, Backoff, Health, Message, Place, Qos, Settings, Version};

/// Messages that are read ahead.
const AHEAD: usize = 16;
/// How long what has come may take to be printed at the end.
const LAST_LINES: Duration = Duration::from_secs(2);
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
        /// How many attempts to connect; with one alone, the first that fails is the end
        #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
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
        /// End when so many attempts to connect have failed in a row [default: it tries for ever]
        #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
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
    /// End when so many attempts to connect have failed in a row [default: it tries for ever]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
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
            let topic = topic_of(&topic, &settings.place.name)?;
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
            settings.filters = filters_of(&filters, &settings.place.name)?;
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
            settings.filters = filters_of(&args.filters, &name)?;
            let status = topic_of(&args.status, &name)?;
            let state = |word: &'static str| Message {
                topic: status.clone(),
                payload: word.into(),
                retain: true,
            };
            settings.will = Some(state("offline"));
            settings.online = Some(state("online"));
            settings.health = Some(Health {
                topic: topic_of(&args.health, &name)?,
                every,
            });
            let publish = args.publish.map(|topic| topic_of(&topic, &name)).transpose()?;
            let publish = publish.map(|topic| (topic, false, Lines::Input));
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

/// With the device's name in it.
fn topic_of(topic: &str, name: &str) -> Result<String, Failure> {
    let topic = topic.replace("%u", name);
    let bad = |why| Failure::usage(format!("{topic:?} is no topic to publish on: {why}"));
    mqtt::check_topic(&topic).map_err(bad)?;
    Ok(topic)
}

fn filters_of(filters: &[String], name: &str) -> Result<Vec<String>, Failure> {
    let filters = filters.iter().map(|filter| filter.replace("%u", name));
    let checked = filters.map(|filter| {
        let bad = |why| Failure::usage(format!("{filter:?} is no topic filter: {why}"));
        mqtt::check_filter(&filter).map_err(bad)?;
        Ok(filter)
    });
    checked.collect()
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
    let (say_why, unread) = std::sync::mpsc::channel();
    if let Some((topic, retain, lines)) = publish {
        // Standard input blocks, and may never end.
        std::thread::spawn(move || {
            if let Err(why) = feed(&send, &topic, retain, lines) {
                tracing::error!("standard input: {why}");
                let _ = say_why.send(why);
            }
        });
    }
    let stop = stopped()?;
    let (say_printed, printed) = oneshot::channel();
    // Standard output blocks as long as nobody reads it, which may be for ever.
    std::thread::spawn(move || say_printed.send(print(voice, messages, count)));
    let done = mqtt::run(settings, clock, outgoing, received, stop).await;
    let printed = tokio::time::timeout(LAST_LINES, printed).await;
    done.map_err(|why| Failure::failed(why.0))?;
    let unprinted = |_| Failure::failed("not all that has come was printed: nobody reads standard output");
    printed
        .map_err(unprinted)?
        .map_err(|why| Failure::failed(why.to_string()))??;
    match unread.try_recv() {
        Ok(why) => Err(Failure::failed(format!(
            "not all of standard input was published: {why}"
        ))),
        Err(_) => Ok(Exit::Ok),
    }
}

/// Hands lines over, whatever bytes they hold, until the end, or until nobody takes them.
fn feed(send: &mpsc::Sender<Message>, topic: &str, retain: bool, lines: Lines) -> std::io::Result<()> {
    let message = |payload: Vec<u8>| Message {
        topic: topic.to_owned(),
        payload: payload.into(),
        retain,
    };
    let mut input = match lines {
        Lines::One(text) => {
            drop(send.blocking_send(message(text.into_bytes())));
            return Ok(());
        }
        Lines::Input => std::io::stdin().lock(),
    };
    let mut too_long = 0;
    while let Some(line) = line(&mut input)? {
        if line.len() > mqtt::MAX_MESSAGE {
            tracing::error!("a line of more than {} bytes is not published", mqtt::MAX_MESSAGE);
            too_long += 1;
        } else if send.blocking_send(message(line)).is_err() {
            break;
        }
    }
    match too_long {
        0 => Ok(()),
        lines => Err(std::io::Error::other(format!(
            "{lines} lines were too long to be published"
        ))),
    }
}

/// A line without its end, and one byte more of it than may be published at most; `None`: there are no more.
fn line(input: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let longest = u64::try_from(mqtt::MAX_MESSAGE + 1).unwrap_or(u64::MAX);
    let mut line = Vec::new();
    let mut rest = input.by_ref().take(longest).read_until(b'\n', &mut line)?;
    if rest == 0 {
        return Ok(None);
    }
    let mut last = line.last().copied();
    while last != Some(b'\n') && rest > 0 {
        let mut more = Vec::new();
        rest = input.by_ref().take(longest).read_until(b'\n', &mut more)?;
        last = more.last().copied();
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(Some(line))
}

/// Prints until there is enough, or nobody listens.
fn print(voice: Voice, mut messages: mpsc::Receiver<Message>, count: Option<u64>) -> Result<(), Failure> {
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0 {
        let Some(message) = messages.blocking_recv() else {
            break;
        };
        let text = String::from_utf8_lossy(&message.payload);
        let mut out = std::io::stdout();
        let line = if voice.json {
            json!({ "topic": message.topic, "payload": text, "retain": message.retain })
                .to_string()
                .into_bytes()
        } else if out.is_terminal() {
            // Whoever may publish could tell the terminal to do things.
            let shown = |c: char| {
                if c.is_control() && c != '\t' {
                    '\u{fffd}'
                } else {
                    c
                }
            };
            format!("{} {text}", message.topic)
                .chars()
                .map(shown)
                .collect::<String>()
                .into_bytes()
        } else {
            [message.topic.as_bytes(), b" ", &message.payload].concat()
        };
        match out
            .write_all(&[&line[..], b"\n"].concat())
            .and_then(|()| out.flush())
        {
            // `muster mqtt sub … | head` is no failure.
            Err(why) if why.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
        left -= 1;
    }
    Ok(())
}
