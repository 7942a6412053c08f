//! X.509 for Muster: bytes in, bytes out
