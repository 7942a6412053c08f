//! What travels over Muster's own HTTP API (`/api/v1`), and the client that sends it.
//!
//! [`types`] are the requests and answers, as JSON; [`client::Client`] is what the command line and the agents use. Nothing
//! here knows how the server works.

pub mod agent;
pub mod client;
pub mod code;
pub mod types;

pub use client::{Client, Error};
pub use code::Code;
