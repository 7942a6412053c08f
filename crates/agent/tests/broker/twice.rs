//! Who had said its CONNECT when its session was ended comes in a moment later: sessions are ended twice more, whatever becomes of the agent.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::common::{Kind, World, now};
use jiff::{SignedDuration, Timestamp};
use muster_agent::Clock;
use muster_agent::beside::broker::{Place, adapter};
use muster_agent::pair::Pair;
use rustls::version::TLS12;

/// How far the agent's clock is ahead.
static AHEAD: AtomicI64 = AtomicI64::new(0);

fn later() -> Timestamp {
    now() + SignedDuration::from_millis(AHEAD.load(Ordering::SeqCst))
}

/// Has a session, lets time pass, and says whether it is over then.
async fn is_ended_after(world: &mut World, device: &Pair, millis: i64) -> bool {
    let tls = world.fleet.tls(device, &TLS12);
    let mut session = world.fleet.session(&world.hub, &tls).await.expect("let in");
    AHEAD.fetch_add(millis, Ordering::SeqCst);
    world.agent.end_once_more().await.unwrap();
    !session.answers().await
}

/// As after a crash: with what lies on the disk.
async fn another_agent(mut world: World) -> World {
    drop(world.agent);
    world.agent = world.hub.enforcer().await;
    world
}

#[tokio::test]
async fn sessions_are_ended_twice_more_even_by_an_agent_that_was_started_again() {
    let mut world = World::new(Kind::Emqx).await.expect("it needs no program");
    world.hub.clock = later;
    let mut world = another_agent(world).await;
    let (stays, old) = (world.fleet.device("stays"), world.fleet.device("back"));
    let tls = world.fleet.tls(&stays, &TLS12);
    let mut session = world.fleet.session(&world.hub, &tls).await.expect("let in");
    // It lost one of its certificates, and has another.
    let mut epoch = world.fleet.epoch(&["back"]);
    epoch.kicked = vec!["stays".into()];
    world.fleet.revoke(&old);
    world.agent.take(epoch).await.unwrap();
    world.proves().await;
    assert!(!session.answers().await, "at once");
    let mut world = another_agent(world).await;
    assert!(is_ended_after(&mut world, &stays, 500).await, "the first time");
    let mut world = another_agent(world).await;
    // Who is let in again has come back with another certificate.
    let new = world.fleet.device("back");
    world.enforce(&[]).await;
    let tls = world.fleet.tls(&new, &TLS12);
    let mut back = world.fleet.session(&world.hub, &tls).await.expect("let in again");
    assert!(
        is_ended_after(&mut world, &stays, 12_000).await,
        "the second time"
    );
    assert!(back.answers().await, "not whoever was let in again");
    let mut world = another_agent(world).await;
    assert!(!is_ended_after(&mut world, &stays, 60_000).await, "and no more");
}

/// RabbitMQ lets who has shown a certificate wait 10 s with its CONNECT, and asks about names only.
#[test]
fn the_last_time_is_after_all_that_a_broker_was_told_before() {
    let clock: Clock = Arc::new(now);
    for program in ["rabbitmq", "emqx"] {
        let dir = tempfile::tempdir().unwrap();
        let place = Place {
            dir: Some(dir.path().to_owned()),
            listener: "127.0.0.1:8883".into(),
            ..Place::default()
        };
        let pauses = adapter(program, &place, &clock).unwrap().once_more();
        assert!(
            pauses.iter().sum::<Duration>() > Duration::from_secs(11),
            "{program}"
        );
    }
}
