//! The agent's commands, for the two programs that have them: `muster` and `muster-agent`.

pub mod device;
pub mod mqtt;
mod report;

pub use report::{Exit, Failure, Voice};

use tokio::signal::unix::{SignalKind, signal};

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

/// A variable, or what stands in the file that `NAME_FILE` points at.
pub fn variable(name: &str) -> Option<String> {
    if let Ok(value) = std::env::var(name)
        && !value.is_empty()
    {
        return Some(value);
    }
    let path = std::env::var(format!("{name}_FILE")).ok()?;
    std::fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned())
}

/// `HOST[:PORT]` of a broker.
pub fn broker_address(text: &str) -> Result<(String, u16), Failure> {
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Failure::usage(format!("{text:?} is no HOST[:PORT]")));
    }
    match text.rsplit_once(':') {
        Some((host, port)) => {
            let port = port
                .parse()
                .map_err(|_| Failure::usage(format!("{text:?} is no HOST:PORT")))?;
            Ok((host.to_owned(), port))
        }
        None => Ok((text.to_owned(), muster_pki::snippet::MQTTS_PORT)),
    }
}
