//! `mosquitto.conf`: one setting a line; listeners and bridges begin with a line of their own.

use super::{At, Report, acl, bridge, files};

/// A line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting<'a> {
    pub(super) at: At,
    pub(super) key: &'a str,
    pub(super) value: &'a str,
}

/// A listener or a bridge: the line it begins with, and what belongs to it.
#[derive(Debug)]
pub(super) struct Section<'a> {
    pub(super) head: Setting<'a>,
    pub(super) settings: Vec<Setting<'a>>,
}

impl<'a> Section<'a> {
    /// The last line with this key: it is the one that counts.
    pub(super) fn get(&self, key: &str) -> Option<Setting<'a>> {
        last(&self.settings, key)
    }

    /// Whether it is switched on.
    pub(super) fn is(&self, key: &str) -> bool {
        self.get(key).is_some_and(|setting| is_true(setting.value))
    }
}

pub(super) fn is_true(value: &str) -> bool {
    value.eq_ignore_ascii_case("true") || value == "1"
}

fn last<'a>(settings: &[Setting<'a>], key: &str) -> Option<Setting<'a>> {
    settings.iter().rev().find(|setting| setting.key == key).copied()
}

/// What belongs to the listener above it.
const OF_LISTENER: [&str; 19] = [
    "bind_interface",
    "cafile",
    "capath",
    "certfile",
    "ciphers",
    "ciphers_tls1.3",
    "crlfile",
    "dhparamfile",
    "keyfile",
    "max_connections",
    "mount_point",
    "protocol",
    "psk_hint",
    "require_certificate",
    "tls_engine",
    "tls_version",
    "use_identity_as_username",
    "use_subject_as_username",
    "use_username_as_clientid",
];
/// What belongs to the listener above it with `per_listener_settings true`, and to all without.
const OF_SECURITY: [&str; 5] = [
    "acl_file",
    "allow_anonymous",
    "auth_plugin",
    "password_file",
    "plugin",
];
/// What belongs to the bridge above it, besides `bridge_…`, `remote_…` and `local_…`.
const OF_BRIDGE: [&str; 13] = [
    "address",
    "addresses",
    "cleansession",
    "idle_timeout",
    "keepalive_interval",
    "notification_topic",
    "notifications",
    "notifications_local_only",
    "restart_timeout",
    "round_robin",
    "start_type",
    "topic",
    "try_private",
];

#[derive(Debug, Default)]
struct Conf<'a> {
    general: Vec<Setting<'a>>,
    listeners: Vec<Section<'a>>,
    bridges: Vec<Section<'a>>,
    per_listener: bool,
}

fn read<'a>(sources: &[(usize, &'a str)]) -> Conf<'a> {
    let settings = sources.iter().flat_map(|(source, text)| {
        let lines = text.lines().enumerate();
        lines.filter_map(|(number, line)| {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                return None;
            }
            let (key, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let at = (*source, number + 1);
            Some(Setting {
                at,
                key,
                value: value.trim(),
            })
        })
    });
    let settings: Vec<_> = settings.collect();
    let mut conf = Conf {
        per_listener: last(&settings, "per_listener_settings").is_some_and(|setting| is_true(setting.value)),
        ..Conf::default()
    };
    for setting in settings {
        let of_bridge = OF_BRIDGE.contains(&setting.key)
            || ["bridge_", "remote_", "local_"]
                .iter()
                .any(|start| setting.key.starts_with(start));
        let of_listener =
            OF_LISTENER.contains(&setting.key) || (conf.per_listener && OF_SECURITY.contains(&setting.key));
        let section = Section {
            head: setting,
            settings: vec![setting],
        };
        match setting.key {
            "listener" | "port" => conf.listeners.push(section),
            "connection" => conf.bridges.push(section),
            _ if of_bridge => match conf.bridges.last_mut() {
                Some(bridge) => bridge.settings.push(setting),
                None => conf.general.push(setting),
            },
            // Before any listener, it is about the one on port 1883 that is there by itself.
            _ if of_listener && OF_LISTENER.contains(&setting.key) => match conf.listeners.last_mut() {
                Some(listener) => listener.settings.push(setting),
                None => conf.listeners.push(section),
            },
            _ if of_listener => match conf.listeners.last_mut() {
                Some(listener) => listener.settings.push(setting),
                None => conf.general.push(setting),
            },
            _ => conf.general.push(setting),
        }
    }
    conf
}

