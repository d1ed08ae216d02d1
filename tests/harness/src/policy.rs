//! The policy that a stack runs with: the operator's own file, its JWKS address replaced by the development issuer's.
//!
//! The text is changed in place, so that every line number in an error is that of the operator's file, and it is
//! copied again whenever the original changes: editing the file is felt at once.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A policy that follows its original.
#[derive(Debug)]
pub struct LivePolicy {
    original: PathBuf,
    served: PathBuf,
    jwks_url: String,
    written: Vec<(PathBuf, String)>,
}

/// What tokens must say to please a policy, and what the member corpus asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectations {
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// The feature that opens a corpus.
    pub feature: String,
    /// An origin that some CORS profile allows, if one is written without a wildcard.
    pub origin: Option<String>,
}

impl LivePolicy {
    /// Copies `original` (a file or a directory) into `folder`.
    ///
    /// # Errors
    /// When the original cannot be read or the copy cannot be written.
    pub fn derive(original: &Path, folder: &Path, jwks_url: &str) -> Result<Self> {
        let original = original.canonicalize().with_context(|| format!("policy {}", original.display()))?;
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let served = if original.is_dir() { folder.join("policy.d") } else { folder.join("policy.yaml") };
        if original.is_dir() {
            let _ = fs::remove_dir_all(&served);
            fs::create_dir_all(&served)?;
        }
        let mut policy = Self { original, served, jwks_url: jwks_url.to_owned(), written: Vec::new() };
        policy.refresh()?;
        Ok(policy)
    }

    /// What authz is given.
    #[must_use]
    pub fn served(&self) -> &Path {
        &self.served
    }

    /// What the operator edits.
    #[must_use]
    pub fn original(&self) -> &Path {
        &self.original
    }

    /// Copies the original again if it has changed; tells whether it has.
    ///
    /// # Errors
    /// When it cannot be read (the old copy then stays) or the copy cannot be written.
    pub fn refresh(&mut self) -> Result<bool> {
        let wanted: Vec<(PathBuf, String)> = files(&self.original)?
            .into_iter()
            .map(|path| {
                let text = fs::read_to_string(&path).with_context(|| format!("policy {}", path.display()))?;
                let target = match path.file_name() {
                    Some(name) if self.original.is_dir() => self.served.join(name),
                    _ => self.served.clone(),
                };
                Ok((target, with_jwks_url(&text, &self.jwks_url)))
            })
            .collect::<Result<_>>()?;
        if wanted == self.written {
            return Ok(false);
        }
        for (target, text) in &wanted {
            replace(target, text)?;
        }
        for (gone, _) in self.written.iter().filter(|(old, _)| wanted.iter().all(|(new, _)| new != old)) {
            let _ = fs::remove_file(gone);
        }
        self.written = wanted;
        Ok(true)
    }
}

/// Reads what tokens must say from a policy that `authz check` has accepted.
///
/// # Errors
/// When the policy cannot be read as YAML.
pub fn expectations(policy: &Path) -> Result<Expectations> {
    let mut found = Expectations {
        issuer: "http://issuer.invalid".into(),
        audience: "docs".into(),
        feature: "academy".into(),
        origin: None,
    };
    for path in files(policy)? {
        let text = fs::read_to_string(&path).with_context(|| format!("policy {}", path.display()))?;
        let document: Value =
            serde_saphyr::from_str(&text).with_context(|| format!("policy {} is not YAML", path.display()))?;
        for issuer in values(&document["issuers"]) {
            if let (Some(name), Some(audience)) = (issuer["issuer"].as_str(), issuer["audiences"][0].as_str()) {
                found.issuer = name.to_owned();
                found.audience = audience.to_owned();
                break;
            }
        }
        if let Some(feature) = values(&document["corpora"]).find_map(|corpus| corpus["entitlement"].as_str()) {
            found.feature = feature.to_owned();
        }
        for profile in values(&document["cors"]) {
            let origins = profile["allow_origins"].as_array().into_iter().flatten();
            let exact = origins.filter_map(Value::as_str).find(|origin| !origin.contains('*'));
            found.origin = found.origin.or_else(|| exact.map(str::to_owned));
        }
    }
    Ok(found)
}

