//! Names: distinguished names that hold a common name, and subject alternative names.

use std::net::IpAddr;
use std::str::FromStr;

use const_oid::db::rfc4519::COMMON_NAME;
use der::asn1::{Any, Ia5String, OctetString, PrintableString, SetOfVec, Utf8StringRef};
use der::{Decode, Encode, Tag, Tagged};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};

use crate::Error;

/// RFC 5280 appendix A: `ub-common-name`.
const MAX_COMMON_NAME: usize = 64;
/// The longest alternative name that is accepted, in bytes.
const MAX_SAN: usize = 253;

/// A distinguished name of one common name.
///
/// Written as PrintableString where the text allows, since the smallest TLS stacks compare names byte by byte.
/// Refuses texts that are empty or over 64 characters.
pub fn common_name(text: &str) -> Result<Name, Error> {
    if text.is_empty() || text.chars().count() > MAX_COMMON_NAME {
        return Err(Error::Name(format!(
            "a common name has 1 to {MAX_COMMON_NAME} characters, not {}",
            text.len()
        )));
    }
    let encode = |_| Error::Encode("name");
    let value = match PrintableString::new(text) {
        Ok(printable) => Any::encode_from(&printable).map_err(encode)?,
        Err(_) => Any::encode_from(&Utf8StringRef::new(text).map_err(encode)?).map_err(encode)?,
    };
    let part = AttributeTypeAndValue {
        oid: COMMON_NAME,
        value,
    };
    let rdn = SetOfVec::try_from([part]).map_err(encode)?;
    let sequence = RdnSequence::from(vec![RelativeDistinguishedName::from(rdn)]);
    from_der(&sequence.to_der().map_err(encode)?)
}

/// The first common name, which is the one that brokers take for the MQTT username; `None` if there is none or it is not text.
pub fn first_common_name(name: &Name) -> Option<String> {
    name.iter()
        .find(|part| part.oid == COMMON_NAME)
        .and_then(|part| text_of(&part.value))
}

fn text_of(value: &Any) -> Option<String> {
    let tag = value.tag();
    if tag == Tag::BmpString {
        let units = value
            .value()
            .chunks_exact(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        return char::decode_utf16(units).collect::<Result<String, _>>().ok();
    }
    let textual = [
        Tag::Utf8String,
        Tag::PrintableString,
        Tag::Ia5String,
        Tag::TeletexString,
    ]
    .contains(&tag);
    textual
        .then(|| std::str::from_utf8(value.value()).ok().map(str::to_owned))
        .flatten()
}

/// A subject alternative name of one of the four types that Muster issues (RFC 5280, section 4.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum San {
    /// `dNSName`, lower case, perhaps with `*.` in front.
    Dns(String),
    /// `iPAddress`.
    Ip(IpAddr),
    /// `rfc822Name`.
    Email(String),
    /// `uniformResourceIdentifier`.
    Uri(String),
}

impl San {
    /// Reads a name as `step` types it: an address, else a URL with any scheme, else something with `@`, else DNS.
    ///
    /// Unlike `step`, refuses what no verifier could match: blanks, control characters, non-ASCII text, empty labels.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |why: &str| Error::Name(format!("the alternative name {text:?} {why}"));
        if text.is_empty() || text.len() > MAX_SAN {
            return Err(bad("is empty or longer than 253 bytes"));
        }
        if let Ok(ip) = IpAddr::from_str(text) {
            return Ok(Self::Ip(ip));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(bad("has blanks, control characters or letters outside ASCII"));
        }
        if has_scheme(text) {
            return Ok(Self::Uri(text.to_owned()));
        }
        if text.contains('@') {
            return Ok(Self::Email(text.to_owned()));
        }
        let dns = text.to_ascii_lowercase();
        if is_dns_name(&dns) {
            Ok(Self::Dns(dns))
        } else {
            Err(bad(
                "is neither an address, a URI, an e-mail address nor a DNS name",
            ))
        }
    }

    /// The text, without its type.
    pub fn text(&self) -> String {
        match self {
            Self::Dns(text) | Self::Email(text) | Self::Uri(text) => text.clone(),
            Self::Ip(ip) => ip.to_string(),
        }
    }

    /// What stands in the certificate.
    pub(crate) fn to_general_name(&self) -> Result<GeneralName, Error> {
        let ia5 = |text: &str| Ia5String::new(text).map_err(|_| Error::Encode("alternative name"));
        Ok(match self {
            Self::Dns(text) => GeneralName::DnsName(ia5(text)?),
            Self::Email(text) => GeneralName::Rfc822Name(ia5(text)?),
            Self::Uri(text) => GeneralName::UniformResourceIdentifier(ia5(text)?),
            Self::Ip(ip) => GeneralName::IpAddress(octets(*ip)?),
        })
    }

    /// What a certificate or request holds; `Err` for the types that Muster does not issue.
    pub(crate) fn from_general_name(name: &GeneralName) -> Result<Self, Error> {
        match name {
            GeneralName::DnsName(text) => Ok(Self::Dns(text.as_str().to_ascii_lowercase())),
            GeneralName::Rfc822Name(text) => Ok(Self::Email(text.as_str().to_owned())),
            GeneralName::UniformResourceIdentifier(text) => Ok(Self::Uri(text.as_str().to_owned())),
            GeneralName::IpAddress(octets) => address(octets.as_bytes()).map(Self::Ip),
            GeneralName::OtherName(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EdiPartyName(_)
            | GeneralName::RegisteredId(_) => Err(Error::Name(
                "an alternative name is of a type other than DNS, address, e-mail and URI".into(),
            )),
        }
    }
}

