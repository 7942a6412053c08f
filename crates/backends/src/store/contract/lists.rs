//! Lists, pages and counts.

use jiff::{SignedDuration, Timestamp};
use muster_ca::authority::{Follows, Generation, Stage};
use muster_ca::certificate::{Certificate, Status};
use muster_ca::device::Device;
use muster_ca::list::{CertificateList, CertificateStatus, Cursor, DeviceList, Paging};
use muster_ca::operator::{Login, Operator, Role};
use muster_ca::ports::{Crl, Kept, Renewing, Store, StoreError, Unrenewed, Write};
use muster_ca::provisioner::Provisioner;
use muster_pki::crl::Reason;

use super::fixture::{certificate, change, device, enrolment, name, noon, serial};
use super::pages;

async fn commit(store: &dyn Store, writes: Vec<Write>) -> Result<(), StoreError> {
    store.commit(change("test.written", "lists", writes)).await
}

fn generation(number: u32, stage: Stage) -> Generation {
    let key = (number > 0).then(|| format!("default-{number}"));
    Generation {
        number,
        stage,
        key,
        certificate: vec![0x30, 1, 2],
        created: noon(),
        revoked: (stage == Stage::Retired).then(noon),
        follows: None,
    }
}

fn following(authority: &str) -> Generation {
    Generation {
        follows: Some(Follows {
            authority: authority.into(),
            cross: vec![0x30, 7],
        }),
        ..generation(0, Stage::Active)
    }
}

fn provisioner(name: &str) -> Provisioner {
    Provisioner {
        name: name.into(),
        kid: "thumbprint".into(),
        jwk: "{}".into(),
        encrypted_key: None,
        profiles: vec!["client".into(), "with \"quotes\"".into()],
        names: vec!["site-*".into()],
        may_replace: true,
        created: noon(),
    }
}

pub(super) async fn small_things_come_back(store: &dyn Store) {
    let authority = |name: &str, generation: Generation| Write::Authority {
        name: name.into(),
        generation,
    };
    let first_run = vec![
        authority("internal", generation(0, Stage::Active)),
        authority("acme", generation(0, Stage::Active)),
        authority("acme", generation(1, Stage::Active)),
        authority("lab", following("acme")),
    ];
    commit(store, first_run).await.unwrap();
    let roll_over = vec![
        authority("acme", generation(1, Stage::Retiring)),
        authority("acme", generation(2, Stage::Active)),
    ];
    commit(store, roll_over).await.unwrap();
    let authorities = store.authorities().await.unwrap();
    assert_eq!(
        authorities
            .iter()
            .map(|one| one.name.as_str())
            .collect::<Vec<_>>(),
        ["acme", "internal", "lab"]
    );
    let wanted =
        [(0, Stage::Active), (1, Stage::Retiring), (2, Stage::Active)].map(|(n, s)| generation(n, s));
    assert_eq!(authorities[0].generations, wanted);
    assert_eq!(authorities[2].generations, [following("acme")]);

    for name in ["zulu", "alpha"] {
        commit(store, vec![Write::Provisioner(provisioner(name))])
            .await
            .unwrap();
    }
    let taken = commit(store, vec![Write::Provisioner(provisioner("zulu"))]).await;
    assert_eq!(taken, Err(StoreError::Exists("the provisioner zulu".into())));
    assert_eq!(
        store.provisioners().await.unwrap(),
        [provisioner("zulu"), provisioner("alpha")],
        "as they were added"
    );
    commit(store, vec![Write::RemoveProvisioner("zulu".into())])
        .await
        .unwrap();
    let missing = commit(store, vec![Write::RemoveProvisioner("zulu".into())]).await;
    assert!(matches!(missing, Err(StoreError::Changed(_))));

    let alice = |key| Operator {
        name: "alice".into(),
        role: Role::Auditor,
        key: Some([key; 32]),
        login: None,
        created: noon(),
    };
    commit(store, vec![Write::Operator(alice(1))]).await.unwrap();
    assert!(matches!(
        commit(store, vec![Write::Operator(alice(2))]).await,
        Err(StoreError::Exists(_))
    ));
    let new_key = vec![Write::RemoveOperator("alice".into()), Write::Operator(alice(2))];
    commit(store, new_key).await.unwrap();
    assert_eq!(store.operators().await.unwrap(), [alice(2)]);
    let login = Login {
        password: "$argon2id$…".into(),
        totp: Some(vec![1; 20]),
    };
    let log_in = |name: &str| Write::Login {
        name: name.into(),
        login: login.clone(),
    };
    commit(store, vec![log_in("alice")]).await.unwrap();
    let with_login = Operator {
        login: Some(login.clone()),
        ..alice(2)
    };
    assert_eq!(store.operators().await.unwrap(), [with_login]);
    assert!(matches!(
        commit(store, vec![log_in("bob")]).await,
        Err(StoreError::Changed(_))
    ));

    for id in ["token-2", "token-3", "token-4"] {
        commit(store, vec![Write::Token(enrolment(id, 1))]).await.unwrap();
    }
}

