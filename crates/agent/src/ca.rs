//! The way to the CA: TLS, and the one answer that is believed by its fingerprint.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use muster_api::Client;
use muster_api::client::Connector;
use muster_pki::cert::Certificate;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::pair::Pair;
use crate::pair::{client_chain, provider};
use crate::{Clock, Error};
use muster_pki::hex;

/// A connector that trusts these roots, and shows a certificate if there is one.
pub(crate) fn connector(url: &str, roots: &[Certificate], shown: Option<&Pair>) -> Result<Connector, Error> {
    verified(url, roots, shown, Arc::new(DefaultTimeProvider))
}

/// The same by another clock than the system's.
pub(crate) fn connector_by(
    url: &str,
    roots: &[Certificate],
    shown: Option<&Pair>,
    clock: &Clock,
) -> Result<Connector, Error> {
    verified(url, roots, shown, by(clock))
}

/// A clock as TLS asks it.
pub(crate) fn by(clock: &Clock) -> Arc<dyn TimeProvider> {
    Arc::new(By(clock.clone()))
}

struct By(Clock);

impl std::fmt::Debug for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("By")
    }
}

impl TimeProvider for By {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix((self.0)()))
    }
}

fn unix(at: Timestamp) -> UnixTime {
    let seconds = u64::try_from(at.as_second()).unwrap_or_default();
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

fn verified(
    url: &str,
    roots: &[Certificate],
    shown: Option<&Pair>,
    time: Arc<dyn TimeProvider>,
) -> Result<Connector, Error> {
    let cannot = |why: rustls::Error| Error::new(format!("TLS to {url} cannot be set up: {why}"));
    let config = ClientConfig::builder_with_details(provider(), time)
        .with_safe_default_protocol_versions()
        .map_err(cannot)?
        .with_root_certificates(store(roots).map_err(cannot)?);
    let config = match shown {
        Some(pair) => {
            let (chain, key) = client_chain(pair)?;
            config.with_client_auth_cert(chain, key).map_err(cannot)?
        }
        None => config.with_no_client_auth(),
    };
    https(url, config)
}

fn store(roots: &[Certificate]) -> Result<RootCertStore, rustls::Error> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.der().to_vec().into())?;
    }
    Ok(store)
}

/// A connector that trusts these roots whatever the time is: for asking what it is, and for nothing else.
pub(crate) fn connector_at_any_time(url: &str, roots: &[Certificate]) -> Result<Connector, Error> {
    let cannot = |why: &dyn std::fmt::Display| Error::new(format!("TLS to {url} cannot be set up: {why}"));
    let roots = Arc::new(store(roots).map_err(|why| cannot(&why))?);
    let inner = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
    let verifier = AtAnyTime(inner.map_err(|why| cannot(&why))?);
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|why| cannot(&why))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    https(url, config)
}

/// Verifies as always, as if a server's certificate had just begun.
#[derive(Debug)]
struct AtAnyTime(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AtAnyTime {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let read = Certificate::from_der(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        let begun = unix(read.not_before());
        self.0
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, begun)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// The root with this SHA-256 fingerprint (hexadecimal). The connection is not verified; what comes over it is.
pub(crate) async fn root(url: &str, fingerprint: &str) -> Result<Certificate, Error> {
    let client = Client::new(unverified(url)?, None);
    let fingerprint = fingerprint.to_ascii_lowercase();
    let text = match client.root(&fingerprint).await {
        Err(why @ muster_api::Error::Unreachable(..)) => return Err(why.into()),
        other => other.unwrap_or_default(),
    };
    let shown = Certificate::all_from_pem(&text)
        .unwrap_or_default()
        .into_iter()
        .next();
    shown
        .filter(|root| hex(&root.fingerprint()) == fingerprint)
        .ok_or_else(|| {
            Error::new(format!(
                "{url} does not show the root that it should: something stands between this machine and the CA, or what was given \
                 here belongs to another CA"
            ))
        })
}

/// The root that vouches for the CA's address, then those of its other authorities.
pub(crate) async fn all_roots(client: &Client, root: &Certificate) -> Result<Vec<Certificate>, Error> {
    #[derive(serde::Deserialize)]
    struct Roots {
        crts: Vec<String>,
    }
    let all: Roots = client.get_step("/federation").await?;
    let others = Certificate::all_from_pem(&all.crts.concat())?;
    Ok([vec![root.clone()], others].concat())
}

/// Every certificate of a text.
pub(crate) fn roots(pem: &str) -> Result<Vec<Certificate>, Error> {
    Ok(Certificate::all_from_pem(pem)?)
}

/// A connector that believes anybody.
fn unverified(url: &str) -> Result<Connector, Error> {
    let cannot = |why: rustls::Error| Error::new(format!("TLS to {url} cannot be set up: {why}"));
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(cannot)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    https(url, config)
}

fn https(url: &str, config: ClientConfig) -> Result<Connector, Error> {
    let bad = || Error::new(format!("{url:?} is no URL such as https://ca.example.org:9000"));
    let rest = url.strip_prefix("https://").ok_or_else(bad)?;
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| bad())?),
        _ => (authority, 9000),
    };
    Ok(Connector::https(host, port, Arc::new(config))?)
}

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = provider();
        provider.signature_verification_algorithms.supported_schemes()
    }
}