impl std::fmt::Display for San {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text())
    }
}

/// The DER of a name, as it stands in certificates; used to compare and to copy.
pub fn to_der(name: &Name) -> Result<Vec<u8>, Error> {
    name.to_der().map_err(|_| Error::Encode("name"))
}

/// What OpenSSL calls a name's hash, by which directories of CRLs are searched (`openssl crl -hash`, X509_NAME_hash_ex(3)): of each
/// text, case and needless spaces do not matter. For names whose parts have one attribute each, as CAs' names do.
pub fn directory_hash(der: &[u8]) -> Result<String, Error> {
    let mut canonical = Vec::new();
    for part in from_der(der)?.iter() {
        let value = match text_of(&part.value) {
            Some(text) => {
                let words: Vec<&str> = text.split_ascii_whitespace().collect();
                let text = words.join(" ").to_ascii_lowercase();
                let encode = |_| Error::Encode("name");
                Any::encode_from(&Utf8StringRef::new(&text).map_err(encode)?).map_err(encode)?
            }
            None => part.value.clone(),
        };
        let oid = part.oid;
        let encode = |_| Error::Encode("name");
        let rdn = SetOfVec::try_from([AttributeTypeAndValue { oid, value }]).map_err(encode)?;
        canonical.extend(rdn.to_der().map_err(encode)?);
    }
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &canonical);
    let first = hash.as_ref().iter().take(4).rev();
    Ok(first.map(|byte| format!("{byte:02x}")).collect())
}

/// Reads a name's DER.
pub fn from_der(der: &[u8]) -> Result<Name, Error> {
    Name::from_der(der).map_err(|why| Error::malformed("name", why))
}

fn octets(ip: IpAddr) -> Result<OctetString, Error> {
    let bytes = match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    OctetString::new(bytes).map_err(|_| Error::Encode("address"))
}

fn address(bytes: &[u8]) -> Result<IpAddr, Error> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::from(v4));
    }
    let v6 = <[u8; 16]>::try_from(bytes).map_err(|_| Error::Name("an address has 4 or 16 octets".into()))?;
    Ok(IpAddr::from(v6))
}

/// RFC 3986 section 3.1: a letter, then letters, digits, `+`, `-`, `.`, then a colon.
fn has_scheme(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let mut bytes = scheme.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        && !rest.is_empty()
}

fn is_dns_name(text: &str) -> bool {
    let labels = text.strip_prefix("*.").unwrap_or(text);
    labels.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn alternative_names_are_typed_as_step_types_them() {
        for (text, want) in [
            ("10.0.80.50", San::Ip("10.0.80.50".parse().unwrap())),
            ("::1", San::Ip("::1".parse().unwrap())),
            (
                "spiffe://fleet/site-001",
                San::Uri("spiffe://fleet/site-001".into()),
            ),
            ("aa:bb:cc:dd:ee:ff", San::Uri("aa:bb:cc:dd:ee:ff".into())),
            ("ops@example.org", San::Email("ops@example.org".into())),
            ("*.AK-SG.com", San::Dns("*.ak-sg.com".into())),
            ("site-001", San::Dns("site-001".into())),
        ] {
            assert_eq!(San::parse(text).unwrap(), want);
        }
        for bad in [
            "",
            "a b",
            "a..b",
            "-a",
            "a/b",
            "00:11:22:33:44:55",
            "é.example",
            &"a".repeat(254),
        ] {
            assert!(San::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn common_names_come_back() {
        for text in ["site-001", "AK-SG IoT CA", "Überwachung"] {
            let name = common_name(text).unwrap();
            assert_eq!(
                first_common_name(&from_der(&to_der(&name).unwrap()).unwrap()).unwrap(),
                text
            );
        }
        assert!(common_name("").is_err());
        assert!(common_name(&"x".repeat(65)).is_err());
    }

    /// `openssl crl -hash` of lists of CAs with these names.
    #[test]
    fn directories_are_searched_by_openssls_hash() {
        let hash = |text: &str| directory_hash(&to_der(&common_name(text).unwrap()).unwrap()).unwrap();
        assert_eq!(hash("root"), "dcaaf7f0");
        assert_eq!(hash(" RooT "), "dcaaf7f0");
        assert_ne!(hash("root 2"), "dcaaf7f0");
    }
}
