//! The extensions that are understood here, read once.

use const_oid::db::rfc5280::{
    ID_AD_CA_ISSUERS, ID_AD_OCSP, ID_CE_CERTIFICATE_POLICIES, ID_CE_INHIBIT_ANY_POLICY,
    ID_CE_POLICY_CONSTRAINTS, ID_CE_POLICY_MAPPINGS,
};
use const_oid::{AssociatedOid, ObjectIdentifier};
use der::Decode;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{
    AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints, CrlDistributionPoints,
    ExtendedKeyUsage, KeyUsage, NameConstraints, SubjectAltName,
};

use super::facts::AlternativeName;
use super::words;

/// What a certificate's or a request's extensions say.
#[derive(Default)]
pub(super) struct Known {
    pub(super) constraints: Option<BasicConstraints>,
    pub(super) usage: Option<KeyUsage>,
    pub(super) extended: Option<Vec<ObjectIdentifier>>,
    pub(super) names: Vec<GeneralName>,
    pub(super) crl_urls: Vec<String>,
    pub(super) ocsp_urls: Vec<String>,
    pub(super) issuer_urls: Vec<String>,
    pub(super) issuer_by_serial: bool,
    pub(super) name_constraints: bool,
    /// Critical and not understood: who sees one must refuse (RFC 5280, section 4.2).
    pub(super) strange: Vec<ObjectIdentifier>,
    /// Present but not decodable, or there twice.
    pub(super) broken: Vec<ObjectIdentifier>,
}

impl Known {
    pub(super) fn read(extensions: &[Extension]) -> Self {
        let mut known = Self::default();
        known.constraints = known.take(extensions);
        known.usage = known.take(extensions);
        known.extended = known.take::<ExtendedKeyUsage>(extensions).map(|usages| usages.0);
        known.names = known
            .take::<SubjectAltName>(extensions)
            .map(|names| names.0)
            .unwrap_or_default();
        known.name_constraints = known.take::<NameConstraints>(extensions).is_some();
        known.crl_urls = known.take(extensions).map(crl_urls).unwrap_or_default();
        let access: AuthorityInfoAccessSyntax = known.take(extensions).unwrap_or_default();
        known.ocsp_urls = access_urls(&access, ID_AD_OCSP);
        known.issuer_urls = access_urls(&access, ID_AD_CA_ISSUERS);
        let authority: Option<AuthorityKeyIdentifier> = known.take(extensions);
        known.issuer_by_serial = authority.is_some_and(|id| id.authority_cert_serial_number.is_some());
        let strange = extensions
            .iter()
            .filter(|extension| extension.critical && !is_understood(extension.extn_id));
        known.strange = strange.map(|extension| extension.extn_id).collect();
        known
    }

    fn take<T: AssociatedOid + for<'a> Decode<'a>>(&mut self, extensions: &[Extension]) -> Option<T> {
        let mut matching = extensions.iter().filter(|extension| extension.extn_id == T::OID);
        let first = matching.next()?;
        let read = T::from_der(first.extn_value.as_bytes()).ok();
        if read.is_none() || matching.next().is_some() {
            self.broken.push(T::OID);
        }
        read
    }

    pub(super) fn is_ca(&self) -> bool {
        self.constraints
            .as_ref()
            .is_some_and(|constraints| constraints.ca)
    }

    pub(super) fn path_len(&self) -> Option<u8> {
        self.constraints
            .as_ref()
            .filter(|constraints| constraints.ca)?
            .path_len_constraint
    }

    /// Whether the holder may do this; no extension means anything.
    pub(super) fn allows(&self, purpose: ObjectIdentifier) -> bool {
        self.extended
            .as_ref()
            .is_none_or(|usages| usages.contains(&purpose))
    }

    /// Whether it was made for this.
    pub(super) fn names_purpose(&self, purpose: ObjectIdentifier) -> bool {
        self.extended
            .as_ref()
            .is_some_and(|usages| usages.contains(&purpose))
    }

    pub(super) fn usages_in_words(&self) -> Vec<String> {
        let issuing = self.is_ca().then(|| "issue certificates".to_owned());
        let listing = self
            .usage
            .filter(|usage| usage.crl_sign())
            .map(|_| "sign revocation lists".to_owned());
        let extended = self.extended.iter().flatten().map(|oid| words::usage(*oid));
        issuing.into_iter().chain(listing).chain(extended).collect()
    }

    pub(super) fn alternative_names(&self) -> Vec<AlternativeName> {
        self.names.iter().map(alternative_name).collect()
    }
}

fn is_understood(oid: ObjectIdentifier) -> bool {
    // Policies that nobody asks about restrict nothing, which is why every TLS stack passes over them.
    const POLICIES: [ObjectIdentifier; 4] = [
        ID_CE_CERTIFICATE_POLICIES,
        ID_CE_POLICY_MAPPINGS,
        ID_CE_POLICY_CONSTRAINTS,
        ID_CE_INHIBIT_ANY_POLICY,
    ];
    const READ: [ObjectIdentifier; 8] = [
        BasicConstraints::OID,
        KeyUsage::OID,
        ExtendedKeyUsage::OID,
        SubjectAltName::OID,
        NameConstraints::OID,
        CrlDistributionPoints::OID,
        AuthorityInfoAccessSyntax::OID,
        AuthorityKeyIdentifier::OID,
    ];
    READ.contains(&oid) || POLICIES.contains(&oid)
}

fn crl_urls(points: CrlDistributionPoints) -> Vec<String> {
    let full_names = points
        .0
        .into_iter()
        .filter_map(|point| match point.distribution_point {
            Some(DistributionPointName::FullName(names)) => Some(names),
            Some(DistributionPointName::NameRelativeToCRLIssuer(_)) | None => None,
        });
    full_names.flatten().filter_map(|name| url(&name)).collect()
}

fn access_urls(access: &AuthorityInfoAccessSyntax, method: ObjectIdentifier) -> Vec<String> {
    let matching = access
        .0
        .iter()
        .filter(|description| description.access_method == method);
    matching
        .filter_map(|description| url(&description.access_location))
        .collect()
}

fn url(name: &GeneralName) -> Option<String> {
    if let GeneralName::UniformResourceIdentifier(url) = name {
        Some(words::clean(url.as_str()))
    } else {
        None
    }
}

fn alternative_name(name: &GeneralName) -> AlternativeName {
    let (kind, value) = match name {
        GeneralName::DnsName(text) => ("DNS", text.as_str().to_owned()),
        GeneralName::IpAddress(octets) => ("IP", address_text(octets.as_bytes())),
        GeneralName::Rfc822Name(text) => ("e-mail", text.as_str().to_owned()),
        GeneralName::UniformResourceIdentifier(text) => ("URI", text.as_str().to_owned()),
        GeneralName::DirectoryName(name) => ("other", name.to_string()),
        GeneralName::OtherName(other) => ("other", words::object(other.type_id)),
        GeneralName::EdiPartyName(_) => ("other", "EDI party name".to_owned()),
        GeneralName::RegisteredId(oid) => ("other", oid.to_string()),
    };
    AlternativeName {
        kind,
        value: words::clean(&value),
    }
}

fn address_text(octets: &[u8]) -> String {
    super::host::address(octets).map_or_else(
        || format!("{} (no address)", crate::hex(octets)),
        |ip| ip.to_string(),
    )
}
