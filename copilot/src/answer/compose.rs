//! Choosing the pieces of an answer, and putting them together in the order of the documents.

use std::collections::{HashMap, HashSet};

use super::{
    atom::{self, Atom, Form},
    parts::{Composed, Part, Source},
    render,
};
use crate::{
    index::{block::Block, chunk::Chunk, language::Language},
    search::{Intent, Matchers, snippet},
};

/// Most blocks of an answer.
pub(super) const MOST_BLOCKS: usize = 5;
/// Most characters of its blocks together.
pub(super) const MOST_CHARS: usize = 1_200;
/// Pieces that may be refused for want of room before the choice ends: what comes after them is worth little.
const MOST_REFUSED: usize = 24;
/// Lines that a code block is cut to at the least; a shorter piece is left out.
const FEWEST_LINES: usize = 3;

/// The numbers of the choice, in one place.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Choice {
    /// Sections that are looked at.
    pub sections: usize,
    /// How much the section's rank counts (an exponent).
    pub rank: f32,
    /// What a word counts that stands in the headings and not in the piece.
    pub heading: f32,
    /// Least worth of a further piece, relative to the first.
    pub least: f32,
    /// Factor of code when the question asks how.
    pub how_to_code: f32,
    /// Factor of steps when the question asks how.
    pub how_to_steps: f32,
    /// Factor of code for any other question.
    pub other_code: f32,
    /// Factor of a sentence that defines what is asked for.
    pub defines: f32,
    /// Factor of a piece with a number, when a quantity is asked for.
    pub number: f32,
    /// What the first pieces of a section get.
    pub early: f32,
    /// Share of its neighbour's worth that a section of the same page inherits.
    pub neighbour: f32,
    /// How much it counts that a section's page holds a large part of what was found.
    pub page: f32,
    /// What a piece gets of its section's words, which it need not repeat.
    pub section: f32,
    /// The same for commands, code and steps when the question asks how.
    pub how_to_section: f32,
    /// Worth of the further sections of the best page when the question asks how, of sections with usual headings for
    /// commands ("Usage").
    pub usage: f32,
}

impl Default for Choice {
    fn default() -> Self {
        Self {
            sections: 8,
            rank: 1.5,
            heading: 0.6,
            least: 0.3,
            how_to_code: 2.0,
            how_to_steps: 1.5,
            other_code: 0.8,
            defines: 2.2,
            number: 1.25,
            early: 0.4,
            neighbour: 0.55,
            page: 0.8,
            section: 0.15,
            how_to_section: 0.3,
            usage: 0.9,
        }
    }
}

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
struct Candidate {
    atom: Atom,
    /// What it is worth in the answer.
    value: f32,
    /// Share of the question's information that it carries with its headings.
    carried: f32,
}

/// Puts an answer together.
pub(super) fn compose(sources: &[Source], question: AnalysedQuestion<'_>, choice: &Choice) -> Composed {
    let mut selection = Selection::of(sources, question, choice);
    let (best, mut covered) = selection.choose(choice.least);
    let parts = selection.parts(&selection.chosen, &selection.cut);
    let mut composed = render::render(&parts, sources);
    for source in parts.iter().filter_map(|part| sources.get(part.section)) {
        add_words(&mut covered, heading_words(&source.hit.chunk, question));
    }
    composed.best = best.min(1.0);
    let whole = question.matchers.total;
    composed.covered = if whole > 0.0 { (covered.values().sum::<f32>() / whole).min(1.0) } else { 0.0 };
    composed
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

/// The pieces that there are, and those that were chosen.
struct Selection<'a> {
    sources: &'a [Source],
    candidates: Vec<Candidate>,
    /// Position of each section's first piece.
    firsts: Vec<usize>,
    chosen: Vec<usize>,
    /// Lines that the code of a chosen piece is cut to.
    cut: HashMap<usize, usize>,
}

impl<'a> Selection<'a> {
    /// Takes the sections apart and values their pieces.
    fn of(sources: &'a [Source], question: AnalysedQuestion<'_>, choice: &Choice) -> Self {
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut firsts: Vec<usize> = Vec::new();
        for (section, source) in sources.iter().enumerate() {
            firsts.push(candidates.len());
            let atoms = atom::atoms(section, &source.hit.chunk, question.matchers, question.language);
            let valuation = Valuation::of(source, &atoms, question, choice);
            for (order, atom) in atoms.into_iter().enumerate() {
                candidates.push(valuation.candidate(atom, order));
            }
        }
        Self { sources, candidates, firsts, chosen: Vec::new(), cut: HashMap::new() }
    }

    /// Chooses the pieces that are worth most, as many as fit. Returns what the best one carries, and the words of all.
    fn choose(&mut self, least: f32) -> (f32, Words) {
        // The most valued first; of equals, the one that stands first.
        let mut order: Vec<(usize, f32)> = (0..)
            .zip(&self.candidates)
            .filter(|(_, candidate)| !candidate.atom.announces)
            .map(|(at, candidate)| (at, candidate.value))
            .collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut refused = 0;
        let mut words = Words::new();
        let (mut first_value, mut best) = (0.0_f32, 0.0_f32);
        for (at, value) in order {
            let Some(candidate) = self.candidates.get(at).filter(|_| !self.chosen.contains(&at)) else { continue };
            if value <= 0.0 || value < least * first_value || refused > MOST_REFUSED {
                break;
            }
            let with = self.with(at, &candidate.atom);
            let lines = if self.repeats(&candidate.atom) { None } else { self.fits(&with, at) };
            let Some(lines) = lines else {
                refused += 1;
                continue;
            };
            if let Some(lines) = lines {
                self.cut.insert(at, lines);
            }
            if self.chosen.is_empty() {
                (first_value, best) = (value, candidate.carried);
            }
            add_words(&mut words, cloned(&candidate.atom.words));
            self.chosen = with;
        }
        (best, words)
    }

