//! A look through a table: along an index, from a cursor, either way, until a page is full or as many rows were looked at
//! as a page may.

use muster_ca::list::{Cursor, MAX_LIMIT, Page, Paging, Part};
use muster_ca::ports::StoreError;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row, params_from_iter};

use super::fault::Fault;
use super::rows::all;

type Read<T> = Result<T, Fault>;

/// The most rows that one page looks at.
const LOOK: usize = if cfg!(test) { 60 } else { 10_000 };
/// A set up to this size is sorted as it is wanted; a larger one is walked along the index of its order.
pub(super) const FEW: usize = if cfg!(test) { 30 } else { 2_000 };
/// Sorts behind every name with the same beginning.
const LAST_CHARACTER: char = char::MAX;

/// Conditions that must all hold, with their values.
#[derive(Debug, Clone, Default)]
pub(super) struct Clause {
    sql: String,
    values: Vec<Value>,
}

impl Clause {
    /// One condition.
    pub(super) fn of(condition: &str, values: impl IntoIterator<Item = Value>) -> Self {
        let mut clause = Self::default();
        clause.and(condition, values);
        clause
    }

    /// Names, in this column, that begin so.
    pub(super) fn begins(column: &str, prefix: &str) -> Self {
        let end = format!("{prefix}{LAST_CHARACTER}");
        let values = [prefix.to_owned().into(), end.into()];
        Self::of(&format!("{column} >= ? AND {column} < ?"), values)
    }

    /// Another condition.
    pub(super) fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        if !self.sql.is_empty() {
            self.sql.push_str(" AND ");
        }
        self.sql.push_str(condition);
        self.values.extend(values);
    }

    /// Another condition, if there is a value for it.
    pub(super) fn and_maybe(&mut self, condition: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.and(condition, [value.into()]);
        }
    }

    /// Either these conditions or those.
    pub(super) fn or(mut self, other: Self) -> Self {
        self.sql = format!("({} OR {})", self.sql(), other.sql());
        self.values.extend(other.values);
        self
    }

    /// The conditions of another one, too.
    pub(super) fn and_all(&mut self, other: Self) {
        self.and(&other.sql, other.values);
    }

    fn sql(&self) -> &str {
        if self.sql.is_empty() { "TRUE" } else { &self.sql }
    }
}

/// The values of a set as one value, and the condition that `column` is among them.
pub(super) fn among(column: &str, set: &[Value]) -> Clause {
    let json: Vec<serde_json::Value> = set
        .iter()
        .filter_map(|value| match value {
            Value::Integer(number) => Some((*number).into()),
            Value::Text(text) => Some(text.as_str().into()),
            Value::Null | Value::Real(_) | Value::Blob(_) => None,
        })
        .collect();
    let json = serde_json::Value::from(json).to_string();
    Clause::of(
        &format!("{column} IN (SELECT value FROM json_each(?))"),
        [json.into()],
    )
}

/// The keys that an index has for a range, if they are few.
pub(super) fn few(conn: &Connection, key: &str, from: &str, range: &Clause) -> Read<Option<Vec<Value>>> {
    let sql = format!("SELECT {key} FROM {from} WHERE {} LIMIT {}", range.sql(), FEW + 1);
    let found = all(conn, &sql, params_from_iter(&range.values), |row| {
        Ok(row.get::<_, Value>(0)?)
    })?;
    Ok((found.len() <= FEW).then_some(found))
}

/// What to look through, and for what.
pub(super) struct Look {
    /// The table with the index that has the order, or one that is small enough to be sorted.
    pub(super) from: String,
    /// What the index finds by itself.
    pub(super) range: Clause,
    /// What is asked of each row that is looked at.
    pub(super) filter: Clause,
    /// The columns of the order; the last is the table's key.
    pub(super) order: &'static [&'static str],
    /// Whether the greatest comes first.
    pub(super) descending: bool,
    /// If there may be more than `range` lets see: where that is.
    pub(super) rest: Option<Vec<Part>>,
}

/// What was seen on the way.
#[derive(Default)]
struct Seen {
    hits: Vec<Vec<Part>>,
    first: Option<Vec<Part>>,
    last: Option<Vec<Part>>,
    count: usize,
}

