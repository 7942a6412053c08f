//! The gate: topics, and who takes its time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::common::{Kind, World};
use muster_agent::beside::listener::Seen;
use muster_api::agent::{DeviceRules, Rules};
use rustls::version::{TLS12, TLS13};

fn own(name: &str, publish: &[&str], subscribe: &[&str]) -> DeviceRules {
    let list = |topics: &[&str]| topics.iter().map(|&topic| topic.to_owned()).collect();
    DeviceRules {
        name: name.into(),
        rules: Rules {
            publish: list(publish),
            subscribe: list(subscribe),
        },
    }
}

#[tokio::test]
async fn a_device_reads_and_writes_what_its_rules_say() {
    let Some(mut world) = World::new(Kind::Gate).await else {
        return;
    };
    let pairs = ["dev-1", "dev-10", "ops"].map(|name| world.fleet.device(name));
    let mut epoch = world.fleet.epoch(&[]);
    epoch.access.devices = vec![own("ops", &["fleet/+/down"], &["fleet/#"])];
    world.agent.take(epoch).await.unwrap();
    world.proves().await;
    let [one, ten, ops] = pairs.each_ref().map(|pair| world.fleet.tls(pair, &TLS13));
    let mut one = world.fleet.session(&world.hub, &one).await.expect("dev-1");
    let mut ten = world.fleet.session(&world.hub, &ten).await.expect("dev-10");
    let mut ops = world.fleet.session(&world.hub, &ops).await.expect("ops");

    assert_eq!(ops.subscribe(&["fleet/#"]).await, [true]);
    let asked = [
        "fleet/dev-1/#",
        "fleet/dev-10/#",
        "#",
        "fleet/dev-1/down",
        "$SYS/#",
    ];
    assert_eq!(one.subscribe(&asked).await, [true, false, false, true, false]);
    assert_eq!(one.subscribe(&["fleet/+/x"]).await, [false]);

    one.publish("fleet/dev-1/up").await;
    one.publish("fleet/dev-10/up").await;
    ten.publish("fleet/dev-10/up").await;
    ten.publish("fleet/dev-1/down").await;
    ops.publish("fleet/dev-1/down").await;
    // A broker sends it once for each subscription, or once.
    let mut arrived = one.arrived().await;
    arrived.dedup();
    assert_eq!(arrived, ["fleet/dev-1/up", "fleet/dev-1/down"]);
    let denied = world.agent.broker().denials().await.unwrap();
    let denied: Vec<_> = denied
        .iter()
        .map(|one| (one.device.as_str(), one.topic.as_str()))
        .collect();
    for expected in [
        ("dev-1", "fleet/dev-10/up"),
        ("dev-1", "#"),
        ("dev-10", "fleet/dev-1/down"),
    ] {
        assert!(denied.contains(&expected), "{denied:?}");
    }
    assert!(world.agent.broker().denials().await.unwrap().is_empty());
    assert_eq!(world.agent.broker().sessions().await, Some(3));

    // Rules that change hold for sessions that are open, too.
    let mut epoch = world.fleet.epoch(&[]);
    epoch.access.devices = vec![own("ops", &[], &["fleet/dev-10/#"])];
    world.agent.take(epoch).await.unwrap();
    world.proves().await;
    ops.arrived().await;
    ops.publish("fleet/dev-1/down").await;
    one.publish("fleet/dev-1/up").await;
    ten.publish("fleet/dev-10/up").await;
    assert_eq!(ops.arrived().await, ["fleet/dev-10/up"]);
    assert_eq!(
        one.arrived()
            .await
            .iter()
            .filter(|topic| topic.ends_with("down"))
            .count(),
        0
    );
}

/// A will is a publish that comes later, and a user name is a claim.
#[tokio::test]
async fn what_a_connect_asks_for_is_judged() {
    let Some(mut world) = World::new(Kind::Gate).await else {
        return;
    };
    let device = world.fleet.device("d1");
    let tls = world.fleet.tls(&device, &TLS12);
    let cases: [(&[u8], &[u8]); 5] = [
        // A will below its own name, and below another's.
        (
            b"\x10\x1c\x00\x04MQTT\x04\x06\x00\x3c\x00\x02d1\x00\x0afleet/d1/w\x00\x00",
            b"\x20\x02\0\0",
        ),
        (
            b"\x10\x1c\x00\x04MQTT\x04\x06\x00\x3c\x00\x02d1\x00\x0afleet/d2/w\x00\x00",
            b"\x20\x02\0\x05",
        ),
        // Its own name as user name, and another's.
        (
            b"\x10\x12\x00\x04MQTT\x04\x82\x00\x3c\x00\x02d1\x00\x02d1",
            b"\x20\x02\0\0",
        ),
        (
            b"\x10\x12\x00\x04MQTT\x04\x82\x00\x3c\x00\x02d1\x00\x02d2",
            b"\x20\x02\0\x05",
        ),
        // Another's client id in MQTT 5.
        (
            b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x02d2",
            b"\x20\x03\0\x85\0",
        ),
    ];
    for (connect, answer) in cases {
        let mut session = world.fleet.connect(&world.hub, &tls).await.unwrap();
        session.send(connect).await;
        assert_eq!(session.bytes(answer.len()).await, answer, "{connect:?}");
    }
}

