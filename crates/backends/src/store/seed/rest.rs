//! What stands around the devices: operators, enrolment tokens, devices that wait for their first certificate, topic rules,
//! brokers.

use jiff::Timestamp;
use muster_ca::Error;
use muster_ca::access::Rules;
use muster_ca::broker::{Broker, Enforced, Failed, Program};
use muster_ca::device::{DeviceName, Kind, State};
use muster_ca::operator::{Operator, Role};
use muster_ca::ports::{Change, Write};
use muster_ca::token::EnrolmentToken;
use muster_pki::name::San;

use super::fleet::{DAY, Fleet, WAVE, act, is_withdrawn, wave_id};

/// Who is there; nobody can log in as one of them.
const OPERATORS: [(&str, Role); 3] = [
    ("alice", Role::Operator),
    ("bob", Role::Viewer),
    ("carol", Role::Auditor),
];
/// One device of so many has topic rules of its own.
const OWN_RULES: u64 = 1_000;

impl Fleet {
    /// Before the first device: operators, and the tokens that devices enrol with.
    pub(super) fn before(&self) -> impl Iterator<Item = Change> {
        let waves = 0..self.enrolled.div_ceil(WAVE);
        OPERATORS
            .iter()
            .map(|(name, role)| self.operator(name, *role))
            .chain(waves.map(|wave| self.wave(wave)))
    }

    /// After the last one: what was withdrawn, what waits, and the brokers, which enforce what was recorded up to `head`.
    pub(super) fn after(&self, head: u64) -> Result<Vec<Change>, Error> {
        let withdrawn = (0..self.enrolled.div_ceil(WAVE)).filter(|wave| is_withdrawn(*wave));
        let waiting = self.enrolled..self.devices;
        let ruled = (0..self.enrolled).filter(|device| device % OWN_RULES == 0);
        let changes = withdrawn
            .map(|wave| self.withdraw(wave))
            .chain(waiting.flat_map(|device| [self.register(device), self.invite(device)]))
            .chain(ruled.map(|device| self.rules(device)));
        let brokers = (0..self.enrolled)
            .filter(|device| self.kind(*device) == Kind::Broker)
            .take(Program::ALL.len());
        let brokers = brokers
            .enumerate()
            .map(|(n, device)| self.broker(n, self.name(device), head));
        changes.map(Ok).chain(brokers).collect()
    }

    fn operator(&self, name: &str, role: Role) -> Change {
        let created = self.at(0);
        let operator = Operator {
            name: name.to_owned(),
            role,
            key: None,
            login: None,
            created,
        };
        self.by_admin(created, "operator.added", name, Write::Operator(operator))
    }

    /// Some are used up, some ran out, some are still open.
    fn wave(&self, wave: u64) -> Change {
        let created = self.at(0);
        let devices = (wave * WAVE)..((wave + 1) * WAVE).min(self.enrolled);
        let users = devices.filter(|device| self.wave_of(*device).is_some()).count() as u32;
        let token = EnrolmentToken {
            device: None,
            wave: format!("region-{}", wave % 40),
            uses: if wave.is_multiple_of(3) && users > 0 {
                users
            } else {
                100
            },
            expires: if wave.is_multiple_of(5) {
                self.now - DAY
            } else {
                self.now + DAY * 7
            },
            ..self.token(wave_id(wave), created)
        };
        self.by_admin(created, "token.created", &wave_id(wave), Write::Token(token))
    }

    fn withdraw(&self, wave: u64) -> Change {
        let id = wave_id(wave);
        let write = Write::WithdrawToken {
            id: id.clone(),
            at: self.now,
        };
        self.by_admin(self.now, "token.withdrawn", &id, write)
    }

    fn register(&self, device: u64) -> Change {
        let device = self.device(device, self.now, State::New, 1);
        let name = device.name.to_string();
        let write = Write::Device {
            device,
            expected: None,
        };
        self.by_admin(self.now, "device.created", &name, write)
    }

    fn invite(&self, device: u64) -> Change {
        let id = format!("single-{device:06}");
        let token = EnrolmentToken {
            device: Some(self.name(device)),
            uses: 1,
            expires: self.now + DAY,
            profile: self.kind(device).as_str().into(),
            ..self.token(id.clone(), self.now)
        };
        self.by_admin(self.now, "token.created", &id, Write::Token(token))
    }

    fn token(&self, id: String, created: Timestamp) -> EnrolmentToken {
        EnrolmentToken {
            hash: self.hash(&id),
            id,
            device: None,
            wave: String::new(),
            uses: 0,
            used: 0,
            profile: "client".into(),
            created,
            expires: created,
            withdrawn: None,
            by: "alice".into(),
            recovers: false,
        }
    }

    fn rules(&self, device: u64) -> Change {
        let name = self.name(device);
        let filters = |word: &str| vec![format!("plant/{name}/{word}/#")];
        let write = Write::Access {
            name: name.clone(),
            rules: Some(Rules {
                publish: filters("out"),
                subscribe: filters("in"),
            }),
        };
        self.by_admin(self.now, "device.access", name.as_str(), write)
    }

    /// One of each program: the first enforces everything, the second less, the last is out of service.
    fn broker(&self, n: usize, name: DeviceName, head: u64) -> Result<Change, Error> {
        let created = self.at(0);
        let proven = |sequence| Enforced {
            number: sequence,
            sequence,
            at: self.now,
            micros: 38_000,
            crl_until: Some(self.now + DAY * 29),
        };
        let (program, _) = Program::ALL[n];
        let broker = Broker {
            sans: vec![San::parse(name.as_str())?],
            program,
            created,
            retired: (n + 1 == Program::ALL.len()).then_some(self.now),
            enforced: (n < 3).then(|| proven(if n == 1 { head - head / 100 } else { head })),
            failed: (n == 1).then(|| Failed {
                number: head,
                at: self.now,
                why: "the revoked canary was let in, so everything is as it was before".into(),
            }),
            version: 1,
            name: name.clone(),
        };
        let write = Write::Broker {
            broker,
            expected: None,
        };
        Ok(self.by_admin(self.now, "broker.added", name.as_str(), write))
    }

    fn by_admin(&self, at: Timestamp, action: &'static str, subject: &str, write: Write) -> Change {
        Change {
            writes: vec![write],
            act: act(at, "alice", "web", action, subject.to_owned(), String::new()),
        }
    }
}
