//! A question that leans on the ones before it → one that stands alone, by words and without a model: "and on RKE2?"
//! after "How do I install the gate on DOKS?" is read as "How do I install the gate on RKE2?".

use serde::Deserialize;

use crate::{
    answer::chat::small_talk,
    index::tokenizer::tokenize,
    problem::Problem,
    search::{MAX_QUERY_BYTES, query::is_function_word},
};

/// Earlier turns that a client may send.
pub const MAX_TURNS: usize = 50;
/// Bytes that they may have together.
pub const MAX_HISTORY_BYTES: usize = 32 * 1024;
/// Earlier questions that are looked at, the last ones.
const LOOKED_AT: usize = 4;
/// Bytes of an earlier question that are looked at.
const MAX_EARLIER_BYTES: usize = 512;
/// Words of content that are added to a follow-up with the form of a question.
const CARRIED: usize = 8;
/// A follow-up has at most this many words of content; what has more brings its own.
const SHORT: usize = 4;

/// An earlier turn of the conversation.
#[derive(Debug, Clone, Deserialize)]
pub struct Turn {
    /// `user` or `assistant`; turns of anybody else are passed over.
    pub role: String,
    /// Its text.
    pub content: String,
}

/// The same bounds for every interface.
///
/// # Errors
/// Which bound was passed, and what is allowed.
pub fn check(history: &[Turn]) -> Result<(), Problem> {
    if history.len() > MAX_TURNS {
        let sent = history.len();
        return Err(Problem::bad_request(format!("The history has {sent} turns; it may have {MAX_TURNS} at most.")));
    }
    let bytes: usize = history.iter().map(|turn| turn.content.len()).sum();
    if bytes > MAX_HISTORY_BYTES {
        let detail = format!("The history has {bytes} bytes of text; it may have {MAX_HISTORY_BYTES} at most.");
        return Err(Problem::bad_request(detail));
    }
    Ok(())
}

/// The question as it is to be read after `history`, oldest turn first: itself where it stands alone.
#[must_use]
pub fn in_context(question: &str, history: &[Turn]) -> String {
    if !leans(question) {
        return question.to_owned();
    }
    let mut earlier: Vec<&str> = asked(history).take(LOOKED_AT).collect();
    earlier.reverse();
    // Follow-ups of follow-ups: each is read after what the one before it came to.
    let context = earlier.into_iter().fold(String::new(), |context, turn| {
        if context.is_empty() || !leans(turn) { turn.to_owned() } else { join(&context, turn) }
    });
    if context.is_empty() {
        return question.to_owned();
    }
    let mut joined = join(&context, question);
    joined.truncate(joined.floor_char_boundary(MAX_QUERY_BYTES));
    joined
}

/// Earlier questions that ask for something, the last one first.
fn asked(history: &[Turn]) -> impl Iterator<Item = &str> {
    let questions = history.iter().rev().filter(|turn| turn.role == "user").map(|turn| turn.content.trim());
    let questions = questions.filter(|text| !text.is_empty() && small_talk(text).is_none());
    questions.map(|text| &text[..text.floor_char_boundary(MAX_EARLIER_BYTES)])
}

/// Openings that say that a question goes on from the one before.
const CONNECTIVES: [&[&str]; 24] = [
    &["and"],
    &["but"],
    &["or"],
    &["also"],
    &["then"],
    &["what", "about"],
    &["how", "about"],
    &["same", "for"],
    &["what", "if"],
    &["und"],
    &["oder"],
    &["aber"],
    &["et"],
    &["ou"],
    &["mais"],
    &["y"],
    &["o"],
    &["e"],
    &["en"],
    &["maar"],
    &["och"],
    &["eller"],
    &["was", "ist", "mit"],
    &["qu'en", "est", "il", "de"],
];
/// Words that stand for something said before.
const ANAPHORA: [&str; 10] = ["it", "its", "that", "this", "they", "them", "those", "these", "there", "one"];
/// Openings of a question that asks for something of its own.
const OPENINGS: [&str; 16] = [
    "how", "what", "where", "when", "why", "which", "who", "can", "could", "do", "does", "is", "are", "should", "will",
    "may",
];
/// Words after which a place, a means or a purpose is named.
const PREPOSITIONS: [&str; 14] =
    ["on", "in", "with", "without", "for", "from", "to", "behind", "under", "through", "via", "by", "after", "before"];