/// With MQTT 5, topics may be numbers, and refusals are said.
#[tokio::test]
async fn mqtt_5_gets_reasons() {
    let Some(mut world) = World::new(Kind::Gate).await else {
        return;
    };
    let device = world.fleet.device("d1");
    let tls = world.fleet.tls(&device, &TLS12);
    let mut session = world.fleet.connect(&world.hub, &tls).await.unwrap();
    session
        .send(b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x02d1")
        .await;
    let connack = session.frame().await;
    assert_eq!((connack[0], connack[3]), (0x20, 0));
    // A topic of another device: PUBACK 0x87, and by its alias again.
    session
        .send(b"\x32\x10\x00\x08fleet/d2\x00\x01\x03\x23\x00\x01")
        .await;
    assert_eq!(session.frame().await, b"\x40\x03\x00\x01\x87");
    session.send(b"\x32\x08\x00\x00\x00\x02\x03\x23\x00\x01").await;
    assert_eq!(session.frame().await, b"\x40\x03\x00\x02\x87");
    session.send(b"\x82\x0e\x00\x03\x00\x00\x08fleet/d2\x00").await;
    assert_eq!(session.frame().await, b"\x90\x04\x00\x03\x00\x87");
    session.send(b"\x82\x0e\x00\x04\x00\x00\x08fleet/d1\x00").await;
    assert_eq!(session.frame().await, b"\x90\x04\x00\x04\x00\x00");
}

/// Time is moved, not waited for.
#[tokio::test]
async fn who_says_nothing_is_cut() {
    let Some(mut world) = World::new(Kind::Gate).await else {
        return;
    };
    let device = world.fleet.device("slow");
    let mut silent = tokio::net::TcpStream::connect(("127.0.0.1", world.hub.port))
        .await
        .unwrap();
    let mut half = world.fleet.half_open(&world.hub, &device).await;
    let tls = world.fleet.tls(&device, &TLS12);
    let mut live = world.fleet.session(&world.hub, &tls).await.unwrap();
    tokio::time::pause();
    let mut byte = [0];
    let cut = tokio::io::AsyncReadExt::read(&mut silent, &mut byte).await;
    assert!(!matches!(cut, Ok(1)), "a handshake that does not begin");
    assert!(half.hangs_up().await, "a CONNECT that does not come");
    // It promised to speak every 10 s.
    assert!(live.hangs_up().await, "a session that is silent");
    tokio::time::resume();
    assert_eq!(world.hub.sees(&device).await, Seen::Accepted);
}

/// What it cannot read it does not take up.
#[tokio::test]
async fn broken_files_change_nothing() {
    let Some(mut world) = World::new(Kind::Gate).await else {
        return;
    };
    let (good, bad) = (world.fleet.device("good"), world.fleet.device("bad"));
    world.fleet.revoke(&bad);
    world.enforce(&["bad"]).await;
    for name in ["crls.pem", "trust.pem", "server.pem", "access.json"] {
        std::fs::write(world.hub.files().join(name), "broken\n").unwrap();
        let told = world.agent.broker().signal().await;
        assert!(
            told.is_err_and(|why| why.0.contains("muster broker run")),
            "{name}"
        );
        assert_eq!(world.hub.sees(&good).await, Seen::Accepted);
        assert!(matches!(world.hub.sees(&bad).await, Seen::Alert(_)));
        assert!(world.agent.watch().await.is_err());
        world.proves().await;
    }
}

/// A session ends with the certificate that it stands on.
#[tokio::test]
async fn who_came_with_a_certificate_goes_when_it_runs_out() {
    let Some(mut world) = World::new(Kind::Gate).await else {
        return;
    };
    let (brief, good) = (world.fleet.brief_device("brief"), world.fleet.device("good"));
    let [brief, good] = [brief, good].map(|pair| world.fleet.tls(&pair, &TLS12));
    let mut brief = world.fleet.session(&world.hub, &brief).await.expect("brief");
    let mut good = world.fleet.session(&world.hub, &good).await.expect("good");
    world.hub.ahead.store(2 * 3600, Ordering::Relaxed);
    // Who says nothing is cut only after 15 s.
    let ended = tokio::time::timeout(Duration::from_secs(12), brief.hangs_up()).await;
    assert_eq!(ended, Ok(true));
    assert!(good.answers().await, "nobody else is lost");
}

/// One address takes some of the room with connections that lead nowhere, and not all of it.
#[tokio::test]
async fn nobody_takes_all_the_room_before_the_handshake() {
    let Some(mut world) = World::new(Kind::Gate).await else {
        return;
    };
    let device = world.fleet.device("good");
    let gate = std::net::SocketAddr::from(([127, 0, 0, 1], world.hub.port));
    let mut hostile = Vec::new();
    // More than the hundred that there is room for.
    for _ in 0..150 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        hostile.push(socket.connect(gate).await.unwrap());
    }
    assert_eq!(world.hub.sees(&device).await, Seen::Accepted);
    drop(hostile);
}

/// Who says nothing on the gate's socket keeps nobody else from asking.
#[tokio::test]
async fn the_gate_hears_several_at_a_time() {
    let Some(world) = World::new(Kind::Gate).await else {
        return;
    };
    let path = world.hub.files().join("gate.sock");
    let silent = [0; 4].map(|_| std::os::unix::net::UnixStream::connect(&path).unwrap());
    let asked = world.agent.broker();
    let sessions = tokio::time::timeout(Duration::from_secs(4), asked.sessions()).await;
    assert_eq!(sessions.ok().flatten(), Some(0));
    drop(silent);
}
