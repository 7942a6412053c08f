//! `muster cert inspect` and `cert verify`: what the old system needed four `openssl` lines for.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_pki::explain::{self, Purpose, VerifyInput};
use muster_pki::pem;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;

use super::files;
use super::report::{Exit, Failure, Voice};
use crate::real;

/// How long a server may take to show its certificate.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub(super) struct InspectArgs {
    /// A file, - for standard input, or HOST:PORT
    what: String,
}

#[derive(clap::Args)]
pub(super) struct VerifyArgs {
    /// A file with the certificate and its chain, or HOST:PORT
    what: String,
    /// Trusted roots (and issuing CAs); else ca.crt beside the certificate
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// CRLs to look in
    #[arg(long, value_name = "FILE")]
    crl: Vec<PathBuf>,
    /// What it is used for: client or server
    #[arg(long, value_name = "PURPOSE")]
    purpose: Option<String>,
    /// The name under which the server is reached
    #[arg(long)]
    host: Option<String>,
}

pub(super) async fn inspect(voice: Voice, args: InspectArgs) -> Result<Exit, Failure> {
    let (bytes, _) = read(&args.what).await?;
    let found = explain::inspect(&bytes, real::now()).map_err(|why| Failure::usage(why.to_string()))?;
    let text: Vec<_> = found
        .iter()
        .map(|one| one.to_string().trim_end().to_owned())
        .collect();
    voice.data(&text.join("\n\n"), &found)?;
    Ok(Exit::Ok)
}

pub(super) async fn verify(voice: Voice, args: &VerifyArgs) -> Result<Exit, Failure> {
    let (chain, host) = read(&args.what).await?;
    let ca = match &args.ca {
        Some(path) => path.clone(),
        None => beside(&args.what)?,
    };
    let anchors = files::bytes(&ca)?;
    let crls = args
        .crl
        .iter()
        .map(|path| files::bytes(path))
        .collect::<Result<Vec<_>, _>>()?;
    let crls: Vec<&[u8]> = crls.iter().map(Vec::as_slice).collect();
    let purpose = match args.purpose.as_deref() {
        None if host.is_some() => Some(Purpose::Server),
        None => None,
        Some("client") => Some(Purpose::Client),
        Some("server") => Some(Purpose::Server),
        Some(other) => {
            return Err(Failure::usage(format!(
                "{other:?} is no purpose: client or server"
            )));
        }
    };
    let verdict = explain::verify(&VerifyInput {
        leaf_chain: &chain,
        trust_anchors: &anchors,
        crls: &crls,
        purpose,
        host: args.host.as_deref().or(host.as_deref()),
        now: real::now(),
    });
    voice.data(&verdict.to_string(), &verdict)?;
    Ok(if verdict.ok { Exit::Ok } else { Exit::Failed })
}

fn beside(what: &str) -> Result<PathBuf, Failure> {
    let path = Path::new(what).with_file_name("ca.crt");
    if path.is_file() {
        return Ok(path);
    }
    Err(Failure::usage("say which root to trust").fix("add --ca ca.crt"))
}

/// The bytes of a file, or the chain that a server shows (PEM) and its host name.
async fn read(what: &str) -> Result<(Vec<u8>, Option<String>), Failure> {
    if what == "-" || Path::new(what).exists() {
        return Ok((files::bytes(Path::new(what))?, None));
    }
    let address = what
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    match address {
        Some((host, port)) => Ok((
            fetch(host, port).await?.into_bytes(),
            Some(host.trim_matches(['[', ']']).to_owned()),
        )),
        None => Ok((files::bytes(Path::new(what))?, None)),
    }
}

/// The chain that a server shows, PEM. The handshake is broken off once it has been seen: nothing is ever sent over a
/// connection that was not verified.
pub(super) async fn fetch(host: &str, port: u16) -> Result<String, Failure> {
    let cannot = |why: String| Failure::failed(format!("{host}:{port} shows no certificate: {why}"));
    let seen = Arc::new(Seen::new());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| cannot(why.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(seen.clone())
        .with_no_client_auth();
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .map_err(|why| cannot(why.to_string()))?;
    let handshake = async {
        let tcp = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
        tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
            .map(drop)
    };
    let ended = tokio::time::timeout(PATIENCE, handshake).await;
    let chain = seen.chain.lock().map(|chain| chain.clone()).unwrap_or_default();
    if chain.is_empty() {
        return Err(match ended {
            Ok(Err(why)) => cannot(why.to_string()),
            Ok(Ok(())) => cannot("it did not present one".into()),
            Err(_) => cannot("it did not answer within 10 s".into()),
        });
    }
    let blocks = chain
        .iter()
        .map(|der| pem::encode(pem::CERTIFICATE, der))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(blocks.concat())
}

/// Remembers the chain and refuses it.
#[derive(Debug)]
struct Seen {
    chain: Mutex<Vec<Vec<u8>>>,
    schemes: Vec<SignatureScheme>,
}

impl Seen {
    fn new() -> Self {
        let schemes = rustls::crypto::aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes();
        Self {
            chain: Mutex::default(),
            schemes,
        }
    }

    fn refuse<T>() -> Result<T, rustls::Error> {
        Err(rustls::Error::InvalidCertificate(
            CertificateError::ApplicationVerificationFailure,
        ))
    }
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Ok(mut chain) = self.chain.lock() {
            *chain = std::iter::once(end_entity)
                .chain(intermediates)
                .map(|der| der.to_vec())
                .collect();
        }
        Self::refuse()
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::refuse()
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::refuse()
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
