//! A stand-in for EMQX 5, made from its published configuration, HTTP authentication and authorisation, and REST API: EMQX itself cannot be
//! had from Debian. It reads what it is told from the very configuration that the agent prints.
//!
//! What it does as EMQX does: TLS without lists and without resumption; the certificate's name as client id and user name; a ban is looked at
//! before anything is asked; any answer but 200 with JSON is no answer, and no answer is no; a session ends at `expire_at`; what was
//! said about a topic is remembered; a ban ends the session of its client id, and there is one ban for each.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use muster_pki::cert::Certificate;
use rumqttc::mqttbytes::v4::{self as mqtt, ConnectReturnCode, Packet};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::now;

/// The stand-in itself.
pub struct Emqx {
    trust: String,
    server: String,
    authentication: Hook,
    authorization: Hook,
    /// `user:secret`, as it stands in the file when it starts.
    key: String,
    state: Mutex<State>,
}

/// Where something is asked, and with which words.
struct Hook {
    host: String,
    path: String,
    body: HashMap<String, String>,
}

#[derive(Default)]
struct State {
    banned: HashSet<String>,
    sessions: HashMap<String, Arc<Notify>>,
    /// What was said: who, what, which topic.
    remembered: HashMap<(String, String, String), bool>,
}

/// The text in quotes after `key = ` or `key" = `.
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let (_, rest) = text
        .split_once(&format!("{key} = \""))
        .unwrap_or_else(|| panic!("no {key} in {text}"));
    rest.split_once('"').unwrap().0
}

impl Hook {
    fn read(text: &str) -> Self {
        assert!(text.contains("type = http") || text.contains("backend = http"));
        assert!(text.contains("method = post") && text.contains("\"content-type\" = \"application/json\""));
        let url = value(text, "url").strip_prefix("http://").unwrap();
        let (host, path) = url.split_once('/').unwrap();
        let body = text.split_once("body {").unwrap().1.split_once(" }").unwrap().0;
        let pairs = body.split(',').map(|pair| {
            let (name, word) = pair.split_once('=').unwrap();
            (name.trim().to_owned(), word.trim().trim_matches('"').to_owned())
        });
        Self {
            host: host.to_owned(),
            path: format!("/{path}"),
            body: pairs.collect(),
        }
    }

    /// The answer, if it is one.
    async fn ask(&self, words: &[(&str, &str)]) -> Option<Value> {
        let fill = |word: &String| words.iter().find(|(name, _)| word == name).unwrap().1;
        let body: HashMap<_, _> = self.body.iter().map(|(name, word)| (name, fill(word))).collect();
        let tcp = TcpStream::connect(&self.host).await.ok()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp))
            .await
            .ok()?;
        tokio::spawn(connection);
        let request = http::Request::post(&self.path)
            .header("host", &self.host)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(serde_json::to_vec(&body).unwrap())))
            .unwrap();
        let answer = sender.send_request(request).await.ok()?;
        let json = answer.headers().get("content-type")? == "application/json";
        (answer.status() == 200 && json).then_some(())?;
        let body = answer.into_body().collect().await.ok()?.to_bytes();
        serde_json::from_slice(&body).ok()
    }
}

impl Emqx {
    /// Runs until the task is aborted.
    pub async fn run(conf: String) {
        for line in [
            "verify = verify_peer\n",
            "fail_if_no_peer_cert = true\n",
            "reuse_sessions = false\n",
            "peer_cert_as_username = cn\n",
            "peer_cert_as_clientid = cn\n",
            "no_match = deny\n",
            "deny_action = disconnect\n",
        ] {
            assert!(conf.contains(line), "{line}");
        }
        let (tls, rest) = conf.split_once("authentication = [").unwrap();
        let (authentication, authorization) = rest.split_once("authorization {").unwrap();
        let key = std::fs::read_to_string(value(&conf, "api_key.bootstrap_file")).unwrap();
        let emqx = Arc::new(Self {
            trust: value(tls, "cacertfile").to_owned(),
            server: value(tls, "keyfile").to_owned(),
            authentication: Hook::read(authentication),
            authorization: Hook::read(authorization),
            key: key.trim().to_owned(),
            state: Mutex::default(),
        });
        let api = TcpListener::bind(value(&conf, "dashboard.listeners.http.bind"))
            .await
            .unwrap();
        let devices = TcpListener::bind(value(tls, "bind")).await.unwrap();
        // Both end with this.
        let mut tasks = tokio::task::JoinSet::new();
        loop {
            let emqx = emqx.clone();
            tokio::select! {
                Ok((tcp, _)) = api.accept() => drop(tasks.spawn(async move { emqx.serve(tcp).await })),
                Ok((tcp, _)) = devices.accept() => drop(tasks.spawn(async move { emqx.meet(tcp).await.unwrap_or_default() })),
            }
        }
    }

