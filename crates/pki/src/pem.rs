//! PEM (RFC 7468): text armour around DER.

use der::pem::{self, LineEnding};

use crate::Error;

/// The label of a certificate block.
pub const CERTIFICATE: &str = "CERTIFICATE";
/// The label of a certificate request block.
pub const CSR: &str = "CERTIFICATE REQUEST";
/// The label of a CRL block.
pub const CRL: &str = "X509 CRL";
/// The label of an unencrypted PKCS#8 private key block.
pub const PRIVATE_KEY: &str = "PRIVATE KEY";

/// The longest text that is looked at: 1 MiB.
const MAX_TEXT: usize = 1 << 20;

/// Armours DER: 64 characters a line, a newline at the end.
pub fn encode(label: &'static str, der: &[u8]) -> Result<String, Error> {
    pem::encode_string(label, LineEnding::LF, der).map_err(|_| Error::Encode("PEM text"))
}

/// One block: its label and the bytes inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The label between `BEGIN` and the dashes.
    pub label: String,
    /// What was armoured.
    pub der: Vec<u8>,
}

/// Every block of a text in order. Text around and between blocks is passed over, as RFC 7468 section 2 allows.
///
/// Refuses texts over 1 MiB, blocks that are not base64 and blocks without an end.
pub fn decode_all(text: &str) -> Result<Vec<Block>, Error> {
    if text.len() > MAX_TEXT {
        return Err(Error::malformed("PEM text", "it is longer than 1 MiB"));
    }
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("-----BEGIN ") {
        let from = &rest[start..];
        let (block, used) = first_block(from)?;
        blocks.push(block);
        rest = &from[used..];
    }
    Ok(blocks)
}

/// The first block with this label.
pub fn decode(label: &str, text: &str) -> Result<Vec<u8>, Error> {
    let found = decode_all(text)?.into_iter().find(|block| block.label == label);
    found
        .map(|block| block.der)
        .ok_or_else(|| Error::malformed("PEM text", format!("it has no {label} block")))
}

fn first_block(text: &str) -> Result<(Block, usize), Error> {
    let bad = |why: &str| Error::malformed("PEM text", why);
    let after_begin = &text["-----BEGIN ".len()..];
    let (label, inside) = after_begin
        .split_once("-----")
        .ok_or_else(|| bad("a BEGIN line has no end"))?;
    let (body, rest) = inside
        .split_once(&format!("-----END {label}-----"))
        .ok_or_else(|| bad("a block has no END line"))?;
    // Other people's tools wrap at other widths and leave blanks at line ends; the strict decoder gets clean lines.
    let body: String = body.split_whitespace().collect();
    let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, body)
        .map_err(|_| bad("a block is not base64"))?;
    let label = label.to_owned();
    Ok((Block { label, der }, text.len() - rest.len()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn what_is_armoured_comes_back() {
        let text = encode(CERTIFICATE, b"some bytes").unwrap();
        assert!(text.ends_with("-----END CERTIFICATE-----\n"));
        let twice = format!("a remark\n{text}between\r\n{text}");
        let blocks = decode_all(&twice).unwrap();
        assert_eq!(blocks.len(), 2);
        assert_eq!(
            blocks[1],
            Block {
                label: CERTIFICATE.into(),
                der: b"some bytes".to_vec()
            }
        );
    }

    #[test]
    fn a_torn_block_is_refused() {
        for bad in [
            "-----BEGIN X",
            "-----BEGIN X-----\nAAAA",
            "-----BEGIN X-----\n$$\n-----END X-----",
            "-----BEGIN -----END -----",
        ] {
            assert!(decode_all(bad).is_err(), "{bad}");
        }
    }
}
