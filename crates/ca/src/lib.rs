//! The certification authority: who asks, what may they have, sign, record.
//!
//! Enter at [`Ca`]; everything an edge can ask of the authority is a method of it. [`Ca::enrol`] is the path of the
//! house: a [`Proof`](enrol::who::Proof) becomes a [`Caller`], a wish becomes a grant, a grant becomes a
//! draft, a signed draft is recorded in one transaction with its token, device, and audit entry, and only then
//! handed out. Renewal, revocation and roll-over have the same shape.
//!
//! Absent on purpose: a runtime, HTTP, SQL, files, the wall clock. What is outside is four traits in [`ports`].

pub mod access;
pub mod account;
pub mod audit;
pub mod authority;
mod beacon;
pub mod broker;
pub mod certificate;
mod clamp;
mod clone;
pub mod crl;
mod cross;
pub mod device;
pub mod diagnosis;
pub mod enrol;
mod error;
pub mod first_login;
pub mod list;
pub mod many;
pub mod operator;
mod operators;
pub mod password;
mod pattern;
pub mod plan;
pub mod ports;
pub mod profile;
pub mod provisioner;
pub mod queries;
mod refused;
pub mod registry;
mod renew;
mod revoke;
pub mod rollover;
pub mod session;
pub mod setup;
pub mod standing;
mod state;
pub mod token;
pub mod verify;

pub use enrol::who::{Caller, Proof};
pub use enrol::{Ask, Issued, Wish};
pub use error::{About, Error, Refusal};
pub use refused::TokenRefusal;
pub use revoke::{Revocation, Target};
pub use setup::Parts;
pub use state::{Ca, Settings, file_stem};
