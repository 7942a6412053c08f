//! Lists of certificates, and finding one by its serial number or a fingerprint.

use jiff::Timestamp;
use muster_ca::certificate::{Certificate, Serial, Status};
use muster_ca::list::{CertificateList, CertificateSort, CertificateStatus, Search, Span};
use muster_ca::ports::Store;
use muster_pki::key::sha256;

use super::super::fixture::{name, noon};
use super::{HOUR, issued, walk};

pub(in crate::store::contract) async fn certificates(
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

fn is(status: CertificateStatus, one: &Certificate) -> bool {
    match status {
        CertificateStatus::Active => one.is_living(noon()),
        CertificateStatus::Expired => one.status == Status::Active && one.not_after < noon(),
        CertificateStatus::Revoked => one.status != Status::Active,
    }
}

pub(super) async fn certificates_are_filtered_and_sorted(store: &dyn Store) {
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

pub(super) async fn certificates_are_found(store: &dyn Store) {
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
