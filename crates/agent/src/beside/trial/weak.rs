//! Handshakes that no TLS library of today begins: old versions, and ciphers that protect nothing.
//!
//! Only the first answer is looked at: a ServerHello says that the listener would go on.

use super::{Trial, held, judged, patiently, wrong};
use crate::beside::listener::{Listener, Seen};

const TLS_1_0: u16 = 0x0301;
const TLS_1_1: u16 = 0x0302;
const TLS_1_2: u16 = 0x0303;
const HANDSHAKE: u8 = 22;
const SERVER_HELLO: u8 = 2;

/// Common with TLS 1.0 and 1.1: AES in CBC mode, with every kind of server key.
const OLD: &[u16] = &[
    0xC009, 0xC00A, 0xC013, 0xC014, 0x0033, 0x0039, 0x002F, 0x0035, 0x000A,
];
/// By what is wrong with them (IANA's registry "TLS Cipher Suites").
const WEAK: [(&str, &[u16]); 4] = [
    (
        "that encrypts nothing",
        &[0x0001, 0x0002, 0x003B, 0xC001, 0xC006, 0xC00B, 0xC010],
    ),
    (
        "without certificates",
        &[
            0x0018, 0x001B, 0x0034, 0x003A, 0x006C, 0x006D, 0x00A6, 0x00A7, 0xC015, 0xC016, 0xC017, 0xC018,
            0xC019,
        ],
    ),
    ("with RC4", &[0x0004, 0x0005, 0xC002, 0xC007, 0xC00C, 0xC011]),
    (
        "with DES",
        &[
            0x0008, 0x0009, 0x000A, 0x0012, 0x0013, 0x0015, 0x0016, 0xC003, 0xC008, 0xC00D, 0xC012,
        ],
    ),
];

/// TLS 1.0 and 1.1, which nobody may use any more (RFC 8996).
pub(super) async fn old_versions(listener: &Listener) -> Trial {
    const WHOM: &str = "TLS 1.0 or 1.1";
    for (version, name) in [(TLS_1_1, "TLS 1.1"), (TLS_1_0, "TLS 1.0")] {
        match chosen(listener, version, OLD).await {
            Ok(Some(_)) => return wrong(WHOM, format!("it speaks {name}, which is broken")),
            Ok(None) => {}
            Err(seen) => return judged(WHOM, seen),
        }
    }
    held(WHOM, "it speaks neither")
}

/// Ciphers of TLS 1.2 without encryption, without a certificate, or with an encryption that is broken.
pub(super) async fn weak_ciphers(listener: &Listener) -> Trial {
    const WHOM: &str = "a weak cipher";
    let all: Vec<u16> = WEAK.iter().flat_map(|(_, suites)| *suites).copied().collect();
    match chosen(listener, TLS_1_2, &all).await {
        Ok(Some(suite)) => {
            let what = WEAK.iter().find(|(_, suites)| suites.contains(&suite));
            let what = what.map_or("that nobody may use", |(what, _)| what);
            wrong(WHOM, format!("it takes a cipher {what} (0x{suite:04X})"))
        }
        Ok(None) => held(WHOM, "it takes none"),
        Err(seen) => judged(WHOM, seen),
    }
}

/// The cipher suite with which the listener goes on; none if it does not, or only with another version.
async fn chosen(listener: &Listener, version: u16, suites: &[u16]) -> Result<Option<u16>, Seen> {
    let hello = client_hello(version, suites);
    match patiently(|| listener.first_record(&hello)).await {
        Ok((HANDSHAKE, content)) => Ok(server_hello(&content, version)),
        Ok(_) | Err(Seen::Closed) => Ok(None),
        Err(seen) => Err(seen),
    }
}

/// The suite in a ServerHello of this version (RFC 5246, section 7.4.1.3).
fn server_hello(content: &[u8], version: u16) -> Option<u16> {
    let number = |at: usize| Some(u16::from_be_bytes(content.get(at..at + 2)?.try_into().ok()?));
    if *content.first()? != SERVER_HELLO || number(4)? != version {
        return None;
    }
    number(39 + usize::from(*content.get(38)?))
}

/// A ClientHello in a record of its own (RFC 5246, section 7.4.1.2).
fn client_hello(version: u16, suites: &[u16]) -> Vec<u8> {
    let numbers = |all: &[u16]| -> Vec<u8> { all.iter().flat_map(|one| one.to_be_bytes()).collect() };
    let mut hello = version.to_be_bytes().to_vec();
    // Nothing follows of it, so it need not be random; and there is no session to resume.
    hello.extend([0x4d; 32]);
    hello.push(0);
    hello.extend(counted(&numbers(suites)));
    hello.extend([1, 0]);
    let curves = counted(&numbers(&[0x001D, 0x0017, 0x0018]));
    // ECDSA, RSA-PSS and RSA with SHA-256, SHA-512 and SHA-1.
    let signatures = counted(&numbers(&[
        0x0403, 0x0804, 0x0401, 0x0603, 0x0601, 0x0203, 0x0201,
    ]));
    let extensions = [
        extension(10, &curves),
        extension(11, &[1, 0]),
        extension(13, &signatures),
    ];
    hello.extend(counted(&extensions.concat()));
    // A length has three octets here; the first is zero.
    let message = [&[1, 0][..], &counted(&hello)].concat();
    [&[HANDSHAKE, 3, 1][..], &counted(&message)].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &counted(content)].concat()
}

/// With its length before it. What is counted here are a few hundred octets.
fn counted(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], bytes].concat()
}
