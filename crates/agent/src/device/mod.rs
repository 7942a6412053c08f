//! The agent on a device: it enrols once, renews for ever, and keeps the device connected.
//!
//! Everything is in one directory, the device's [home](files::Home), and every step may be the last: what is there is whole, and
//! what was begun is gone on with.

mod anchors;
pub mod enrol;
pub mod files;
mod found;
pub mod look;
pub mod provisioner;
mod recover;
pub mod renew;
pub mod run;
pub mod settings;
pub mod status;
pub mod time;
mod trial;
