//! Okapi BM25 over several fields at once (BM25F) and over several indexes with shared statistics, then what word
//! order, headings and pages add.
//!
//! tantivy stores and reads the postings; the scores are made here because tantivy scores fields separately with
//! fixed constants, and because a union of indexes must not show through in the statistics.

use std::{cmp::Ordering, collections::HashMap, io, sync::Arc};

use tantivy::{DocId, DocSet, TERMINATED, postings::Postings as _};

use super::{
    Correction, Intent, Query, Tuning,
    budget::Budget,
    expand::{self, Synonyms},
    plan::{self, Postings},
    prior,
    query::Wanted,
};
use crate::index::{
    reader::{LoadedIndex, OpenFault},
    schema::{SEARCHED, Searched},
};

/// Sections whose word order is looked at.
const REORDERED: usize = 200;
/// Postings that are passed at a time when a list is not read whole.
const BLOCK: u64 = 128;

/// A section and its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// Position in the list of indexes.
    pub index: usize,
    /// Document in that index.
    pub doc: DocId,
    /// The score.
    pub score: f32,
}

/// A concept of the query: one wanted word with everything that stands for it.
#[derive(Debug, Clone)]
pub struct Concept {
    /// What to look up: field, term, weight.
    pub lookups: Vec<(Searched, String, f32)>,
    /// As typed.
    pub wanted: Wanted,
    /// Weight of the concept.
    pub weight: f32,
    /// Taken from the first results, not from the query.
    pub learned: bool,
}

/// Where one concept occurs.
#[derive(Debug, Clone, Default)]
pub struct Matches {
    /// Information content, from all indexes together.
    pub idf: f32,
    /// Weight of the concept.
    pub weight: f32,
    /// Documents and weighted, length-normalised occurrences, per index in order of documents.
    pub docs: Vec<Vec<(DocId, f32)>>,
    /// See [`Concept::learned`].
    pub learned: bool,
    /// Whole identifiers say what their parts say already.
    pub identifier: bool,
}

/// What is highlighted in a snippet: stems and whole identifiers.
#[derive(Debug, Clone, Default)]
pub struct Matchers {
    /// Stem or word → information content.
    pub stems: HashMap<String, f32>,
    /// Whole identifiers.
    pub identifiers: HashMap<String, f32>,
    /// Information of the question's own words together, those that no document holds included.
    pub total: f32,
}

/// All sections that match, best first, in a stable order.
#[derive(Debug, Clone, Default)]
pub struct Ranking {
    /// The sections.
    pub scored: Vec<Scored>,
    /// Words that were searched in another form.
    pub corrections: Vec<Correction>,
    /// What to highlight.
    pub matchers: Matchers,
    /// Each concept's matches, for the evidence.
    pub matches: Vec<Matches>,
}

/// Statistics of a field over all indexes.
struct Statistics {
    documents: f32,
    average: [f32; SEARCHED],
}

impl Statistics {
    fn of(indexes: &[Arc<LoadedIndex>]) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "averages need no more digits")]
        let documents = indexes.iter().map(|index| index.len()).sum::<usize>().max(1) as f32;
        let fields =
            [Searched::BodyStem, Searched::Body, Searched::Title, Searched::Path, Searched::Code, Searched::Identifier];
        #[expect(clippy::cast_precision_loss, reason = "averages need no more digits")]
        let average = fields.map(|field| {
            (indexes.iter().map(|index| index.total_tokens(field)).sum::<u64>() as f32 / documents).max(1.0)
        });
        Self { documents, average }
    }

    #[expect(clippy::cast_precision_loss, reason = "logarithms need no more digits")]
    fn idf(&self, count: usize) -> f32 {
        let count = count as f32;
        (1.0 + (self.documents - count + 0.5).max(0.0) / (count + 0.5)).ln()
    }
}

