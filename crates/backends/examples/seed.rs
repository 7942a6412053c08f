//! Fills the database of a data directory with a fleet, for measuring at its size: `seed DATA CERTIFICATES DEVICES`.
//!
//! It takes what `muster init` made, and writes through the real store, an audit entry for each change. Certificates can be
//! read and none can be trusted: their signatures are zeros, so that no key has to be opened for it. An example, so that no
//! program that is shipped can do this.
#![allow(clippy::print_stderr, reason = "it says how far it is")]
#![allow(clippy::disallowed_methods, reason = "the fleet ends today")]

use std::collections::VecDeque;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use muster_backends::lock::DirLock;
use muster_backends::signer::generate;
use muster_backends::store::sqlite::SqliteStore;
use muster_ca::audit::Act;
use muster_ca::certificate::{Certificate, Serial, Status};
use muster_ca::device::{Device, DeviceName, Kind, State};
use muster_ca::ports::{Change, Store, Write};
use muster_ca::token::EnrolmentToken;
use muster_pki::cert::{Issuer, Pointers, Role, Template, Usages, assemble};
use muster_pki::crl::Reason;
use muster_pki::key::{KeyKind, PublicKey, sha256};
use muster_pki::name::San;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Changes under way at once: what the store commits together.
const AT_ONCE: usize = 256;
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// A device has its next certificate after so long.
const RENEWAL: SignedDuration = SignedDuration::from_hours(20 * 24);
/// Why a certificate is revoked, and what becomes of its device then.
const REASONS: [Reason; 4] = [
    Reason::KeyCompromise,
    Reason::Superseded,
    Reason::CessationOfOperation,
    Reason::CertificateHold,
];
const STATES: [State; 4] = [State::Revoked, State::Revoked, State::Retired, State::Suspended];

fn main() -> Result<()> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [data, certificates, devices] = args.as_slice() else {
        return Err("seed DATA CERTIFICATES DEVICES".into());
    };
    let (certificates, devices): (u64, u64) = (certificates.parse()?, devices.parse()?);
    let data = PathBuf::from(data);
    let _lock = DirLock::acquire(&data).map_err(|why| why.to_string())?;
    let store = Arc::new(SqliteStore::open(&data.join("muster.db"))?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let fleet = Fleet::new(&*store, devices.max(1), certificates).await?;
        fill(&store, &fleet).await?;
        store.catch_up().await?;
        Ok(())
    })
}

/// Everything in the order in which it would have happened.
async fn fill(store: &Arc<SqliteStore>, fleet: &Fleet) -> Result<()> {
    let mut under_way = VecDeque::with_capacity(AT_ONCE);
    let rounds = fleet.certificates.div_ceil(fleet.devices);
    let issued = (0..fleet.certificates).map(|n| fleet.issue(n, rounds));
    let ends = (0..fleet.certificates).filter_map(|n| fleet.end(n, rounds).transpose());
    let tokens = (0..fleet.devices / 100).map(|n| Ok(fleet.token(n)));
    for (n, change) in tokens.chain(issued).chain(ends).enumerate() {
        if under_way.len() == AT_ONCE {
            settle(under_way.pop_front()).await?;
        }
        let (store, change) = (Arc::clone(store), change?);
        under_way.push_back(tokio::spawn(async move { store.commit(change).await }));
        if n % 100_000 == 0 {
            eprintln!("seed: {n} changes");
        }
    }
    while let Some(last) = under_way.pop_front() {
        settle(Some(last)).await?;
    }
    Ok(())
}

async fn settle(
    change: Option<tokio::task::JoinHandle<std::result::Result<(), muster_ca::ports::StoreError>>>,
) -> Result<()> {
    match change {
        Some(change) => Ok(change.await??),
        None => Ok(()),
    }
}

struct Fleet {
    devices: u64,
    certificates: u64,
    issuer: Issuer,
    key: PublicKey,
    now: Timestamp,
}

impl Fleet {
    async fn new(store: &dyn Store, devices: u64, certificates: u64) -> Result<Self> {
        let authorities = store.authorities().await?;
        let default = authorities.iter().find(|authority| authority.name == "default");
        let active = default.ok_or("there is no authority: muster init")?.active()?;
        Ok(Self {
            devices,
            certificates,
            issuer: active.parsed()?.as_issuer()?,
            key: generate(KeyKind::P256)?.public().clone(),
            now: Timestamp::now(),
        })
    }

    /// One in a hundred is a broker.
    fn kind(&self, device: u64) -> Kind {
        if device % 100 == 99 {
            Kind::Broker
        } else {
            Kind::Client
        }
    }

    fn name(&self, device: u64) -> String {
        match self.kind(device) {
            Kind::Broker | Kind::Server => format!("mqtt-{device:06}.example.org"),
            Kind::Client => format!("site-{device:06}"),
        }
    }

    /// When a certificate was issued: each round of renewals takes as long as a device waits for its next.
    fn at(&self, n: u64, rounds: u64) -> Timestamp {
        let (round, device) = (n / self.devices, n % self.devices);
        let passed = RENEWAL.as_millis_f64() * (round as f64 + device as f64 / self.devices as f64);
        let whole = RENEWAL.as_millis_f64() * rounds as f64;
        self.now - SignedDuration::from_millis((whole - passed) as i64 + 60_000)
    }