pub(super) fn lint(report: &mut Report<'_>, sources: &[(usize, &str)]) {
    let conf = read(sources);
    for listener in &conf.listeners {
        // What holds for all stands anywhere, unless each listener has its own.
        let effective = |key: &str| {
            let own = listener.get(key);
            own.or_else(|| last(&conf.general, key).filter(|_| !conf.per_listener))
        };
        if listener.get("certfile").is_some() || listener.get("require_certificate").is_some() {
            with_tls(report, listener);
            let rules = ["acl_file", "plugin", "auth_plugin"];
            if !rules.iter().any(|key| effective(key).is_some()) {
                report.danger(
                    listener.head.at,
                    format!("{} has no acl_file", named(listener)),
                    "every device reads and writes every topic",
                    "acl_file /etc/mosquitto/muster.acl, with: pattern readwrite fleet/%u/#",
                );
            }
        } else {
            without_tls(report, listener);
        }
        if !is_certain(listener)
            && let Some(open) = effective("allow_anonymous").filter(|setting| is_true(setting.value))
            && !is_local(listener)
        {
            report.danger(
                open.at,
                format!(
                    "allow_anonymous true, and {} asks for no certificate",
                    named(listener)
                ),
                "anybody who reaches the port is let in",
                "allow_anonymous false",
            );
        }
    }
    of_all(report, &conf);
    for bridge in &conf.bridges {
        bridge::lint(report, bridge);
    }
}

/// Whether it knows by a certificate who connects.
fn is_certain(listener: &Section<'_>) -> bool {
    listener.is("require_certificate")
}

fn is_local(listener: &Section<'_>) -> bool {
    let mut words = listener.head.value.split_whitespace();
    let port = words.next().filter(|_| listener.head.key != "certfile");
    let loopback = |host: &str| host.starts_with("127.") || host == "::1" || host == "localhost";
    port == Some("0")
        || words.next().is_some_and(loopback)
        || listener
            .get("bind_interface")
            .is_some_and(|setting| setting.value == "lo")
}

fn named(listener: &Section<'_>) -> String {
    match listener.head.key {
        "listener" | "port" => format!("{} {}", listener.head.key, listener.head.value),
        _ => "the listener on port 1883".into(),
    }
}

fn without_tls(report: &mut Report<'_>, listener: &Section<'_>) {
    if is_local(listener) || listener.get("psk_hint").is_some() {
        return;
    }
    report.danger(
        listener.head.at,
        format!("{} speaks MQTT without TLS", named(listener)),
        "everything can be read and changed on the wire, and nobody shows a certificate",
        "take it out, or let only this machine reach it: listener 1883 127.0.0.1",
    );
}

