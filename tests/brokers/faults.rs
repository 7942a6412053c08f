//! The faults that are seeded into listeners, and what `muster broker test` has to say of each.

/// What runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Mosquitto,
    /// In front of a Mosquitto without TLS.
    HaProxy,
    RabbitMq,
}

/// One listener.
pub struct Row {
    pub what: &'static str,
    pub program: Program,
    /// What is replaced in the printed configuration.
    pub edits: &'static [(&'static str, &'static str)],
    /// The access list; empty for the printed one.
    pub acl: &'static str,
    /// Files of the broker's that are others.
    pub files: &'static [(&'static str, &'static str)],
    pub host: &'static str,
    /// Whether new lists are brought to it.
    pub brought: bool,
    /// As whom something is wrong, and a part of what is said; nothing else may be.
    pub wrong: &'static [(&'static str, &'static str)],
    /// What cannot be tried, beside what follows from what is wrong.
    pub not_tried: &'static [&'static str],
}

const MOSQUITTO: Row = Row {
    what: "Mosquitto as printed",
    program: Program::Mosquitto,
    edits: &[],
    acl: "",
    files: &[],
    host: "localhost",
    brought: true,
    wrong: &[],
    not_tried: &["trusted CAs", "WebSocket"],
};

const HAPROXY: Row = Row {
    what: "HAProxy as printed",
    program: Program::HaProxy,
    not_tried: &["WebSocket"],
    ..MOSQUITTO
};

/// The agent binds client ids.
pub const RABBIT_WITH_AGENT: Row = Row {
    what: "RabbitMQ with an agent",
    wrong: &[],
    ..RABBIT
};

/// Without an agent beside it, RabbitMQ 3 leaves client ids to whoever asks for them. Its topics have no place for the dots in the names that are tried.
const RABBIT: Row = Row {
    what: "RabbitMQ without an agent",
    program: Program::RabbitMq,
    wrong: &[THROWS_OFF],
    not_tried: &["foreign topic", "another's user name", "WebSocket"],
    ..MOSQUITTO
};

/// What takes WebSocket on beside MQTT, and where it goes.
const PASSED: &str = "tcp-request content reject unless { req.payload(0,0),mqtt_is_valid }";
const FRONT: &str = "default_backend mqtt_brokers\n";
const WEB: &str = "use_backend web if { req.payload(0,3) -m str GET }\n    default_backend mqtt_brokers\n\nbackend web\n    mode tcp\n    \
    timeout connect 5s\n    timeout server 30m\n    server web @WEB@\n";
/// The same with one who judges by client ids, and with nobody else.
const JUDGED: &str = "use_backend web if { req.payload(0,3) -m str GET }\n    default_backend mqtt_brokers\n\nbackend web\n    mode tcp\n    \
    timeout connect 5s\n    timeout server 30m\n    server web @JUDGED@\n";
const ALONE: &str = "default_backend web\n\nbackend web\n    mode tcp\n    \
    timeout connect 5s\n    timeout server 30m\n    server web @WEB@\n";
/// What holds the client id to the certificate.
const SAME: &str = "tcp-request content reject unless { req.payload(0,0),mqtt_field_value(connect,client_identifier),strcmp(sess.name) eq 0 }";

const THROWS_OFF: (&str, &str) = ("another's client id", "took the session over");

pub const GOOD: &[Row] = &[
    MOSQUITTO,
    HAPROXY,
    Row {
        what: "Mosquitto with services that may read more",
        acl: "pattern readwrite fleet/%u/#\nuser backend\ntopic readwrite fleet/#\n",
        ..MOSQUITTO
    },
    Row {
        what: "HAProxy that passes WebSocket on, too",
        edits: &[
            (
                PASSED,
                "tcp-request content accept if { req.payload(0,3) -m str GET }\n    tcp-request content reject unless { req.payload(0,0),mqtt_is_valid }",
            ),
            (FRONT, WEB),
        ],
        not_tried: &[],
        ..HAPROXY
    },
    Row {
        what: "WebSocket that is given to everybody and judged at CONNECT",
        edits: &[
            ("verify required", "verify optional crt-ignore-err 23"),
            (
                PASSED,
                "tcp-request content accept if { req.payload(0,3) -m str GET }\n    tcp-request content reject unless { ssl_c_used } { ssl_c_err 0 }\n    tcp-request content reject unless { req.payload(0,0),mqtt_is_valid }",
            ),
            (FRONT, JUDGED),
        ],
        not_tried: &[],
        ..HAPROXY
    },
];