    /// As EMQX is when it has read its files anew.
    fn acceptor(&self) -> TlsAcceptor {
        let mut roots = rustls::RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(&self.trust).unwrap() {
            roots.add(root.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let path = Path::new(&self.server);
        let chain = CertificateDer::pem_file_iter(path)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(path).unwrap())
            .unwrap();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        TlsAcceptor::from(Arc::new(config))
    }

    async fn meet(&self, tcp: TcpStream) -> Option<()> {
        let mut stream = self.acceptor().accept(tcp).await.ok()?;
        let leaf = stream.get_ref().1.peer_certificates()?[0].to_vec();
        let name = Certificate::from_der(&leaf).ok()?.common_name()?;
        let mut buffer = BytesMut::new();
        let Packet::Connect(..) = packet(&mut stream, &mut buffer).await? else {
            return None;
        };
        let banned = self.state.lock().unwrap().banned.contains(&name);
        let until = if banned {
            None
        } else {
            self.admission(&name, &leaf).await
        };
        let Some(until) = until else {
            send(
                &mut stream,
                &mqtt::ConnAck::new(ConnectReturnCode::NotAuthorized, false),
            )
            .await?;
            return None;
        };
        let end = Arc::new(Notify::new());
        let before = self
            .state
            .lock()
            .unwrap()
            .sessions
            .insert(name.clone(), end.clone());
        before.inspect(|before| before.notify_one());
        send(
            &mut stream,
            &mqtt::ConnAck::new(ConnectReturnCode::Success, false),
        )
        .await?;
        tokio::select! {
            _ = self.go_on(&name, &mut stream, &mut buffer) => {}
            () = end.notified() => {}
            () = tokio::time::sleep(until) => {}
        }
        let mut state = self.state.lock().unwrap();
        if state
            .sessions
            .get(&name)
            .is_some_and(|other| Arc::ptr_eq(other, &end))
        {
            state.sessions.remove(&name);
        }
        None
    }

    /// For how long it may stay.
    async fn admission(&self, name: &str, leaf: &[u8]) -> Option<Duration> {
        use base64::Engine;
        let pem = base64::engine::general_purpose::STANDARD.encode(leaf);
        let words = [
            ("${clientid}", name),
            ("${username}", name),
            ("${cert_pem}", &pem),
        ];
        let answer = self.authentication.ask(&words).await?;
        if answer["result"] != "allow" {
            return None;
        }
        let left = answer["expire_at"].as_i64()? - now().as_second();
        u64::try_from(left).ok().map(Duration::from_secs)
    }

    async fn go_on(
        &self,
        name: &str,
        stream: &mut TlsStream<TcpStream>,
        buffer: &mut BytesMut,
    ) -> Option<()> {
        loop {
            let packet = packet(stream, buffer).await?;
            if let Packet::Publish(publish) = packet {
                let topic = String::from_utf8(publish.topic.to_vec()).ok()?;
                self.may(name, "publish", &topic).await.then_some(())?;
                send(stream, &mqtt::PubAck::new(publish.pkid)).await?;
            } else if let Packet::Subscribe(subscribe) = packet {
                for filter in &subscribe.filters {
                    self.may(name, "subscribe", &filter.path).await.then_some(())?;
                }
                let codes = subscribe.filters.iter();
                let codes = codes.map(|_| mqtt::SubscribeReasonCode::Success(rumqttc::QoS::AtLeastOnce));
                send(stream, &mqtt::SubAck::new(subscribe.pkid, codes.collect())).await?;
            } else if packet == Packet::PingReq {
                send(stream, &mqtt::PingResp).await?;
            } else {
                return None;
            }
        }
    }

    async fn may(&self, name: &str, action: &str, topic: &str) -> bool {
        let key = (name.to_owned(), action.to_owned(), topic.to_owned());
        if let Some(known) = self.state.lock().unwrap().remembered.get(&key) {
            return *known;
        }
        let words = [
            ("${clientid}", name),
            ("${username}", name),
            ("${action}", action),
            ("${topic}", topic),
        ];
        let answer = self.authorization.ask(&words).await;
        let may = answer.is_some_and(|answer| answer["result"] == "allow");
        self.state.lock().unwrap().remembered.insert(key, may);
        may
    }

    async fn serve(self: Arc<Self>, tcp: TcpStream) {
        let service = service_fn(move |request: http::Request<Incoming>| {
            let emqx = self.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let (status, answer) = emqx.told(&head, &body);
                let answer = http::Response::builder()
                    .status(status)
                    .body(Full::new(Bytes::from(answer)));
                Ok::<_, std::convert::Infallible>(answer.unwrap())
            }
        });
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(tcp), service)
            .await;
    }

    fn told(&self, head: &http::request::Parts, body: &[u8]) -> (u16, String) {
        use base64::Engine;
        let basic = base64::engine::general_purpose::STANDARD.encode(&self.key);
        if head.headers["authorization"] != format!("Basic {basic}") {
            return (401, json!({ "code": "BAD_API_KEY_OR_SECRET" }).to_string());
        }
        let path = head.uri.path().strip_prefix("/api/v5").unwrap();
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let mut state = self.state.lock().unwrap();
        match (head.method.as_str(), path) {
            ("POST", "/banned") => {
                assert_eq!(body["as"], "clientid");
                body["until"]
                    .as_str()
                    .unwrap()
                    .parse::<jiff::Timestamp>()
                    .unwrap();
                let who = body["who"].as_str().unwrap().to_owned();
                if !state.banned.insert(who.clone()) {
                    return (400, json!({ "code": "ALREADY_EXISTS" }).to_string());
                }
                state.end(&who);
                (200, body.to_string())
            }
            ("DELETE", path) if path.starts_with("/banned/clientid/") => {
                let found = state.banned.remove(&path["/banned/clientid/".len()..]);
                (if found { 204 } else { 404 }, String::new())
            }
            ("POST", "/clients/kickout/bulk") => {
                for who in body.as_array().unwrap() {
                    state.end(who.as_str().unwrap());
                }
                (204, String::new())
            }
            ("DELETE", "/authorization/cache") => {
                state.remembered.clear();
                (204, String::new())
            }
            _ => (404, json!({ "code": "NOT_FOUND" }).to_string()),
        }
    }
}

impl State {
    /// What was remembered of it ends with its session.
    fn end(&mut self, who: &str) {
        self.remembered.retain(|(name, ..), _| name != who);
        self.sessions.remove(who).inspect(|end| end.notify_one());
    }
}

async fn packet(stream: &mut TlsStream<TcpStream>, buffer: &mut BytesMut) -> Option<Packet> {
    loop {
        if let Ok(packet) = Packet::read(buffer, 4096) {
            return Some(packet);
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// What is sent to a client.
trait Sent {
    fn put(&self, bytes: &mut BytesMut);
}

macro_rules! sent {
    ($($packet:ident)*) => {
        $(impl Sent for mqtt::$packet {
            fn put(&self, bytes: &mut BytesMut) {
                self.write(bytes).unwrap();
            }
        })*
    };
}
sent!(ConnAck PubAck SubAck PingResp);

async fn send(stream: &mut TlsStream<TcpStream>, packet: &impl Sent) -> Option<()> {
    let mut bytes = BytesMut::new();
    packet.put(&mut bytes);
    stream.write_all(&bytes).await.ok()?;
    stream.flush().await.ok()
}
