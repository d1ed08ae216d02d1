//! The one folder that is written: unpacked artifacts within a bound, and the highest sequence number that was seen.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Prefixes of what is being unpacked or fetched.
pub const UNDER_WAY: [&str; 2] = ["unpacking-", "fetching-"];
/// Age after which unfinished work was left behind by a process that has ended.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

/// The cache.
#[derive(Debug, Clone)]
pub struct Cache {
    /// The folder.
    pub dir: PathBuf,
    /// Most bytes of unpacked artifacts.
    pub bound: u64,
}

impl Cache {
    /// Removes what a killed process has left, then the artifacts that were used longest ago until what remains and
    /// `wanted` more bytes fit. What `in_use` names stays.
    ///
    /// # Errors
    /// When the folder cannot be read; what cannot be removed stays.
    pub fn trim(&self, in_use: &[String], wanted: u64) -> io::Result<()> {
        let mut kept: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        let mut total = wanted;
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let modified = entry.metadata().and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            if UNDER_WAY.iter().any(|prefix| name.starts_with(prefix)) {
                if modified.elapsed().is_ok_and(|age| age > LEFT_BEHIND) {
                    let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
                }
                continue;
            }
            if !entry.file_type()?.is_dir() {
                continue;
            }
            let bytes = size(&entry.path());
            total = total.saturating_add(bytes);
            if !in_use.contains(&name) {
                kept.push((modified, bytes, entry.path()));
            }
        }
        kept.sort();
        for (_, bytes, path) in kept {
            if total <= self.bound {
                break;
            }
            // An index that is still mapped stays readable until its last request has ended.
            if fs::remove_dir_all(&path).is_ok() {
                total -= bytes;
            }
        }
        Ok(())
    }

    /// The highest sequence number that was followed for a corpus, and the version it named.
    #[must_use]
    pub fn sequence(&self, corpus: &str) -> Option<(u64, String)> {
        let text = fs::read_to_string(self.sequence_file(corpus)).ok()?;
        let (sequence, version) = text.trim().split_once(' ')?;
        Some((sequence.parse().ok()?, version.to_owned()))
    }

    /// Notes a sequence number.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn note_sequence(&self, corpus: &str, sequence: u64, version: &str) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        writeln!(file, "{sequence} {version}")?;
        file.persist(self.sequence_file(corpus)).map_err(|error| error.error)?;
        Ok(())
    }

    fn sequence_file(&self, corpus: &str) -> PathBuf {
        self.dir.join(format!("{corpus}.sequence"))
    }
}

fn size(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.metadata().map_or(0, |data| data.len())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_what_is_in_use_stays() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache { dir: folder.path().to_owned(), bound: 250 };
        for (name, age) in
            [("public-a", 30), ("public-b", 20), ("public-c", 10), ("fetching-old", 7200), ("fetching-new", 1)]
        {
            let dir = folder.path().join(name);
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("data"), [0; 100]).unwrap();
            fs::File::open(&dir).unwrap().set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        }
        cache.note_sequence("public", 7, "abc").unwrap();
        assert_eq!(cache.sequence("public"), Some((7, "abc".to_owned())));
        let names = || {
            let mut names: Vec<String> = fs::read_dir(folder.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        cache.trim(&["public-a".to_owned()], 0).unwrap();
        assert_eq!(names(), ["fetching-new", "public-a", "public-c", "public.sequence"]);
        cache.trim(&["public-a".to_owned()], 100).unwrap();
        assert_eq!(names(), ["fetching-new", "public-a", "public.sequence"]);
    }
}
