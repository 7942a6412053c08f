//! The pages. Each file has one, with its template beside it; `web::PAGES` lists them.

pub(super) mod account;
pub(super) mod dashboard;
pub(super) mod login;
pub(super) mod setup;
pub(super) mod theme;
pub(super) mod users;
