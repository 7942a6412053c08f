//! Devices for the load: a fresh P-256 key and a certificate request, as `step` would make it.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use const_oid::db::rfc5280::ID_CE_SUBJECT_ALT_NAME;
use const_oid::db::rfc5912::{ECDSA_WITH_SHA_256, ID_EC_PUBLIC_KEY, SECP_256_R_1};
use der::asn1::{Any, BitString, Ia5String, OctetString, SetOfVec};
use der::{Decode, Encode};
use std::str::FromStr;
use x509_cert::attr::Attribute;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;
use x509_cert::request::{CertReq, CertReqInfo, ExtensionReq, Version};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use crate::Result;

/// A device: its key and the request for its certificate.
pub(crate) struct Identity {
    /// The private key.
    pub(crate) key: EcdsaKeyPair,
    /// The signed part of the request, DER.
    pub(crate) to_be_signed: Vec<u8>,
    /// Its signature, ASN.1.
    pub(crate) signature: Vec<u8>,
}

impl Identity {
    /// Makes a key and a request for `name`, which is also the one dNSName asked for.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
        let to_be_signed = request(name, key.public_key().as_ref())?.to_der()?;
        let signature = key.sign(&SystemRandom::new(), &to_be_signed)?.as_ref().to_vec();
        Ok(Self {
            key,
            to_be_signed,
            signature,
        })
    }

    /// The request, DER.
    fn csr(&self) -> Result<Vec<u8>> {
        let signed = CertReq {
            info: CertReqInfo::from_der(&self.to_be_signed)?,
            algorithm: AlgorithmIdentifierOwned {
                oid: ECDSA_WITH_SHA_256,
                parameters: None,
            },
            signature: BitString::from_bytes(&self.signature)?,
        };
        Ok(signed.to_der()?)
    }

    /// The request as `POST /sign` takes it.
    pub(crate) fn csr_pem(&self) -> Result<String> {
        der::pem::encode_string("CERTIFICATE REQUEST", der::pem::LineEnding::LF, &self.csr()?)
            .map_err(|why| format!("PEM: {why}").into())
    }
}

fn request(name: &str, point: &[u8]) -> Result<CertReqInfo> {
    let names = SubjectAltName(vec![GeneralName::DnsName(Ia5String::new(name)?)]);
    let extension = Extension {
        extn_id: ID_CE_SUBJECT_ALT_NAME,
        critical: false,
        extn_value: OctetString::new(names.to_der()?)?,
    };
    let attribute = Attribute::try_from(ExtensionReq(vec![extension]))?;
    let algorithm = AlgorithmIdentifierOwned {
        oid: ID_EC_PUBLIC_KEY,
        parameters: Some(Any::encode_from(&SECP_256_R_1)?),
    };
    Ok(CertReqInfo {
        version: Version::V1,
        subject: Name::from_str(&format!("CN={name}"))?,
        public_key: SubjectPublicKeyInfoOwned {
            algorithm,
            subject_public_key: BitString::from_bytes(point)?,
        },
        attributes: SetOfVec::try_from([attribute])?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::Identity;

    #[test]
    fn a_request_is_one_that_muster_reads() {
        let identity = Identity::new("site-0000001").unwrap();
        let csr = muster_pki::csr::Csr::from_der(&identity.csr().unwrap()).unwrap();
        assert_eq!(csr.common_name(), Some("site-0000001"));
        assert_eq!(csr.sans().len(), 1);
    }
}
