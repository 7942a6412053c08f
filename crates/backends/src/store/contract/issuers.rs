//! Which issuing CA may still issue.

use jiff::SignedDuration;
use muster_ca::authority::{Generation, Stage};
use muster_ca::certificate::Status;
use muster_ca::ports::{Store, StoreError, Write};
use muster_pki::crl::Reason;

use super::fixture::{certificate, change, name, noon, serial};

/// Whoever retires an issuing CA has looked at what it issued; what was prepared before must not come in afterwards.
pub(super) async fn only_the_active_issuing_ca_issues(store: &dyn Store) {
    let stand = async |stage| {
        let generation = Generation {
            number: 1,
            stage,
            key: None,
            certificate: vec![0x30; 4],
            created: noon(),
            revoked: None,
            follows: None,
        };
        let writes = vec![Write::Authority {
            name: "rolling".into(),
            generation,
        }];
        let change = change("authority.activated", "rolling 1", writes);
        store.commit(change).await.unwrap();
    };
    let issue = async |number| {
        let mut one = certificate(number, "rolled", 30);
        one.authority = "rolling".into();
        let writes = vec![Write::Certificate(one)];
        store.commit(change("certificate.issued", "rolled", writes)).await
    };
    stand(Stage::Active).await;
    assert_eq!(issue(8_000).await, Ok(()));
    for (number, stage) in [
        (8_001, Stage::Standby),
        (8_002, Stage::Retiring),
        (8_003, Stage::Retired),
    ] {
        stand(stage).await;
        let refused = StoreError::NotIssuing("rolling-1".into());
        assert_eq!(issue(number).await, Err(refused), "{stage:?}");
        assert_eq!(store.certificate(&serial(number)).await.unwrap(), None);
    }
}

pub(super) async fn the_living_of_a_device_are_counted(store: &dyn Store) {
    let writes = (0..5).map(|n| Write::Certificate(certificate(8_100 + n, "crowd", 1)));
    let mut writes: Vec<_> = writes.collect();
    writes.push(Write::Status {
        serial: serial(8_100),
        from: Status::Active,
        to: Status::Revoked {
            at: noon(),
            reason: Reason::Superseded,
        },
    });
    store
        .commit(change("certificate.issued", "crowd", writes))
        .await
        .unwrap();
    let crowd = name("crowd");
    let end = noon() + SignedDuration::from_hours(24);
    let second = SignedDuration::from_secs(1);
    assert_eq!(store.living(&crowd, noon(), 32).await, Ok(4));
    assert_eq!(store.living(&crowd, noon(), 3).await, Ok(3));
    assert_eq!(store.living(&crowd, end, 32).await, Ok(4));
    assert_eq!(store.living(&crowd, end + second, 32).await, Ok(0));
    assert_eq!(store.living(&name("nobody"), noon(), 32).await, Ok(0));
}
