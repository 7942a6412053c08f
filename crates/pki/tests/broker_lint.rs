//! Every fault that is put into a good configuration is found, in its line; and nothing in those that Muster prints.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{CLIENT, ISSUING_CA, Lab, SERVER};
use jiff::Timestamp;
use muster_pki::broker_lint::{Finding, Format, Level, Looked, Seen, Source, lint};
use muster_pki::snippet::{Facts, Program, Snippet, Use, for_program, mosquitto_kept};

const ALL: [Program; 6] = [
    Program::Mosquitto,
    Program::Bridge,
    Program::Emqx,
    Program::RabbitMq,
    Program::HaProxy,
    Program::HaProxyTcp,
];

fn printed(program: Program) -> Vec<Snippet> {
    let facts = match program {
        Program::Bridge => Facts::new("site-001", Use::Client),
        Program::Mosquitto | Program::Emqx | Program::RabbitMq | Program::HaProxy | Program::HaProxyTcp => {
            Facts::new("mqtt.ak-sg.com", Use::Server)
        }
    };
    let facts = facts.unwrap().with_broker("mqtt.ak-sg.com", 8883).unwrap();
    for_program(&facts, program)
}

fn judge(texts: &[String], look: &dyn Fn(&str) -> Looked) -> Vec<Finding> {
    judge_at(texts, look, Timestamp::UNIX_EPOCH)
}

fn judge_at(texts: &[String], look: &dyn Fn(&str) -> Looked, now: Timestamp) -> Vec<Finding> {
    let names: Vec<String> = (0..texts.len()).map(|number| format!("file{number}")).collect();
    let sources: Vec<_> = texts
        .iter()
        .zip(&names)
        .map(|(text, name)| Source {
            name,
            text,
            format: Format::guess(text),
        })
        .collect();
    lint(&sources, look, now)
}

fn elsewhere(_: &str) -> Looked {
    Looked::Elsewhere
}

#[test]
fn nothing_is_found_in_what_is_printed() {
    for program in ALL {
        let texts: Vec<_> = printed(program).into_iter().map(|part| part.text).collect();
        assert_eq!(judge(&texts, &elsewhere), [], "{program:?}");
    }
    assert_eq!(
        judge(
            &[mosquitto_kept(Path::new("/etc/mosquitto/muster"), "8883")],
            &elsewhere
        ),
        []
    );
}

/// A fault: in which program, what is replaced by what, a word of the finding, and the line that it names (as it is then).
struct Fault(Program, &'static str, &'static str, &'static str, &'static str);

