//! How well the documents carry a question: what decides between an answer and an honest "not in the docs".

use serde::Serialize;

use super::{ranking::Ranking, scope::Scope};

/// Features of the best sections, each comparable between questions (raw scores are not); shares are between 0 and 1.
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
    /// Whether the best section holds the word that tells most: 1, or 0.
    pub rarest: f32,
    /// Share of the words of content that were searched in another form.
    pub corrected: f32,
    /// Words of content.
    pub words: usize,
    /// Of these, words that no document holds as they are.
    pub unknown: usize,
    /// Words that carry grammar.
    pub function_words: usize,
}

/// Information of a word that no document holds, relative to one that a single document holds.
const UNKNOWN: f32 = 1.0;

impl Evidence {
    /// Gathers the features of a ranking.
    #[must_use]
    pub fn gather(scope: &Scope<'_>, ranking: &Ranking) -> Self {
        let (query, k1) = (scope.query, scope.tuning().k1);
        let content = query.words.iter().filter(|word| !word.identifier && !word.function_word);
        let words = content.count();
        let function_words = query.words.iter().filter(|word| word.function_word).count();
        let own = || ranking.matches.iter().filter(|term| !term.expansion && !term.identifier);
        let unknown = own().filter(|term| term.idf == 0.0).count() + ranking.corrections.len();
        let counts = Self { words, unknown, function_words, ..Self::default() };
        let Some(best) = ranking.scored.first() else { return counts };
        let rarest = (1.0 + (scope.documents() - 0.5).max(0.0) / 1.5).ln();
        let (mut whole, mut known, mut covered, mut by_three) = (0.0, 0.0, 0.0, 0.0);
        let (mut rarest_word, mut rarest_held) = (0.0_f32, false);
        for term in own() {
            let information = term.weight * if term.idf > 0.0 { term.idf } else { rarest * UNKNOWN };
            whole += information;
            let holds = |place: usize| {
                ranking.scored.get(place).is_some_and(|scored| {
                    term.docs[scored.index].binary_search_by_key(&scored.doc, |(doc, _)| *doc).is_ok()
                })
            };
            if information > rarest_word {
                (rarest_word, rarest_held) = (information, holds(0));
            }
            if term.idf > 0.0 {
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
            strength: if attainable > 0.0 { ((best.score - best.meaning) / attainable).clamp(0.0, 1.0) } else { 0.0 },
            known: share(known),
            margin: if best.score > 0.0 { 1.0 - fifth / best.score } else { 0.0 },
            rarest: if rarest_held { 1.0 } else { 0.0 },
            #[expect(clippy::cast_precision_loss, reason = "a query has few words")]
            corrected: ranking.corrections.len() as f32 / words.max(1) as f32,
            ..counts
        }
    }
}
