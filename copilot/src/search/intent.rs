//! What a reader wants, by the form of the question. English forms are known; in other languages everything that is no
//! handful of words is a question.

use super::query::Query;

/// What is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    /// A few words to look for: places where they stand.
    Keywords,
    /// Steps or a command.
    HowTo,
    /// What something is.
    Definition,
    /// A number, a name, a yes or no.
    #[default]
    Fact,
}

/// Openings of a question for steps.
const HOW_TO: [&[&str]; 26] = [
    &["how", "do"],
    &["how", "to"],
    &["how", "can"],
    &["how", "should"],
    &["how", "would"],
    &["how", "could"],
    &["how", "must"],
    &["how", "shall"],
    &["which", "command"],
    &["what", "command"],
    &["what", "commands"],
    &["which", "commands"],
    &["steps", "to"],
    &["way", "to"],
    &["ways", "to"],
    &["help", "me"],
    &["show", "me", "how"],
    &["want", "to"],
    &["need", "to"],
    &["trying", "to"],
    &["can", "i"],
    &["where", "do", "i"],
    &["where", "can", "i"],
    &["what", "do", "i"],
    &["example", "of"],
    &["i", "would", "like", "to"],
];
/// Openings of a question for a quantity, which are none for steps.
const QUANTITIES: [&str; 12] =
    ["many", "much", "long", "often", "large", "big", "fast", "quickly", "far", "old", "high", "soon"];
/// Openings of a question for a meaning.
const DEFINITIONS: [&[&str]; 14] = [
    &["what", "is"],
    &["what", "are"],
    &["what", "s"],
    &["whats"],
    &["explain", "what"],
    &["explain"],
    &["define"],
    &["definition", "of"],
    &["meaning", "of"],
    &["what", "does"],
    &["what", "exactly", "is"],
    &["what", "do"],
    &["who", "is"],
    &["describe"],
];
/// Verbs that begin an order: "install X" asks how to install it.
const IMPERATIVES: &str = "\
    access activate add adjust allow apply assign attach authenticate avoid backup block bootstrap build call \
    change check choose clean clear combine compare compile configure connect convert copy create customize \
    debug declare define delete deploy destroy detach disable download drain embed enable encrypt enforce evict \
    exclude execute export expose fetch filter find fix force forward generate get give grant handle hide \
    import include increase initialize inspect install join keep label launch limit list load log make manage \
    migrate monitor mount move open override pass pause pin preview protect provision publish pull push put \
    reach read rebuild redirect refuse register rehearse reject remove rename render replace reset restart \
    restore resume retry return revoke roll rotate run scale schedule send serve set show start stop store \
    stream swap switch test trigger try turn uninstall unlock update upgrade upload use validate verify view \
    wait watch wrap write";
/// Most words of content that are looked for rather than answered.
const KEYWORDS: usize = 2;

/// Whether a word is an imperative.
fn is_imperative(word: &str) -> bool {
    IMPERATIVES.split_whitespace().any(|verb| verb == word)
}

impl Intent {
    /// Of a question. `text` is as typed.
    #[must_use]
    pub fn of(text: &str, query: &Query) -> Self {
        let words: Vec<&str> =
            query.words.iter().filter(|word| !word.identifier).map(|word| word.text.as_str()).collect();
        let begins = |opening: &[&str]| words.starts_with(opening);
        let asks = text.trim_end().ends_with(['?', '？', '؟']);
        let identifier = query.words.iter().any(|word| word.identifier)
            || text.chars().zip(text.chars().skip(1)).any(|(a, b)| a.is_lowercase() && b.is_uppercase());
        let content = query.words.iter().filter(|word| !word.identifier && !word.function_word).count();
        let functions = query.words.iter().any(|word| word.function_word);
        if content <= KEYWORDS && !asks && !identifier && !functions {
            return Self::Keywords;
        }
        let quantity = words.windows(2).any(|pair| pair[0] == "how" && QUANTITIES.contains(&pair[1]));
        if quantity {
            return Self::Fact;
        }
        if words.first().is_some_and(|first| is_imperative(first))
            || HOW_TO.iter().any(|opening| words.windows(opening.len()).any(|window| window == *opening))
        {
            return Self::HowTo;
        }
        if DEFINITIONS.iter().any(|opening| begins(opening)) && content <= 3 {
            return Self::Definition;
        }
        if words.last() == Some(&"how") {
            return Self::HowTo;
        }
        Self::Fact
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::language::Language;

    #[test]
    fn the_form_of_a_question_tells_what_is_wanted() {
        assert!(is_imperative("access") && is_imperative("write"));
        for (text, intent) in [
            ("resource quotas", Intent::Keywords),
            ("backups", Intent::Keywords),
            ("How do I enable CORS?", Intent::HowTo),
            ("install the agent on Debian", Intent::HowTo),
            ("which command lists the images", Intent::HowTo),
            ("What is a finalizer?", Intent::Definition),
            ("gcra?", Intent::Fact),
            ("hostNetwork", Intent::Fact),
            ("--dry-run", Intent::Fact),
            ("how long is a token valid", Intent::Fact),
            ("maximum size of an upload", Intent::Fact),
            ("what port does the admin listener have by default", Intent::Fact),
        ] {
            assert_eq!(Intent::of(text, &Query::parse(text, Language::English)), intent, "{text}");
        }
    }
}
