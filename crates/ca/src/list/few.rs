//! Lists of what there is so little of that it is read whole and paged here: operators, provisioners and profiles; brokers
//! are beside it.

use std::cmp::Ordering;

use super::{Cursor, MAX_LIMIT, Page, Paging, Part, foreign_cursor};
use crate::device::Kind;
use crate::error::Error;
use crate::operator::{Operator, Role};
use crate::profile::Profile;
use crate::provisioner::Provisioner;

/// What a row is sorted by; the name makes it the only one.
pub(super) type Key = (i64, String, String);

/// In which order a list comes.
pub(super) struct Order {
    /// The noun and what it is sorted by: a cursor belongs to one of these.
    pub(super) name: &'static str,
    /// Whether the greatest comes first.
    pub(super) descending: bool,
}

impl Order {
    /// The page of these rows, which fit.
    pub(super) fn page<T>(
        &self,
        mut all: Vec<T>,
        paging: &Paging,
        key: impl Fn(&T) -> Key,
    ) -> Result<Page<T>, Error> {
        all.sort_by(|one, other| self.compare(&key(one), &key(other)));
        let limit = paging.limit.clamp(1, MAX_LIMIT);
        let (begin, end) = match &paging.cursor {
            None => (0, limit),
            Some(cursor) => {
                let place = self.place(cursor)?;
                let before = |one: &T| match self.compare(&key(one), &place) {
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
        let cursor = |at: Option<&T>, back| at.map(|one| self.cursor(key(one), back));
        let next = (end < all.len()).then(|| cursor(all.get(end.checked_sub(1)?), false));
        let previous = (begin > 0).then(|| cursor(all.get(begin), true));
        all.truncate(end);
        Ok(Page {
            next: next.flatten(),
            previous: previous.flatten(),
            items: all.split_off(begin.min(end)),
            cut_short: false,
        })
    }

    fn compare(&self, one: &Key, other: &Key) -> Ordering {
        let order = one.cmp(other);
        if self.descending { order.reverse() } else { order }
    }

    fn word(&self) -> String {
        format!("{}{}", if self.descending { "-" } else { "" }, self.name)
    }

    fn cursor(&self, (number, word, name): Key, back: bool) -> Cursor {
        Cursor {
            order: self.word(),
            back,
            place: vec![Part::Number(number), Part::Text(word), Part::Text(name)],
        }
    }

    fn place(&self, cursor: &Cursor) -> Result<Key, Error> {
        match cursor.place.as_slice() {
            [Part::Number(number), Part::Text(word), Part::Text(name)] if cursor.order == self.word() => {
                Ok((*number, word.clone(), name.clone()))
            }
            _ => Err(foreign_cursor()),
        }
    }
}

/// Whether a name begins so, in whichever letters.
fn begins(name: &str, prefix: &str) -> bool {
    name.to_lowercase().starts_with(&prefix.to_lowercase())
}

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

impl OperatorList {
    /// The page of these operators.
    pub(crate) fn page(&self, mut all: Vec<Operator>) -> Result<Page<Operator>, Error> {
        all.retain(|one| self.role.is_none_or(|role| role == one.role) && begins(&one.name, &self.prefix));
        let order = Order {
            name: match self.sort {
                OperatorSort::Name => "operators name",
                OperatorSort::Role => "operators role",
                OperatorSort::Created => "operators created",
            },
            descending: self.descending,
        };
        order.page(all, &self.paging, |one| {
            let (number, word) = match self.sort {
                OperatorSort::Name => (0, ""),
                OperatorSort::Role => (0, one.role.as_str()),
                OperatorSort::Created => (one.created.as_millisecond(), ""),
            };
            (number, word.to_owned(), one.name.clone())
        })
    }
}

/// What provisioners can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProvisionerSort {
    /// Their name.
    #[default]
    Name,
    /// When they were added.
    Created,
}

/// A page of provisioners. What is left out does not narrow it.
#[derive(Debug, Clone, Default)]
pub struct ProvisionerList {
    /// That name this profile.
    pub profile: Option<String>,
    /// Whose name begins so, in whichever letters.
    pub prefix: String,
    /// The order.
    pub sort: ProvisionerSort,
    /// Whether the greatest comes first.
    pub descending: bool,
    /// Which page.
    pub paging: Paging,
}

impl ProvisionerList {
    /// The page of these provisioners.
    pub(crate) fn page(&self, mut all: Vec<Provisioner>) -> Result<Page<Provisioner>, Error> {
        all.retain(|one| {
            let profile = self.profile.as_ref();
            profile.is_none_or(|profile| one.profiles.contains(profile)) && begins(&one.name, &self.prefix)
        });
        let order = Order {
            name: match self.sort {
                ProvisionerSort::Name => "provisioners name",
                ProvisionerSort::Created => "provisioners created",
            },
            descending: self.descending,
        };
        order.page(all, &self.paging, |one| {
            let number = match self.sort {
                ProvisionerSort::Name => 0,
                ProvisionerSort::Created => one.created.as_millisecond(),
            };
            (number, String::new(), one.name.clone())
        })
    }
}

/// What profiles can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProfileSort {
    /// Their name.
    #[default]
    Name,
    /// What their holders are.
    Kind,
    /// How long a certificate is valid when nobody says.
    Validity,
}

/// A page of profiles. What is left out does not narrow it.
#[derive(Debug, Clone, Default)]
pub struct ProfileList {
    /// Of this kind.
    pub kind: Option<Kind>,
    /// Whose name begins so, in whichever letters.
    pub prefix: String,
    /// The order.
    pub sort: ProfileSort,
    /// Whether the greatest comes first.
    pub descending: bool,
    /// Which page.
    pub paging: Paging,
}

impl ProfileList {
    /// The page of these profiles.
    pub(crate) fn page<'a>(&self, all: impl Iterator<Item = &'a Profile>) -> Result<Page<Profile>, Error> {
        let fits = |one: &&Profile| {
            self.kind.is_none_or(|kind| kind == one.kind()) && begins(one.name(), &self.prefix)
        };
        let all = all.filter(fits).cloned().collect();
        let order = Order {
            name: match self.sort {
                ProfileSort::Name => "profiles name",
                ProfileSort::Kind => "profiles kind",
                ProfileSort::Validity => "profiles validity",
            },
            descending: self.descending,
        };
        order.page(all, &self.paging, |one| {
            let (number, word) = match self.sort {
                ProfileSort::Name => (0, ""),
                ProfileSort::Kind => (0, one.kind().as_str()),
                ProfileSort::Validity => (one.validity().1.as_secs(), ""),
            };
            (number, word.to_owned(), one.name().to_owned())
        })
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
