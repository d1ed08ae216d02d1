//! What lies near the question in the corpus' own latent semantics. Words come first: the weight of this shrinks with the share
//! of the question that the best section holds in so many words, and it is off for identifiers and for a handful of words.

use super::{
    ranking::{Scored, TermMatches},
    scope::Scope,
};

/// How near every section lies to a question.
pub(super) struct Nearness {
    /// Cosines, by index. A corpus too small for a space has none.
    likeness: Vec<Vec<f32>>,
    /// What a cosine is worth.
    weight: f32,
    /// A section without a word of the question must lie nearer than this.
    least: f32,
}

impl Nearness {
    /// Of a question, unless it is off for it. `best` is the best section by words.
    pub(super) fn of(scope: &Scope<'_>, matches: &[TermMatches], best: Option<&Scored>) -> Option<Self> {
        let (query, tuning) = (scope.query, scope.tuning());
        let content = || query.words.iter().filter(|word| !word.identifier && !word.function_word);
        let identifier = query.words.iter().any(|word| word.identifier);
        if tuning.meaning <= 0.0 || identifier || content().count() < tuning.meaning_words {
            return None;
        }
        let best = best?;
        let likeness: Vec<Vec<f32>> = scope
            .indexes
            .iter()
            .map(|index| {
                let place = index.meaning.fold_in(content().map(|word| word.stem.as_str()));
                place.map(|place| index.meaning.likeness(&place)).unwrap_or_default()
            })
            .collect();
        let mut nearest: Vec<f32> = likeness.iter().flatten().copied().filter(|cosine| *cosine > 0.0).collect();
        let most = nearest.iter().copied().max_by(f32::total_cmp)?;
        let least = if nearest.len() > tuning.meaning_candidates {
            *nearest.select_nth_unstable_by(tuning.meaning_candidates, |a, b| b.total_cmp(a)).1
        } else {
            0.0
        };
        let weight = tuning.meaning * best.score * (1.0 - tuning.meaning_covered * covered(matches, best)) / most;
        Some(Self { likeness, weight, least })
    }

    /// What it adds to the score that words gave a section.
    pub(super) fn worth(&self, index: usize, doc: usize, by_words: f32) -> f32 {
        let cosine = self.likeness.get(index).and_then(|of_index| of_index.get(doc)).copied().unwrap_or(0.0);
        if cosine > if by_words > 0.0 { 0.0 } else { self.least } { self.weight * cosine } else { 0.0 }
    }
}

/// Share of the question's information that a section holds.
fn covered(matches: &[TermMatches], section: &Scored) -> f32 {
    let (mut whole, mut held) = (0.0, 0.0);
    let most = matches.iter().map(|term| term.idf).fold(0.0, f32::max);
    for term in matches.iter().filter(|term| !term.expansion && !term.identifier) {
        let information = term.weight * if term.idf > 0.0 { term.idf } else { most };
        whole += information;
        if term.docs[section.index].binary_search_by_key(&section.doc, |(doc, _)| *doc).is_ok() {
            held += information;
        }
    }
    if whole > 0.0 { held / whole } else { 1.0 }
}
