//! What is outside: a store, a signer, a clock, randomness. One trait each, and nothing else.

use async_trait::async_trait;
use jiff::Timestamp;
use muster_pki::key::{KeyKind, PrivateKey, PublicKey};
use zeroize::Zeroizing;

use crate::access::Rules;
use crate::audit::{Act, Entry};
use crate::authority::{Authority, Generation};
use crate::broker::Broker;
use crate::certificate::{Certificate, Serial, Status};
use crate::device::{Device, DeviceName, Kind, State};
use crate::list::{AuditList, CertificateList, DeviceList, Page, Paging, TokenList};
use crate::operator::{Login, Operator, Role};
use crate::provisioner::Provisioner;
use crate::token::EnrolmentToken;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now. Never goes back by more than the system's clock does.
    fn now(&self) -> Timestamp;
}

/// Draws what nobody can guess.
pub trait Entropy: Send + Sync {
    /// Fills with random bytes.
    fn fill(&self, bytes: &mut [u8]);
    /// Makes a key pair in memory.
    fn private_key(&self, kind: KeyKind) -> Result<PrivateKey, SignerError>;
}

/// Holds the authorities' private keys and signs with them. A key never comes out.
#[async_trait]
pub trait Signer: Send + Sync {
    /// Makes a key and keeps it, encrypted, under this name. Refuses a name that is taken.
    async fn create(&self, name: &str, kind: KeyKind) -> Result<PublicKey, SignerError>;
    /// Keeps a key that was made elsewhere (PKCS#8, DER). Refuses a name that is taken.
    async fn import(&self, name: &str, pkcs8: Zeroizing<Vec<u8>>) -> Result<PublicKey, SignerError>;
    /// Signs with the key that the draft names.
    async fn sign(&self, what: &ToBeSigned) -> Result<Vec<u8>, SignerError>;
}

/// Bytes that the authority has decided to sign. Only this crate makes them.
#[derive(Debug, Clone)]
pub struct ToBeSigned {
    key: String,
    bytes: Vec<u8>,
}

impl ToBeSigned {
    pub(crate) fn new(key: &str, bytes: Vec<u8>) -> Self {
        Self {
            key: key.to_owned(),
            bytes,
        }
    }

    /// The name of the key to sign with.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The bytes to sign, DER.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why a key could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    /// There is no key of this name.
    #[error("there is no key {0:?}")]
    Missing(String),
    /// The name is taken.
    #[error("there is a key {0:?} already")]
    Exists(String),
    /// The passphrase does not open it.
    #[error("the passphrase does not open the key {0:?}")]
    Locked(String),
    /// The key or the place where it is kept cannot be read, written or used.
    #[error("{0}")]
    Failed(String),
}

/// Everything that is recorded. Reads see what was committed; a change is durable when [`Store::commit`] returns.
#[async_trait]
pub trait Store: Send + Sync {
    /// Applies a change whole or not at all, with its audit entry, and returns once it is on the disk.
    ///
    /// Changes that arrive together may share one transaction of the database; one that is refused does not touch
    /// the others. One whose act is a dry run is judged as all others and not kept.
    async fn commit(&self, change: Change) -> Result<(), StoreError>;

