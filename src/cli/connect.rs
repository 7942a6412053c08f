//! The way to a server: the local socket, a remote URL, or the same router in this process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_api::Client;
use muster_api::client::{Connector, Stream};
use muster_ca::ports::StoreError;
use muster_server::Edge;
use muster_server::peer::Peer;
use zeroize::Zeroizing;

use super::Common;
use super::report::Failure;
use crate::assemble::{self, Open};
use crate::config::{Config, Flags, variable};
use crate::local::LocalSocket;

/// A client and, where the authority runs in this process, the authority.
pub(crate) struct Session {
    pub(crate) client: Client,
    open: Option<Open>,
}

impl Session {
    /// Reaches the server that the options mean. A server that runs on the data directory is preferred to a second one.
    pub(crate) async fn start(common: &Common) -> Result<Self, Failure> {
        if let Some(url) = remote_url(common)? {
            return Ok(Self {
                client: remote(&url, common)?,
                open: None,
            });
        }
        if let Some(connector) = local(&common.data).await {
            return Ok(Self {
                client: Client::new(connector, None),
                open: None,
            });
        }
        let config = Config::load(&common.data, &Flags::default())?;
        let open = assemble::open(&config).await?;
        let client = Client::new(in_process(&config, &open), None);
        Ok(Self {
            client,
            open: Some(open),
        })
    }

    /// Whether the server shall only say what it would do.
    pub(crate) fn dry_run(mut self, dry_run: bool) -> Self {
        self.client.set_dry_run(dry_run);
        self
    }

    /// Whether the authority runs in this process, so that its data directory is the one that the command works on.
    pub(crate) fn is_in_this_process(&self) -> bool {
        self.open.is_some()
    }

    /// Finishes what a command began: without a server, its CRLs are made here, and what it recorded is made findable.
    pub(crate) async fn finish(self) -> Result<(), Failure> {
        if let Some(open) = &self.open {
            if open.ca.revocations() > 0 {
                open.ca.refresh_crls().await?;
            }
            match open.ca.catch_up().await {
                // The next start makes it findable.
                Err(muster_ca::Error::Store(StoreError::Full)) => {}
                other => other?,
            }
        }
        Ok(())
    }
}

/// The way to the server that runs on a data directory, if one does.
async fn local(data: &Path) -> Option<Connector> {
    let socket = Arc::new(LocalSocket::of(data).ok()?);
    tokio::net::UnixStream::connect(socket.address()).await.ok()?;
    let what = socket.path.display().to_string();
    Some(Connector::custom(what, move || {
        let socket = socket.clone();
        Box::pin(async move { Ok(Box::new(connect(&socket).await?) as Box<dyn Stream>) })
    }))
}

/// Anybody may have left a socket in a directory that is not guarded; secrets go to the owner's server alone.
async fn connect(socket: &LocalSocket) -> std::io::Result<tokio::net::UnixStream> {
    let stream = tokio::net::UnixStream::connect(socket.address()).await?;
    let server = stream.peer_cred()?.uid();
    if server == socket.owner {
        return Ok(stream);
    }
    Err(std::io::Error::other(format!(
        "the user {server} serves there, and the data directory belongs to the user {}",
        socket.owner
    )))
}

fn in_process(config: &Config, open: &Open) -> Connector {
    let settings = config.web.settings.clone();
    let config = config.clone();
    let todos = Arc::new(move || assemble::todos(&config));
    let router = muster_server::local_service(&Edge::new(open.ca.clone(), todos, settings));
    let uid = rustix::process::geteuid().as_raw();
    Connector::custom("the authority in this process".into(), move || {
        let router = router.clone();
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            tokio::spawn(muster_server::serve_stream(router, theirs, Peer::Process { uid }));
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    })
}

/// `--url`, else the environment's, unless the data directory holds an authority of its own.
fn remote_url(common: &Common) -> Result<Option<String>, Failure> {
    if common.url.is_some() {
        return Ok(common.url.clone());
    }
    // What may not be looked into is found out about later, unless another server is named.
    if assemble::is_initialised(&common.data).unwrap_or(false) {
        return Ok(None);
    }
    let told = match variable("MUSTER_URL")? {
        Some(url) => Some(url),
        None => variable("STEP_CA_URL")?,
    };
    Ok(told.or_else(|| step_default("ca-url")))
}

fn remote(url: &str, common: &Common) -> Result<Client, Failure> {
    let key = variable("MUSTER_API_KEY")?.map(Zeroizing::new).ok_or_else(|| {
        Failure::usage("a remote server needs an API key")
            .fix("on the server: muster user create NAME --role operator; then set MUSTER_API_KEY_FILE")
    })?;
    let told = match variable("MUSTER_ROOT")? {
        Some(root) => Some(root),
        None => variable("STEP_CA_ROOT")?,
    };
    let root = common
        .root
        .clone()
        .or_else(|| told.map(PathBuf::from))
        .or_else(|| step_default("root").map(PathBuf::from))
        .ok_or_else(|| {
            Failure::usage("say which root certificate the server must have").fix("add --root FILE")
        })?;
    let (host, port) = host_and_port(url)?;
    Ok(Client::new(
        Connector::https(&host, port, trust(&root)?)?,
        Some(key),
    ))
}

fn host_and_port(url: &str) -> Result<(String, u16), Failure> {
    let bad = || Failure::usage(format!("{url:?} is no URL such as https://ca.example.org:9000"));
    let rest = match url.split_once("://") {
        Some(("https", rest)) => rest,
        Some(_) => return Err(bad()),
        None => url,
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| bad())?),
        _ => (authority, 9000),
    };
    if host.is_empty() {
        Err(bad())
    } else {
        Ok((host.to_owned(), port))
    }
}

/// TLS that trusts the roots in a file and nobody else.
pub(crate) fn trust(root: &Path) -> Result<Arc<rustls::ClientConfig>, Failure> {
    let cannot = |why: &dyn std::fmt::Display| {
        Failure::usage(format!("the root certificate {}: {why}", root.display()))
    };
    let text = std::fs::read_to_string(root).map_err(|why| cannot(&why))?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in muster_pki::cert::Certificate::all_from_pem(&text)? {
        roots
            .add(certificate.der().to_vec().into())
            .map_err(|why| cannot(&why))?;
    }
    if roots.is_empty() {
        return Err(cannot(&"it holds no certificate"));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| cannot(&why))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// A default that `step ca bootstrap` left in `$STEPPATH/config/defaults.json`.
fn step_default(key: &str) -> Option<String> {
    let path = PathBuf::from(variable("STEPPATH").ok()??).join("config/defaults.json");
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    json.get(key)?.as_str().map(str::to_owned)
}
