//! `rabbitmq.conf` and `advanced.config`, together.

use super::erlang::{self, Term};
use super::{At, Report, files};

/// What is said about TLS, wherever it stands: the key, its value, and where.
type Options = Vec<(String, String, At)>;

#[derive(Debug)]
struct Line<'a> {
    at: At,
    key: &'a str,
    value: &'a str,
}

fn read<'a>(sources: &[(usize, &'a str)]) -> Vec<Line<'a>> {
    let lines = sources.iter().flat_map(|(source, text)| {
        text.lines().enumerate().filter_map(|(number, line)| {
            let line = line.trim();
            let (key, value) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
            Some(Line {
                at: (*source, number + 1),
                key: key.trim(),
                value: value.trim(),
            })
        })
    });
    lines.collect()
}

pub(super) fn lint(report: &mut Report<'_>, conf: &[(usize, &str)], advanced: &[(usize, &str)]) {
    let lines = read(conf);
    let advanced = advanced.iter().find_map(|(source, text)| {
        let term = erlang::read(text)?;
        let options = term.pair("rabbit")?.second()?.pair("ssl_options")?.clone();
        Some((*source, options))
    });
    let split = lines.iter().find(|line| line.key.starts_with("ssl_options."));
    if let (Some(line), Some(_)) = (split, &advanced) {
        report.danger(
            line.at,
            format!("{} here, and ssl_options in advanced.config", line.key),
            "what is in advanced.config replaces all of these: RabbitMQ does not start (no_cert), or without what stands here",
            "all ssl_options in advanced.config",
        );
    }
    if !lines.is_empty() {
        mqtt(report, &lines);
    }
    match (&advanced, split) {
        (Some((source, options)), _) => {
            tls(report, &of_terms(*source, options), (*source, options.line), true)
        }
        (None, Some(line)) => {
            let options = lines.iter().filter_map(|line| {
                let key = line.key.strip_prefix("ssl_options.")?;
                Some((key.to_owned(), line.value.to_owned(), line.at))
            });
            tls(report, &options.collect(), line.at, false);
        }
        (None, None) => {
            if let Some(line) = lines
                .iter()
                .find(|line| line.key.starts_with("mqtt.listeners.ssl"))
            {
                report.note(
                    line.at,
                    "the ssl_options are not in this file",
                    "whether certificates are checked stands in advanced.config",
                    "muster broker lint rabbitmq.conf advanced.config",
                );
            }
        }
    }
}

fn of_terms(source: usize, options: &Term) -> Options {
    let pairs = options.second().map(Term::parts).unwrap_or_default();
    let read = pairs.iter().filter_map(|pair| {
        let key = pair.parts().first()?.word()?;
        let value = pair.second()?;
        let words: Vec<_> = value.parts().iter().filter_map(Term::word).collect();
        let value = value.word().map_or_else(|| words.join(" "), str::to_owned);
        Some((key.to_owned(), value, (source, pair.line)))
    });
    read.collect()
}

fn mqtt(report: &mut Report<'_>, lines: &[Line<'_>]) {
    let Some(listener) = lines.iter().find(|line| line.key.starts_with("mqtt.")) else {
        return;
    };
    let get = |key: &str| lines.iter().rev().find(|line| line.key == key);
    let at = |key: &str| get(key).map_or(listener.at, |line| line.at);
    let is = |key: &str, value: &str| get(key).is_some_and(|line| line.value == value);
    let tcp = lines
        .iter()
        .rev()
        .find(|line| line.key.starts_with("mqtt.listeners.tcp"));
    let local = |value: &str| {
        value == "none"
            || value.starts_with("127.")
            || value.starts_with("::1")
            || value.starts_with("localhost")
    };
    if !tcp.is_some_and(|line| local(line.value)) {
        report.danger(
            tcp.map_or(listener.at, |line| line.at),
            "the MQTT port without TLS is open",
            "RabbitMQ opens 1883 unless it is told not to, and asks nobody there for a certificate",
            "mqtt.listeners.tcp = none",
        );
    }
    if !is("mqtt.allow_anonymous", "false") {
        report.danger(
            at("mqtt.allow_anonymous"),
            "mqtt.allow_anonymous is not false",
            "whoever names no user works as the default user",
            "mqtt.allow_anonymous = false",
        );
    }
    if !is("mqtt.ssl_cert_login", "true") {
        return report.danger(
            at("mqtt.ssl_cert_login"),
            "mqtt.ssl_cert_login is not true",
            "the user name is what the client says, not what its certificate says",
            "mqtt.ssl_cert_login = true",
        );
    }
    if !is("ssl_cert_login_from", "common_name") {
        report.danger(
            at("ssl_cert_login_from"),
            "ssl_cert_login_from is not common_name",
            "the user name is the whole subject of the certificate, and no such user exists",
            "ssl_cert_login_from = common_name",
        );
    }
}

fn tls(report: &mut Report<'_>, options: &Options, first: At, advanced: bool) {
    let get = |key: &str| options.iter().rev().find(|(name, ..)| name == key);
    let at = |key: &str| get(key).map_or(first, |(.., at)| *at);
    let is = |key: &str, value: &str| get(key).is_some_and(|(_, said, _)| said == value);
    if let Some((_, path, at)) = get("certfile") {
        files::server(report, *at, path);
    }
    if let Some((_, path, at)) = get("keyfile") {
        files::open_key(report, *at, path);
    }
    let versions = || options.iter().filter(|(key, ..)| key.starts_with("versions"));
    if versions().next().is_none() {
        report.danger(
            first,
            "no versions of TLS",
            "unless it is told not to, RabbitMQ speaks TLS 1.1, which is broken",
            "{versions, ['tlsv1.3', 'tlsv1.2']}",
        );
    }
    for (_, value, at) in versions() {
        if value
            .split_whitespace()
            .any(|version| ["tlsv1", "tlsv1.1"].contains(&version))
        {
            report.danger(
                *at,
                format!("versions {value}"),
                "TLS before 1.2 is broken",
                "{versions, ['tlsv1.3', 'tlsv1.2']}",
            );
        }
    }
    if !is("verify", "verify_peer") {
        return report.danger(
            at("verify"),
            "verify is not verify_peer",
            "no client is asked for a certificate",
            "{verify, verify_peer} and {fail_if_no_peer_cert, true}",
        );
    }
    if !is("fail_if_no_peer_cert", "true") {
        report.danger(
            at("fail_if_no_peer_cert"),
            "verify_peer without fail_if_no_peer_cert",
            "clients that show no certificate get as far as the user name",
            "{fail_if_no_peer_cert, true}",
        );
    }
    if !is("reuse_sessions", "false") {
        report.danger(
            at("reuse_sessions"),
            "reuse_sessions is not false",
            "a device that was revoked resumes its TLS 1.2 session, and its certificate is not looked at again",
            "{reuse_sessions, false}",
        );
    }
    if !advanced || !(is("crl_check", "peer") || is("crl_check", "true")) {
        report.danger(
            at("crl_check"),
            "no crl_check",
            "a certificate that was revoked is accepted",
            "in advanced.config: {crl_check, peer} with a crl_cache",
        );
    } else if get("crl_cache").is_none() {
        report.danger(
            at("crl_check"),
            "crl_check without a crl_cache",
            "there is no list, so everybody is refused",
            "{crl_cache, {ssl_crl_hash_dir, {internal, [{dir, \"/etc/rabbitmq/certs/crl\"}]}}}",
        );
    }
}
