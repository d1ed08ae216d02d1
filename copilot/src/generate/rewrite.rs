//! A model's rewriting of a question that leans on earlier ones, and whether it is one.

use std::collections::HashSet;

use crate::{conversation::Turn, index::tokenizer::tokenize, search::query::is_function_word};

/// Longest rewriting, in bytes.
const MAX: usize = 300;
/// Share of its words that were said in the conversation.
const KNOWN: f32 = 0.8;
/// Share of the question's words that it keeps.
const KEPT: f32 = 0.5;

/// What the model said, where it is the question in other words and nothing else.
#[must_use]
pub fn accepted(said: &str, question: &str, earlier: &[Turn]) -> Option<String> {
    let said = said.trim().trim_matches(['"', '“', '”']).trim();
    if said.is_empty() || said.len() > MAX || said.contains('\n') {
        return None;
    }
    let (new, own) = (content(said), content(question));
    let mut known = own.clone();
    earlier.iter().for_each(|turn| known.extend(content(&turn.content)));
    #[expect(clippy::cast_precision_loss, reason = "a question has few words")]
    let share = |part: usize, whole: &HashSet<String>| part as f32 / whole.len().max(1) as f32;
    let from_the_conversation = share(new.intersection(&known).count(), &new) >= KNOWN;
    let keeps = own.is_empty() || share(own.intersection(&new).count(), &own) >= KEPT;
    (!new.is_empty() && from_the_conversation && keeps).then(|| said.to_owned())
}

fn content(text: &str) -> HashSet<String> {
    let words = tokenize(text).words.into_iter().map(|word| word.text);
    words.filter(|word| !is_function_word(word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_question_in_other_words_is_accepted() {
        let earlier = [Turn { role: "user".to_owned(), content: "How do I install the gate on DOKS?".to_owned() }];
        let read = |said: &str| accepted(said, "and on RKE2?", &earlier);
        let good = "How do I install the gate on RKE2?";
        assert_eq!(read(&format!(" \"{good}\"\n")).as_deref(), Some(good));
        for bad in [
            "",
            "HACKED",
            "How do I install the gate?",
            "Sure! Here is it:\nHow do I install the gate on RKE2?",
            "RKE2 is a Kubernetes distribution by Rancher.",
            &"RKE2 ".repeat(100),
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
