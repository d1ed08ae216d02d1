//! The smallest pieces that an answer is put together from: a few sentences of a paragraph, an item of a list, a list of
//! steps, a code block, rows of a table. Each knows what must come with it.

use std::{collections::HashMap, ops::Range};

use super::sentences::sentences;
use crate::{
    index::{
        block::{Block, BlockKind},
        chunk::Chunk,
        language::Language,
    },
    search::{Matchers, snippet},
};

/// Longest paragraph that is quoted whole, in bytes.
const PARAGRAPH: usize = 420;
/// Longest introduction that comes with what it announces.
const INTRODUCTION: usize = 300;
/// Longest list of steps that stays one piece.
const STEPS: usize = 900;
/// Rows of a table that are quoted at the most, besides its first.
const ROWS: usize = 4;

/// Blocks that may stand between two steps without indentation.
const BETWEEN_STEPS: usize = 4;

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Item,
    Steps,
    Code,
    Table,
}

/// One piece.
#[derive(Debug, Clone)]
pub(super) struct Atom {
    pub(super) form: Form,
    /// Number of the section among those that are looked at.
    pub(super) section: usize,
    /// Where it begins: block, and sentence in it.
    pub(super) place: (usize, usize),
    /// Blocks in the section that it quotes.
    pub(super) blocks: Range<usize>,
    /// Its text with marks around code; of a code block the code; of steps nothing, they are rendered from the blocks.
    pub(super) text: String,
    /// Position among the section's pieces of the one that introduces it.
    pub(super) needs: Option<usize>,
    /// It announces what follows and says nothing by itself.
    pub(super) announces: bool,
    /// Its own words of the question and those of its introduction, with their information.
    pub(super) words: HashMap<String, f32>,
    /// Bytes.
    pub(super) length: usize,
}

/// Takes a section apart.
pub(super) fn atoms(section: usize, chunk: &Chunk, matchers: &Matchers, language: Language) -> Vec<Atom> {
    let mut list = List { section, blocks: &chunk.blocks, matchers, language, atoms: Vec::new() };
    let mut at = 0;
    // The piece that introduces what follows.
    let mut introduction: Option<usize> = None;
    while let Some(block) = chunk.blocks.get(at) {
        if block.depth > 0 {
            let end = end_of_list(&chunk.blocks, at);
            list.list(at..end, introduction);
            // An item by itself can announce what stands below the list ("1. Make a key:").
            let last = list.atoms.len().checked_sub(1);
            introduction = last.filter(|last| list.atoms.get(*last).is_some_and(|atom| atom.announces));
            at = end;
            continue;
        }
        match block.kind {
            BlockKind::Code => list.add(Form::Code, at..at + 1, block.text.clone(), introduction),
            BlockKind::Table => {
                list.table(at, introduction);
                introduction = None;
            }
            _ => introduction = list.paragraph(at),
        }
        at += 1;
    }
    list.atoms
}

/// Where the list that begins at `start` ends. Authors often leave code and remarks between steps without indentation, and
/// a parser then sees a list of its own behind each of them: a list that counts on from the last step is the same one.
fn end_of_list(blocks: &[Block], start: usize) -> usize {
    let run = |from: usize| from + blocks.get(from..).unwrap_or_default().iter().take_while(|b| b.depth > 0).count();
    let mut end = run(start);
    loop {
        let last = blocks.get(start..end).unwrap_or_default().iter().rev().find(|b| b.depth == 1 && b.number.is_some());
        let Some(next) = last.and_then(|block| block.number).map(|number| number + 1) else { return end };
        let between = blocks.get(end..).unwrap_or_default().iter().take_while(|block| block.depth == 0).count();
        let goes_on = blocks.get(end + between).is_some_and(|block| block.depth == 1 && block.number == Some(next));
        if between > BETWEEN_STEPS || !goes_on {
            // The code that the last step announces belongs to it.
            let announces = blocks.get(end.wrapping_sub(1)).is_some_and(Block::introduces);
            return if announces && end > start && blocks.get(end).is_some_and(Block::is_code) && next > 2 {
                end + 1
            } else {
                end
            };
        }
        end = run(end + between);
    }
}

struct List<'a> {
    section: usize,
    blocks: &'a [Block],
    matchers: &'a Matchers,
    language: Language,
    atoms: Vec<Atom>,
}

