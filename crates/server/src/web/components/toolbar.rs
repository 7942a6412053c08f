//! What stands above the rows of every list: its search, what narrows it, its columns, and the same as a file.

use askama::Template;
use askama::filters::HtmlSafe;

use super::list::{Chips, Columns, Given, Narrow};
use super::{Field, Icon};

/// See the module. Made by [`Listed::toolbar`](super::Listed::toolbar).
#[derive(Template)]
#[template(path = "components/toolbar.html")]
pub(crate) struct Toolbar {
    pub(super) url: String,
    /// What the search keeps of the address.
    pub(super) kept: Vec<(String, String)>,
    pub(super) search: Search,
    pub(super) typed: String,
    pub(super) chips: Option<Chips>,
    pub(super) given: Given,
    pub(super) narrow: Narrow,
    pub(super) columns: Columns,
    /// Where the files are, without the ends of their names.
    pub(super) file: String,
    pub(super) query: String,
}

impl HtmlSafe for Toolbar {}

/// The field that finds something by what is typed.
pub(crate) struct Search {
    /// The parameter.
    pub(crate) name: &'static str,
    /// What it is called where nobody sees the hint.
    pub(crate) label: &'static str,
    /// What one may type.
    pub(crate) hint: &'static str,
}

/// What a list has besides what every list has.
pub(crate) struct Tools<'a> {
    pub(crate) search: Search,
    pub(crate) chips: Option<Chips>,
    /// The fields of its menu, with the names of parameters.
    pub(crate) fields: Vec<Field>,
    /// What is shown of the address, to be taken away.
    pub(crate) given: &'a [&'static str],
    /// Name, words, whether it is shown when nobody chose.
    pub(crate) columns: &'a [(&'static str, &'static str, bool)],
    /// Where the files are, below the base path, without the ends of their names.
    pub(crate) file: String,
}

impl Toolbar {
    /// Whether a column is shown.
    pub(crate) fn shows(&self, column: &str) -> bool {
        self.columns.shows(column)
    }
}
