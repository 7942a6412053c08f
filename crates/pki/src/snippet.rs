//! Configuration for brokers, bridges and proxies, with a certificate's own names filled in.
//!
//! Each text is complete and works as it stands with the paths it names: Mosquitto 2.0 and 2.1, EMQX 5, RabbitMQ 3.10 and HAProxy
//! 2.6. The texts are the files of the folder `snippet`; `@WORD@` in them is filled in here.

mod facts;

use std::path::Path;

use serde::Serialize;

pub use facts::{BadName, Facts, MQTTS_PORT, Use};

/// A configuration and where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snippet {
    /// What it is, as a heading.
    pub title: &'static str,
    /// The file it belongs in, or who is to run it.
    pub file: &'static str,
    /// The text, with a newline at its end.
    pub text: String,
}

/// A Mosquitto listener on the broker's port that asks for certificates of this CA.
pub fn mosquitto_listener(facts: &Facts) -> String {
    let name = facts.name();
    listener(Listener {
        head: "",
        dir: "/etc/mosquitto",
        acl: "muster.acl",
        port: &facts.fill("@LISTEN@"),
        trust: "certs/ca.crt",
        pair: [&format!("certs/{name}.crt"), &format!("certs/{name}.key")],
        pair_note: "",
        crls: "certs/crl.pem",
        crls_note: CRL_BY_HAND,
        tail: "",
    })
}

/// The same listener with the files that the agent beside the broker keeps in `dir`.
pub fn mosquitto_kept(dir: &Path, port: &str) -> String {
    listener(Listener {
        head: KEPT_HEAD,
        dir: &dir.display().to_string(),
        acl: "acl",
        port,
        trust: "trust.pem",
        pair: ["server.pem", "server.pem"],
        pair_note: "# Key, certificate and chain in one file, so that they always belong together.\n",
        crls: "crls.pem",
        crls_note: "# The agent brings a new list whenever somebody is revoked, and tells Mosquitto.\n",
        tail: KEPT_TAIL,
    })
}

const CRL_BY_HAND: &str = "\
# The revocation list. Mosquitto does not start without the file, and refuses everybody once the list has run out. To put
# a new one in place, never write into the file that is in use:
#   muster ca crl --out /etc/mosquitto/certs/crl.pem.new
#   mv /etc/mosquitto/certs/crl.pem.new /etc/mosquitto/certs/crl.pem
#   systemctl reload mosquitto
";
const KEPT_HEAD: &str = "\
# A listener that the agent beside it keeps in order. Save as /etc/mosquitto/conf.d/muster.conf.
# Start the agent first: it brings the files. After that it changes them and tells Mosquitto (SIGHUP); nobody else does.
";
const KEPT_TAIL: &str = "
# Refused publishes are logged as debugging only, and every message with them: switch it on where that can be afforded, and
# start the agent with --log FILE.
#log_type all
";

/// Where a Mosquitto listener finds its files, and what is said about them.
struct Listener<'a> {
    head: &'a str,
    dir: &'a str,
    acl: &'a str,
    port: &'a str,
    trust: &'a str,
    /// Certificate and key.
    pair: [&'a str; 2],
    pair_note: &'a str,
    crls: &'a str,
    crls_note: &'a str,
    tail: &'a str,
}

fn listener(parts: Listener<'_>) -> String {
    let value = |word: &str| match word {
        "HEAD" => parts.head,
        "DIR" => parts.dir,
        "ACL" => parts.acl,
        "PORT" => parts.port,
        "TRUST" => parts.trust,
        "CERTIFICATE" => parts.pair[0],
        "KEY" => parts.pair[1],
        "PAIR_NOTE" => parts.pair_note,
        "CRLS" => parts.crls,
        "CRLS_NOTE" => parts.crls_note,
        _ => parts.tail,
    };
    facts::fill(include_str!("snippet/mosquitto-listener.conf"), |word| {
        value(word).to_owned()
    })
}

/// The access list that goes with [`mosquitto_listener`]: everybody below their own name.
pub fn mosquitto_acl(facts: &Facts) -> String {
    facts.fill(include_str!("snippet/mosquitto.acl"))
}

/// A Mosquitto bridge to the central broker.
pub fn mosquitto_bridge(facts: &Facts) -> String {
    facts.fill(include_str!("snippet/mosquitto-bridge.conf"))
}

/// The same where the agent renews and knows the broker.
pub fn mosquitto_bridge_of_agent(facts: &Facts) -> String {
    let restart =
        "# Mosquitto 2.0 reads a renewed certificate at its next reconnect: restart it, or wait for one.";
    let reconnects =
        "# When the agent has renewed, it makes this bridge reconnect, which then reads the new certificate.";
    mosquitto_bridge(facts).replace(restart, reconnects)
}

