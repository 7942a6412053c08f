//! HTTP on loopback: what a broker asks the agent, and what the agent asks of a broker.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use zeroize::Zeroizing;

use crate::Error;
use muster_pki::hex;

/// The longest question and the longest answer.
const MAX_QUESTION: usize = 64 << 10;
const MAX_ANSWER: usize = 16 << 20;
/// How long an answer may take, and how long a connection may be without a question.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most connections at once.
const MOST: usize = 256;

/// Answers a path and a body.
pub(crate) type Answerer = Arc<dyn Fn(&str, &[u8]) -> String + Send + Sync>;

/// Answers until this is dropped.
#[derive(Debug)]
pub(crate) struct Answering(AbortHandle);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A secret of 256 bits, by which a broker knows the agent.
pub(crate) fn secret() -> Result<Zeroizing<String>, Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(&mut *bytes).map_err(|_| Error::new("no random number could be drawn"))?;
    Ok(Zeroizing::new(hex(&*bytes)))
}

/// Begins to answer, on loopback alone; each answer is of this media type.
pub(crate) async fn answer(
    address: SocketAddr,
    media: &'static str,
    answerer: Answerer,
) -> Result<Answering, Error> {
    if !address.ip().is_loopback() {
        return Err(Error::new(format!(
            "the agent answers the broker on loopback only, not on {address} (say --answer 127.0.0.1:PORT)"
        )));
    }
    let listener = TcpListener::bind(address).await.map_err(|why| {
        Error::new(format!(
            "cannot listen on {address}: {why} (say --answer with another port, and in the broker's configuration)"
        ))
    })?;
    let task = tokio::spawn(async move {
        let room = Arc::new(Semaphore::new(MOST));
        // They end with this.
        let mut connections = tokio::task::JoinSet::new();
        while let Ok(permit) = room.clone().acquire_owned().await {
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((tcp, _)) => {
                    let answerer = answerer.clone();
                    connections.spawn(async move {
                        serve(tcp, media, answerer).await;
                        drop(permit);
                    });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    });
    Ok(Answering(task.abort_handle()))
}

async fn serve(tcp: TcpStream, media: &'static str, answerer: Answerer) {
    let _ = tcp.set_nodelay(true);
    let service = service_fn(move |request: http::Request<Incoming>| {
        let answerer = answerer.clone();
        async move {
            let path = request.uri().path().to_owned();
            let body = Limited::new(request.into_body(), MAX_QUESTION).collect().await;
            let body = body.map(|body| body.to_bytes()).unwrap_or_default();
            let mut answer = http::Response::new(Full::new(Bytes::from(answerer(&path, &body))));
            answer
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static(media));
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server
        .timer(hyper_util::rt::TokioTimer::new())
        .header_read_timeout(Duration::from_secs(60));
    let _ = server.serve_connection(TokioIo::new(tcp), service).await;
}

/// The fields of a form (WHATWG URL, section 5.1), by name.
pub(crate) fn form(body: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(body);
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_encoding::percent_decode_str(&text)
            .decode_utf8_lossy()
            .into_owned()
    };
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decode(name), decode(value))).collect()
}

/// Asks something of a broker's API, as a user with a password, with JSON if there is something to say. The status and the body.
pub(crate) async fn ask(
    address: &str,
    user: (&str, &str),
    method: &str,
    path: &str,
    body: Option<&serde_json::Value>,
) -> Result<(u16, Bytes), Error> {
    let failed = |why: String| {
        Error::new(format!(
            "the broker's API on {address} does not run: {why} (start the broker)"
        ))
    };
    let talk = async {
        let tcp = TcpStream::connect(address)
            .await
            .map_err(|why| failed(why.to_string()))?;
        let _ = tcp.set_nodelay(true);
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await;
        let (mut sender, connection) = shaken.map_err(|why| failed(why.to_string()))?;
        tokio::spawn(connection);
        let basic = STANDARD.encode(format!("{}:{}", user.0, user.1));
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", address)
            .header("authorization", format!("Basic {basic}"))
            .header("content-type", "application/json")
            .body(Full::new(
                body.map_or_else(Bytes::new, |body| body.to_string().into()),
            ))
            .map_err(|why| failed(why.to_string()))?;
        let answer = sender
            .send_request(request)
            .await
            .map_err(|why| failed(why.to_string()))?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|why| failed(why.to_string()))?;
        Ok((status, body.to_bytes()))
    };
    let late = |_| failed("no answer within 5 s".into());
    tokio::time::timeout(PATIENCE, talk).await.map_err(late)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read() {
        let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            form(b"username=dev-1&vhost=%2F&a+b=c%20d"),
            [own("username", "dev-1"), own("vhost", "/"), own("a b", "c d")]
        );
        bolero::check!().for_each(|bytes| drop(form(bytes)));
    }
}
