//! Lists of devices.

use muster_ca::device::{Device, Kind, State};
use muster_ca::list::{DeviceList, DeviceSort};
use muster_ca::ports::Store;

use super::super::fixture::name;
use super::{MANY, walk};

pub(in crate::store::contract) async fn devices(
    store: &dyn Store,
    list: &DeviceList,
    limit: usize,
) -> Vec<Device> {
    let page = async |paging| {
        let list = DeviceList {
            paging,
            ..list.clone()
        };
        store.devices(list).await
    };
    walk(limit, page).await
}

pub(super) async fn devices_are_filtered_and_sorted(store: &dyn Store) {
    let everything = devices(store, &DeviceList::default(), 500).await;
    assert!(everything.len() > usize::try_from(MANY).unwrap());
    let kinds = [None, Some(Kind::Client), Some(Kind::Server), Some(Kind::Broker)];
    let states = [None, Some(State::New), Some(State::Active), Some(State::Revoked)];
    let profiles = [None, Some("meter"), Some("_eter")];
    for kind in kinds {
        for (state, prefix) in states
            .into_iter()
            .flat_map(|state| ["", "page-", "page-01", "page_", "%"].map(|prefix| (state, prefix)))
        {
            for (profile, sort) in profiles
                .into_iter()
                .flat_map(|profile| [(profile, DeviceSort::Name), (profile, DeviceSort::Created)])
            {
                let list = DeviceList {
                    kind,
                    state,
                    prefix: prefix.into(),
                    profile: profile.map(str::to_owned),
                    sort,
                    descending: sort == DeviceSort::Created,
                    ..DeviceList::default()
                };
                let mut wanted: Vec<_> = everything
                    .iter()
                    .filter(|one| {
                        kind.is_none_or(|kind| one.kind == kind)
                            && state.is_none_or(|state| one.state == state)
                    })
                    .filter(|one| {
                        one.name.as_str().starts_with(prefix)
                            && profile.is_none_or(|profile| one.profile == profile)
                    })
                    .cloned()
                    .collect();
                match sort {
                    DeviceSort::Name => wanted.sort_by(|a, b| a.name.cmp(&b.name)),
                    DeviceSort::Created => {
                        wanted.sort_by(|a, b| (b.created, &b.name).cmp(&(a.created, &a.name)))
                    }
                }
                assert_eq!(devices(store, &list, 9).await, wanted, "{list:?}");
            }
        }
    }
    let mut servers = store.servers().await.unwrap();
    servers.sort();
    assert_eq!(servers, [name("page-000"), name("page-007")]);
}
