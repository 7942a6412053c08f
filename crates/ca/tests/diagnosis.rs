//! Every cause that a device can have for not connecting is named by the facts that show it, and by nothing less.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

use jiff::{SignedDuration, Timestamp};
use muster_ca::broker::agent::{Denied, Report, Standing, StandingState};
use muster_ca::broker::{Broker, Enforced, Failed, Program};
use muster_ca::certificate::{Certificate, Serial, Status};
use muster_ca::device::{Device, DeviceName, Kind, State};
use muster_ca::diagnosis::{Attempt, Cause, Certainty, End, Facts, Paper, Shown, Verdict, diagnose};
use muster_pki::crl::Reason;

const SITE: &str = "site-0417";

fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn hours(count: i64) -> SignedDuration {
    SignedDuration::from_hours(count)
}

fn name(text: &str) -> DeviceName {
    DeviceName::restored(text.into())
}

/// A device whose certificate lives, at one broker that has proved everything.
struct World {
    device: Device,
    certificates: Vec<Certificate>,
    brokers: Vec<Standing>,
    attempts: Vec<Attempt>,
    retired: Vec<(String, u32)>,
    settled: bool,
}

impl World {
    fn well() -> Self {
        Self {
            device: Device {
                name: name(SITE),
                kind: Kind::Client,
                state: State::Active,
                armed: false,
                profile: "client".into(),
                note: String::new(),
                created: now() - hours(1000),
                version: 1,
            },
            certificates: vec![certificate("a1", -24, 24 * 29)],
            brokers: vec![broker()],
            attempts: Vec::new(),
            retired: Vec::new(),
            settled: true,
        }
    }

    fn verdict(&self) -> Verdict {
        diagnose(&Facts {
            now: now(),
            device: &self.device,
            certificates: &self.certificates,
            brokers: &self.brokers,
            attempts: &self.attempts,
            names: &["ca.example.org".to_owned()],
            retired: &self.retired,
            settled: self.settled,
        })
    }
}

fn certificate(serial: &str, from: i64, until: i64) -> Certificate {
    Certificate {
        serial: Serial::from_hex(serial).unwrap(),
        authority: "default".into(),
        generation: 1,
        device: name(SITE),
        profile: "client".into(),
        not_before: now() + hours(from),
        not_after: now() + hours(until),
        status: Status::Active,
        key: [0; 32],
        how: "renewal".into(),
        der: Vec::new(),
    }
}

fn revoked(certificate: Certificate, reason: Reason) -> Certificate {
    let at = now() - hours(1);
    Certificate {
        status: Status::Revoked { at, reason },
        ..certificate
    }
}

fn broker() -> Standing {
    Standing {
        broker: Broker {
            name: name("hub-lab"),
            program: Program::Mosquitto,
            sans: Vec::new(),
            created: now() - hours(1000),
            retired: None,
            enforced: Some(Enforced {
                number: 7,
                sequence: 40,
                at: now() - hours(2),
                micros: 38_000,
                crl_until: Some(now() + hours(24 * 29)),
            }),
            failed: None,
            version: 1,
        },
        state: StandingState::Proven,
        heard: Some(now()),
        report: Some(Report {
            crl_next_update: Some(now() + hours(24 * 29)),
            certificate_not_after: Some(now() + hours(24 * 100)),
            ..Report::default()
        }),
        denied: Vec::new(),
    }
}

fn paper() -> Paper {
    Paper {
        name: SITE.into(),
        serial: Serial::from_hex("a1").unwrap(),
        issuer: "Test Issuing CA 1".into(),
        ours: true,
        retired: false,
        not_before: now() - hours(24),
        not_after: now() + hours(24 * 29),
        for_clients: true,
        alone: false,
        proved: true,
    }
}

fn showing(shown: Shown, certainty: Certainty) -> Attempt {
    Attempt {
        at: now() - SignedDuration::from_mins(1),
        address: [10, 0, 0, 5].into(),
        name: Some(name(SITE)),
        said: SITE.into(),
        certainty,
        shown,
        server_name: Some("ca.example.org".into()),
        client_id: Some(SITE.into()),
        end: End::Finished,
    }
}

fn proved(change: impl FnOnce(&mut Paper)) -> Attempt {
    let mut paper = paper();
    change(&mut paper);
    showing(Shown::Paper(paper), Certainty::Proved)
}

fn claimed(change: impl FnOnce(&mut Paper)) -> Attempt {
    Attempt {
        certainty: Certainty::Claimed,
        ..proved(change)
    }
}

/// Somebody whose handshake ended before there was a certificate, from where the device comes from.
fn ended(end: End) -> Attempt {
    Attempt {
        end,
        client_id: None,
        ..showing(Shown::Nothing, Certainty::Address)
    }
}

