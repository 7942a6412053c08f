//! A device with a live session that publishes all the time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Connect, Packet, Publish};
use rustls::{AlertDescription, ClientConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Result;

/// How often each device publishes.
const EVERY: Duration = Duration::from_secs(2);
/// How long the last acknowledgement may take.
const LAST: Duration = Duration::from_secs(5);
/// Between two tries to connect.
const AGAIN: Duration = Duration::from_millis(2);

/// A device with a certificate.
pub(super) struct Device {
    pub(super) name: String,
    pub(super) config: ClientConfig,
}

/// Its session.
pub(super) struct Session {
    name: String,
    port: u16,
    config: Arc<ClientConfig>,
    /// When the session ended, if it did.
    ended: watch::Receiver<Option<Instant>>,
    /// Stops publishing; the task then tells how many messages were not acknowledged.
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<usize>,
}

impl Session {
    pub(super) async fn start(device: Device, port: u16) -> Result<Self> {
        let mut config = device.config;
        config.resumption = rustls::client::Resumption::disabled();
        let config = Arc::new(config);
        let mut stream = connect(&config, port).await?;
        let mut bytes = BytesMut::new();
        let mut hello = Connect::new(device.name.clone());
        hello.keep_alive = 300;
        hello.write(&mut bytes)?;
        stream.write_all(&bytes).await?;
        let mut buffer = BytesMut::new();
        if !matches!(packet(&mut stream, &mut buffer).await, Some(Packet::ConnAck(_))) {
            return Err(format!("{} is not let in", device.name).into());
        }
        let (tell, ended) = watch::channel(None);
        let (stop, stopped) = watch::channel(false);
        let (read, write) = tokio::io::split(stream);
        let topic = format!("fleet/{}/up", device.name);
        let task = tokio::spawn(live(read, write, topic, tell, stopped));
        Ok(Self {
            name: device.name,
            port,
            config,
            ended,
            stop,
            task,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// When a new connection was refused as revoked.
    pub(super) async fn refused(&self) -> Result<Instant> {
        loop {
            match connect(&self.config, self.port).await {
                Ok(_) => tokio::time::sleep(AGAIN).await,
                Err(why) => {
                    let alert = why
                        .downcast_ref::<std::io::Error>()
                        .and_then(std::io::Error::get_ref);
                    let alert = alert.and_then(|inner| inner.downcast_ref::<rustls::Error>());
                    let revoked = rustls::Error::AlertReceived(AlertDescription::CertificateRevoked);
                    if alert == Some(&revoked) {
                        return Ok(Instant::now());
                    }
                    return Err(format!("{} was refused otherwise: {why}", self.name).into());
                }
            }
        }
    }

    /// When its session ended.
    pub(super) async fn dropped(&self) -> Instant {
        let mut ended = self.ended.clone();
        let at = ended.wait_for(Option::is_some).await.ok().and_then(|at| *at);
        at.unwrap_or_else(Instant::now)
    }

    /// Ends it, and says what was lost: the session counts as one, and every message that was not acknowledged.
    pub(super) async fn finish(self) -> usize {
        let lost = usize::from(self.ended.borrow().is_some());
        let _ = self.stop.send(true);
        lost + self.task.await.unwrap_or(1)
    }
}

/// Publishes until told to stop, or until the session ends. How many messages were not acknowledged.
async fn live(
    mut read: ReadHalf<TlsStream<TcpStream>>,
    mut write: WriteHalf<TlsStream<TcpStream>>,
    topic: String,
    ended: watch::Sender<Option<Instant>>,
    mut stop: watch::Receiver<bool>,
) -> usize {
    let mut buffer = BytesMut::new();
    let mut open: usize = 0;
    let mut identifier = 0_u16;
    let mut tick = tokio::time::interval(EVERY);
    let mut end = None;
    loop {
        let last = async {
            match end {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            packet = packet(&mut read, &mut buffer) => match packet {
                Some(Packet::PubAck(_)) => open = open.saturating_sub(1),
                Some(_) => {}
                None => {
                    let _ = ended.send(Some(Instant::now()));
                    return open;
                }
            },
            _ = tick.tick(), if end.is_none() => {
                identifier = identifier % u16::MAX + 1;
                let mut publish = Publish::new(&topic, QoS::AtLeastOnce, "21.5");
                publish.pkid = identifier;
                let mut bytes = BytesMut::new();
                if publish.write(&mut bytes).is_ok() && write.write_all(&bytes).await.is_ok() {
                    open += 1;
                }
            }
            _ = stop.changed(), if end.is_none() => end = Some(tokio::time::Instant::now() + LAST),
            () = last => return open,
        }
        if end.is_some() && open == 0 {
            return 0;
        }
    }
}

/// TLS 1.2, where a client hears why it is refused before it believes that it is connected.
async fn connect(config: &Arc<ClientConfig>, port: u16) -> Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
    tcp.set_nodelay(true)?;
    Ok(TlsConnector::from(config.clone())
        .connect("localhost".try_into()?, tcp)
        .await?)
}

/// The next packet; none if the broker has hung up. What was read of it so far stays in the buffer.
async fn packet(stream: &mut (impl AsyncReadExt + Unpin), buffer: &mut BytesMut) -> Option<Packet> {
    loop {
        if let Ok(packet) = Packet::read(buffer, 4096) {
            return Some(packet);
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}