impl List<'_> {
    /// Adds a piece of `blocks`. Pieces of one block follow one another.
    fn add(&mut self, form: Form, blocks: Range<usize>, text: String, needs: Option<usize>) {
        let nth = self.atoms.last().filter(|last| last.blocks == blocks).map_or(0, |last| last.place.1 + 1);
        let place = (blocks.start, nth);
        let mut words: HashMap<String, f32> = HashMap::new();
        let mut see = |text: &str, share: f32| {
            for (_, information, stem) in snippet::marks(text, self.matchers, self.language) {
                let known = words.entry(stem).or_default();
                *known = known.max(information * share);
            }
        };
        let mut length = text.len();
        if form == Form::Steps {
            for block in self.blocks.get(blocks.clone()).unwrap_or_default() {
                see(&block.text, 1.0);
                length += block.text.len() + 4;
            }
        } else {
            see(&text, 1.0);
        }
        if let Some(block) = self.blocks.get(blocks.start) {
            see(
                &format!(
                    "{} {} {}",
                    block.tab,
                    block.title,
                    if block.is_code() { block.language.as_str() } else { "" }
                ),
                0.8,
            );
        }
        if let Some(introduction) = needs.and_then(|needs| self.atoms.get(needs)) {
            for (stem, information) in &introduction.words {
                let known = words.entry(stem.clone()).or_default();
                *known = known.max(*information);
            }
        }
        let announces = matches!(form, Form::Text | Form::Item) && text.trim_end().ends_with([':', '：']);
        self.atoms.push(Atom { form, section: self.section, place, blocks, text, needs, announces, words, length });
    }

    /// A paragraph, in one piece or, when it is long, by sentences. Returns the piece that stands right before what
    /// follows.
    fn paragraph(&mut self, at: usize) -> Option<usize> {
        let text = self.blocks.get(at)?.text.clone();
        if text.len() <= PARAGRAPH && !(text.len() > 120 && text.ends_with(':')) {
            self.add(Form::Text, at..at + 1, text, None);
        } else {
            for sentence in sentences(&text) {
                self.add(Form::Text, at..at + 1, sentence, None);
            }
        }
        self.atoms
            .len()
            .checked_sub(1)
            .filter(|last| self.atoms.get(*last).is_some_and(|a| a.length <= INTRODUCTION || a.announces))
    }

    /// Steps stay together while they are short; the items of any other list are pieces of their own.
    fn list(&mut self, range: Range<usize>, introduction: Option<usize>) {
        let blocks = self.blocks.get(range.clone()).unwrap_or_default();
        let steps = blocks.iter().filter(|block| block.number.is_some() && block.depth == 1).count() > 1;
        let length: usize = blocks.iter().map(|block| block.text.len()).sum();
        if steps && length <= STEPS {
            return self.add(Form::Steps, range.clone(), String::new(), introduction);
        }
        let mut start = range.start;
        for at in range.clone() {
            let next_is_item = self.blocks.get(at + 1).is_none_or(|next| {
                at + 1 == range.end || (next.depth == 1 && (next.number.is_some() || next.kind == BlockKind::Item))
            });
            if next_is_item {
                self.item(start..at + 1, introduction, steps);
                start = at + 1;
            }
        }
    }

    /// An item with everything below it. A short one is one piece, with its code; of a long one each block is.
    fn item(&mut self, range: Range<usize>, introduction: Option<usize>, step: bool) {
        let blocks = self.blocks.get(range.clone()).unwrap_or_default();
        let length: usize = blocks.iter().map(|block| block.text.len()).sum();
        let has_code = blocks.iter().any(Block::is_code);
        let [first, rest @ ..] = blocks else { return };
        if rest.is_empty() && !first.is_code() && !step {
            let text = first.text.clone();
            return self.add(Form::Item, range.clone(), text, introduction);
        }
        if length <= STEPS / 2 && (step || has_code || length <= PARAGRAPH) {
            return self.add(Form::Steps, range.clone(), String::new(), introduction);
        }
        let mut before = introduction;
        for at in range {
            let Some(block) = self.blocks.get(at) else { break };
            match block.kind {
                BlockKind::Code => self.add(Form::Code, at..at + 1, block.text.clone(), before),
                BlockKind::Table => self.table(at, before),
                _ => before = self.paragraph(at),
            }
        }
    }

    /// The first row with the rows that hold the most of the question.
    fn table(&mut self, at: usize, introduction: Option<usize>) {
        let Some(block) = self.blocks.get(at) else { return };
        let rows: Vec<&str> = block.text.lines().collect();
        if rows.len() <= ROWS && block.text.len() <= PARAGRAPH {
            return self.add(Form::Table, at..at + 1, block.text.clone(), introduction);
        }
        let [head, rest @ ..] = rows.as_slice() else { return };
        let mut valued: Vec<(f32, usize)> = rest
            .iter()
            .enumerate()
            .map(|(row, text)| {
                let mut words: HashMap<String, f32> = HashMap::new();
                for (_, information, stem) in snippet::marks(text, self.matchers, self.language) {
                    words.insert(stem, information);
                }
                (words.values().sum::<f32>(), row)
            })
            .collect();
        valued.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let best = valued.first().map_or(0.0, |(value, _)| *value);
        let mut chosen: Vec<usize> =
            valued.iter().take(ROWS).filter(|(value, _)| *value >= 0.6 * best).map(|(_, row)| *row).collect();
        chosen.sort_unstable();
        let mut text = (*head).to_owned();
        for row in chosen.into_iter().filter_map(|row| rest.get(row)) {
            if text.len() + row.len() > 2 * PARAGRAPH && text.len() > head.len() {
                break;
            }
            text.push('\n');
            text.push_str(row);
        }
        self.add(Form::Table, at..at + 1, text, introduction);
    }
}
