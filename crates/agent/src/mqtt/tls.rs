//! TLS to the broker, 1.2 or 1.3, with both ends verified.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use muster_api::client::dial;
use muster_pki::cert::Certificate;
use muster_pki::key::PrivateKey;
use rustls::pki_types::ServerName;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

use super::Place;
use crate::pair::Pair;
use crate::pair::{client_chain, provider};
use crate::{Error, disk};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// How long one may take for the library, which counts the broker's answer to CONNECT.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
/// How much of that is for TCP.
const DIAL: Duration = Duration::from_secs(8);

/// A connection whose other end has proved that it is the broker.
pub(crate) async fn connect(place: &Place) -> std::io::Result<TlsStream<TcpStream>> {
    connect_by(place, Arc::new(DefaultTimeProvider)).await
}

/// The same by another clock than the system's.
pub(crate) async fn connect_by(
    place: &Place,
    time: Arc<dyn TimeProvider>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let config = config(place, time).map_err(std::io::Error::other)?;
    let name = ServerName::try_from(place.host.clone()).map_err(std::io::Error::other)?;
    let connected = async {
        let tcp = dial((place.host.as_str(), place.port), DIAL).await?;
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    };
    let slow = |_| std::io::Error::other("no connection within 10 s");
    tokio::time::timeout(CONNECT, connected).await.map_err(slow)?
}

fn config(place: &Place, time: Arc<dyn TimeProvider>) -> Result<ClientConfig, Error> {
    let read = |path: &Path| {
        let missing = || Error::new(format!("there is no {}", path.display()));
        disk::read_text(path)?.map(Zeroizing::new).ok_or_else(missing)
    };
    let mut roots = RootCertStore::empty();
    let cannot = |why: rustls::Error| Error::new(format!("TLS cannot be set up: {why}"));
    let certificates = |path: &Path| {
        let all = Certificate::all_from_pem(&read(path)?).unwrap_or_default();
        let none = || Error::new(format!("{} holds no certificate", path.display()));
        if all.is_empty() { Err(none()) } else { Ok(all) }
    };
    for ca in certificates(&place.ca)? {
        roots.add(ca.der().to_vec().into()).map_err(cannot)?;
    }
    let (certificate, key) = (place.certificate.display(), place.key.display());
    let no_key = |_| Error::new(format!("{key} holds no key"));
    let strange = |_| Error::new(format!("{key} is not the key of {certificate}"));
    let own = PrivateKey::from_pem(&read(&place.key)?).map_err(no_key)?;
    let pair = Pair::new(certificates(&place.certificate)?, own).map_err(strange)?;
    let (chain, key) = client_chain(&pair)?;
    ClientConfig::builder_with_details(provider(), time)
        .with_safe_default_protocol_versions()
        .map_err(cannot)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(cannot)
}

/// How a broker refuses who is not let in.
pub(super) const REFUSALS: [AlertDescription; 3] = [
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateExpired,
    AlertDescription::UnknownCA,
];

/// What went wrong, and what helps.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not listed has words of its own"
)]
pub(super) fn words(host: &str, error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!("the broker's certificate is not for {host} (connect by a name that is in it)"),
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => "the broker's certificate comes from a CA that is not in ca.crt".into(),
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "the broker's certificate has expired, or this clock is ahead".into(),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => "the broker's certificate is not valid yet: this clock is behind".into(),
        rustls::Error::AlertReceived(AlertDescription::CertificateRevoked) => {
            "the broker refuses this device as revoked".into()
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateExpired) => {
            "the broker refuses this device's certificate as expired".into()
        }
        rustls::Error::AlertReceived(AlertDescription::UnknownCA) => {
            "the broker does not know the CA of this device".into()
        }
        other => other.to_string(),
    }
}
