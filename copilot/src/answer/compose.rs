//! Choosing the pieces of an answer, and putting them together in the order of the documents.

use std::collections::{HashMap, HashSet};

use super::{
    AnswerBlock, Citation, Kind,
    atom::{self, Atom, Form},
    render::{self, Part},
};
use crate::{
    index::{block::Block, chunk::Chunk, language::Language},
    search::{Hit, Intent, rank::Matchers},
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

/// A section that may be quoted.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) hit: Hit,
    /// Its worth, 1 for the best.
    pub(super) weight: f32,
}

/// What is known of the question.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) text: &'a str,
    pub(super) intent: Intent,
    pub(super) matchers: &'a Matchers,
    pub(super) language: Language,
}

/// What was put together.
#[derive(Debug, Default)]
pub(super) struct Composed {
    pub(super) markdown: String,
    pub(super) blocks: Vec<AnswerBlock>,
    pub(super) citations: Vec<Citation>,
    /// Share of the question's information that the best piece carries with its headings.
    pub(super) best: f32,
    /// Share that all pieces carry together, with their headings.
    pub(super) covered: f32,
}

/// Puts an answer together.
pub(super) fn compose(sources: &[Source], asked: Asked<'_>, choice: &Choice) -> Composed {
    let whole: f32 = asked.matchers.total;
    let mut candidates: Vec<(Atom, f32, f32)> = Vec::new();
    let mut firsts: Vec<usize> = Vec::new();
    for (section, source) in sources.iter().enumerate() {
        let first = candidates.len();
        firsts.push(first);
        let headings = heading_words(&source.hit.chunk, asked);
        let atoms = atom::atoms(section, &source.hit.chunk, asked.matchers, asked.language);
        let mut together = headings.clone();
        let all = atoms.iter().flat_map(|atom| &atom.words);
        more(&mut together, all.map(|(word, information)| (word.clone(), *information)));
        let together: f32 = together.values().sum();
        for (order, atom) in atoms.into_iter().enumerate() {
            let own: f32 = atom.words.values().sum();
            let above: f32 = headings
                .iter()
                .map(|(word, information)| (information - atom.words.get(word).copied().unwrap_or(0.0)).max(0.0))
                .sum();
            let shows = asked.intent == Intent::HowTo && matches!(atom.form, Form::Code | Form::Steps);
            let share = if shows { choice.how_to_section } else { choice.section };
            let carried = own + choice.heading * above + share * (together - own - above).max(0.0);
            let value =
                carried * source.weight.powf(choice.rank) * factor(&atom, order, &source.hit.chunk, asked, choice);
            candidates.push((atom, value, if whole > 0.0 { (own + above) / whole } else { 0.0 }));
        }
    }
    // The most valued first; of equals, the one that stands first.
    let mut order: Vec<usize> =
        (0..candidates.len()).filter(|at| candidates.get(*at).is_some_and(|(atom, ..)| !atom.announces)).collect();
    let value = |at: usize| candidates.get(at).map_or(0.0, |(_, value, _)| *value);
    order.sort_by(|a, b| value(*b).total_cmp(&value(*a)));
    let mut chosen: Vec<usize> = Vec::new();
    let mut refused = 0;
    let mut said: HashMap<String, f32> = HashMap::new();
    let mut cut: HashMap<usize, usize> = HashMap::new();
    let mut first_value = 0.0_f32;
    let mut best = 0.0_f32;
    for at in order {
        let Some((atom, value, carried)) = candidates.get(at).filter(|_| !chosen.contains(&at)) else { continue };
        if *value <= 0.0 || *value < choice.least * first_value || refused > MOST_REFUSED {
            break;
        }
        let mut with = chosen.clone();
        with.push(at);
        if let Some(needed) = atom.needs.and_then(|needs| firsts.get(atom.section).map(|first| first + needs))
            && !with.contains(&needed)
        {
            with.push(needed);
        }
        let repeats = chosen.iter().filter_map(|taken| candidates.get(*taken)).any(|(taken, ..)| same(taken, atom));
        let lines = if repeats { None } else { fits(&candidates, &with, at, &cut, sources) };
        let Some(lines) = lines else {
            refused += 1;
            continue;
        };
        if let Some(lines) = lines {
            cut.insert(at, lines);
        }
        if chosen.is_empty() {
            (first_value, best) = (*value, *carried);
        }
        more(&mut said, atom.words.iter().map(|(word, information)| (word.clone(), *information)));
        chosen = with;
    }
    let parts = parts(&candidates, &chosen, &cut);
    let mut composed = render::render(&parts, sources);
    for source in parts.iter().filter_map(|part| sources.get(part.section)) {
        more(&mut said, heading_words(&source.hit.chunk, asked));
    }
    composed.best = best.min(1.0);
    composed.covered = if whole > 0.0 { (said.values().sum::<f32>() / whole).min(1.0) } else { 0.0 };
    composed
}

/// Adds words with their information; a word counts once, with the most that it has.
fn more(words: &mut HashMap<String, f32>, further: impl IntoIterator<Item = (String, f32)>) {
    for (word, information) in further {
        let known = words.entry(word).or_default();
        *known = known.max(information);
    }
}

