//! Putting an artifact where servers find it: the artifact under a name that never means another, then the pointer.

use std::{fs::File, io::Read, path::Path};

use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion, WriteMultipart};
use sha2::{Digest, Sha256};

use super::{
    artifact::{self, ArtifactFault, Expected, SigningKey, VerifyKey},
    manifest::hex,
    place::{Kind, Place},
    pointer::{self, Pointer, PointerFault, Published},
};

/// Bytes that are sent at a time.
const PART: usize = 8 << 20;

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishFault {
    /// The artifact is not fit.
    #[error("{0}")]
    Artifact(#[from] ArtifactFault),
    /// What is there is not ours.
    #[error("{0}")]
    Pointer(#[from] PointerFault),
    /// The store refused.
    #[error("{0}")]
    Store(#[from] object_store::Error),
    /// The artifact cannot be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Somebody else published at the same time.
    #[error("somebody else published meanwhile: look at what is there, then run it again")]
    Raced,
    /// The name is taken by other bytes.
    #[error("{0} is there with other bytes: a published artifact is never replaced")]
    Taken(String),
    /// There is nothing to go back to.
    #[error("{0}")]
    NoEarlier(String),
    /// There is nothing to sign again.
    #[error("{0}: nothing of corpus {1} was published")]
    Nothing(String, String),
    /// Addresses are for reading.
    #[error("{0}: expected a folder or s3://bucket/prefix to publish to")]
    ReadOnly(String),
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The pointer now.
    pub pointer: Pointer,
    /// False when it pointed there already.
    pub changed: bool,
}

/// Who signs a pointer, and for how long it is good.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// The key, if there is one.
    pub key: Option<&'a SigningKey>,
    /// Now, in seconds since the epoch.
    pub now: u64,
    /// When the pointer expires; never without.
    pub expires_at: Option<u64>,
}

impl Terms<'_> {
    fn verify_key(&self) -> Option<VerifyKey> {
        self.key.and_then(|key| VerifyKey::parse(&key.public()).ok())
    }

    /// Whether a pointer that names the right artifact has to be signed again: less than half of the time is left, or
    /// it never expired and now should.
    fn is_due(&self, before: Option<u64>) -> bool {
        match (before, self.expires_at) {
            (Some(before), Some(after)) => before.saturating_sub(self.now) < after.saturating_sub(self.now) / 2,
            (before, after) => before != after,
        }
    }
}

/// Publishes an artifact. With a key it must be signed with it, and the pointer is signed as well.
///
/// # Errors
/// [`PublishFault`]; what was published before is still the latest.
pub async fn publish(file: &Path, place: &Place, terms: Terms<'_>) -> Result<Outcome, PublishFault> {
    writable(place)?;
    let verify = terms.verify_key();
    let scratch = tempfile::tempdir()?;
    // Unpacked only to be sure that what is published is whole.
    let unpacked = artifact::open(file, scratch.path(), Expected { key: verify.as_ref(), ..Expected::default() })?;
    let manifest = unpacked.manifest;
    let (sha256, bytes) = digest(file)?;
    let latest = Published {
        artifact: format!(
            "{}-{}-{}.docsgate",
            manifest.corpus,
            manifest.version(),
            sha256.get(..8).unwrap_or_default()
        ),
        version: manifest.version(),
        bytes,
        sha256,
    };
    let before = current(place, &manifest.corpus, verify.as_ref()).await?;
    let unchanged =
        |(pointer, _): &&(Pointer, UpdateVersion)| pointer.latest == latest && !terms.is_due(pointer.expires_at);
    if let Some((pointer, _)) = before.as_ref().filter(unchanged) {
        return Ok(Outcome { pointer: pointer.clone(), changed: false });
    }
    upload(file, place, &latest).await?;
    point(place, before, Next { corpus: &manifest.corpus, latest }, terms).await
}

/// Signs the pointer again, to what it points to already, good for longer.
///
/// # Errors
/// [`PublishFault`]; the pointer is then as before.
pub async fn refresh(place: &Place, corpus: &str, terms: Terms<'_>) -> Result<Outcome, PublishFault> {
    writable(place)?;
    let Some(before) = current(place, corpus, terms.verify_key().as_ref()).await? else {
        return Err(PublishFault::Nothing(place.shown.clone(), corpus.to_owned()));
    };
    let latest = before.0.latest.clone();
    present(place, &latest).await?;
    point(place, Some(before), Next { corpus, latest }, terms).await
}

/// Whether an artifact that was published is still there.
async fn present(place: &Place, published: &Published) -> Result<(), PublishFault> {
    let there = place.store.head(&place.path(&published.artifact)).await?;
    if there.size == published.bytes { Ok(()) } else { Err(PublishFault::Taken(published.artifact.clone())) }
}

/// Points to an earlier artifact again: the one before the latest, or the one with `version`.
///
/// # Errors
/// [`PublishFault`]; the latest is then as before.
pub async fn rollback(
    place: &Place,
    corpus: &str,
    version: Option<&str>,
    terms: Terms<'_>,
) -> Result<Outcome, PublishFault> {
    writable(place)?;
    let Some(before) = current(place, corpus, terms.verify_key().as_ref()).await? else {
        return Err(PublishFault::NoEarlier(format!("{}: nothing of corpus {corpus} was published", place.shown)));
    };
    let earlier = &before.0.earlier;
    let chosen = match version {
        Some(version) => earlier.iter().find(|published| published.version == version),
        None => earlier.first(),
    };
    let Some(chosen) = chosen.cloned() else {
        let known: Vec<&str> = earlier.iter().map(|published| published.version.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(PublishFault::NoEarlier(format!("no such earlier version of corpus {corpus}; known: {known}")));
    };
    present(place, &chosen).await?;
    point(place, Some(before), Next { corpus, latest: chosen }, terms).await
}

fn writable(place: &Place) -> Result<(), PublishFault> {
    if place.kind == Kind::Http { Err(PublishFault::ReadOnly(place.shown.clone())) } else { Ok(()) }
}

fn digest(file: &Path) -> std::io::Result<(String, u64)> {
    let mut hash = Sha256::new();
    let bytes = std::io::copy(&mut File::open(file)?, &mut hash)?;
    Ok((hex(&hash.finalize()), bytes))
}

/// The pointer as it is, and what the store calls its state.
async fn current(
    place: &Place,
    corpus: &str,
    key: Option<&VerifyKey>,
) -> Result<Option<(Pointer, UpdateVersion)>, PublishFault> {
    let found = match place.store.get(&place.path(&pointer::name(corpus))).await {
        Ok(found) => found,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let state = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
    if found.meta.size > pointer::MAX_BYTES {
        return Err(PointerFault::Corrupt(format!("{} bytes", found.meta.size)).into());
    }
    Ok(Some((Pointer::read(&found.bytes().await?, corpus, key)?, state)))
}

async fn upload(file: &Path, place: &Place, latest: &Published) -> Result<(), PublishFault> {
    let path = place.path(&latest.artifact);
    match place.store.head(&path).await {
        Ok(there) if there.size == latest.bytes => return Ok(()),
        Ok(_) => return Err(PublishFault::Taken(latest.artifact.clone())),
        Err(object_store::Error::NotFound { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let mut source = File::open(file)?;
    let mut writer = WriteMultipart::new_with_chunk_size(place.store.put_multipart(&path).await?, PART);
    let mut buffer = vec![0; PART];
    loop {
        let read = source.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        writer.wait_for_capacity(2).await?;
        writer.write(bytes);
    }
    writer.finish().await?;
    Ok(())
}

/// What a corpus' pointer is to name.
struct Next<'a> {
    corpus: &'a str,
    latest: Published,
}

/// Replaces the pointer, last of all, if it is still what it was.
async fn point(
    place: &Place,
    before: Option<(Pointer, UpdateVersion)>,
    next: Next<'_>,
    terms: Terms<'_>,
) -> Result<Outcome, PublishFault> {
    let known = before.as_ref().map(|(pointer, _)| pointer);
    let pointer = Pointer::after(known, next.corpus, next.latest, terms.expires_at);
    let bytes = pointer.write(terms.key).map_err(|error| PointerFault::Corrupt(error.to_string()))?;
    let mode = match (place.kind, before) {
        (_, None) => PutMode::Create,
        // A folder has no conditional replacement; two docs builds at a time are the pipeline's to prevent.
        (Kind::Folder, _) => PutMode::Overwrite,
        (_, Some((_, state))) => PutMode::Update(state),
    };
    let path = place.path(&pointer::name(next.corpus));
    match place.store.put_opts(&path, PutPayload::from(bytes), PutOptions::from(mode)).await {
        Ok(_) => Ok(Outcome { pointer, changed: true }),
        Err(object_store::Error::Precondition { .. } | object_store::Error::AlreadyExists { .. }) => {
            Err(PublishFault::Raced)
        }
        Err(error) => Err(error.into()),
    }
}
