//! Lists of audit entries.

use muster_ca::audit::Entry;
use muster_ca::list::{AuditList, Span};
use muster_ca::ports::Store;

use super::super::fixture::{change, noon};
use super::{HOUR, walk};

async fn entries(store: &dyn Store, list: &AuditList) -> Vec<Entry> {
    let page = async |paging| {
        let list = AuditList {
            paging,
            ..list.clone()
        };
        store.audit(list).await
    };
    walk(7, page).await
}

pub(super) async fn audit_entries_are_filtered(store: &dyn Store) {
    let mut everything = entries(store, &AuditList::default()).await;
    assert!(everything.is_sorted_by(|a, b| a.sequence > b.sequence));
    let hours = |hours| noon() + HOUR * hours;
    let wishes = [
        (Some("it's \"odd\"_%"), None, None, Span::default()),
        (Some("alice"), None, None, Span::default()),
        (Some("alice"), Some("device.revoked"), None, Span::default()),
        (None, Some("device.revoked"), None, Span::default()),
        (None, Some("certificate.issued"), None, Span::default()),
        (None, None, Some("page-021"), Span::default()),
        (None, None, Some("page-021 3"), Span::default()),
        (None, Some("device.revoked"), Some("page-021"), Span::default()),
        (None, None, Some("page-02"), Span::default()),
        (None, None, Some("page_021"), Span::default()),
        (None, None, Some("batch"), Span::default()),
        (Some("%"), None, None, Span::default()),
    ];
    for found_late in [true, false] {
        for (actor, action, subject, at) in wishes {
            let list = AuditList {
                actor: actor.map(str::to_owned),
                action: action.map(str::to_owned),
                subject: subject.map(str::to_owned),
                at,
                ..AuditList::default()
            };
            let about = |one: &Entry| {
                subject.is_none_or(|subject| {
                    one.subject == subject || one.subject.starts_with(&format!("{subject} "))
                })
            };
            let plain: Vec<_> = everything
                .iter()
                .filter(|one| {
                    actor.is_none_or(|actor| one.actor == actor)
                        && action.is_none_or(|action| one.action == action)
                })
                .filter(|one| about(one))
                .cloned()
                .collect();
            assert_eq!(entries(store, &list).await, plain, "{list:?}");
        }
        if found_late {
            // Nothing was made findable yet; afterwards the same is found.
            store.catch_up().await.unwrap();
            store.catch_up().await.unwrap();
            let act = change("device.revoked", "page-021", Vec::new());
            store.commit(act).await.unwrap();
            everything = entries(store, &AuditList::default()).await;
        }
    }
    let at = Span {
        from: Some(hours(30)),
        until: Some(hours(40)),
    };
    let list = AuditList {
        at,
        ..AuditList::default()
    };
    let found = entries(store, &list).await;
    let moments: Vec<_> = found.iter().map(|one| one.at).collect();
    assert_eq!(moments, (30..40).rev().map(hours).collect::<Vec<_>>());
}
