//! The agent beside a broker: it hears what the broker is to enforce, checks it, writes it, makes the broker take it up, proves that it
//! did with connections of its own, and ends the sessions of those who were shut out:
//!
//! ```text
//!   CA ─► stream ─► epoch ─► check ─► write ─► signal ─► prove ─► drop ─► watch
//!                                       ▲                  │ not proved
//!                                       └──── roll back ◄──┘
//! ```
//!
//! It listens on loopback at most, and can issue nothing that another broker trusts. Whatever is wrong, it never lets in who is shut out,
//! and never shuts out who is not: what does not hold is not written, and what the broker does not take up is taken back.
//!
//! Read [`run`] first, then [`enforce`]. [`broker`] is the trait that each kind of broker has an adapter for.

mod access;
pub mod broker;
pub mod check;
mod denials;
pub mod enforce;
pub mod epoch;
pub mod files;
pub mod gate;
mod http;
pub mod identity;
mod kept;
pub mod listener;
pub mod local;
pub mod probe;
mod process;
mod report;
pub mod run;
mod status;
mod stream;
pub mod tombstone;
pub mod trial;
