//! mTLS between a proxy and authz when they are not in one pod (rustls, TLS 1.2 and 1.3).
//!
//! Certificates are followed: a connection that is accepted after the files changed uses the new ones, and a set of
//! files that does not load never replaces one that does.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;

/// Time for one handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Handshakes under way at once; Envoy keeps its connections.
const MAX_HANDSHAKES: usize = 64;
/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// An accepted connection. tonic (`tls-connect-info`) and axum take it as it is.
pub type TlsConnection = TlsStream<TcpStream>;

/// The files of one TLS listener.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// Authorities of the clients that may ask, PEM.
    pub client_ca: PathBuf,
    /// What is spoken inside (RFC 7301), the best first.
    pub alpn: &'static [&'static str],
}

impl TlsFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// Names the file and what is wrong with it; never prints a key.
    pub fn load(&self) -> Result<Arc<ServerConfig>> {
        let certs = certificates(&self.cert)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .with_context(|| format!("{}: no private key in PEM can be read", self.key.display()))?;
        let mut roots = RootCertStore::empty();
        for authority in certificates(&self.client_ca)? {
            roots
                .add(authority)
                .with_context(|| format!("{}: not a certificate authority", self.client_ca.display()))?;
        }
        let clients = WebPkiClientVerifier::builder(Arc::new(roots))
            .build()
            .with_context(|| format!("{}: client authorities", self.client_ca.display()))?;
        let mut config = ServerConfig::builder()
            .with_client_cert_verifier(clients)
            .with_single_cert(certs, key)
            .with_context(|| format!("{} and {} do not belong together", self.cert.display(), self.key.display()))?;
        config.alpn_protocols = self.alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Ok(Arc::new(config))
    }

    fn content(&self) -> Option<Vec<Vec<u8>>> {
        [&self.cert, &self.key, &self.client_ca].into_iter().map(|path| std::fs::read(path).ok()).collect()
    }
}

fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>> {
    let certs: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .with_context(|| format!("{}: no certificates in PEM can be read", path.display()))?;
    anyhow::ensure!(!certs.is_empty(), "{}: holds no certificate", path.display());
    Ok(certs)
}

/// Connections whose handshake is done. Ends with its listener's runtime.
///
/// # Errors
/// When the files do not load at start.
pub fn incoming(listener: TcpListener, files: TlsFiles) -> Result<ReceiverStream<io::Result<TlsConnection>>> {
    let config = Arc::new(ArcSwap::new(files.load()?));
    tokio::spawn(follow(files, Arc::clone(&config)));
    let (sender, receiver) = mpsc::channel(MAX_HANDSHAKES);
    tokio::spawn(accept(listener, config, sender));
    Ok(ReceiverStream::new(receiver))
}

async fn accept(
    listener: TcpListener,
    config: Arc<ArcSwap<ServerConfig>>,
    sender: mpsc::Sender<io::Result<TlsConnection>>,
) {
    let permits = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = sender.closed() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: others must close before there is room.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (acceptor, sender) = (TlsAcceptor::from(config.load_full()), sender.clone());
        tokio::spawn(async move {
            let _permit = permit;
            match timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let _ = sender.send(Ok(stream)).await;
                }
                Ok(Err(error)) => tracing::warn!(%peer, %error, "TLS handshake refused"),
                Err(_) => tracing::warn!(%peer, "TLS handshake took too long"),
            }
        });
    }
}

/// Looks at the content, not at times: a mounted Secret swaps a symbolic link.
async fn follow(files: TlsFiles, config: Arc<ArcSwap<ServerConfig>>) {
    let mut last = files.content();
    let mut every = tokio::time::interval(EVERY);
    loop {
        every.tick().await;
        let content = files.content();
        if content == last {
            continue;
        }
        last = content;
        match files.load() {
            Ok(loaded) => {
                config.store(loaded);
                tracing::info!("TLS certificates reloaded");
            }
            Err(error) => tracing::error!(
                error = format!("{error:#}"),
                "TLS certificates changed but do not load; the old ones stay"
            ),
        }
    }
}
