//! Okapi BM25 over several fields at once (BM25F) and over several indexes with shared statistics, then what word
//! order, headings and pages add.
//!
//! tantivy stores and reads the postings; the scores are computed here because tantivy scores fields separately with
//! fixed constants, and because a union of indexes must not show through in the statistics.

use std::{collections::HashMap, io, sync::Arc};

use tantivy::{DocId, DocSet, TERMINATED, postings::Postings as _};

use super::{
    budget::Budget,
    expand,
    meaning::Nearness,
    order,
    plan::{self, Postings},
    prior,
    ranking::{Ranking, Scored, TermMatches},
    scope::Scope,
    term::QueryTerm,
    thesaurus,
};
use crate::index::{
    reader::{LoadedIndex, OpenFault},
    schema::{SEARCHED, Searched},
};

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

/// Ranks the documents of a scope as one corpus, with no more work than `budget` allows.
///
/// # Errors
/// When an index file cannot be read.
pub fn rank(scope: &Scope<'_>, budget: &mut Budget) -> Result<Ranking, OpenFault> {
    let tuning = scope.tuning();
    let statistics = Statistics::of(scope.indexes);
    let mut ranking = Ranking::default();
    if scope.query.cut {
        budget.truncate();
    }
    let own = plan::own(scope, budget)?;
    ranking.corrections = own.corrections;
    let own_terms = own.terms.len();
    let exchanged = thesaurus::terms(scope, &own.terms);
    let mut planned = plan::admitted(own.terms, budget);
    planned.extend(plan::admitted(plan::counted(scope, expand::synonyms(scope), budget)?, budget));
    let exchanged = plan::affordable(plan::counted(scope, exchanged, budget)?, thesaurus::MOST_POSTINGS);
    planned.extend(plan::admitted(exchanged, budget));
    for (at, (term, postings)) in planned.into_iter().enumerate() {
        let matches = collect(scope, &statistics, &term, postings)?;
        if term.stands_for.is_none() {
            ranking.matchers.add(&term, matches.idf);
        }
        if at < own_terms && !term.word.identifier {
            let information = if matches.idf > 0.0 { matches.idf } else { statistics.idf(1) };
            ranking.matchers.total += term.weight * information;
        }
        ranking.matches.push(matches);
    }
    let mut scores = score(scope, &ranking.matches);
    if tuning.feedback_sections > 0 {
        let expansions = expand::feedback(scope, &sorted(&scores), budget)?;
        for (term, postings) in plan::admitted(plan::counted(scope, expansions, budget)?, budget) {
            ranking.matches.push(collect(scope, &statistics, &term, postings)?);
        }
        let expanded = score(scope, &ranking.matches);
        // Feedback reorders what the query found; it brings nothing that the query did not.
        for (own, expanded) in scores.iter_mut().flatten().zip(expanded.into_iter().flatten()) {
            if *own > 0.0 {
                *own = expanded;
            }
        }
    }
    let mut added: Vec<Vec<f32>> = scores.iter().map(|scores| vec![0.0; scores.len()]).collect();
    if let Some(nearness) = Nearness::of(scope, &ranking.matches, sorted(&scores).first()) {
        for (index, (scores, added)) in scores.iter_mut().zip(&mut added).enumerate() {
            for (doc, (score, added)) in scores.iter_mut().zip(added).enumerate() {
                *added = nearness.worth(index, doc, *score) * scope.indexes[index].boosts[doc];
                *score += *added;
            }
        }
    }
    prior::apply(scope, &mut scores);
    let mut scored = sorted(&scores);
    for scored in &mut scored {
        scored.meaning = added[scored.index][scored.doc as usize].min(scored.score);
    }
    order::reorder(scope, &ranking.matchers, &mut scored, budget)?;
    ranking.scored = scored;
    Ok(ranking)
}

/// Looks up one term in every index.
fn collect(
    scope: &Scope<'_>,
    statistics: &Statistics,
    term: &QueryTerm,
    postings: Postings,
) -> io::Result<TermMatches> {
    let tuning = scope.tuning();
    let mut left = postings.granted;
    let mut docs = Vec::with_capacity(scope.indexes.len());
    for index in scope.indexes {
        let mut found: Vec<(DocId, f32)> = Vec::new();
        for (field, text, weight) in &term.lookups {
            let at = *field as usize;
            let weight = weight * tuning.weights[at];
            if weight <= 0.0 || left == 0 {
                continue;
            }
            let Some(mut postings) = index.postings(*field, text, false)? else { continue };
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
        if term.lookups.len() > 1 {
            found.sort_unstable_by_key(|(doc, _)| *doc);
            found.dedup_by(|next, kept| {
                let same = next.0 == kept.0;
                if same {
                    kept.1 += next.1;
                }
                same
            });
        }
        // This list lives until the ranking is done; its spare capacity need not.
        found.shrink_to_fit();
        docs.push(found);
    }
    let count: usize = docs.iter().map(Vec::len).sum();
    let idf = match count {
        0 if postings.all == 0 => 0.0,
        // Left out, or read in part: known, and not covered.
        _ if postings.granted < postings.all => {
            let documents = postings.all / (term.lookups.len() as u64).max(1);
            statistics.idf(usize::try_from(documents).unwrap_or(usize::MAX))
        }
        count => statistics.idf(count),
    };
    let (expansion, identifier, stands_for) = (term.expansion, term.word.identifier, term.stands_for);
    Ok(TermMatches { idf, weight: term.weight, docs, expansion, identifier, stands_for })
}

/// Scores of all documents of all indexes; 0 for no match.
fn score(scope: &Scope<'_>, matches: &[TermMatches]) -> Vec<Vec<f32>> {
    let (indexes, tuning) = (scope.indexes, scope.tuning());
    let mut scores: Vec<Vec<f32>> = indexes.iter().map(|index| vec![0.0; index.len()]).collect();
    for (at, index) in indexes.iter().enumerate() {
        let pages = index.pages.iter().max().map_or(0, |last| *last as usize + 1);
        let mut page_scores = vec![0.0_f32; if tuning.page > 0.0 { pages } else { 0 }];
        let mut on_page: HashMap<u32, f32> = HashMap::new();
        let mut in_section: HashMap<DocId, f32> = HashMap::new();
        for (number, own) in matches.iter().enumerate().filter(|(_, term)| term.stands_for.is_none()) {
            on_page.clear();
            in_section.clear();
            let others = || matches.iter().filter(|term| term.stands_for == Some(number));
            let alone = others().next().is_none();
            for term in std::iter::once(own).chain(others()) {
                // A word tells no more than the one that it stands for.
                let idf = if own.idf > 0.0 { term.idf.min(own.idf) } else { term.idf };
                let gain = idf * term.weight;
                for (doc, occurrences) in &term.docs[at] {
                    let mut value = gain * occurrences * (tuning.k1 + 1.0) / (occurrences + tuning.k1);
                    if !alone {
                        let known = in_section.entry(*doc).or_default();
                        let more = (value - *known).max(0.0);
                        *known += more;
                        value = more;
                    }
                    scores[at][*doc as usize] += value;
                    if tuning.page > 0.0 {
                        let best = on_page.entry(index.pages[*doc as usize]).or_default();
                        *best = best.max(value);
                    }
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
                scored.push(Scored { index, doc, score: *score, meaning: 0.0 });
            }
        }
    }
    scored.sort_by(Scored::order);
    scored
}
