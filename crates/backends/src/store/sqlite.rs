//! The store on SQLite: one file, one writer, group commit.
//!
//! [`SqliteStore::commit`](Store::commit) puts a change into a queue; one thread takes whatever has queued up, writes
//! it as one transaction and answers everybody when it is on the disk (write-ahead log, `synchronous = FULL`). Reads go
//! past the queue on connections of their own and see what was committed. Another thread moves the log into the
//! database off the commit path.

mod apply;
mod brokers;
mod checkpoint;
mod fault;
mod insert;
mod lists;
mod look;
mod open;
mod pages;
mod read;
mod readers;
mod rows;
mod spent;
mod tally;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;

use async_trait::async_trait;
use jiff::Timestamp;
use muster_ca::access::Rules;
use muster_ca::audit::Entry;
use muster_ca::authority::Authority;
use muster_ca::broker::Broker;
use muster_ca::certificate::{Certificate, Serial};
use muster_ca::device::{Device, DeviceName};
use muster_ca::list::{AuditList, CertificateList, DeviceList, Page, Paging, TokenList};
use muster_ca::operator::Operator;
use muster_ca::ports::{
    Binding, Change, Counts, Crl, Expiries, Kept, Renewing, RevokedEntry, Store, StoreError, Unrenewed,
};
use muster_ca::provisioner::Provisioner;
use muster_ca::token::EnrolmentToken;

use lists::{audit, certificates, devices, find, tokens};
pub use open::OpenError;
use readers::Readers;
use writer::{Job, Queue};

/// A store in one file. Dropping it waits until what is queued is on the disk and the log is empty.
pub struct SqliteStore {
    // Dropped first, so that the writer is the last to close the file and can remove the log.
    readers: Readers,
    queue: Queue,
}

impl SqliteStore {
    /// Makes the file, mode 0600, in a directory that exists. `writer_seed` is 16 random bytes: in hexadecimal they
    /// name the audit chain that this database writes.
    pub fn create(path: &Path, writer_seed: [u8; 16]) -> Result<Self, OpenError> {
        Self::start(open::create(path, writer_seed)?)
    }

