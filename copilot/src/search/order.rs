//! What word order and headings add to the scores of the best sections.

use tantivy::{DocId, DocSet, postings::Postings as _};

use super::{
    budget::Budget,
    query::QueryWord,
    ranking::{Matchers, Scored},
    scope::Scope,
};
use crate::index::{
    reader::{LoadedIndex, OpenFault},
    schema::Searched,
};

/// Sections whose word order is looked at.
const REORDERED: usize = 200;
/// Postings that are passed at a time when a list is not read whole.
const BLOCK: u64 = 128;
/// Longest query that is compared with whole headings, in words.
const LONGEST_HEADING: usize = 8;

/// Neighbouring words of content, with the information of the less telling one.
type Pair<'a> = (&'a QueryWord, &'a QueryWord, f32);

/// Adds what word order and headings say about the best sections, and puts them in order again.
pub(super) fn reorder(
    scope: &Scope<'_>,
    matchers: &Matchers,
    scored: &mut [Scored],
    budget: &mut Budget,
) -> Result<(), OpenFault> {
    let words = &scope.query.words;
    let content: Vec<&QueryWord> = words.iter().filter(|word| !word.identifier && !word.function_word).collect();
    let stems: Vec<&str> = words.iter().filter(|word| !word.identifier).map(|word| word.stem.as_str()).collect();
    let idf = |word: &QueryWord| matchers.stems.get(&word.stem).copied().unwrap_or(0.0);
    let pairs: Vec<Pair<'_>> = content
        .windows(2)
        .map(|pair| (pair[0], pair[1], idf(pair[0]).min(idf(pair[1]))))
        .filter(|(_, _, information)| *information > 0.0)
        .collect();
    let depth = scored.len().min(REORDERED);
    for (at, index) in scope.indexes.iter().enumerate() {
        let mut best: Vec<&mut Scored> = scored[..depth].iter_mut().filter(|scored| scored.index == at).collect();
        best.sort_unstable_by_key(|scored| scored.doc);
        let mut best = Best { scope, index, scored: best, budget };
        if scope.tuning().proximity > 0.0 {
            for pair in &pairs {
                best.add_nearness(pair)?;
            }
        }
        if scope.tuning().exact_heading > 1.0 && !stems.is_empty() && stems.len() <= LONGEST_HEADING {
            best.raise_exact_headings(&stems)?;
        }
    }
    scored.sort_by(Scored::order);
    Ok(())
}

/// The best sections of one index, in the order of its documents.
struct Best<'a> {
    scope: &'a Scope<'a>,
    index: &'a LoadedIndex,
    scored: Vec<&'a mut Scored>,
    budget: &'a mut Budget,
}

impl Best<'_> {
    /// Sections in which the two words stand near each other.
    fn add_nearness(&mut self, (left, right, information): &Pair<'_>) -> Result<(), OpenFault> {
        let tuning = self.scope.tuning();
        for field in [Searched::BodyStem, Searched::Title] {
            let (Some(mut a), Some(mut b)) =
                (self.index.postings(field, &left.stem, true)?, self.index.postings(field, &right.stem, true)?)
            else {
                continue;
            };
            if !self.budget.visit(passed(&a) + passed(&b)) {
                break;
            }
            let (mut from, mut to) = (Vec::new(), Vec::new());
            for scored in &mut self.scored {
                if seek(&mut a, scored.doc) && seek(&mut b, scored.doc) {
                    a.positions(&mut from);
                    b.positions(&mut to);
                    if !self.budget.visit((from.len() + to.len()) as u64) {
                        break;
                    }
                    let near = nearness(&from, &to, tuning.window);
                    scored.score += tuning.proximity * information * near * (tuning.k1 + 1.0) / (near + tuning.k1);
                }
            }
        }
        Ok(())
    }

    /// Sections whose heading is the query and nothing else.
    fn raise_exact_headings(&mut self, stems: &[&str]) -> Result<(), OpenFault> {
        let mut postings = Vec::new();
        for stem in stems {
            let Some(found) = self.index.postings(Searched::Title, stem, false)? else { return Ok(()) };
            if !self.budget.visit(passed(&found)) {
                return Ok(());
            }
            postings.push(found);
        }
        for scored in &mut self.scored {
            let whole = self.index.length(Searched::Title, scored.doc) as usize == stems.len();
            if whole && postings.iter_mut().all(|postings| seek(postings, scored.doc)) {
                scored.score *= self.scope.tuning().exact_heading;
            }
        }
        Ok(())
    }
}

/// Postings that are visited, at most, when the best sections are looked for in a list: it is passed in blocks.
fn passed(postings: &impl DocSet) -> u64 {
    u64::from(postings.size_hint()) / BLOCK + REORDERED as u64
}

/// Moves to `doc`; false when the term is not in it.
fn seek(postings: &mut impl DocSet, doc: DocId) -> bool {
    if postings.doc() < doc {
        postings.seek(doc);
    }
    postings.doc() == doc
}

/// Sum over the occurrences of the first word of 1 / distance to the next second word, within the window.
#[expect(clippy::cast_precision_loss, reason = "distances are small")]
fn nearness(from: &[u32], to: &[u32], window: u32) -> f32 {
    let mut near = 0.0;
    for position in from {
        let after = to.partition_point(|other| other <= position);
        let ahead = to.get(after).map(|other| other - position);
        let behind = after.checked_sub(1).and_then(|at| to.get(at)).map(|other| position - other + 1);
        if let Some(distance) = ahead.into_iter().chain(behind).filter(|distance| *distance > 0).min()
            && distance <= window
        {
            near += 1.0 / distance as f32;
        }
    }
    near
}
