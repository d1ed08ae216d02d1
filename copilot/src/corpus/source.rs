//! Where a server finds the artifact of a corpus, and whether there is a new one.

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::SystemTime,
};

use object_store::{GetOptions, GetResult, ObjectStore};
use sha2::{Digest, Sha256};
use tokio_stream::StreamExt;

use super::{
    artifact::VerifyKey,
    manifest::hex,
    place::Place,
    pointer::{self, Pointer, PointerFault, Published},
};

/// A corpus' source.
#[derive(Debug, Clone)]
pub enum Source {
    /// One artifact, replaced in place.
    File(PathBuf),
    /// One artifact at an address, told apart by its `ETag`.
    Object(Place, String),
    /// A place with a pointer to the latest artifact.
    Published(Place),
    /// A folder with such a pointer; it may not be there yet.
    Folder(PathBuf),
}

/// What tells one state of a source from another without fetching it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    text: String,
    /// Taken so soon after a change that another one in the same second might bear the same name: it is fetched once more.
    young: bool,
}

/// Web servers make an `ETag` of a time in whole seconds and of a size (RFC 9110, section 8.8.2.2).
const YOUNG_SECONDS: i64 = 2;

/// What a source has since it was polled last.
#[derive(Debug)]
pub enum Change {
    /// Nothing new.
    None,
    /// An artifact on this machine.
    File(PathBuf, Stamp),
    /// An artifact somewhere else that is to be fetched as it is.
    Object(Box<GetResult>, Stamp),
    /// A pointer to an artifact.
    Pointer(Box<Pointer>, Place, Stamp),
}

/// Why a source gives nothing.
#[derive(Debug, thiserror::Error)]
pub enum SourceFault {
    /// It cannot be reached or read.
    #[error("{shown}: {cause}")]
    Unreachable {
        /// The source.
        shown: String,
        /// Why.
        cause: String,
    },
    /// Its pointer is not followed.
    #[error("{0}")]
    Pointer(#[from] PointerFault),
    /// What was fetched is not what the pointer says.
    #[error("the artifact is corrupt: {0}")]
    Corrupt(String),
    /// More than there is room for.
    #[error("the artifact is refused: {0}")]
    TooLarge(String),
}

impl Source {
    /// A file or folder, `https://…` (ending in `/`: a place with a pointer; else an artifact), or `s3://bucket/prefix`.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("s3://") || (text.contains("://") && text.ends_with('/')) {
            return Ok(Self::Published(Place::parse(text)?));
        }
        if let Some((folder, name)) = text.contains("://").then(|| text.rsplit_once('/')).flatten() {
            return Ok(Self::Object(Place::parse(folder)?, name.to_owned()));
        }
        let path = PathBuf::from(text);
        Ok(if text.ends_with('/') || path.is_dir() { Self::Folder(path) } else { Self::File(path) })
    }

    /// Asks whether there is something other than what `seen` stands for.
    ///
    /// # Errors
    /// [`SourceFault`]
    pub async fn poll(
        &self,
        corpus: &str,
        key: Option<&VerifyKey>,
        seen: Option<&Stamp>,
    ) -> Result<Change, SourceFault> {
        match self {
            Self::File(path) => {
                let stamp = stamp_of(path).map_err(unreachable(&path.display().to_string()))?;
                Ok(if seen == Some(&stamp) { Change::None } else { Change::File(path.clone(), stamp) })
            }
            Self::Object(place, name) => match get(place, name, seen).await? {
                Some((found, stamp)) => Ok(Change::Object(Box::new(found), stamp)),
                None => Ok(Change::None),
            },
            Self::Published(place) => published(place, corpus, key, seen).await,
            Self::Folder(path) => {
                let place = Place::folder(path).map_err(unreachable(&path.display().to_string()))?;
                published(&place, corpus, key, seen).await
            }
        }
    }
}

/// Reads the pointer of a corpus.
async fn published(
    place: &Place,
    corpus: &str,
    key: Option<&VerifyKey>,
    seen: Option<&Stamp>,
) -> Result<Change, SourceFault> {
    let name = pointer::name(corpus);
    // It is small, always of the same size, and replaced in place: its content tells, not its `ETag`.
    let Some((found, _)) = get(place, &name, None).await? else { return Ok(Change::None) };
    if found.meta.size > pointer::MAX_BYTES {
        return Err(PointerFault::Corrupt(format!("{} bytes", found.meta.size)).into());
    }
    let mut bytes = Vec::new();
    let shown = format!("{} {name}", place.shown);
    read(found, pointer::MAX_BYTES, &shown, |part| bytes.extend_from_slice(part)).await?;
    let stamp = Stamp { text: hex(&Sha256::digest(&bytes)), young: false };
    if seen == Some(&stamp) {
        return Ok(Change::None);
    }
    Ok(Change::Pointer(Box::new(Pointer::read(&bytes, corpus, key)?), place.clone(), stamp))
}

