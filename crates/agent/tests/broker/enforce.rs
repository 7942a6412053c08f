//! With a real Mosquitto: whatever is wrong, who is shut out stays out, and who is not stays in.

use std::pin::pin;
use std::task::Poll;

use crate::common::{Fleet, Hub, Kind, set_mode};
use muster_agent::beside::enforce::Enforcer;
use muster_agent::beside::listener::Seen;
use muster_agent::pair::Pair;
use muster_api::Client;
use muster_api::agent::{DeviceRules, Outcome, Rules};
use muster_pki::key::PrivateKey;
use rustls::AlertDescription::{CertificateRevoked, UnknownCA};

/// A broker that enforces a first epoch, a device that is in, and one that is out.
struct World {
    fleet: Fleet,
    hub: Hub,
    agent: Enforcer,
    client: Client,
    good: Pair,
    bad: Pair,
}

impl World {
    async fn new() -> Option<Self> {
        let mut fleet = Fleet::new();
        let mut hub = Hub::new(&mut fleet, Kind::Mosquitto("root"))?;
        let (good, bad) = (fleet.device("good"), fleet.device("bad"));
        let (mut agent, client) = (hub.enforcer().await, fleet.client());
        fleet.revoke(&bad);
        agent.take(fleet.epoch(&["bad"])).await.unwrap();
        let early = agent.bring(&client, false).await;
        assert!(!early.proven && early.why.contains("does not run"), "{early:?}");
        hub.start_broker().await;
        let outcome = once_it_runs(&mut agent, &client).await;
        assert!(outcome.proven, "{outcome:?}");
        let world = Self {
            fleet,
            hub,
            agent,
            client,
            good,
            bad,
        };
        world.holds().await;
        Some(world)
    }

    async fn holds(&self) {
        assert_eq!(
            self.hub.sees(&self.good).await,
            Seen::Accepted,
            "{}",
            self.hub.log()
        );
        assert_eq!(
            self.hub.sees(&self.bad).await,
            Seen::Alert(CertificateRevoked),
            "{}",
            self.hub.log()
        );
    }
}

#[tokio::test]
async fn a_list_that_is_not_sound_is_never_written() {
    let Some(mut world) = World::new().await else {
        return;
    };
    let enforced = world.agent.enforced();
    let files = world.hub.files();
    let before = std::fs::read(files.join("crls.pem")).unwrap();
    let name = "default-1";
    type Make = fn(&Fleet) -> Option<Vec<u8>>;
    let sound: Make = |fleet| Some(fleet.crl(fleet.number(), -1, 24, fleet.issuing()));
    let cases: [(&str, Make); 7] = [
        ("not a valid CRL", |_| Some(b"garbage".to_vec())),
        ("not a valid CRL", |fleet| {
            let mut list = fleet.crl(fleet.number(), -1, 24, fleet.issuing());
            list.truncate(list.len() / 2);
            Some(list)
        }),
        ("no such list", |_| None),
        ("its number is 1", |fleet| {
            Some(fleet.crl(1, -1, 24, fleet.issuing()))
        }),
        ("none of the trust anchors", |fleet| {
            let other = Fleet::new();
            Some(fleet.crl(fleet.number(), -1, 24, other.issuing()))
        }),
        ("it ran out", |fleet| {
            Some(fleet.crl(fleet.number(), -2, -1, fleet.issuing()))
        }),
        ("clock", |fleet| {
            Some(fleet.crl(fleet.number(), 1, 24, fleet.issuing()))
        }),
    ];
    for (why, list) in cases {
        world.agent.take(world.fleet.epoch(&["bad"])).await.unwrap();
        world.fleet.serve(name, list(&world.fleet));
        let outcome = world.agent.bring(&world.client, false).await;
        assert!(!outcome.proven && outcome.why.contains(why), "{why}: {outcome:?}");
        assert_eq!(std::fs::read(files.join("crls.pem")).unwrap(), before, "{why}");
        world.holds().await;
        world.agent.watch().await.unwrap();
    }
    assert_eq!(world.agent.enforced(), enforced);
    world.fleet.serve(name, sound(&world.fleet));
    let outcome = world.agent.bring(&world.client, false).await;
    assert!(outcome.proven, "{outcome:?}");
    world.holds().await;
}

#[tokio::test]
async fn what_the_broker_does_not_take_up_is_taken_back() {
    let Some(mut world) = World::new().await else {
        return;
    };
    // A chain that is longer than clients take makes every handshake fail.
    let server = world.fleet.server();
    let above = vec![world.fleet.issuing().leaf().clone(); 300];
    let key = PrivateKey::from_pem(&server.key().to_pem().unwrap()).unwrap();
    let long = Pair::new([server.chain(), &above].concat(), key).unwrap();
    world.agent.set_server(std::sync::Arc::new(long));
    world.agent.take(world.fleet.epoch(&["bad"])).await.unwrap();
    let outcome = world.agent.bring(&world.client, false).await;
    assert!(
        !outcome.proven && outcome.why.contains("went back"),
        "{outcome:?}"
    );
    world.holds().await;
    world.agent.watch().await.unwrap();
}

