//! Stores: what is recorded, and how it becomes durable.

#[cfg(test)]
mod contract;
pub mod seed;
pub mod sqlite;
