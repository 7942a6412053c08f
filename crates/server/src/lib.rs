//! The HTTP edge: sockets, protocols, the gate
