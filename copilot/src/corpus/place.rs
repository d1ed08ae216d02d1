//! Where artifacts lie: a folder, below an http(s) address, or in an S3-compatible bucket.

use std::{path::Path as FilePath, sync::Arc, time::Duration};

use object_store::{
    ClientOptions, ObjectStore, RetryConfig, aws::AmazonS3Builder, http::HttpBuilder, local::LocalFileSystem,
    path::Path,
};
use url::Url;

/// A store, and a path in it.
#[derive(Debug, Clone)]
pub struct Place {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// The folder in it.
    pub prefix: Path,
    /// As it was given.
    pub shown: String,
    /// Whether it can be written.
    pub kind: Kind,
}

/// What a place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder of this machine.
    Folder,
    /// An address that only answers reads.
    Http,
    /// A bucket.
    Bucket,
}

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest time of one request, which may bring a whole artifact.
const REQUEST: Duration = Duration::from_secs(600);

fn client() -> ClientOptions {
    ClientOptions::new().with_connect_timeout(CONNECT).with_timeout(REQUEST)
}

/// The source is polled again soon anyway.
fn retries() -> RetryConfig {
    RetryConfig { max_retries: 2, retry_timeout: Duration::from_secs(20), ..RetryConfig::default() }
}

impl Place {
    /// A folder, `https://…` or `s3://bucket/prefix`. A bucket's endpoint, region and credentials come from the usual
    /// `AWS_…` variables.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |error: object_store::Error| format!("`{text}`: {error}");
        let place = |store, prefix, kind| Self { store, prefix, shown: text.to_owned(), kind };
        if let Some((scheme, rest)) = text.split_once("://") {
            let url = Url::parse(text).map_err(|error| format!("`{text}`: {error}"))?;
            return match scheme {
                "s3" => {
                    let prefix = rest.split_once('/').map_or("", |(_, prefix)| prefix);
                    let store = AmazonS3Builder::from_env()
                        .with_url(format!("s3://{}", url.host_str().unwrap_or_default()))
                        .with_client_options(client_from_environment())
                        .with_retry(retries())
                        .build()
                        .map_err(wrong)?;
                    Ok(place(
                        Arc::new(store),
                        Path::parse(prefix.trim_matches('/')).map_err(|error| error.to_string())?,
                        Kind::Bucket,
                    ))
                }
                "https" | "http" => {
                    let own_machine = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
                    if scheme == "http" && !own_machine {
                        return Err(format!("`{text}`: expected https; plain http is for this machine alone"));
                    }
                    let store = HttpBuilder::new()
                        .with_url(text.trim_end_matches('/'))
                        .with_client_options(client().with_allow_http(own_machine))
                        .with_retry(retries())
                        .build()
                        .map_err(wrong)?;
                    Ok(place(Arc::new(store), Path::default(), Kind::Http))
                }
                _ => Err(format!("`{text}`: expected a folder, https://… or s3://bucket/prefix")),
            };
        }
        Self::folder(FilePath::new(text)).map_err(wrong)
    }

    /// A folder of this machine.
    ///
    /// # Errors
    /// When it is not there.
    pub fn folder(folder: &FilePath) -> Result<Self, object_store::Error> {
        let store = LocalFileSystem::new_with_prefix(folder)?;
        let shown = folder.display().to_string();
        Ok(Self { store: Arc::new(store), prefix: Path::default(), shown, kind: Kind::Folder })
    }

    /// The path of a file in this place.
    #[must_use]
    pub fn path(&self, name: &str) -> Path {
        self.prefix.clone().join(name)
    }
}

/// `AWS_ALLOW_HTTP` lets a test or a private network do without TLS, as in other programs.
fn client_from_environment() -> ClientOptions {
    let plain = std::env::var("AWS_ALLOW_HTTP").is_ok_and(|value| matches!(value.as_str(), "true" | "1"));
    client().with_allow_http(plain)
}