/// Whether the pieces fit into the bounds of an answer: `None` if not, else the lines that the new one is cut to.
fn fits(
    candidates: &[(Atom, f32, f32)],
    with: &[usize],
    new: usize,
    cut: &HashMap<usize, usize>,
    sources: &[Source],
) -> Option<Option<usize>> {
    let bounded = |cut: &HashMap<usize, usize>| {
        let composed = render::render(&parts(candidates, with, cut), sources);
        let chars: usize = composed.blocks.iter().map(|block| block.text.chars().count()).sum();
        (composed.blocks.len() <= MOST_BLOCKS, chars)
    };
    let (few, chars) = bounded(cut);
    if !few {
        return None;
    }
    if chars <= MOST_CHARS {
        return Some(None);
    }
    let (atom, _, _) = candidates.get(new)?;
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

/// The pieces in the order of sections and of the page.
fn parts<'a>(candidates: &'a [(Atom, f32, f32)], chosen: &[usize], cut: &HashMap<usize, usize>) -> Vec<Part<'a>> {
    let mut order: Vec<usize> = Vec::new();
    for at in chosen {
        let section = candidates.get(*at).map_or(0, |(atom, _, _)| atom.section);
        if !order.contains(&section) {
            order.push(section);
        }
    }
    let mut parts: Vec<(usize, Part<'a>)> = chosen
        .iter()
        .filter_map(|at| {
            let (atom, _, _) = candidates.get(*at)?;
            let rank = order.iter().position(|section| *section == atom.section)?;
            Some((rank, Part { atom, section: atom.section, lines: cut.get(at).copied() }))
        })
        .collect();
    parts.sort_by_key(|(rank, part)| (*rank, part.atom.place));
    parts.into_iter().map(|(_, part)| part).collect()
}

/// Words of the question in the headings of a section.
fn heading_words(chunk: &Chunk, asked: Asked<'_>) -> HashMap<String, f32> {
    let marks = crate::search::snippet::marks(&chunk.heading_path.join(" \n "), asked.matchers, asked.language);
    marks.into_iter().map(|(_, information, stem)| (stem, information)).collect()
}

/// What the form of a piece says about its worth for this question.
fn factor(atom: &Atom, order: usize, chunk: &Chunk, asked: Asked<'_>, choice: &Choice) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "sections have few pieces")]
    let early = 1.0 + choice.early / (1 + order) as f32;
    let shows_code = atom.form == Form::Code
        || chunk.blocks.get(atom.blocks.clone()).is_some_and(|blocks| blocks.iter().any(Block::is_code));
    let form = match (asked.intent, atom.form) {
        (Intent::HowTo, Form::Steps) => choice.how_to_steps,
        (Intent::HowTo, _) if shows_code => choice.how_to_code,
        (Intent::HowTo, _) => 1.0,
        (Intent::Definition, Form::Code | Form::Table | Form::Steps) => choice.other_code * choice.other_code,
        (_, Form::Code) => choice.other_code,
        _ => 1.0,
    };
    let short = if atom.form == Form::Text && atom.length < 25 { 0.4 } else { 1.0 };
    let output = if atom.form == Form::Code && is_output(chunk.blocks.get(atom.blocks.start)) { 0.7 } else { 1.0 };
    let defines = if asked.intent == Intent::Definition && defines(atom, asked) { choice.defines } else { 1.0 };
    let question = if atom.text.trim_end().ends_with('?') { 0.6 } else { 1.0 };
    let wants_number = asked.intent == Intent::Fact && wants_number(asked.text);
    let has_number = atom.text.contains(|c: char| c.is_ascii_digit())
        || ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twice", "once"]
            .iter()
            .any(|word| atom.text.split(|c: char| !c.is_alphanumeric()).any(|found| found.eq_ignore_ascii_case(word)));
    let number = if wants_number && has_number { choice.number } else { 1.0 };
    early * form * short * output * defines * question * number
}

/// Code without a language that looks like what a program printed.
fn is_output(block: Option<&Block>) -> bool {
    block.is_some_and(|block| {
        let language = block.language.to_lowercase();
        matches!(language.as_str(), "" | "text" | "none" | "output" | "plaintext" | "log")
            && !block.text.trim_start().starts_with(['$', '#', '>'])
    })
}

fn wants_number(text: &str) -> bool {
    let text = text.to_lowercase();
    [
        "how many",
        "how much",
        "how long",
        "how often",
        "how large",
        "how big",
        "how quickly",
        "how fast",
        "how old",
        "size",
        "maximum",
        "minimum",
        "most",
        "least",
        "limit",
        "default",
        "which port",
        "what port",
        "timeout",
        "version",
        "when",
        "oldest",
        "status",
        "time",
        "lifetime",
        "seconds",
        "bytes",
    ]
    .iter()
    .any(|word| text.contains(word))
}

/// Whether a piece says what the subject is: the subject's words, then `is`, `are`, `means`, within its beginning.
fn defines(atom: &Atom, asked: Asked<'_>) -> bool {
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
    let named = crate::search::snippet::marks(subject, asked.matchers, asked.language);
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

/// The kind of an answer's block.
pub(super) fn kind(form: Form, note: bool) -> Kind {
    match form {
        Form::Code => Kind::Code,
        Form::Table => Kind::Table,
        Form::Steps => Kind::Steps,
        Form::Text | Form::Item if note => Kind::Note,
        Form::Text | Form::Item => Kind::Text,
    }
}
