//! MQTT over WebSocket (RFC 6455), as far as one CONNECT and its answer.

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const ASK: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: bXVzdGVyLXRyaWFsLWtleQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";
/// The longest head that is taken from a broker, in octets.
const LONGEST_HEAD: usize = 8192;

/// A frame that is whole, and what it carries (section 5.2).
const WHOLE: u8 = 0x80;
const BINARY: u8 = 2;
const PING: u8 = 9;
const PONG: u8 = 10;
/// Its payload is masked; the longest that needs no other length.
const MASKED: u8 = 0x80;
const LONGEST: u8 = 125;

/// Whether WebSocket is given to who asks for it.
pub(super) async fn upgraded(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<bool> {
    let mut answer = [0; 12];
    stream.write_all(ASK).await?;
    stream.flush().await?;
    stream.read_exact(&mut answer).await?;
    if answer != *b"HTTP/1.1 101" {
        return Ok(false);
    }
    let mut last = [0; 4];
    for _ in 0..LONGEST_HEAD {
        last.rotate_left(1);
        last[3] = stream.read_u8().await?;
        if last == *b"\r\n\r\n" {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Sends a packet, and gives the one that comes back.
pub(super) async fn exchanged(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    packet: &[u8],
) -> Result<Vec<u8>> {
    let length = u8::try_from(packet.len())
        .ok()
        .filter(|length| *length <= LONGEST);
    let length = length.ok_or(ErrorKind::InvalidInput)?;
    // A mask of zeros changes nothing. Masks keep web pages from forging requests (section 10.3), and this is none.
    let frame = [&[WHOLE | BINARY, MASKED | length, 0, 0, 0, 0], packet].concat();
    stream.write_all(&frame).await?;
    stream.flush().await?;
    loop {
        let mut head = [0; 2];
        stream.read_exact(&mut head).await?;
        let [kind, length] = head;
        if length > LONGEST {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut payload = vec![0; usize::from(length)];
        stream.read_exact(&mut payload).await?;
        match kind & !WHOLE {
            BINARY => return Ok(payload),
            PING | PONG => {}
            // It closes, or speaks something else.
            _ => return Err(Error::from(ErrorKind::UnexpectedEof)),
        }
    }
}
