//! The PROXY protocol, version 2 (HAProxy, proxy-protocol.txt, section 2.2), with the name of the client's certificate.

use std::net::{IpAddr, SocketAddr};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// A proxied connection.
const PROXY: u8 = 0x21;
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
const SSL_CN: u8 = 0x22;
/// Over TLS, with a certificate in this connection and session.
const VERIFIED: u8 = 0x07;

/// What goes in front of the CONNECT.
pub(super) fn header(from: SocketAddr, to: SocketAddr, name: &str) -> Vec<u8> {
    let (family, mut rest) = match (from.ip().to_canonical(), to.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (0x11, [from.octets(), to.octets()].concat()),
        (from, to) => (0x21, [six(from), six(to)].concat()),
    };
    rest.extend(from.port().to_be_bytes());
    rest.extend(to.port().to_be_bytes());
    let mut ssl = vec![VERIFIED, 0, 0, 0, 0];
    put(&mut ssl, SSL_VERSION, b"TLSv1");
    put(&mut ssl, SSL_CN, name.as_bytes());
    put(&mut rest, SSL, &ssl);
    let mut header = SIGNATURE.to_vec();
    header.extend([PROXY, family]);
    header.extend(short(rest.len()));
    header.extend(rest);
    header
}

fn six(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(four) => four.to_ipv6_mapped().octets(),
        IpAddr::V6(six) => six.octets(),
    }
}

fn put(list: &mut Vec<u8>, kind: u8, value: &[u8]) {
    list.push(kind);
    list.extend(short(value.len()));
    list.extend(value);
}

/// A common name has at most 64 characters, so nothing in here is longer than a length can say.
fn short(len: usize) -> [u8; 2] {
    u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn it_is_as_the_specification_has_it() {
        let header = header(
            "10.0.0.1:1000".parse().unwrap(),
            "10.0.0.2:8883".parse().unwrap(),
            "d1",
        );
        assert_eq!(header[..16], *b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x21");
        assert_eq!(header[16..28], [10, 0, 0, 1, 10, 0, 0, 2, 3, 0xe8, 0x22, 0xb3]);
        assert_eq!(
            header[28..],
            *b"\x20\x00\x12\x07\0\0\0\0\x21\x00\x05TLSv1\x22\x00\x02d1"
        );
    }
}