fn values(map: &Value) -> impl Iterator<Item = &Value> {
    map.as_object().into_iter().flat_map(|entries| entries.values())
}

/// The policy's own files: the one named, or every `*.yaml` and `*.yml` directly in the directory.
fn files(policy: &Path) -> Result<Vec<PathBuf>> {
    if !policy.is_dir() {
        return Ok(vec![policy.to_path_buf()]);
    }
    let entries = fs::read_dir(policy).with_context(|| format!("policy {}", policy.display()))?;
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file() && path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml"))
        .collect();
    found.sort();
    if found.is_empty() {
        bail!("policy {}: there is no *.yaml file in it", policy.display());
    }
    Ok(found)
}

/// `text` with the value of every `jwks_url` replaced, on its line and in its quotes.
fn with_jwks_url(text: &str, url: &str) -> String {
    const KEY: &str = "jwks_url:";
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let code = line.find(" #").map_or(line, |comment| &line[..comment]);
        let Some(at) = code.find(KEY).filter(|_| !line.trim_start().starts_with('#')) else {
            out.push_str(line);
            continue;
        };
        let value = at + KEY.len();
        let start = value + line[value..].len() - line[value..].trim_start_matches(' ').len();
        let length = line[start..].find([' ', ',', '}', '\r', '\n']).unwrap_or(line.len() - start);
        out.push_str(&line[..start]);
        out.push_str(url);
        out.push_str(&line[start + length..]);
    }
    out
}

/// Writes a file in one step, as a reader sees it.
pub(crate) fn replace(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().context("a file without a folder")?;
    let mut fresh = tempfile::Builder::new().prefix(".incoming-").tempfile_in(folder)?;
    fresh.write_all(text.as_bytes())?;
    fresh.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "http://127.0.0.1:1/jwks";

    #[test]
    fn only_the_value_of_jwks_url_changes() {
        let text = "a:\n  jwks_url: https://x.example/k  # why\n  b: {jwks_url: \"https://y\", c: 1}\n# jwks_url: z\n";
        assert_eq!(
            with_jwks_url(text, URL),
            format!("a:\n  jwks_url: {URL}  # why\n  b: {{jwks_url: {URL}, c: 1}}\n# jwks_url: z\n")
        );
    }

    #[test]
    fn an_edit_of_the_original_is_followed_and_a_removed_file_too() {
        let folder = tempfile::tempdir().unwrap();
        let original = folder.path().join("original");
        fs::create_dir(&original).unwrap();
        fs::write(original.join("a.yaml"), "jwks_url: x\n").unwrap();
        fs::write(original.join("b.yaml"), "b: 1\n").unwrap();
        let mut policy = LivePolicy::derive(&original, &folder.path().join("copy"), URL).unwrap();
        assert_eq!(fs::read_to_string(policy.served().join("a.yaml")).unwrap(), format!("jwks_url: {URL}\n"));
        assert!(!policy.refresh().unwrap());
        fs::write(original.join("a.yaml"), "a: 2\n").unwrap();
        fs::remove_file(original.join("b.yaml")).unwrap();
        assert!(policy.refresh().unwrap());
        assert_eq!(fs::read_to_string(policy.served().join("a.yaml")).unwrap(), "a: 2\n");
        assert!(!policy.served().join("b.yaml").exists());
    }

    #[test]
    fn expectations_come_from_the_policy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.yaml");
        fs::write(
            &path,
            "issuers: {learn: {issuer: https://l.example, audiences: [docs]}}\ncorpora: {public: {}, member: {entitlement: gold}}\n\
             cors: {docs: {allow_origins: ['https://*.example', 'https://docs.example']}}\n",
        )
        .unwrap();
        let found = expectations(&path).unwrap();
        assert_eq!((found.issuer.as_str(), found.audience.as_str()), ("https://l.example", "docs"));
        assert_eq!((found.feature.as_str(), found.origin.as_deref()), ("gold", Some("https://docs.example")));
    }
}
