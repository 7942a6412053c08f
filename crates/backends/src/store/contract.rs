//! What every store must do, whatever it stands on. A store's own tests call [`store_contract`] with an empty store.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod brokers;
mod fixture;
mod issuers;
mod lists;
mod pages;

use jiff::SignedDuration;
use muster_ca::certificate::Status;
use muster_ca::device::State;
use muster_ca::ports::{Binding, Store, StoreError, Write};
use muster_pki::crl::Reason;

pub(super) use fixture::{certificate, change, device, enrolment, name, newest, noon, serial, together};

/// Runs everything on a store in which nothing was recorded yet.
pub(super) async fn store_contract(store: &dyn Store) {
    what_is_committed_is_seen(store).await;
    a_refused_change_leaves_no_trace(store).await;
    what_is_rehearsed_is_judged_and_not_kept(store).await;
    changes_of_one_batch_do_not_touch_each_other(store).await;
    one_token_is_spent_once(store).await;
    versions_and_statuses_are_checked(store).await;
    writes_of_one_change_build_on_each_other(store).await;
    compromised_keys_get_nothing(store).await;
    enrolment_tokens_bind_and_end(store).await;
    lists::small_things_come_back(store).await;
    lists::the_drawer_forgets(store).await;
    lists::crls_only_get_newer(store).await;
    pages::pages_follow_each_other(store).await;
    lists::counts_are_exact(store).await;
    lists::what_is_revoked_is_listed(store).await;
    lists::what_nobody_renewed_is_found(store).await;
    lists::what_renews_by_itself_is_passed_over(store).await;
    lists::the_last_end_of_an_issuer_is_known(store).await;
    issuers::only_the_active_issuing_ca_issues(store).await;
    issuers::the_living_of_a_device_are_counted(store).await;
    brokers::a_broker_is_what_was_written_last(store).await;
    brokers::devices_have_rules_of_their_own(store).await;
    the_audit_chain_holds(store).await;
    store.probe(noon()).await.unwrap();
}

async fn what_is_committed_is_seen(store: &dyn Store) {
    let (site, first) = (device("seen", None), certificate(1, "seen", 30));
    let writes = vec![
        Write::Spend {
            token: [1; 32],
            expires: noon(),
        },
        Write::Device {
            device: site.clone(),
            expected: None,
        },
        Write::Certificate(first.clone()),
    ];
    store
        .commit(change("certificate.issued", "seen", writes))
        .await
        .unwrap();
    assert_eq!(store.device(&name("seen")).await.unwrap(), Some(site));
    assert_eq!(store.certificate(&serial(1)).await.unwrap(), Some(first.clone()));
    assert_eq!(
        store.certificates_of(&name("seen"), noon()).await.unwrap(),
        std::slice::from_ref(&first)
    );
    assert_eq!(
        store
            .certificates_of(&name("seen"), first.not_after)
            .await
            .unwrap(),
        []
    );
    let newest = newest(store, 1).await;
    assert_eq!(
        (newest[0].action.as_str(), newest[0].subject.as_str()),
        ("certificate.issued", "seen")
    );
    assert_eq!(newest[0].at, noon());
    assert_eq!(store.device(&name("nobody")).await.unwrap(), None);
    assert_eq!(store.certificate(&serial(999)).await.unwrap(), None);
}

async fn a_refused_change_leaves_no_trace(store: &dyn Store) {
    let before = (store.counts(noon()).await.unwrap(), last_sequence(store).await);
    let writes = vec![
        Write::Spend {
            token: [2; 32],
            expires: noon(),
        },
        Write::Device {
            device: device("refused", None),
            expected: None,
        },
        Write::Certificate(certificate(1, "refused", 30)),
    ];
    let refused = store
        .commit(change("certificate.issued", "refused", writes))
        .await;
    assert_eq!(
        refused,
        Err(StoreError::Exists(format!("the certificate {}", serial(1))))
    );
    assert_eq!(store.device(&name("refused")).await.unwrap(), None);
    assert_eq!(
        (store.counts(noon()).await.unwrap(), last_sequence(store).await),
        before
    );
    let again = vec![Write::Spend {
        token: [2; 32],
        expires: noon(),
    }];
    store
        .commit(change("token.spent", "refused", again))
        .await
        .unwrap();
}

