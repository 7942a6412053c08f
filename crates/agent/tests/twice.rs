//! Who had said its CONNECT when its session was ended comes in a moment later: sessions are ended once more.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may fail"
)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_agent::Clock;
use muster_agent::broker::{Ended, Place, adapter};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What a broker's API was asked for, as `METHOD PATH BODY`.
type Asked = Arc<Mutex<Vec<String>>>;

/// Stands in for a broker's API: writes down every request and says that it is done.
async fn api(asked: Asked) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, asked.clone()));
        }
    });
    port
}

async fn answer(stream: TcpStream, asked: Asked) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.unwrap() == 0 {
            return;
        }
    }
    let lower = head.to_lowercase();
    let length = lower.split("content-length: ").nth(1).map_or(0, |rest| {
        rest.split("\r\n").next().unwrap().parse::<usize>().unwrap()
    });
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let line = head.split(" HTTP").next().unwrap();
    asked
        .lock()
        .unwrap()
        .push(format!("{line} {}", String::from_utf8(body).unwrap()));
    let done = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    stream.write_all(done).await.unwrap();
}

async fn ends_twice(program: &str, order: &str) {
    let asked = Asked::default();
    let dir = tempfile::tempdir().unwrap();
    let place = Place {
        dir: Some(dir.path().to_owned()),
        listener: "127.0.0.1:8883".into(),
        control: Some(format!("127.0.0.1:{}", api(asked.clone()).await)),
        ..Place::default()
    };
    let clock: Clock = Arc::new(common::now);
    let broker = adapter(program, &place, &clock).unwrap();
    let ended = broker.shut_out(&["late".to_owned()]).await.unwrap();
    assert_eq!(ended, Ended::Over);
    let orders = || asked.lock().unwrap().iter().filter(|one| *one == order).count();
    assert_eq!(orders(), 1, "{:?}", asked.lock().unwrap());
    let again = async {
        while orders() < 2 {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), again).await;
    assert!(waited.is_ok(), "{:?}", asked.lock().unwrap());
}

#[tokio::test]
async fn rabbitmq_is_told_to_end_sessions_twice() {
    ends_twice("rabbitmq", "DELETE /api/connections/username/late ").await;
}

#[tokio::test]
async fn emqx_is_told_to_end_sessions_twice() {
    ends_twice("emqx", r#"POST /api/v5/clients/kickout/bulk ["late"]"#).await;
}