    /// What is chosen, with one more piece and the one that it needs.
    fn with(&self, at: usize, atom: &Atom) -> Vec<usize> {
        let mut with = self.chosen.clone();
        with.push(at);
        if let Some(needed) = atom.needs.and_then(|needs| self.firsts.get(atom.section).map(|first| first + needs))
            && !with.contains(&needed)
        {
            with.push(needed);
        }
        with
    }

    fn repeats(&self, atom: &Atom) -> bool {
        self.chosen.iter().filter_map(|at| self.candidates.get(*at)).any(|taken| same(&taken.atom, atom))
    }

    /// Whether pieces fit into the bounds of an answer: `None` if not, else the lines that the new one is cut to.
    fn fits(&self, with: &[usize], new: usize) -> Option<Option<usize>> {
        let composed = render::render(&self.parts(with, &self.cut), self.sources);
        let chars: usize = composed.blocks.iter().map(|block| block.text.chars().count()).sum();
        if composed.blocks.len() > MOST_BLOCKS {
            return None;
        }
        if chars <= MOST_CHARS {
            return Some(None);
        }
        let atom = &self.candidates.get(new)?.atom;
        if atom.form != Form::Code {
            return None;
        }
        // Cut at a line, where the code goes on behind the link.
        let lines = atom.text.lines().count();
        let mut left = MOST_CHARS.checked_sub(chars - atom.text.chars().count().min(chars))?;
        let mut kept = 0;
        for line in atom.text.lines() {
            let Some(rest) = left.checked_sub(line.chars().count() + 1) else { break };
            (left, kept) = (rest, kept + 1);
        }
        (kept >= FEWEST_LINES && kept < lines).then_some(Some(kept))
    }

    /// Pieces in the order of sections and of the page.
    fn parts(&self, chosen: &[usize], cut: &HashMap<usize, usize>) -> Vec<Part<'_>> {
        let mut order: Vec<usize> = Vec::new();
        for candidate in chosen.iter().filter_map(|at| self.candidates.get(*at)) {
            if !order.contains(&candidate.atom.section) {
                order.push(candidate.atom.section);
            }
        }
        let mut parts: Vec<(usize, Part<'_>)> = chosen
            .iter()
            .filter_map(|at| {
                let atom = &self.candidates.get(*at)?.atom;
                let rank = order.iter().position(|section| *section == atom.section)?;
                Some((rank, Part { atom, section: atom.section, lines: cut.get(at).copied() }))
            })
            .collect();
        parts.sort_by_key(|(rank, part)| (*rank, part.atom.place));
        parts.into_iter().map(|(_, part)| part).collect()
    }
}

/// Words of the question in the headings of a section.
fn heading_words(chunk: &Chunk, question: AnalysedQuestion<'_>) -> Words {
    let marks = snippet::marks(&chunk.heading_path.join(" \n "), question.matchers, question.language);
    marks.into_iter().map(|(_, information, stem)| (stem, information)).collect()
}

/// What decides the worth of a section's pieces.
struct Valuation<'a> {
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
    fn of(source: &'a Source, atoms: &[Atom], question: AnalysedQuestion<'a>, choice: &'a Choice) -> Self {
        let headings = heading_words(&source.hit.chunk, question);
        let mut together = headings.clone();
        add_words(&mut together, atoms.iter().flat_map(|atom| cloned(&atom.words)));
        let together = together.values().sum();
        let wants_number = question.intent == Intent::Fact && wants_number(question.text);
        Self { source, question, choice, headings, together, wants_number }
    }

    /// A piece, the `order`th of its section, with its worth.
    fn candidate(&self, atom: Atom, order: usize) -> Candidate {
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
        let value = carried * self.source.weight.powf(choice.rank) * self.factor(&atom, order);
        let whole = self.question.matchers.total;
        Candidate { atom, value, carried: if whole > 0.0 { (own + above) / whole } else { 0.0 } }
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
        let output = if atom.form == Form::Code && is_output(chunk.blocks.get(atom.blocks.start)) { 0.7 } else { 1.0 };
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

/// Whether two pieces say the same in nearly the same words, as repeated boilerplate does.
fn same(a: &Atom, b: &Atom) -> bool {
    if a.text.is_empty() || b.text.is_empty() || (a.form == Form::Code) != (b.form == Form::Code) {
        return false;
    }
    let words = |text: &str| text.split_whitespace().map(str::to_lowercase).collect::<HashSet<_>>();
    let (a, b) = (words(&a.text), words(&b.text));
    let shared = a.intersection(&b).count();
    shared * 10 >= a.len().min(b.len()).max(1) * 8
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
