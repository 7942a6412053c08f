//! MQTT packets (3.1, 3.1.1 and 5.0), as far as the gate looks into them. Everything else goes through as it came.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use mqttbytes::primitives::{
    Error, length, parse_fixed_header, read_mqtt_bytes, read_mqtt_string, read_u8, read_u16,
    write_mqtt_string, write_remaining_length,
};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Kinds of packets (MQTT 5.0, section 2.1.2).
pub(super) const CONNECT: u8 = 1;
const CONNACK: u8 = 2;
pub(super) const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const PUBREC: u8 = 5;
pub(super) const PUBREL: u8 = 6;
const PUBCOMP: u8 = 7;
pub(super) const SUBSCRIBE: u8 = 8;
pub(super) const SUBACK: u8 = 9;

/// The level of MQTT 5.0 in a CONNECT.
const V5: u8 = 5;
/// The most filters of a SUBSCRIBE; one with more is taken for malformed.
const MOST_FILTERS: usize = 1000;
/// "Not authorised" in MQTT 5.0.
const NOT_AUTHORISED: u8 = 0x87;

/// A whole packet.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    bytes: Bytes,
    head: usize,
}

impl Frame {
    pub(super) fn kind(&self) -> u8 {
        self.bytes[0] >> 4
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The packet identifier of a packet that begins with one.
    pub(super) fn identifier(&self) -> Result<u16, Error> {
        read_u16(&mut self.body())
    }

    fn body(&self) -> Bytes {
        self.bytes.slice(self.head..)
    }
}

/// Cuts a stream into packets.
#[derive(Debug, Default)]
pub(super) struct Reader {
    buffer: BytesMut,
}

impl Reader {
    /// The next packet of at most `most` bytes; none when the other end has hung up. What was read of one stays if this is dropped.
    pub(super) async fn frame(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        most: usize,
    ) -> io::Result<Option<Frame>> {
        loop {
            match parse_fixed_header(self.buffer.iter()) {
                Ok(head) if head.frame_length() > most => {
                    return Err(io::Error::other("a packet is too long"));
                }
                Ok(head) if head.frame_length() <= self.buffer.len() => {
                    return Ok(Some(Frame {
                        bytes: self.buffer.split_to(head.frame_length()).freeze(),
                        head: 1 + head.remaining_len_len,
                    }));
                }
                Ok(_) | Err(Error::InsufficientBytes(_)) => {}
                Err(why) => return Err(io::Error::other(why)),
            }
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }
}

/// What a CONNECT asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Connect {
    pub(super) level: u8,
    pub(super) keep_alive: u16,
    pub(super) client_id: String,
    pub(super) username: Option<String>,
    /// The topic of its will.
    pub(super) will: Option<String>,
}

impl Connect {
    pub(super) fn read(frame: &Frame) -> Result<Self, Error> {
        let mut body = frame.body();
        let protocol = read_mqtt_string(&mut body)?;
        let level = read_u8(&mut body)?;
        if frame.kind() != CONNECT || !matches!((protocol.as_str(), level), ("MQIsdp", 3) | ("MQTT", 4 | 5)) {
            return Err(Error::MalformedPacket);
        }
        let flags = read_u8(&mut body)?;
        let keep_alive = read_u16(&mut body)?;
        properties(&mut body, level)?;
        let client_id = read_mqtt_string(&mut body)?;
        let mut will = None;
        if flags & 0x04 != 0 {
            properties(&mut body, level)?;
            will = Some(read_mqtt_string(&mut body)?);
            read_mqtt_bytes(&mut body)?;
        }
        let username = (flags & 0x80 != 0).then(|| read_mqtt_string(&mut body));
        Ok(Self {
            level,
            keep_alive,
            client_id,
            username: username.transpose()?,
            will,
        })
    }
}

/// The head of a PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Publish {
    /// Empty: the one that the alias stands for.
    pub(super) topic: String,
    pub(super) alias: Option<u16>,
    pub(super) qos: u8,
    /// 0 without QoS.
    pub(super) identifier: u16,
}

impl Publish {
    pub(super) fn read(frame: &Frame, level: u8) -> Result<Self, Error> {
        let mut body = frame.body();
        let topic = read_mqtt_string(&mut body)?;
        let qos = frame.bytes[0] >> 1 & 3;
        let identifier = if qos > 0 { read_u16(&mut body)? } else { 0 };
        let alias = alias(properties(&mut body, level)?)?;
        Ok(Self {
            topic,
            alias,
            qos,
            identifier,
        })
    }
}

/// A SUBSCRIBE.
#[derive(Debug, Clone)]
pub(super) struct Subscribe {
    pub(super) identifier: u16,
    properties: Bytes,
    pub(super) filters: Vec<(String, u8)>,
}

