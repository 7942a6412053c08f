//! What only this store does: files, logs, full disks.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use muster_ca::audit::Entry;
use muster_ca::list::{CertificateList, Paging};
use muster_ca::ports::{Store, StoreError, Write};
use rusqlite::Connection;
use tempfile::TempDir;

use super::writer::Job;
use super::{OpenError, SqliteStore};
use crate::store::contract::{certificate, change, device, name, newest, noon, serial, store_contract};

const SEED: [u8; 16] = [0xab; 16];

fn place() -> (TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("muster.db");
    (dir, path)
}

/// Runs something on the writer's connection, inside its transaction.
async fn on_writer<T: Send + 'static>(
    store: &SqliteStore,
    act: impl FnOnce(&Connection) -> T + Send + 'static,
) -> Result<T, StoreError> {
    let slot = Arc::new(Mutex::new(None));
    let filled = Arc::clone(&slot);
    let job = Job::Run(Box::new(move |conn| *filled.lock().unwrap() = Some(act(conn))));
    store.queue.ask(job).await?;
    Ok(slot.lock().unwrap().take().unwrap())
}

async fn issue(store: &SqliteStore, number: u64) -> Result<(), StoreError> {
    let text = format!("site-{number}");
    let writes = vec![
        Write::Spend {
            token: [u8::try_from(number % 256).unwrap(); 32],
            expires: noon(),
        },
        Write::Device {
            device: device(&text, None),
            expected: None,
        },
        Write::Certificate(certificate(number, &text, 30)),
    ];
    store.commit(change("certificate.issued", &text, writes)).await
}

