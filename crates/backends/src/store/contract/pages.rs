//! Pages of lists: against a plain filter and sort of everything, in every order, both ways.

mod audit;
mod certificates;
mod devices;
mod tokens;

use jiff::SignedDuration;
use muster_ca::certificate::{Serial, Status};
use muster_ca::device::{Kind, State};
use muster_ca::list::{AuditList, CertificateList, CertificateSort, Cursor, Page, Paging, Part};
use muster_ca::ports::{Store, StoreError, Write};
use muster_pki::crl::Reason;
use muster_pki::key::sha256;

use super::fixture::{certificate, change, device, noon};

pub(super) use certificates::certificates;
pub(super) use devices::devices;

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

pub(super) async fn pages_follow_each_other(store: &dyn Store) {
    fill(store).await;
    certificates::certificates_are_filtered_and_sorted(store).await;
    devices::devices_are_filtered_and_sorted(store).await;
    tokens::tokens_are_filtered(store).await;
    audit::audit_entries_are_filtered(store).await;
    certificates::certificates_are_found(store).await;
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