    /// A device by name.
    async fn device(&self, name: &DeviceName) -> Result<Option<Device>, StoreError>;
    /// A page of devices.
    async fn devices(&self, list: DeviceList) -> Result<Page<Device>, StoreError>;
    /// The names of every server and broker, in any order. They are few beside the clients.
    async fn servers(&self) -> Result<Vec<DeviceName>, StoreError>;
    /// How many certificates of a device live; not counted further than `most`.
    async fn living(&self, name: &DeviceName, now: Timestamp, most: usize) -> Result<usize, StoreError>;
    /// Every certificate of a device that runs out after `since`, newest first: what shuts a device out must not miss one.
    async fn certificates_of(
        &self,
        name: &DeviceName,
        since: Timestamp,
    ) -> Result<Vec<Certificate>, StoreError>;
    /// A certificate by serial number.
    async fn certificate(&self, serial: &Serial) -> Result<Option<Certificate>, StoreError>;
    /// A page of certificates.
    async fn certificates(&self, list: CertificateList) -> Result<Page<Certificate>, StoreError>;
    /// What this issuer has revoked and must still list, every entry whose certificate runs out after `since`; and the number
    /// of the last audit entry at that very moment.
    async fn revoked(
        &self,
        authority: &str,
        generation: u32,
        since: Timestamp,
    ) -> Result<(Vec<RevokedEntry>, u64), StoreError>;
    /// When the last certificate of an issuer ends, if that is after `now`: of those that are revoked, too, which its CRL
    /// must list until then, but not of the device `but`. Reads what ends on the last day.
    async fn last_end(
        &self,
        authority: &str,
        generation: u32,
        now: Timestamp,
        but: &DeviceName,
    ) -> Result<Option<Timestamp>, StoreError>;
    /// The same without a walk over those that end on one day: of the fleet's that are not revoked, the end of the day (of
    /// UTC) on which the last one ends.
    async fn last_day(
        &self,
        authority: &str,
        generation: u32,
        now: Timestamp,
        but: &DeviceName,
    ) -> Result<Option<Timestamp>, StoreError>;
    /// How many certificates of the fleet by an issuer are not revoked and run out on this day (of UTC) or later. No walk over
    /// the fleet.
    async fn issued_by(&self, authority: &str, generation: u32, day: Timestamp) -> Result<u64, StoreError>;
    /// How many there are; no walk over the fleet.
    async fn counts(&self, now: Timestamp) -> Result<Counts, StoreError>;
    /// How many certificates that are not revoked run out on each of so many days (of UTC), beginning with the one that
    /// `from` is in. Days without any are left out, and so are Muster's own. No walk over the fleet.
    async fn expiries(&self, from: Timestamp, days: u16) -> Result<Vec<Expiries>, StoreError>;
    /// Of the certificates that are active and unexpired, the validity of the one that runs out first; Muster's
    /// own do not count.
    async fn first_to_expire(&self, now: Timestamp) -> Result<Option<(Timestamp, Timestamp)>, StoreError>;
    /// Of the certificates that are active and unexpired, those that run out first and whose device has none that lasts
    /// longer; the authority's own do not count, nor do those that `renewing` says are renewed by themselves, unless less than
    /// a quarter of their validity is left. With `late_by` only those that are overdue in that way, or run out by then. A page
    /// looks at a few thousand that run out; one that is cut short has found fewer than it may and says where to look on.
    async fn unrenewed(
        &self,
        now: Timestamp,
        renewing: Renewing,
        late_by: Option<Timestamp>,
        paging: Paging,
    ) -> Result<Page<Unrenewed>, StoreError>;

    /// Every authority.
    async fn authorities(&self) -> Result<Vec<Authority>, StoreError>;
    /// Every provisioner, in the order in which they were added.
    async fn provisioners(&self) -> Result<Vec<Provisioner>, StoreError>;
    /// Every broker, by name; those out of service, too.
    async fn brokers(&self) -> Result<Vec<Broker>, StoreError>;
    /// Topic rules of devices that have their own, by name from the one after `after` on; at most `limit`, 1 to 1,000.
    async fn access(
        &self,
        after: Option<&DeviceName>,
        limit: usize,
    ) -> Result<Vec<(DeviceName, Rules)>, StoreError>;
    /// The rules of one device, if it has its own.
    async fn access_of(&self, name: &DeviceName) -> Result<Option<Rules>, StoreError>;
    /// The number of the last audit entry; 0 if there is none.
    async fn head(&self) -> Result<u64, StoreError>;
    /// Every operator.
    async fn operators(&self) -> Result<Vec<Operator>, StoreError>;
    /// An enrolment token by the hash of its secret.
    async fn token(&self, hash: &[u8; 32]) -> Result<Option<EnrolmentToken>, StoreError>;
    /// The ids of a device's recovery codes that are still good for something.
    async fn recovery_codes(&self, name: &DeviceName, now: Timestamp) -> Result<Vec<String>, StoreError>;
    /// A page of enrolment tokens.
    async fn tokens(&self, list: TokenList) -> Result<Page<EnrolmentToken>, StoreError>;
    /// Whether a one-time token was spent; `expires` as it was when it was spent.
    async fn is_spent(&self, token: &[u8; 32], expires: Timestamp) -> Result<bool, StoreError>;
    /// What this token has been bound to: the name that holds this key, if any.
    async fn binding(&self, token: &str, key: &[u8; 32]) -> Result<Option<Binding>, StoreError>;
    /// The newest CRL of an issuer.
    async fn crl(&self, authority: &str, generation: u32) -> Result<Option<Crl>, StoreError>;
    /// A page of audit entries.
    async fn audit(&self, list: AuditList) -> Result<Page<Entry>, StoreError>;
    /// The audit entries after this number, in order: the chain as it is walked, and the outbox. At most `limit`, 1 to
    /// 1,000.
    async fn entries(&self, after: u64, limit: usize) -> Result<Vec<Entry>, StoreError>;
    /// Makes what was recorded since the last time findable: certificates by fingerprint, audit entries by who, what and to
    /// what. Such values come in no order, and to index them while certificates are issued would cost too much.
    async fn catch_up(&self) -> Result<(), StoreError>;
    /// What the drawer holds under a key, unless it has run out.
    async fn kept(&self, key: &str, now: Timestamp) -> Result<Option<Kept>, StoreError>;
    /// What the drawer holds under keys that begin with this word and a slash and has not run out, in key order; at most
    /// `limit`.
    async fn kept_below(&self, word: &str, now: Timestamp, limit: usize) -> Result<Vec<Kept>, StoreError>;
    /// Puts something into the drawer that nobody answers for, in place of what lies there under its key: nothing of it is in the audit
    /// log.
    async fn jot(&self, kept: Kept) -> Result<(), StoreError>;
    /// Lets what the drawer holds under a key last until another moment. Nothing happens if there is nothing: what was
    /// dropped meanwhile does not come back.
    async fn extend(&self, key: &str, expires: Timestamp) -> Result<(), StoreError>;
    /// Whether a change could be made durable now: writes something small.
    async fn probe(&self, now: Timestamp) -> Result<(), StoreError>;
    /// Deletes what has expired: spent tokens (a day after their end).
    async fn tidy(&self, now: Timestamp) -> Result<(), StoreError>;
}