/// Ranks the documents of `indexes` as one corpus, with no more work than `budget` allows.
///
/// # Errors
/// When an index file cannot be read.
pub fn rank(
    indexes: &[Arc<LoadedIndex>],
    query: &Query,
    intent: Intent,
    synonyms: &Synonyms,
    tuning: &Tuning,
    budget: &mut Budget,
) -> Result<Ranking, OpenFault> {
    let statistics = Statistics::of(indexes);
    let mut ranking = Ranking::default();
    if query.cut {
        budget.truncate();
    }
    let own = plan::own(indexes, query, tuning, budget, &mut ranking.corrections)?;
    let synonyms = expand::synonyms(indexes, query, synonyms, tuning);
    let asked = own.len();
    let mut planned = plan::admitted(own, budget);
    planned.extend(plan::admitted(plan::counted(indexes, synonyms, tuning, budget)?, budget));
    for (at, (concept, postings)) in planned.into_iter().enumerate() {
        let matches = collect(indexes, &concept, &statistics, tuning, postings)?;
        ranking.matchers.add(&concept, matches.idf);
        if at < asked && !concept.wanted.identifier {
            let information = if matches.idf > 0.0 { matches.idf } else { statistics.idf(1) };
            ranking.matchers.total += concept.weight * information;
        }
        ranking.matches.push(matches);
    }
    let mut scores = score(indexes, &ranking.matches, tuning);
    if tuning.feedback_sections > 0 {
        let first = sorted(&scores);
        let learned = expand::feedback(indexes, &first, query, tuning, budget)?;
        for (concept, postings) in plan::admitted(plan::counted(indexes, learned, tuning, budget)?, budget) {
            ranking.matches.push(collect(indexes, &concept, &statistics, tuning, postings)?);
        }
        let with_learned = score(indexes, &ranking.matches, tuning);
        // Learned words reorder what the query found; they bring nothing that it did not.
        for (own, learned) in scores.iter_mut().flatten().zip(with_learned.into_iter().flatten()) {
            if *own > 0.0 {
                *own = learned;
            }
        }
    }
    prior::apply(indexes, query, intent, &mut scores, tuning);
    let mut scored = sorted(&scores);
    reorder(indexes, query, &ranking, &mut scored, tuning, budget)?;
    ranking.scored = scored;
    Ok(ranking)
}

/// Looks up one concept in every index.
fn collect(
    indexes: &[Arc<LoadedIndex>],
    concept: &Concept,
    statistics: &Statistics,
    tuning: &Tuning,
    postings: Postings,
) -> io::Result<Matches> {
    let mut left = postings.granted;
    let mut docs = Vec::with_capacity(indexes.len());
    for index in indexes {
        let mut found: Vec<(DocId, f32)> = Vec::new();
        for (field, term, weight) in &concept.lookups {
            let at = *field as usize;
            let weight = weight * tuning.weights[at];
            if weight <= 0.0 || left == 0 {
                continue;
            }
            let Some(mut postings) = index.postings(*field, term, false)? else { continue };
            let (b, average) = (tuning.lengths[at], statistics.average[at]);
            let mut doc = postings.doc();
            while doc != TERMINATED && left > 0 {
                left -= 1;
                #[expect(clippy::cast_precision_loss, reason = "counts of words in a section are small")]
                let (count, length) = (postings.term_freq() as f32, index.length(*field, doc) as f32);
                found.push((doc, weight * count / (1.0 - b + b * length / average)));
                doc = postings.advance();
            }
        }
        if concept.lookups.len() > 1 {
            found.sort_unstable_by_key(|(doc, _)| *doc);
            found.dedup_by(|next, kept| {
                let same = next.0 == kept.0;
                if same {
                    kept.1 += next.1;
                }
                same
            });
        }
        // Kept until the ranking is done: what was read is not.
        found.shrink_to_fit();
        docs.push(found);
    }
    let count: usize = docs.iter().map(Vec::len).sum();
    let idf = match count {
        0 if postings.all == 0 => 0.0,
        // Left out, or read in part: known, and not covered.
        _ if postings.granted < postings.all => {
            let documents = postings.all / (concept.lookups.len() as u64).max(1);
            statistics.idf(usize::try_from(documents).unwrap_or(usize::MAX))
        }
        count => statistics.idf(count),
    };
    Ok(Matches { idf, weight: concept.weight, docs, learned: concept.learned, identifier: concept.wanted.identifier })
}

/// Scores of all documents of all indexes; 0 for no match.
fn score(indexes: &[Arc<LoadedIndex>], matches: &[Matches], tuning: &Tuning) -> Vec<Vec<f32>> {
    let mut scores: Vec<Vec<f32>> = indexes.iter().map(|index| vec![0.0; index.len()]).collect();
    for (at, index) in indexes.iter().enumerate() {
        let pages = index.pages.iter().max().map_or(0, |last| *last as usize + 1);
        let mut page_scores = vec![0.0_f32; if tuning.page > 0.0 { pages } else { 0 }];
        let mut on_page: HashMap<u32, f32> = HashMap::new();
        for concept in matches {
            let gain = concept.idf * concept.weight;
            on_page.clear();
            for (doc, occurrences) in &concept.docs[at] {
                let value = gain * occurrences * (tuning.k1 + 1.0) / (occurrences + tuning.k1);
                scores[at][*doc as usize] += value;
                if tuning.page > 0.0 {
                    let best = on_page.entry(index.pages[*doc as usize]).or_default();
                    *best = best.max(value);
                }
            }
            for (page, value) in &on_page {
                page_scores[*page as usize] += value;
            }
        }
        for (doc, score) in scores[at].iter_mut().enumerate() {
            if *score > 0.0 {
                if tuning.page > 0.0 {
                    *score += tuning.page * page_scores[index.pages[doc] as usize];
                }
                *score *= index.boosts[doc];
            }
        }
    }
    scores
}

