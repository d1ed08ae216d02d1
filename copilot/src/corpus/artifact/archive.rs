//! Reading an archive that nobody has vouched for yet.
//!
//! The headers are read as they are. What a tar reader usually does for its caller (long names, PAX records, sparse
//! files) it does in memory and as the archive says, which can be gigabytes in a file of kilobytes; an artifact needs
//! none of it, and an entry of any such kind is refused when its header is seen. Until the manifest is verified two
//! megabytes are decompressed at most, from then on what the manifest admits.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
    rc::Rc,
};

use sha2::{Digest, Sha256};

use super::{ArtifactFault, MANIFEST, SIGNATURE, VerifyKey, io_fault};
use crate::corpus::manifest::{Manifest, hex};

/// Largest manifest.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;
/// Largest signature; an Ed25519 one has 64 bytes.
const MAX_SIGNATURE_BYTES: u64 = 256;
/// Most bytes of the tar before the manifest is verified.
const UNVERIFIED_BYTES: u64 = 2 << 20;
/// Most files in an artifact; an index of one segment has about a dozen.
const MAX_FILES: usize = 256;
/// Bytes of the tar beside each file's content: its header, and what fills its last block.
const AROUND_A_FILE: u64 = 1024;
/// Largest window of the compression, as a power of two: 8 MiB, which every decoder is expected to support (RFC 8878,
/// section 3.1.1.1.2). What `index build` writes needs half of it.
const WINDOW_LOG: u32 = 23;

/// Where the files of an artifact go.
pub(super) enum Target {
    /// They are there already.
    Cached(PathBuf),
    /// Into this directory, which is then renamed.
    Into(PathBuf, PathBuf),
}

/// Unpacks a tar as [`super::open`] does, without compression, cache and rename: for trying it with anything.
///
/// # Errors
/// [`ArtifactFault`]; what was written to `dir` is then of no use.
pub fn unpack_tar(tar: impl Read, dir: &Path, key: Option<&VerifyKey>) -> Result<Manifest, ArtifactFault> {
    let into = |_: &Manifest| Ok(Some(Target::Into(dir.to_owned(), dir.to_owned())));
    Archive::of(tar).walk(key, into).map(|(manifest, _)| manifest)
}

/// A reader that fails when more is read than is allowed so far.
struct Bounded<R> {
    from: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left.get()).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 && !buffer.is_empty() {
            return Err(io::Error::other("it holds more than its manifest admits"));
        }
        let read = self.from.read(buffer.get_mut(..most).unwrap_or_default())?;
        self.left.set(self.left.get().saturating_sub(read as u64));
        Ok(read)
    }
}

/// An archive that is read once, from its beginning.
pub(super) struct Archive<R: Read> {
    tar: tar::Archive<Bounded<R>>,
    left: Rc<Cell<u64>>,
}

impl Archive<zstd::Decoder<'static, BufReader<File>>> {
    pub(super) fn open(path: &Path) -> Result<Self, ArtifactFault> {
        let file = File::open(path).map_err(io_fault(path))?;
        let mut decoder = zstd::Decoder::new(file).map_err(|error| ArtifactFault::Corrupt(error.to_string()))?;
        // A frame that claims a huge window would make the decoder take that much memory.
        decoder.window_log_max(WINDOW_LOG).map_err(|error| ArtifactFault::Corrupt(error.to_string()))?;
        Ok(Self::of(decoder))
    }
}

impl<R: Read> Archive<R> {
    pub(super) fn of(from: R) -> Self {
        let left = Rc::new(Cell::new(UNVERIFIED_BYTES));
        Self { tar: tar::Archive::new(Bounded { from, left: Rc::clone(&left) }), left }
    }

