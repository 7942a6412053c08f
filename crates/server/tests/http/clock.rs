//! A clock that is set back, as it is when a machine has started with a wrong one.

use std::sync::{Arc, Mutex};

use crate::common::RealEntropy;
use jiff::{SignedDuration, Timestamp};
use muster_backends::signer::file::FileSigner;
use muster_backends::signer::generate;
use muster_backends::store::sqlite::SqliteStore;
use muster_ca::broker::agent::Report;
use muster_ca::broker::{BrokerWish, Program};
use muster_ca::device::DeviceName;
use muster_ca::enrol::who::{Evidence, Origin};
use muster_ca::ports::Clock;
use muster_ca::profile::Profiles;
use muster_ca::registry::TokenWish;
use muster_ca::setup::Founding;
use muster_ca::standing::{About, Todo};
use muster_ca::{Ask, Ca, Parts, Proof, Settings, Wish};
use muster_pki::csr::Csr;
use muster_pki::key::KeyKind;

struct HandSet(Mutex<Timestamp>);

impl Clock for HandSet {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// An authority that was founded at this moment.
async fn founded(dir: &std::path::Path, start: Timestamp) -> (Ca, Arc<HandSet>) {
    let clock = Arc::new(HandSet(Mutex::new(start)));
    let secret = || b"a passphrase of a test".to_vec().into();
    let parts = Parts {
        store: Arc::new(SqliteStore::create(&dir.join("muster.db"), [7; 16]).unwrap()),
        signer: Arc::new(FileSigner::open(&dir.join("keys"), secret()).unwrap()),
        clock: clock.clone(),
        entropy: Arc::new(RealEntropy),
        settings: Settings {
            dns: vec!["localhost".into()],
            public_url: None,
            profiles: Profiles::new(&Default::default()).unwrap(),
        },
    };
    let founding = Founding {
        name: "Test",
        provisioner: "iot-devices",
        password: "0123456789abcdefghijklmnop",
        root_signer: &FileSigner::open(&dir.join("root"), secret()).unwrap(),
        import: None,
    };
    (Ca::found(parts, founding).await.unwrap(), clock)
}

#[tokio::test]
async fn a_list_that_begins_in_the_future_is_made_anew_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let start: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let (ca, clock) = founded(dir.path(), start).await;
    assert_eq!(ca.next_crl_due(), start + DAY);
    *clock.0.lock().unwrap() = start + DAY * 10;
    ca.refresh_crls().await.unwrap();
    let early = ca.crl("default", 1).unwrap();

    *clock.0.lock().unwrap() = start + DAY * 9;
    assert!(early.this_update > ca.now());
    assert_eq!(ca.next_crl_due(), ca.now());
    ca.refresh_crls().await.unwrap();
    let late = ca.crl("default", 1).unwrap();
    assert!(late.this_update < ca.now() && late.number > early.number);
    assert_eq!(ca.next_crl_due(), ca.now() + DAY);
}

/// A list of then would have run out for every broker whose clock is right.
#[tokio::test]
async fn before_the_ca_was_made_nothing_is_signed() {
    let dir = tempfile::tempdir().unwrap();
    let start: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let (ca, clock) = founded(dir.path(), start).await;
    let before = ca.crl("default", 1).unwrap();
    *clock.0.lock().unwrap() = start - DAY * 40;
    let refused = ca.refresh_crls().await.unwrap_err();
    assert!(refused.to_string().contains("clock"), "{refused}");
    assert_eq!(ca.crl("default", 1).unwrap().der, before.der);
    let refused = ca.listener_identity().await.unwrap_err();
    assert!(refused.to_string().contains("clock"), "{refused}");
    let problems = ca.readiness().await.problems;
    assert!(problems.iter().any(|why| why.contains("clock")), "{problems:?}");

    *clock.0.lock().unwrap() = start + DAY;
    ca.refresh_crls().await.unwrap();
    assert!(ca.readiness().await.problems.is_empty());
}

/// A device refuses all that comes with a root that has ended and that it does not have yet.
#[tokio::test]
async fn what_has_ended_of_another_root_is_handed_out_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let start: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let (ca, clock) = founded(dir.path(), start).await;
    let (issued, _) = ca.listener_identity().await.unwrap();
    let (serial, year) = (&issued.certificate().serial, DAY * 366);
    *clock.0.lock().unwrap() = start + year * 10;
    let secret = b"a passphrase of a test".to_vec().into();
    let signer = FileSigner::open(&dir.path().join("root"), secret).unwrap();
    ca.create_authority(local(), "next", "Next", Some("default"), &signer)
        .await
        .unwrap();
    let roots = async |years: i32| {
        *clock.0.lock().unwrap() = start + year * years;
        let issued = ca.certificate(local(), serial).await.unwrap();
        let name = |der| {
            let one = muster_pki::cert::Certificate::from_der(der).unwrap();
            [one.common_name().unwrap(), one.issuer_common_name().unwrap()]
                .map(|name| name.replace(" Root CA", ""))
        };
        issued.roots().map(name).collect::<Vec<_>>()
    };
    assert_eq!(
        roots(11).await,
        [["Test", "Test"], ["Next", "Next"], ["Next", "Test"]]
    );
    assert_eq!(roots(21).await, [["Test", "Test"], ["Next", "Next"]]);
    assert_eq!(roots(31).await, [["Test", "Test"]]);
}

