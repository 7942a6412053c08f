//! The pages. Each file has one, with its template beside it; `web::PAGES` lists them.

pub(super) mod account;
pub(super) mod audit;
pub(super) mod authority;
pub(super) mod brokers;
pub(super) mod certificates;
pub(super) mod dashboard;
pub(super) mod devices;
pub(super) mod diagnosis;
pub(super) mod issue;
pub(super) mod login;
pub(super) mod profiles;
pub(super) mod revoke;
pub(super) mod search;
pub(super) mod settings;
pub(super) mod setup;
pub(super) mod theme;
pub(super) mod tokens;
pub(super) mod users;