fn with_tls(report: &mut Report<'_>, listener: &Section<'_>) {
    let at = |key: &str| listener.get(key).map_or(listener.head.at, |setting| setting.at);
    let has = |key: &str| listener.get(key).is_some();
    let name = named(listener);
    if has("certfile") && !has("keyfile") {
        report.danger(
            at("certfile"),
            format!("{name} has a certfile and no keyfile"),
            "Mosquitto does not start",
            "keyfile, with the key that belongs to the certificate",
        );
    }
    if let Some(old) = listener
        .get("tls_version")
        .filter(|version| ["tlsv1", "tlsv1.0", "tlsv1.1"].contains(&version.value))
    {
        report.danger(
            old.at,
            format!("tls_version {}", old.value),
            "TLS before 1.2 is broken, and no current client offers it",
            "leave tls_version out: 1.2 and 1.3 are spoken",
        );
    }
    if let Some(certificate) = listener.get("certfile") {
        files::server(report, certificate.at, certificate.value);
    }
    if let Some(key) = listener.get("keyfile") {
        files::mosquitto_key(report, key.at, key.value);
    }
    if !listener.is("require_certificate") {
        return report.danger(
            at("require_certificate"),
            format!("{name} does not require a certificate"),
            "clients without one get as far as the user name",
            "require_certificate true",
        );
    }
    if !has("cafile") && !has("capath") {
        report.danger(
            at("require_certificate"),
            format!("{name} requires certificates and has no cafile"),
            "no CA is trusted, so nobody gets in",
            "cafile, with the root and every issuing CA",
        );
    }
    match listener.get("crlfile") {
        None => report.danger(
            at("require_certificate"),
            format!("{name} has no crlfile"),
            "a revoked device is let in, and a reload does not read a changed cafile",
            "crlfile, with the CRL of every issuing CA: muster ca crl --out crl.pem",
        ),
        Some(crl) => {
            let trust = listener.get("cafile").map(|setting| setting.value);
            files::crls(report, crl.at, crl.value, trust, files::Needs::Issuing);
            if let Some(web) = listener
                .get("protocol")
                .filter(|protocol| protocol.value == "websockets")
            {
                report.danger(
                    web.at,
                    "crlfile on a listener with protocol websockets",
                    "Mosquitto up to 2.0.18 with libwebsockets lets revoked certificates in",
                    "no WebSockets for devices, or HAProxy that ends TLS in front",
                );
            }
        }
    }
    identity(report, listener, &name);
}

fn identity(report: &mut Report<'_>, listener: &Section<'_>, name: &str) {
    let at = |key: &str| listener.get(key).map_or(listener.head.at, |setting| setting.at);
    if listener.is("use_subject_as_username") {
        report.danger(
            at("use_subject_as_username"),
            "use_subject_as_username true",
            "the user name is the whole subject, so no topic rule with %u fits",
            "use_identity_as_username true",
        );
    } else if !listener.is("use_identity_as_username") {
        return report.danger(
            at("use_identity_as_username"),
            format!("{name} does not take the user name from the certificate"),
            "nobody has a name: all are refused (CONNACK 5), or all are anonymous",
            "use_identity_as_username true",
        );
    }
    if !listener.is("use_username_as_clientid") {
        report.danger(
            at("use_username_as_clientid"),
            format!("{name} lets clients choose their client id"),
            "any device takes another's client id and throws it off; no session can be ended by its name",
            "use_username_as_clientid true",
        );
    }
}

/// What is about no single listener.
fn of_all(report: &mut Report<'_>, conf: &Conf<'_>) {
    if conf.per_listener {
        for setting in conf
            .general
            .iter()
            .filter(|setting| OF_SECURITY.contains(&setting.key))
        {
            report.danger(
                setting.at,
                format!(
                    "{} stands before every listener, and per_listener_settings is true",
                    setting.key
                ),
                "it holds for no listener that is named later",
                "per_listener_settings false, or the line below each listener",
            );
        }
    }
    let every = conf.listeners.iter().flat_map(|listener| &listener.settings);
    let all: Vec<_> = conf.general.iter().chain(every).copied().collect();
    let certain = conf
        .listeners
        .iter()
        .any(|listener| listener.is("use_identity_as_username"));
    for setting in all {
        match setting.key {
            "plugin" | "auth_plugin" if certain && setting.value.contains("dynamic_security") => report.note(
                setting.at,
                "the Dynamic Security plug-in with names from certificates",
                "disableClient ends a session and refuses nobody: a disabled device connects again at once",
                "revoke the certificate; disableClient only ends the session",
            ),
            "acl_file" => acl::look(report, setting.at, setting.value),
            _ => {}
        }
    }
}
