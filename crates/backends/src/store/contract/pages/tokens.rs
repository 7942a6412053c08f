//! Lists of enrolment tokens.

use jiff::SignedDuration;
use muster_ca::list::{TokenList, TokenStatus};
use muster_ca::ports::{Store, Write};
use muster_ca::token::EnrolmentToken;

use super::super::fixture::{change, enrolment, name, noon};
use super::walk;

async fn tokens(store: &dyn Store, list: &TokenList) -> Vec<EnrolmentToken> {
    let page = async |paging| {
        let list = TokenList {
            paging,
            ..list.clone()
        };
        store.tokens(list).await
    };
    walk(7, page).await
}

pub(super) async fn tokens_are_filtered(store: &dyn Store) {
    let day = SignedDuration::from_hours(24);
    for n in 0..20u32 {
        let mut token = enrolment(&format!("wave-{n:02}"), n % 4);
        token.expires = noon() + day * (i32::try_from(n % 5).unwrap() - 2);
        token.withdrawn = (n % 7 == 0).then(noon);
        token.device = (n % 3 == 0).then(|| name(&format!("for-{n}")));
        token.wave = if n % 3 == 0 { "" } else { "autumn_%" }.into();
        let write = vec![Write::Token(token)];
        store
            .commit(change("token.created", "wave", write))
            .await
            .unwrap();
    }
    let every = TokenList {
        now: noon(),
        ..TokenList::default()
    };
    let everything = tokens(store, &every).await;
    assert!(everything.is_sorted_by(|a, b| a.id < b.id) && everything.len() >= 20);
    let status = |one: &EnrolmentToken| {
        if one.withdrawn.is_some() {
            TokenStatus::Withdrawn
        } else if one.used >= one.uses {
            TokenStatus::UsedUp
        } else if noon() > one.expires {
            TokenStatus::Expired
        } else {
            TokenStatus::Open
        }
    };
    for wanted in [
        TokenStatus::Open,
        TokenStatus::UsedUp,
        TokenStatus::Expired,
        TokenStatus::Withdrawn,
    ] {
        let list = TokenList {
            status: Some(wanted),
            descending: true,
            ..every.clone()
        };
        let mut plain: Vec<_> = everything
            .iter()
            .filter(|one| status(one) == wanted)
            .cloned()
            .collect();
        plain.reverse();
        assert!(!plain.is_empty());
        assert_eq!(tokens(store, &list).await, plain);
    }
    for prefix in ["wave-0", "for-1", "autumn_%", "autumn%", "'", "%"] {
        let list = TokenList {
            prefix: prefix.into(),
            ..every.clone()
        };
        let begins = |text: &str| text.starts_with(prefix);
        let plain: Vec<_> = everything
            .iter()
            .filter(|one| {
                begins(&one.id)
                    || begins(&one.wave)
                    || one.device.as_ref().is_some_and(|name| begins(name.as_str()))
            })
            .cloned()
            .collect();
        assert_eq!(tokens(store, &list).await, plain, "{prefix}");
    }
}