type Change = fn(&mut World);

/// Each cause, with what makes it.
const TABLE: &[(Cause, Change)] = &[
    (Cause::Nothing, |_| {}),
    (Cause::Nothing, |world| world.attempts = vec![proved(|_| {})]),
    (Cause::Retired, |world| world.device.state = State::Retired),
    (Cause::Revoked, |world| world.device.state = State::Revoked),
    (Cause::Suspended, |world| world.device.state = State::Suspended),
    (Cause::NoCertificate, |world| world.certificates.clear()),
    (Cause::NoCertificate, |world| {
        world.device.state = State::New;
        world.certificates = vec![revoked(certificate("a1", -24, 24), Reason::KeyCompromise)];
    }),
    (Cause::Expired, |world| {
        world.certificates = vec![certificate("a1", -48, -1)];
    }),
    (Cause::Expired, |world| {
        world.certificates = vec![certificate("a1", -48, -1)];
        world.attempts = vec![proved(|paper| paper.not_after = now() - hours(1))];
    }),
    (Cause::NotYetValid, |world| {
        world.certificates = vec![certificate("a1", 2, 48)];
    }),
    (Cause::CertificateRevoked, |world| {
        world.certificates = vec![revoked(certificate("a1", -24, 24), Reason::KeyCompromise)];
    }),
    (Cause::CertificateRevoked, |world| {
        world.certificates = vec![revoked(certificate("a1", -24, 24), Reason::KeyCompromise)];
        world.attempts = vec![proved(|_| {})];
    }),
    (Cause::Superseded, |world| {
        world.certificates = vec![
            certificate("b2", -2, 24 * 30),
            revoked(certificate("a1", -24, 24), Reason::Superseded),
        ];
        world.attempts = vec![proved(|_| {})];
    }),
    (Cause::Superseded, |world| {
        world.certificates = vec![certificate("b2", -2, 24 * 30), certificate("a1", -48, -1)];
        world.attempts = vec![proved(|paper| paper.not_after = now() - hours(1))];
    }),
    (Cause::Unrecorded, |world| {
        world.attempts = vec![proved(|paper| paper.serial = Serial::from_hex("ff").unwrap())];
    }),
    (Cause::RetiredCa, |world| {
        world.retired = vec![("default".into(), 1)];
    }),
    (Cause::RetiredCa, |world| {
        world.attempts = vec![claimed(|paper| paper.retired = true)];
    }),
    (Cause::WrongUse, |world| world.device.kind = Kind::Server),
    (Cause::WrongUse, |world| {
        world.attempts = vec![proved(|paper| paper.for_clients = false)];
    }),
    (Cause::OtherCa, |world| {
        world.attempts = vec![claimed(|paper| paper.ours = false)];
    }),
    (Cause::WrongKey, |world| {
        world.attempts = vec![claimed(|paper| paper.proved = false)];
    }),
    (Cause::NothingShown, |world| {
        world.attempts = vec![showing(Shown::Nothing, Certainty::Claimed)];
    }),
    (Cause::Unreadable, |world| {
        world.attempts = vec![showing(Shown::Unreadable, Certainty::Claimed)];
    }),
    (Cause::UnknownCa, |world| {
        world.attempts = vec![ended(End::UnknownCa)]
    }),
    (Cause::Clock, |world| {
        world.attempts = vec![ended(End::ServerExpired)];
    }),
    (Cause::Clock, |world| world.attempts = vec![ended(End::ServerBad)]),
    (Cause::ServerName, |world| {
        let mut attempt = ended(End::ServerBad);
        attempt.server_name = Some("mqtt.old.example.org".into());
        world.attempts = vec![attempt];
    }),
    (Cause::ServerName, |world| {
        world.attempts = vec![ended(End::InternalError)];
    }),
    (Cause::ServerRefused, |world| {
        let mut attempt = ended(End::ServerBad);
        attempt.server_name = None;
        world.attempts = vec![attempt];
    }),
    (Cause::OldTls, |world| world.attempts = vec![ended(End::OldTls)]),
    (Cause::NoTls, |world| world.attempts = vec![ended(End::NoTls)]),
    (Cause::BrokeOff, |world| {
        world.attempts = vec![ended(End::BrokeOff)]
    }),
    (Cause::BrokerCrl, |world| {
        world.brokers[0].report.as_mut().unwrap().crl_next_update = Some(now() - hours(1));
    }),
    (Cause::BrokerCrl, |world| {
        world.brokers[0].report = None;
        world.brokers[0].heard = None;
        world.brokers[0].state = StandingState::Silent;
        world.brokers[0].broker.enforced.as_mut().unwrap().crl_until = Some(now());
    }),
    (Cause::BrokerCertificate, |world| {
        world.brokers[0].report.as_mut().unwrap().certificate_not_after = Some(now() - hours(1));
    }),
    (Cause::BrokerAlarm, |world| {
        world.brokers[0].report.as_mut().unwrap().alarms = vec!["hub-lab: the key cannot be read".into()];
    }),
    (Cause::BrokerUnconfirmed, |world| {
        world.brokers[0].state = StandingState::Unconfirmed;
        world.brokers[0].broker.failed = Some(Failed {
            number: 8,
            at: now(),
            why: "the disk is full".into(),
        });
    }),
    (Cause::BrokerSilent, |world| {
        world.brokers[0].state = StandingState::Silent;
        world.brokers[0].heard = Some(now() - hours(3));
    }),
    (Cause::ClientId, |world| {
        let mut attempt = proved(|_| {});
        attempt.client_id = Some("gateway".into());
        world.attempts = vec![attempt];
    }),
    (Cause::Denied, |world| {
        world.brokers[0].denied = vec![Denied {
            device: SITE.into(),
            topic: "fleet/other/t".into(),
            times: 12,
            last: now() - hours(3),
        }];
    }),
    (Cause::NoChain, |world| {
        world.attempts = vec![proved(|paper| paper.alone = true)];
    }),
    (Cause::TwoPlaces, |world| {
        let mut other = proved(|_| {});
        other.address = [10, 0, 0, 9].into();
        other.at = now() - SignedDuration::from_mins(3);
        world.attempts = vec![proved(|_| {}), other];
    }),
];