/// Why the store did not do it. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The one-time token was spent before.
    #[error("the token is spent")]
    Spent,
    /// The certificate's key was revoked as compromised.
    #[error("the key is compromised")]
    Compromised,
    /// The issuing CA that signed the certificate issues no more.
    #[error("the issuing CA {0} issues no more")]
    NotIssuing(String),
    /// The thing that the change was prepared on is not as it was.
    #[error("{0} was changed meanwhile")]
    Changed(String),
    /// A thing of this name exists.
    #[error("{0} exists")]
    Exists(String),
    /// No page of this list in this order gave this cursor.
    #[error("the cursor is of another list")]
    Cursor,
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// The store cannot be read or written now.
    #[error("{0}")]
    Unavailable(String),
    /// What was read cannot be true.
    #[error("{0}")]
    Damaged(String),
}

/// One durable transaction: what to write, and who did it.
#[derive(Debug, Clone)]
pub struct Change {
    /// The writes, in order. If one is refused, none is made.
    pub writes: Vec<Write>,
    /// The act. It becomes an audit entry, which is also the event that others hear.
    pub act: Act,
}

/// One write.
#[derive(Debug, Clone)]
pub enum Write {
    /// Marks a one-time token as used; [`StoreError::Spent`] if it was.
    Spend {
        /// SHA-256 over the provisioner's id and the token's `jti`.
        token: [u8; 32],
        /// After this the token is refused anyhow. It is remembered for a day longer, because clocks are set back.
        expires: Timestamp,
    },
    /// Writes a device; [`StoreError::Changed`] unless the stored version is `expected` (`None`: there is none).
    Device {
        /// The device as it shall be, with its new version.
        device: Device,
        /// The version that the change was prepared on.
        expected: Option<u64>,
    },
    /// Adds a certificate; [`StoreError::Compromised`] if its key is known to be, [`StoreError::NotIssuing`] if its issuer
    /// is recorded and not active.
    Certificate(Certificate),
    /// Remembers for good that a key is compromised; nothing happens if that is known.
    Compromise {
        /// SHA-256 over the key's SubjectPublicKeyInfo.
        key: [u8; 32],
        /// Since when.
        at: Timestamp,
    },
    /// Changes a certificate's status; [`StoreError::Changed`] unless it is `from`.
    Status {
        /// Which.
        serial: Serial,
        /// What it must be now.
        from: Status,
        /// What it shall be.
        to: Status,
    },
    /// Adds an enrolment token.
    Token(EnrolmentToken),
    /// Withdraws an enrolment token; [`StoreError::Changed`] if it is withdrawn already.
    WithdrawToken {
        /// The token's id.
        id: String,
        /// Since when.
        at: Timestamp,
    },
    /// Binds a use of an enrolment token; [`StoreError::Changed`] if it has no use left, was withdrawn, or has bound this
    /// key.
    Bind(Binding),
    /// Takes back a use that this key has, which is free again; [`StoreError::Changed`] if there is none.
    Unbind {
        /// The token's id.
        token: String,
        /// SHA-256 over the SubjectPublicKeyInfo of the key.
        key: [u8; 32],
    },
    /// Marks the use that this key has as confirmed; nothing happens if there is none, or if it was confirmed before.
    Confirm {
        /// The token's id.
        token: String,
        /// SHA-256 over the SubjectPublicKeyInfo of the key.
        key: [u8; 32],
        /// When.
        at: Timestamp,
    },
    /// Adds an authority or a generation, or changes a generation's stage.
    Authority {
        /// The authority's name.
        name: String,
        /// The generation as it shall be.
        generation: Generation,
    },
    /// Adds a provisioner; [`StoreError::Exists`] if its name is taken.
    Provisioner(Provisioner),
    /// Removes a provisioner.
    RemoveProvisioner(String),
    /// Adds an operator; [`StoreError::Exists`] if the name is taken.
    Operator(Operator),
    /// Removes an operator.
    RemoveOperator(String),
    /// Changes what an operator logs in with; [`StoreError::Changed`] if there is no such operator.
    Login {
        /// The operator's name.
        name: String,
        /// What it logs in with from now on.
        login: Login,
    },
    /// Changes what an operator may do; [`StoreError::Changed`] if there is no such operator.
    Role {
        /// The operator's name.
        name: String,
        /// What it may do from now on.
        role: Role,
    },
    /// Changes an operator's API key, or takes it away; [`StoreError::Changed`] if there is no such operator.
    ApiKey {
        /// The operator's name.
        name: String,
        /// SHA-256 over the key from now on.
        key: Option<[u8; 32]>,
    },
    /// Puts something new into the drawer; [`StoreError::Exists`] if its key is taken, even by what has run out.
    Keep(Kept),
    /// Takes something out of the drawer; [`StoreError::Changed`] if nothing is there.
    Drop(String),
    /// Keeps an issuer's newest CRL.
    Crl(Crl),
    /// Writes a broker; [`StoreError::Changed`] unless the stored version is `expected` (`None`: there is none).
    Broker {
        /// The broker as it shall be, with its new version.
        broker: Broker,
        /// The version that the change was prepared on.
        expected: Option<u64>,
    },
    /// Gives a device topic rules of its own, or takes them away.
    Access {
        /// The device.
        name: DeviceName,
        /// Its rules; `None`: those of its profile.
        rules: Option<Rules>,
    },
}