async fn what_is_rehearsed_is_judged_and_not_kept(store: &dyn Store) {
    let before = (store.counts(noon()).await.unwrap(), last_sequence(store).await);
    let revoked = Status::Revoked {
        at: noon(),
        reason: Reason::Superseded,
    };
    let rehearse = |number: u64| {
        let writes = vec![
            Write::Device {
                device: device("rehearsed", None),
                expected: None,
            },
            Write::Certificate(certificate(number, "rehearsed", 30)),
            Write::Status {
                serial: serial(number),
                from: Status::Active,
                to: revoked,
            },
        ];
        let mut rehearsed = change("certificate.issued", "rehearsed", writes);
        rehearsed.act.dry_run = true;
        rehearsed
    };
    let beside = Write::Device {
        device: device("beside", None),
        expected: None,
    };
    let changes = [
        rehearse(900),
        rehearse(1),
        change("device.created", "beside", vec![beside]),
    ];
    let outcomes = together(changes.into_iter().map(|change| store.commit(change))).await;
    let taken = StoreError::Exists(format!("the certificate {}", serial(1)));
    assert_eq!(outcomes, [Ok(()), Err(taken), Ok(())]);
    assert_eq!(store.device(&name("rehearsed")).await.unwrap(), None);
    assert_eq!(store.certificate(&serial(900)).await.unwrap(), None);
    let (mut counts, sequence) = before;
    counts.devices[0].count += 1;
    assert_eq!(
        (store.counts(noon()).await.unwrap(), last_sequence(store).await),
        (counts, sequence + 1),
        "the one beside them was kept, and nothing else"
    );
}

async fn changes_of_one_batch_do_not_touch_each_other(store: &dyn Store) {
    // Of each ten, one repeats a token and one a serial number: both lose, and nobody else notices.
    let wishes = (0..100u8).map(|n| {
        let token = if n % 10 == 3 { n - 1 } else { n };
        let number = 1_000 + u64::from(if n % 10 == 7 { n - 1 } else { n });
        let device = device(&format!("batch-{n:03}"), None);
        let writes = vec![
            Write::Spend {
                token: [100 + token; 32],
                expires: noon(),
            },
            Write::Certificate(certificate(number, device.name.as_str(), 30)),
            Write::Device {
                device,
                expected: None,
            },
        ];
        store.commit(change("certificate.issued", "batch", writes))
    });
    let outcomes = together(wishes).await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match n % 10 {
            3 => assert_eq!(outcome, Err(StoreError::Spent), "{n}"),
            7 => assert!(matches!(outcome, Err(StoreError::Exists(_))), "{n}"),
            _ => assert_eq!(outcome, Ok(()), "{n}"),
        }
        let stored = store.device(&name(&format!("batch-{n:03}"))).await.unwrap();
        assert_eq!(stored.is_some(), n % 10 != 3 && n % 10 != 7, "{n}");
    }
}

async fn one_token_is_spent_once(store: &dyn Store) {
    let spend = || {
        change(
            "token.spent",
            "t",
            vec![Write::Spend {
                token: [3; 32],
                expires: noon(),
            }],
        )
    };
    assert_eq!(store.is_spent(&[3; 32], noon()).await, Ok(false));
    let outcomes = together((0..8).map(|_| store.commit(spend()))).await;
    assert_eq!(store.is_spent(&[3; 32], noon()).await, Ok(true));
    assert_eq!(
        store.is_spent(&[31; 32], noon()).await,
        Ok(false),
        "another token"
    );
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(
        outcomes
            .iter()
            .filter(|outcome| **outcome == Err(StoreError::Spent))
            .count(),
        7
    );
    let day = SignedDuration::from_hours(24);
    store.tidy(noon() + day).await.unwrap();
    assert_eq!(
        store.commit(spend()).await,
        Err(StoreError::Spent),
        "a clock may be set back by a day"
    );
    store
        .tidy(noon() + day + SignedDuration::from_secs(1))
        .await
        .unwrap();
    assert_eq!(
        store.commit(spend()).await,
        Ok(()),
        "forgotten, since it would be refused anyhow"
    );
}