#[test]
fn every_cause_is_named_in_one_sentence_with_one_fix() {
    for (row, (cause, change)) in TABLE.iter().enumerate() {
        let mut world = World::well();
        change(&mut world);
        let verdict = world.verdict();
        assert_eq!(verdict.cause, *cause, "row {row}: {}", verdict.what);
        for text in [&verdict.what, &verdict.fix] {
            assert!(
                !text.is_empty() && !text.ends_with('.') && !text.contains('\n'),
                "{text}"
            );
        }
        let about_it = verdict.what.contains(SITE) || verdict.what.contains("hub-lab");
        assert!(about_it, "row {row}: {}", verdict.what);
    }
}

#[test]
fn no_cause_is_without_a_row() {
    for (cause, word) in Cause::ALL {
        assert!(
            TABLE.iter().any(|(row, _)| row == cause),
            "{word} is never the verdict"
        );
        assert_eq!(cause.as_str(), *word);
    }
}

#[test]
fn who_has_not_proved_it_is_someone_claiming_to_be() {
    let mut world = World::well();
    world.attempts = vec![claimed(|paper| paper.ours = false)];
    let what = world.verdict().what;
    assert!(what.starts_with("someone claiming to be site-0417"), "{what}");
    assert!(
        what.contains("10.0.0.5") && what.contains("Test Issuing CA 1"),
        "{what}"
    );
    world.attempts = vec![ended(End::UnknownCa)];
    assert!(world.verdict().what.contains("probably site-0417"));
    world.attempts = vec![proved(|paper| paper.for_clients = false)];
    assert!(world.verdict().what.contains("certificate of site-0417"));
}

#[test]
fn claims_never_hide_what_is_certain() {
    let mut world = World::well();
    world.certificates = vec![certificate("a1", -48, -1)];
    world.attempts = vec![claimed(|paper| paper.ours = false)];
    assert_eq!(world.verdict().cause, Cause::Expired);
    world.device.state = State::Revoked;
    assert_eq!(world.verdict().cause, Cause::Revoked);
}

#[test]
fn what_was_seen_before_the_last_certificate_says_nothing_any_more() {
    let mut world = World::well();
    let mut before = proved(|paper| paper.for_clients = false);
    before.at = now() - hours(30);
    world.attempts = vec![before];
    assert_eq!(world.verdict().cause, Cause::Nothing);
}

#[test]
fn what_somebody_claimed_counts_no_more_once_the_device_itself_was_there() {
    let mut world = World::well();
    let mut claim = claimed(|paper| paper.ours = false);
    claim.at = now() - SignedDuration::from_mins(2);
    world.attempts = vec![proved(|_| {}), claim.clone()];
    assert_eq!(world.verdict().cause, Cause::Nothing);
    claim.at = now();
    world.attempts = vec![claim, proved(|_| {})];
    assert_eq!(world.verdict().cause, Cause::OtherCa);
}

#[test]
fn nobody_is_missed_before_agents_had_the_time_to_speak() {
    let mut world = World::well();
    world.brokers[0].state = StandingState::Silent;
    world.brokers[0].heard = None;
    world.settled = false;
    assert_eq!(world.verdict().cause, Cause::Nothing);
    world.settled = true;
    assert_eq!(world.verdict().cause, Cause::BrokerSilent);
}
