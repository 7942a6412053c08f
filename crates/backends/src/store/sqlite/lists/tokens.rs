//! Enrolment tokens. Their ids are in the order in which they were made.

use muster_ca::list::{Page, TokenList, TokenStatus};
use muster_ca::token::EnrolmentToken;
use rusqlite::Connection;

use super::super::fault::Fault;
use super::super::look::{Clause, Look, to_value};
use super::super::rows::{self, TOKEN, first, millis};

pub(in super::super) fn tokens(conn: &Connection, list: &TokenList) -> Result<Page<EnrolmentToken>, Fault> {
    let snapshot = conn.unchecked_transaction()?;
    let mut range = Clause::default();
    range.and_maybe("id = ?", list.id.clone());
    let look = Look {
        from: "tokens".into(),
        range,
        filter: filter(list),
        order: &["id"],
        descending: list.descending,
        rest: None,
    };
    let sql = format!("SELECT {TOKEN} FROM tokens WHERE id = ?1");
    look.page(&snapshot, &list.paging, |conn, id| {
        first(conn, &sql, [to_value(id)], rows::token)
    })
}

/// The statuses are told apart in the order in which they are shown: withdrawn, used up, expired, open.
fn filter(list: &TokenList) -> Clause {
    let mut clause = Clause::default();
    let now = millis(list.now);
    match list.status {
        None => {}
        Some(TokenStatus::Withdrawn) => clause.and("withdrawn IS NOT NULL", []),
        Some(TokenStatus::UsedUp) => clause.and("withdrawn IS NULL AND used >= uses", []),
        Some(TokenStatus::Expired) => {
            clause.and("withdrawn IS NULL AND used < uses AND expires < ?", [now.into()])
        }
        Some(TokenStatus::Open) => {
            clause.and("withdrawn IS NULL AND used < uses AND expires >= ?", [now.into()])
        }
    }
    clause.and_maybe("profile = ?", list.profile.clone());
    if !list.prefix.is_empty() {
        let named = Clause::begins("wave", &list.prefix).or(Clause::begins("device", &list.prefix));
        clause.and_all(named.or(Clause::begins("id", &list.prefix)));
    }
    clause
}
