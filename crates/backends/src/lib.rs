//! What the server stands on: stores and signers