    /// Reads manifest and signature, asks `target` where the files go, and unpacks them there.
    pub(super) fn walk(
        mut self,
        key: Option<&VerifyKey>,
        target: impl FnOnce(&Manifest) -> Result<Option<Target>, ArtifactFault>,
    ) -> Result<(Manifest, Option<Target>), ArtifactFault> {
        let mut entries = self.tar.entries().map_err(corrupt)?.raw(true);
        let mut next = || entries.next().map(|entry| plain(entry.map_err(corrupt)?)).transpose();
        let Some((name, entry)) = next()? else { return Err(ArtifactFault::Corrupt("it is empty".into())) };
        if name != MANIFEST {
            return Err(ArtifactFault::Corrupt("it does not begin with its manifest".into()));
        }
        let text = small(entry, MANIFEST, MAX_MANIFEST_BYTES)?;
        let manifest: Manifest =
            serde_json::from_slice(&text).map_err(|error| ArtifactFault::Corrupt(format!("manifest: {error}")))?;
        let mut following = next()?;
        if let Some((_, entry)) = following.take_if(|(name, _)| name.as_str() == SIGNATURE) {
            let signature = small(entry, SIGNATURE, MAX_SIGNATURE_BYTES)?;
            if key.is_some_and(|key| !key.verify(&text, &signature)) {
                return Err(ArtifactFault::Signature("it was made with another key"));
            }
            following = next()?;
        } else if key.is_some() {
            return Err(ArtifactFault::Signature("the artifact is not signed"));
        }
        let names_are_plain = manifest.files.keys().chain([&manifest.corpus]).all(|name| is_plain(name));
        if !names_are_plain || manifest.files.len() > MAX_FILES {
            return Err(ArtifactFault::Refused("the manifest lists names that are not plain, or too many".into()));
        }
        let target = target(&manifest)?;
        let Some(Target::Into(dir, _)) = &target else { return Ok((manifest, target)) };
        // The end of the archive is two blocks more.
        let around = AROUND_A_FILE * (manifest.files.len() as u64 + 1);
        self.left.set(manifest.bytes.saturating_add(around));
        let mut missing: BTreeMap<&str, &str> =
            manifest.files.iter().map(|(name, digest)| (name.as_str(), digest.as_str())).collect();
        let mut left = manifest.bytes;
        while let Some((name, mut entry)) = following {
            // What a bomb inflates to is more than its manifest admits, and nothing of that is written.
            left = left.checked_sub(entry.size()).ok_or_else(|| {
                ArtifactFault::Refused(format!("it holds more than the {} bytes of its manifest", manifest.bytes))
            })?;
            let Some(digest) = missing.remove(name.as_str()) else {
                return Err(ArtifactFault::Refused(format!("`{name}` is not in the manifest, or there twice")));
            };
            let path = dir.join(&name);
            let mut hash = Sha256::new();
            let mut file = File::create_new(&path).map_err(io_fault(&path))?;
            copy(&mut entry, &mut file, &mut hash).map_err(corrupt)?;
            if hex(&hash.finalize()) != digest {
                return Err(ArtifactFault::Corrupt(format!("`{name}` has another digest than the manifest says")));
            }
            following = next()?;
        }
        if let Some(name) = missing.keys().next() {
            return Err(ArtifactFault::Corrupt(format!("`{name}` is missing: the artifact is truncated")));
        }
        Ok((manifest, target))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn corrupt(error: io::Error) -> ArtifactFault {
    ArtifactFault::Corrupt(error.to_string())
}

/// The name of an entry that is a plain file, from its header alone.
fn plain<R: Read>(entry: tar::Entry<'_, R>) -> Result<(String, tar::Entry<'_, R>), ArtifactFault> {
    let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    let kind = entry.header().entry_type();
    if kind != tar::EntryType::Regular || !is_plain(&name) {
        let what = match kind {
            tar::EntryType::Regular => "",
            tar::EntryType::GNULongName | tar::EntryType::GNULongLink => " but a long name",
            tar::EntryType::XHeader | tar::EntryType::XGlobalHeader => " but PAX records",
            tar::EntryType::GNUSparse => " but a sparse file",
            tar::EntryType::Link | tar::EntryType::Symlink => " but a link",
            _ => " but an entry of another kind",
        };
        return Err(ArtifactFault::Refused(format!("`{}` is not a plain file{what}", name.escape_debug())));
    }
    Ok((name, entry))
}

/// A name that means a file of its folder, and nothing else anywhere; as long as a header holds.
fn is_plain(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !name.starts_with('.')
}

/// An entry of `most` bytes.
fn small<R: Read>(mut entry: tar::Entry<'_, R>, name: &str, most: u64) -> Result<Vec<u8>, ArtifactFault> {
    if entry.size() > most {
        return Err(ArtifactFault::Refused(format!("`{name}` has {} bytes; it may have {most}", entry.size())));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(corrupt)?;
    Ok(bytes)
}

fn copy(from: &mut impl Read, to: &mut File, hash: &mut Sha256) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        hash.update(bytes);
        to.write_all(bytes)?;
    }
}