async fn versions_and_statuses_are_checked(store: &dyn Store) {
    let put = |version, expected| {
        let mut device = device("versions", expected);
        device.version = version;
        device.state = State::Suspended;
        store.commit(change(
            "device.changed",
            "versions",
            vec![Write::Device { device, expected }],
        ))
    };
    let changed = Err(StoreError::Changed("the device versions".into()));
    assert_eq!(put(2, Some(1)).await, changed, "there is none");
    assert_eq!(put(1, None).await, Ok(()));
    assert_eq!(put(1, None).await, changed, "there is one");
    assert_eq!(put(3, Some(2)).await, changed, "it has another version");
    assert_eq!(put(2, Some(1)).await, Ok(()));
    assert_eq!(
        store
            .device(&name("versions"))
            .await
            .unwrap()
            .map(|device| device.version),
        Some(2)
    );

    let writes = vec![Write::Certificate(certificate(2_000, "versions", 30))];
    store
        .commit(change("certificate.issued", "versions", writes))
        .await
        .unwrap();
    let hold = Status::Revoked {
        at: noon(),
        reason: Reason::CertificateHold,
    };
    let gone = Status::Revoked {
        at: noon(),
        reason: Reason::KeyCompromise,
    };
    let set = |number, from, to| {
        let write = Write::Status {
            serial: serial(number),
            from,
            to,
        };
        store.commit(change("certificate.status", "versions", vec![write]))
    };
    let changed = Err(StoreError::Changed(format!("the certificate {}", serial(2_000))));
    assert_eq!(set(2_000, hold, Status::Active).await, changed);
    assert_eq!(set(2_000, Status::Active, hold).await, Ok(()));
    assert_eq!(set(2_000, Status::Active, gone).await, changed);
    assert_eq!(set(2_000, hold, gone).await, Ok(()));
    assert_eq!(
        store
            .certificate(&serial(2_000))
            .await
            .unwrap()
            .map(|found| found.status),
        Some(gone)
    );
    assert!(
        matches!(
            set(2_999, Status::Active, gone).await,
            Err(StoreError::Changed(_))
        ),
        "there is none"
    );
}

async fn writes_of_one_change_build_on_each_other(store: &dyn Store) {
    let before = store.counts(noon()).await.unwrap();
    let hold = Status::Revoked {
        at: noon(),
        reason: Reason::CertificateHold,
    };
    let mut second = device("builds", Some(1));
    second.version = 2;
    let good = vec![
        Write::Device {
            device: device("builds", None),
            expected: None,
        },
        Write::Device {
            device: second,
            expected: Some(1),
        },
        Write::Certificate(certificate(2_100, "builds", 30)),
        Write::Certificate(certificate(2_101, "builds", 30)),
        Write::Status {
            serial: serial(2_100),
            from: Status::Active,
            to: hold,
        },
    ];
    let mut bad = good.clone();
    bad.push(Write::Certificate(certificate(2_101, "builds", 30)));
    let refused = store.commit(change("device.made", "builds", bad)).await;
    assert!(matches!(refused, Err(StoreError::Exists(_))));
    assert_eq!(store.counts(noon()).await.unwrap(), before);
    store.commit(change("device.made", "builds", good)).await.unwrap();
    let after = store.counts(noon()).await.unwrap();
    assert_eq!(
        (after.active, after.revoked, after.all_devices()),
        (before.active + 1, before.revoked + 1, before.all_devices() + 1)
    );
}

async fn compromised_keys_get_nothing(store: &dyn Store) {
    let with_key = |number, key| {
        let mut one = certificate(number, "compromised", 30);
        one.key = [key; 32];
        vec![Write::Certificate(one)]
    };
    let put = |writes| store.commit(change("certificate.issued", "compromised", writes));
    put(with_key(2_200, 201)).await.unwrap();
    let compromise = || Write::Compromise {
        key: [201; 32],
        at: noon(),
    };
    put(vec![compromise()]).await.unwrap();
    put(vec![compromise()]).await.unwrap();
    assert_eq!(put(with_key(2_201, 201)).await, Err(StoreError::Compromised));
    assert_eq!(store.certificate(&serial(2_201)).await.unwrap(), None);
    assert_eq!(put(with_key(2_201, 202)).await, Ok(()));
    let mut at_once = vec![Write::Compromise {
        key: [203; 32],
        at: noon(),
    }];
    at_once.extend(with_key(2_202, 203));
    assert_eq!(put(at_once).await, Err(StoreError::Compromised));
    assert_eq!(
        put(with_key(2_202, 203)).await,
        Ok(()),
        "what was refused compromised nothing"
    );
}

