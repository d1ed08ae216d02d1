use super::*;
use crate::corpus::manifest::FORMAT;
use crate::index::{language::Language, schema, tokenizer};

fn manifest(files: BTreeMap<String, String>) -> Manifest {
    Manifest {
        format: FORMAT,
        corpus: "public".into(),
        site_url: "https://docs.example.org/".into(),
        source_revision: None,
        built_at: None,
        language: Language::English,
        pages: 1,
        chunks: 1,
        schema: schema::VERSION,
        tokenizer: tokenizer::VERSION,
        bytes: 100_002,
        files,
    }
}

struct Fixture {
    folder: tempfile::TempDir,
    manifest: Manifest,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("index");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("meta.json"), "{}").unwrap();
        fs::write(dir.join("data.store"), vec![7; 100_000]).unwrap();
        let manifest = manifest(digests(&dir).unwrap());
        Self { folder, manifest }
    }

    fn pack(&self, key: Option<&SigningKey>) -> PathBuf {
        let out = self.folder.path().join("public.docsgate");
        pack(&self.folder.path().join("index"), &self.manifest, key, &out).unwrap();
        out
    }

    fn open(&self, path: &Path, key: Option<&VerifyKey>) -> Result<Unpacked, ArtifactFault> {
        let expected = Expected { key, corpus: Some("public"), ..Expected::default() };
        open(path, &self.folder.path().join("cache"), expected)
    }

    fn cached(&self) -> usize {
        fs::read_dir(self.folder.path().join("cache")).map_or(0, Iterator::count)
    }
}

/// An artifact made by hand: whatever an attacker would put into it.
fn forged(path: &Path, entries: &[(&str, tar::EntryType, &[u8])]) {
    let mut tar = tar::Builder::new(zstd::Encoder::new(File::create(path).unwrap(), 1).unwrap());
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        if *kind == tar::EntryType::Symlink {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_cksum();
        tar.append(&header, *content).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap();
}

#[test]
fn what_is_packed_comes_out_again_once() {
    let fixture = Fixture::new();
    let path = fixture.pack(None);
    let first = fixture.open(&path, None).unwrap();
    assert_eq!(fs::read(first.dir.join("data.store")).unwrap(), vec![7; 100_000]);
    assert_eq!(first.manifest, fixture.manifest);
    let second = fixture.open(&path, None).unwrap();
    assert_eq!((first.dir, fixture.cached()), (second.dir, 1));
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let (fixture, other) = (Fixture::new(), Fixture::new());
    assert_eq!(fs::read(fixture.pack(None)).unwrap(), fs::read(other.pack(None)).unwrap());
}

#[test]
fn signatures_are_demanded_once_a_key_is_set() {
    let fixture = Fixture::new();
    let key = SigningKey::parse(&SigningKey::generate().unwrap()).unwrap();
    let other = SigningKey::parse(&SigningKey::generate().unwrap()).unwrap();
    let verify = |key: &SigningKey| VerifyKey::parse(&key.public()).unwrap();
    let unsigned = fixture.pack(None);
    assert!(matches!(fixture.open(&unsigned, Some(&verify(&key))), Err(ArtifactFault::Signature(_))));
    let signed = fixture.pack(Some(&key));
    assert!(matches!(fixture.open(&signed, Some(&verify(&other))), Err(ArtifactFault::Signature(_))));
    assert_eq!(fixture.cached(), 0, "nothing stays behind");
    assert!(fixture.open(&signed, Some(&verify(&key))).is_ok());
    assert!(VerifyKey::parse("short").is_err() && SigningKey::parse("!").is_err());
}

#[test]
fn damage_is_noticed_and_leaves_nothing() {
    let fixture = Fixture::new();
    let path = fixture.pack(None);
    let whole = fs::read(&path).unwrap();
    let damaged = fixture.folder.path().join("damaged");
    for length in [0, 1, 10, whole.len() / 2, whole.len() - 1] {
        fs::write(&damaged, &whole[..length]).unwrap();
        assert!(fixture.open(&damaged, None).is_err(), "{length}");
    }
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(&damaged, &flipped).unwrap();
    assert!(fixture.open(&damaged, None).is_err());
    fs::write(&damaged, "<html>not found</html>").unwrap();
    assert!(matches!(fixture.open(&damaged, None), Err(ArtifactFault::Corrupt(_))));
    assert_eq!(fixture.cached(), 0);
}

#[test]
fn hostile_archives_are_refused() {
    let fixture = Fixture::new();
    let path = fixture.folder.path().join("hostile");
    let regular = tar::EntryType::Regular;
    let text = serde_json::to_vec(&fixture.manifest).unwrap();
    let with = |entries: &[(&str, tar::EntryType, &[u8])]| {
        let mut all: Vec<(&str, tar::EntryType, &[u8])> = vec![("manifest.json", regular, &text)];
        all.extend(entries);
        forged(&path, &all);
        fixture.open(&path, None).unwrap_err().to_string()
    };
    assert!(with(&[("../evil", regular, b"x")]).contains("not a plain file"));
    assert!(with(&[("/etc/evil", regular, b"x")]).contains("not a plain file"));
    assert!(with(&[("meta.json", tar::EntryType::Symlink, b"")]).contains("not a plain file"));
    assert!(with(&[("a/b", regular, b"x")]).contains("not a plain file"));
    assert!(with(&[("unlisted", regular, b"x")]).contains("not in the manifest"));
    assert!(with(&[("meta.json", regular, b"[]")]).contains("another digest"));
    assert!(with(&[("meta.json", regular, b"{}"), ("meta.json", regular, b"{}")]).contains("there twice"));
    assert!(with(&[("meta.json", regular, b"{}")]).contains("truncated"));
    forged(&path, &[("meta.json", regular, b"{}")]);
    assert!(fixture.open(&path, None).unwrap_err().to_string().contains("begin with its manifest"));
    assert_eq!(fixture.cached(), 0);
}

#[test]
fn other_corpora_and_versions_are_refused() {
    let mut fixture = Fixture::new();
    let path = fixture.pack(None);
    let cache = fixture.folder.path().join("cache");
    let fault =
        open(&path, &cache, Expected { corpus: Some("member"), ..Expected::default() }).unwrap_err().to_string();
    assert!(fault.contains("holds corpus `public`; expected `member`"), "{fault}");
    fixture.manifest.schema += 1;
    let fault = fixture.open(&fixture.pack(None), None).unwrap_err().to_string();
    assert!(fault.contains("build it again"), "{fault}");
}

#[test]
fn bombs_and_absurd_sizes_are_refused_before_they_are_written() {
    let fixture = Fixture::new();
    let path = fixture.folder.path().join("hostile");
    let regular = tar::EntryType::Regular;
    let text = serde_json::to_vec(&fixture.manifest).unwrap();
    // 64 MiB of zeros are a few kilobytes in the archive.
    let zeros = vec![0; 64 << 20];
    forged(&path, &[("manifest.json", regular, &text), ("data.store", regular, &zeros)]);
    assert!(fs::metadata(&path).unwrap().len() < 1 << 20);
    assert!(fixture.open(&path, None).unwrap_err().to_string().contains("more than the 100002 bytes"));
    let mut boastful = fixture.manifest.clone();
    boastful.bytes = u64::MAX;
    forged(&path, &[("manifest.json", regular, &serde_json::to_vec(&boastful).unwrap())]);
    assert!(fixture.open(&path, None).unwrap_err().to_string().contains("there is room for"));
    let whole = fixture.pack(None);
    let tight = Expected { corpus: Some("public"), most_bytes: 1000, ..Expected::default() };
    let small = open(&whole, &fixture.folder.path().join("cache"), tight).unwrap_err().to_string();
    assert!(small.contains("there is room for 1000"), "{small}");
    assert_eq!(fixture.cached(), 0);
}

/// The seeds of the fuzz target `artifact`: archives without their compression.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/artifact");
    let seed = |entry: io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap())
    };
    let mut seeds: Vec<(String, Vec<u8>)> = fs::read_dir(folder).unwrap().map(seed).collect();
    seeds.sort();
    seeds
}

