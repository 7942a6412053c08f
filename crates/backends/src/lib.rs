//! What the server stands on: stores and signers.
//!
//! Each module implements one port of `muster-ca`: [`store`] keeps what is recorded, [`signer`] keeps the authorities'
//! keys. The two do not know each other. [`lock`] makes sure that one process at a time works on a data directory.

pub mod lock;
pub mod signer;
pub mod store;
