//! A reader's text → the words to look for. There is no query syntax: every character is text.

use crate::index::{language::Language, tokenizer};

/// Longest text that is looked at; what follows is ignored.
pub const MAX_QUERY_BYTES: usize = 2048;

/// Most distinct words and identifiers that are searched.
const MAX_TERMS: usize = 64;

/// Words that carry grammar, not content, in questions about documentation.
const FUNCTION_WORDS: &[&str] = &[
    "a", "about", "after", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be", "been", "being", "but",
    "by", "can", "could", "did", "do", "does", "doing", "don", "done", "during", "each", "for", "from", "get", "had",
    "has", "have", "having", "he", "her", "here", "his", "how", "i", "if", "in", "into", "is", "it", "its", "just",
    "let", "like", "ll", "m", "may", "me", "might", "mine", "must", "my", "need", "no", "nor", "not", "of", "on", "or",
    "our", "ours", "please", "s", "shall", "she", "should", "so", "some", "such", "t", "than", "that", "the", "their",
    "them", "then", "there", "these", "they", "this", "those", "to", "too", "us", "ve", "very", "want", "was", "we",
    "were", "what", "when", "where", "whether", "which", "while", "who", "whom", "whose", "why", "will", "with",
    "would", "you", "your",
];

/// Whether a folded word carries grammar only.
#[must_use]
pub fn is_function_word(word: &str) -> bool {
    FUNCTION_WORDS.binary_search(&word).is_ok()
}

/// One word or identifier of the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryWord {
    /// Folded, as typed.
    pub text: String,
    /// Its stem.
    pub stem: String,
    /// Found as a whole identifier only.
    pub identifier: bool,
    /// Grammar, not content.
    pub function_word: bool,
    /// Position in the query.
    pub position: usize,
}

/// An analysed query.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Distinct words and identifiers in order.
    pub words: Vec<QueryWord>,
    /// The text ends within its last word, as it does while somebody types.
    pub open: bool,
    /// There was more than is searched.
    pub cut: bool,
}

impl Query {
    /// Analyses `text`.
    #[must_use]
    pub fn parse(text: &str, language: Language) -> Self {
        let end = text.floor_char_boundary(MAX_QUERY_BYTES);
        let mut cut = end < text.len();
        let text = &text[..end];
        let stemmer = language.stemmer();
        let stem = |word: &str| stemmer.as_ref().map_or_else(|| word.to_owned(), |s| s.stem(word).into_owned());
        let tokens = tokenizer::tokenize(text);
        let mut words: Vec<QueryWord> = Vec::new();
        let plain = tokens.words.iter().map(|word| (word, false));
        for (word, identifier) in plain.chain(tokens.identifiers.iter().map(|word| (word, true))) {
            if word.text.is_empty()
                || words.iter().any(|known| known.text == word.text && known.identifier == identifier)
            {
                continue;
            }
            if words.len() == MAX_TERMS {
                cut = true;
                break;
            }
            words.push(QueryWord {
                stem: if identifier { word.text.clone() } else { stem(&word.text) },
                function_word: language == Language::English && !identifier && is_function_word(&word.text),
                text: word.text.clone(),
                identifier,
                position: word.position,
            });
        }
        Self { words, open: text.ends_with(|c: char| c.is_alphanumeric()), cut }
    }

    /// True when something besides grammar is asked for.
    #[must_use]
    pub fn has_content(&self) -> bool {
        self.words.iter().any(|word| !word.function_word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_function_words_can_be_searched() {
        assert!(FUNCTION_WORDS.is_sorted());
        assert!(is_function_word("how") && !is_function_word("kubernetes"));
    }

    #[test]
    fn words_and_identifiers_are_wanted_once() {
        let query = Query::parse("How do I use kube-apiserver, kube-apiserver?", Language::English);
        let texts: Vec<(&str, bool)> = query.words.iter().map(|w| (w.text.as_str(), w.identifier)).collect();
        assert_eq!(
            texts,
            [
                ("how", false),
                ("do", false),
                ("i", false),
                ("use", false),
                ("kube", false),
                ("apiserver", false),
                ("kube-apiserver", true)
            ]
        );
        assert!(!query.open && query.has_content());
        assert!(!Query::parse("what is it", Language::English).has_content());
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let query = Query::parse(&"é ".repeat(5000), Language::English);
        assert_eq!(query.words.len(), 1);
        assert_eq!(
            Query::parse(&(0..9999).map(|n| format!("w{n} ")).collect::<String>(), Language::English).words.len(),
            MAX_TERMS
        );
    }
}
