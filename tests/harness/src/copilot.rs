//! copilot as a process, and the indexes that it serves.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

use crate::process::{Launch, Process};
use crate::{paths, ready};

/// A docs tree that becomes one corpus.
#[derive(Debug, Clone)]
pub struct Docs {
    /// The corpus' name in the policy.
    pub corpus: String,
    /// The folder with Markdown or HTML.
    pub folder: PathBuf,
    /// Where the site is published: the beginning of every citation.
    pub site_url: String,
}

/// File name endings of documents.
const DOCUMENTS: [&str; 3] = ["md", "markdown", "html"];

impl Docs {
    /// Refuses a folder that has nothing to index, before anything is started.
    ///
    /// # Errors
    /// When it is missing, not a folder, unreadable or has no document.
    pub fn check(&self) -> Result<()> {
        let shown = self.folder.display();
        if !self.folder.exists() {
            bail!("the {} docs folder {shown} does not exist", self.corpus);
        }
        if !self.folder.is_dir() {
            bail!("the {} docs {shown} are not a folder", self.corpus);
        }
        let mut files = Vec::new();
        collect(&self.folder, &mut files).with_context(|| format!("the {} docs folder {shown}", self.corpus))?;
        if !files.iter().any(|file| is_document(file)) {
            bail!("the {} docs folder {shown} has no document: expected *.md or *.html files", self.corpus);
        }
        Ok(())
    }

    /// Builds the index artifact in `folder` unless the one there was made of the same documents by the same program.
    /// Tells its path, and whether it was built now.
    ///
    /// # Errors
    /// What `copilot index build` said.
    pub fn index(&self, folder: &Path) -> Result<(PathBuf, bool)> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let copilot = paths::binary("copilot")?;
        let key = signing_key(&copilot, folder)?;
        let artifact = folder.join(format!("{}.docsgate", self.corpus));
        let stamp_file = folder.join(format!("{}.stamp", self.corpus));
        let stamp = format!("{:016x}", self.fingerprint(&copilot, &key)?);
        if artifact.is_file() && fs::read_to_string(&stamp_file).is_ok_and(|text| text == stamp) {
            return Ok((artifact, false));
        }
        let _ = fs::remove_file(&stamp_file);
        Launch::new(
            &format!("copilot index build ({})", self.corpus),
            &copilot,
            folder.join(format!("{}.log", self.corpus)),
        )
        .args(["index", "build"])
        .arg(&self.folder)
        .args(["--site-url", &self.site_url, "--corpus", &self.corpus, "--out"])
        .arg(&artifact)
        .arg("--signing-key")
        .arg(&key)
        .run(INDEX_PATIENCE)?;
        fs::write(&stamp_file, stamp).with_context(|| format!("cannot write {}", stamp_file.display()))?;
        Ok((artifact, true))
    }

    /// Number of documents.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn count(&self) -> Result<usize> {
        let mut files = Vec::new();
        collect(&self.folder, &mut files)?;
        Ok(files.iter().filter(|file| is_document(file)).count())
    }

    /// Words to ask for: the first heading of more than one word.
    #[must_use]
    pub fn sample_question(&self) -> Option<String> {
        let mut files = Vec::new();
        collect(&self.folder, &mut files).ok()?;
        files.iter().filter(|file| is_document(file)).find_map(|file| {
            let text = fs::read_to_string(file).ok()?;
            let heading = text.lines().find_map(|line| line.strip_prefix("# "))?;
            let plain: String =
                heading.chars().map(|c| if c.is_alphanumeric() || c == '-' { c } else { ' ' }).collect();
            let words: Vec<&str> = plain.split_whitespace().collect();
            (words.len() > 1).then(|| words.join(" "))
        })
    }

    fn fingerprint(&self, program: &Path, key: &Path) -> Result<u64> {
        let mut hasher = DefaultHasher::new();
        self.site_url.hash(&mut hasher);
        let mut files = vec![program.to_path_buf(), key.to_path_buf()];
        collect(&self.folder, &mut files)?;
        for file in files {
            let data = fs::metadata(&file).with_context(|| format!("cannot read {}", file.display()))?;
            (&file, data.len(), data.modified().unwrap_or(SystemTime::UNIX_EPOCH)).hash(&mut hasher);
        }
        Ok(hasher.finish())
    }
}

/// The public key that the indexes in `folder` are signed with.
#[must_use]
pub fn verify_key(folder: &Path) -> PathBuf {
    folder.join("index.key.pub")
}

/// The private key that signs the indexes in `folder`, made once.
fn signing_key(copilot: &Path, folder: &Path) -> Result<PathBuf> {
    let key = folder.join("index.key");
    if !key.is_file() || !verify_key(folder).is_file() {
        let _ = fs::remove_file(&key);
        Launch::new("copilot index keygen", copilot, folder.join("index.key.log"))
            .args(["index", "keygen", "--out"])
            .arg(&key)
            .run(INDEX_PATIENCE)?;
    }
    Ok(key)
}

/// A thousand pages in a debug build take seconds; a machine may be busy.
const INDEX_PATIENCE: Duration = Duration::from_secs(600);

fn is_document(file: &Path) -> bool {
    file.extension().is_some_and(|ending| DOCUMENTS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// All files below `folder`, in order. Links to folders are not followed: they may lead in a circle.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| (entry.path(), entry.file_type().is_ok_and(|kind| kind.is_dir()))))
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("cannot read {}", folder.display()))?;
    paths.sort();
    for (path, is_folder) in paths {
        if is_folder {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// What `copilot serve` is started with.
#[derive(Debug)]
pub struct Options {
    /// Log, ready file and cache.
    pub folder: PathBuf,
    /// Corpus name and artifact.
    pub corpora: Vec<(String, PathBuf)>,
    /// Grant keys.
    pub grant_key: PathBuf,
    /// Public key that the artifacts are signed with.
    pub verify_key: PathBuf,
    /// Further flags.
    pub extra: Vec<String>,
    /// Further environment variables.
    pub env: Vec<(String, String)>,
}

/// A running copilot.
#[derive(Debug)]
pub struct Copilot {
    /// The process.
    pub process: Process,
    /// `127.0.0.1:PORT`.
    pub address: String,
    /// Where it takes gRPC, `127.0.0.1:PORT`.
    pub grpc_address: String,
    /// Metrics and health.
    pub admin_url: String,
}

impl Copilot {
    /// Starts copilot and waits until it serves.
    ///
    /// # Errors
    /// When it ends or does not become ready.
    pub fn start(options: &Options) -> Result<Self> {
        let mut launch = Launch::new("copilot", &paths::binary("copilot")?, options.folder.join("copilot.log"))
            .args(["serve", "--listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"])
            .args(["--admin-listen", "127.0.0.1:0", "--grant-key-file"])
            .arg(&options.grant_key)
            .arg("--verify-key")
            .arg(&options.verify_key)
            .arg("--cache-dir")
            .arg(options.folder.join("cache"))
            .args(&options.extra);
        for (name, artifact) in &options.corpora {
            launch = launch.arg("--corpus").arg(format!("{name}={}", artifact.display()));
        }
        for (name, value) in &options.env {
            launch = launch.env(name, value);
        }
        let (process, ready) = ready::start(launch, &options.folder.join("copilot.ready"))?;
        let copilot = Self {
            process,
            address: ready.listener("http")?.to_owned(),
            grpc_address: ready.listener("grpc")?.to_owned(),
            admin_url: ready.url("admin")?,
        };
        ready::wait_until_serving(&copilot.process, &copilot.admin_url)?;
        Ok(copilot)
    }

    /// `http://` URL of the public listener.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
