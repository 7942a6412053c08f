//! Whose certificates a listener asks for: in the handshake, it names the CAs that it trusts (RFC 8446, section 4.2.4; RFC 5246, section 7.4.4).

use muster_pki::name;

use super::{Trial, held, judged, not_tried, patiently, wrong};
use crate::beside::listener::{Listener, Seen};
use crate::beside::local::AGENT_CA;

const WHOM: &str = "trusted CAs";
/// The longest name that is repeated, in characters.
const LONGEST: usize = 64;

/// Compares them with the CAs that there are, each by its subject (DER). The agent's own CA is no stranger.
pub(super) async fn trusted(listener: &Listener, known: &[Vec<u8>]) -> Trial {
    let named = match patiently(|| listener.asks_for()).await {
        Ok(named) => named,
        Err(seen @ Seen::Unreachable(_)) => return judged(WHOM, seen),
        Err(why) => return not_tried(WHOM, why.to_string()),
    };
    if named.is_empty() {
        return not_tried(WHOM, "it does not say which CAs it trusts");
    }
    let strangers: Vec<String> = named
        .iter()
        .filter(|subject| !known.contains(subject))
        .map(|subject| common_name(subject))
        .filter(|name| !name.starts_with(AGENT_CA))
        .collect();
    match strangers.first() {
        None => held(WHOM, "it trusts no other CA"),
        Some(first) => wrong(
            WHOM,
            format!(
                "it trusts {first:?}, which is no CA that issues here: who has a certificate of it is let in"
            ),
        ),
    }
}

/// What a stranger is called: short, and nothing that drives a terminal.
fn common_name(subject: &[u8]) -> String {
    let name = name::from_der(subject).ok();
    let name = name
        .and_then(|name| name::first_common_name(&name))
        .unwrap_or_default();
    let plain = |letter: &char| letter.is_ascii_graphic() || *letter == ' ' || letter.is_alphanumeric();
    name.chars().filter(plain).take(LONGEST).collect()
}
