//! What the kind of a section says about its worth before any word is compared: a question how something is done is seldom
//! answered by a reference page or a history of changes, and often by a section with commands.

use super::{Intent, scope::Scope};
use crate::index::traits::Traits;

/// Words of questions that a history of changes answers.
const OF_TIME: [&str; 14] = [
    "when",
    "date",
    "since",
    "release",
    "released",
    "releases",
    "changelog",
    "changed",
    "introduced",
    "deprecated",
    "version",
    "history",
    "announced",
    "launched",
];

/// Multiplies every score by what the section's traits say.
pub(super) fn apply(scope: &Scope<'_>, scores: &mut [Vec<f32>]) {
    let (intent, tuning) = (scope.intent, scope.tuning());
    let identifier = scope.query.words.iter().any(|word| word.identifier);
    let how = intent == Intent::HowTo;
    let of_time = scope.query.words.iter().any(|word| OF_TIME.contains(&word.text.as_str()));
    let factors = [
        (Traits::REFERENCE, tuning.reference, !identifier && intent != Intent::Definition),
        (Traits::HISTORY, tuning.history, !of_time),
        (Traits::PROJECT, tuning.project, true),
        (Traits::EMPTY | Traits::FURTHER, tuning.thin, true),
        (Traits::COMMANDS, tuning.commands, how),
        (Traits::CODE, tuning.code, how),
        (Traits::STEPS, tuning.steps, how),
        (Traits::FIRST, tuning.first, intent == Intent::Definition),
    ];
    for (index, scores) in scope.indexes.iter().zip(scores) {
        for (traits, score) in index.traits.iter().zip(scores).filter(|(_, score)| **score > 0.0) {
            for (which, factor, counts) in factors {
                if counts && traits.any(which) {
                    *score *= factor;
                }
            }
        }
    }
}
