//! How a page is registered.

use axum::middleware::from_fn_with_state;
use axum::routing::MethodRouter;
use muster_ca::operator::Permission;

use super::{Web, gate};

/// A page: where the menu shows it, and its routes.
pub(crate) struct Page {
    /// Its entry in the menu; the first route is where it leads.
    pub(crate) menu: Option<Entry>,
    /// Its routes.
    pub(crate) routes: &'static [Route],
}

/// An entry of the menu.
pub(crate) struct Entry {
    /// The heading it stands below; empty for none.
    pub(crate) section: &'static str,
    /// What it says.
    pub(crate) label: &'static str,
    /// The icon in front of it.
    pub(crate) icon: &'static str,
}

/// A method that pages answer. Reading changes nothing; what else comes has to show that it is from a page of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Change.
    Post,
}

/// What a route needs of whoever comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// A session of an operator with this permission.
    Permission(Permission),
    /// Nothing: logging in, setting up, files of the GUI itself.
    Nothing,
}

/// One method of one path. The path is below the base path, without a slash in front.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) needs: Needs,
    answer: fn() -> MethodRouter<Web>,
}

impl Route {
    /// A page to look at.
    pub(crate) const fn get(
        path: &'static str,
        permission: Permission,
        answer: fn() -> MethodRouter<Web>,
    ) -> Self {
        Self {
            method: Method::Get,
            path,
            needs: Needs::Permission(permission),
            answer,
        }
    }

    /// A form that is sent.
    pub(crate) const fn post(
        path: &'static str,
        permission: Permission,
        answer: fn() -> MethodRouter<Web>,
    ) -> Self {
        Self {
            method: Method::Post,
            ..Self::get(path, permission, answer)
        }
    }

    /// Lets everybody in. Say why where you use it.
    pub(crate) const fn open(self) -> Self {
        Self {
            needs: Needs::Nothing,
            ..self
        }
    }

    /// The route with its gate in front.
    pub(super) fn build(&self, web: &Web) -> MethodRouter<Web> {
        let state = (web.clone(), self.needs, self.method);
        (self.answer)().layer(from_fn_with_state(state, gate::judge))
    }
}