/// Documents with a score, best first; ties keep the order of indexes and documents.
fn sorted(scores: &[Vec<f32>]) -> Vec<Scored> {
    let mut scored: Vec<Scored> = Vec::new();
    for (index, scores) in scores.iter().enumerate() {
        for (doc, score) in (0..).zip(scores) {
            if *score > 0.0 {
                scored.push(Scored { index, doc, score: *score });
            }
        }
    }
    scored.sort_by(by_score);
    scored
}

fn by_score(a: &Scored, b: &Scored) -> Ordering {
    b.score.total_cmp(&a.score).then(a.index.cmp(&b.index)).then(a.doc.cmp(&b.doc))
}

/// Adds what word order and headings say about the best sections.
fn reorder(
    indexes: &[Arc<LoadedIndex>],
    query: &Query,
    ranking: &Ranking,
    scored: &mut [Scored],
    tuning: &Tuning,
    budget: &mut Budget,
) -> Result<(), OpenFault> {
    let depth = scored.len().min(REORDERED);
    let content: Vec<&Wanted> =
        query.wanted.iter().filter(|wanted| !wanted.identifier && !wanted.function_word).collect();
    let stems: Vec<&str> =
        query.wanted.iter().filter(|wanted| !wanted.identifier).map(|wanted| wanted.stem.as_str()).collect();
    let idf = |wanted: &Wanted| ranking.matchers.stems.get(&wanted.stem).copied().unwrap_or(0.0);
    let pairs: Vec<(&Wanted, &Wanted, f32)> = content
        .windows(2)
        .map(|pair| (pair[0], pair[1], idf(pair[0]).min(idf(pair[1]))))
        .filter(|(_, _, information)| *information > 0.0)
        .collect();
    for (at, index) in indexes.iter().enumerate() {
        let mut places: Vec<usize> = (0..depth).filter(|place| scored[*place].index == at).collect();
        places.sort_unstable_by_key(|place| scored[*place].doc);
        if tuning.proximity > 0.0 {
            for (left, right, information) in &pairs {
                for field in [Searched::BodyStem, Searched::Title] {
                    let (Some(mut a), Some(mut b)) =
                        (index.postings(field, &left.stem, true)?, index.postings(field, &right.stem, true)?)
                    else {
                        continue;
                    };
                    if !budget.visit(passed(&a) + passed(&b)) {
                        break;
                    }
                    let (mut from, mut to) = (Vec::new(), Vec::new());
                    for place in &places {
                        let doc = scored[*place].doc;
                        if seek(&mut a, doc) && seek(&mut b, doc) {
                            a.positions(&mut from);
                            b.positions(&mut to);
                            if !budget.visit((from.len() + to.len()) as u64) {
                                break;
                            }
                            let near = nearness(&from, &to, tuning.window);
                            scored[*place].score +=
                                tuning.proximity * information * near * (tuning.k1 + 1.0) / (near + tuning.k1);
                        }
                    }
                }
            }
        }
        if tuning.exact_heading > 1.0 && !stems.is_empty() && stems.len() <= 8 {
            let mut postings = Vec::new();
            for stem in &stems {
                let Some(found) = index.postings(Searched::Title, stem, false)? else { break };
                if !budget.visit(passed(&found)) {
                    break;
                }
                postings.push(found);
            }
            if postings.len() == stems.len() {
                for place in &places {
                    let doc = scored[*place].doc;
                    let whole = index.length(Searched::Title, doc) as usize == stems.len();
                    if whole && postings.iter_mut().all(|postings| seek(postings, doc)) {
                        scored[*place].score *= tuning.exact_heading;
                    }
                }
            }
        }
    }
    scored.sort_by(by_score);
    Ok(())
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

impl Matchers {
    fn add(&mut self, concept: &Concept, idf: f32) {
        for (field, term, _) in &concept.lookups {
            let map = match field {
                Searched::Identifier => &mut self.identifiers,
                Searched::BodyStem | Searched::Body => &mut self.stems,
                _ => continue,
            };
            let known = map.entry(term.clone()).or_default();
            *known = known.max(idf * concept.weight.min(1.0));
        }
    }
}