/// A word of a text as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    /// As typed, without the marks around it.
    typed: String,
    /// In small letters.
    folded: String,
}

impl Word {
    fn content(&self) -> bool {
        !is_function_word(&self.folded) && self.folded.chars().any(char::is_alphanumeric)
    }

    fn preposition(&self) -> bool {
        PREPOSITIONS.contains(&self.folded.as_str())
    }

    /// Written like a name: `DOKS`, `Envoy`, `v2`.
    fn name(&self) -> bool {
        self.typed.chars().any(|c| c.is_uppercase() || c.is_ascii_digit())
    }
}

fn words(text: &str) -> Vec<Word> {
    let bare = |word: &str| {
        let marks = |c: char| matches!(c, '?' | '!' | ',' | ';' | '…' | '"' | '“' | '”' | '(' | ')' | '¿' | '¡');
        word.trim_matches(marks).trim_end_matches(['.', ':']).to_owned()
    };
    let typed = text.split_whitespace().map(bare).filter(|word| !word.is_empty());
    typed.map(|typed| Word { folded: typed.to_lowercase(), typed }).collect()
}

/// Number of words at the beginning that say that a question goes on.
fn connective(words: &[Word]) -> usize {
    let opens = |opening: &&&[&str]| {
        opening.len() < words.len() && opening.iter().zip(words).all(|(open, word)| word.folded == **open)
    };
    CONNECTIVES.iter().filter(opens).map(|opening| opening.len()).max().unwrap_or(0)
}

/// Whether a text needs what was asked before it to be understood. Small talk never does.
#[must_use]
pub fn leans(text: &str) -> bool {
    if small_talk(text).is_some() {
        return false;
    }
    let words = words(text);
    let content = words.iter().filter(|word| word.content()).count();
    let anaphora = words.iter().skip(1).any(|word| ANAPHORA.contains(&word.folded.as_str()));
    if connective(&words) > 0 || anaphora {
        return content <= SHORT;
    }
    let opens = words.first().is_some_and(|word| OPENINGS.contains(&word.folded.as_str()));
    let defines = words.get(1).is_some_and(|word| matches!(word.folded.as_str(), "is" | "are"));
    match content {
        0 => true,
        1 => !(opens && defines),
        2 => !opens && tokenize(text).words.len() <= SHORT,
        _ => false,
    }
}

/// The follow-up in the words of the question before it.
fn join(earlier: &str, follow_up: &str) -> String {
    let (old, new) = (words(earlier), words(follow_up));
    let rest = &new[connective(&new)..];
    if let Some(joined) = replaced(&old, rest) {
        return joined + "?";
    }
    // What has no form of a question of its own keeps that of the one before.
    if !rest.first().is_some_and(|word| OPENINGS.contains(&word.folded.as_str())) {
        return format!("{} {}?", text(&old), text(rest));
    }
    let known = |word: &Word| rest.iter().any(|own| own.folded == word.folded);
    let carried = old.iter().filter(|word| word.content() && !known(word)).take(CARRIED);
    let carried: Vec<&str> = carried.map(|word| word.typed.as_str()).collect();
    format!("{} {}", text(rest), carried.join(" ")).trim().to_owned()
}

fn text(words: &[Word]) -> String {
    words.iter().map(|word| word.typed.as_str()).collect::<Vec<_>>().join(" ")
}

