//! The agent beside EMQX, with a stand-in: what it answers, and what happens without it, without the CA, and when time passes.

use crate::common::{Fleet, Kind, World, now};
use jiff::{SignedDuration, Timestamp};
use muster_agent::beside::listener::Seen;
use muster_api::agent::{DeviceRules, Rules};
use rustls::version::{TLS12, TLS13};

async fn world() -> World {
    World::new(Kind::Emqx).await.expect("it needs no program")
}

#[tokio::test]
async fn topics_are_answered_for_and_refusals_are_known() {
    let mut world = world().await;
    let pairs = ["dev-1", "dev-10"].map(|name| world.fleet.device(name));
    let [one, ten] = pairs.each_ref().map(|pair| world.fleet.tls(pair, &TLS13));
    let mut session = world.fleet.session(&world.hub, &one).await.expect("dev-1");
    assert_eq!(session.subscribe(&["fleet/dev-1/#"]).await, [true]);
    session.publish("fleet/dev-1/up").await;
    let mut other = world.fleet.session(&world.hub, &ten).await.expect("dev-10");
    // EMQX hangs up on what is not allowed.
    other.ask_to_subscribe("fleet/dev-1/#").await;
    assert!(other.hangs_up().await);
    let denied = world.agent.broker().denials().await.unwrap();
    assert_eq!(
        (denied[0].device.as_str(), denied[0].topic.as_str()),
        ("dev-10", "fleet/dev-1/#")
    );

    // Rules that change end the session, which comes back to the new ones.
    let mut epoch = world.fleet.epoch(&[]);
    epoch.access.devices = vec![DeviceRules {
        name: "dev-1".into(),
        rules: Rules {
            publish: vec!["plant/+/x".into()],
            subscribe: Vec::new(),
        },
    }];
    world.agent.take(epoch).await.unwrap();
    world.proves().await;
    assert_eq!(session.packet().await, None);
    let mut session = world.fleet.session(&world.hub, &one).await.expect("dev-1");
    session.publish("plant/7/x").await;
    session.ask_to_subscribe("fleet/dev-1/#").await;
    assert!(session.hangs_up().await);
}

#[tokio::test]
async fn without_the_ca_nobody_is_refused_and_without_the_agent_nobody_new_comes_in() {
    let mut world = world().await;
    let (good, bad) = (world.fleet.device("good"), world.fleet.device("bad"));
    world.fleet.revoke(&bad);
    world.agent.take(world.fleet.epoch(&["bad"])).await.unwrap();
    // The lists run out before certificates do.
    let soon = world
        .fleet
        .crl(world.fleet.number(), -1, 12, world.fleet.issuing());
    world.fleet.serve("default-1", Some(soon));
    world.proves().await;
    let tls = world.fleet.tls(&good, &TLS12);
    let mut session = world.fleet.session(&world.hub, &tls).await.expect("good");
    // The CA is gone: another agent begins with what lies on the disk.
    for name in ["default-1", "default-root"] {
        world.fleet.serve(name, None);
    }
    let World {
        mut hub,
        agent,
        fleet,
        ..
    } = world;
    drop(agent);
    assert!(
        matches!(hub.sees(&good).await, Seen::Refused(_)),
        "nobody answers"
    );
    assert!(session.answers().await, "who is in stays");
    let agent = hub.enforcer().await;
    assert_eq!(hub.sees(&good).await, Seen::Accepted);
    assert!(matches!(hub.sees(&bad).await, Seen::Refused(_)));
    // When the lists run out, everybody is refused, as by every other broker.
    drop(agent);
    hub.clock = || now() + SignedDuration::from_hours(13);
    let _late = hub.enforcer().await;
    assert!(
        matches!(hub.sees(&good).await, Seen::Refused(_)),
        "the lists ran out"
    );
    drop(fleet);
}

/// A certificate that is not what its client id says, is a server's, or has not begun.
#[tokio::test]
async fn only_a_devices_own_certificate_is_admitted() {
    let mut world = world().await;
    let server = world.fleet.server();
    assert_ne!(world.hub.sees(&server).await, Seen::Accepted);
    let stranger = Fleet::named("Other").device("good");
    assert_ne!(world.hub.sees(&stranger).await, Seen::Accepted);
    let early = world.fleet.device("good");
    assert_eq!(world.hub.sees(&early).await, Seen::Accepted);
    fn before() -> Timestamp {
        now() - SignedDuration::from_hours(2)
    }
    world.hub.clock = before;
    drop(world.agent);
    let _agent = world.hub.enforcer().await;
    assert!(matches!(world.hub.sees(&early).await, Seen::Refused(_)));
}

/// EMQX reads the key when it starts; with another one it does not do what the agent says, which is an alarm.
#[tokio::test]
async fn a_key_that_emqx_does_not_know_is_said() {
    let mut world = world().await;
    std::fs::remove_file(world.hub.files().join("api-key")).unwrap();
    world.agent = {
        drop(world.agent);
        world.hub.enforcer().await
    };
    let bad = world.fleet.device("bad");
    world.fleet.revoke(&bad);
    world.agent.take(world.fleet.epoch(&["bad"])).await.unwrap();
    let outcome = world.agent.bring(&world.client, false).await;
    assert!(
        !outcome.proven && outcome.why.contains("restart it once"),
        "{outcome:?}"
    );
    assert!(
        matches!(world.hub.sees(&bad).await, Seen::Refused(_)),
        "refused all the same"
    );
    world.hub.stop_broker();
    world.hub.start_broker().await;
    world.proves().await;
}