/// A server's certificate and its key.
macro_rules! shown {
    ($certificate:literal, $key:literal) => {
        &[("mqtt.ak-sg.com.crt", $certificate), ("mqtt.ak-sg.com.key", $key)]
    };
}

pub const ROWS: &[Row] = &[
    Row {
        what: "no certificate needed, and anonymous allowed",
        edits: &[
            ("require_certificate true", "require_certificate false"),
            ("allow_anonymous false", "allow_anonymous true"),
            ("use_identity_as_username true", ""),
            ("use_username_as_clientid true", ""),
        ],
        acl: "pattern readwrite fleet/%c/#\n",
        wrong: &[
            ("no certificate", "let in"),
            ("wrong CA", "let in"),
            ("expired", "let in"),
            ("not yet valid", "let in"),
            ("wrong EKU", "let in"),
            ("revoked", "1 s after its revocation"),
            THROWS_OFF,
        ],
        brought: false,
        ..MOSQUITTO
    },
    Row {
        what: "no crlfile",
        edits: &[("\ncrlfile ", "\n#crlfile ")],
        wrong: &[("revoked", "1 s after its revocation")],
        brought: false,
        ..MOSQUITTO
    },
    Row {
        what: "a list that is never renewed",
        wrong: &[("revoked", "1 s after its revocation")],
        brought: false,
        ..MOSQUITTO
    },
    Row {
        what: "client ids that anybody may choose",
        edits: &[("use_username_as_clientid true", "")],
        wrong: &[THROWS_OFF],
        ..MOSQUITTO
    },
    Row {
        what: "topics by client id, names by nothing",
        edits: &[
            ("allow_anonymous false", "allow_anonymous true"),
            ("use_identity_as_username true", ""),
            ("use_username_as_clientid true", ""),
        ],
        acl: "pattern readwrite fleet/%c/#\n",
        wrong: &[THROWS_OFF],
        ..MOSQUITTO
    },
    Row {
        what: "topics by user name, and any user name is believed",
        edits: &[
            ("allow_anonymous false", "allow_anonymous true"),
            ("use_identity_as_username true", ""),
            ("use_username_as_clientid true", ""),
        ],
        acl: "pattern readwrite fleet/%u/#\npattern readwrite fleet/%c/#\n",
        wrong: &[("another's user name", "it is believed"), THROWS_OFF],
        ..MOSQUITTO
    },
    Row {
        what: "no user names",
        edits: &[("use_identity_as_username true", "")],
        wrong: &[("a good certificate", "it had to be let in")],
        ..MOSQUITTO
    },
    Row {
        what: "no access list",
        edits: &[("acl_file ", "#acl_file ")],
        wrong: &[("foreign topic", "reads"), ("the broker's own topics", "$SYS")],
        ..MOSQUITTO
    },
    Row {
        what: "everybody reads the fleet",
        acl: "pattern readwrite fleet/%u/#\npattern read fleet/#\n",
        wrong: &[(
            "foreign topic",
            "it reads fleet/muster-canary.trial-11/trial, which",
        )],
        ..MOSQUITTO
    },
    Row {
        what: "everybody writes to the fleet",
        acl: "pattern readwrite fleet/%u/#\npattern write fleet/#\n",
        wrong: &[(
            "foreign topic",
            "it writes to fleet/muster-canary.trial-11/trial, which",
        )],
        ..MOSQUITTO
    },
    Row {
        what: "everybody does everything",
        acl: "pattern readwrite #\n",
        wrong: &[(
            "foreign topic",
            "reads fleet/muster-canary.trial-11/trial and writes",
        )],
        ..MOSQUITTO
    },
    Row {
        what: "a pattern one level too high",
        acl: "pattern readwrite fleet/+/#\n",
        wrong: &[(
            "foreign topic",
            "reads fleet/muster-canary.trial-11/trial and writes",
        )],
        ..MOSQUITTO
    },
    Row {
        what: "$SYS for everybody",
        acl: "pattern readwrite fleet/%u/#\npattern read $SYS/#\n",
        wrong: &[("the broker's own topics", "$SYS")],
        ..MOSQUITTO
    },
    Row {
        what: "a name that is not in the broker's certificate",
        host: "127.0.0.2",
        wrong: &[("a client that checks", "It is not for 127.0.0.2")],
        ..MOSQUITTO
    },
    Row {
        what: "another broker's certificate",
        files: shown!(
            "other.example.org/other.example.org.crt",
            "other.example.org/other.example.org.key"
        ),
        wrong: &[("a client that checks", "It is not for localhost")],
        ..MOSQUITTO
    },
    Row {
        what: "a broker's certificate that ran out",
        files: shown!("brief/brief.crt", "brief/brief.key"),
        wrong: &[("a client that checks", "brief expired on")],
        ..MOSQUITTO
    },
    Row {
        what: "a broker's certificate without its issuing CA",
        files: &[
            ("mqtt.ak-sg.com.crt", "alone.crt"),
            ("ca.crt", "data/root_ca.crt"),
        ],
        wrong: &[("a client that checks", "neither sent along nor")],
        ..MOSQUITTO
    },
    Row {
        what: "the list of another CA alone",
        files: &[("crl.pem", "foreign.crl")],
        wrong: &[("a good certificate", "or that CA's CRL")],
        brought: false,
        ..MOSQUITTO
    },
    Row {
        what: "a broker's certificate that it signed itself",
        files: shown!("self.crt", "self.key"),
        wrong: &[("a client that checks", "not among the trusted ones")],
        ..MOSQUITTO
    },
    Row {
        what: "a device's certificate for a broker",
        files: shown!("site-9/site-9.crt", "site-9/site-9.key"),
        wrong: &[("a client that checks", "may not identify itself as a server")],
        ..MOSQUITTO
    },
    Row {
        what: "no TLS at all",
        edits: &[
            ("\ncafile ", "\n#cafile "),
            ("\ncertfile ", "\n#certfile "),
            ("\nkeyfile ", "\n#keyfile "),
            ("\nrequire_certificate ", "\n#require_certificate "),
            ("\nuse_identity_as_username ", "\n#"),
            ("\ncrlfile ", "\n#crlfile "),
        ],
        wrong: &[("without TLS", "MQTT without TLS")],
        not_tried: &[],
        ..MOSQUITTO
    },
    Row {
        what: "certificates that are not asked for at HAProxy",
        edits: &[("verify required", "verify none"), (SAME, "")],
        wrong: &[
            ("no certificate", "let in"),
            ("wrong CA", "let in"),
            ("expired", "let in"),
            ("not yet valid", "let in"),
            ("wrong EKU", "let in"),
            ("revoked", "1 s after"),
            THROWS_OFF,
        ],
        not_tried: &["trusted CAs", "WebSocket"],
        brought: false,
        ..HAPROXY
    },
    Row {
        what: "certificates that are optional at HAProxy",
        edits: &[
            ("verify required", "verify optional"),
            (
                "client_identifier),strcmp(sess.name) eq 0 }",
                "client_identifier),strcmp(sess.name) eq 0 } || !{ ssl_c_used }",
            ),
        ],
        wrong: &[("no certificate", "let in")],
        ..HAPROXY
    },
    Row {
        what: "another CA among those that HAProxy trusts",
        files: &[("ca.crt", "both.crt")],
        wrong: &[("trusted CAs", "\"localhost\"")],
        ..HAPROXY
    },
    Row {
        what: "dates that do not matter at HAProxy: expired",
        edits: &[("verify required", "verify required crt-ignore-err 10")],
        wrong: &[("expired", "let in")],
        ..HAPROXY
    },
    Row {
        what: "dates that do not matter at HAProxy: not yet valid",
        edits: &[("verify required", "verify required crt-ignore-err 9")],
        wrong: &[("not yet valid", "let in")],
        ..HAPROXY
    },
    Row {
        what: "a purpose that does not matter at HAProxy",
        edits: &[("verify required", "verify required crt-ignore-err 26")],
        wrong: &[("wrong EKU", "let in")],
        ..HAPROXY
    },
    Row {
        what: "CAs that do not matter at HAProxy",
        edits: &[(
            "verify required",
            "verify required ca-ignore-err all crt-ignore-err 3,20,21,27",
        )],
        wrong: &[("wrong CA", "let in")],
        ..HAPROXY
    },
    Row {
        what: "revocations that do not matter at HAProxy",
        edits: &[("verify required", "verify required crt-ignore-err 23")],
        wrong: &[("revoked", "1 s after")],
        brought: false,
        ..HAPROXY
    },
    Row {
        what: "no crl-file at HAProxy",
        edits: &[(" crl-file /etc/haproxy/certs/crl.pem", "")],
        wrong: &[("revoked", "1 s after")],
        brought: false,
        ..HAPROXY
    },
    Row {
        what: "sessions that are resumed at HAProxy",
        edits: &[
            (" no-tls-tickets", ""),
            ("tune.ssl.cachesize 0", "tune.ssl.cachesize 1000"),
        ],
        wrong: &[("resumed session", "is let in after the revocation")],
        ..HAPROXY
    },
    Row {
        what: "client ids that HAProxy does not look at",
        edits: &[(SAME, "")],
        wrong: &[THROWS_OFF],
        ..HAPROXY
    },
    Row {
        what: "topics by a user name that HAProxy does not look at",
        acl: "pattern readwrite fleet/%c/#\npattern readwrite fleet/%u/#\n",
        wrong: &[("another's user name", "it is believed")],
        ..HAPROXY
    },
    Row {
        what: "TLS 1.1",
        edits: &[(
            "ssl-min-ver TLSv1.2",
            "ssl-min-ver TLSv1.1 ciphers DEFAULT@SECLEVEL=0",
        )],
        wrong: &[("TLS 1.0 or 1.1", "speaks TLS 1.1")],
        ..HAPROXY
    },
    Row {
        what: "ciphers that encrypt nothing",
        edits: &[(
            "ssl-min-ver TLSv1.2",
            "ssl-min-ver TLSv1.2 ciphers ALL:!aNULL:eNULL@SECLEVEL=0",
        )],
        wrong: &[("a weak cipher", "that encrypts nothing")],
        ..HAPROXY
    },
    Row {
        what: "ciphers without certificates",
        edits: &[(
            "ssl-min-ver TLSv1.2",
            "ssl-min-ver TLSv1.2 ciphers ALL:aNULL@SECLEVEL=0",
        )],
        wrong: &[("a weak cipher", "without certificates")],
        ..HAPROXY
    },
    Row {
        what: "WebSocket without a certificate beside MQTT with one",
        edits: &[
            ("verify required", "verify optional"),
            (
                PASSED,
                "tcp-request content accept if { req.payload(0,3) -m str GET }\n    tcp-request content reject unless { ssl_c_used }\n    tcp-request content reject unless { req.payload(0,0),mqtt_is_valid }",
            ),
            (FRONT, WEB),
        ],
        wrong: &[("WebSocket", "who shows no certificate is let in over WebSocket")],
        not_tried: &[],
        ..HAPROXY
    },
    Row {
        what: "a port for WebSocket alone, without a certificate",
        edits: &[
            ("verify required", "verify optional"),
            (
                PASSED,
                "tcp-request content accept if { req.payload(0,3) -m str GET }\n    tcp-request content reject",
            ),
            (FRONT, WEB),
        ],
        wrong: &[("no certificate", "let in")],
        not_tried: &[
            "another's client id",
            "foreign topic",
            "another's user name",
            "the broker's own topics",
        ],
        ..HAPROXY
    },
    Row {
        what: "WebSocket beside an MQTT that refuses every session",
        edits: &[
            (
                PASSED,
                "tcp-request content accept if { req.payload(0,3) -m str GET }\n    tcp-request content reject unless { req.payload(0,0),mqtt_is_valid }",
            ),
            (FRONT, ALONE),
        ],
        wrong: &[("a good certificate", "the broker refused the session")],
        ..HAPROXY
    },
    Row {
        what: "certificates that do not matter, and in TLS 1.2 no cipher in common",
        edits: &[
            (
                "verify required",
                "verify required ca-ignore-err all crt-ignore-err all",
            ),
            (
                "ssl-min-ver TLSv1.2",
                "ssl-min-ver TLSv1.2 ciphers AES128-SHA:ECDHE-ECDSA-AES128-SHA",
            ),
        ],
        wrong: &[
            ("wrong CA", "let in"),
            ("expired", "let in"),
            ("not yet valid", "let in"),
            ("wrong EKU", "let in"),
            ("revoked", "1 s after"),
        ],
        brought: false,
        ..HAPROXY
    },
    Row {
        what: "the one that is to be revoked has no session to lose",
        edits: &[(
            PASSED,
            "tcp-request content reject if { req.payload(0,0),mqtt_field_value(connect,client_identifier) -m end .revoked }\n    tcp-request content reject unless { req.payload(0,0),mqtt_is_valid }",
        )],
        not_tried: &["WebSocket", "revoked", "resumed session"],
        ..HAPROXY
    },
];

pub const RABBITMQ: &[Row] = &[
    Row {
        what: "RabbitMQ that needs no certificate",
        edits: &[
            ("{fail_if_no_peer_cert, true}", "{fail_if_no_peer_cert, false}"),
            ("mqtt.allow_anonymous = false", "mqtt.allow_anonymous = true"),
        ],
        wrong: &[("no certificate", "let in"), THROWS_OFF],
        ..RABBIT
    },
    Row {
        what: "RabbitMQ that resumes sessions",
        edits: &[("{reuse_sessions, false}", "{reuse_sessions, true}")],
        wrong: &[("resumed session", "is let in after the revocation"), THROWS_OFF],
        ..RABBIT
    },
];