impl Look {
    /// The page; `fetch` reads a row by its key.
    pub(super) fn page<T>(
        self,
        conn: &Connection,
        paging: &Paging,
        fetch: impl Fn(&Connection, &Part) -> Read<Option<T>>,
    ) -> Read<Page<T>> {
        let cursor = paging.cursor.as_ref();
        if cursor.is_some_and(|cursor| !self.gave(cursor)) {
            return Err(Fault::Refused(StoreError::Cursor));
        }
        let limit = paging.limit.clamp(1, MAX_LIMIT);
        let back = cursor.is_some_and(|cursor| cursor.back);
        let mut seen = self.look(conn, cursor, limit + 1)?;
        let more = seen.hits.len() > limit;
        seen.hits.truncate(limit);
        let cut_short = !more && (seen.count == LOOK || self.rest.is_some());
        let ahead = if more {
            seen.hits.last().cloned()
        } else if seen.count == LOOK {
            seen.last
        } else {
            self.rest.clone()
        };
        // The page that was come from begins behind the first row of this one, whether that fits or not.
        let behind = cursor.map(|cursor| seen.first.unwrap_or_else(|| cursor.place.clone()));
        let cursor_at = |back: bool, place: Option<Vec<Part>>| {
            let order = self.tag();
            place.map(|place| Cursor { order, back, place })
        };
        let (next, previous) = if back {
            seen.hits.reverse();
            (behind, ahead)
        } else {
            (ahead, behind)
        };
        let (next, previous) = (cursor_at(false, next), cursor_at(true, previous));
        let keys = seen.hits.iter().filter_map(|hit| hit.last());
        let items: Read<Vec<Option<T>>> = keys.map(|key| fetch(conn, key)).collect();
        Ok(Page {
            items: items?.into_iter().flatten().collect(),
            next,
            previous,
            cut_short,
        })
    }

    fn look(&self, conn: &Connection, cursor: Option<&Cursor>, wanted: usize) -> Read<Seen> {
        let descending = self.descending != cursor.is_some_and(|cursor| cursor.back);
        let (word, than) = if descending { ("DESC", "<") } else { ("ASC", ">") };
        let mut range = self.range.clone();
        if let Some(cursor) = cursor {
            let marks = vec!["?"; self.order.len()].join(", ");
            let condition = format!("({}) {than} ({marks})", self.order.join(", "));
            range.and(&condition, cursor.place.iter().map(to_value));
        }
        let order: Vec<_> = self
            .order
            .iter()
            .map(|column| format!("{column} {word}"))
            .collect();
        let sql = format!(
            "SELECT {}, ({}) FROM {} WHERE {} ORDER BY {} LIMIT {LOOK}",
            self.order.join(", "),
            self.filter.sql(),
            self.from,
            range.sql(),
            order.join(", ")
        );
        let mut statement = conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(self.filter.values.iter().chain(&range.values)))?;
        let mut seen = Seen::default();
        while seen.hits.len() < wanted
            && let Some(row) = rows.next()?
        {
            seen.count += 1;
            let fits = row.get::<_, Option<bool>>(self.order.len())?.unwrap_or(false);
            if !fits && seen.count > 1 && seen.count < LOOK {
                continue;
            }
            let place = self.place(row)?;
            if seen.count == 1 {
                seen.first = Some(place.clone());
            }
            if seen.count == LOOK {
                seen.last = Some(place.clone());
            }
            if fits {
                seen.hits.push(place);
            }
        }
        Ok(seen)
    }

    fn place(&self, row: &Row<'_>) -> Read<Vec<Part>> {
        (0..self.order.len())
            .map(|column| match row.get_ref(column)? {
                ValueRef::Integer(number) => Ok(Part::Number(number)),
                ValueRef::Text(text) => Ok(Part::Text(String::from_utf8_lossy(text).into_owned())),
                ValueRef::Blob(octets) => Ok(Part::Bytes(octets.to_vec())),
                ValueRef::Null | ValueRef::Real(_) => Err(Fault::damaged("sorted column")),
            })
            .collect()
    }

    /// How the order is called in cursors.
    fn tag(&self) -> String {
        let word = if self.descending { "-" } else { "+" };
        format!("{word}{}", self.order.join(","))
    }

    fn gave(&self, cursor: &Cursor) -> bool {
        cursor.order == self.tag() && cursor.place.len() == self.order.len()
    }
}

/// A value of a cursor as it is compared.
pub(super) fn to_value(part: &Part) -> Value {
    match part {
        Part::Number(number) => (*number).into(),
        Part::Text(text) => text.clone().into(),
        Part::Bytes(octets) => octets.clone().into(),
    }
}