const FAULTS: [Fault; 53] = {
    use Program::{Bridge, Emqx, HaProxy, HaProxyTcp, Mosquitto, RabbitMq};
    [
        Fault(
            Mosquitto,
            "require_certificate true\n",
            "",
            "does not require",
            "listener 8883",
        ),
        Fault(
            Mosquitto,
            "require_certificate true",
            "require_certificate false",
            "does not require",
            "require_certificate false",
        ),
        Fault(
            Mosquitto,
            "\ncrlfile ",
            "\n#crlfile ",
            "no crlfile",
            "require_certificate true",
        ),
        Fault(
            Mosquitto,
            "use_username_as_clientid true\n",
            "",
            "choose their client id",
            "listener 8883",
        ),
        Fault(
            Mosquitto,
            "use_identity_as_username true\n",
            "",
            "does not take the user name",
            "listener 8883",
        ),
        Fault(
            Mosquitto,
            "use_identity_as_username",
            "use_subject_as_username",
            "use_subject_as_username",
            "use_subject_as_username true",
        ),
        Fault(
            Mosquitto,
            "\nlistener 8883",
            "\nlistener 1883\nlistener 8883",
            "without TLS",
            "listener 1883",
        ),
        Fault(
            Mosquitto,
            "allow_anonymous false",
            "listener 1884\nallow_anonymous true",
            "allow_anonymous true",
            "allow_anonymous true",
        ),
        Fault(
            Mosquitto,
            "acl_file /",
            "#acl_file /",
            "no acl_file",
            "listener 8883",
        ),
        Fault(
            Mosquitto,
            "\ncafile ",
            "\n#cafile ",
            "no cafile",
            "require_certificate true",
        ),
        Fault(
            Mosquitto,
            "\nkeyfile ",
            "\n#keyfile ",
            "no keyfile",
            "certfile /etc/mosquitto/certs/mqtt.ak-sg.com.crt",
        ),
        Fault(
            Mosquitto,
            "listener 8883\n",
            "listener 8883\nprotocol websockets\n",
            "websockets",
            "protocol websockets",
        ),
        Fault(
            Mosquitto,
            "listener 8883\n",
            "listener 8883\ntls_version tlsv1.1\n",
            "tls_version",
            "tls_version tlsv1.1",
        ),
        Fault(
            Mosquitto,
            "per_listener_settings false",
            "per_listener_settings true",
            "stands before every listener",
            "allow_anonymous false",
        ),
        Fault(
            Mosquitto,
            "allow_anonymous false",
            "plugin /usr/lib/mosquitto_dynamic_security.so",
            "Dynamic Security",
            "plugin /usr/lib/mosquitto_dynamic_security.so",
        ),
        Fault(
            Mosquitto,
            "pattern readwrite fleet/%u/#",
            "pattern readwrite fleet/#",
            "pattern readwrite fleet/#",
            "pattern readwrite fleet/#",
        ),
        Fault(
            Mosquitto,
            "pattern readwrite fleet/%u/#",
            "pattern readwrite fleet/x%u/#",
            "pattern readwrite",
            "pattern readwrite fleet/x%u/#",
        ),
        Fault(
            Mosquitto,
            "pattern readwrite fleet/%u/#",
            "topic readwrite #\npattern readwrite fleet/%u/#",
            "topic readwrite #",
            "topic readwrite #",
        ),
        Fault(
            Bridge,
            "topic fleet/site-001/up/# out 1",
            "topic # both 1",
            "topic # both",
            "topic # both 1",
        ),
        Fault(
            Bridge,
            "up/# out 1",
            "down/# out 1",
            "in",
            "topic fleet/site-001/down/# out 1",
        ),
        Fault(
            Bridge,
            "up/# out 1\ntopic fleet/site-001/down/# in 1\ncleansession false",
            "up/# out 0\ncleansession true",
            "QoS 0",
            "topic fleet/site-001/up/# out 0",
        ),
        Fault(
            Bridge,
            "bridge_insecure false",
            "bridge_insecure true",
            "bridge_insecure",
            "bridge_insecure true",
        ),
        Fault(
            Bridge,
            "bridge_cafile ",
            "#bridge_cafile ",
            "no bridge_cafile",
            "address mqtt.ak-sg.com:8883",
        ),
        Fault(
            Bridge,
            "bridge_keyfile ",
            "#bridge_keyfile ",
            "without its other half",
            "bridge_certfile /etc/mosquitto/certs/site-001.crt",
        ),
        Fault(
            Emqx,
            "    fail_if_no_peer_cert = true\n",
            "",
            "without fail_if_no_peer_cert",
            "verify = verify_peer",
        ),
        Fault(
            Emqx,
            "verify = verify_peer",
            "verify = verify_none",
            "does not verify",
            "verify = verify_none",
        ),
        Fault(
            Emqx,
            "    verify = verify_peer\n",
            "    peer_cert_as_username = cn\n    verify = verify_peer\n",
            "peer_cert_as_username",
            "peer_cert_as_username = cn",
        ),
        Fault(
            Emqx,
            "  peer_cert_as_clientid = cn\n",
            "",
            "peer_cert_as_clientid is not set",
            "bind = \"0.0.0.0:8883\"",
        ),
        Fault(
            Emqx,
            "  peer_cert_as_username = cn\n",
            "",
            "peer_cert_as_username is not set",
            "bind = \"0.0.0.0:8883\"",
        ),
        Fault(
            Emqx,
            "no_match = deny",
            "no_match = allow",
            "no_match",
            "no_match = allow",
        ),
        Fault(
            Emqx,
            "reuse_sessions = false",
            "reuse_sessions = true",
            "resumes",
            "reuse_sessions = true",
        ),
        Fault(
            Emqx,
            "listeners.tcp.default.enable = false\n",
            "",
            "listeners.tcp.default is open",
            "bind = \"0.0.0.0:8883\"",
        ),
        Fault(
            Emqx,
            "\"tlsv1.2\"]",
            "\"tlsv1.1\"]",
            "tlsv1.1",
            "versions = [\"tlsv1.3\", \"tlsv1.1\"]",
        ),
        Fault(
            Emqx,
            "# enable_crl_check = true",
            "enable_crl_check = true",
            "enable_crl_check",
            "enable_crl_check = true",
        ),
        Fault(
            Emqx,
            "{deny, all}.",
            "{allow, all}.",
            "{allow, all}",
            "{allow, all}.",
        ),
        Fault(
            RabbitMq,
            "mqtt.listeners.tcp = none\n",
            "",
            "without TLS is open",
            "mqtt.listeners.ssl.default = 8883",
        ),
        Fault(
            RabbitMq,
            "mqtt.allow_anonymous = false",
            "mqtt.allow_anonymous = true",
            "allow_anonymous",
            "mqtt.allow_anonymous = true",
        ),
        Fault(
            RabbitMq,
            "mqtt.ssl_cert_login = true",
            "mqtt.ssl_cert_login = false",
            "ssl_cert_login",
            "mqtt.ssl_cert_login = false",
        ),
        Fault(
            RabbitMq,
            "from = common_name",
            "from = distinguished_name",
            "ssl_cert_login_from",
            "ssl_cert_login_from = distinguished_name",
        ),
        Fault(
            RabbitMq,
            "ssl_cert_login_from",
            "ssl_options.verify = verify_peer\nssl_cert_login_from",
            "ssl_options in advanced.config",
            "ssl_options.verify = verify_peer",
        ),
        Fault(
            RabbitMq,
            "{versions, ['tlsv1.3', 'tlsv1.2']},",
            "",
            "no versions",
            "{ssl_options, [",
        ),
        Fault(
            RabbitMq,
            "{reuse_sessions, false},",
            "",
            "reuse_sessions",
            "{ssl_options, [",
        ),
        Fault(
            RabbitMq,
            "{fail_if_no_peer_cert, true}",
            "{fail_if_no_peer_cert, false}",
            "fail_if_no_peer_cert",
            "{fail_if_no_peer_cert, false},",
        ),
        Fault(
            RabbitMq,
            "{verify, verify_peer}",
            "{verify, verify_none}",
            "verify_peer",
            "{verify, verify_none},",
        ),
        Fault(
            RabbitMq,
            "{crl_check, peer},",
            "",
            "no crl_check",
            "{ssl_options, [",
        ),
        Fault(HaProxy, "tune.ssl.cachesize 0", "", "resumes", "bind "),
        Fault(HaProxy, " no-tls-tickets", "", "resumes", "bind "),
        Fault(
            HaProxy,
            "verify required",
            "verify optional",
            "does not require",
            "bind ",
        ),
        Fault(
            HaProxy,
            " crl-file /etc/haproxy/certs/crl.pem",
            "",
            "no crl-file",
            "bind ",
        ),
        Fault(
            HaProxy,
            "mqtt_field_value(connect,client_identifier),strcmp(sess.name) eq 0",
            "mqtt_is_valid",
            "holds nobody",
            "frontend mqtts",
        ),
        Fault(
            HaProxy,
            "ssl-min-ver TLSv1.2",
            "ssl-min-ver TLSv1.0",
            "before 1.2",
            "bind ",
        ),
        Fault(
            HaProxyTcp,
            "timeout client 30m",
            "timeout client 50s",
            "timeout client",
            "timeout client 50s",
        ),
        Fault(
            HaProxyTcp,
            "    mode tcp\n    option tcplog",
            "    mode http\n    option httplog",
            "HTTP mode",
            "mode http",
        ),
    ]
};

