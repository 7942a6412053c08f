//! Where in the window the renewals of a fleet fall, whatever else the CA draws numbers for meanwhile.

use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use muster_backends::signer::file::FileSigner;
use muster_backends::signer::generate;
use muster_backends::store::sqlite::SqliteStore;
use muster_ca::device::DeviceName;
use muster_ca::enrol::who::{Evidence, Origin};
use muster_ca::ports::Clock;
use muster_ca::profile::Profiles;
use muster_ca::registry::TokenWish;
use muster_ca::setup::Founding;
use muster_ca::{Ask, Ca, Parts, Proof, Settings, Wish};
use muster_pki::csr::Csr;
use muster_pki::key::KeyKind;
use zeroize::Zeroizing;

use crate::common::RealEntropy;

/// How many devices enrol in each way: 20 for each sixteenth of the window.
const DEVICES: usize = 320;

/// A clock that stands: all enrol at once.
struct Standing;

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        "2030-01-01T00:00:00Z".parse().unwrap()
    }
}

fn parts(dir: &Path, store: Arc<SqliteStore>) -> Parts {
    let secret = b"a passphrase of a test".to_vec().into();
    Parts {
        store,
        signer: Arc::new(FileSigner::open(&dir.join("keys"), secret).unwrap()),
        clock: Arc::new(Standing),
        entropy: Arc::new(RealEntropy),
        settings: Settings {
            dns: vec!["localhost".into()],
            public_url: None,
            profiles: Profiles::new(&Default::default()).unwrap(),
        },
    }
}

async fn founded(dir: &Path) -> (Ca, Arc<SqliteStore>) {
    let store = Arc::new(SqliteStore::create(&dir.join("muster.db"), [7; 16]).unwrap());
    let secret = b"a passphrase of a test".to_vec().into();
    let founding = Founding {
        name: "Test",
        provisioner: "iot-devices",
        password: "0123456789abcdefghijklmnop",
        root_signer: &FileSigner::open(&dir.join("root"), secret).unwrap(),
        import: None,
    };
    (
        Ca::found(parts(dir, store.clone()), founding).await.unwrap(),
        store,
    )
}

fn with(evidence: Evidence, dry_run: bool) -> Proof {
    Proof {
        evidence,
        origin: Origin::default(),
        dry_run,
    }
}

fn operator() -> Evidence {
    Evidence::LocalUser {
        uid: 0,
        trusted: true,
    }
}

/// A token for one name, or for so many of a wave.
async fn token(ca: &Ca, device: Option<&str>, uses: usize) -> Zeroizing<String> {
    let wish = TokenWish {
        device: device.map(|name| DeviceName::parse(name).unwrap()),
        wave: String::new(),
        uses: uses.try_into().unwrap(),
        profile: "client".into(),
        lifetime: SignedDuration::from_hours(1),
    };
    ca.create_token(with(operator(), false), wish).await.unwrap().1
}

/// Enrols, and returns in which sixteenth of the window it is to renew.
async fn enrols(ca: &Ca, proof: Proof, name: &str) -> usize {
    let key = generate(KeyKind::P256).unwrap();
    let ask = Ask {
        proof,
        csr: Csr::build(name, &[], &key).unwrap(),
        wish: Wish::default(),
    };
    let issued = ca.enrol(ask).await.unwrap();
    let certificate = issued.certificate();
    let holder = Evidence::ClientCertificate(certificate.der.clone());
    let plan = ca.plan(with(holder, false)).await.unwrap();
    let since = |from| plan.renew_at.duration_since(from).as_secs_f64();
    let life = certificate.not_after.duration_since(certificate.issued());
    let gone = since(certificate.issued()) / life.as_secs_f64();
    ((gone - 1.0 / 3.0) / (3.0 / 5.0 - 1.0 / 3.0) * 16.0) as usize
}

#[track_caller]
fn fill_evenly(sixteenths: [usize; 16]) {
    let share = DEVICES / 16;
    assert!(
        sixteenths
            .iter()
            .all(|count| (share - 3..=share + 3).contains(count)),
        "{sixteenths:?}"
    );
}

#[tokio::test]
async fn renewals_of_devices_with_a_token_each_fill_the_window_evenly() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, _) = founded(dir.path()).await;
    let mut sixteenths = [0; 16];
    for number in 0..DEVICES {
        let name = format!("site-{number:04}");
        let secret = token(&ca, Some(&name), 1).await;
        let proof = with(Evidence::EnrolmentToken(secret), false);
        sixteenths[enrols(&ca, proof, &name).await] += 1;
    }
    fill_evenly(sixteenths);
}

#[tokio::test]
async fn renewals_of_a_wave_fill_the_window_evenly_with_rehearsals_and_tokens_between() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, _) = founded(dir.path()).await;
    // So many other numbers are drawn for each certificate.
    for others in [0, 3] {
        let secret = token(&ca, None, DEVICES).await;
        let mut sixteenths = [0; 16];
        for number in 0..DEVICES {
            let name = format!("wave-{others}-{number:04}");
            for other in 0..others {
                if other % 2 == 0 {
                    token(&ca, Some(&name), 1).await;
                    continue;
                }
                let ask = Ask {
                    proof: with(operator(), true),
                    csr: Csr::build(&name, &[], &generate(KeyKind::P256).unwrap()).unwrap(),
                    wish: Wish::default(),
                };
                ca.enrol(ask).await.unwrap();
            }
            let proof = with(Evidence::EnrolmentToken(secret.clone()), false);
            sixteenths[enrols(&ca, proof, &name).await] += 1;
        }
        fill_evenly(sixteenths);
    }
}

/// As `muster cert issue` does without a server.
#[tokio::test]
async fn processes_that_issue_one_certificate_each_have_other_places() {
    let dir = tempfile::tempdir().unwrap();
    let (_, store) = founded(dir.path()).await;
    let mut sixteenths = [0; 16];
    for number in 0..64 {
        let ca = Ca::open(parts(dir.path(), store.clone())).await.unwrap();
        let name = format!("site-{number:04}");
        sixteenths[enrols(&ca, with(operator(), false), &name).await] += 1;
    }
    // By chance five of them stay empty less than once in a million times.
    let taken = sixteenths.iter().filter(|count| **count > 0).count();
    assert!(taken >= 12, "{sixteenths:?}");
}
