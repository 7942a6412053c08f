//! The time, told by a key of its own to whoever asks: see [`muster_pki::beacon`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use event_listener::Event;
use jiff::Timestamp;
use muster_pki::beacon::Beacon;
use muster_pki::cert::Certificate;
use muster_pki::key::{KeyKind, PrivateKey};

use crate::Ca;
use crate::authority::DEFAULT;
use crate::device::DeviceName;
use crate::enrol::may;
use crate::error::Error;

/// The name of who tells the time.
const NAME: &str = "muster-time";
/// How long a question may be; it is drawn by whoever asks.
const QUESTION: std::ops::RangeInclusive<usize> = 16..=64;

/// The key that tells the time. It lives in memory only, and its certificate for a day.
#[derive(Default)]
pub(crate) struct Teller {
    current: ArcSwapOption<Signer>,
    being_made: AtomicBool,
    made: Event,
}

struct Signer {
    key: PrivateKey,
    certificate: Certificate,
    issuing: Certificate,
    generation: u32,
    begun: Timestamp,
}

impl Signer {
    /// Half of its life is left at least, as long as the clock is not set back.
    fn is_young(&self, now: Timestamp) -> bool {
        let (from, to) = (self.certificate.not_before(), self.certificate.not_after());
        self.begun <= now && now < from + to.duration_since(from) / 2
    }
}

impl Ca {
    /// What the time is, signed over the question: 16 to 64 printable characters. Anybody may ask.
    pub async fn beacon(&self, nonce: &str) -> Result<String, Error> {
        if !QUESTION.contains(&nonce.len()) || !nonce.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Error::Bad("the nonce has 16 to 64 letters and digits".into()));
        }
        let signer = self.teller().await?;
        let beacon = Beacon {
            nonce: nonce.to_owned(),
            at: self.clock.now(),
        };
        let message = beacon.draft([&signer.certificate, &signer.issuing])?;
        let signature = signer.key.sign(message.to_be_signed())?;
        Ok(message.signed(&signature)?)
    }

    /// The signer, made when somebody asks for the first time, and once a half of its life is over.
    async fn teller(&self) -> Result<Arc<Signer>, Error> {
        loop {
            let made = self.teller.made.listen();
            let active = self.active_generation()?;
            let current = self.teller.current.load_full();
            let fits =
                |signer: &Arc<Signer>| signer.generation == active && signer.is_young(self.clock.now());
            if let Some(signer) = current.filter(fits) {
                return Ok(signer);
            }
            if self.teller.being_made.swap(true, Ordering::SeqCst) {
                made.await;
                continue;
            }
            // However it ends, the next one may try.
            let _turn = Turn(&self.teller);
            let signer = Arc::new(self.make_teller().await?);
            self.teller.current.store(Some(signer.clone()));
            return Ok(signer);
        }
    }

    fn active_generation(&self) -> Result<u32, Error> {
        let state = self.state.load();
        Ok(state.authority(DEFAULT)?.active()?.generation.number)
    }

    async fn make_teller(&self) -> Result<Signer, Error> {
        let now = self.clock.now();
        let key = self.entropy.private_key(KeyKind::P256)?;
        let name = DeviceName::own(NAME);
        let device = self.store.device(&name).await?;
        let grant = may::teller(&self.settings, name, device.as_ref(), key.public(), now)?;
        let issued = self.issue_own(grant, now).await?;
        Ok(Signer {
            certificate: Certificate::from_der(&issued.certificate().der)?,
            issuing: Certificate::from_der(issued.issuing())?,
            generation: issued.certificate().generation,
            begun: now,
            key,
        })
    }
}

struct Turn<'a>(&'a Teller);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.being_made.store(false, Ordering::SeqCst);
        self.0.made.notify(usize::MAX);
    }
}