#[test]
fn every_fault_is_found_in_its_line() {
    for Fault(program, good, bad, word, line) in FAULTS {
        let mut texts: Vec<_> = printed(program).into_iter().map(|part| part.text).collect();
        assert!(
            texts.iter().any(|text| text.contains(good)),
            "{program:?}: {good:?} is not printed"
        );
        for text in &mut texts {
            *text = text.replace(good, bad);
        }
        let findings = judge(&texts, &elsewhere);
        let found = findings.iter().find(|finding| finding.what.contains(word));
        let found = found.unwrap_or_else(|| panic!("{program:?} {bad:?}: {word:?} is not in {findings:#?}"));
        let number: usize = found.file.trim_start_matches("file").parse().unwrap();
        let named = texts[number].lines().nth(found.line - 1).unwrap();
        assert!(
            named.trim().starts_with(line),
            "{program:?} {bad:?}: line {} is {named:?}",
            found.line
        );
        assert!(!found.why.is_empty() && !found.fix.is_empty());
    }
}

#[test]
fn what_is_sound_for_those_who_know_it_is_a_note() {
    let proxy = printed(Program::HaProxyTcp)[0]
        .text
        .replace(" check inter 10s", " send-proxy-v2 check");
    let findings = judge(&[proxy], &elsewhere);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].level, Level::Note);
}

