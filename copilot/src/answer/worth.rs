//! What a piece is worth in an answer: the question's information that it carries, the rank of its section, and whether its form
//! is what was asked for.

use std::collections::HashMap;

use super::{
    atom::{Atom, Form},
    choice::{Choice, MOST_CHARS},
    parts::Source,
};
use crate::{
    index::{block::Block, chunk::Chunk, language::Language},
    search::{Intent, Matchers, snippet},
};

/// Words of a paragraph that announces what a program prints.
const OUTPUT: [&str; 6] = ["output", "outputs", "response", "prints", "printed", "result"];

/// What is known of the question.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnalysedQuestion<'a> {
    pub(super) text: &'a str,
    pub(super) intent: Intent,
    pub(super) matchers: &'a Matchers,
    pub(super) language: Language,
}

/// Words of the question with their information.
type Words = HashMap<String, f32>;

/// A piece that may be chosen.
pub(super) struct Candidate {
    pub(super) atom: Atom,
    /// What it is worth in the answer.
    pub(super) value: f32,
    /// Share of the question's information that it carries with its headings.
    pub(super) carried: f32,
    /// Code that a program printed.
    pub(super) output: bool,
}

/// Adds words with their information; a word counts once, with the most that it has.
fn add_words(words: &mut Words, further: impl IntoIterator<Item = (String, f32)>) {
    for (word, information) in further {
        let known = words.entry(word).or_default();
        *known = known.max(information);
    }
}

fn cloned(words: &Words) -> impl Iterator<Item = (String, f32)> {
    words.iter().map(|(word, information)| (word.clone(), *information))
}

/// Words of the question in the headings of a section.
fn heading_words(chunk: &Chunk, question: AnalysedQuestion<'_>) -> Words {
    let marks = snippet::marks(&chunk.heading_path.join(" \n "), question.matchers, question.language);
    marks.into_iter().map(|(_, information, stem)| (stem, information)).collect()
}

/// What decides the worth of a section's pieces.
pub(super) struct Valuation<'a> {
    source: &'a Source,
    question: AnalysedQuestion<'a>,
    choice: &'a Choice,
    /// Words of the question in the section's headings.
    headings: Words,
    /// Information of these and of all its pieces' words together.
    together: f32,
    wants_number: bool,
}

impl<'a> Valuation<'a> {
    pub(super) fn of(source: &'a Source, atoms: &[Atom], question: AnalysedQuestion<'a>, choice: &'a Choice) -> Self {
        let headings = heading_words(&source.hit.chunk, question);
        let mut together = headings.clone();
        add_words(&mut together, atoms.iter().flat_map(|atom| cloned(&atom.words)));
        let together = together.values().sum();
        let wants_number = question.intent == Intent::Fact && wants_number(question.text);
        Self { source, question, choice, headings, together, wants_number }
    }

    /// A piece, the `order`th of its section, with its worth.
    pub(super) fn candidate(&self, atom: Atom, order: usize) -> Candidate {
        let choice = self.choice;
        let own: f32 = atom.words.values().sum();
        let above: f32 = self
            .headings
            .iter()
            .map(|(word, information)| (information - atom.words.get(word).copied().unwrap_or(0.0)).max(0.0))
            .sum();
        let shows = self.question.intent == Intent::HowTo && matches!(atom.form, Form::Code | Form::Steps);
        let share = if shows { choice.how_to_section } else { choice.section };
        let carried = own + choice.heading * above + share * (self.together - own - above).max(0.0);
        #[expect(clippy::cast_precision_loss, reason = "pieces are short")]
        let bulk = 1.0 - choice.bulk * (atom.length as f32 / MOST_CHARS as f32).min(1.0);
        let value = carried * self.source.weight.powf(choice.rank) * self.factor(&atom, order) * bulk;
        let whole = self.question.matchers.total;
        let output = self.is_output(&atom);
        Candidate { atom, value, carried: if whole > 0.0 { (own + above) / whole } else { 0.0 }, output }
    }

    /// Whether a piece is what a program printed, by its looks or by what announces it.
    fn is_output(&self, atom: &Atom) -> bool {
        let blocks = &self.source.hit.chunk.blocks;
        let before = atom.blocks.start.checked_sub(1).and_then(|before| blocks.get(before));
        let announced = before.filter(|before| !before.is_code()).is_some_and(|before| {
            before.introduces() && words(&before.text).iter().any(|word| OUTPUT.contains(&word.as_str()))
        });
        atom.form == Form::Code && (announced || is_output(blocks.get(atom.blocks.start)))
    }

