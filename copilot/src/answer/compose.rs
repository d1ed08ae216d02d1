//! Choosing the pieces of an answer, and putting them together in the order of the documents.

use std::collections::{HashMap, HashSet};

use super::{
    atom::{self, Atom, Form},
    choice::{Choice, MOST_BLOCKS, MOST_CHARS},
    parts::{Composed, Part, Source},
    render,
    worth::{AnalysedQuestion, Candidate, Valuation},
};
use crate::{index::block::Block, search::Intent};

/// Pieces that may be refused for want of room before the choice ends: what comes after them is worth little.
const MOST_REFUSED: usize = 24;
/// Lines that a code block is cut to at the least; a shorter piece is left out.
const FEWEST_LINES: usize = 3;

/// Puts an answer together.
pub(super) fn compose(sources: &[Source], question: AnalysedQuestion<'_>, choice: &Choice) -> Composed {
    let mut selection = Selection::of(sources, question, choice);
    let best = selection.choose(choice.least);
    let how = question.intent == Intent::HowTo;
    if how {
        selection.show(choice.show);
    }
    if question.intent != Intent::Definition {
        selection.complete(if how { choice.complete } else { choice.complete_other }, how);
    }
    let parts = selection.parts(&selection.chosen, &selection.cut);
    let mut composed = render::render(&parts, sources);
    composed.best = best.min(1.0);
    composed
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

    /// Chooses the pieces that are worth most, as many as fit. Returns what the best one carries.
    fn choose(&mut self, least: f32) -> f32 {
        // The most valued first; of equals, the one that stands first.
        let mut order: Vec<(usize, f32)> = (0..)
            .zip(&self.candidates)
            .filter(|(_, candidate)| !candidate.atom.announces)
            .map(|(at, candidate)| (at, candidate.value))
            .collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut refused = 0;
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
            self.chosen = with;
        }
        best
    }

    /// Quotes a command of every section that is quoted and shows none so far: who asks how wants to see it. `sections` is how
    /// many sections are looked at. Pieces of other sections that are worth the least make room.
    fn show(&mut self, sections: usize) {
        for section in self.quoted().into_iter().take(sections) {
            let chosen: Vec<&Candidate> = self.of_section(section);
            if chosen.is_empty() || chosen.iter().any(|candidate| shows(&candidate.atom, self.sources)) {
                continue;
            }
            let last = chosen.iter().map(|candidate| candidate.atom.place).max().unwrap_or_default();
            let mut shown: Vec<(bool, usize)> = (0..)
                .zip(&self.candidates)
                .filter(|(_, candidate)| {
                    candidate.atom.section == section && candidate.value > 0.0 && shows(&candidate.atom, self.sources)
                })
                .map(|(at, candidate)| (candidate.atom.place < last, at))
                .collect();
            // What follows the quoted text, before what stands above it.
            shown.sort_unstable();
            for (_, at) in shown.into_iter().take(2) {
                if self.add_in_place_of_others(at) {
                    break;
                }
            }
        }
    }

    /// Uses the room that is left for the commands of the sections quoted first: all of them when the question asks how, else
    /// those right behind what is quoted.
    fn complete(&mut self, sections: usize, all: bool) {
        for section in self.quoted().into_iter().take(sections) {
            let range = self.candidates.iter().enumerate().filter(|(_, candidate)| candidate.atom.section == section);
            let pieces: Vec<usize> = range.map(|(at, _)| at).collect();
            for (nth, at) in pieces.iter().enumerate() {
                let Some(candidate) = self.candidates.get(*at) else { continue };
                let around = pieces.iter().skip(nth.saturating_sub(2)).take(5);
                let near = around.into_iter().any(|other| self.chosen.contains(other));
                let wanted = shows(&candidate.atom, self.sources) && (all || near) && !candidate.output;
                if !wanted || self.chosen.contains(at) || self.repeats(&candidate.atom) {
                    continue;
                }
                let with = self.with(*at, &candidate.atom);
                if self.fits(&with, *at) == Some(None) {
                    self.chosen = with;
                }
            }
        }
    }

    /// Adds a piece; where there is no room for it, pieces of sections that are quoted later are taken out, last first.
    fn add_in_place_of_others(&mut self, at: usize) -> bool {
        let before = (self.chosen.clone(), self.cut.clone());
        let Some(section) = self.candidates.get(at).map(|candidate| candidate.atom.section) else { return false };
        let order = self.quoted();
        let rank = |section: usize| order.iter().position(|known| *known == section).unwrap_or(usize::MAX);
        loop {
            let Some(candidate) = self.candidates.get(at) else { return false };
            let with = self.with(at, &candidate.atom);
            if let Some(lines) = self.fits(&with, at) {
                if let Some(lines) = lines {
                    self.cut.insert(at, lines);
                }
                self.chosen = with;
                return true;
            }
            let later = self.chosen.iter().rposition(|chosen| {
                self.candidates.get(*chosen).is_some_and(|candidate| rank(candidate.atom.section) > rank(section))
            });
            let Some(later) = later else {
                (self.chosen, self.cut) = before;
                return false;
            };
            let removed = self.chosen.remove(later);
            self.cut.remove(&removed);
            self.drop_halves();
        }
    }

    /// Takes out what lost its introduction, and introductions that introduce nothing any more.
    fn drop_halves(&mut self) {
        loop {
            let needed = |at: usize| {
                let atom = self.candidates.get(at).map(|candidate| &candidate.atom)?;
                Some(self.firsts.get(atom.section)? + atom.needs?)
            };
            let half = self.chosen.iter().position(|at| {
                let lost = needed(*at).is_some_and(|needed| !self.chosen.contains(&needed));
                let idle = self.candidates.get(*at).is_some_and(|candidate| candidate.atom.announces)
                    && !self.chosen.iter().any(|other| needed(*other) == Some(*at));
                lost || idle
            });
            let Some(half) = half else { return };
            let removed = self.chosen.remove(half);
            self.cut.remove(&removed);
        }
    }

    /// Sections that are quoted, in the order in which they were chosen.
    fn quoted(&self) -> Vec<usize> {
        let mut order: Vec<usize> = Vec::new();
        for candidate in self.chosen.iter().filter_map(|at| self.candidates.get(*at)) {
            if !order.contains(&candidate.atom.section) {
                order.push(candidate.atom.section);
            }
        }
        order
    }

    /// What is chosen of a section.
    fn of_section(&self, section: usize) -> Vec<&Candidate> {
        let chosen = self.chosen.iter().filter_map(|at| self.candidates.get(*at));
        chosen.filter(|candidate| candidate.atom.section == section).collect()
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

/// Whether a piece is code or has code in it.
fn shows(atom: &Atom, sources: &[Source]) -> bool {
    let blocks = sources.get(atom.section).and_then(|source| source.hit.chunk.blocks.get(atom.blocks.clone()));
    atom.form == Form::Code
        || (atom.form == Form::Steps && blocks.is_some_and(|blocks| blocks.iter().any(Block::is_code)))
}

/// Whether two pieces say the same in nearly the same words, as repeated boilerplate does.
fn same(a: &Atom, b: &Atom) -> bool {
    let code = a.form == Form::Code;
    if a.text.is_empty() || b.text.is_empty() || code != (b.form == Form::Code) {
        return false;
    }
    let words = |text: &str| text.split_whitespace().map(str::to_lowercase).collect::<HashSet<_>>();
    let (a, b) = (words(&a.text), words(&b.text));
    let shared = a.intersection(&b).count();
    // Two commands with the same options and another verb are two commands.
    let most = if code { 10 } else { 8 };
    shared * 10 >= a.len().min(b.len()).max(1) * most
}
