//! A time beacon: what the time is, signed over the asker's own number, for machines whose clock may be anything.
//!
//! It is a compact JWS (RFC 7515) by a key that does nothing else: its certificate is for time stamping (RFC 3161, section 2.3), lives
//! for a day, and comes with the issuing CA's. A stolen key can name no time outside of that day.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::cert::Certificate;
use crate::jose::Jws;
use crate::message::Message;

/// The type of the JWS (`typ`).
const KIND: &str = "muster-time";

/// What a beacon says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beacon {
    /// What was asked with; whoever asked drew it.
    pub nonce: String,
    /// The time.
    pub at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    nonce: String,
    /// Milliseconds since 1970.
    at: i64,
}

impl Beacon {
    /// The beacon of this signer, whose issuing CA is the second, to be signed.
    pub fn draft(&self, chain: [&Certificate; 2]) -> Result<Message, Error> {
        let payload = Payload {
            nonce: self.nonce.clone(),
            at: self.at.as_millisecond(),
        };
        let payload = serde_json::to_vec(&payload).map_err(|_| Error::Encode("beacon"))?;
        let [signer, issuing] = chain;
        Ok(Message::by(KIND, signer, &[issuing], &payload))
    }

    /// Reads a beacon that was signed below this root.
    pub fn open(text: &str, root: &Certificate) -> Result<Self, Error> {
        let bad = |why: &str| Error::malformed("time beacon", why);
        let jws = Jws::parse(text)?;
        if jws.header.typ != KIND {
            return Err(bad("it is of another type"));
        }
        let read = |text: &String| {
            let der = BASE64.decode(text).map_err(|_| bad("its chain is not base64"))?;
            Certificate::from_der(&der)
        };
        let chain: Vec<_> = jws.header.x5c.iter().map(read).collect::<Result<_, _>>()?;
        let [signer, issuing] = &chain[..] else {
            return Err(bad("it does not come with two certificates"));
        };
        if issuing.authority().is_none() || !issuing.may_sign_certificates() || !signer.is_for_time() {
            return Err(bad("its signer may not tell the time"));
        }
        issuing.verify_issued_by(root.key())?;
        signer.verify_issued_by(issuing.key())?;
        jws.verify(signer.key())?;
        let said: Payload = serde_json::from_slice(&jws.payload).map_err(|_| bad("it cannot be read"))?;
        let at = Timestamp::from_millisecond(said.at).map_err(|_| bad("it names no time"))?;
        let holds =
            |certificate: &Certificate| (certificate.not_before()..=certificate.not_after()).contains(&at);
        if !holds(signer) || !holds(issuing) {
            return Err(bad("it names a time at which its signer was nobody"));
        }
        Ok(Self {
            nonce: said.nonce,
            at,
        })
    }
}
