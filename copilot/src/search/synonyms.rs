//! Words that mean the same, given by the operator.

use crate::index::tokenizer;

/// Groups of words that mean the same, from a file of the operator's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Synonyms {
    pub(super) groups: Vec<Vec<String>>,
}

impl Synonyms {
    /// Reads one group a line, words separated by commas; blank lines and lines that begin with `#` are passed over.
    ///
    /// # Errors
    /// The line, counted from 1, and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut groups = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let group: Vec<String> = line
                .split(',')
                .map(|words| {
                    let words = tokenizer::tokenize(words).words;
                    words.into_iter().map(|word| word.text).collect::<Vec<_>>().join(" ")
                })
                .collect();
            if group.len() < 2 || group.iter().any(String::is_empty) {
                return Err(format!("line {number}: expected at least two words or phrases separated by commas"));
            }
            groups.push(group);
        }
        Ok(Self { groups })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synonyms_are_read_with_their_lines() {
        assert!(
            Synonyms::parse("# ours\n\nk8s, kubernetes\nlog in, sign in\n").is_ok_and(|read| read.groups.len() == 2)
        );
        assert_eq!(
            Synonyms::parse("a, b\nalone\n").unwrap_err(),
            "line 2: expected at least two words or phrases separated by commas"
        );
    }
}
