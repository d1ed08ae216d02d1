//! Where proxies ask: a Unix socket, a TCP port on loopback, or a TCP port with mTLS. Whoever can ask gets grants.

use std::{
    fmt, io,
    net::SocketAddr,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, Result};
use docsgate_service::exit::UsageError;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_stream::wrappers::ReceiverStream;

use super::tls::{self, TlsConnection, TlsFiles};

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A Unix domain socket.
    Unix(PathBuf),
    /// TCP.
    Tcp(SocketAddr),
    /// Nowhere.
    None,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::None);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            // sockaddr_un holds 107 bytes and a terminator.
            return match path.len() {
                0 => Err("the path after `unix:` is empty".into()),
                1..=107 => Ok(Self::Unix(path.into())),
                length => {
                    Err(format!("the socket path has {length} bytes; the system allows 107: use a shorter folder"))
                }
            };
        }
        text.parse().map(Self::Tcp).map_err(|_| format!("`{text}` is neither unix:PATH nor ADDRESS:PORT"))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "{address}"),
            Self::None => f.write_str("none"),
        }
    }
}

/// A bound listener. A Unix socket stays when the process goes; the next start removes it if nobody answers there.
#[derive(Debug)]
pub enum Listener {
    /// A Unix domain socket, and where it is.
    Unix(UnixListener, PathBuf),
    /// TCP on loopback.
    Tcp(TcpListener),
    /// Connections whose handshake is done, and the address that they come to.
    Tls(ReceiverStream<io::Result<TlsConnection>>, SocketAddr),
}

impl Listener {
    /// Binds; `None` for [`Listen::None`]. `flag` is the one that says where, for messages.
    ///
    /// # Errors
    /// [`UsageError`] when anybody could reach it, any other error when it cannot be bound.
    pub async fn bind(flag: &'static str, listen: &Listen, tls: Option<TlsFiles>) -> Result<Option<Self>> {
        match listen {
            Listen::None => Ok(None),
            Listen::Tcp(address) => {
                if tls.is_none() && !address.ip().is_loopback() {
                    let remedy = "use unix:PATH, or set --tls-cert-file, --tls-key-file and --tls-client-ca-file";
                    let fault = format!("{flag} {address}: without mTLS anybody could ask for grants; {remedy}");
                    return Err(UsageError(fault).into());
                }
                let cannot = || format!("{flag} {address}: cannot listen");
                let listener = TcpListener::bind(address).await.with_context(cannot)?;
                let Some(files) = tls else { return Ok(Some(Self::Tcp(listener))) };
                let address = listener.local_addr()?;
                Ok(Some(Self::Tls(tls::incoming(listener, files)?, address)))
            }
            Listen::Unix(path) => {
                remove_stale_socket(path, flag).await?;
                let cannot = || format!("{flag} unix:{}: cannot listen", path.display());
                Ok(Some(Self::Unix(UnixListener::bind(path).with_context(cannot)?, path.clone())))
            }
        }
    }

    /// Where it listens, as flags spell it.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> Result<String> {
        Ok(match self {
            Self::Unix(_, path) => format!("unix:{}", path.display()),
            Self::Tcp(listener) => listener.local_addr()?.to_string(),
            Self::Tls(_, address) => address.to_string(),
        })
    }
}

/// A socket that a killed predecessor left behind is removed; one that answers, or a file that is not a socket, is not.
async fn remove_stale_socket(path: &Path, flag: &str) -> Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        anyhow::bail!("{flag} unix:{}: a file that is not a socket is in the way", path.display());
    }
    if UnixStream::connect(path).await.is_ok() {
        anyhow::bail!("{flag} unix:{}: another process answers there", path.display());
    }
    std::fs::remove_file(path)
        .with_context(|| format!("{flag} unix:{}: the old socket cannot be removed", path.display()))
}
