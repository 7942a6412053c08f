//! What makes random values findable: small tables beside the large ones, filled off the commit path.
//!
//! Each covers its large table in segments of so many rows. Within a segment the values are sorted, so that adding touches
//! a few pages that are at hand, however large the fleet; a search asks every segment, which is a few microseconds each.

use muster_ca::list::{Digits, Search};
use muster_pki::key::sha256;
use rusqlite::{Connection, params};

use super::super::fault::Fault;
use super::super::look::FEW;
use super::super::rows::{all, first, run};

type Read<T> = Result<T, Fault>;

/// So many rows of the large table make a segment, as a power of two.
const SEGMENT: u32 = 16;
/// The most rows that are added at once, so that commits get their turn.
const STEP: usize = 1_024;
/// Octets that are kept of a hash.
const KEPT: usize = 8;
/// The acts of a fleet that nobody has to look after. They are nearly all there are, and are found without help.
const DAILY: [&str; 2] = ["certificate.issued", "certificate.renewed"];

/// A value as it is kept: the beginning of its hash.
pub(in super::super) type Word = [u8; KEPT];

/// Whom or what an entry is about, without the serial number.
pub(super) fn subject(subject: &str) -> Word {
    word("subject", about(subject))
}

/// Who acted.
pub(super) fn actor(actor: &str) -> Word {
    word("actor", actor)
}

/// What was done.
pub(super) fn action(action: &str) -> Word {
    word("action", action)
}

/// Whether an act is not kept, since a walk finds enough of them.
pub(super) fn is_daily(action: &str) -> bool {
    DAILY.contains(&action)
}

fn about(subject: &str) -> &str {
    subject.split(' ').next().unwrap_or_default()
}

fn word(what: &str, value: &str) -> Word {
    beginning(&sha256(format!("{what} {value}").as_bytes()))
}

fn beginning(hash: &[u8; 32]) -> Word {
    let mut kept = [0; KEPT];
    kept.copy_from_slice(&hash[..KEPT]);
    kept
}

/// What is to be added, sorted: segment, value, row.
#[derive(Default)]
pub(in super::super) struct News {
    fingerprints: Vec<(i64, Word, i64)>,
    words: Vec<(i64, Word, i64)>,
    /// The last certificate and the last entry that are in it.
    upto: [i64; 2],
    /// Whether there is more.
    pub(in super::super) more: bool,
}

impl News {
    pub(in super::super) fn is_empty(&self) -> bool {
        self.fingerprints.is_empty() && self.words.is_empty()
    }
}

/// How far the small tables go: the last certificate, the last entry.
fn upto(conn: &Connection) -> Read<[i64; 2]> {
    let sql = "SELECT certificate, entry FROM findable";
    Ok(first(conn, sql, [], |row| Ok([row.get(0)?, row.get(1)?]))?.unwrap_or_default())
}

/// Reads what was recorded since the last time.
pub(in super::super) fn news(conn: &Connection) -> Read<News> {
    let mut news = News {
        upto: upto(conn)?,
        ..News::default()
    };
    let sql = format!("SELECT id, der, key FROM certificates WHERE id > ?1 ORDER BY id LIMIT {STEP}");
    let rows = all(conn, &sql, [news.upto[0]], |row| {
        let der = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        Ok((row.get::<_, i64>(0)?, sha256(der), row.get::<_, [u8; 32]>(2)?))
    })?;
    news.more = rows.len() == STEP;
    for (id, certificate, key) in rows {
        news.upto[0] = id;
        for hash in [certificate, key] {
            news.fingerprints.push((id >> SEGMENT, beginning(&hash), id));
        }
    }
    let sql = format!(
        "SELECT sequence, actor, action, subject FROM audit WHERE sequence > ?1 ORDER BY sequence LIMIT {STEP}"
    );
    let rows = all(conn, &sql, [news.upto[1]], |row| {
        let text = |column| Ok::<_, Fault>(row.get::<_, String>(column)?);
        Ok((row.get::<_, i64>(0)?, text(1)?, text(2)?, text(3)?))
    })?;
    news.more |= rows.len() == STEP;
    for (sequence, who, what, whom) in rows {
        news.upto[1] = sequence;
        let mut add = |word| news.words.push((sequence >> SEGMENT, word, sequence));
        add(subject(&whom));
        if who != about(&whom) {
            add(actor(&who));
        }
        if !is_daily(&what) {
            add(action(&what));
        }
    }
    news.fingerprints.sort_unstable();
    news.words.sort_unstable();
    Ok(news)
}