/// State of a file.
///
/// # Errors
/// When it is not there.
pub fn stamp_of(path: &Path) -> std::io::Result<Stamp> {
    let data = std::fs::metadata(path)?;
    let modified = data.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let inode = std::os::unix::fs::MetadataExt::ino(&data);
    Ok(Stamp { text: format!("{} {inode} {modified:?}", data.len()), young: false })
}

fn unreachable<E: std::fmt::Display>(shown: &str) -> impl FnOnce(E) -> SourceFault {
    let shown = shown.to_owned();
    move |error| SourceFault::Unreachable { shown, cause: error.to_string() }
}

/// `None` when it is as it was.
async fn get(place: &Place, name: &str, seen: Option<&Stamp>) -> Result<Option<(GetResult, Stamp)>, SourceFault> {
    let seen = seen.filter(|stamp| !stamp.young).map(|stamp| stamp.text.clone());
    let options = GetOptions { if_none_match: seen.clone(), ..GetOptions::default() };
    match place.store.get_opts(&place.path(name), options).await {
        Ok(found) => {
            let changed = found.meta.last_modified;
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let age = i64::try_from(now.as_secs()).unwrap_or(i64::MAX).saturating_sub(changed.timestamp());
            let text = found.meta.e_tag.clone().unwrap_or_else(|| format!("{} {changed}", found.meta.size));
            let young = age.abs() < YOUNG_SECONDS;
            // A server without conditional requests answers in full; the state tells as well.
            Ok((seen.as_ref() != Some(&text)).then_some((found, Stamp { text, young })))
        }
        Err(object_store::Error::NotModified { .. }) => Ok(None),
        Err(error) => Err(unreachable(&format!("{} {name}", place.shown))(error)),
    }
}

/// Reads a body of at most `most` bytes; what a server says of its length is not believed.
async fn read(found: GetResult, most: u64, shown: &str, mut take: impl FnMut(&[u8])) -> Result<u64, SourceFault> {
    let mut stream = found.into_stream();
    let mut bytes = 0_u64;
    while let Some(part) = stream.next().await {
        let part = part.map_err(unreachable(shown))?;
        bytes += part.len() as u64;
        if bytes > most {
            return Err(SourceFault::TooLarge(format!("{shown} has more than {most} bytes")));
        }
        take(&part);
    }
    Ok(bytes)
}

/// Fetches an artifact into a temporary file of `dir`. Writes and hashes on a thread for work: requests are answered meanwhile.
///
/// # Errors
/// [`SourceFault`]; the file is then gone.
pub async fn fetch(found: GetResult, dir: &Path, room: u64) -> Result<(tempfile::NamedTempFile, String), SourceFault> {
    let dir = dir.to_owned();
    let runtime = tokio::runtime::Handle::current();
    let fetching = tokio::task::spawn_blocking(move || runtime.block_on(fetch_here(found, &dir, room)));
    fetching.await.unwrap_or_else(|error| Err(unreachable("the artifact")(error)))
}

async fn fetch_here(found: GetResult, dir: &Path, room: u64) -> Result<(tempfile::NamedTempFile, String), SourceFault> {
    let shown = dir.display().to_string();
    let file = tempfile::Builder::new().prefix("fetching-").tempfile_in(dir).map_err(unreachable(&shown))?;
    let mut hash = Sha256::new();
    let mut written = Ok(());
    read(found, room, "the artifact", |part| {
        hash.update(part);
        if written.is_ok() {
            written = file.as_file().write_all(part);
        }
    })
    .await?;
    written.map_err(unreachable(&shown))?;
    Ok((file, hex(&hash.finalize())))
}

/// Fetches what a pointer names and checks that it is that.
///
/// # Errors
/// [`SourceFault`]; the file is then gone.
pub async fn fetch_published(
    place: &Place,
    published: &Published,
    dir: &Path,
    room: u64,
) -> Result<tempfile::NamedTempFile, SourceFault> {
    if published.bytes > room {
        return Err(SourceFault::TooLarge(format!("{} bytes; there is room for {room}", published.bytes)));
    }
    let Some((found, _)) = get(place, &published.artifact, None).await? else {
        return Err(SourceFault::Corrupt("the store says that it is unchanged".to_owned()));
    };
    let (file, sha256) = fetch(found, dir, published.bytes).await?;
    if sha256 != published.sha256 {
        return Err(SourceFault::Corrupt(format!("{} has another digest than the pointer says", published.artifact)));
    }
    Ok(file)
}