/// Files that are there, as a look at the machine shows them.
fn look_in(files: BTreeMap<String, Seen>) -> impl Fn(&str) -> Looked {
    move |path| {
        files
            .get(path)
            .map_or(Looked::Missing, |seen| Looked::There(seen.clone()))
    }
}

#[test]
fn files_that_it_names_are_looked_at() {
    let Some(lab) = Lab::with_cas() else { return };
    let seen = |bytes: String, mode: u32, owner: u32| Seen {
        bytes: bytes.into_bytes(),
        mode,
        owner,
    };
    let crl = lab.crl("ca", &[]);
    lab.issue("mqtt", "mqtt.ak-sg.com", "ca", SERVER);
    lab.issue("site", "site-001", "ca", CLIENT);
    lab.issue("bare", "mqtt.ak-sg.com", "ca", "extendedKeyUsage=serverAuth\n");
    lab.issue("other", "Another issuing CA", "root", ISSUING_CA);
    let good: BTreeMap<String, Seen> = [
        ("certs/ca.crt", seen(lab.join(&["root.crt", "ca.crt"]), 0o644, 0)),
        (
            "certs/mqtt.ak-sg.com.crt",
            seen(lab.join(&["mqtt.crt", "ca.crt"]), 0o644, 0),
        ),
        ("certs/mqtt.ak-sg.com.key", seen(String::new(), 0o640, 0)),
        ("certs/crl.pem", seen(crl.clone(), 0o644, 0)),
        (
            "muster.acl",
            seen(printed(Program::Mosquitto)[1].text.clone(), 0o640, 0),
        ),
    ]
    .map(|(name, seen)| (format!("/etc/mosquitto/{name}"), seen))
    .into();
    let text = [printed(Program::Mosquitto)[0].text.clone()];
    assert_eq!(judge_at(&text, &look_in(good.clone()), lab.now()), []);

    let spoilt = |name: &str, with: Option<Seen>, word: &str| {
        let mut files = good.clone();
        let path = format!("/etc/mosquitto/{name}");
        match with {
            Some(seen) => files.insert(path, seen),
            None => files.remove(&path),
        };
        let findings = judge_at(&text, &look_in(files), lab.now());
        assert!(
            findings.iter().any(|finding| finding.what.contains(word)),
            "{name} {word}: {findings:#?}"
        );
    };
    spoilt(
        "certs/mqtt.ak-sg.com.key",
        Some(seen(String::new(), 0o600, 0)),
        "root alone",
    );
    spoilt(
        "certs/mqtt.ak-sg.com.key",
        Some(seen(String::new(), 0o644, 0)),
        "by everybody",
    );
    spoilt("certs/mqtt.ak-sg.com.key", None, "not there");
    let pair = "certs/mqtt.ak-sg.com.crt";
    for (files, word) in [
        (&["site.crt", "ca.crt"][..], "is not a server's"),
        (&["bare.crt", "ca.crt"], "no DNS name"),
        (&["mqtt.crt"], "without its issuing CA's"),
        (&["mqtt.key"], "no certificate that can be read"),
    ] {
        spoilt(pair, Some(seen(lab.join(files), 0o644, 0)), word);
    }
    spoilt(pair, None, "not there");
    for (days, word) in [(31, "ran out at"), (-31, "begins only at")] {
        let then = lab.now() + jiff::SignedDuration::from_hours(24 * days);
        let findings = judge_at(&text, &look_in(good.clone()), then);
        let about =
            |finding: &&Finding| finding.what.contains("the certificate in") && finding.what.contains(word);
        assert!(findings.iter().any(|one| about(&one)), "{findings:#?}");
    }
    let later = judge_at(
        &text,
        &look_in(good.clone()),
        lab.now() + jiff::SignedDuration::from_hours(24 * 8),
    );
    assert!(
        later.iter().any(|one| one.what.contains("a list in")),
        "{later:#?}"
    );
    spoilt("certs/crl.pem", None, "not there");
    spoilt(
        "certs/crl.pem",
        Some(seen(crl[..crl.len() / 2].into(), 0o644, 0)),
        "no revocation list",
    );
    spoilt(
        "certs/ca.crt",
        Some(seen(lab.read("root.crt") + &lab.read("other.crt"), 0o644, 0)),
        "no list of",
    );
    spoilt(
        "muster.acl",
        Some(seen("pattern readwrite #\n".into(), 0o640, 0)),
        "pattern readwrite #",
    );
    spoilt("muster.acl", None, "not there");
}