/// The earlier question with the follow-up in the place that it varies: after the same preposition, before the same last
/// word, or, for one name, where the last name stood.
fn replaced(old: &[Word], rest: &[Word]) -> Option<String> {
    let last = rest.last()?;
    let phrase = |from: usize| {
        let len = old[from..].iter().take_while(|word| word.content() || word.folded == "the").count();
        from..from + len
    };
    let only_content = |words: &[Word]| words.iter().all(|word| word.content() || matches!(&*word.folded, "the" | "a"));
    let put = |place: std::ops::Range<usize>, with: &[Word]| {
        let joined: Vec<Word> = [&old[..place.start], with, &old[place.end..]].concat();
        (!place.is_empty()).then(|| text(&joined))
    };
    if rest[0].preposition() && rest.len() > 1 && only_content(&rest[1..]) {
        let same = old.iter().rposition(|word| word.folded == rest[0].folded);
        if let Some(at) = same {
            return put(phrase(at + 1), &rest[1..]);
        }
        // Where and with what may be said beside what was said.
        return Some(format!("{} {}", text(old), text(rest)));
    }
    if !only_content(rest) {
        return None;
    }
    if rest.len() > 1
        && let Some(at) = old.iter().rposition(|word| word.content() && word.folded == last.folded)
    {
        let begins = old[..at].iter().rposition(|word| !word.content()).map_or(0, |before| before + 1);
        let own = if matches!(&*rest[0].folded, "the" | "a") { &rest[1..] } else { rest };
        return put(begins..at + 1, own);
    }
    if rest.len() == 1 && last.name() {
        let at = old.iter().enumerate().rposition(|(at, word)| at > 0 && word.content() && word.name())?;
        return put(at..at + 1, rest);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(question: &str, earlier: &[&str]) -> String {
        let turn = |text: &&str| {
            let own = Turn { role: "user".to_owned(), content: (*text).to_owned() };
            [own, Turn { role: "assistant".to_owned(), content: "Run zanzibar.".to_owned() }]
        };
        in_context(question, &earlier.iter().flat_map(turn).collect::<Vec<_>>())
    }

    #[test]
    fn a_follow_up_is_read_in_the_words_of_the_question_before() {
        let install = "How do I install the gate on DOKS?";
        for (earlier, follow_up, expected) in [
            (install, "and on RKE2?", "How do I install the gate on RKE2?"),
            (install, "What about RKE2?", "How do I install the gate on RKE2?"),
            (install, "and with Helm?", "How do I install the gate on DOKS with Helm?"),
            ("How do I rotate the grant key?", "and the issuer key?", "How do I rotate the issuer key?"),
            ("Where are logs kept?", "for how long?", "Where are logs kept for how long?"),
            ("How do I change the policy?", "How do I roll it back?", "How do I roll it back change policy"),
            ("How do I restore a database?", "backups?", "How do I restore a database backups?"),
        ] {
            assert_eq!(read(follow_up, &[earlier]), expected);
        }
        assert_eq!(read("and with TLS?", &[install, "and on RKE2?"]), "How do I install the gate on RKE2 with TLS?");
    }

    #[test]
    fn what_stands_alone_and_small_talk_are_left_as_they_are() {
        for question in [
            "How do I restore a database?",
            "What is RKE2?",
            "Which ports does the gate listen on for health checks?",
            "and how do the limits of anonymous callers behave behind nginx when Redis is gone?",
            "thanks",
            "hi",
        ] {
            assert_eq!(read(question, &["How do I install the gate on DOKS?"]), question);
        }
        assert_eq!(read("and on RKE2?", &[]), "and on RKE2?");
        assert_eq!(read("and on RKE2?", &["thanks"]), "and on RKE2?", "there is nothing to carry");
    }

    #[test]
    fn only_the_last_questions_are_looked_at_and_none_at_length() {
        let long = format!("{} tail", "word ".repeat(1000));
        assert!(!read("and on RKE2?", &[&long]).contains("tail"));
        let mut earlier = vec!["How do I feed the zebra on Mondays?"];
        earlier.extend(["How do I start the engine?"; LOOKED_AT]);
        assert!(!read("and it?", &earlier).contains("zebra"));
    }

    proptest::proptest! {
        #[test]
        fn any_conversation_is_read_within_bounds(question in ".{0,200}", earlier in proptest::collection::vec(".{0,200}", 0..6)) {
            let earlier: Vec<&str> = earlier.iter().map(String::as_str).collect();
            proptest::prop_assert!(read(&question, &earlier).len() <= MAX_QUERY_BYTES);
        }
    }

    #[test]
    fn too_long_a_history_is_refused_with_what_is_allowed() {
        let turn = |len: usize| Turn { role: "user".to_owned(), content: "x".repeat(len) };
        assert!(check(&vec![turn(10); MAX_TURNS]).is_ok());
        assert!(check(&vec![turn(1); MAX_TURNS + 1]).unwrap_err().detail.contains("50 at most"));
        assert!(check(&[turn(MAX_HISTORY_BYTES + 1)]).unwrap_err().detail.contains("32768 at most"));
    }
}
