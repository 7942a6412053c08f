//! The HTTP edge: sockets, protocols, the gate.
//!
//! Enter at [`listen::serve`]: it takes sockets that are bound already, an [`Edge`] and a signal to stop, and returns when
//! everything in flight is answered. What comes in by TCP, by the local socket or from the command line in the same
//! process meets the same routers ([`protocols`]) inside the same [`shell`].
//!
//! A protocol turns a request into a question to the authority and its answer into bytes. It judges nothing, and nothing
//! here knows of a store or a key.

mod answer;
mod attempts;
mod background;
mod diagnosis;
mod edge;
mod export;
mod files;
mod gate;
mod health;
pub mod listen;
mod lists;
mod metrics;
pub mod peer;
pub mod protocols;
mod published;
mod settings;
pub mod shell;
mod tls;
pub mod web;

pub use edge::{Edge, Todos};
pub use export::csv;
pub use listen::{Listeners, ServeError, serve, serve_stream};
pub use protocols::{api_service, local_service, public_service};
pub use settings::{Configured, Settings};