/// The dead man's alarm: nobody else would say that a broker is about to refuse everybody.
#[tokio::test]
async fn a_broker_that_is_heard_no_more_is_told_of_with_the_hour_of_its_crl() {
    let dir = tempfile::tempdir().unwrap();
    let start: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let (ca, clock) = founded(dir.path(), start).await;
    let wish = BrokerWish {
        name: DeviceName::parse("hub.example.org").unwrap(),
        program: Program::Mosquitto,
        profile: "server".into(),
        sans: Vec::new(),
    };
    let (_, token) = ca.add_broker(local(), wish).await.unwrap();
    let key = generate(KeyKind::P256).unwrap();
    let ask = Ask {
        proof: with(Evidence::EnrolmentToken(token)),
        csr: Csr::build("muster-agent.hub.example.org", &[], &key).unwrap(),
        wish: Wish::default(),
    };
    let agent = ca.enrol(ask).await.unwrap().certificate().der.clone();
    let report = Report {
        crl_next_update: Some(start + DAY * 30),
        ..Report::default()
    };
    ca.hear(with(Evidence::ClientCertificate(agent)), report)
        .await
        .unwrap();
    let told = async || {
        let todos = ca.standing(local()).await.unwrap().todos;
        let about = todos
            .into_iter()
            .find(|todo| todo.what.contains("hub.example.org"));
        about.map_or_else(String::new, |todo| {
            assert!(todo.urgent);
            todo.what
        })
    };
    assert_eq!(told().await, "");
    *clock.0.lock().unwrap() = start + SignedDuration::from_secs(11);
    let what = told().await;
    assert!(
        what.contains("was not heard since 1 January 2030, 00:00 UTC"),
        "{what}"
    );
    assert!(
        what.contains("on 31 January 2030, 00:00 UTC the CRL that it holds runs out"),
        "{what}"
    );
    *clock.0.lock().unwrap() = start + DAY * 31;
    let what = told().await;
    assert!(
        what.contains("ran out on 31 January 2030") && what.contains("refuses every device"),
        "{what}"
    );
}

/// Those that end first need nobody for three weeks yet, and do not hide it.
#[tokio::test]
async fn what_is_overdue_is_told_of_behind_what_ends_earlier() {
    let dir = tempfile::tempdir().unwrap();
    let start: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let (ca, clock) = founded(dir.path(), start).await;
    let enrol = async |evidence: Evidence, name: &str| {
        let key = generate(KeyKind::P256).unwrap();
        let ask = Ask {
            proof: with(evidence),
            csr: Csr::build(name, &[], &key).unwrap(),
            wish: Wish::default(),
        };
        ca.enrol(ask).await.unwrap();
    };
    let hub = DeviceName::parse("hub.example.org").unwrap();
    ca.create_device(local(), hub.clone(), "server", "")
        .await
        .unwrap();
    let wish = TokenWish {
        device: Some(hub),
        wave: String::new(),
        uses: 1,
        profile: "server".into(),
        lifetime: DAY,
    };
    let (_, token) = ca.create_token(local(), wish).await.unwrap();
    enrol(Evidence::EnrolmentToken(token), "hub.example.org").await;
    let told = async || {
        let todos = ca.standing(local()).await.unwrap().todos;
        let about = |todo: &Todo| matches!(todo.about, About::Device(_) | About::RunningOut);
        let about = todos.into_iter().filter(about);
        about.map(|todo| todo.what).collect::<Vec<_>>()
    };

    *clock.0.lock().unwrap() = start + DAY * 280;
    for number in 1..=4 {
        enrol(local().evidence, &format!("site-{number}")).await;
    }
    let overdue = "the certificate of hub.example.org runs out on 1 January 2031 and nobody has renewed it";
    assert_eq!(told().await, [overdue]);
    *clock.0.lock().unwrap() = start + DAY * 304;
    let all = "certificates run out within a week or should have been renewed by now: of site-1, site-2, site-3 and others";
    assert_eq!(told().await, [all]);
}

fn local() -> Proof {
    with(Evidence::LocalUser {
        uid: 0,
        trusted: true,
    })
}

fn with(evidence: Evidence) -> Proof {
    Proof {
        evidence,
        origin: Origin::default(),
        dry_run: false,
    }
}
