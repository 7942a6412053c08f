//! Which list should have been followed by another: the one that runs out first is named first, and a root's year is no alarm.

use std::collections::BTreeMap;

use crate::common::{Fleet, now};
use muster_agent::beside::check::{Lists, Numbers};
use muster_api::agent::CrlNeed;

const DAY: i64 = 24;

/// The lists of a root and of an issuing CA, each made so many days ago and good for so many more: what is late, in order.
fn late(root: (i64, i64), issuing: (i64, i64)) -> String {
    let fleet = Fleet::new();
    let crl = |number, (ago, left): (i64, i64), signer| fleet.crl(number, -ago * DAY, left * DAY, signer);
    let fetched = BTreeMap::from([
        ("default-root".to_owned(), crl(5, root, fleet.root())),
        ("default-1".to_owned(), crl(7, issuing, fleet.issuing())),
    ]);
    let needs = [("default-root", 5), ("default-1", 7)].map(|(name, number)| CrlNeed {
        name: name.into(),
        number,
    });
    let anchors = fleet.root().leaf().to_pem().unwrap() + &fleet.issuing().leaf().to_pem().unwrap();
    let lists = Lists::check(&anchors, &needs, &fetched, &Numbers::new(), now()).unwrap();
    let late = lists.late(now()).into_iter();
    let names = late.map(|one| {
        let root = one.list.name == "default-root";
        assert_eq!((one.root, one.list.number), (root, if root { 5 } else { 7 }));
        one.list.name
    });
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_roots_list_is_late_ninety_days_before_its_end_and_hides_no_other() {
    assert_eq!(late((200, 196), (1, 29)), "", "it is made once in 13 months");
    assert_eq!(late((200, 196), (16, 14)), "default-1");
    assert_eq!(late((307, 89), (1, 29)), "default-root");
    assert_eq!(late((307, 89), (16, 14)), "default-1 default-root");
    assert_eq!(late((4, 6), (1, 29)), "", "a short one, before half of its life");
    assert_eq!(late((6, 4), (1, 29)), "default-root");
}
