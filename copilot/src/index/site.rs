//! Where MkDocs publishes a page.

use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

/// What Python's `urllib.parse.quote` leaves as it is, which is what MkDocs uses.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~').remove(b'/');

/// The address of a site.
#[derive(Debug, Clone)]
pub struct Site {
    base: String,
    directory_urls: bool,
}

impl Site {
    /// A site whose pages lie below `url`. With `directory_urls` (MkDocs' default) `a/b.md` becomes `a/b/`.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn new(url: &str, directory_urls: bool) -> Result<Self, String> {
        let expected = "expected an http or https URL such as https://docs.example.org/";
        let parsed = Url::parse(url).map_err(|error| format!("`{url}`: {error}; {expected}"))?;
        if !matches!(parsed.scheme(), "http" | "https") || parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(format!("`{url}`: {expected}"));
        }
        let mut base = parsed.to_string();
        if !base.ends_with('/') {
            base.push('/');
        }
        Ok(Self { base, directory_urls })
    }

    /// The base of all pages, with a trailing slash.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The URL of a page, from its path below the documents' folder.
    pub fn page_url(&self, path: &Path) -> String {
        let text = path.to_string_lossy().replace('\\', "/");
        let (folder, file) = text.rsplit_once('/').unwrap_or(("", &text));
        let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
        let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let path = match (is_index(stem), self.directory_urls) {
            (true, true) => folder,
            (true, false) => format!("{folder}index.html"),
            (false, true) => format!("{folder}{stem}/"),
            (false, false) => format!("{folder}{stem}.html"),
        };
        format!("{}{}", self.base, utf8_percent_encode(&path, KEPT))
    }

    /// The URL of a page of a built site: `a/index.html` is published as `a/`, any other file under its own name.
    pub fn built_url(&self, path: &Path) -> String {
        let text = path.to_string_lossy().replace('\\', "/");
        let index = text.strip_suffix("index.html").filter(|folder| folder.is_empty() || folder.ends_with('/'));
        let path = if self.directory_urls { index.unwrap_or(&text) } else { &text };
        format!("{}{}", self.base, utf8_percent_encode(path, KEPT))
    }
}

/// Whether a page of this name is the index of its folder.
pub fn is_index(stem: &str) -> bool {
    matches!(stem, "index" | "README" | "_index")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_published_where_mkdocs_does() {
        let site = Site::new("https://docs.example.org/base", true).unwrap();
        for (path, url) in [
            ("index.md", ""),
            ("README.md", ""),
            ("a/README.md", "a/"),
            ("a/b.md", "a/b/"),
            ("a/index.md", "a/"),
            ("a b/é.md", "a%20b/%C3%A9/"),
            ("env@v1/README.md", "env%40v1/"),
            ("a/v1.2.md", "a/v1.2/"),
            ("readme.md", "readme/"),
        ] {
            assert_eq!(site.page_url(Path::new(path)), format!("https://docs.example.org/base/{url}"), "{path}");
        }
        for (path, url) in [("index.html", ""), ("a/index.html", "a/"), ("a/myindex.html", "a/myindex.html")] {
            assert_eq!(site.built_url(Path::new(path)), format!("https://docs.example.org/base/{url}"), "{path}");
        }
        let plain = Site::new("https://docs.example.org", false).unwrap();
        assert_eq!(plain.page_url(Path::new("a/b.md")), "https://docs.example.org/a/b.html");
        assert_eq!(plain.page_url(Path::new("a/README.md")), "https://docs.example.org/a/index.html");
    }

    #[test]
    fn what_is_not_a_site_is_refused() {
        for url in ["", "docs.example.org", "ftp://a/", "https://a/?q", "https://a/#f"] {
            assert!(Site::new(url, true).unwrap_err().contains("expected"), "{url}");
        }
    }
}
