//! Brokers, and the topic rules of devices.

use muster_ca::access::Rules;
use muster_ca::broker::{Broker, Enforced, Failed, Program};
use muster_ca::ports::{Store, StoreError, Write};
use muster_pki::name::San;

use super::{change, name, noon};

fn broker(version: u64) -> Broker {
    Broker {
        name: name("hub"),
        program: Program::Mosquitto,
        sans: vec![
            San::parse("hub.example.org").unwrap(),
            San::parse("10.0.0.1").unwrap(),
        ],
        created: noon(),
        retired: None,
        enforced: None,
        failed: None,
        version,
    }
}

pub(super) async fn a_broker_is_what_was_written_last(store: &dyn Store) {
    let write =
        |broker: Broker, expected| change("broker.added", "hub", vec![Write::Broker { broker, expected }]);
    store.commit(write(broker(1), None)).await.unwrap();
    assert_eq!(store.brokers().await.unwrap(), [broker(1)]);
    let proven = Broker {
        enforced: Some(Enforced {
            number: 5,
            sequence: 3,
            at: noon(),
            micros: 12_345,
            crl_until: Some(noon()),
        }),
        failed: Some(Failed {
            number: 6,
            at: noon(),
            why: "the disk is \"full\"".into(),
        }),
        retired: Some(noon()),
        ..broker(2)
    };
    store.commit(write(proven.clone(), Some(1))).await.unwrap();
    assert_eq!(store.brokers().await.unwrap(), std::slice::from_ref(&proven));
    for expected in [None, Some(1), Some(3)] {
        let late = store.commit(write(broker(4), expected)).await;
        assert!(matches!(late, Err(StoreError::Changed(_))), "{late:?}");
    }
    assert_eq!(store.brokers().await.unwrap(), [proven]);
}

pub(super) async fn devices_have_rules_of_their_own(store: &dyn Store) {
    let write = |device: &str, rules: Option<&Rules>| {
        let write = Write::Access {
            name: name(device),
            rules: rules.cloned(),
        };
        change("device.access", device, vec![write])
    };
    let rules = Rules {
        publish: vec!["a/b".into()],
        subscribe: vec!["c/+".into(), "d/#".into()],
    };
    for device in ["rule-b", "rule-a", "rule-c"] {
        store.commit(write(device, Some(&rules))).await.unwrap();
    }
    store
        .commit(write("rule-b", Some(&Rules::default())))
        .await
        .unwrap();
    store.commit(write("rule-c", None)).await.unwrap();
    let all = [
        (name("rule-a"), rules.clone()),
        (name("rule-b"), Rules::default()),
    ];
    assert_eq!(store.access(None, 10).await.unwrap(), all);
    assert_eq!(store.access(None, 1).await.unwrap(), all[..1]);
    assert_eq!(store.access(Some(&name("rule-a")), 10).await.unwrap(), all[1..]);
    assert_eq!(store.access_of(&name("rule-a")).await.unwrap(), Some(rules));
    assert_eq!(store.access_of(&name("rule-c")).await.unwrap(), None);
}
