//! The house plan: crates, arrows, walls and what is out of bounds. Data only.

/// Our crates, and which of ours each may depend on. A crate that is not here must earn a line first.
pub const ARROWS: [(&str, &[&str]); 8] = [
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
    ("muster-bench", &["muster-pki"]),
];

/// A crate from outside, the only ones of ours that may depend on it for what is shipped, and why.
pub const OUTSIDE: [(&str, &[&str], &str); 14] = [
    ("rusqlite", &["muster-backends"], "SQL belongs to the stores"),
    ("axum", &["muster-server"], "HTTP belongs to the edge"),
    ("tower", &["muster-server"], "HTTP belongs to the edge"),
    ("tower-http", &["muster-server"], "HTTP belongs to the edge"),
    (
        "hyper",
        &["muster-server", "muster-api"],
        "HTTP belongs to the edge and to the client",
    ),
    (
        "hyper-util",
        &["muster-server", "muster-api"],
        "HTTP belongs to the edge and to the client",
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
        &["muster", "muster-bench"],
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
pub enum Wall {
    /// These modules.
    Between(&'static str, &'static [&'static str]),
    /// Every module right below this one.
    AllBelow(&'static str, &'static str),
}

pub const WALLS: [Wall; 4] = [
    Wall::Between("muster_backends", &["store", "signer", "notify"]),
    Wall::Between("muster_server", &["protocols", "web"]),
    Wall::AllBelow("muster_server", "protocols"),
    Wall::AllBelow("muster_agent", "broker"),
];

/// Something that shipped code of some crates does not name.
pub struct Ban {
    /// Crates that it holds for; empty means all.
    pub crates: &'static [&'static str],
    /// Beginning of a path, or its end after `…::`.
    pub path: &'static str,
    /// Longer paths, and files, that are let through.
    pub except: &'static [&'static str],
    pub why: &'static str,
}

const PURE: &[&str] = &["muster_pki", "muster_ca"];
/// Types that describe an address and open nothing.
const ADDRESSES: &[&str] = &[
    "std::net::IpAddr",
    "std::net::Ipv4Addr",
    "std::net::Ipv6Addr",
    "std::net::SocketAddr",
];

pub const BANS: [Ban; 16] = [
    Ban {
        crates: PURE,
        path: "std::fs",
        except: &[],
        why: "no files here: bytes come in as arguments",
    },
    Ban {
        crates: PURE,
        path: "std::net",
        except: ADDRESSES,
        why: "no sockets here",
    },
    Ban {
        crates: PURE,
        path: "std::env",
        except: &[],
        why: "configuration comes in as arguments",
    },
    Ban {
        crates: PURE,
        path: "std::thread",
        except: &[],
        why: "the caller decides what runs where",
    },
    Ban {
        crates: PURE,
        path: "…::Instant::now",
        except: &[],
        why: "time is an argument",
    },
    Ban {
        crates: &["muster_pki"],
        path: "async",
        except: &[],
        why: "pki does not wait",
    },
    Ban {
        crates: &["muster_pki"],
        path: "await",
        except: &[],
        why: "pki does not wait",
    },
    Ban {
        crates: &["muster_pki"],
        path: "aws_lc_rs::rand",
        // aws-lc-rs asks for a generator in order to sign and then uses its own.
        except: &["crates/pki/src/key.rs"],
        why: "randomness is an argument",
    },
    Ban {
        crates: &["muster_ca"],
        path: "aws_lc_rs::rand",
        except: &[],
        why: "randomness comes through the Entropy port",
    },
    Ban {
        crates: &[],
        path: "…::Timestamp::now",
        except: &["src/real.rs"],
        why: "ask the Clock",
    },
    Ban {
        crates: &[],
        path: "…::Zoned::now",
        except: &["src/real.rs"],
        why: "ask the Clock",
    },
    Ban {
        crates: &[],
        path: "…::SystemTime::now",
        except: &["src/real.rs", "bench/src"],
        why: "ask the Clock",
    },
    Ban {
        crates: NOT_OUTSIDE,
        path: "std::process::Command",
        except: &[],
        why: "Muster runs no other program",
    },
    Ban {
        crates: NOT_OUTSIDE,
        path: "tokio::process",
        except: &[],
        why: "Muster runs no other program",
    },
    Ban {
        crates: &["muster"],
        path: "muster_backends",
        except: &["src/assemble.rs", "src/real.rs"],
        why: "only assemble.rs names concrete stores and signers, and real.rs the machine's own randomness",
    },
    Ban {
        crates: &["muster_server"],
        path: "muster_ca::ports::Store",
        except: &[],
        why: "the edge holds an Arc<Ca>",
    },
];

/// All but the agent, whose hooks reload a broker, and the benchmark, which starts the programs that it measures.
const NOT_OUTSIDE: &[&str] = &[
    "muster_pki",
    "muster_ca",
    "muster_backends",
    "muster_api",
    "muster_server",
    "muster",
];

/// A shipped file is split before it has so many lines.
pub const LONGEST_FILE: usize = 600;

/// Crates that would be a second TLS stack, or a second crypto library.
pub const TLS_STACKS: [&str; 9] = [
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