async fn enrolment_tokens_bind_and_end(store: &dyn Store) {
    let token = enrolment("token-1", 1);
    let add = |token: &muster_ca::token::EnrolmentToken| {
        store.commit(change("token.made", "token-1", vec![Write::Token(token.clone())]))
    };
    add(&token).await.unwrap();
    assert!(matches!(add(&token).await, Err(StoreError::Exists(_))));
    assert_eq!(store.token(&token.hash).await.unwrap(), Some(token.clone()));
    let binding = |key: u8| Binding {
        token: "token-1".into(),
        device: name("bound"),
        key: [key; 32],
        serial: serial(1),
        at: noon(),
        confirmed: None,
    };
    let bind = |key| {
        let write = Write::Bind(binding(key));
        store.commit(change("token.bound", "token-1", vec![write]))
    };
    let changed = Err(StoreError::Changed("the token token-1".into()));
    let outcomes = together((0..4).map(bind)).await;
    assert_eq!(
        outcomes.iter().filter(|outcome| outcome.is_ok()).count(),
        1,
        "one use, one key"
    );
    let winner = u8::try_from(outcomes.iter().position(Result::is_ok).unwrap()).unwrap();
    assert_eq!(
        store.binding("token-1", &[winner; 32]).await.unwrap(),
        Some(binding(winner))
    );
    assert_eq!(store.binding("token-1", &[99; 32]).await.unwrap(), None);
    assert_eq!(
        store.token(&token.hash).await.unwrap().map(|token| token.used),
        Some(1)
    );

    a_binding_is_confirmed_once_and_taken_back(store, binding(winner)).await;
    assert_eq!(bind(winner).await, Ok(()), "the use is free again");

    let withdraw = || {
        let write = Write::WithdrawToken {
            id: "token-1".into(),
            at: noon(),
        };
        store.commit(change("token.withdrawn", "token-1", vec![write]))
    };
    assert_eq!(withdraw().await, Ok(()));
    assert_eq!(withdraw().await, changed);
    assert_eq!(bind(50).await, changed, "a withdrawn token binds nothing");
    assert_eq!(
        store.token(&token.hash).await.unwrap().unwrap().withdrawn,
        Some(noon())
    );
}

async fn a_binding_is_confirmed_once_and_taken_back(store: &dyn Store, mut binding: Binding) {
    let (token, key) = (binding.token.clone(), binding.key);
    let put = |write| store.commit(change("token.changed", "token-1", vec![write]));
    for days in [1, 2] {
        let confirm = Write::Confirm {
            token: token.clone(),
            key,
            at: noon() + SignedDuration::from_hours(24 * days),
        };
        assert_eq!(put(confirm).await, Ok(()));
    }
    binding.confirmed = Some(noon() + SignedDuration::from_hours(24));
    assert_eq!(store.binding(&token, &key).await.unwrap(), Some(binding));
    let nobody = Write::Confirm {
        token: token.clone(),
        key: [98; 32],
        at: noon(),
    };
    assert_eq!(put(nobody).await, Ok(()));
    let unbind = || Write::Unbind {
        token: token.clone(),
        key,
    };
    assert_eq!(put(unbind()).await, Ok(()));
    assert_eq!(store.binding(&token, &key).await.unwrap(), None);
    let again = Err(StoreError::Changed("the token token-1".into()));
    assert_eq!(put(unbind()).await, again);
}

async fn last_sequence(store: &dyn Store) -> u64 {
    let newest = newest(store, 1).await;
    newest.first().map_or(0, |entry| entry.sequence)
}

async fn the_audit_chain_holds(store: &dyn Store) {
    let (mut sequence, mut hash) = (0, [0; 32]);
    loop {
        let page = store.entries(sequence, 40).await.unwrap();
        if page.is_empty() {
            break;
        }
        for entry in page {
            assert_eq!(entry.sequence, sequence + 1);
            assert!(entry.follows(hash), "{entry:?}");
            (sequence, hash) = (entry.sequence, entry.hash);
        }
    }
    assert_eq!(sequence, last_sequence(store).await);
}
