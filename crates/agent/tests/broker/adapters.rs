//! What holds with every kind of broker: who is revoked is out at once, by whatever way, and nobody else is.

use crate::common::{Kind, World};
use muster_agent::beside::listener::Seen;
use rustls::version::{TLS12, TLS13};

/// Revoked with a live session, half-way in, and with something to resume a session with.
async fn a_revoked_device_gets_in_by_no_way(kind: Kind) {
    let Some(mut world) = World::new(kind).await else {
        return;
    };
    let (late, good) = (world.fleet.device("late"), world.fleet.device("good"));
    let other = world.fleet.tls(&good, &TLS13);
    let mut other = world.fleet.session(&world.hub, &other).await.expect("good");
    let mut tries = Vec::new();
    for version in [&TLS12, &TLS13] {
        let tls = world.fleet.tls(&late, version);
        let live = world.fleet.session(&world.hub, &tls).await.expect("late, before");
        drop(live);
        tries.push(tls);
    }
    let mut live = world.fleet.session(&world.hub, &tries[0]).await.expect("live");
    let mut half = world.fleet.half_open(&world.hub, &late).await;
    world.fleet.revoke(&late);
    world.enforce(&["late"]).await;
    assert_eq!(live.packet().await, None, "its session is over");
    let began = half.begin().await;
    assert!(
        began.is_none() || half.packet().await.is_none(),
        "{}",
        world.hub.log()
    );
    for tls in &tries {
        assert!(world.fleet.session(&world.hub, tls).await.is_none(), "resumed");
    }
    assert!(world.hub.refuses(&late).await);
    assert!(other.answers().await, "nobody else is lost");
    assert_eq!(world.hub.sees(&good).await, Seen::Accepted);

    // With another certificate it comes back at once, and stays; the old one stays out.
    let again = world.fleet.device("late");
    world.enforce(&[]).await;
    let tls = world.fleet.tls(&again, &TLS12);
    let mut session = world.fleet.session(&world.hub, &tls).await.expect("re-enrolled");
    assert!(world.hub.refuses(&late).await);
    world.agent.watch().await.unwrap();
    assert!(session.answers().await);

    // And so it is after the broker was started again.
    world.hub.stop_broker();
    world.hub.start_broker().await;
    world.proves().await;
    assert!(world.hub.refuses(&late).await);
    assert_eq!(world.hub.sees(&again).await, Seen::Accepted);
}

#[tokio::test]
async fn mosquitto_lets_a_revoked_device_in_by_no_way() {
    a_revoked_device_gets_in_by_no_way(Kind::Mosquitto("root")).await;
}

#[tokio::test]
async fn the_gate_lets_a_revoked_device_in_by_no_way() {
    a_revoked_device_gets_in_by_no_way(Kind::Gate).await;
}

#[tokio::test]
async fn the_gate_in_front_of_rumqttd_lets_a_revoked_device_in_by_no_way() {
    a_revoked_device_gets_in_by_no_way(Kind::Rumqttd).await;
}

#[tokio::test]
async fn rabbitmq_lets_a_revoked_device_in_by_no_way() {
    a_revoked_device_gets_in_by_no_way(Kind::RabbitMq).await;
}

#[tokio::test]
async fn what_stands_in_for_emqx_lets_a_revoked_device_in_by_no_way() {
    a_revoked_device_gets_in_by_no_way(Kind::Emqx).await;
}

#[tokio::test]
async fn haproxy_lets_a_revoked_device_in_by_no_way() {
    a_revoked_device_gets_in_by_no_way(Kind::HaProxy).await;
}

/// Its sessions stay, and it goes on taking lists.
async fn a_broker_takes_up_another_certificate(kind: Kind) {
    let Some(mut world) = World::new(kind).await else {
        return;
    };
    let (late, good) = (world.fleet.device("late"), world.fleet.device("good"));
    let tls = world.fleet.tls(&good, &TLS12);
    let mut session = world.fleet.session(&world.hub, &tls).await.expect("good");
    for _ in 0..2 {
        let server = world.fleet.server();
        world.agent.set_server(world.hub.renew(server));
        world.proves().await;
    }
    world.fleet.revoke(&late);
    world.enforce(&["late"]).await;
    world.enforce(&["late"]).await;
    assert!(world.hub.refuses(&late).await);
    assert!(session.answers().await);
}

#[tokio::test]
async fn mosquitto_takes_up_another_certificate() {
    a_broker_takes_up_another_certificate(Kind::Mosquitto("root")).await;
}

#[tokio::test]
async fn the_gate_takes_up_another_certificate() {
    a_broker_takes_up_another_certificate(Kind::Gate).await;
}

#[tokio::test]
async fn what_stands_in_for_emqx_takes_up_another_certificate() {
    a_broker_takes_up_another_certificate(Kind::Emqx).await;
}

#[tokio::test]
async fn haproxy_takes_up_another_certificate() {
    a_broker_takes_up_another_certificate(Kind::HaProxy).await;
}

/// What stands in front of a broker without TLS says who a device is.
async fn nobody_takes_anothers_name(kind: Kind) {
    let Some(mut world) = World::new(kind).await else {
        return;
    };
    let (one, two) = (world.fleet.device("one"), world.fleet.device("two"));
    let tls = world.fleet.tls(&one, &TLS12);
    let mut session = world.fleet.session(&world.hub, &tls).await.expect("one");
    for id in ["one", "", "two2", "Two"] {
        let seen = world.hub.sees_as(&two, id).await;
        assert!(matches!(seen, Seen::Closed | Seen::Refused(_)), "{id}: {seen}");
    }
    assert!(session.answers().await, "nobody took it over");
    assert_eq!(world.hub.sees(&two).await, Seen::Accepted);
}

#[tokio::test]
async fn behind_the_gate_nobody_takes_anothers_name() {
    nobody_takes_anothers_name(Kind::Gate).await;
}

#[tokio::test]
async fn behind_haproxy_nobody_takes_anothers_name() {
    nobody_takes_anothers_name(Kind::HaProxy).await;
}

/// HAProxy takes lists by its socket, and what it does not take is said.
#[tokio::test]
async fn a_list_that_haproxy_has_no_room_for_is_an_alarm_and_still_refuses() {
    let Some(mut world) = World::new(Kind::HaProxy).await else {
        return;
    };
    let late = world.fleet.device("late");
    for number in 0..40_000_u32 {
        let serial = [&[0x20][..], &[7; 12], &number.to_be_bytes()].concat();
        world.fleet.revoked.push(serial);
    }
    world.fleet.revoke(&late);
    world.agent.take(world.fleet.epoch(&["late"])).await.unwrap();
    let outcome = world.agent.bring(&world.client, false).await;
    assert!(
        !outcome.proven && outcome.why.contains("tune.bufsize"),
        "{outcome:?}"
    );
    assert_eq!(world.hub.sees(&late).await, Seen::Closed, "by its serial number");
    let good = world.fleet.device("good");
    assert_eq!(world.hub.sees(&good).await, Seen::Accepted);
}