    /// Opens a file that [`SqliteStore::create`] made, and brings its schema up to date.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::start(open::existing(path)?)
    }

    fn start((database, writer): (open::Database, rusqlite::Connection)) -> Result<Self, OpenError> {
        Ok(Self {
            readers: Readers::open(&database)?,
            queue: Queue::start(&database, writer)?,
        })
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SqliteStore")
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, change: Change) -> Result<(), StoreError> {
        self.queue.ask(Job::Commit(Box::new(change))).await.map(drop)
    }

    async fn device(&self, name: &DeviceName) -> Result<Option<Device>, StoreError> {
        self.readers.look_up(|conn| read::device(conn, name.as_str()))
    }

    async fn devices(&self, list: DeviceList) -> Result<Page<Device>, StoreError> {
        self.readers.walk(move |conn| devices::devices(conn, &list)).await
    }

    async fn servers(&self) -> Result<Vec<DeviceName>, StoreError> {
        self.readers.walk(pages::servers).await
    }

    async fn living(&self, name: &DeviceName, now: Timestamp, most: usize) -> Result<usize, StoreError> {
        self.readers
            .look_up(|conn| read::living(conn, name.as_str(), now, most))
    }

    async fn certificates_of(
        &self,
        name: &DeviceName,
        since: Timestamp,
    ) -> Result<Vec<Certificate>, StoreError> {
        self.readers
            .look_up(|conn| read::certificates_of(conn, name.as_str(), since))
    }

    async fn certificate(&self, serial: &Serial) -> Result<Option<Certificate>, StoreError> {
        self.readers.look_up(|conn| read::certificate(conn, serial))
    }

    async fn certificates(&self, list: CertificateList) -> Result<Page<Certificate>, StoreError> {
        self.readers
            .walk(move |conn| certificates::certificates(conn, &list))
            .await
    }

    async fn revoked(
        &self,
        authority: &str,
        generation: u32,
        since: Timestamp,
    ) -> Result<(Vec<RevokedEntry>, u64), StoreError> {
        let authority = authority.to_owned();
        self.readers
            .walk(move |conn| pages::revoked(conn, &authority, generation, since))
            .await
    }

    async fn last_end(
        &self,
        authority: &str,
        generation: u32,
        now: Timestamp,
        but: &DeviceName,
    ) -> Result<Option<Timestamp>, StoreError> {
        let (authority, but) = (authority.to_owned(), but.as_str().to_owned());
        self.readers
            .walk(move |conn| pages::last_end(conn, &authority, generation, now, &but))
            .await
    }

    async fn last_day(
        &self,
        authority: &str,
        generation: u32,
        now: Timestamp,
        but: &DeviceName,
    ) -> Result<Option<Timestamp>, StoreError> {
        let (authority, but) = (authority.to_owned(), but.as_str().to_owned());
        self.readers
            .walk(move |conn| pages::last_day(conn, &authority, generation, now, &but))
            .await
    }

    async fn issued_by(&self, authority: &str, generation: u32, day: Timestamp) -> Result<u64, StoreError> {
        let authority = authority.to_owned();
        self.readers
            .walk(move |conn| pages::issued_by(conn, &authority, generation, day))
            .await
    }

    async fn counts(&self, now: Timestamp) -> Result<Counts, StoreError> {
        self.readers.walk(move |conn| pages::counts(conn, now)).await
    }

    async fn expiries(&self, from: Timestamp, days: u16) -> Result<Vec<Expiries>, StoreError> {
        self.readers
            .walk(move |conn| pages::expiries(conn, from, days))
            .await
    }

    async fn first_to_expire(&self, now: Timestamp) -> Result<Option<(Timestamp, Timestamp)>, StoreError> {
        self.readers.look_up(|conn| read::first_to_expire(conn, now))
    }

    async fn unrenewed(
        &self,
        now: Timestamp,
        renewing: Renewing,
        late_by: Option<Timestamp>,
        paging: Paging,
    ) -> Result<Page<Unrenewed>, StoreError> {
        self.readers
            .walk(move |conn| pages::unrenewed(conn, now, &renewing, late_by, &paging))
            .await
    }

    async fn authorities(&self) -> Result<Vec<Authority>, StoreError> {
        self.readers.look_up(read::authorities)
    }

    async fn provisioners(&self) -> Result<Vec<Provisioner>, StoreError> {
        self.readers.look_up(read::provisioners)
    }

    async fn brokers(&self) -> Result<Vec<Broker>, StoreError> {
        self.readers.look_up(brokers::brokers)
    }

    async fn access(
        &self,
        after: Option<&DeviceName>,
        limit: usize,
    ) -> Result<Vec<(DeviceName, Rules)>, StoreError> {
        let after = after.map(ToString::to_string);
        self.readers
            .walk(move |conn| brokers::access(conn, after.as_deref(), limit))
            .await
    }

    async fn access_of(&self, name: &DeviceName) -> Result<Option<Rules>, StoreError> {
        self.readers
            .look_up(|conn| brokers::access_of(conn, name.as_str()))
    }

    async fn head(&self) -> Result<u64, StoreError> {
        self.readers.look_up(pages::head)
    }

    async fn operators(&self) -> Result<Vec<Operator>, StoreError> {
        self.readers.look_up(read::operators)
    }

    async fn token(&self, hash: &[u8; 32]) -> Result<Option<EnrolmentToken>, StoreError> {
        self.readers.look_up(|conn| read::token(conn, hash))
    }

    async fn tokens(&self, list: TokenList) -> Result<Page<EnrolmentToken>, StoreError> {
        self.readers.walk(move |conn| tokens::tokens(conn, &list)).await
    }

    async fn recovery_codes(&self, name: &DeviceName, now: Timestamp) -> Result<Vec<String>, StoreError> {
        self.readers
            .look_up(|conn| read::recovery_codes(conn, name.as_str(), now))
    }

    async fn is_spent(&self, token: &[u8; 32], expires: Timestamp) -> Result<bool, StoreError> {
        self.readers.look_up(|conn| spent::is_spent(conn, token, expires))
    }

    async fn binding(&self, token: &str, key: &[u8; 32]) -> Result<Option<Binding>, StoreError> {
        self.readers.look_up(|conn| read::binding(conn, token, key))
    }

    async fn crl(&self, authority: &str, generation: u32) -> Result<Option<Crl>, StoreError> {
        self.readers
            .look_up(|conn| read::crl(conn, authority, generation))
    }

    async fn audit(&self, list: AuditList) -> Result<Page<Entry>, StoreError> {
        self.readers.walk(move |conn| audit::audit(conn, &list)).await
    }

    async fn entries(&self, after: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.readers
            .walk(move |conn| pages::entries(conn, after, limit))
            .await
    }

    async fn catch_up(&self) -> Result<(), StoreError> {
        loop {
            let news = self.readers.walk(find::news).await?;
            if news.is_empty() || !self.queue.ask(Job::Find(news)).await? {
                return Ok(());
            }
        }
    }

    async fn kept(&self, key: &str, now: Timestamp) -> Result<Option<Kept>, StoreError> {
        self.readers.look_up(|conn| read::kept(conn, key, now))
    }

    async fn kept_below(&self, word: &str, now: Timestamp, limit: usize) -> Result<Vec<Kept>, StoreError> {
        let word = word.to_owned();
        self.readers
            .walk(move |conn| read::kept_below(conn, &word, now, limit))
            .await
    }

    async fn jot(&self, kept: Kept) -> Result<(), StoreError> {
        self.queue.ask(Job::Jot(kept)).await.map(drop)
    }

    async fn extend(&self, key: &str, expires: Timestamp) -> Result<(), StoreError> {
        self.queue
            .ask(Job::Extend(key.to_owned(), expires))
            .await
            .map(drop)
    }

    async fn probe(&self, now: Timestamp) -> Result<(), StoreError> {
        self.queue.ask(Job::Probe(now)).await.map(drop)
    }

    async fn tidy(&self, now: Timestamp) -> Result<(), StoreError> {
        while self.queue.ask(Job::Tidy(now)).await? {}
        Ok(())
    }
}