/// A certificate that a younger one of its device outlives needs nobody.
pub(super) async fn what_nobody_renewed_is_found(store: &dyn Store) {
    let at = |days: i64| noon() + SignedDuration::from_hours(24 * days);
    let revoked = Certificate {
        status: Status::Revoked {
            at: noon(),
            reason: Reason::Superseded,
        },
        ..certificate(9105, "left", 4030)
    };
    let writes = [
        certificate(9101, "renewed", 4001),
        certificate(9102, "renewed", 4020),
        certificate(9103, "left", 4002),
        revoked,
        certificate(9104, "later", 4003),
    ];
    commit(store, writes.map(Write::Certificate).into())
        .await
        .unwrap();
    let wanted = [("left", 4002), ("later", 4003)].map(|(device, days): (_, i64)| Unrenewed {
        device: name(device),
        not_after: at(days),
        overdue: false,
    });
    let page = |cursor, limit| store.unrenewed(at(4000), Renewing::default(), None, Paging { cursor, limit });
    let found = page(None, 2).await.unwrap();
    assert_eq!((&found.items[..], found.cut_short), (&wanted[..], false));
    // Of those that were renewed there may be more than a page looks at: it says where to look on.
    let many = (0..9).flat_map(|number| {
        let device = format!("many-{number}");
        [
            certificate(9200 + number, &device, 4000),
            certificate(9300 + number, &device, 4020),
        ]
    });
    commit(store, many.map(Write::Certificate).collect())
        .await
        .unwrap();
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let found = page(cursor, 2).await.unwrap();
        assert_eq!(found.cut_short, found.next.is_some());
        seen.extend(found.items);
        cursor = found.next;
        if cursor.is_none() || !seen.is_empty() {
            break;
        }
    }
    assert_eq!(seen.first(), wanted.first());
    let foreign = Cursor {
        order: "name".into(),
        back: false,
        place: Vec::new(),
    };
    assert!(matches!(page(Some(foreign), 2).await, Err(StoreError::Cursor)));
}

