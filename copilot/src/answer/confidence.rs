//! How sure it is that the documents answer a question: one probability from what was found and what would be said.

use serde::{Deserialize, Serialize};

use super::signals::Signals;
use crate::search::Evidence;

/// Number of features.
pub const FEATURES: usize = 7;
/// Their names, in order.
pub const NAMES: [&str; FEATURES] = ["known", "piece", "words", "pairs", "missing_name", "length", "how"];

/// Position of the share of the question's information that is anywhere in the documents.
const KNOWN: usize = 0;
/// Share below which a question is doubted as a whole.
const HALF: f32 = 0.5;

/// What the probability is made of. Each is between 0 and 1 and comparable between questions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Features(pub [f32; FEATURES]);

impl Features {
    /// From the evidence of the ranking, what the answer's best piece carries, and what the answer leaves open.
    #[must_use]
    pub fn of(evidence: &Evidence, piece: f32, signals: &Signals) -> Self {
        Self([evidence.known, piece, signals.words, signals.pairs, signals.missing_name, signals.length, signals.how])
    }
}

/// A logistic model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Model {
    /// Weight of each feature.
    pub weights: [f32; FEATURES],
    /// What is added.
    pub bias: f32,
}

/// Fitted with `copilot eval answers … --fit` on the development halves of the sets in `copilot/eval/answers`; how it does
/// on sets that it was not fitted on is in `docs/benchmarks.md`.
pub const MODEL: Model = Model { weights: [0.963, 2.178, 0.246, 0.970, -3.520, 2.998, -0.434], bias: -3.192 };

/// Least probability with which a question is answered, unless the operator chooses another. Both kinds of questions count the
/// same in the fit, so at 0.5 more than a quarter of those pass that the documents nearly answer.
pub const THRESHOLD: f32 = 0.55;

impl Model {
    /// The probability that the documents answer. A question of which they know less than half is doubted as a whole,
    /// however well the rest is met: the few words that they know may be there for any reason.
    #[must_use]
    pub fn probability(&self, features: &Features) -> f32 {
        let sum: f32 = self.weights.iter().zip(features.0).map(|(weight, feature)| weight * feature).sum();
        let known = features.0[KNOWN];
        (known / HALF).min(1.0) / (1.0 + (-(sum + self.bias)).exp())
    }
}
