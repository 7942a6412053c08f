//! Pages of lists: against a plain filter and sort of everything, in every order, both ways.

use jiff::{SignedDuration, Timestamp};
use muster_ca::audit::Entry;
use muster_ca::certificate::{Certificate, Serial, Status};
use muster_ca::device::{Device, Kind, State};
use muster_ca::list::{
    AuditList, CertificateList, CertificateSort, CertificateStatus, Cursor, DeviceList, DeviceSort, Page,
    Paging, Part, Search, Span, TokenList, TokenStatus,
};
use muster_ca::ports::{Store, StoreError, Write};
use muster_ca::token::EnrolmentToken;
use muster_pki::crl::Reason;
use muster_pki::key::sha256;

use super::fixture::{certificate, change, device, enrolment, name, noon};

const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// More than a page of the tests' stores looks at, and more than they sort.
const MANY: u64 = 150;

type Outcome<T> = Result<Page<T>, StoreError>;

/// Every row, page by page to the end; the same rows come on the way back.
pub(super) async fn walk<T: Clone + PartialEq + std::fmt::Debug>(
    limit: usize,
    page: impl AsyncFn(Paging) -> Outcome<T>,
) -> Vec<T> {
    let (mut rows, mut cursor) = (Vec::new(), None);
    let last = loop {
        let found = page(Paging { cursor, limit }).await.unwrap();
        assert!(found.items.len() <= limit);
        assert!(found.items.len() == limit || found.next.is_none() || found.cut_short);
        rows.extend(found.items.clone());
        match found.next.clone() {
            Some(next) => cursor = Some(again(next)),
            None => break found,
        }
    };
    let (mut back, mut cursor) = (last.items, last.previous);
    while let Some(previous) = cursor {
        let found = page(Paging {
            cursor: Some(again(previous)),
            limit,
        })
        .await
        .unwrap();
        back.splice(0..0, found.items);
        assert!(found.next.is_some());
        cursor = found.previous;
    }
    assert_eq!(back, rows, "the way back");
    rows
}

/// As it comes from outside.
fn again(cursor: Cursor) -> Cursor {
    Cursor::parse(&cursor.to_string()).unwrap()
}

pub(super) async fn certificates(
    store: &dyn Store,
    list: &CertificateList,
    limit: usize,
) -> Vec<Certificate> {
    let page = async |paging| {
        let list = CertificateList {
            paging,
            ..list.clone()
        };
        store.certificates(list).await
    };
    walk(limit, page).await
}

pub(super) async fn devices(store: &dyn Store, list: &DeviceList, limit: usize) -> Vec<Device> {
    let page = async |paging| {
        let list = DeviceList {
            paging,
            ..list.clone()
        };
        store.devices(list).await
    };
    walk(limit, page).await
}

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

pub(super) async fn pages_follow_each_other(store: &dyn Store) {
    fill(store).await;
    certificates_are_filtered_and_sorted(store).await;
    devices_are_filtered_and_sorted(store).await;
    tokens_are_filtered(store).await;
    audit_entries_are_filtered(store).await;
    certificates_are_found(store).await;
    foreign_cursors_are_refused(store).await;
}

/// The serial number of a certificate that was issued so many hours after noon.
fn issued(hours: u64) -> Serial {
    let at = noon() + HOUR * i32::try_from(hours).unwrap();
    let mut octets = Serial::time_octets(at).to_vec();
    octets.extend([0x77; 10]);
    Serial::from_bytes(&octets).unwrap()
}

/// Certificates and devices of every sort, none of which has a neighbour like itself.
async fn fill(store: &dyn Store) {
    for n in 0..MANY {
        let text = format!("page-{:03}", n * 7 % MANY);
        let mut device = device(&text, None);
        device.kind = [Kind::Broker, Kind::Server, Kind::Client][usize::try_from(n.min(2)).unwrap()];
        device.state = match n % 25 {
            0 => State::Revoked,
            1 => State::New,
            _ => State::Active,
        };
        device.profile = if n % 9 == 0 { "meter" } else { "client" }.into();
        device.created = noon() + HOUR * i32::try_from(n / 2).unwrap();
        let mut one = certificate(0, &text, i64::try_from(n * 11 % 40).unwrap() - 20);
        one.serial = issued(n);
        one.profile = device.profile.clone();
        one.how = ["operator", "token:t-1", "token:t-2", "step:iot"][usize::try_from(n % 4).unwrap()].into();
        one.key = sha256(format!("key {n}").as_bytes());
        one.der = format!("certificate {n}").into_bytes();
        one.authority = if n % 30 == 7 { "other" } else { "default" }.into();
        let mut writes = vec![
            Write::Device {
                device,
                expected: None,
            },
            Write::Certificate(one.clone()),
        ];
        if n % 13 == 0 {
            writes.push(Write::Status {
                serial: one.serial,
                from: Status::Active,
                to: Status::Revoked {
                    at: noon(),
                    reason: Reason::Superseded,
                },
            });
        }
        let mut change = change("certificate.issued", &format!("{text} {n}"), writes);
        if n % 50 == 3 {
            change.act.actor = "it's \"odd\"_%".into();
            change.act.action = "device.revoked";
        }
        change.act.at = noon() + HOUR * i32::try_from(n).unwrap();
        store.commit(change).await.unwrap();
    }
}

