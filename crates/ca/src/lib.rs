//! The certification authority: who asks, what may they have, sign, record
