//! Whether the broker takes a certificate: first a handshake that nobody else notices, then the one reconnect.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{Connect, ConnectReturnCode, Disconnect, Packet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::mqtt::{self, Place};
use crate::{Clock, Error, ca};

/// How long after a handshake a refusal may come: in TLS 1.3 the client is done before its certificate was looked at.
const REFUSAL: Duration = Duration::from_secs(1);
/// How long the broker may take to let a session in.
const ANSWER: Duration = Duration::from_secs(10);
/// How a connection ends that had come about.
const HUNG_UP: [ErrorKind; 3] = [
    ErrorKind::UnexpectedEof,
    ErrorKind::ConnectionReset,
    ErrorKind::BrokenPipe,
];
/// The longest packet that is read: nothing but an answer is expected.
const MAX_PACKET: usize = 4096;

/// A handshake with the certificate, and nothing more: sessions that are there go on.
pub(super) async fn handshake(place: &Place, clock: &Clock) -> Result<(), Error> {
    let mut stream = connect(place, clock).await?;
    let read = tokio::time::timeout(REFUSAL, stream.read(&mut [0])).await;
    match read {
        // Silence: it waits for us to begin.
        Err(_) | Ok(Ok(1..)) => {}
        Ok(Ok(0)) => return Err(refused(place, "it hangs up after the handshake")),
        Ok(Err(why)) => return Err(said(place, &why)),
    }
    let _ = stream.shutdown().await;
    Ok(())
}

/// Takes the device's session over and leaves it at once. Whoever had it, such as a bridge, comes back with the files that are in
/// place now. What waits in the session is not touched: nothing is acknowledged.
pub(super) async fn take_over(place: &Place, clock: &Clock) -> Result<(), Error> {
    let slow = |_| refused(place, "it does not answer within 10 s");
    tokio::time::timeout(ANSWER, session(place, clock))
        .await
        .map_err(slow)?
}

async fn session(place: &Place, clock: &Clock) -> Result<(), Error> {
    let broken = |why: &dyn std::fmt::Display| refused(place, &why.to_string());
    let mut stream = connect(place, clock).await?;
    let mut hello = Connect::new(&place.name);
    hello.clean_session = false;
    let mut bytes = BytesMut::new();
    hello.write(&mut bytes).map_err(|why| broken(&why))?;
    stream.write_all(&bytes).await.map_err(|why| said(place, &why))?;
    let mut buffer = BytesMut::new();
    let answer = loop {
        match Packet::read(&mut buffer, MAX_PACKET) {
            Ok(Packet::ConnAck(answer)) => break answer,
            Ok(_) => return Err(broken(&"its first packet is no CONNACK")),
            Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => {}
            Err(why) => return Err(broken(&why)),
        }
        let read = stream
            .read_buf(&mut buffer)
            .await
            .map_err(|why| said(place, &why))?;
        if read == 0 {
            return Err(broken(&"it hangs up"));
        }
    };
    if answer.code != ConnectReturnCode::Success {
        return Err(broken(&format!("it answers {:?}", answer.code)));
    }
    let mut bytes = BytesMut::new();
    if Disconnect.write(&mut bytes).is_ok() {
        let _ = stream.write_all(&bytes).await;
    }
    let _ = stream.shutdown().await;
    Ok(())
}

/// A connection with both ends verified. Who cannot be reached, and who is another, has refused nothing.
async fn connect(place: &Place, clock: &Clock) -> Result<TlsStream<TcpStream>, Error> {
    let (host, port) = (&place.host, place.port);
    let failed = |why: std::io::Error| {
        let inner = why.get_ref();
        if let Some(own) = inner.and_then(|inner| inner.downcast_ref::<Error>()) {
            return own.clone();
        }
        let words = mqtt::words(host, &why);
        match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(_)) => {
                Error::new(format!("the broker {host}:{port} is not believed: {words}"))
            }
            Some(_) => refused(place, &words),
            None if HUNG_UP.contains(&why.kind()) => refused(place, &words),
            None => Error::new(format!(
                "cannot reach the broker {host}:{port}: {words} (is --broker right? it stands in agent.json)"
            )),
        }
    };
    mqtt::connect_by(place, ca::by(clock)).await.map_err(failed)
}

fn said(place: &Place, why: &(dyn std::error::Error + 'static)) -> Error {
    refused(place, &mqtt::words(&place.host, why))
}

fn refused(place: &Place, why: &str) -> Error {
    Error::new(format!(
        "the broker {}:{} does not take the certificate: {why}",
        place.host, place.port
    ))
}