#[tokio::test]
async fn it_keeps_the_contract() {
    let (_dir, path) = place();
    let store = SqliteStore::create(&path, SEED).unwrap();
    store_contract(&store).await;
    let newest = newest(&store, 1).await;
    assert_eq!(newest[0].writer, "ab".repeat(16));
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_stop() {
    let (dir, path) = place();
    let store = SqliteStore::create(&path, SEED).unwrap();
    issue(&store, 1).await.unwrap();
    drop(store);
    let files: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    assert_eq!(files, ["muster.db"], "a clean stop leaves no log");
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );

    let store = SqliteStore::open(&path).unwrap();
    assert!(store.device(&name("site-1")).await.unwrap().is_some());
    issue(&store, 2).await.unwrap();
    let chain = store.entries(0, 10).await.unwrap();
    assert!(
        chain[0].follows([0; 32]) && chain[1].follows(chain[0].hash),
        "the chain goes on where it stopped"
    );
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_crash() {
    let (dir, path) = place();
    let store = SqliteStore::create(&path, SEED).unwrap();
    for number in 1..=20 {
        issue(&store, number).await.unwrap();
        let crashed = dir.path().join(format!("crash-{number}.db"));
        for suffix in ["", "-wal"] {
            let file = |path: &Path| std::path::PathBuf::from(format!("{}{suffix}", path.display()));
            std::fs::copy(file(&path), file(&crashed)).unwrap();
        }
        let copy = SqliteStore::open(&crashed).unwrap();
        assert!(
            copy.certificate(&serial(number)).await.unwrap().is_some(),
            "{number}"
        );
        let chain = copy.entries(0, 100).await.unwrap();
        assert_eq!(chain.len() as u64, number);
        assert!(holds(&chain));
        assert_eq!(copy.counts(noon()).await.unwrap().active, number);
        let again = vec![Write::Spend {
            token: [u8::try_from(number).unwrap(); 32],
            expires: noon(),
        }];
        assert_eq!(
            copy.commit(change("token.spent", "t", again)).await,
            Err(StoreError::Spent)
        );
    }
}

#[tokio::test]
async fn a_token_stays_spent_wherever_it_is_kept() {
    let (_dir, path) = place();
    let mut store = SqliteStore::create(&path, SEED).unwrap();
    let spend = |number: u8| {
        let (token, expires) = ([number; 32], noon());
        change("token.spent", "t", vec![Write::Spend { token, expires }])
    };
    for number in 0..70 {
        let mut rehearsed = spend(number);
        rehearsed.act.dry_run = true;
        assert_eq!(store.commit(rehearsed).await, Ok(()));
        assert_eq!(store.is_spent(&[number; 32], noon()).await, Ok(false));
        assert_eq!(store.commit(spend(number)).await, Ok(()));
        assert_eq!(store.is_spent(&[number; 32], noon()).await, Ok(true));
        if number == 50 {
            drop(store);
            store = SqliteStore::open(&path).unwrap();
        }
    }
    for number in 0..70 {
        assert_eq!(store.is_spent(&[number; 32], noon()).await, Ok(true), "{number}");
        assert_eq!(
            store.commit(spend(number)).await,
            Err(StoreError::Spent),
            "{number}"
        );
    }
    let count = |table| format!("SELECT count(*) FROM {table}");
    let rows = |sql: String| {
        on_writer(&store, move |conn| {
            conn.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap()
        })
    };
    let (waiting, sorted) = (
        rows(count("spent_lately")).await.unwrap(),
        rows(count("spent")).await.unwrap(),
    );
    assert!(
        waiting <= 20 && waiting + sorted == 70,
        "{waiting} wait, {sorted} are sorted in"
    );
}

fn holds(chain: &[Entry]) -> bool {
    let mut before = [0; 32];
    chain
        .iter()
        .all(|entry| entry.follows(std::mem::replace(&mut before, entry.hash)))
}

#[tokio::test]
async fn a_page_looks_at_so_many_rows_and_no_more() {
    let (_dir, path) = place();
    let store = SqliteStore::create(&path, SEED).unwrap();
    for number in 0..200 {
        issue(&store, number).await.unwrap();
    }
    let mut list = CertificateList {
        authority: Some("nobody".into()),
        paging: Paging {
            cursor: None,
            limit: 10,
        },
        ..CertificateList::default()
    };
    let mut pages = 0;
    loop {
        let page = store.certificates(list.clone()).await.unwrap();
        pages += 1;
        assert_eq!(page.items, []);
        assert_eq!(page.cut_short, page.next.is_some());
        match page.next {
            Some(next) => list.paging.cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(pages, 4, "60 rows a page in tests");
}

#[tokio::test]
async fn audit_entries_cannot_be_changed_or_deleted() {
    let (_dir, path) = place();
    let store = SqliteStore::create(&path, SEED).unwrap();
    issue(&store, 1).await.unwrap();
    for sql in [
        "UPDATE audit SET actor = 'mallory'",
        "DELETE FROM audit",
        "UPDATE audit SET hash = x'00' WHERE sequence = 1",
    ] {
        let refused = on_writer(&store, move |conn| conn.execute(sql, []).unwrap_err().to_string())
            .await
            .unwrap();
        assert!(refused.contains("audit entries are never"), "{refused}");
    }
    assert!(holds(&store.entries(0, 10).await.unwrap()));
}

#[tokio::test]
async fn a_full_disk_is_said_and_gets_over() {
    let (_dir, path) = place();
    let store = SqliteStore::create(&path, SEED).unwrap();
    issue(&store, 1).await.unwrap();
    let limit = |pages: i64| {
        on_writer(&store, move |conn| {
            let used: i64 = conn.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
            conn.query_row(&format!("PRAGMA max_page_count = {}", used + pages), [], |row| {
                row.get::<_, i64>(0)
            })
            .unwrap();
        })
    };
    limit(3).await.unwrap();
    let mut recorded = 1;
    let refused = loop {
        match issue(&store, recorded + 1).await {
            Ok(()) => recorded += 1,
            Err(why) => break why,
        }
    };
    assert_eq!(refused, StoreError::Full);
    assert_eq!(
        store.probe(noon()).await,
        Err(StoreError::Full),
        "the readiness check finds out too"
    );
    let many = (0..8).map(|n| issue(&store, recorded + 1 + n));
    let outcomes = crate::store::contract::together(many).await;
    assert!(outcomes.contains(&Err(StoreError::Full)), "{outcomes:?}");
    let now_recorded = store.counts(noon()).await.unwrap().active;
    assert_eq!(
        now_recorded - recorded,
        outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u64
    );
    assert!(
        store.certificate(&serial(recorded)).await.unwrap().is_some(),
        "reads go on"
    );

    limit(1_000_000).await.unwrap();
    issue(&store, 500).await.unwrap();
    store.probe(noon()).await.unwrap();
    let chain = store.entries(0, 1_000).await.unwrap();
    assert!(holds(&chain));
    assert_eq!(chain.len() as u64, now_recorded + 1);
}

#[tokio::test]
async fn the_log_is_moved_and_started_again_under_load() {
    let (dir, path) = place();
    let store = SqliteStore::create(&path, SEED).unwrap();
    for round in 0..600u64 {
        let mut big = certificate(round, "big", 30);
        big.der = vec![0x30; 400_000];
        store
            .commit(change("certificate.issued", "big", vec![Write::Certificate(big)]))
            .await
            .unwrap();
    }
    let log = std::fs::metadata(dir.path().join("muster.db-wal")).unwrap().len();
    assert!(
        log < 190 * 1024 * 1024,
        "240 MB were written and the log has {log} bytes"
    );
}

#[test]
fn files_that_are_not_ours_are_refused_with_words() {
    let (dir, path) = place();
    assert!(matches!(SqliteStore::open(&path), Err(OpenError::Missing(_))));
    drop(SqliteStore::create(&path, SEED).unwrap());
    assert!(matches!(
        SqliteStore::create(&path, SEED),
        Err(OpenError::Exists(_))
    ));

    Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let newer = SqliteStore::open(&path).unwrap_err();
    assert!(
        newer.to_string().contains("version 99") && newer.to_string().contains("up to 1"),
        "{newer}"
    );

    let text = dir.path().join("text");
    std::fs::write(&text, "not a database ".repeat(100)).unwrap();
    assert!(matches!(SqliteStore::open(&text), Err(OpenError::Foreign(_))));
    let other = dir.path().join("other.db");
    Connection::open(&other)
        .unwrap()
        .execute_batch("CREATE TABLE t (x)")
        .unwrap();
    assert!(matches!(SqliteStore::open(&other), Err(OpenError::Foreign(_))));
    let empty = dir.path().join("empty.db");
    std::fs::write(&empty, "").unwrap();
    assert!(matches!(SqliteStore::open(&empty), Err(OpenError::Foreign(_))));
    drop(SqliteStore::create(&empty, SEED).unwrap());
    SqliteStore::open(&empty).unwrap();
}
