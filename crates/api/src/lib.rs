//! What travels over Muster's own HTTP API, and the client that sends it
