//! The wall clock and the system's randomness. The only file that reads either.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use jiff::Timestamp;
use muster_backends::signer;
use muster_ca::ports::{Clock, Entropy, SignerError};
use muster_pki::key::{KeyKind, PrivateKey};

/// The system's clock.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        now()
    }
}

/// Now.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// The system's randomness, through the crypto library.
pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(
        clippy::expect_used,
        reason = "without randomness a CA must not go on; aws-lc aborts by itself in this case"
    )]
    fn fill(&self, bytes: &mut [u8]) {
        SystemRandom::new()
            .fill(bytes)
            .expect("the system has randomness");
    }

    fn private_key(&self, kind: KeyKind) -> Result<PrivateKey, SignerError> {
        signer::generate(kind)
    }
}