    /// What the form of a piece says about its worth for this question.
    fn factor(&self, atom: &Atom, order: usize) -> f32 {
        let (chunk, choice, intent) = (&self.source.hit.chunk, self.choice, self.question.intent);
        #[expect(clippy::cast_precision_loss, reason = "sections have few pieces")]
        let early = 1.0 + choice.early / (1 + order) as f32;
        let shows_code = atom.form == Form::Code
            || chunk.blocks.get(atom.blocks.clone()).is_some_and(|blocks| blocks.iter().any(Block::is_code));
        let form = match (intent, atom.form) {
            (Intent::HowTo, Form::Steps) => choice.how_to_steps,
            (Intent::HowTo, _) if shows_code => choice.how_to_code,
            (Intent::HowTo, _) => 1.0,
            (Intent::Definition, Form::Code | Form::Table | Form::Steps) => choice.other_code * choice.other_code,
            (_, Form::Code) => choice.other_code,
            _ => 1.0,
        };
        let short = if atom.form == Form::Text && atom.length < 25 { 0.4 } else { 1.0 };
        let output = if self.is_output(atom) { choice.output } else { 1.0 };
        let defines = intent == Intent::Definition && defines(atom, self.question);
        let defines = if defines { choice.defines } else { 1.0 };
        let question = if atom.text.trim_end().ends_with('?') { 0.6 } else { 1.0 };
        let number = if self.wants_number && has_number(&atom.text) { choice.number } else { 1.0 };
        early * form * short * output * defines * question * number
    }
}

/// Code without a language that looks like what a program printed.
fn is_output(block: Option<&Block>) -> bool {
    block.is_some_and(|block| {
        let language = block.language.to_lowercase();
        matches!(language.as_str(), "" | "text" | "none" | "output" | "plaintext" | "log")
            && !block.text.trim_start().starts_with(['$', '#', '>'])
    })
}

/// Words in lower case, without what stands between them.
fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

/// Whether a question asks for a quantity.
fn wants_number(text: &str) -> bool {
    const PHRASES: [&[&str]; 27] = [
        &["how", "many"],
        &["how", "much"],
        &["how", "long"],
        &["how", "often"],
        &["how", "large"],
        &["how", "big"],
        &["how", "quickly"],
        &["how", "fast"],
        &["how", "old"],
        &["which", "port"],
        &["what", "port"],
        &["size"],
        &["maximum"],
        &["minimum"],
        &["most"],
        &["least"],
        &["limit"],
        &["default"],
        &["timeout"],
        &["version"],
        &["when"],
        &["oldest"],
        &["status"],
        &["time"],
        &["lifetime"],
        &["second"],
        &["byte"],
    ];
    let words = words(text);
    let singular: Vec<&str> = words.iter().map(|word| word.strip_suffix('s').unwrap_or(word)).collect();
    let holds = |phrase: &&[&str]| {
        let is = |at: usize, wanted: &&str| words[at] == *wanted || singular[at] == *wanted;
        (0..words.len()).any(|start| {
            start + phrase.len() <= words.len() && phrase.iter().zip(start..).all(|(wanted, at)| is(at, wanted))
        })
    };
    PHRASES.iter().any(holds)
}

/// Whether a text has a number, in digits or in words.
fn has_number(text: &str) -> bool {
    const NUMBERS: [&str; 12] =
        ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twice", "once"];
    text.contains(|c: char| c.is_ascii_digit()) || words(text).iter().any(|word| NUMBERS.contains(&word.as_str()))
}

/// Whether a piece says what the subject is: the subject's words, then `is`, `are`, `means`, within its beginning.
fn defines(atom: &Atom, question: AnalysedQuestion<'_>) -> bool {
    if !matches!(atom.form, Form::Text | Form::Item) {
        return false;
    }
    let beginning: String = atom.text.chars().take(140).collect();
    let lower = beginning.to_lowercase().replace('`', "");
    let verb = [
        " is ",
        " are ",
        " means ",
        " refers to ",
        " defines ",
        ": ",
        " – ",
        " - ",
        " — ",
        " was ",
        " allows ",
        " lets ",
    ]
    .iter()
    .filter_map(|verb| lower.find(verb))
    .min();
    let Some(verb) = verb else { return false };
    let subject = lower.get(..verb).unwrap_or_default();
    let words = subject.split_whitespace().count();
    let named = snippet::marks(subject, question.matchers, question.language);
    words <= 8 && !named.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_for_a_quantity_says_so_in_whole_words() {
        for text in
            ["How many retries?", "the maximum size", "what are the limits of a pod", "After how long is it gone?"]
        {
            assert!(wants_number(text), "{text}");
        }
        for text in
            ["Which container runtime is used?", "sometimes it fails", "Whenever I log in", "Is it almost done?"]
        {
            assert!(!wants_number(text), "{text}");
        }
        assert!(has_number("It waits Twice.") && has_number("30s") && !has_number("someone else's"));
    }
}
