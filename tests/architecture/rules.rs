//! The house plan: crates, arrows, walls and what is out of bounds. Data only.

/// Our crates, and which of ours each may depend on. A crate that is not here must earn a line first.
pub(crate) const ARROWS: [(&str, &[&str]); 8] = [
    ("muster-pki", &[]),
    ("muster-api", &[]),
    ("muster-ca", &["muster-pki"]),
    ("muster-backends", &["muster-ca", "muster-pki"]),
    ("muster-server", &["muster-ca", "muster-api", "muster-pki"]),
    ("muster-agent", &["muster-api", "muster-pki"]),
    (
        "muster",
        &[
            "muster-pki",
            "muster-ca",
            "muster-backends",
            "muster-api",
            "muster-server",
            "muster-agent",
        ],
    ),
    // It looks at the built program from outside, with the same parser of requests.
    ("muster-bench", &["muster-pki", "muster-server"]),
];

/// Arrows that tests alone may use; what is shipped cannot name what is behind them.
pub(crate) const TEST_ARROWS: [(&str, &str); 1] = [
    // The edge is tested over sockets, on a real store: a made-up one would have to be as right as that.
    ("muster-server", "muster-backends"),
];

/// A crate from outside, the only ones of ours that may depend on it for what is shipped, and why.
pub(crate) const OUTSIDE: [(&str, &[&str], &str); 14] = [
    ("rusqlite", &["muster-backends"], "SQL belongs to the stores"),
    ("axum", &["muster-server"], "HTTP belongs to the edge"),
    ("tower", &["muster-server"], "HTTP belongs to the edge"),
    ("tower-http", &["muster-server"], "HTTP belongs to the edge"),
    (
        "hyper",
        &["muster-server", "muster-api", "muster-agent"],
        "HTTP belongs to the edge, to the client, and to what brokers ask and are told",
    ),
    (
        "hyper-util",
        &["muster-server", "muster-api", "muster-agent"],
        "HTTP belongs to the edge, to the client, and to what brokers ask and are told",
    ),
    (
        "http",
        &["muster-server", "muster-api", "muster-agent"],
        "HTTP belongs to the edge and to the client",
    ),
    (
        "rustls",
        &[
            "muster-server",
            "muster-api",
            "muster-agent",
            "muster",
            "muster-bench",
        ],
        "sockets belong to the outside",
    ),
    (
        "tokio",
        &[
            "muster-backends",
            "muster-server",
            "muster-api",
            "muster-agent",
            "muster",
            "muster-bench",
        ],
        "the authority runs on no runtime, and pki does not wait",
    ),
    (
        "clap",
        &["muster", "muster-agent", "muster-bench"],
        "command lines belong to programs",
    ),
    (
        "async-trait",
        &[
            "muster-ca",
            "muster-backends",
            "muster-server",
            "muster-agent",
            "muster",
        ],
        "pki does not wait",
    ),
    ("openssl", &[], "one TLS stack"),
    ("native-tls", &[], "one TLS stack"),
    ("reqwest", &[], "hyper is there already"),
];

/// Places inside one crate that do not see each other.
pub(crate) enum Wall {
    /// These modules.
    Between(&'static str, &'static [&'static str]),
    /// Every module right below this one.
    AllBelow(&'static str, &'static str),
}

pub(crate) const WALLS: [Wall; 5] = [
    Wall::Between("muster_backends", &["store", "signer", "notify"]),
    Wall::Between("muster_server", &["protocols", "web"]),
    Wall::AllBelow("muster_server", "protocols"),
    Wall::Between("muster_agent", &["beside", "device"]),
    Wall::AllBelow("muster_agent", "beside::broker"),
];

/// Something that shipped code of some crates does not name.
pub(crate) struct Ban {
    /// Crates that it holds for; empty means all.
    pub(crate) crates: &'static [&'static str],
    /// Beginning of a path, or its end after `…::`.
    pub(crate) path: &'static str,
    /// Why not.
    pub(crate) why: &'static str,
    /// Longer paths, and files, that are let through.
    pub(crate) except: &'static [&'static str],
}

const fn ban(crates: &'static [&'static str], path: &'static str, why: &'static str) -> Ban {
    ban_except(crates, path, why, &[])
}

const fn ban_except(
    crates: &'static [&'static str],
    path: &'static str,
    why: &'static str,
    except: &'static [&'static str],
) -> Ban {
    Ban {
        crates,
        path,
        why,
        except,
    }
}

const EVERYWHERE: &[&str] = &[];
const PURE: &[&str] = &["muster_pki", "muster_ca"];
/// All but the agent, whose hooks reload a broker, and the benchmark, which starts the programs that it measures.
const NOT_OUTSIDE: &[&str] = &[
    "muster_pki",
    "muster_ca",
    "muster_backends",
    "muster_api",
    "muster_server",
    "muster",
];

/// Types that describe an address and open nothing.
const ADDRESSES: &[&str] = &[
    "std::net::IpAddr",
    "std::net::Ipv4Addr",
    "std::net::Ipv6Addr",
    "std::net::SocketAddr",
];
/// The only files that read the wall clock, one for each program, and a program that measures.
const CLOCKS: &[&str] = &["src/real.rs", "crates/agent/src/main.rs", "bench/src"];
/// aws-lc-rs asks for a generator in order to sign, and then uses its own.
const SIGNING: &[&str] = &["crates/pki/src/key.rs"];

pub(crate) const BANS: [Ban; 16] = [
    ban(PURE, "std::fs", "no files here: bytes come in as arguments"),
    ban_except(PURE, "std::net", "no sockets here", ADDRESSES),
    ban(PURE, "std::env", "configuration comes in as arguments"),
    ban(PURE, "std::thread", "the caller decides what runs where"),
    ban(PURE, "…::Instant::now", "time is an argument"),
    ban(&["muster_pki"], "async", "pki does not wait"),
    ban(&["muster_pki"], "await", "pki does not wait"),
    ban_except(
        &["muster_pki"],
        "aws_lc_rs::rand",
        "randomness is an argument",
        SIGNING,
    ),
    ban(
        &["muster_ca"],
        "aws_lc_rs::rand",
        "randomness comes through the Entropy port",
    ),
    ban_except(EVERYWHERE, "…::Timestamp::now", "ask the Clock", CLOCKS),
    ban_except(EVERYWHERE, "…::Zoned::now", "ask the Clock", CLOCKS),
    ban_except(EVERYWHERE, "…::SystemTime::now", "ask the Clock", CLOCKS),
    ban(
        NOT_OUTSIDE,
        "std::process::Command",
        "Muster runs no other program",
    ),
    ban(NOT_OUTSIDE, "tokio::process", "Muster runs no other program"),
    ban(
        &["muster_server"],
        "muster_ca::ports::Store",
        "the edge holds an Arc<Ca> and nothing below it",
    ),
    ban_except(
        &["muster"],
        "muster_backends",
        "only assemble.rs names concrete stores and signers, and real.rs the machine's own randomness",
        &["src/assemble.rs", "src/real.rs"],
    ),
];

/// A shipped file is split before it has so many lines.
pub(crate) const LONGEST_FILE: usize = 600;

/// Crates that would be a second TLS stack, or a second crypto library.
pub(crate) const TLS_STACKS: [&str; 9] = [
    "openssl",
    "openssl-sys",
    "native-tls",
    "boring",
    "boring-sys",
    "ring",
    "schannel",
    "security-framework",
    "mbedtls",
];