/// Adds it. What another one added meanwhile is left as it is.
pub(in super::super) fn add(conn: &Connection, news: &News) -> Read<()> {
    let tables = [
        (
            "INSERT OR IGNORE INTO fingerprints (segment, hash, certificate) VALUES (?1, ?2, ?3)",
            &news.fingerprints,
        ),
        (
            "INSERT OR IGNORE INTO words (segment, hash, entry) VALUES (?1, ?2, ?3)",
            &news.words,
        ),
    ];
    for (sql, rows) in tables {
        for (segment, hash, row) in rows {
            run(conn, sql, params![segment, hash, row])?;
        }
    }
    let sql = "UPDATE findable SET certificate = max(certificate, ?1), entry = max(entry, ?2)";
    run(conn, sql, news.upto)?;
    Ok(())
}

/// The certificates that have this serial number or fingerprint; no more than are few.
pub(super) fn certificates(conn: &Connection, search: &Search) -> Read<Vec<i64>> {
    let mut found = Vec::new();
    if let Some(serial) = &search.decimal {
        let sql = "SELECT id FROM certificates WHERE serial = ?1";
        found.extend(first(conn, sql, [serial.as_bytes()], |row| {
            Ok(row.get::<_, i64>(0)?)
        })?);
    }
    if let Some(digits) = &search.digits {
        found.extend(with_serial(conn, digits)?);
        found.extend(with_fingerprint(conn, digits)?);
    }
    found.sort_unstable();
    found.dedup();
    found.truncate(FEW);
    Ok(found)
}

fn with_serial(conn: &Connection, digits: &Digits) -> Read<Vec<i64>> {
    let least = digits.least();
    let (_, greatest) = digits.range(20.max(least.len()));
    let sql = format!("SELECT id FROM certificates WHERE serial BETWEEN ?1 AND ?2 LIMIT {FEW}");
    all(conn, &sql, params![least, greatest], |row| Ok(row.get(0)?))
}

/// What is kept of a hash may be shorter than what was asked for, so each is compared with the whole.
fn with_fingerprint(conn: &Connection, digits: &Digits) -> Read<Vec<i64>> {
    let (least, greatest) = digits.range(KEPT);
    let sql = format!(
        "SELECT certificate FROM fingerprints WHERE segment = ?1 AND hash BETWEEN ?2 AND ?3 LIMIT {FEW}"
    );
    let whole = "SELECT der, key FROM certificates WHERE id = ?1";
    let mut found = Vec::new();
    for segment in (0..=upto(conn)?[0] >> SEGMENT).rev() {
        let rows = all(conn, &sql, params![segment, least, greatest], |row| {
            Ok(row.get::<_, i64>(0)?)
        })?;
        for id in rows {
            let fits = first(conn, whole, [id], |row| {
                let der = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
                Ok(digits.begin(&sha256(der)) || digits.begin(&row.get::<_, [u8; 32]>(1)?))
            })?;
            if fits == Some(true) {
                found.push(id);
            }
        }
        if found.len() >= FEW {
            break;
        }
    }
    Ok(found)
}

/// The first entries, in this order, of a window that may have one of these words; no more than are few. Entries that are
/// not in the small table yet are among them.
pub(super) fn entries(
    conn: &Connection,
    words: &[Word],
    [from, to]: [i64; 2],
    descending: bool,
) -> Read<Vec<i64>> {
    let [_, upto] = upto(conn)?;
    let order = if descending { "DESC" } else { "ASC" };
    let sql = format!(
        "SELECT sequence FROM audit WHERE sequence BETWEEN ?1 AND ?2 ORDER BY sequence {order} LIMIT {FEW}"
    );
    let mut found = all(conn, &sql, [from.max(upto + 1), to], |row| {
        Ok(row.get::<_, i64>(0)?)
    })?;
    let sql = format!(
        "SELECT entry FROM words WHERE segment = ?1 AND hash = ?2 AND entry BETWEEN ?3 AND ?4
         ORDER BY entry {order} LIMIT {FEW}"
    );
    let mut segments: Vec<i64> = ((from >> SEGMENT)..=(to.min(upto) >> SEGMENT)).collect();
    if descending {
        segments.reverse();
    }
    for word in words {
        let mut of_word = Vec::new();
        for segment in &segments {
            of_word.extend(all(conn, &sql, params![segment, word, from, to], |row| {
                Ok(row.get::<_, i64>(0)?)
            })?);
            if of_word.len() >= FEW {
                break;
            }
        }
        found.extend(of_word);
    }
    found.sort_unstable();
    found.dedup();
    if descending {
        found.reverse();
    }
    found.truncate(FEW);
    Ok(found)
}
