//! How well the documents carry a question: what decides between an answer and an honest "not in the docs".

use std::sync::Arc;

use serde::Serialize;

use super::rank::Ranking;
use crate::index::reader::LoadedIndex;

/// Features of the best sections, each between 0 and 1, comparable between questions (raw scores are not).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Evidence {
    /// Share of the question's information that the best section holds.
    pub covered: f32,
    /// Share that the best three sections hold together.
    pub covered_by_three: f32,
    /// Score of the best section over the highest attainable.
    pub strength: f32,
    /// Share of the question's information that is anywhere in the documents.
    pub known: f32,
    /// How far the first is ahead of the fifth.
    pub margin: f32,
}

/// Information of a word that no document holds, relative to one that a single document holds.
const UNKNOWN: f32 = 1.0;

impl Evidence {
    /// Gathers the features of a ranking.
    #[must_use]
    pub fn gather(indexes: &[Arc<LoadedIndex>], ranking: &Ranking, k1: f32) -> Self {
        let Some(best) = ranking.scored.first() else { return Self::default() };
        #[expect(clippy::cast_precision_loss, reason = "logarithms need no more digits")]
        let documents = indexes.iter().map(|index| index.len()).sum::<usize>() as f32;
        let rarest = (1.0 + (documents - 0.5).max(0.0) / 1.5).ln();
        let (mut whole, mut known, mut covered, mut by_three) = (0.0, 0.0, 0.0, 0.0);
        for concept in ranking.matches.iter().filter(|concept| !concept.learned && !concept.identifier) {
            let information = concept.weight * if concept.idf > 0.0 { concept.idf } else { rarest * UNKNOWN };
            whole += information;
            let holds = |place: usize| {
                ranking.scored.get(place).is_some_and(|scored| {
                    concept.docs[scored.index].binary_search_by_key(&scored.doc, |(doc, _)| *doc).is_ok()
                })
            };
            if concept.idf > 0.0 {
                known += information;
            }
            if holds(0) {
                covered += information;
            }
            if (0..3).any(holds) {
                by_three += information;
            }
        }
        // An occurrence is worth at most k1 + 1 times its information.
        let attainable = whole * (k1 + 1.0);
        let share = |part: f32| if whole > 0.0 { part / whole } else { 0.0 };
        let fifth = ranking.scored.get(4).map_or(0.0, |scored| scored.score);
        Self {
            covered: share(covered),
            covered_by_three: share(by_three),
            strength: if attainable > 0.0 { (best.score / attainable).min(1.0) } else { 0.0 },
            known: share(known),
            margin: if best.score > 0.0 { 1.0 - fifth / best.score } else { 0.0 },
        }
    }

    /// One number between 0 and 1. A question whose words the documents do not know is doubted as a whole.
    #[must_use]
    pub fn confidence(&self) -> f32 {
        let carried = 0.5 * self.covered + 0.2 * self.covered_by_three + 0.3 * self.strength;
        carried * (self.known / 0.75).min(1.0)
    }

    /// True when the documents carry the question well enough to answer.
    #[must_use]
    pub fn suffices(&self) -> bool {
        self.confidence() >= THRESHOLD
    }
}

/// Least confidence to answer, chosen on one half of the questions in `copilot/eval` and reported on the other
/// (`docs/benchmarks.md`).
pub const THRESHOLD: f32 = 0.46;
