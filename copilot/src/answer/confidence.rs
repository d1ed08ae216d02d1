//! How sure it is that the documents answer a question: one probability from what was found and what would be said.

use serde::{Deserialize, Serialize};

use crate::search::Evidence;

/// Number of features.
pub const FEATURES: usize = 9;
/// Their names, in order.
pub const NAMES: [&str; FEATURES] =
    ["covered", "by_three", "strength", "known", "margin", "piece", "answer", "rarest", "corrected"];

/// Position of the share of the question's information that is anywhere in the documents.
const KNOWN: usize = 3;
/// Share below which a question is doubted as a whole.
const HALF: f32 = 0.5;

/// What the probability is made of. Each is between 0 and 1 and comparable between questions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Features(pub [f32; FEATURES]);

impl Features {
    /// From the evidence of the ranking and what the answer carries: `piece`, its best one, and `answer`, all of them.
    #[must_use]
    pub fn of(evidence: &Evidence, piece: f32, answer: f32) -> Self {
        Self([
            evidence.covered,
            evidence.covered_by_three,
            evidence.strength,
            evidence.known,
            evidence.margin,
            piece,
            answer,
            evidence.rarest,
            evidence.corrected,
        ])
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
pub const MODEL: Model =
    Model { weights: [0.567, -0.309, 1.807, 1.800, 1.377, 1.720, -0.584, 1.951, 0.286], bias: -3.824 };

/// Least probability with which a question is answered, unless the operator chooses another.
pub const THRESHOLD: f32 = 0.5;

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