#[test]
fn headers_are_read_as_they_are() {
    for (name, expected) in [("long-name", "but a long name"), ("pax", "but PAX records"), ("link", "but a link")] {
        let folder = tempfile::tempdir().unwrap();
        let (_, tar) = seeds().into_iter().find(|(seed, _)| seed == name).unwrap();
        let fault = unpack_tar(tar.as_slice(), folder.path(), None).unwrap_err().to_string();
        assert!(fault.contains(expected), "{name}: {fault}");
    }
    for name in ["whole", "unsigned"] {
        let folder = tempfile::tempdir().unwrap();
        let (_, tar) = seeds().into_iter().find(|(seed, _)| seed == name).unwrap();
        assert_eq!(unpack_tar(tar.as_slice(), folder.path(), None).unwrap().files.len(), 2, "{name}");
    }
}

#[test]
fn little_is_read_before_the_manifest_is_verified() {
    /// Zeros without end, counted.
    struct Zeros<'a>(&'a mut u64);
    impl Read for Zeros<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            buffer.fill(0);
            *self.0 += buffer.len() as u64;
            Ok(buffer.len())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    for (size, kind) in [(1 << 20, tar::EntryType::Regular), (2 << 30, tar::EntryType::GNULongName)] {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..13].copy_from_slice(b"manifest.json");
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_cksum();
        let mut read = 0;
        assert!(unpack_tar(header.as_bytes().chain(Zeros(&mut read)), folder.path(), None).is_err());
        assert!(read <= 2 << 20, "{read} bytes of {size}");
    }
}

proptest::proptest! {
    #[test]
    fn no_damage_makes_an_archive_hold_more_than_its_manifest_says(
        seed in 0_usize..5,
        changes in proptest::collection::vec((0_usize..6144, proptest::num::u8::ANY), 0..6),
    ) {
        let (_, mut tar) = seeds().swap_remove(seed);
        for (at, byte) in changes {
            let at = at % tar.len();
            tar[at] = byte;
        }
        let folder = tempfile::tempdir().unwrap();
        if let Ok(manifest) = unpack_tar(tar.as_slice(), folder.path(), None) {
            let sizes = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
            assert!(sizes.sum::<u64>() <= manifest.bytes);
        }
    }
}
