//! Packing and opening artifacts: a tar, compressed with zstd, with the manifest first.
//!
//! An artifact comes over the network and is not believed: the manifest is verified before anything is unpacked, only
//! the files that it lists are taken, each is bounded and its digest compared, and a directory appears in the cache all
//! at once or not at all.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

use super::manifest::{Manifest, hex};

/// Largest artifact, unpacked, unless the caller has less room.
pub const MAX_UNPACKED_BYTES: u64 = 8 << 30;
const MANIFEST: &str = "manifest.json";
const SIGNATURE: &str = "manifest.sig";
const COMPRESSION: i32 = 9;

mod archive;

pub use archive::unpack_tar;
use archive::{Archive, Target};

/// Why an artifact was refused.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactFault {
    /// A file cannot be read or written.
    #[error("{path}: {cause}")]
    Io {
        /// Which.
        path: String,
        /// Why.
        cause: io::Error,
    },
    /// Not an artifact, truncated or damaged.
    #[error("the artifact is corrupt: {0}")]
    Corrupt(String),
    /// It holds what an artifact never holds.
    #[error("the artifact is refused: {0}")]
    Refused(String),
    /// A key is set and the artifact is not signed with it.
    #[error("the artifact's signature is refused: {0}")]
    Signature(&'static str),
    /// Built by another version of this program.
    #[error("the artifact cannot be served: {0}")]
    Version(String),
    /// It is the index of another corpus.
    #[error("the artifact holds corpus `{found}`; expected `{expected}`")]
    Corpus {
        /// What it holds.
        found: String,
        /// What was asked for.
        expected: String,
    },
}

fn io_fault(path: &Path) -> impl Fn(io::Error) -> ArtifactFault + '_ {
    move |cause| ArtifactFault::Io { path: path.display().to_string(), cause }
}

/// The public key that artifacts must be signed with.
#[derive(Debug, Clone)]
pub struct VerifyKey([u8; 32]);

impl VerifyKey {
    /// Parses 32 bytes in base64, as `copilot index keygen` prints them.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bytes = BASE64_STANDARD.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| "expected an Ed25519 public key: 32 bytes in base64".to_owned())
    }

    /// Whether `signature` is this key's, of this message.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

/// The private key that artifacts are signed with.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// A new key, as base64 of its seed.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn generate() -> Result<String, String> {
        let mut seed = [0u8; 32];
        aws_lc_rs::rand::fill(&mut seed).map_err(|_| "no random numbers can be had".to_owned())?;
        Ok(BASE64_STANDARD.encode(seed))
    }

    /// Parses a seed of 32 bytes in base64.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || "expected an Ed25519 seed: 32 bytes in base64, as `copilot index keygen` makes it".to_owned();
        let seed = BASE64_STANDARD.decode(text.trim()).map_err(|_| expected())?;
        Ed25519KeyPair::from_seed_unchecked(&seed).map(Self).map_err(|_| expected())
    }

    /// The public half, in base64.
    pub fn public(&self) -> String {
        BASE64_STANDARD.encode(self.0.public_key().as_ref())
    }

    /// Signs a message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }
}

/// An artifact in the cache.
#[derive(Debug, Clone)]
pub struct Unpacked {
    /// The directory that holds the index.
    pub dir: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
}

/// SHA-256 of every file in a directory, by name.
///
/// # Errors
/// When a file cannot be read.
pub fn digests(dir: &Path) -> Result<BTreeMap<String, String>, ArtifactFault> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).map_err(io_fault(dir))? {
        let path = entry.map_err(io_fault(dir))?.path();
        let mut hash = Sha256::new();
        let mut file = File::open(&path).map_err(io_fault(&path))?;
        io::copy(&mut file, &mut HashWriter(&mut hash)).map_err(io_fault(&path))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        files.insert(name, hex(&hash.finalize()));
    }
    Ok(files)
}

