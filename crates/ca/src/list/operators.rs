//! Operators as a list. They are persons and programs, so few that they are read whole and paged here.

use std::cmp::Ordering;

use super::{Cursor, MAX_LIMIT, Page, Paging, Part, foreign_cursor};
use crate::error::Error;
use crate::operator::{Operator, Role};

/// What operators can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OperatorSort {
    /// Their name.
    #[default]
    Name,
    /// What they may do.
    Role,
    /// When they were added.
    Created,
}

/// A page of operators. What is left out does not narrow it.
#[derive(Debug, Clone, Default)]
pub struct OperatorList {
    /// With this role.
    pub role: Option<Role>,
    /// Whose name begins so, in whichever letters.
    pub prefix: String,
    /// The order.
    pub sort: OperatorSort,
    /// Whether the greatest comes first.
    pub descending: bool,
    /// Which page.
    pub paging: Paging,
}

/// What a row is sorted by; the name makes it the only one.
type Key = (i64, String, String);

impl OperatorList {
    /// The page of these operators.
    pub(crate) fn page(&self, mut all: Vec<Operator>) -> Result<Page<Operator>, Error> {
        let prefix = self.prefix.to_lowercase();
        all.retain(|one| {
            self.role.is_none_or(|role| role == one.role) && one.name.to_lowercase().starts_with(&prefix)
        });
        all.sort_by(|one, other| self.compare(&self.key(one), &self.key(other)));
        let limit = self.paging.limit.clamp(1, MAX_LIMIT);
        let (begin, end) = match &self.paging.cursor {
            None => (0, limit),
            Some(cursor) => {
                let place = self.place(cursor)?;
                let before = |one: &Operator| match self.compare(&self.key(one), &place) {
                    Ordering::Less => true,
                    // The row at the place belongs to neither page.
                    Ordering::Equal => !cursor.back,
                    Ordering::Greater => false,
                };
                let at = all.partition_point(before);
                if cursor.back {
                    (at.saturating_sub(limit), at)
                } else {
                    (at, at.saturating_add(limit))
                }
            }
        };
        let end = end.min(all.len());
        let next = (end < all.len()).then(|| self.cursor(all.get(end.checked_sub(1)?), false));
        let previous = (begin > 0).then(|| self.cursor(all.get(begin), true));
        all.truncate(end);
        Ok(Page {
            next: next.flatten(),
            previous: previous.flatten(),
            items: all.split_off(begin.min(end)),
            cut_short: false,
        })
    }

    fn key(&self, one: &Operator) -> Key {
        let (number, word) = match self.sort {
            OperatorSort::Name => (0, ""),
            OperatorSort::Role => (0, one.role.as_str()),
            OperatorSort::Created => (one.created.as_millisecond(), ""),
        };
        (number, word.to_owned(), one.name.clone())
    }

    fn compare(&self, one: &Key, other: &Key) -> Ordering {
        let order = one.cmp(other);
        if self.descending { order.reverse() } else { order }
    }

    fn order(&self) -> String {
        let word = match self.sort {
            OperatorSort::Name => "name",
            OperatorSort::Role => "role",
            OperatorSort::Created => "created",
        };
        format!("operators {}{word}", if self.descending { "-" } else { "" })
    }

    fn cursor(&self, at: Option<&Operator>, back: bool) -> Option<Cursor> {
        let (number, word, name) = self.key(at?);
        Some(Cursor {
            order: self.order(),
            back,
            place: vec![Part::Number(number), Part::Text(word), Part::Text(name)],
        })
    }

    fn place(&self, cursor: &Cursor) -> Result<Key, Error> {
        match cursor.place.as_slice() {
            [Part::Number(number), Part::Text(word), Part::Text(name)] if cursor.order == self.order() => {
                Ok((*number, word.clone(), name.clone()))
            }
            _ => Err(foreign_cursor()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use jiff::Timestamp;

    use super::*;

    fn all() -> Vec<Operator> {
        [
            ("carol", Role::Viewer, 1),
            ("Alice", Role::Admin, 2),
            ("bob", Role::Viewer, 2),
            ("dave", Role::Operator, 3),
        ]
        .map(|(name, role, at)| Operator {
            name: name.into(),
            role,
            key: None,
            login: None,
            created: Timestamp::from_second(at).unwrap(),
        })
        .into()
    }

    fn names(page: &Page<Operator>) -> Vec<&str> {
        page.items.iter().map(|one| one.name.as_str()).collect()
    }

    #[test]
    fn pages_follow_each_other_both_ways_in_every_order() {
        for sort in [OperatorSort::Name, OperatorSort::Role, OperatorSort::Created] {
            for descending in [false, true] {
                let mut list = OperatorList {
                    sort,
                    descending,
                    paging: Paging {
                        cursor: None,
                        limit: MAX_LIMIT,
                    },
                    ..OperatorList::default()
                };
                let whole = list.page(all()).unwrap();
                assert_eq!((whole.next.clone(), whole.previous.clone()), (None, None));
                for limit in 1..=4 {
                    list.paging = Paging { cursor: None, limit };
                    let first = list.page(all()).unwrap();
                    let mut walked = names(&first).join(" ");
                    let mut page = first.clone();
                    while let Some(next) = page.next.clone() {
                        list.paging.cursor = Some(next);
                        page = list.page(all()).unwrap();
                        walked = format!("{walked} {}", names(&page).join(" "));
                    }
                    assert_eq!(walked, names(&whole).join(" "), "{sort:?} {limit}");
                    while let Some(previous) = page.previous.clone() {
                        list.paging.cursor = Some(previous);
                        page = list.page(all()).unwrap();
                    }
                    assert_eq!(page.items.first(), first.items.first(), "{sort:?} {limit}");
                }
            }
        }
    }

    #[test]
    fn a_role_and_a_beginning_narrow_it_and_a_foreign_cursor_is_refused() {
        let list = OperatorList {
            role: Some(Role::Viewer),
            prefix: "B".into(),
            paging: Paging {
                cursor: None,
                limit: 10,
            },
            ..OperatorList::default()
        };
        assert_eq!(names(&list.page(all()).unwrap()), ["bob"]);
        let first = OperatorList {
            paging: Paging {
                cursor: None,
                limit: 1,
            },
            ..OperatorList::default()
        };
        let cursor = first.page(all()).unwrap().next;
        let other = OperatorList {
            descending: true,
            paging: Paging { cursor, limit: 1 },
            ..OperatorList::default()
        };
        assert!(matches!(other.page(all()), Err(Error::Bad(_))));
    }
}
