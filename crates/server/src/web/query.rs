//! What the address of a list says: how it is filtered, which columns it has, where the page begins.

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use http::StatusCode;
use http::request::Parts;
use jiff::Timestamp;
use muster_ca::list::MAX_LIMIT;
use serde::de::DeserializeOwned;

use super::Web;
use super::fault::Fault;
use super::form::escape;
use crate::lists::Listing;

/// The parameters of a list's address. One that the page does not know changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filters(Vec<(String, String)>);

/// Where a page begins is good for one filter only.
const CURSOR: &str = "cursor";
/// How many rows a page has.
const USUAL: usize = 50;

impl Filters {
    #[cfg(test)]
    pub(crate) fn of(pairs: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self(pairs.iter().map(owned).collect())
    }

    /// Reads a query as [`Filters::with`] writes it.
    pub(crate) fn parse(query: &str) -> Result<Self, Fault> {
        let Query(pairs) = self::query(query.trim_start_matches('?'))?;
        Ok(Self(pairs))
    }

    /// What the address asks for, in the words of `/api/v1`.
    pub(crate) fn asked<L: Listing>(&self, now: Timestamp) -> Result<L::List, Fault> {
        let names = L::PARAMETERS.iter().chain(std::iter::once(&CURSOR));
        let given = names.filter(|name| !self.get(name).is_empty());
        let query: Vec<_> = given
            .map(|name| format!("{name}={}", escape(self.get(name))))
            .collect();
        let Query(query) = self::query::<L>(&query.join("&"))?;
        let mut list = query.list(now)?;
        L::paging(&mut list).limit = self.limit();
        Ok(list)
    }

    /// How many rows a page of a list shall have.
    pub(crate) fn limit(&self) -> usize {
        self.number("limit", USUAL, MAX_LIMIT)
    }

    /// The value of a parameter; empty is as good as none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    /// Every value of a parameter that may come more than once.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.0.iter().filter(move |(known, _)| known == name);
        named
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// What a number says, within bounds; `usual` if there is none.
    pub(crate) fn number(&self, name: &str, usual: usize, most: usize) -> usize {
        self.get(name).parse().unwrap_or(usual).clamp(1, most)
    }

    /// Every parameter but these and the cursor, for a form that adds them.
    pub(crate) fn without(&self, names: &[&str]) -> Vec<(String, String)> {
        let others = self
            .0
            .iter()
            .filter(|(name, _)| name != CURSOR && !names.contains(&name.as_str()));
        others.cloned().collect()
    }

    /// The query with one parameter as given; without it, if it is empty. The cursor goes, unless it is the parameter.
    pub(crate) fn with(&self, name: &str, value: &str) -> String {
        self.with_instead(name, value, "")
    }

    /// The same, and another parameter goes.
    pub(crate) fn with_instead(&self, name: &str, value: &str, gone: &str) -> String {
        let mut pairs = self.without(&[name, gone]);
        if !value.is_empty() {
            pairs.push((name.to_owned(), value.to_owned()));
        }
        let pairs: Vec<_> = pairs
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{}={}", escape(name), escape(value)))
            .collect();
        if pairs.is_empty() {
            return String::new();
        }
        format!("?{}", pairs.join("&"))
    }
}

fn query<T: DeserializeOwned>(query: &str) -> Result<Query<T>, Fault> {
    let wrong = || Fault::new(StatusCode::BAD_REQUEST, "this is no filter of a list");
    let uri: http::Uri = format!("/?{query}").parse().map_err(|_| wrong())?;
    Query::try_from_uri(&uri).map_err(|_| wrong())
}

impl FromRequestParts<Web> for Filters {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Fault> {
        let read: Result<Query<_>, QueryRejection> = Query::from_request_parts(parts, web).await;
        read.map(|Query(pairs)| Self(pairs))
            .map_err(|why| Fault::new(why.status(), &why.body_text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_keeps_what_it_does_not_change() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let filters = Filters(vec![
            pair("q", " a&b "),
            pair("state", ""),
            pair("show", "one"),
            pair("show", "two"),
            pair("cursor", "x"),
            pair("limit", "9999"),
        ]);
        assert_eq!((filters.get("q"), filters.get("state")), ("a&b", ""));
        assert_eq!(filters.all("show").collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(
            (filters.number("limit", 50, 500), filters.number("q", 50, 500)),
            (500, 50)
        );
        assert_eq!(filters.with("q", ""), "?show=one&show=two&limit=9999");
        assert_eq!(
            filters.with("after", "z"),
            "?q=%20a%26b%20&show=one&show=two&limit=9999&after=z"
        );
        assert_eq!(Filters::default().with("q", ""), "");
        assert_eq!(filters.with_instead("q", "b", "show"), "?limit=9999&q=b");
    }
}