struct HashWriter<'a>(&'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Packs the files of `dir` that the manifest lists into `out`, in one step: whoever reads `out` sees all of it or what
/// was there before. The same input gives the same bytes.
///
/// # Errors
/// When a file cannot be read or written.
pub fn pack(dir: &Path, manifest: &Manifest, key: Option<&SigningKey>, out: &Path) -> Result<u64, ArtifactFault> {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::NamedTempFile::new_in(folder).map_err(io_fault(folder))?;
    let failed = io_fault(out);
    let encoder = zstd::Encoder::new(BufWriter::new(temporary.as_file()), COMPRESSION).map_err(&failed)?;
    let mut tar = tar::Builder::new(encoder);
    let text = serde_json::to_vec_pretty(manifest).map_err(|error| ArtifactFault::Refused(error.to_string()))?;
    append(&mut tar, MANIFEST, text.len() as u64, text.as_slice()).map_err(&failed)?;
    if let Some(key) = key {
        let signature = key.sign(&text);
        append(&mut tar, SIGNATURE, signature.len() as u64, signature.as_slice()).map_err(&failed)?;
    }
    for name in manifest.files.keys() {
        let path = dir.join(name);
        let file = File::open(&path).map_err(io_fault(&path))?;
        let size = file.metadata().map_err(io_fault(&path))?.len();
        append(&mut tar, name, size, BufReader::new(file)).map_err(&failed)?;
    }
    tar.into_inner().and_then(zstd::Encoder::finish).and_then(|mut writer| writer.flush()).map_err(&failed)?;
    let file = temporary.persist(out).map_err(|error| failed(error.error))?;
    // A temporary file is readable by its owner alone; an artifact is for everyone who may read the folder.
    fs::set_permissions(out, std::os::unix::fs::PermissionsExt::from_mode(0o644)).map_err(&failed)?;
    file.metadata().map(|metadata| metadata.len()).map_err(failed)
}

/// An entry without owner, time or any other trace of the machine.
fn append<W: Write>(tar: &mut tar::Builder<W>, name: &str, size: u64, content: impl Read) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    tar.append_data(&mut header, name, content)
}

/// Reads and verifies the manifest alone.
///
/// # Errors
/// [`ArtifactFault`]; nothing was unpacked.
pub fn inspect(path: &Path, key: Option<&VerifyKey>) -> Result<Manifest, ArtifactFault> {
    Archive::open(path)?.walk(key, |_| Ok(None)).map(|(manifest, _)| manifest)
}

/// What an artifact must be to be unpacked.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Signed with the private key of this one; without one, nobody vouches for it.
    pub key: Option<&'a VerifyKey>,
    /// Of this corpus; `None` for any.
    pub corpus: Option<&'a str>,
    /// Most bytes that it may unpack to.
    pub most_bytes: u64,
}

impl Default for Expected<'_> {
    /// Any whole artifact.
    fn default() -> Self {
        Self { key: None, corpus: None, most_bytes: MAX_UNPACKED_BYTES }
    }
}

/// Unpacks an artifact into the cache, or finds it there, after verifying everything about it.
///
/// # Errors
/// [`ArtifactFault`]; the cache then holds nothing of the artifact.
pub fn open(path: &Path, cache_dir: &Path, expected: Expected<'_>) -> Result<Unpacked, ArtifactFault> {
    fs::create_dir_all(cache_dir).map_err(io_fault(cache_dir))?;
    let temporary = tempfile::Builder::new().prefix("unpacking-").tempdir_in(cache_dir).map_err(io_fault(cache_dir))?;
    let (manifest, cached) = Archive::open(path)?.walk(expected.key, |manifest| {
        if let Some(corpus) = expected.corpus.filter(|corpus| *corpus != manifest.corpus) {
            return Err(ArtifactFault::Corpus { found: manifest.corpus.clone(), expected: corpus.to_owned() });
        }
        manifest.check_versions().map_err(ArtifactFault::Version)?;
        if manifest.bytes > expected.most_bytes {
            let sizes =
                format!("it holds {} bytes unpacked; there is room for {}", manifest.bytes, expected.most_bytes);
            return Err(ArtifactFault::Refused(sizes));
        }
        // Its name is a hash of its content, and it came here by a rename: what is there is whole.
        let kept = cache_dir.join(format!("{}-{}", manifest.corpus, manifest.version()));
        Ok(Some(if kept.is_dir() { Target::Cached(kept) } else { Target::Into(temporary.path().to_owned(), kept) }))
    })?;
    let dir = match cached {
        Some(Target::Cached(dir)) => dir,
        Some(Target::Into(from, dir)) => {
            match fs::rename(&from, &dir) {
                Ok(()) => {}
                // Another process unpacked the same artifact meanwhile.
                Err(_) if dir.is_dir() => {}
                Err(error) => return Err(io_fault(&dir)(error)),
            }
            dir
        }
        None => return Err(ArtifactFault::Corrupt("it has no manifest".into())),
    };
    Ok(Unpacked { dir, manifest })
}

#[cfg(test)]
mod tests;