/// Options of `mosquitto_pub` and `mosquitto_sub`, one a line, as they read them from a file.
pub fn mosquitto_client(facts: &Facts) -> String {
    facts.fill(include_str!("snippet/mosquitto-client.conf"))
}

/// A client in Python with Eclipse Paho.
pub fn paho(facts: &Facts) -> String {
    facts.fill(include_str!("snippet/paho.py"))
}

/// An EMQX 5 listener (HOCON) with identity from the certificate and everything else denied.
pub fn emqx_listener(facts: &Facts) -> String {
    facts.fill(include_str!("snippet/emqx.conf"))
}

/// The access list that goes with [`emqx_listener`].
pub fn emqx_acl(facts: &Facts) -> String {
    facts.fill(include_str!("snippet/emqx-acl.conf"))
}

/// HAProxy in front of the broker, passing TLS through.
pub fn haproxy_tcp(facts: &Facts) -> String {
    facts.fill(include_str!("snippet/haproxy.cfg"))
}

/// HAProxy that ends TLS in front of a broker on the same machine.
pub fn haproxy_tls(facts: &Facts) -> String {
    facts.fill(include_str!("snippet/haproxy-tls.cfg"))
}

/// RabbitMQ's MQTT plug-in: `rabbitmq.conf`.
pub fn rabbitmq_conf(facts: &Facts) -> String {
    facts.fill(include_str!("snippet/rabbitmq.conf"))
}

/// What goes with [`rabbitmq_conf`]: TLS, which needs `advanced.config` for its revocation lists.
pub fn rabbitmq_advanced(facts: &Facts) -> String {
    facts.fill(include_str!("snippet/rabbitmq-advanced.config"))
}

/// Commands that show whether it works, to be run in the folder of the bundle.
pub fn try_it(facts: &Facts) -> String {
    facts.fill(if facts.kind().connects() {
        include_str!("snippet/try-client.txt")
    } else {
        include_str!("snippet/try-server.txt")
    })
}

/// A program that is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Program {
    /// A Mosquitto that devices connect to.
    Mosquitto,
    /// A Mosquitto at a site that connects to the central broker.
    Bridge,
    /// EMQX 5.
    Emqx,
    /// RabbitMQ with its MQTT plug-in.
    RabbitMq,
    /// HAProxy that ends TLS in front of a broker.
    HaProxy,
    /// HAProxy that passes TLS through to the broker.
    HaProxyTcp,
}

/// Everything that makes a program ask for certificates of this CA, or show one.
pub fn for_program(facts: &Facts, program: Program) -> Vec<Snippet> {
    match program {
        Program::Mosquitto => vec![
            snippet(
                "Mosquitto: listener",
                "/etc/mosquitto/conf.d/muster.conf",
                mosquitto_listener(facts),
            ),
            snippet(
                "Mosquitto: who may do what",
                "/etc/mosquitto/muster.acl",
                mosquitto_acl(facts),
            ),
        ],
        Program::Bridge => vec![snippet(
            "Mosquitto: bridge to the central broker",
            "/etc/mosquitto/conf.d/bridge.conf",
            mosquitto_bridge(facts),
        )],
        Program::Emqx => vec![
            snippet(
                "EMQX 5: listener",
                "/etc/emqx/emqx.conf, at its end",
                emqx_listener(facts),
            ),
            snippet("EMQX 5: who may do what", "/etc/emqx/acl.conf", emqx_acl(facts)),
        ],
        Program::RabbitMq => vec![
            snippet(
                "RabbitMQ: MQTT",
                "/etc/rabbitmq/rabbitmq.conf",
                rabbitmq_conf(facts),
            ),
            snippet(
                "RabbitMQ: TLS",
                "/etc/rabbitmq/advanced.config",
                rabbitmq_advanced(facts),
            ),
        ],
        Program::HaProxy => vec![
            snippet(
                "HAProxy that ends TLS",
                "/etc/haproxy/haproxy.cfg, at its end",
                haproxy_tls(facts),
            ),
            snippet(
                "Mosquitto behind it",
                "/etc/mosquitto/conf.d/muster.conf",
                include_str!("snippet/mosquitto-behind.conf").to_owned(),
            ),
            snippet(
                "Mosquitto behind it: who may do what",
                "/etc/mosquitto/muster.acl",
                include_str!("snippet/mosquitto-behind.acl").to_owned(),
            ),
        ],
        Program::HaProxyTcp => vec![snippet(
            "HAProxy in front of the broker",
            "/etc/haproxy/haproxy.cfg, at its end",
            haproxy_tcp(facts),
        )],
    }
}

