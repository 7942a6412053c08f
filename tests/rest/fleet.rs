//! Devices as they look from outside: a key, a one-time or enrolment token, a certificate that is shown in a handshake.

use muster_pki::key::PrivateKey;
use serde_json::{Value, json};

use crate::common::Muster;
use crate::common::https::{Answer, Https};
use crate::common::requester::{Requester, csr_with};

pub(crate) struct Fleet {
    pub(crate) muster: Muster,
    pub(crate) https: Https,
    pub(crate) requester: Requester,
}

impl Fleet {
    pub(crate) fn start(toml: &str) -> Self {
        let muster = Muster::start_with(&[], toml);
        Self {
            https: Https::new(muster.api, &muster.root()),
            requester: Requester::of(&muster),
            muster,
        }
    }

    /// `POST /sign` with a new one-time token for this name.
    pub(crate) fn sign(&self, name: &str, key: &PrivateKey) -> Answer {
        self.sign_with(&self.requester.token(name), name, key)
    }

    pub(crate) fn sign_with(&self, token: &str, name: &str, key: &PrivateKey) -> Answer {
        let body = json!({ "csr": csr_with(name, key), "ott": token });
        self.https.post("/sign", &body)
    }

    /// An enrolment token, by the command line.
    pub(crate) fn token(&self, args: &[&str]) -> Value {
        self.muster.json(&[&["token", "create"], args].concat())
    }

    /// `POST /api/v1/enrol`.
    pub(crate) fn enrol(&self, token: &Value, name: &str, key: &PrivateKey) -> Answer {
        let body = json!({ "token": token["secret"], "csr": csr_with(name, key) });
        self.https.post("/api/v1/enrol", &body)
    }

    /// A client that shows the certificate of an answer to [`Fleet::sign`] or [`Fleet::enrol`].
    pub(crate) fn holder(&self, answer: &Answer, key: &PrivateKey) -> Https {
        let answer = answer.json();
        let pem = answer["crt"].as_str().or(answer["pem"].as_str()).unwrap();
        let path = |name: &str| self.muster.path().join(name);
        std::fs::write(path("holder.crt"), pem).unwrap();
        std::fs::write(path("holder.key"), key.to_pem().unwrap().as_bytes()).unwrap();
        Https::with_certificate(
            self.muster.api,
            &self.muster.root(),
            &path("holder.crt"),
            &path("holder.key"),
        )
    }

    /// A device's certificates, newest first, each as status and reason.
    pub(crate) fn certificates(&self, name: &str) -> Vec<String> {
        let shown = self.muster.json(&["device", "show", name]);
        let all = shown["certificates"].as_array().cloned().unwrap_or_default();
        let words = all.iter().map(|one| {
            let reason = one["reason"].as_str().unwrap_or_default();
            format!("{} {reason}", one["status"].as_str().unwrap())
        });
        words.map(|text| text.trim_end().to_owned()).collect()
    }

    /// One of a device's certificates as it is shown; the newest is 0.
    pub(crate) fn shown(&self, name: &str, which: usize) -> Value {
        self.muster.json(&["device", "show", name])["certificates"][which].clone()
    }

    /// The serial number of a device's newest certificate.
    pub(crate) fn serial(&self, name: &str) -> String {
        self.serials(name).swap_remove(0)
    }

    /// The serial numbers of a device's certificates, newest first.
    pub(crate) fn serials(&self, name: &str) -> Vec<String> {
        let shown = self.muster.json(&["device", "show", name]);
        let all = shown["certificates"].as_array().unwrap().iter();
        all.map(|one| one["serial"].as_str().unwrap().to_owned())
            .collect()
    }
}