#[tokio::test]
async fn files_that_somebody_broke_are_noticed_and_mended() {
    let Some(mut world) = World::new().await else {
        return;
    };
    for name in ["crls.pem", "server.pem", "trust.pem"] {
        let path = world.hub.files().join(name);
        std::fs::write(&path, "broken\n").unwrap();
        assert!(world.agent.watch().await.is_err());
        let outcome = world.agent.bring(&world.client, false).await;
        assert!(outcome.proven, "{name}: {outcome:?}");
        world.holds().await;
    }
}

/// The agent ends at every place where it waits; whoever starts again finishes the work.
#[tokio::test(flavor = "current_thread")]
async fn an_agent_that_ends_at_any_step_leaves_a_broker_that_holds() {
    let Some(mut world) = World::new().await else {
        return;
    };
    let victim = world.fleet.device("victim");
    for turns in 0.. {
        let epoch = world.fleet.epoch(&["bad"]);
        world.agent.take(epoch).await.unwrap();
        let ended = polled(world.agent.bring(&world.client, false), turns * 2).await;
        world.holds().await;
        assert_eq!(world.hub.sees(&victim).await, Seen::Accepted);
        world.agent = world.hub.enforcer().await;
        let outcome = world.agent.bring(&world.client, false).await;
        assert!(
            outcome.proven || world.agent.number() == 0,
            "{turns}: {outcome:?}"
        );
        world.holds().await;
        if ended {
            assert!(turns > 3, "there are more steps than {turns}");
            return;
        }
    }
}

/// Tries again while the broker is only starting, as an agent does.
async fn once_it_runs(agent: &mut Enforcer, client: &Client) -> Outcome {
    loop {
        let outcome = agent.bring(client, false).await;
        if !outcome.why.contains("is starting") && !outcome.why.contains("does not run") {
            return outcome;
        }
    }
}

/// Polls a future so often, and drops it then. Whether it had ended.
async fn polled(future: impl Future, mut turns: u32) -> bool {
    let mut future = pin!(future);
    std::future::poll_fn(move |context| {
        if turns == 0 {
            return Poll::Ready(false);
        }
        turns -= 1;
        future.as_mut().poll(context).map(|_| true)
    })
    .await
}

/// Mosquitto lets a client that has finished its handshake begin its session whenever it likes.
#[tokio::test]
async fn a_device_that_was_half_way_in_is_thrown_off_at_once() {
    let Some(mut world) = World::new().await else {
        return;
    };
    let late = world.fleet.device("late");
    let mut live = world.fleet.half_open(&world.hub, &late).await;
    assert!(live.begin().await.is_some());
    let mut half = world.fleet.half_open(&world.hub, &late).await;
    world.fleet.revoke(&late);
    world
        .agent
        .take(world.fleet.epoch(&["bad", "late"]))
        .await
        .unwrap();
    let outcome = world.agent.bring(&world.client, false).await;
    assert!(outcome.proven, "{outcome:?}");
    assert_eq!(live.packet().await, None, "its session is over");
    let began = half.begin().await;
    assert!(
        began.is_none() || half.packet().await.is_none(),
        "{}",
        world.hub.log()
    );

    // Let in again, nobody is in its way.
    let again = world.fleet.device("late");
    world.agent.take(world.fleet.epoch(&["bad"])).await.unwrap();
    assert!(world.agent.bring(&world.client, false).await.proven);
    let mut session = world.fleet.half_open(&world.hub, &again).await;
    assert!(session.begin().await.is_some());
    session.publish("fleet/late/up").await;
    world.agent.watch().await.unwrap();
    session.publish("fleet/late/up").await;
    assert_eq!(world.agent.broker().denials().await.unwrap(), []);
}

/// What the access list says, the real Mosquitto does; its log says what it refused.
#[tokio::test]
async fn rules_hold_for_those_who_have_their_own_too() {
    let Some(mut world) = World::new().await else {
        return;
    };
    let narrow = world.fleet.device("narrow");
    let canary = world.fleet.device("muster-canary.good");
    let mut epoch = world.fleet.epoch(&["bad"]);
    epoch.access.devices = vec![DeviceRules {
        name: "narrow".into(),
        rules: Rules {
            publish: vec!["fleet/narrow/up".into(), "plant/+/x".into()],
            subscribe: Vec::new(),
        },
    }];
    world.agent.take(epoch).await.unwrap();
    let outcome = world.agent.bring(&world.client, false).await;
    assert!(outcome.proven, "{outcome:?}");
    let refused = async || {
        let denied = world.agent.broker().denials().await.unwrap();
        denied.into_iter().map(|denial| denial.topic).collect::<Vec<_>>()
    };
    refused().await;
    for (pair, allowed, denied) in [
        (
            &narrow,
            ["fleet/narrow/up", "plant/7/x"],
            ["fleet/narrow/down", "fleet/narrow/up/x"],
        ),
        (
            &world.good,
            ["fleet/good/up", "fleet/good/a/b"],
            ["fleet/narrow/up", "plant/7/x"],
        ),
    ] {
        let mut device = world.fleet.half_open(&world.hub, pair).await;
        device.begin().await.unwrap();
        for topic in allowed {
            device.publish(topic).await;
        }
        assert_eq!(refused().await, [""; 0]);
        for topic in denied {
            device.publish(topic).await;
        }
        assert_eq!(refused().await, denied);
    }
    let mut device = world.fleet.half_open(&world.hub, &canary).await;
    device.begin().await.unwrap();
    device.publish("fleet/muster-canary.good/up").await;
    assert_eq!(refused().await, ["fleet/muster-canary.good/up"]);
}

