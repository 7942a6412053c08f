//! A bridge in `mosquitto.conf`.

use super::mosquitto::{Section, Setting, is_true};
use super::{Report, files};

/// One `topic` line.
struct Topic<'a> {
    setting: Setting<'a>,
    filter: &'a str,
    direction: &'a str,
    qos: &'a str,
    /// Whether names change on the way: then the directions are apart.
    mapped: bool,
}

impl<'a> Topic<'a> {
    fn read(setting: Setting<'a>) -> Option<Self> {
        let words: Vec<&str> = setting.value.split_whitespace().collect();
        Some(Self {
            setting,
            filter: words.first()?,
            direction: words.get(1).copied().unwrap_or("out"),
            qos: words.get(2).copied().unwrap_or("0"),
            mapped: words.len() > 3,
        })
    }
}

pub(super) fn lint(report: &mut Report<'_>, bridge: &Section<'_>) {
    trust(report, bridge);
    let topics: Vec<_> = bridge
        .settings
        .iter()
        .filter(|setting| setting.key == "topic")
        .filter_map(|setting| Topic::read(*setting))
        .collect();
    let clean = bridge
        .get("cleansession")
        .is_some_and(|setting| is_true(setting.value));
    for topic in &topics {
        let line = format!("topic {}", topic.setting.value);
        if topic.direction == "both" && !topic.mapped {
            report.danger(
                topic.setting.at,
                &line,
                "what comes in goes out again: with a bridge on the other side too, or a broker that is no Mosquitto, messages go round",
                "a topic of its own for each direction: topic fleet/NAME/up/# out 1, topic fleet/NAME/down/# in 1",
            );
        }
        let meets = |other: &&Topic<'_>| {
            topic.direction == "out"
                && other.direction == "in"
                && !topic.mapped
                && !other.mapped
                && overlap(topic.filter, other.filter)
        };
        if let Some(other) = topics.iter().find(meets) {
            report.danger(
                topic.setting.at,
                format!("{line}, and topic {} in", other.filter),
                "the two directions share topics, so messages go round",
                "a topic of its own for each direction",
            );
        }
        if topic.qos == "0" && clean {
            report.danger(
                topic.setting.at,
                format!("{line}, with QoS 0 and cleansession true"),
                "everything that is published while the link is down is lost",
                "QoS 1, and cleansession false",
            );
        }
    }
}

fn trust(report: &mut Report<'_>, bridge: &Section<'_>) {
    let has = |key: &str| bridge.get(key).is_some();
    let at = |key: &str| bridge.get(key).map_or(bridge.head.at, |setting| setting.at);
    let secure = [
        "bridge_cafile",
        "bridge_capath",
        "bridge_tls_use_os_certs",
        "bridge_psk",
    ]
    .iter()
    .any(|key| has(key));
    let address = bridge.get("address").or_else(|| bridge.get("addresses"));
    let near = address.is_none_or(|address| {
        ["127.", "localhost", "[::1]"]
            .iter()
            .any(|host| address.value.starts_with(host))
    });
    if !secure && !near {
        report.danger(
            at("address"),
            format!("the bridge {} has no bridge_cafile", bridge.head.value),
            "it speaks without TLS, and to whoever answers at that address",
            "bridge_cafile, with the CA's root",
        );
    }
    if bridge.is("bridge_insecure") {
        report.danger(
            at("bridge_insecure"),
            "bridge_insecure true",
            "whoever has any certificate of this CA can pretend to be the central broker",
            "bridge_insecure false, and the name that is in the broker's certificate as its address",
        );
    }
    if has("bridge_certfile") != has("bridge_keyfile") {
        let there = if has("bridge_certfile") {
            "bridge_certfile"
        } else {
            "bridge_keyfile"
        };
        report.danger(
            at(there),
            format!("{there} without its other half"),
            "the bridge shows no certificate, or does not start",
            "both bridge_certfile and bridge_keyfile",
        );
    } else if secure && !has("bridge_certfile") && !has("bridge_psk") {
        report.danger(
            bridge.head.at,
            format!("the bridge {} shows no certificate", bridge.head.value),
            "a broker that requires one refuses it",
            "bridge_certfile and bridge_keyfile",
        );
    }
    if let Some(certificate) = bridge.get("bridge_certfile") {
        files::client(report, certificate.at, certificate.value);
    }
    if let Some(key) = bridge.get("bridge_keyfile") {
        files::open_key(report, key.at, key.value);
    }
}

/// Whether a topic can fit both filters.
fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('/'), other.split('/'));
    loop {
        match (one.next(), other.next()) {
            (None, None) | (Some("#"), _) | (_, Some("#")) => return true,
            (None, Some(_)) | (Some(_), None) => return false,
            (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
            (Some(_), Some(_)) => return false,
        }
    }
}
