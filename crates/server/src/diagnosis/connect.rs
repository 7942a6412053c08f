//! The MQTT CONNECT of a client: its client id, and the one answer that everybody gets.

/// The longest CONNECT that is read, in bytes.
pub(super) const LONGEST: usize = 2048;

/// What came of reading so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// There is more to come.
    More,
    /// It is no CONNECT.
    Other,
    /// The client id, and whether it speaks MQTT 5.
    Connect(String, bool),
}

/// CONNACK "server unavailable": return code 3 (MQTT 3.1.1, section 3.2.2.3), or reason 0x88 (MQTT 5, section 3.2.2.2).
pub(super) fn answer(five: bool) -> &'static [u8] {
    if five {
        &[0x20, 3, 0, 0x88, 0]
    } else {
        &[0x20, 2, 0, 3]
    }
}

/// Reads a CONNECT as far as its client id (MQTT 3.1.1 and 5, section 3.1).
pub(super) fn read(bytes: &[u8]) -> Read {
    const CONNECT: u8 = 0x10;
    match bytes.first() {
        None => return Read::More,
        Some(&CONNECT) => {}
        Some(_) => return Read::Other,
    }
    let Some((length, rest)) = length(&bytes[1..]) else {
        return more_or_other(bytes);
    };
    if length > LONGEST {
        return Read::Other;
    }
    if rest.len() < length {
        return more_or_other(bytes);
    }
    client_id(&rest[..length]).unwrap_or(Read::Other)
}

fn more_or_other(bytes: &[u8]) -> Read {
    if bytes.len() > LONGEST {
        Read::Other
    } else {
        Read::More
    }
}

fn client_id(body: &[u8]) -> Option<Read> {
    let (protocol, rest) = text(body)?;
    let (&level, rest) = rest.split_first()?;
    let known = matches!((protocol, level), (b"MQIsdp", 3) | (b"MQTT", 4 | 5));
    // Flags and keep-alive.
    let rest = rest.get(3..).filter(|_| known)?;
    let five = level == 5;
    let rest = if five {
        let (properties, rest) = length(rest)?;
        rest.get(properties..)?
    } else {
        rest
    };
    let (id, _) = text(rest)?;
    Some(Read::Connect(String::from_utf8_lossy(id).into_owned(), five))
}

/// Two octets of length, then so many.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}

/// A variable byte integer of four octets at most.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As mosquitto_pub 2.0 sends it with `-i site-1`.
    const V311: &[u8] = b"\x10\x12\x00\x04MQTT\x04\x02\x00\x3c\x00\x06site-1";
    const V5: &[u8] = b"\x10\x16\x00\x04MQTT\x05\x02\x00\x3c\x03\x21\x00\x14\x00\x06site-1";

    #[test]
    fn the_client_id_of_every_version_is_read() {
        assert_eq!(read(V311), Read::Connect("site-1".into(), false));
        assert_eq!(read(V5), Read::Connect("site-1".into(), true));
        for end in 0..V311.len() {
            assert_eq!(read(&V311[..end]), Read::More, "{end}");
        }
        assert_eq!(read(b"GET / HTTP/1.1\r\n"), Read::Other);
        assert_eq!(read(b"\x10\xff\xff\xff\x7f"), Read::Other);
        assert_eq!(read(b"\x10\x03\x00\x04M"), Read::Other);
    }

    #[test]
    fn any_bytes_are_read_without_harm() {
        bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
            if let Read::Connect(id, _) = read(bytes) {
                assert!(id.len() <= 3 * LONGEST);
            }
        });
    }
}