/// Mosquitto does not look at the list of the root, so a CA that was revoked has to go altogether.
#[tokio::test]
async fn a_ca_that_is_trusted_no_more_is_proved_to_be_gone() {
    let Some(mut world) = World::new().await else {
        return;
    };
    let mut other = Fleet::named("Other");
    let stranger = other.device("stranger");
    let theirs = other.epoch(&[]);
    let mut both = world.fleet.epoch(&["bad"]);
    both.anchors += &theirs.anchors;
    for mut need in theirs.crls {
        let list = other.lists.lock().unwrap()[&need.name].clone();
        need.name = format!("other-{}", need.name);
        world.fleet.serve(&need.name, Some(list));
        both.crls.push(need);
    }
    both.canaries.extend(theirs.canaries.clone());
    world.agent.take(both).await.unwrap();
    let outcome = world.agent.bring(&world.client, false).await;
    assert!(outcome.proven, "{outcome:?}");
    assert_eq!(world.hub.sees(&stranger).await, Seen::Accepted);

    let mut without = world.fleet.epoch(&["bad"]);
    without.canaries.extend(theirs.canaries);
    world.agent.take(without).await.unwrap();
    let outcome = world.agent.bring(&world.client, false).await;
    assert!(outcome.proven, "{outcome:?}");
    assert_eq!(world.hub.sees(&stranger).await, Seen::Alert(UnknownCA));
    world.holds().await;
}

/// A disk that is full changes nothing, and is said.
#[tokio::test]
async fn a_full_disk_changes_nothing() {
    let Some(mut world) = World::new().await else {
        return;
    };
    let files = world.hub.files();
    let mut mount = std::process::Command::new("mount");
    mount
        .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
        .arg(&files);
    if !mount.status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: needs the right to mount");
        return;
    }
    let _unmount = Unmount(files.clone());
    let outcome = world.agent.bring(&world.client, false).await;
    assert!(outcome.proven, "{outcome:?}");
    let filler = files.join("filler");
    let mut size = 256 << 10;
    while size > 0 {
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&filler)
            .unwrap();
        if std::io::Write::write_all(&mut file, &vec![0; size]).is_err() {
            size /= 2;
        }
    }
    let list = || std::fs::read(files.join("crls.pem")).unwrap();
    let before = list();
    world.agent.take(world.fleet.epoch(&["bad"])).await.unwrap();
    let outcome = world.agent.bring(&world.client, false).await;
    assert!(
        !outcome.proven && outcome.why.contains("disk is full"),
        "{outcome:?}"
    );
    assert_eq!(list(), before);
    world.holds().await;
    world.agent.watch().await.unwrap();
    std::fs::remove_file(filler).unwrap();
    let outcome = world.agent.bring(&world.client, false).await;
    assert!(outcome.proven, "{outcome:?}");
    world.holds().await;
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
    }
}

/// A broker that runs under a user of its own, and files that it cannot read.
#[tokio::test]
async fn a_key_that_the_broker_cannot_read_is_an_alarm_and_no_outage() {
    let has_user = std::fs::read_to_string("/etc/passwd").is_ok_and(|users| users.contains("\nmosquitto:"));
    if !has_user || !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root and the user mosquitto");
        return;
    }
    let mut fleet = Fleet::new();
    let Some(mut hub) = Hub::new(&mut fleet, Kind::Mosquitto("mosquitto")) else {
        return;
    };
    let (good, client) = (fleet.device("good"), fleet.client());
    let mut agent = hub.enforcer().await;
    agent.take(fleet.epoch(&[])).await.unwrap();
    let _ = agent.bring(&client, false).await;
    // Somebody helped it to start.
    for name in ["acl", "server.pem"] {
        set_mode(&hub.files().join(name), 0o644);
    }
    hub.start_broker().await;
    let outcome = once_it_runs(&mut agent, &client).await;
    assert!(!outcome.proven && outcome.why.contains("--group"), "{outcome:?}");
    assert_eq!(hub.sees(&good).await, Seen::Accepted);
}
