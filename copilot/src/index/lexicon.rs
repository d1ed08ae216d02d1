//! What the corpus itself teaches about its words: acronyms with their long forms, and the site's sections.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{chunk::Chunk, language::Language, schema, tokenizer};

/// Most acronyms that are kept: a guard against a corpus of nonsense.
const MAX_ACRONYMS: usize = 10_000;

/// Written beside the index, read with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lexicon {
    /// [`schema::VERSION`] of the writer.
    pub schema: u32,
    /// [`tokenizer::VERSION`] of the writer.
    pub tokenizer: u32,
    /// Language of the stems.
    pub language: Language,
    /// Names of the sections; documents refer to them by index, 0 is none.
    pub sections: Vec<String>,
    /// Folded acronym → folded words of its long form, from `Long Form (LF)` in the documents.
    pub acronyms: BTreeMap<String, Vec<String>>,
}

impl Lexicon {
    /// Learns from the chunks.
    #[must_use]
    pub fn learn(chunks: &[Chunk], language: Language) -> Self {
        let mut sections = vec![String::new()];
        let mut seen: BTreeMap<(String, Vec<String>), usize> = BTreeMap::new();
        for chunk in chunks {
            if let Some(section) = &chunk.section
                && !sections.contains(section)
            {
                sections.push(section.clone());
            }
            for found in acronyms(&chunk.body()) {
                *seen.entry(found).or_default() += 1;
            }
        }
        sections[1..].sort();
        let mut best: BTreeMap<String, (usize, Vec<String>)> = BTreeMap::new();
        for ((acronym, words), count) in seen {
            let entry = best.entry(acronym).or_insert((0, Vec::new()));
            if count > entry.0 {
                *entry = (count, words);
            }
        }
        let acronyms = best.into_iter().take(MAX_ACRONYMS).map(|(acronym, (_, words))| (acronym, words)).collect();
        Self { schema: schema::VERSION, tokenizer: tokenizer::VERSION, language, sections, acronyms }
    }

    /// Index of a section, 0 for none.
    #[must_use]
    pub fn section(&self, name: Option<&str>) -> u64 {
        let found = name.and_then(|name| self.sections.iter().position(|known| known == name));
        found.unwrap_or(0) as u64
    }
}

/// `Horizontal Pod Autoscaler (HPA)`: the letters in parentheses are the initials of the words before them.
fn acronyms(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for (open, _) in text.match_indices('(') {
        let Some(length) = text[open + 1..].char_indices().take(12).find(|(_, c)| *c == ')').map(|(at, _)| at) else {
            continue;
        };
        let inside = text[open + 1..open + 1 + length].trim_end_matches('s');
        let letters = inside.chars().count();
        if !(2..=6).contains(&letters) || !inside.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()) {
            continue;
        }
        let before: Vec<&str> =
            text[..open].rsplit(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).take(letters).collect();
        let initials: String = before.iter().rev().filter_map(|word| word.chars().next()).collect();
        if initials.eq_ignore_ascii_case(inside) && before.len() == letters {
            let words = before.iter().rev().map(|word| tokenizer::fold(word).into_owned()).collect();
            found.push((inside.to_ascii_lowercase(), words));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_forms_are_learned_from_parentheses() {
        let text = "The Horizontal Pod Autoscaler (HPA) scales. A Certificate Signing Request (CSR); not (THIS) one.";
        let words = |text: &[&str]| text.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            acronyms(text),
            [
                ("hpa".to_owned(), words(&["horizontal", "pod", "autoscaler"])),
                ("csr".to_owned(), words(&["certificate", "signing", "request"])),
            ]
        );
        assert!(acronyms("((((").is_empty());
        assert!(acronyms("é (É) ü (ÜÜ)").is_empty());
    }
}