#[test]
fn rumqttd_is_told_apart_and_needs_a_gate() {
    let text = "id = 0\n[router]\nid = 0\n[v4.1]\nlisten = \"0.0.0.0:8883\"\n[v4.1.tls]\ncapath = \"ca.crt\"\n[v4.2]\nlisten = \"0.0.0.0:1883\"\n[v5.1]\nlisten = \"127.0.0.1:1884\"\n";
    assert_eq!(Format::guess(text), Format::Rumqttd);
    let findings = judge(&[text.to_owned()], &elsewhere);
    let lines: Vec<_> = findings.iter().map(|finding| finding.line).collect();
    assert_eq!(lines, [7, 9], "{findings:#?}");
    assert!(findings[0].what.contains("verify-client-cert") && findings[1].what.contains("0.0.0.0:1883"));
}

#[test]
fn any_text_is_read_to_its_end() {
    bolero::check!().for_each(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        for format in [
            Format::Mosquitto,
            Format::MosquittoAcl,
            Format::Emqx,
            Format::EmqxAcl,
            Format::RabbitMq,
            Format::RabbitMqAdvanced,
            Format::HaProxy,
            Format::Rumqttd,
        ] {
            let source = Source {
                name: "any",
                text: &text,
                format,
            };
            let lines = text.lines().count();
            for finding in lint(&[source], &elsewhere, Timestamp::UNIX_EPOCH) {
                assert!(
                    (1..=lines.max(1)).contains(&finding.line),
                    "{finding:?} of {lines}"
                );
            }
        }
        let _ = Format::guess(&text);
    });
}

/// Words of the formats, mixed: what plain noise hardly ever makes.
#[test]
fn any_words_are_read_to_their_end() {
    const WORDS: [&str; 28] = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        "'",
        "=",
        ":",
        ",",
        "\n",
        " ",
        "#",
        "%",
        "\\",
        ".",
        "+",
        "\"\"\"",
        "listeners.ssl.default",
        "ssl_options",
        "verify",
        "bind",
        "frontend",
        "ssl",
        "topic",
        "connection",
        "listener",
        "rabbit",
        "é",
    ];
    bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
        let text: String = bytes
            .iter()
            .map(|byte| WORDS[usize::from(*byte) % WORDS.len()])
            .collect();
        for format in [
            Format::Mosquitto,
            Format::Emqx,
            Format::RabbitMqAdvanced,
            Format::HaProxy,
        ] {
            let source = Source {
                name: "any",
                text: &text,
                format,
            };
            let _ = lint(&[source], &elsewhere, Timestamp::UNIX_EPOCH);
        }
    });
}
