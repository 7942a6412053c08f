//! Records to store, as short as they can be written.

use jiff::{SignedDuration, Timestamp};
use muster_ca::audit::{Act, Entry};
use muster_ca::certificate::{Certificate, Serial, Status};
use muster_ca::device::{Device, DeviceName, Kind, State};
use muster_ca::list::{AuditList, Paging};
use muster_ca::ports::{Change, Store, Write};
use muster_ca::token::EnrolmentToken;

/// Noon of 1 June 2030, UTC.
pub(in crate::store) fn noon() -> Timestamp {
    "2030-06-01T12:00:00Z".parse().unwrap()
}

pub(in crate::store) fn name(text: &str) -> DeviceName {
    DeviceName::restored(text.to_owned())
}

/// Time-ordered, as the authority draws them.
pub(in crate::store) fn serial(number: u64) -> Serial {
    let mut bytes = [0x33; 18];
    bytes[1..9].copy_from_slice(&number.to_be_bytes());
    Serial::from_bytes(&bytes).unwrap()
}

pub(in crate::store) fn device(text: &str, version: Option<u64>) -> Device {
    Device {
        name: name(text),
        kind: Kind::Client,
        state: State::Active,
        armed: false,
        profile: "client".into(),
        note: "a note".into(),
        created: noon(),
        version: version.unwrap_or(0) + 1,
    }
}

/// A certificate that runs out so many days after noon.
pub(in crate::store) fn certificate(number: u64, device: &str, days: i64) -> Certificate {
    Certificate {
        serial: serial(number),
        authority: "default".into(),
        generation: 1,
        device: name(device),
        profile: "client".into(),
        not_before: noon(),
        not_after: noon() + SignedDuration::from_hours(24 * days),
        status: Status::Active,
        key: [7; 32],
        how: "step:iot-devices".into(),
        der: vec![0x30; 700],
    }
}

pub(in crate::store) fn enrolment(id: &str, uses: u32) -> EnrolmentToken {
    let mut hash = [9; 32];
    hash[..id.len()].copy_from_slice(id.as_bytes());
    EnrolmentToken {
        id: id.into(),
        hash,
        device: None,
        wave: "spring".into(),
        uses,
        used: 0,
        profile: "client".into(),
        created: noon(),
        expires: noon() + SignedDuration::from_hours(24),
        withdrawn: None,
        by: "alice".into(),
        recovers: uses == 1,
    }
}

pub(in crate::store) fn act(action: &'static str, subject: &str) -> Act {
    Act {
        at: noon(),
        actor: "alice".into(),
        via: "rest".into(),
        source: "127.0.0.1".into(),
        action,
        subject: subject.into(),
        detail: r#"{"why":"test"}"#.into(),
        dry_run: false,
    }
}

pub(in crate::store) fn change(action: &'static str, subject: &str, writes: Vec<Write>) -> Change {
    Change {
        writes,
        act: act(action, subject),
    }
}

/// The newest audit entries, newest first.
pub(in crate::store) async fn newest(store: &dyn Store, limit: usize) -> Vec<Entry> {
    let paging = Paging { cursor: None, limit };
    let list = AuditList {
        paging,
        ..AuditList::default()
    };
    store.audit(list).await.unwrap().items
}

/// Runs all of them at once, so that a store may commit them together; the outcomes are in the order of the futures.
pub(in crate::store) async fn together<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = all.map(Box::pin).collect();
    let mut done: Vec<_> = running.iter().map(|_| None).collect();
    std::future::poll_fn(move |cx| {
        for (future, outcome) in running.iter_mut().zip(&mut done) {
            if outcome.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *outcome = Some(value);
            }
        }
        if done.iter().all(Option::is_some) {
            return std::task::Poll::Ready(done.iter_mut().filter_map(Option::take).collect());
        }
        std::task::Poll::Pending
    })
    .await
}
