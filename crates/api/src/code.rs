//! What an operator gives to a device so that it can enrol: one word that nothing has to be trusted beside.

use std::fmt::{Debug, Display, Formatter};
use std::str::FromStr;

use zeroize::Zeroizing;

/// The longest code that is read.
const MAX_CODE: usize = 1024;

/// An enrolment code: `NAME:SECRET@HOST:PORT/FINGERPRINT`, or without `NAME:` for any device of a wave.
///
/// The fingerprint is SHA-256 over the root certificate that vouches for `HOST:PORT`, so that a device believes nobody else,
/// not even the first time.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    /// The only device that it is for.
    pub name: Option<String>,
    /// The secret of an enrolment token.
    pub secret: Zeroizing<String>,
    /// The CA API, `HOST:PORT`.
    pub host: String,
    /// SHA-256 over the root's DER, lower-case hexadecimal.
    pub fingerprint: String,
}

impl Code {
    /// The address of the CA API.
    pub fn url(&self) -> String {
        format!("https://{}", self.host)
    }
}

impl Display for Code {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}:")?;
        }
        write!(f, "{}@{}/{}", *self.secret, self.host, self.fingerprint)
    }
}

impl Debug for Code {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Code")
            .field("name", &self.name)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

/// Something that is no enrolment code. It is not shown: it may be half of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no enrolment code: it looks like NAME:SECRET@HOST:PORT/FINGERPRINT, and muster token create prints it"
)]
pub struct NoCode;

impl FromStr for Code {
    type Err = NoCode;

    fn from_str(text: &str) -> Result<Self, NoCode> {
        let text = text.trim();
        let parts = || {
            let (rest, fingerprint) = text.rsplit_once('/')?;
            let (whom, host) = rest.split_once('@')?;
            // A name may hold a colon; a secret does not.
            let (name, secret) = match whom.rsplit_once(':') {
                Some((name, secret)) => (Some(name), secret),
                None => (None, whom),
            };
            Some((name, secret, host, fingerprint))
        };
        let (name, secret, host, fingerprint) = parts().filter(|_| text.len() <= MAX_CODE).ok_or(NoCode)?;
        let is_secret = secret.starts_with("mt_") && secret.bytes().all(is_of_a_word);
        let is_print = fingerprint.len() == 64 && fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_host = !host.is_empty()
            && host
                .bytes()
                .all(|byte| is_of_a_word(byte) || b".:[]".contains(&byte));
        if !is_secret || !is_print || !is_host || name == Some("") {
            return Err(NoCode);
        }
        Ok(Self {
            name: name.map(str::to_owned),
            secret: Zeroizing::new(secret.to_owned()),
            host: host.to_owned(),
            fingerprint: fingerprint.to_ascii_lowercase(),
        })
    }
}

fn is_of_a_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_".contains(&byte)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    const PRINT: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn a_code_comes_back_as_it_was_printed() {
        for text in [
            format!("site-001:mt_a-b_c@ca.example.org:9000/{PRINT}"),
            format!("tenant:8fa3:mt_x@[fd00::1]:9000/{PRINT}"),
            format!("mt_x@ca/{PRINT}"),
        ] {
            let code: Code = text.parse().unwrap();
            assert_eq!(code.to_string(), text);
            assert!(!format!("{code:?}").contains("mt_"), "a secret is in no log");
        }
        let code: Code = format!(" a:b:mt_x@h:1/{}\n", PRINT.to_uppercase())
            .parse()
            .unwrap();
        assert_eq!(
            (code.name.as_deref(), code.url().as_str()),
            (Some("a:b"), "https://h:1")
        );
        assert_eq!(code.fingerprint, PRINT);
    }

    #[test]
    fn what_is_no_code_is_refused_and_not_repeated() {
        for bad in [
            "".to_owned(),
            "mt_x".into(),
            format!("mt_x@ca:9000/{}", &PRINT[1..]),
            format!("mt_x@/{PRINT}"),
            format!(":mt_x@ca/{PRINT}"),
            format!("a:secret@ca/{PRINT}"),
            format!("a:mt_x y@ca/{PRINT}"),
            format!("a:mt_x@ca/path/{PRINT}"),
            format!("{}:mt_x@ca/{PRINT}", "a".repeat(1024)),
        ] {
            assert_eq!(bad.parse::<Code>(), Err(NoCode), "{bad}");
        }
        assert!(!NoCode.to_string().contains("mt_"));
    }
}
