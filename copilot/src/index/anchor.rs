//! Ids of headings, as Python-Markdown's `toc` extension makes them with its default slug function. A citation lands
//! only if the id is the very same.

use std::collections::HashSet;

use unicode_normalization::UnicodeNormalization;

/// How a site makes ids from the text of its headings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Slug {
    /// Python-Markdown's own: ASCII, lower case.
    #[default]
    Ascii,
    /// `markdown.extensions.toc.slugify_unicode`.
    Unicode,
    /// `pymdownx.slugs.slugify` as it is.
    PyMdown,
    /// `pymdownx.slugs.slugify` with `case: lower`.
    PyMdownLower,
    /// Something of the site's own: what it makes is not known, and no id is better than a wrong one.
    Unknown,
}

/// Ids of one page, in the order of its headings.
#[derive(Debug, Default)]
pub struct Anchors {
    taken: HashSet<String>,
    slug: Slug,
}

impl Anchors {
    /// For a page of a site that makes ids in this way.
    pub fn new(slug: Slug) -> Self {
        Self { slug, ..Self::default() }
    }

    /// The id of a heading with this text, when it is known how the site makes them.
    pub fn of_text(&mut self, text: &str) -> Option<String> {
        let id = match self.slug {
            Slug::Ascii => slugify(text),
            Slug::Unicode => slugify_unicode(text),
            Slug::PyMdown => slugify_pymdown(text),
            Slug::PyMdownLower => slugify_pymdown(&text.to_lowercase()),
            Slug::Unknown => return None,
        };
        Some(self.unique(id))
    }

    /// The id of a heading that says its own (`{#id}`). It is taken as it is, as the extension does.
    pub fn explicit(&mut self, id: &str) -> String {
        self.taken.insert(id.to_owned());
        id.to_owned()
    }

    /// The first of `id`, `id_1`, `id_2`, … that is free; an empty id counts as taken.
    fn unique(&mut self, id: String) -> String {
        let mut id = id;
        while id.is_empty() || self.taken.contains(&id) {
            let numbered = id.rsplit_once('_').and_then(|(stem, number)| {
                let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
                digits
                    .then(|| number.parse::<u64>().ok().map(|number| format!("{stem}_{}", number.saturating_add(1))))
                    .flatten()
            });
            id = numbered.unwrap_or_else(|| format!("{id}_1"));
        }
        self.taken.insert(id.clone());
        id
    }
}

/// Compatibility decomposition, ASCII only, word characters, blanks and hyphens only, lower case, runs of blanks and
/// hyphens as one hyphen.
fn slugify(text: &str) -> String {
    let kept: String = text
        .nfkd()
        .filter(char::is_ascii)
        .filter(|c| {
            c.is_ascii_alphanumeric()
                || matches!(c, '_' | '-')
                || c.is_ascii_whitespace()
                || ('\u{1c}'..='\u{1f}').contains(c)
        })
        .collect();
    let mut slug = String::with_capacity(kept.len());
    for c in kept.trim().chars() {
        let c = if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { '-' };
        if c != '-' || !slug.ends_with('-') {
            slug.push(c);
        }
    }
    slug
}

/// As [`slugify`], with the letters of every script.
fn slugify_unicode(text: &str) -> String {
    let kept: String =
        text.chars().filter(|c| c.is_alphanumeric() || c.is_whitespace() || matches!(c, '_' | '-')).collect();
    let mut slug = String::with_capacity(kept.len());
    for c in kept.trim().to_lowercase().chars() {
        let c = if c.is_whitespace() { '-' } else { c };
        if c != '-' || !slug.ends_with('-') {
            slug.push(c);
        }
    }
    slug
}

/// Word characters, hyphens and blanks; each blank is a hyphen.
fn slugify_pymdown(text: &str) -> String {
    let text: String = text.trim().nfc().collect();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | ' '));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_those_of_python_markdown() {
        for (text, slug) in [
            ("Install on DOKS", "install-on-doks"),
            ("What's new?", "whats-new"),
            ("foo.bar() and --dry-run", "foobar-and-dry-run"),
            ("Über café", "uber-cafe"),
            ("a - b -- c", "a-b-c"),
            ("snake_case", "snake_case"),
            ("日本語", ""),
            ("v1.2.3", "v123"),
            ("  spaces  ", "spaces"),
            ("- leading", "-leading"),
            ("½ done", "12-done"),
        ] {
            assert_eq!(slugify(text), slug, "{text}");
        }
    }

    #[test]
    fn other_slug_functions_are_followed_and_unknown_ones_give_no_id() {
        let of = |slug, text: &str| Anchors::new(slug).of_text(text);
        assert_eq!(of(Slug::Unicode, "Über  -- Café 日本").as_deref(), Some("über-café-日本"));
        assert_eq!(of(Slug::PyMdown, "What's New? A & B").as_deref(), Some("Whats-New-A--B"));
        assert_eq!(of(Slug::PyMdownLower, "Über Café").as_deref(), Some("über-café"));
        assert_eq!(of(Slug::Unknown, "Use"), None);
    }

    #[test]
    fn repeated_headings_are_numbered() {
        let mut anchors = Anchors::default();
        let ids: Vec<String> = ["Use", "Use", "Use", "Use 1", "", "", "use_1", "日本"]
            .iter()
            .filter_map(|text| anchors.of_text(text))
            .collect();
        assert_eq!(ids, ["use", "use_1", "use_2", "use-1", "_1", "_2", "use_3", "_3"]);
        assert_eq!(anchors.explicit("own"), "own");
        assert_eq!(anchors.of_text("Own").as_deref(), Some("own_1"));
    }
}