impl Subscribe {
    pub(super) fn read(frame: &Frame, level: u8) -> Result<Self, Error> {
        let mut body = frame.body();
        let identifier = read_u16(&mut body)?;
        let properties = properties(&mut body, level)?;
        let mut filters = Vec::new();
        while body.has_remaining() {
            if filters.len() == MOST_FILTERS {
                return Err(Error::MalformedPacket);
            }
            filters.push((read_mqtt_string(&mut body)?, read_u8(&mut body)?));
        }
        Ok(Self {
            identifier,
            properties,
            filters,
        })
    }

    /// The same with some of the filters only.
    pub(super) fn with(&self, level: u8, allowed: &[bool]) -> Vec<u8> {
        let mut body = BytesMut::new();
        body.extend_from_slice(&self.identifier.to_be_bytes());
        put_properties(&mut body, level, &self.properties);
        for ((filter, options), allowed) in self.filters.iter().zip(allowed) {
            if *allowed {
                // It was read from such a string, so it is short enough for one.
                let _ = write_mqtt_string(&mut body, filter);
                body.extend_from_slice(&[*options]);
            }
        }
        packet(SUBSCRIBE << 4 | 2, &body)
    }
}

/// What a subscription is about: a shared one has a group in front (MQTT 5.0, section 4.8.2).
pub(super) fn topics_of(filter: &str) -> &str {
    let shared = filter
        .strip_prefix("$share/")
        .and_then(|rest| rest.split_once('/'));
    shared.map_or(filter, |(_, filter)| filter)
}

/// A broker's SUBACK for the filters that it saw, made one for all that were asked for.
pub(super) fn suback_for_all(frame: &Frame, level: u8, allowed: &[bool]) -> Result<Vec<u8>, Error> {
    let mut body = frame.body();
    let identifier = read_u16(&mut body)?;
    let properties = properties(&mut body, level)?;
    let mut codes = Vec::with_capacity(allowed.len());
    for allowed in allowed {
        codes.push(if *allowed {
            read_u8(&mut body)?
        } else {
            refused(level)
        });
    }
    Ok(suback(identifier, level, &properties, &codes))
}

/// A SUBACK that refuses everything.
pub(super) fn suback_for_none(subscribe: &Subscribe, level: u8) -> Vec<u8> {
    let codes = vec![refused(level); subscribe.filters.len()];
    suback(subscribe.identifier, level, &[], &codes)
}

fn suback(identifier: u16, level: u8, properties: &[u8], codes: &[u8]) -> Vec<u8> {
    let mut body = BytesMut::new();
    body.extend_from_slice(&identifier.to_be_bytes());
    put_properties(&mut body, level, properties);
    body.extend_from_slice(codes);
    packet(SUBACK << 4, &body)
}

fn refused(level: u8) -> u8 {
    if level == V5 { NOT_AUTHORISED } else { 0x80 }
}

/// Why a CONNECT is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The client id is not the certificate's name.
    ClientId,
    /// It asks for what it may not do.
    NotAuthorised,
}

/// The CONNACK that refuses.
pub(super) fn connack(level: u8, reason: Reason) -> Vec<u8> {
    match (level, reason) {
        (V5, Reason::ClientId) => packet(CONNACK << 4, &[0, 0x85, 0]),
        (V5, Reason::NotAuthorised) => packet(CONNACK << 4, &[0, NOT_AUTHORISED, 0]),
        (_, Reason::ClientId) => packet(CONNACK << 4, &[0, 2]),
        (_, Reason::NotAuthorised) => packet(CONNACK << 4, &[0, 5]),
    }
}

/// The first acknowledgement of a message that goes nowhere; none without QoS. MQTT 3.1.1 has no way to say that it was refused.
pub(super) fn acknowledge(publish: &Publish, level: u8, refused: bool) -> Option<Vec<u8>> {
    let kind = match publish.qos {
        0 => return None,
        1 => PUBACK,
        _ => PUBREC,
    };
    let mut body = publish.identifier.to_be_bytes().to_vec();
    if refused && level == V5 {
        body.push(NOT_AUTHORISED);
    }
    Some(packet(kind << 4, &body))
}

/// Whether a message that was acknowledged like this is followed by a PUBREL.
pub(super) fn is_followed(publish: &Publish, level: u8, refused: bool) -> bool {
    publish.qos == 2 && !(refused && level == V5)
}

