//! A CA of one test's own, a requester whose tokens it takes, and a look at what is recorded.

use serde_json::Value;

use crate::common::requester::{Requester, csr, sign_body};
use crate::common::wire::{Dialer, Wire};
use crate::common::{Muster, text, wait_for};

pub(crate) struct World {
    pub(crate) muster: Muster,
    pub(crate) requester: Requester,
    pub(crate) dialer: Dialer,
}

/// Everything that a request could have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    certificates: Value,
    devices: Value,
    audit_head: Value,
}

impl World {
    pub(crate) fn start() -> Self {
        let muster = Muster::start();
        let requester = Requester::of(&muster);
        let dialer = Dialer::new(muster.api, &muster.root());
        Self {
            muster,
            requester,
            dialer,
        }
    }

    /// Waits until the CRL that a revocation asks for has been recorded.
    pub(crate) fn list_is_made(&self) {
        wait_for("the CRL to be made", || {
            let audit = self.local("/api/v1/audit?limit=1");
            audit["items"][0]["action"] == "crl.made"
        });
    }

    pub(crate) fn recorded(&self) -> Recorded {
        let status = self.local("/api/v1/status");
        let audit = self.local("/api/v1/audit/verify");
        assert_eq!(audit["intact"], true, "{audit}");
        Recorded {
            certificates: status["certificates"].clone(),
            devices: status["devices"].clone(),
            audit_head: audit["head"].clone(),
        }
    }

    fn local(&self, path: &str) -> Value {
        let (status, body) = Wire::local(&self.muster.data()).unwrap().get(path).unwrap();
        assert_eq!(status, 200, "{}", text(&body));
        serde_json::from_slice(&body).unwrap()
    }

    /// `POST` on a connection of its own.
    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &str) -> (u16, String) {
        let (status, answer) = self.dialer.tls().unwrap().post(path, body).unwrap();
        (status, text(&answer))
    }

    /// A request to sign that must be refused with this status and these words, and change nothing.
    #[track_caller]
    pub(crate) fn refuses(&self, what: &str, body: &str, status: u16, words: &str) {
        self.refuses_at("/sign", what, body, status, words);
    }

    #[track_caller]
    pub(crate) fn refuses_at(&self, path: &str, what: &str, body: &str, status: u16, words: &str) {
        let before = self.recorded();
        let (answered, answer) = self.post(path, body);
        assert_eq!(answered, status, "{what}: {answer}");
        assert!(
            message(&answer).contains(words),
            "{what}: {words:?} is not in {answer}"
        );
        assert_eq!(self.recorded(), before, "{what} changed something");
    }

    /// The token is as good as new.
    #[track_caller]
    pub(crate) fn still_works(&self, token: &str, subject: &str) {
        let (status, answer) = self.post("/sign", &sign_body(&csr(subject), token));
        assert_eq!(status, 201, "the token for {subject} was burned: {answer}");
    }

    /// Somebody else is served as if nothing were.
    #[track_caller]
    pub(crate) fn serves(&self, subject: &str) {
        self.still_works(&self.requester.token(subject), subject);
    }
}

/// What an error says; every one is JSON with its status inside.
#[track_caller]
pub(crate) fn message(answer: &str) -> String {
    let problem: Value = serde_json::from_str(answer).unwrap_or_else(|why| panic!("{why}: {answer}"));
    assert!(
        problem["status"].as_u64().is_some_and(|status| status >= 400),
        "{answer}"
    );
    problem["message"].as_str().unwrap_or_default().to_owned()
}
