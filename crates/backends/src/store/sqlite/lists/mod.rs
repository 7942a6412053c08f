//! The lists that users page through, one file each.

pub(super) mod audit;
pub(super) mod certificates;
pub(super) mod devices;
pub(super) mod find;
pub(super) mod tokens;
