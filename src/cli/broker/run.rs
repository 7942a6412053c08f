//! `muster broker run`: the agent beside a broker.

use std::path::PathBuf;
use std::sync::Arc;

use muster_agent::beside::broker::{Place, adapter};
use muster_agent::beside::run::{Settings, run};
use muster_agent::cli::stopped;

use crate::cli::report::{Exit, Failure, Voice};
use crate::real;

#[derive(clap::Args)]
pub(in crate::cli) struct RunArgs {
    /// The broker's name
    name: String,
    /// What `broker add` wrote; removed once the agent has joined
    #[arg(long, value_name = "FILE")]
    join: Option<PathBuf>,
    /// Where the agent keeps what it needs over restarts; /var/lib/muster-agent/NAME unless said
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Where the broker reads what the agent writes; /etc/PROGRAM/muster unless said
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The group under which the broker runs, so that it can read its key
    #[arg(long)]
    group: Option<String>,
    /// Where the broker listens for devices
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8883")]
    listener: String,
    /// Where the broker writes its process id, if several run here
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// The broker's log, to report what it refuses to devices
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Where the broker takes the agent's orders: HAProxy's stats socket, RabbitMQ's management API, EMQX's REST API
    #[arg(long, value_name = "WHERE")]
    control: Option<String>,
    /// Where the agent answers a broker that asks it (RabbitMQ, EMQX); 127.0.0.1:8085 unless said
    #[arg(long, value_name = "ADDRESS:PORT")]
    answer: Option<String>,
    /// Only print what has to stand in the broker's configuration
    #[arg(long)]
    print_config: bool,
    /// With --print-config: what the broker is: mosquitto, rabbitmq, emqx, haproxy or gate
    #[arg(long, default_value = "mosquitto", requires = "print_config")]
    program: String,
}

pub(super) async fn start(voice: Voice, args: RunArgs) -> Result<Exit, Failure> {
    let place = Place {
        dir: args.dir,
        pid_file: args.pid_file,
        log: args.log,
        listener: args.listener,
        control: args.control,
        answer: args.answer,
    };
    let clock: muster_agent::Clock = Arc::new(real::now);
    let failed = |why: muster_agent::Error| Failure::failed(why.0);
    if args.print_config {
        let text = adapter(&args.program, &place, &clock).map_err(failed)?.config();
        voice.data(&text, &serde_json::json!({ "configuration": text }))?;
        return Ok(Exit::Ok);
    }
    let state = args
        .state
        .unwrap_or_else(|| PathBuf::from("/var/lib/muster-agent").join(&args.name));
    let settings = Settings {
        broker: args.name,
        state,
        join: args.join,
        place,
        group: args.group,
    };
    let stop = stopped()?;
    run(settings, clock, stop).await.map_err(failed)?;
    voice.say("Stopped. The broker goes on with what it has.");
    Ok(Exit::Ok)
}
