//! `rumqttd.toml`.

use super::{At, Report};

/// One server of it, such as `[v4.1]`.
struct Server {
    at: At,
    listen: Option<(String, At)>,
    ca: Option<At>,
}

/// rumqttd has no revocation list at all, and asks for certificates only if it was built so.
pub(super) fn lint(report: &mut Report<'_>, source: usize, text: &str) {
    let fix = "let it listen on 127.0.0.1 without TLS, and put muster gate in front of it";
    for server in read(source, text) {
        let nearby = |(address, _): &(String, At)| {
            address.starts_with("127.") || address.starts_with("[::1]") || address.starts_with("localhost:")
        };
        match (server.ca, server.listen) {
            (Some(at), _) => report.danger(
                at,
                "rumqttd knows no revocation list, and passes over capath unless it was built with verify-client-cert",
                "revoking changes nothing, and clients without a certificate may get in",
                fix,
            ),
            (None, Some(listen)) if !nearby(&listen) => report.danger(
                listen.1,
                format!("rumqttd listens on {} without asking for certificates", listen.0),
                "whoever reaches it gets in under any name",
                fix,
            ),
            (None, None) => report.note(
                server.at,
                "rumqttd has a server that says nothing of where it listens",
                "nobody can tell who reaches it",
                "listen = \"127.0.0.1:1883\"",
            ),
            (None, Some(_)) => {}
        }
    }
}

fn read(source: usize, text: &str) -> Vec<Server> {
    let mut servers: Vec<Server> = Vec::new();
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        let (at, line) = ((source, number + 1), line.trim());
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            let parts: Vec<_> = section.split('.').collect();
            inside = matches!(parts[..], ["v4" | "v5" | "ws", _, ..]);
            if matches!(parts[..], ["v4" | "v5" | "ws", _]) {
                servers.push(Server {
                    at,
                    listen: None,
                    ca: None,
                });
            }
            continue;
        }
        let (Some(server), Some((key, value)), true) = (servers.last_mut(), line.split_once('='), inside)
        else {
            continue;
        };
        let value = value.trim().trim_matches('"').to_owned();
        match key.trim() {
            "listen" => server.listen = Some((value, at)),
            "capath" => server.ca = Some(at),
            _ => {}
        }
    }
    servers
}