/// The last acknowledgement of a message with QoS 2.
pub(super) fn pubcomp(identifier: u16) -> Vec<u8> {
    packet(PUBCOMP << 4, &identifier.to_be_bytes())
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = BytesMut::with_capacity(body.len() + 5);
    bytes.extend_from_slice(&[first]);
    // Made of parts of packets that were shorter than the longest there is.
    let _ = write_remaining_length(&mut bytes, body.len());
    bytes.extend_from_slice(body);
    bytes.to_vec()
}

fn properties(body: &mut Bytes, level: u8) -> Result<Bytes, Error> {
    if level != V5 {
        return Ok(Bytes::new());
    }
    let (width, len) = length(body.iter())?;
    if body.len() < width + len {
        return Err(Error::MalformedPacket);
    }
    body.advance(width);
    Ok(body.split_to(len))
}

fn put_properties(body: &mut BytesMut, level: u8, properties: &[u8]) {
    if level == V5 {
        // As long as in the packet that they came from.
        let _ = write_remaining_length(body, properties.len());
        body.extend_from_slice(properties);
    }
}

/// The topic alias among the properties of a PUBLISH (MQTT 5.0, section 3.3.2.3).
fn alias(mut properties: Bytes) -> Result<Option<u16>, Error> {
    let mut alias = None;
    while properties.has_remaining() {
        match read_u8(&mut properties)? {
            0x01 => drop(read_u8(&mut properties)?),
            0x02 => drop((read_u16(&mut properties)?, read_u16(&mut properties)?)),
            0x23 => alias = Some(read_u16(&mut properties)?),
            0x03 | 0x08 | 0x09 => drop(read_mqtt_bytes(&mut properties)?),
            0x26 => drop((
                read_mqtt_bytes(&mut properties)?,
                read_mqtt_bytes(&mut properties)?,
            )),
            0x0b => {
                let (width, _) = length(properties.iter())?;
                properties.advance(width);
            }
            _ => return Err(Error::MalformedPacket),
        }
    }
    Ok(alias)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    async fn frame(bytes: &[u8]) -> Option<Frame> {
        let mut stream = bytes;
        Reader::default().frame(&mut stream, 1 << 16).await.ok()?
    }

    #[tokio::test]
    async fn what_matters_is_read_from_both_versions() {
        let connect = b"\x10\x17\x00\x04MQTT\x04\x86\x00\x3c\x00\x02d1\x00\x01w\x00\x01x\x00\x01u";
        let read = Connect::read(&frame(connect).await.unwrap()).unwrap();
        assert_eq!((read.client_id.as_str(), read.keep_alive), ("d1", 60));
        assert_eq!(
            (read.will.as_deref(), read.username.as_deref()),
            (Some("w"), Some("u"))
        );
        // Version 5 with an alias behind a user property.
        let publish = b"\x32\x13\x00\x03t/x\x00\x07\x0a\x26\x00\x01a\x00\x01b\x23\x00\x05x";
        let read = Publish::read(&frame(publish).await.unwrap(), V5).unwrap();
        assert_eq!(
            (read.topic.as_str(), read.alias, read.qos, read.identifier),
            ("t/x", Some(5), 1, 7)
        );
        let subscribe = b"\x82\x0a\x00\x01\x00\x01a\x00\x00\x01b\x01";
        let subscribe = Subscribe::read(&frame(subscribe).await.unwrap(), 4).unwrap();
        let some = frame(&subscribe.with(4, &[false, true])).await.unwrap();
        assert_eq!(Subscribe::read(&some, 4).unwrap().filters, [("b".to_owned(), 1)]);
        let answer = frame(b"\x90\x03\x00\x01\x01").await.unwrap();
        let all = suback_for_all(&answer, 4, &[false, true]).unwrap();
        assert_eq!(all, b"\x90\x04\x00\x01\x80\x01");
        assert_eq!(topics_of("$share/group/fleet/#"), "fleet/#");
    }

    #[tokio::test]
    async fn a_subscribe_has_so_many_filters_at_most() {
        for (filters, well) in [(MOST_FILTERS, true), (MOST_FILTERS + 1, false)] {
            let body = [b"\x00\x01".to_vec(), b"\x00\x01a\x00".repeat(filters)].concat();
            let frame = frame(&packet(SUBSCRIBE << 4 | 2, &body)).await.unwrap();
            assert_eq!(Subscribe::read(&frame, 4).is_ok(), well);
        }
    }

    #[test]
    fn any_bytes_are_read_without_harm() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        bolero::check!().for_each(|bytes| {
            let Some(frame) = runtime.block_on(frame(bytes)) else {
                return;
            };
            for level in [4, V5] {
                let _ = Connect::read(&frame);
                let _ = Publish::read(&frame, level);
                let _ = Subscribe::read(&frame, level);
                let _ = suback_for_all(&frame, level, &[true, false]);
            }
        });
    }
}