    fn certificate(&self, n: u64, rounds: u64) -> Result<Certificate> {
        let (device, at) = (n % self.devices, self.at(n, rounds));
        let kind = self.kind(device);
        let mut serial = Serial::time_octets(at).to_vec();
        serial.extend_from_slice(&sha256(&n.to_be_bytes())[..10]);
        let name = self.name(device);
        let sans = [San::parse(&format!("{name}.fleet.example.org"))?];
        let life = if kind == Kind::Client { DAY * 30 } else { DAY * 365 };
        let (not_before, not_after) = (at - SignedDuration::from_hours(1), at + life);
        let template = Template {
            serial: &serial,
            common_name: &name,
            sans: &sans,
            not_before,
            not_after,
            key: &self.key,
            role: Role::Leaf(Usages {
                client: true,
                server: kind != Kind::Client,
            }),
            pointers: &Pointers::default(),
        };
        let der = assemble(
            &template.to_be_signed(Some(&self.issuer))?,
            self.issuer.algorithm,
            &[0; 71],
        )?;
        let first = n < self.devices;
        let how = match device % 3 {
            _ if kind != Kind::Client => "operator".to_owned(),
            _ if !first && !device.is_multiple_of(10) => "renewal".to_owned(),
            0 => "operator".to_owned(),
            1 => "step:iot-devices".to_owned(),
            _ => format!("token:wave-{:06}", device / 100),
        };
        Ok(Certificate {
            serial: Serial::from_bytes(&serial).ok_or("the clock says 1970")?,
            authority: "default".into(),
            generation: 1,
            device: DeviceName::restored(name),
            profile: kind.as_str().into(),
            not_before,
            not_after,
            status: Status::Active,
            key: sha256(format!("key {n}").as_bytes()),
            how,
            der,
        })
    }

    fn issue(&self, n: u64, rounds: u64) -> Result<Change> {
        let certificate = self.certificate(n, rounds)?;
        let at = self.at(n, rounds);
        let mut writes = Vec::new();
        if n < self.devices {
            let device = self.device(n, at, State::Active, 1);
            writes.push(Write::Device {
                device,
                expected: None,
            });
        }
        let subject = format!("{} {}", certificate.device, certificate.serial);
        let (actor, action) = match certificate.how.as_str() {
            "renewal" => (certificate.device.to_string(), "certificate.renewed"),
            "operator" => ("alice".to_owned(), "certificate.issued"),
            _ => ("iot-devices".to_owned(), "certificate.issued"),
        };
        let detail = format!(
            r#"{{"profile":"{}","how":"{}"}}"#,
            certificate.profile, certificate.how
        );
        writes.push(Write::Certificate(certificate));
        Ok(Change {
            writes,
            act: act(at, &actor, action, subject, detail),
        })
    }

    fn device(&self, n: u64, created: Timestamp, state: State, version: u64) -> Device {
        let kind = self.kind(n);
        Device {
            name: DeviceName::restored(self.name(n)),
            kind,
            state,
            armed: false,
            profile: kind.as_str().into(),
            note: String::new(),
            created,
            version,
        }
    }

    /// Two in a hundred were revoked or are on hold; of the last certificates, the device with them.
    fn end(&self, n: u64, rounds: u64) -> Result<Option<Change>> {
        if n % 50 != 17 {
            return Ok(None);
        }
        let certificate = self.certificate(n, rounds)?;
        let reason = REASONS[(n / 50 % 4) as usize];
        let mut writes = vec![Write::Status {
            serial: certificate.serial.clone(),
            from: Status::Active,
            to: Status::Revoked { at: self.now, reason },
        }];
        let device = n % self.devices;
        if n + self.devices >= self.certificates {
            let state = STATES[(n / 50 % 4) as usize];
            writes.push(Write::Device {
                device: self.device(device, self.now, state, 2),
                expected: Some(1),
            });
        }
        let subject = format!("{} {}", certificate.device, certificate.serial);
        let detail = format!(r#"{{"reason":"{reason}"}}"#);
        Ok(Some(Change {
            writes,
            act: act(self.now, "alice", "certificate.revoked", subject, detail),
        }))
    }

    /// A wave of a hundred devices; some are used up, withdrawn or over.
    fn token(&self, n: u64) -> Change {
        let created = self.at(0, self.certificates.div_ceil(self.devices));
        let id = format!("wave-{n:06}");
        let token = EnrolmentToken {
            hash: sha256(id.as_bytes()),
            device: None,
            wave: format!("region-{}", n % 40),
            uses: 100,
            used: if n.is_multiple_of(3) { 100 } else { 7 },
            profile: "client".into(),
            created,
            expires: if n.is_multiple_of(5) {
                created
            } else {
                self.now + DAY * 7
            },
            withdrawn: n.is_multiple_of(11).then_some(created),
            by: "alice".into(),
            recovers: false,
            id: id.clone(),
        };
        Change {
            writes: vec![Write::Token(token)],
            act: act(created, "alice", "token.created", id, String::new()),
        }
    }
}

fn act(at: Timestamp, actor: &str, action: &'static str, subject: String, detail: String) -> Act {
    Act {
        at,
        actor: actor.to_owned(),
        via: "rest".into(),
        source: "192.0.2.1".into(),
        action,
        subject,
        detail,
        dry_run: false,
    }
}