fn is(status: CertificateStatus, one: &Certificate) -> bool {
    match status {
        CertificateStatus::Active => one.is_living(noon()),
        CertificateStatus::Expired => one.status == Status::Active && one.not_after < noon(),
        CertificateStatus::Revoked => one.status != Status::Active,
    }
}

async fn certificates_are_filtered_and_sorted(store: &dyn Store) {
    let every = CertificateList {
        now: noon(),
        ..CertificateList::default()
    };
    let everything = certificates(store, &every, 500).await;
    let span = |from: i64, until: i64| Span {
        from: Some(noon() + HOUR * i32::try_from(from).unwrap()),
        until: Some(noon() + HOUR * i32::try_from(until).unwrap()),
    };
    let inside = |span: Span, at: Timestamp| {
        span.from.is_none_or(|from| at >= from) && span.until.is_none_or(|until| at < until)
    };
    type Rule<'a> = Box<dyn Fn(&Certificate) -> bool + 'a>;
    let mut wishes: Vec<(CertificateList, Rule<'_>)> = vec![(every.clone(), Box::new(|_| true))];
    let mut wish = |list: CertificateList, rule: Rule<'static>| wishes.push((list, rule));
    for status in [
        CertificateStatus::Active,
        CertificateStatus::Expired,
        CertificateStatus::Revoked,
    ] {
        wish(
            CertificateList {
                status: Some(status),
                ..every.clone()
            },
            Box::new(move |one| is(status, one)),
        );
        wish(
            CertificateList {
                status: Some(status),
                profile: Some("meter".into()),
                ..every.clone()
            },
            Box::new(move |one| is(status, one) && one.profile == "meter"),
        );
    }
    wish(
        CertificateList {
            device: Some(name("page-007")),
            ..every.clone()
        },
        Box::new(|one| one.device.as_str() == "page-007"),
    );
    wish(
        CertificateList {
            search: Search::parse("PAGE-00"),
            ..every.clone()
        },
        Box::new(|one| one.device.as_str().starts_with("page-00")),
    );
    wish(
        CertificateList {
            search: Search::parse("page-"),
            authority: Some("other".into()),
            ..every.clone()
        },
        Box::new(|one| one.device.as_str().starts_with("page-") && one.authority == "other"),
    );
    for how in ["token", "token:t-2", "operator", "tok", "token:"] {
        wish(
            CertificateList {
                how: Some(how.into()),
                ..every.clone()
            },
            Box::new(move |one| one.how == how || one.way() == how),
        );
    }
    for hours in [30, 24 * 30] {
        let expires = span(-24, hours);
        wish(
            CertificateList {
                expires,
                ..every.clone()
            },
            Box::new(move |one| inside(expires, one.not_after)),
        );
        let shorter = span(5, 10 + hours / 8);
        let octets = |one: &Certificate| one.serial.as_bytes()[..8].to_vec();
        wish(
            CertificateList {
                issued: shorter,
                ..every.clone()
            },
            Box::new(move |one| {
                let moments =
                    [shorter.from, shorter.until].map(|at| Serial::time_octets(at.unwrap()).to_vec());
                octets(one) >= moments[0] && octets(one) < moments[1]
            }),
        );
    }
    for hostile in ["%", "_", "page-%", "' OR 1=1 --", "\"", "page-\u{0}", "\\"] {
        wish(
            CertificateList {
                search: Search::parse(hostile),
                ..every.clone()
            },
            Box::new(|_| false),
        );
        wish(
            CertificateList {
                profile: Some(hostile.into()),
                ..every.clone()
            },
            Box::new(|_| false),
        );
    }
    for (list, rule) in &wishes {
        let mut wanted: Vec<_> = everything
            .iter()
            .filter(|one| rule(one))
            .map(|one| one.serial.clone())
            .collect();
        wanted.sort();
        for sort in [
            CertificateSort::Issued,
            CertificateSort::Expiry,
            CertificateSort::Name,
        ] {
            for (descending, limit) in [(false, 7), (true, 7), (true, 40)] {
                let list = CertificateList {
                    sort,
                    descending,
                    ..list.clone()
                };
                let mut found = certificates(store, &list, limit).await;
                if descending {
                    found.reverse();
                }
                let in_order = found.is_sorted_by(|a, b| match sort {
                    CertificateSort::Issued => a.serial <= b.serial,
                    CertificateSort::Expiry => a.not_after <= b.not_after,
                    CertificateSort::Name => (&a.device, a.not_after) <= (&b.device, b.not_after),
                });
                assert!(in_order, "{list:?}");
                let mut serials: Vec<_> = found.into_iter().map(|one| one.serial).collect();
                serials.sort();
                assert_eq!(serials, wanted, "{list:?}");
            }
        }
    }
}

async fn devices_are_filtered_and_sorted(store: &dyn Store) {
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

async fn tokens_are_filtered(store: &dyn Store) {
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

async fn audit_entries_are_filtered(store: &dyn Store) {
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

async fn certificates_are_found(store: &dyn Store) {
    let found = async |text: &str| {
        let list = CertificateList {
            search: Search::parse(text),
            ..CertificateList::default()
        };
        certificates(store, &list, 10)
            .await
            .into_iter()
            .map(|one| one.serial)
            .collect::<Vec<_>>()
    };
    let hex = |octets: &[u8]| {
        octets
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect::<String>()
    };
    let wanted = issued(77);
    for (what, octets) in [
        ("certificate 77", 32),
        ("key 77", 32),
        ("certificate 77", 4),
        ("key 77", 9),
    ] {
        let digits = hex(&sha256(what.as_bytes())[..octets]);
        assert_eq!(found(&digits).await, std::slice::from_ref(&wanted), "{what}");
        assert_eq!(
            found(&digits.to_uppercase()).await,
            std::slice::from_ref(&wanted),
            "{what}"
        );
    }
    let colons: Vec<_> = wanted
        .as_bytes()
        .iter()
        .map(|octet| format!("{octet:02X}"))
        .collect();
    for text in [
        wanted.hex(),
        wanted.decimal(),
        colons.join(":"),
        wanted.hex()[..21].to_owned(),
    ] {
        assert_eq!(found(&text).await, std::slice::from_ref(&wanted), "{text}");
    }
    assert_eq!(found(&hex(&[0; 32])).await, []);
    assert_eq!(found(&hex(&sha256(b"key 77"))[..7]).await, [], "too short");
    // A fingerprint is looked for beside names, and other filters hold for it, too.
    let list = CertificateList {
        search: Search::parse(&hex(&sha256(b"key 77"))),
        status: Some(CertificateStatus::Revoked),
        now: noon(),
        ..CertificateList::default()
    };
    assert_eq!(certificates(store, &list, 10).await, []);
}

async fn foreign_cursors_are_refused(store: &dyn Store) {
    let page = async |cursor: Option<Cursor>, sort| {
        let list = CertificateList {
            sort,
            paging: Paging { cursor, limit: 3 },
            ..CertificateList::default()
        };
        store.certificates(list).await
    };
    let next = page(None, CertificateSort::Name).await.unwrap().next;
    assert_eq!(
        page(next.clone(), CertificateSort::Expiry).await,
        Err(StoreError::Cursor)
    );
    let mut longer = next.clone().unwrap();
    longer.place.push(Part::Number(1));
    assert_eq!(
        page(Some(longer), CertificateSort::Name).await,
        Err(StoreError::Cursor)
    );
    let mut hostile = next.unwrap();
    for part in [
        Part::Text("' OR 1=1; --".into()),
        Part::Number(i64::MIN),
        Part::Bytes(vec![255; 9]),
    ] {
        hostile.place.fill(part);
        for back in [false, true] {
            hostile.back = back;
            page(Some(hostile.clone()), CertificateSort::Name).await.unwrap();
        }
    }
    let paging = Paging {
        cursor: Some(Cursor {
            order: "-sequence".into(),
            back: false,
            place: vec![Part::Number(i64::MIN)],
        }),
        limit: 3,
    };
    let list = AuditList {
        actor: Some("alice".into()),
        paging,
        ..AuditList::default()
    };
    assert_eq!(store.audit(list).await.unwrap().items, []);
}
