//! Passwords and one-time codes of people who log in.

use std::sync::LazyLock;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use jiff::Timestamp;
use totp_rs::{Builder, Secret, Totp};

use crate::error::Error;

/// The fewest characters of a password. There is no other rule: rules make people choose worse ones (NIST SP 800-63B).
pub const SHORTEST: usize = 12;
/// The most bytes that are hashed.
const LONGEST: usize = 1024;

/// Refuses a password that is too short to be one.
pub fn check(password: &str) -> Result<(), Error> {
    if password.chars().count() < SHORTEST {
        return Err(Error::Bad(format!(
            "a password has at least {SHORTEST} characters; some words in a row make a good one"
        )));
    }
    if password.len() > LONGEST {
        return Err(Error::Bad(format!("a password has at most {LONGEST} bytes")));
    }
    Ok(())
}

/// Argon2id with the costs of its authors' second recommendation (19 MiB, two passes); takes some hundredths of a second.
pub(crate) fn hash(password: &str, salt: &[u8; 16]) -> Result<String, Error> {
    check(password)?;
    let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), salt);
    hash.map(|hash| hash.to_string())
        .map_err(|why| Error::Internal(format!("the password cannot be hashed: {why}")))
}

/// Whether this is the password; without a hash it takes as long and is not, so that time does not tell who exists.
pub(crate) fn is_right(password: &str, hash: Option<&str>) -> bool {
    static NOBODY: LazyLock<String> =
        LazyLock::new(|| self::hash("nobody has this password", &[0; 16]).unwrap_or_default());
    let right = |hash: &str| {
        password.len() <= LONGEST
            && Argon2::default()
                .verify_password(password.as_bytes(), hash)
                .is_ok()
    };
    match hash {
        Some(hash) => right(hash),
        None => {
            right(&NOBODY);
            false
        }
    }
}

/// The number of the half minute that a one-time code belongs to; a clock may be off by one.
pub(crate) fn step_of_code(secret: &[u8], code: &str, now: Timestamp) -> Option<u64> {
    let code: String = code
        .chars()
        .filter(|character| !character.is_whitespace())
        .collect();
    totp(secret)?.check(&code, u64::try_from(now.as_second()).ok()?)
}

/// A secret as apps for one-time codes take it from a keyboard.
pub fn secret_text(secret: &[u8]) -> String {
    Secret::from(secret.to_vec()).to_base32()
}

/// Reads what [`secret_text`] wrote.
pub fn read_secret(text: &str) -> Result<Vec<u8>, Error> {
    let secret = Secret::try_from_base32(text)
        .ok()
        .map(|secret| secret.as_ref().to_vec());
    secret
        .filter(|secret| totp(secret).is_some())
        .ok_or_else(|| Error::Bad("this is no secret for one-time codes".into()))
}

/// The text of the QR code that such apps read.
pub fn secret_url(operator: &str, secret: &[u8]) -> String {
    let account = operator.replace('@', "%40");
    format!(
        "otpauth://totp/Muster:{account}?secret={}&issuer=Muster",
        secret_text(secret)
    )
}

/// SHA-1, six digits, half a minute: what every app can do.
fn totp(secret: &[u8]) -> Option<Totp> {
    Builder::new()
        .with_secret(Secret::from(secret.to_vec()))
        .build()
        .ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn length_is_the_only_rule() {
        assert!(check("eleven char").is_err());
        assert!(check("aaaaaaaaaaaa").is_ok());
        assert!(check("äöüäöüäöüäöü").is_ok());
        assert!(check(&"a".repeat(1025)).is_err());
    }

    #[test]
    fn a_hash_knows_its_password() {
        let hash = hash("correct horse battery", &[1; 16]).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(is_right("correct horse battery", Some(&hash)));
        assert!(!is_right("correct horse batterY", Some(&hash)));
        assert!(!is_right("correct horse battery", None));
        assert!(!is_right("nobody has this password", None));
    }

    /// RFC 6238, appendix B; six of its eight digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        let secret = b"12345678901234567890";
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(step_of_code(secret, "287 082", at(59)), Some(1));
        assert_eq!(
            step_of_code(secret, "081804", at(1_111_111_109)),
            Some(37_037_036)
        );
        assert_eq!(step_of_code(secret, "287082", at(59 + 60)), None);
        assert_eq!(step_of_code(secret, "", at(59)), None);
        assert_eq!(read_secret(&secret_text(secret)).unwrap(), secret);
        assert!(read_secret("MZXW6===").is_err());
    }
}