/// Something in the drawer: what a protocol or the GUI has to remember for a while, such as a session.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept {
    /// What it is found by: a word, a slash, and what makes it unique.
    pub key: String,
    /// Bytes that mean something to whoever put them there.
    pub value: Vec<u8>,
    /// From then on it is as good as gone.
    pub expires: Timestamp,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// One use of an enrolment token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The token's id.
    pub token: String,
    /// The device that came with it.
    pub device: DeviceName,
    /// SHA-256 over the SubjectPublicKeyInfo of the device's key.
    pub key: [u8; 32],
    /// The certificate it got.
    pub serial: Serial,
    /// When.
    pub at: Timestamp,
    /// Since when the device is known to have its certificate: the token does not give it again.
    pub confirmed: Option<Timestamp>,
}

/// An entry of a CRL, as it is read for building one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedEntry {
    /// Which certificate.
    pub serial: Serial,
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub reason: muster_pki::crl::Reason,
}

/// A CRL that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crl {
    /// The issuer's authority.
    pub authority: String,
    /// The issuer's generation; 0 is the root.
    pub generation: u32,
    /// Its number.
    pub number: u64,
    /// From when it holds.
    pub this_update: Timestamp,
    /// Until when it holds.
    pub next_update: Timestamp,
    /// How many entries it has.
    pub entries: u64,
    /// The audit entry up to which every revocation is in it.
    pub covers: u64,
    /// The list, DER.
    pub der: Vec<u8>,
}

/// What certificates are like that their holders renew without anybody's doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renewing {
    /// The profiles they follow.
    pub profiles: Vec<String>,
    /// How they were asked for, without what follows the colon.
    pub ways: Vec<String>,
}

/// A device whose last certificate runs out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unrenewed {
    /// The device.
    pub device: DeviceName,
    /// When its last certificate runs out.
    pub not_after: Timestamp,
    /// Whether it should have been renewed by itself by now.
    pub overdue: bool,
}

/// How many there are, Muster's own not counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Certificates that are neither revoked nor expired.
    pub active: u64,
    /// Of those, how many run out within seven days.
    pub expiring: u64,
    /// Certificates that ran out without being revoked.
    pub expired: u64,
    /// Certificates that are revoked or on hold, expired or not.
    pub revoked: u64,
    /// Devices, each combination that there is.
    pub devices: Vec<DeviceCount>,
}

impl Counts {
    /// Devices of any kind and state.
    pub fn all_devices(&self) -> u64 {
        self.devices.iter().map(|devices| devices.count).sum()
    }
}

/// How many devices are the same in these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceCount {
    /// What they may be.
    pub kind: Kind,
    /// Where they are in their life.
    pub state: State,
    /// How many.
    pub count: u64,
}

/// How many certificates run out on one day and are the same in these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiries {
    /// Days since 1970, UTC.
    pub day: i64,
    /// The profile they follow.
    pub profile: String,
    /// How they were asked for, without what follows the colon.
    pub how: String,
    /// How many.
    pub count: u64,
}