/// Everything that a certificate of this kind is mostly used with, the test at the end.
pub fn for_kind(facts: &Facts) -> Vec<Snippet> {
    let mut snippets = Vec::new();
    if facts.kind().listens() {
        for program in [Program::Mosquitto, Program::Emqx, Program::HaProxyTcp] {
            snippets.extend(for_program(facts, program));
        }
    }
    if facts.kind().connects() {
        snippets.extend(for_program(facts, Program::Bridge));
    }
    snippets.push(snippet(
        "Does it work?",
        "run in the folder with these files",
        try_it(facts),
    ));
    snippets
}

fn snippet(title: &'static str, file: &'static str, text: String) -> Snippet {
    Snippet { title, file, text }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    fn server() -> Facts {
        let facts = Facts::new("mqtt.ak-sg.com", Use::Server).unwrap();
        facts.with_sans(["*.ak-sg.com", "mqtt.ak-sg.com"], ["10.0.80.50".parse().unwrap()])
    }

    #[test]
    fn nothing_is_left_to_fill_in() {
        for kind in [Use::Client, Use::Server, Use::Broker] {
            for snippet in for_kind(&Facts::new("site-001", kind).unwrap()) {
                assert!(!snippet.text.contains('@'), "{}", snippet.text);
                assert!(snippet.text.ends_with('\n'));
            }
        }
        assert_eq!(for_kind(&server()).len(), 6);
    }

    #[test]
    fn names_are_this_certificates_own() {
        let text = mosquitto_listener(&server());
        assert!(
            text.contains("certfile /etc/mosquitto/certs/mqtt.ak-sg.com.crt\n"),
            "{text}"
        );
        let text = haproxy_tcp(&server());
        assert!(
            text.contains("server mqtt.ak-sg.com 10.0.80.50:8883 check"),
            "{text}"
        );
        assert!(!text.contains("CHANGE THIS"));
        let site = Facts::new("site-001", Use::Client).unwrap();
        assert!(mosquitto_bridge(&site).contains("CHANGE THIS"));
        let site = site.with_broker("mqtt.ak-sg.com", 8884).unwrap();
        let text = mosquitto_bridge(&site);
        assert!(
            text.contains("address mqtt.ak-sg.com:8884\n") && !text.contains("CHANGE THIS"),
            "{text}"
        );
    }

    /// What the old system's guide got wrong, or left out.
    #[test]
    fn known_mistakes_are_not_repeated() {
        let bridge = mosquitto_bridge(&Facts::new("site-001", Use::Client).unwrap());
        let topics: Vec<&str> = bridge.lines().filter(|line| line.starts_with("topic ")).collect();
        assert_eq!(
            topics,
            [
                "topic fleet/site-001/up/# out 1",
                "topic fleet/site-001/down/# in 1"
            ]
        );
        assert!(bridge.contains("\ncleansession false\n"));
        let emqx = emqx_listener(&server());
        let (listener, rest) = emqx.split_once("\nmqtt {").unwrap();
        assert!(!listener.contains("peer_cert_as") && rest.contains("peer_cert_as_clientid = cn"));
        assert!(emqx.contains("no_match = deny") && emqx.contains("reuse_sessions = false"));
        let mosquitto = mosquitto_listener(&server());
        assert!(mosquitto.contains("use_username_as_clientid true") && mosquitto.contains("\ncrlfile "));
    }

    #[test]
    fn a_name_cannot_smuggle_in_a_line() {
        for bad in [
            "",
            "a\nallow_anonymous true",
            "a b",
            "a/b",
            "-x",
            "..",
            "a\"b",
            "$x",
            "a#b",
            "a'b",
            "{x}",
            &"x".repeat(254),
        ] {
            assert!(Facts::new(bad, Use::Client).is_err(), "{bad}");
            assert!(server().with_broker(bad, 1).is_err(), "{bad}");
        }
        assert!(Facts::new("tenant:8fa3", Use::Client).is_ok());
        assert!(
            mosquitto_bridge(&Facts::new("a@NAME@b", Use::Client).unwrap())
                .contains("remote_clientid a@NAME@b\n")
        );
        let v6 = server().with_broker("[fd00::1]", 8883).unwrap();
        assert!(try_it(&v6).contains("muster cert inspect [fd00::1]:8883"));
    }
}
