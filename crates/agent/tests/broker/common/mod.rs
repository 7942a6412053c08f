//! A CA made of nothing but keys, a CA side that serves its lists, and a real Mosquitto.
#![allow(unreachable_pub, reason = "it is only for the tests beside it")]

mod emqx;
mod hub;
#[path = "../../../../../tests/common/ports.rs"]
mod ports;
mod world;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use jiff::{SignedDuration, Timestamp};
use muster_agent::pair::{Pair, new_key};
use muster_api::Client;
use muster_api::agent::{Access, Canary, CrlNeed, Epoch, Rules};
use muster_api::client::{Connector, Stream};
use muster_pki::cert::{self, Certificate, Pointers, Role, Template, Usages};
use muster_pki::crl::{CrlTemplate, Entry, Reason};
use muster_pki::key::PrivateKey;
use muster_pki::name::San;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{self as mqtt, Packet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub use hub::{Hub, Kind, set_mode};
pub use world::World;

/// The name of the broker.
pub const BROKER: &str = "hub";

/// What time it is in these stories: the machine's own, since the broker asks it, too.
#[allow(
    clippy::disallowed_methods,
    reason = "the broker beside it reads the wall clock"
)]
pub fn now() -> Timestamp {
    Timestamp::now()
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

/// A root, an issuing CA, and who is revoked.
pub struct Fleet {
    root: Pair,
    issuing: Pair,
    serial: u64,
    number: u64,
    epoch: u64,
    pub revoked: Vec<Vec<u8>>,
    pub lists: Lists,
}

/// What the CA side serves.
pub type Lists = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

fn sign(template: &Template<'_>, issuer: Option<&Pair>, own: &PrivateKey) -> Certificate {
    let by = issuer.map_or(own, Pair::key);
    let name = issuer.map(|issuer| issuer.leaf().as_issuer().unwrap());
    let tbs = template.to_be_signed(name.as_ref()).unwrap();
    let algorithm = by.public().kind().signature_algorithm();
    let der = cert::assemble(&tbs, algorithm, &by.sign(&tbs).unwrap()).unwrap();
    Certificate::from_der(&der).unwrap()
}

fn issue(name: &str, serial: u64, role: Role, sans: &[San], issuer: Option<&Pair>) -> Pair {
    issue_for(hours(24), name, serial, role, sans, issuer)
}

fn issue_for(
    life: SignedDuration,
    name: &str,
    serial: u64,
    role: Role,
    sans: &[San],
    issuer: Option<&Pair>,
) -> Pair {
    let key = new_key().unwrap();
    let template = Template {
        serial: &[&[0x40][..], &serial.to_be_bytes()].concat(),
        common_name: name,
        sans,
        not_before: now() - hours(1),
        not_after: now() + life,
        key: key.public(),
        role,
        pointers: &Pointers::default(),
    };
    let mut chain = vec![sign(&template, issuer, &key)];
    chain.extend(
        issuer
            .filter(|issuer| issuer.chain().len() > 1 || issuer.leaf().authority() == Some(Some(0)))
            .map(|issuer| issuer.leaf().clone()),
    );
    Pair::new(chain, key).unwrap()
}

const CLIENT: Role = Role::Leaf(Usages {
    client: true,
    server: false,
});

impl Fleet {
    pub fn new() -> Self {
        Self::named("Fleet")
    }

    pub fn named(name: &str) -> Self {
        let root = issue(
            &format!("{name} root"),
            1,
            Role::Authority { path_len: Some(1) },
            &[],
            None,
        );
        let issuing = issue(
            &format!("{name} CA"),
            2,
            Role::Authority { path_len: Some(0) },
            &[],
            Some(&root),
        );
        let mut fleet = Self {
            root,
            issuing,
            serial: 10,
            number: 100,
            epoch: 0,
            revoked: Vec::new(),
            lists: Lists::default(),
        };
        fleet.publish();
        fleet
    }

    pub fn device(&mut self, name: &str) -> Pair {
        self.serial += 1;
        issue(name, self.serial, CLIENT, &[], Some(&self.issuing))
    }

    /// One whose certificate ends in an hour.
    pub fn brief_device(&mut self, name: &str) -> Pair {
        self.serial += 1;
        issue_for(hours(1), name, self.serial, CLIENT, &[], Some(&self.issuing))
    }

    pub fn server(&mut self) -> Pair {
        self.serial += 1;
        let role = Role::Leaf(Usages {
            client: false,
            server: true,
        });
        let sans = [San::parse("localhost").unwrap()];
        issue(BROKER, self.serial, role, &sans, Some(&self.issuing))
    }

    /// A list of the issuing CA, signed by somebody.
    pub fn crl(&self, number: u64, from: i64, to: i64, signer: &Pair) -> Vec<u8> {
        let entries: Vec<Entry> = self
            .revoked
            .iter()
            .map(|serial| Entry {
                serial: serial.clone(),
                revoked_at: now() - hours(1),
                reason: Reason::KeyCompromise,
            })
            .collect();
        let mut issuer = signer.leaf().as_issuer().unwrap();
        if signer.leaf().authority().is_none() {
            issuer.name = self.issuing.leaf().subject().unwrap();
        }
        let template = CrlTemplate {
            number,
            this_update: now() + hours(from),
            next_update: now() + hours(to),
            entries: &entries,
        };
        let tbs = template.to_be_signed(&issuer).unwrap();
        cert::assemble(&tbs, issuer.algorithm, &signer.key().sign(&tbs).unwrap()).unwrap()
    }

    pub fn root(&self) -> &Pair {
        &self.root
    }

    pub fn issuing(&self) -> &Pair {
        &self.issuing
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    /// New lists of both CAs.
    pub fn publish(&mut self) {
        self.number += 1;
        let issuing = self.crl(self.number, -1, 24, &self.issuing);
        let none = Vec::new();
        let revoked = std::mem::replace(&mut self.revoked, none);
        let root = self.crl(self.number, -1, 24, &self.root);
        self.revoked = revoked;
        let mut lists = self.lists.lock().unwrap();
        lists.insert("default-1".into(), issuing);
        lists.insert("default-root".into(), root);
    }

    pub fn serve(&self, name: &str, list: Option<Vec<u8>>) {
        let mut lists = self.lists.lock().unwrap();
        match list {
            Some(list) => lists.insert(name.into(), list),
            None => lists.remove(name),
        };
    }

    pub fn revoke(&mut self, pair: &Pair) {
        self.revoked.push(pair.leaf().serial().to_vec());
    }

    /// The next epoch, whole, with a canary that the newest list revokes.
    pub fn epoch(&mut self, shut_out: &[&str]) -> Epoch {
        let canary = self.device("muster-canary.revoked");
        self.revoke(&canary);
        self.publish();
        self.epoch += 1;
        let need = |name: &str| CrlNeed {
            name: name.into(),
            number: self.number,
        };
        let own = vec!["fleet/%u/#".to_owned()];
        let certificate: String = canary.chain().iter().map(|one| one.to_pem().unwrap()).collect();
        Epoch {
            format: 1,
            broker: BROKER.into(),
            number: self.epoch,
            sequence: self.epoch * 10,
            after: None,
            at: now().to_string(),
            anchors: self.root.leaf().to_pem().unwrap() + &self.issuing.leaf().to_pem().unwrap(),
            crls: vec![need("default-root"), need("default-1")],
            canaries: vec![Canary {
                issuer: "default-1".into(),
                certificate,
                key: canary.key().to_pem().unwrap().to_string(),
            }],
            shut_out: shut_out.iter().map(|&name| name.to_owned()).collect(),
            let_in: Vec::new(),
            kicked: Vec::new(),
            access: Access {
                default: Rules {
                    publish: own.clone(),
                    subscribe: own,
                },
                ..Access::default()
            },
        }
    }

    /// A device that has finished its handshake and not begun its session.
    pub async fn half_open(&self, hub: &Hub, pair: &Pair) -> Device {
        self.connect(hub, &self.tls(pair, &rustls::version::TLS12))
            .await
            .unwrap()
    }

    /// What a device is set up with; it resumes sessions where the broker lets it.
    pub fn tls(&self, pair: &Pair, version: &'static rustls::SupportedProtocolVersion) -> Tls {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.root.leaf().der().to_vec().into()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = pair.chain().iter().map(|one| one.der().to_vec().into()).collect();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(pair.key().pkcs8().to_vec());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key.into())
            .unwrap();
        Tls {
            name: pair.leaf().common_name().unwrap(),
            config: Arc::new(config),
        }
    }

    /// Finishes a handshake, if it is let.
    pub async fn connect(&self, hub: &Hub, tls: &Tls) -> std::io::Result<Device> {
        let tcp = tokio::net::TcpStream::connect(("127.0.0.1", hub.port)).await?;
        let connector = tokio_rustls::TlsConnector::from(tls.config.clone());
        let name = "localhost".try_into().unwrap();
        Ok(Device {
            name: tls.name.clone(),
            stream: connector.connect(name, tcp).await?,
            buffer: BytesMut::new(),
            early: VecDeque::new(),
        })
    }

    /// A session that has begun; none if it is refused somewhere.
    pub async fn session(&self, hub: &Hub, tls: &Tls) -> Option<Device> {
        let mut device = self.connect(hub, tls).await.ok()?;
        let answer = device.begin().await?;
        let accepted = mqtt::ConnectReturnCode::Success;
        matches!(answer, Packet::ConnAck(answer) if answer.code == accepted).then_some(device)
    }

    /// A client of a CA side that serves what is in `lists`.
    pub fn client(&self) -> Client {
        let lists = self.lists.clone();
        Client::new(
            Connector::custom("the CA of the test".into(), move || {
                let lists = lists.clone();
                Box::pin(async move {
                    let (ours, theirs) = tokio::io::duplex(1 << 16);
                    tokio::spawn(answer(theirs, lists));
                    Ok(Box::new(ours) as Box<dyn Stream>)
                })
            }),
            None,
        )
    }
}

async fn answer(mut stream: tokio::io::DuplexStream, lists: Lists) {
    let mut head = Vec::new();
    while let Ok(byte) = stream.read_u8().await {
        head.push(byte);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
        let name = text
            .split_whitespace()
            .nth(1)
            .unwrap()
            .rsplit('/')
            .next()
            .unwrap();
        let found = lists.lock().unwrap().get(name).cloned();
        let (status, body) = match found {
            Some(body) => ("200 OK", body),
            None => (
                "404 Not Found",
                br#"{"status":404,"message":"there is no such list"}"#.to_vec(),
            ),
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
    }
}

/// What a device is set up with.
pub struct Tls {
    name: String,
    config: Arc<rustls::ClientConfig>,
}

/// A device's connection.
pub struct Device {
    name: String,
    stream: tokio_rustls::client::TlsStream<tokio::net::TcpStream>,
    buffer: BytesMut,
    /// What arrived before an acknowledgement.
    early: VecDeque<Packet>,
}

impl Device {
    /// Bytes of its own choice.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next bytes, as they come.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    /// The next short packet, of any version.
    pub async fn frame(&mut self) -> Vec<u8> {
        let mut frame = self.bytes(2).await;
        let rest = self.bytes(usize::from(frame[1])).await;
        frame.extend(rest);
        frame
    }

    /// Whether the broker hangs up without another word.
    pub async fn hangs_up(&mut self) -> bool {
        self.stream.read_u8().await.is_err()
    }

    /// Begins the session; what the broker answers, if it answers.
    pub async fn begin(&mut self) -> Option<Packet> {
        let mut bytes = BytesMut::new();
        mqtt::Connect::new(self.name.clone()).write(&mut bytes).unwrap();
        self.stream.write_all(&bytes).await.ok()?;
        self.packet().await
    }

    /// Whether the session lives.
    pub async fn answers(&mut self) -> bool {
        let mut bytes = BytesMut::new();
        mqtt::PingReq.write(&mut bytes).unwrap();
        self.stream.write_all(&bytes).await.is_ok() && matches!(self.packet().await, Some(Packet::PingResp))
    }

    /// Asks for one subscription, and leaves the answer.
    pub async fn ask_to_subscribe(&mut self, filter: &str) {
        let mut bytes = BytesMut::new();
        let mut subscribe = mqtt::Subscribe::new(filter.to_owned(), QoS::AtLeastOnce);
        subscribe.pkid = 8;
        subscribe.write(&mut bytes).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// Subscribes; the broker's answer for each filter: whether it is granted.
    pub async fn subscribe(&mut self, filters: &[&str]) -> Vec<bool> {
        let each = filters.iter();
        let each = each.map(|&filter| mqtt::SubscribeFilter::new(filter.to_owned(), QoS::AtLeastOnce));
        let mut subscribe = mqtt::Subscribe::new_many(each);
        subscribe.pkid = 7;
        let mut bytes = BytesMut::new();
        subscribe.write(&mut bytes).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
        let Some(Packet::SubAck(answer)) = self.packet().await else {
            panic!("no SUBACK");
        };
        let failure = mqtt::SubscribeReasonCode::Failure;
        answer.return_codes.iter().map(|code| *code != failure).collect()
    }

    /// What arrives until the answer to a ping: topics, in order.
    pub async fn arrived(&mut self) -> Vec<String> {
        let mut bytes = BytesMut::new();
        mqtt::PingReq.write(&mut bytes).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
        let mut topics = Vec::new();
        loop {
            let next = match self.early.pop_front() {
                Some(early) => early,
                None => self.packet().await.unwrap(),
            };
            let Packet::Publish(publish) = next else {
                assert_eq!(next, Packet::PingResp);
                return topics;
            };
            topics.push(String::from_utf8(publish.topic.to_vec()).unwrap());
        }
    }

    /// Publishes and waits for the acknowledgement, which says nothing.
    pub async fn publish(&mut self, topic: &str) {
        let mut publish = mqtt::Publish::new(topic, QoS::AtLeastOnce, "x");
        publish.pkid = 1;
        let mut bytes = BytesMut::new();
        publish.write(&mut bytes).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
        loop {
            let next = self.packet().await.unwrap();
            if matches!(next, Packet::PubAck(_)) {
                return;
            }
            self.early.push_back(next);
        }
    }

    /// The next packet; none if the broker has hung up.
    pub async fn packet(&mut self) -> Option<Packet> {
        let read = async {
            loop {
                if let Ok(packet) = Packet::read(&mut self.buffer, 4096) {
                    return Some(packet);
                }
                if self.stream.read_buf(&mut self.buffer).await.ok()? == 0 {
                    return None;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), read).await.unwrap()
    }
}
