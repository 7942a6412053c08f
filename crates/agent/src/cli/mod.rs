//! The agent's commands, for the two programs that have them: `muster` and `muster-agent`.

pub mod device;
pub mod mqtt;
mod report;
mod status;

pub use report::{Exit, Failure, Voice};

use std::io::{IsTerminal, Read};
use std::net::Ipv6Addr;

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use rustls::pki_types::ServerName;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Ends with SIGTERM or SIGINT. They are heard from this call on, not from the first time that the future is polled.
pub fn stopped() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Reads from standard input; if that is a terminal, it does not show what is typed. SIGINT is an error: not every shell mends a terminal
/// that a program leaves so.
pub async fn unseen<T, F>(read: F) -> std::io::Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> std::io::Result<T> + Send + 'static,
{
    let input = std::io::stdin();
    if !input.is_terminal() {
        return read();
    }
    let shown = tcgetattr(&input)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&input, OptionalActions::Flush, &hidden)?;
    let (send, typed) = oneshot::channel();
    // Nobody waits for this thread if nothing is typed.
    std::thread::spawn(move || send.send(read()));
    let interrupted = || std::io::Error::new(std::io::ErrorKind::Interrupted, "interrupted");
    let read = tokio::select! {
        typed = typed => typed.unwrap_or_else(|_| Err(interrupted())),
        _ = tokio::signal::ctrl_c() => Err(interrupted()),
    };
    tcsetattr(&input, OptionalActions::Flush, &shown)?;
    read
}

/// Who stays logs what it does; a command only what is wrong; with `--json` an object on each line. `MUSTER_LOG` says otherwise.
pub fn start_log(stays: bool, json: bool) -> Result<(), Failure> {
    let default = if stays { "info" } else { "warn" };
    let told = std::env::var("MUSTER_LOG").unwrap_or_default();
    let told = if told.is_empty() { default } else { &told };
    let bad = || {
        Failure::usage(format!("MUSTER_LOG is {told:?}, which is no level"))
            .fix("say error, warn, info, debug or trace, or such as warn,muster_agent=debug")
    };
    // A word alone would be the name of a module that logs everything.
    let is_level = |part: &str| part.contains('=') || part.trim().parse::<LevelFilter>().is_ok();
    let levels: Option<Targets> = told.split(',').all(is_level).then(|| told.parse().ok()).flatten();
    let levels = levels.ok_or_else(bad)?;
    let log = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(std::io::stderr)
        .with_target(false);
    if json {
        let log = log.json().flatten_event(true);
        let log = log.with_current_span(false).with_span_list(false);
        log.finish().with(levels).init();
    } else {
        let log = log.with_ansi(std::io::stderr().is_terminal());
        log.finish().with(levels).init();
    }
    Ok(())
}

/// The most that the file of a variable may hold, in bytes.
const MAX_VARIABLE: u64 = 64 * 1024;

/// A variable, or what stands in the file that `NAME_FILE` points at. One that cannot be read is an error: what it holds must not be
/// replaced by a default unheard.
pub fn variable(name: &str) -> Result<Option<String>, Failure> {
    if let Ok(value) = std::env::var(name)
        && !value.is_empty()
    {
        return Ok(Some(value));
    }
    let Ok(path) = std::env::var(format!("{name}_FILE")) else {
        return Ok(None);
    };
    let mut text = String::new();
    let read =
        std::fs::File::open(&path).and_then(|file| file.take(MAX_VARIABLE + 1).read_to_string(&mut text));
    let why = match read {
        Ok(_) if text.len() as u64 <= MAX_VARIABLE => return Ok(Some(text.trim().to_owned())),
        Ok(_) => "it holds more than 64 KiB".to_owned(),
        Err(why) => why.to_string(),
    };
    Err(Failure::usage(format!(
        "the environment variable {name}_FILE names {path}, which cannot be read: {why}"
    )))
}

/// `HOST[:PORT]` of a broker; an IPv6 address stands in brackets, with a port or without.
pub fn broker_address(text: &str) -> Result<(String, u16), Failure> {
    let bad = || Failure::usage(format!("{text:?} is no HOST[:PORT]"));
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| bad())?),
        _ => (text, muster_pki::snippet::MQTTS_PORT),
    };
    let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match inside {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.contains(':') && ServerName::try_from(host).is_ok(),
    };
    if !is_host || port == 0 {
        return Err(bad());
    }
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn a_broker_has_a_name_or_an_address_and_perhaps_a_port() {
        for (text, host, port) in [
            ("mqtt.example.org", "mqtt.example.org", 8883),
            ("mosquitto:1883", "mosquitto", 1883),
            ("192.0.2.7:8884", "192.0.2.7", 8884),
            ("[2001:db8::1]", "[2001:db8::1]", 8883),
            ("[::1]:8884", "[::1]", 8884),
        ] {
            assert_eq!(broker_address(text).unwrap(), (host.to_owned(), port));
        }
        for bad in [
            "",
            ":8883",
            "[::1",
            "::1",
            "[]",
            "[mqtt]",
            "mqtt:",
            "mqtt:0",
            "mqtt:65536",
            "a b",
            "a/b",
            "mqtt:8883:1",
        ] {
            assert!(broker_address(bad).is_err(), "{bad}");
        }
    }
}
