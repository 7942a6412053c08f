//! Topic rules of 10,000 devices on a real Mosquitto: what changes for one is in force at once, and everybody has their own alone.

use std::time::{Duration, Instant};

use crate::common::{Device, Kind, World};
use muster_agent::beside::listener::Seen;
use muster_api::agent::{DeviceRules, Rules};
use rustls::version::TLS12;

const DEVICES: usize = 10_000;
/// What is promised is one second. Most of it is Mosquitto's own, which takes half a second to read so many blocks where nothing else runs.
const BOUND: Duration = Duration::from_secs(5);

fn rules(name: &str, publish: &[&str], subscribe: &[&str]) -> DeviceRules {
    let list = |topics: &[&str]| topics.iter().map(|&topic| topic.to_owned()).collect();
    DeviceRules {
        name: name.into(),
        rules: Rules {
            publish: list(publish),
            subscribe: list(subscribe),
        },
    }
}

/// Its own place in a plant, and nothing below `fleet`.
fn own(number: usize) -> DeviceRules {
    let topic = format!("plant/dev-{number}/#");
    rules(&format!("dev-{number}"), &[&topic], &[&topic])
}

/// Brings what changed for one device into force, and waits until messages on a topic do, or do not, arrive any more.
async fn change(
    world: &mut World,
    what: &str,
    changed: Result<DeviceRules, &str>,
    [device, reader]: [&mut Device; 2],
    [opened, closed]: [&str; 2],
) {
    let mut epoch = world.fleet.epoch(&[]);
    epoch.after = Some(world.agent.sequence());
    match changed {
        Ok(rules) => epoch.access.devices = vec![rules],
        Err(name) => epoch.access.removed = vec![name.into()],
    }
    let begun = Instant::now();
    world.agent.take(epoch).await.unwrap();
    let outcome = world.proves().await;
    let steps: Vec<_> = outcome
        .steps
        .iter()
        .map(|step| format!("{} {} ms", step.name, step.micros / 1000))
        .collect();
    loop {
        device.publish(opened).await;
        if reader.arrived().await.iter().any(|topic| topic == opened) {
            break;
        }
        assert!(begun.elapsed() < BOUND, "{what}: {opened} does not arrive");
    }
    let (took, steps) = (begun.elapsed(), steps.join(", "));
    eprintln!("measured: {what}: in force after {took:?} ({steps})");
    assert!(took < BOUND, "{what} took {took:?}");
    device.publish(closed).await;
    assert_eq!(reader.arrived().await, [""; 0], "{what}: {closed} still arrives");
}

#[tokio::test]
async fn of_ten_thousand_devices_each_has_its_own_rules_and_a_change_is_in_force_at_once() {
    let Some(mut world) = World::new(Kind::Mosquitto("root")).await else {
        return;
    };
    let pairs = ["dev-1", "dev-10", "reader", "new"].map(|name| world.fleet.device(name));
    let mut epoch = world.fleet.epoch(&[]);
    epoch.access.devices = (0..DEVICES).map(own).collect();
    epoch
        .access
        .devices
        .push(rules("reader", &[], &["plant/#", "fleet/#", "extra/#"]));
    let begun = Instant::now();
    world.agent.take(epoch).await.unwrap();
    world.proves().await;
    eprintln!("measured: {DEVICES} devices: proved after {:?}", begun.elapsed());
    let [one, ten, reader, new] = pairs.each_ref().map(|pair| world.fleet.tls(pair, &TLS12));
    let mut reader = world.fleet.session(&world.hub, &reader).await.expect("reader");
    reader.subscribe(&["plant/#", "fleet/#", "extra/#"]).await;
    let mut one = world.fleet.session(&world.hub, &one).await.expect("dev-1");
    let mut ten = world.fleet.session(&world.hub, &ten).await.expect("dev-10");

    // A name that is part of another one's is no way in: not to write, not to read, not to take over.
    ten.subscribe(&["plant/dev-10/#"]).await;
    one.subscribe(&["plant/dev-10/#", "plant/+/up", "plant/#", "#", "plant/dev-1/#"])
        .await;
    one.publish("plant/dev-10/up").await;
    ten.publish("plant/dev-1/up").await;
    assert_eq!(
        (ten.arrived().await, reader.arrived().await),
        (Vec::new(), Vec::new())
    );
    ten.publish("plant/dev-10/up").await;
    assert_eq!(reader.arrived().await, ["plant/dev-10/up"]);
    assert_eq!(ten.arrived().await, ["plant/dev-10/up"]);
    assert_eq!(one.arrived().await, [""; 0], "what is another's");
    assert_eq!(
        world.hub.sees_as(&pairs[3], "dev-10").await,
        Seen::Accepted,
        "as itself"
    );
    assert!(ten.answers().await, "nobody took it over");

    let mut new = world.fleet.session(&world.hub, &new).await.expect("new");
    let created = rules("new", &["extra/new"], &[]);
    change(
        &mut world,
        "created",
        Ok(created),
        [&mut new, &mut reader],
        ["extra/new", "fleet/new/up"],
    )
    .await;
    let changed = rules("dev-1", &["extra/dev-1"], &[]);
    change(
        &mut world,
        "changed",
        Ok(changed),
        [&mut one, &mut reader],
        ["extra/dev-1", "plant/dev-1/up"],
    )
    .await;
    // Without rules of its own it has those of all.
    change(
        &mut world,
        "removed",
        Err("dev-1"),
        [&mut one, &mut reader],
        ["fleet/dev-1/up", "extra/dev-1"],
    )
    .await;
    ten.publish("plant/dev-10/up").await;
    assert_eq!(reader.arrived().await, ["plant/dev-10/up"]);
}
