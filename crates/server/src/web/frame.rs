//! What stands around every page: the menu, the search, the theme.

use http::HeaderMap;

use super::visit::Visitor;
use super::{PAGES, Web, assets, cookie, needs_of};

/// What `components/layout.html` and `components/bare.html` need.
pub(crate) struct Frame {
    /// The page's title.
    pub(crate) title: String,
    /// The authority's name.
    pub(crate) authority: String,
    /// What every link begins with.
    pub(crate) base: String,
    /// `light`, `dark`, or nothing for what the system says.
    pub(crate) theme: Option<&'static str>,
    /// Whether the page is there again when it is loaded again: what came of a form may be shown this once.
    pub(crate) reloads: bool,
    /// What the page before wants to be said.
    pub(crate) notice: Option<String>,
    /// Who is logged in: name and role.
    pub(crate) operator: Option<(String, &'static str)>,
    /// The menu.
    pub(crate) menu: Vec<Section>,
    /// Where this page is, below the base path.
    pub(crate) here: String,
    /// Muster's version.
    pub(crate) version: &'static str,
}

/// A part of the menu.
pub(crate) struct Section {
    /// Its heading; empty for none.
    pub(crate) name: &'static str,
    pub(crate) links: Vec<Link>,
}

/// An entry of the menu.
pub(crate) struct Link {
    pub(crate) path: &'static str,
    pub(crate) label: &'static str,
    pub(crate) icon: &'static str,
    /// Whether the page, or one below it, is shown.
    pub(crate) current: bool,
}

impl Frame {
    pub(super) fn new(
        web: &Web,
        headers: &HeaderMap,
        title: &str,
        here: &str,
        visitor: Option<&Visitor>,
    ) -> Self {
        Self {
            title: title.to_owned(),
            authority: web.settings().name.clone(),
            base: web.settings().base_path.clone(),
            theme: cookie::theme(headers),
            reloads: true,
            notice: cookie::notice(headers),
            operator: visitor.map(|visitor| (visitor.name.clone(), visitor.role.as_str())),
            menu: visitor.map(|visitor| menu(visitor, here)).unwrap_or_default(),
            here: here.to_owned(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// A file of `static/`, under a name that changes with it.
    pub(crate) fn file(&self, name: &str) -> String {
        format!("{}static/{}", self.base, assets::hashed(name))
    }
}

fn menu(visitor: &Visitor, here: &str) -> Vec<Section> {
    let here = here.split('?').next().unwrap_or_default();
    let mut menu: Vec<Section> = Vec::new();
    for page in PAGES {
        let (Some(entry), Some(first)) = (&page.menu, page.routes.first()) else {
            continue;
        };
        if !needs_of(first.path).is_none_or(|needs| needs.is_given_to(visitor.role)) {
            continue;
        }
        let below = here
            .strip_prefix(first.path)
            .is_some_and(|rest| rest.is_empty() || (rest.starts_with('/') && !first.path.is_empty()));
        let link = Link {
            path: first.path,
            label: entry.label,
            icon: entry.icon,
            current: below,
        };
        match menu.iter_mut().find(|section| section.name == entry.section) {
            Some(section) => section.links.push(link),
            None => menu.push(Section {
                name: entry.section,
                links: vec![link],
            }),
        }
    }
    menu
}
