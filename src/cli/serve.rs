//! `muster serve`

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use jiff::Timestamp;
use muster_agent::cli::stopped;
use muster_ca::Ca;
use muster_server::{Edge, Listeners};
use tokio::net::{TcpListener, TcpSocket, UnixListener};

use super::Common;
use super::report::{Exit, Failure, Voice};
use crate::assemble;
use crate::config::{Config, Flags};
use crate::local::LocalSocket;
use crate::real;

#[derive(clap::Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    flags: Flags,
}

pub(super) async fn serve(common: &Common, voice: Voice, args: &ServeArgs) -> Result<Exit, Failure> {
    serve_config(&Config::load(&common.data, &args.flags)?, voice).await
}

pub(super) async fn serve_config(config: &Config, voice: Voice) -> Result<Exit, Failure> {
    refuse_wrong_clock(real::now())?;
    let open = assemble::open(config).await?;
    let mistakes = open.ca.profile_mistakes();
    if !mistakes.is_empty() {
        return Err(Failure::usage(format!(
            "the configuration has mistakes:\n  {}",
            mistakes.join("\n  ")
        ))
        .fix("make the authority first, with muster ca create or muster ca import, or name another"));
    }
    // Before anybody can see that it runs, and stop it again.
    let stop = stopped()?;
    // Every socket is bound before anything starts, so that a port that is taken costs nothing.
    let socket = LocalSocket::of(&config.data)?;
    let listeners = Listeners {
        api: bind(config.listen)?,
        public: bind(config.public_listen)?,
        web: bind(config.web.listen)?,
        local: bind_local(&socket)?,
    };
    let gui = listeners.web.local_addr()?;
    assemble::first_login(config, &open.ca, gui).await?;
    voice.say(&format!(
        "Serving {:?}\n  GUI      {}\n  CA API   https://{}   (step, REST, metrics)\n  public   http://{}   (CRLs, CA certificates)\n  \
         local    {}\n  names    {}",
        config.name,
        assemble::gui_url(config, gui),
        listeners.api.local_addr()?,
        listeners.public.local_addr()?,
        socket.path.display(),
        config.settings.dns.join(", ")
    ));
    let todos = assemble::todos(config);
    todos
        .iter()
        .for_each(|todo| voice.say(&format!("  to do    {todo}")));
    let for_status = config.clone();
    let todos = Arc::new(move || assemble::todos(&for_status));
    let served = muster_server::serve(
        Edge::new(open.ca.clone(), todos, config.web.settings.clone()),
        listeners,
        stop,
    )
    .await;
    let _ = std::fs::remove_file(socket.address());
    served.map_err(|why| Failure::failed(why.to_string()))?;
    voice.say(&farewell(&open.ca).await);
    Ok(Exit::Ok)
}

/// By when the server must run again: some operators start the CA only to issue.
async fn farewell(ca: &Ca) -> String {
    let crl = ca.first_crl_to_expire();
    let renewal = ca.first_renewal_due().await.ok().flatten();
    let mut text = String::from("Stopped.");
    if let Some(crl) = &crl {
        text.push_str(&format!(
            "\n  The CRL of {} runs out on {}: brokers that check it refuse every device from then on.",
            muster_ca::file_stem(&crl.authority, crl.generation),
            whole(crl.next_update)
        ));
    }
    if let Some(renewal) = renewal {
        text.push_str(&format!(
            "\n  The first certificate is due for renewal on {}.",
            whole(renewal)
        ));
    }
    let due = crl.map(|crl| crl.next_update).into_iter().chain(renewal).min();
    if let Some(due) = due {
        text.push_str(&format!("\n  Start it again before {}.", whole(due)));
    }
    text
}

fn whole(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Neither a certificate nor the date of an answer (RFC 9110, section 5.6.7) can say a year before 1970 or after 9998.
fn refuse_wrong_clock(now: Timestamp) -> Result<(), Failure> {
    const LAST: i64 = 253_370_764_800;
    if (0..LAST).contains(&now.as_second()) {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "this machine's clock says {now}, and nothing that is signed with such a time would be believed"
    ))
    .fix("set the clock, and start again"))
}

/// How many connections may wait to be accepted: a fleet that comes back after an outage comes all at once. The system
/// caps it (`net.core.somaxconn`).
const WAITING: u32 = 4096;

fn bind(address: std::net::SocketAddr) -> Result<TcpListener, Failure> {
    let listen = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // Else a restart would have to wait for the last connections of the process before.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(WAITING)
    };
    listen().map_err(|why: std::io::Error| {
        Failure::failed(format!("cannot listen on {address}: {why}"))
            .fix("stop what uses the port, or choose another with --listen, --public-listen or --web-listen")
    })
}

/// The directory's lock is held, so a socket that is there was left by a process that is gone.
fn bind_local(socket: &LocalSocket) -> Result<UnixListener, Failure> {
    let path = socket.address();
    let cannot =
        |why: std::io::Error| Failure::failed(format!("cannot listen on {}: {why}", socket.path.display()));
    match std::fs::remove_file(path) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => return Err(cannot(why)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(cannot)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(cannot)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn a_clock_that_no_certificate_can_say_is_refused() {
        for (moment, right) in [
            ("1969-12-31T23:59:59Z", false),
            ("1970-01-01T00:00:00Z", true),
            ("9998-12-31T23:59:59Z", true),
            ("9999-01-01T00:00:00Z", false),
        ] {
            let moment: Timestamp = moment.parse().unwrap();
            assert_eq!(refuse_wrong_clock(moment).is_ok(), right, "{moment}");
        }
    }
}