/// What renews by itself is passed over until a quarter of its validity is left.
pub(super) async fn what_renews_by_itself_is_passed_over(store: &dyn Store) {
    let at = |days: i64| noon() + SignedDuration::from_hours(24 * days);
    let lasting = |number: u64, device: &str, how: &str, days: i64| Certificate {
        how: how.into(),
        not_before: at(days - 100),
        not_after: at(days),
        ..certificate(number, device, days)
    };
    let writes = [
        lasting(9401, "renews", "renewal:01", 5040),
        lasting(9402, "enrolled", "token:t", 5050),
        lasting(9403, "issued", "operator", 5060),
        lasting(9404, "tokenless", "tokens:t", 5070),
    ];
    commit(store, writes.map(Write::Certificate).into())
        .await
        .unwrap();
    let renewing = |profile: &str| Renewing {
        profiles: vec![profile.into()],
        ways: vec!["renewal".into(), "token".into()],
    };
    let looked = async |profile: &str, now: i64, late_by: Option<i64>| {
        let mut found = Vec::new();
        let mut cursor = None;
        loop {
            let paging = Paging { cursor, limit: 9 };
            let page = store.unrenewed(at(now), renewing(profile), late_by.map(at), paging);
            let page = page.await.unwrap();
            found.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let shown =
            |one: &Unrenewed| format!("{}{}", one.device, if one.overdue { " is overdue" } else { "" });
        found.iter().map(shown).collect::<Vec<_>>()
    };
    let found = async |profile: &str, now: i64| looked(profile, now, None).await;
    assert_eq!(found("client", 5015).await, ["issued", "tokenless"]);
    assert_eq!(
        found("client", 5016).await,
        ["renews is overdue", "issued", "tokenless"]
    );
    assert_eq!(
        found("client", 5026).await,
        ["renews is overdue", "enrolled is overdue", "issued", "tokenless"]
    );
    assert_eq!(
        found("broker", 5015).await,
        ["renews", "enrolled", "issued", "tokenless"]
    );
    // Of what is late alone, what runs out earlier and needs nobody yet is passed over, too.
    assert_eq!(
        looked("client", 5026, Some(5060)).await,
        ["renews is overdue", "enrolled is overdue", "issued"]
    );
    assert_eq!(looked("broker", 5015, Some(5040)).await, ["renews"]);
    assert_eq!(
        looked("client", 5026, Some(5030)).await,
        ["renews is overdue", "enrolled is overdue"]
    );
}

/// What is in the drawer is there until it is dropped or runs out, and comes back in no other way.
pub(super) async fn the_drawer_forgets(store: &dyn Store) {
    let kept = |key: &str, seconds| Kept {
        key: key.into(),
        value: vec![1, 2, 3],
        expires: noon() + SignedDuration::from_secs(seconds),
    };
    let at = |seconds| noon() + SignedDuration::from_secs(seconds);
    let (one, two) = (kept("session/one", 10), kept("session/two", 20));
    let both = vec![Write::Keep(one.clone()), Write::Keep(two.clone())];
    commit(store, both).await.unwrap();
    assert_eq!(store.kept("session/one", at(9)).await.unwrap(), Some(one.clone()));
    assert_eq!(store.kept("session/one", at(10)).await.unwrap(), None);
    assert_eq!(store.kept("session/three", at(0)).await.unwrap(), None);
    let again = commit(store, vec![Write::Keep(one.clone())]).await;
    assert!(matches!(again, Err(StoreError::Exists(_))));

    store.extend("session/one", at(30)).await.unwrap();
    assert_eq!(
        store.kept("session/one", at(29)).await.unwrap(),
        Some(kept("session/one", 30))
    );
    // Tidied away, so that its key is free.
    store.tidy(at(20)).await.unwrap();
    commit(store, vec![Write::Keep(two.clone())]).await.unwrap();

    commit(store, vec![Write::Drop("session/one".into())])
        .await
        .unwrap();
    let missing = commit(store, vec![Write::Drop("session/one".into())]).await;
    assert!(matches!(missing, Err(StoreError::Changed(_))));
    store.extend("session/one", at(60)).await.unwrap();
    assert_eq!(store.kept("session/one", at(0)).await.unwrap(), None);

    for seconds in [40, 50] {
        let seen = kept("seen/one", seconds);
        store.jot(seen.clone()).await.unwrap();
        assert_eq!(store.kept("seen/one", at(39)).await.unwrap(), Some(seen));
    }
}

pub(super) async fn crls_only_get_newer(store: &dyn Store) {
    let crl = |number| Crl {
        authority: "default".into(),
        generation: 1,
        number,
        this_update: noon(),
        next_update: noon() + SignedDuration::from_hours(24),
        entries: 3,
        covers: 7,
        der: vec![0x30; 100],
    };
    assert_eq!(store.crl("default", 1).await.unwrap(), None);
    commit(store, vec![Write::Crl(crl(5))]).await.unwrap();
    commit(store, vec![Write::Crl(crl(7))]).await.unwrap();
    assert!(matches!(
        commit(store, vec![Write::Crl(crl(6))]).await,
        Err(StoreError::Changed(_))
    ));
    assert_eq!(store.crl("default", 1).await.unwrap(), Some(crl(7)));
    assert_eq!(store.crl("default", 2).await.unwrap(), None);
}

pub(super) async fn counts_are_exact(store: &dyn Store) {
    let boundary = noon() + SignedDuration::from_hours(24 * 400);
    let ends = [
        -1i64,
        0,
        1,
        3_600_000,
        86_400_000,
        6 * 86_400_000,
        7 * 86_400_000,
        7 * 86_400_000 + 1,
    ];
    for (n, milliseconds) in ends.into_iter().enumerate() {
        let mut certificate = certificate(4_000 + u64::try_from(n).unwrap(), "counted", 0);
        certificate.not_after = boundary + SignedDuration::from_millis(milliseconds);
        commit(store, vec![Write::Certificate(certificate)])
            .await
            .unwrap();
    }
    let moments = || (-9..10).map(|days| boundary + SignedDuration::from_hours(24 * days));
    compare_with_a_walk(store, moments()).await;
    let hold = Status::Revoked {
        at: noon(),
        reason: Reason::CertificateHold,
    };
    for (number, from, to) in [
        (4_001, Status::Active, hold),
        (4_002, Status::Active, hold),
        (4_001, hold, Status::Active),
        (
            4_002,
            hold,
            Status::Revoked {
                at: noon(),
                reason: Reason::KeyCompromise,
            },
        ),
        (4_000, Status::Active, hold),
    ] {
        commit(
            store,
            vec![Write::Status {
                serial: serial(number),
                from,
                to,
            }],
        )
        .await
        .unwrap();
        compare_with_a_walk(store, moments()).await;
    }
    let (_, first) = store.first_to_expire(boundary).await.unwrap().unwrap();
    assert_eq!(
        first, boundary,
        "the one that runs out at this very moment still lives"
    );
    let mut own = certificate(4_100, "muster-agent", 0);
    own.not_after = boundary;
    let before = store.counts(boundary).await.unwrap();
    let own_device = Write::Device {
        device: device("muster-agent", None),
        expected: None,
    };
    commit(store, vec![own_device, Write::Certificate(own)])
        .await
        .unwrap();
    assert_eq!(store.counts(boundary).await.unwrap(), before);
    own_ones_are_listed_by_name_alone(store).await;
    let next = boundary + SignedDuration::from_millis(1);
    assert_eq!(
        store.first_to_expire(next).await.unwrap().unwrap().1,
        boundary + SignedDuration::from_hours(1)
    );
    assert_eq!(store.first_to_expire(Timestamp::MAX).await.unwrap(), None);
}

async fn own_ones_are_listed_by_name_alone(store: &dyn Store) {
    let devices = async |prefix: &str| {
        let list = DeviceList {
            prefix: prefix.into(),
            ..DeviceList::default()
        };
        let found = pages::devices(store, &list, 500).await;
        found.iter().filter(|device| device.name.is_own()).count()
    };
    let certificates = async |device: Option<&str>, status| {
        let list = CertificateList {
            device: device.map(name),
            status,
            now: noon(),
            ..CertificateList::default()
        };
        let found = pages::certificates(store, &list, 500).await;
        found.iter().filter(|one| one.device.is_own()).count()
    };
    assert_eq!((devices("").await, devices("m").await), (0, 0));
    assert_eq!((devices("muster").await, devices("muster-a").await), (1, 1));
    let active = Status::Active;
    let revoked = Status::Revoked {
        at: noon(),
        reason: Reason::Superseded,
    };
    for (from, to, shown) in [
        (active, revoked, CertificateStatus::Revoked),
        (revoked, active, CertificateStatus::Active),
    ] {
        let before = store.counts(noon()).await.unwrap();
        let serial = serial(4_100);
        commit(store, vec![Write::Status { serial, from, to }])
            .await
            .unwrap();
        assert_eq!(store.counts(noon()).await.unwrap(), before);
        assert_eq!(certificates(None, Some(shown)).await, 0, "{shown:?}");
        assert_eq!(
            certificates(Some("muster-agent"), Some(shown)).await,
            1,
            "{shown:?}"
        );
    }
    assert_eq!(certificates(None, None).await, 0);
}

async fn compare_with_a_walk(store: &dyn Store, moments: impl Iterator<Item = Timestamp>) {
    let everything = pages::certificates(store, &CertificateList::default(), 500).await;
    let devices = pages::devices(store, &DeviceList::default(), 500).await;
    for now in moments {
        let counts = store.counts(now).await.unwrap();
        let soon = now + SignedDuration::from_hours(24 * 7);
        let count =
            |rule: &dyn Fn(&Certificate) -> bool| everything.iter().filter(|one| rule(one)).count() as u64;
        let unrevoked = |one: &Certificate| one.status == Status::Active;
        assert_eq!(counts.active, count(&|one| one.is_living(now)), "active at {now}");
        assert_eq!(
            counts.expiring,
            count(&|one| one.is_living(now) && one.not_after <= soon),
            "expiring at {now}"
        );
        assert_eq!(
            counts.expired,
            count(&|one| unrevoked(one) && one.not_after < now),
            "expired at {now}"
        );
        assert_eq!(counts.revoked, count(&|one| !unrevoked(one)), "revoked at {now}");
        for found in &counts.devices {
            let same = |one: &&Device| (one.kind, one.state) == (found.kind, found.state);
            assert_eq!(
                found.count,
                devices.iter().filter(same).count() as u64,
                "{found:?}"
            );
        }
        assert_eq!(counts.all_devices(), devices.len() as u64);
        compare_expiries(store, now, &everything).await;
    }
}

async fn compare_expiries(store: &dyn Store, from: Timestamp, everything: &[Certificate]) {
    let day = |at: Timestamp| at.as_second().div_euclid(86_400);
    let mut wanted = std::collections::BTreeMap::new();
    let within = |one: &&Certificate| (day(from)..day(from) + 5).contains(&day(one.not_after));
    for one in everything
        .iter()
        .filter(|one| one.status == Status::Active)
        .filter(within)
    {
        let key = (day(one.not_after), one.profile.clone(), one.way().to_owned());
        *wanted.entry(key).or_insert(0) += 1;
    }
    let found = store.expiries(from, 5).await.unwrap().into_iter();
    let found: Vec<_> = found
        .map(|one| ((one.day, one.profile, one.how), one.count))
        .collect();
    assert_eq!(found, wanted.into_iter().collect::<Vec<_>>(), "{from}");
}

pub(super) async fn what_is_revoked_is_listed(store: &dyn Store) {
    let at = noon() + SignedDuration::from_millis(123);
    for n in 0..6u64 {
        let mut one = certificate(5_000 + n, "listed", i64::try_from(n).unwrap());
        one.authority = "other".into();
        one.generation = 1 + u32::try_from(n % 2).unwrap();
        let revoke = Write::Status {
            serial: serial(5_000 + n),
            from: Status::Active,
            to: Status::Revoked {
                at,
                reason: Reason::KeyCompromise,
            },
        };
        commit(store, vec![Write::Certificate(one), revoke])
            .await
            .unwrap();
    }
    let (listed, head) = store.revoked("other", 1, noon()).await.unwrap();
    assert_eq!(head, store.head().await.unwrap());
    assert_eq!(head, super::newest(store, 1).await[0].sequence);
    let mut serials: Vec<_> = listed.iter().map(|entry| entry.serial.clone()).collect();
    serials.sort();
    assert_eq!(
        serials,
        [serial(5_002), serial(5_004)],
        "those that run out after noon"
    );
    assert!(
        listed
            .iter()
            .all(|entry| entry.at == at && entry.reason == Reason::KeyCompromise)
    );
    assert_eq!(store.revoked("other", 2, noon()).await.unwrap().0.len(), 3);
    assert_eq!(store.revoked("nobody", 1, noon()).await.unwrap().0, []);
}

pub(super) async fn the_last_end_of_an_issuer_is_known(store: &dyn Store) {
    let issue = async |number: u64, device: &str, hours: i64| {
        let mut one = certificate(number, device, 0);
        one.authority = "ending".into();
        one.not_after = noon() + SignedDuration::from_hours(hours);
        commit(store, vec![Write::Certificate(one)]).await.unwrap();
    };
    let last = async |hours: i64| {
        let now = noon() + SignedDuration::from_hours(hours);
        let end = store.last_end("ending", 1, now, &name("own")).await.unwrap();
        end.map(|end| end.duration_since(noon()).as_hours())
    };
    let day = async |hours: i64| {
        let now = noon() + SignedDuration::from_hours(hours);
        let end = store.last_day("ending", 1, now, &name("device")).await.unwrap();
        end.map(|end| end.duration_since(noon()).as_hours())
    };
    assert_eq!((last(0).await, day(0).await), (None, None));
    for (number, device, hours) in [
        (6_000, "a", 2),
        (6_001, "b", 30),
        (6_002, "c", 31),
        (6_003, "own", 32),
        (6_004, "own", 24 * 9),
    ] {
        issue(number, device, hours).await;
    }
    assert_eq!(last(0).await, Some(31));
    assert_eq!(last(30).await, Some(31));
    assert_eq!(last(31).await, None, "what ends at this very moment has ended");
    // From noon to the end of the ninth day after.
    assert_eq!(day(0).await, Some(24 * 9 + 11), "the fleet's by its day");
    assert_eq!(
        store.last_end("ending", 2, noon(), &name("own")).await.unwrap(),
        None
    );
    let revoke = |number| Write::Status {
        serial: serial(number),
        from: Status::Active,
        to: Status::Revoked {
            at: noon(),
            reason: Reason::Superseded,
        },
    };
    let living = async |generation, hours| {
        let day = noon() + SignedDuration::from_hours(hours);
        store.issued_by("ending", generation, day).await.unwrap()
    };
    assert_eq!(
        (living(1, 0).await, living(1, 24).await, living(2, 0).await),
        (5, 4, 0)
    );
    commit(store, vec![revoke(6_001)]).await.unwrap();
    assert_eq!((living(1, 0).await, living(1, 48).await), (4, 1));
    assert_eq!(last(0).await, Some(31));
    commit(store, vec![revoke(6_002)]).await.unwrap();
    assert_eq!(last(0).await, Some(31), "a CRL must list it until then");
    assert_eq!(last(31).await, None);
}
