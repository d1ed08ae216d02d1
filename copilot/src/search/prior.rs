//! What the kind of a section says about its worth before any word is compared: a question how something is done is seldom
//! answered by a reference page or a history of changes, and often by a section with commands.

use std::sync::Arc;

use super::{Intent, Query, Tuning};
use crate::index::{reader::LoadedIndex, traits::Traits};

/// Multiplies every score by what the section's traits say.
pub(super) fn apply(
    indexes: &[Arc<LoadedIndex>],
    query: &Query,
    intent: Intent,
    scores: &mut [Vec<f32>],
    tuning: &Tuning,
) {
    let identifier = query.wanted.iter().any(|wanted| wanted.identifier);
    let how = intent == Intent::HowTo;
    let factors = [
        (Traits::REFERENCE, tuning.reference, !identifier && intent != Intent::Definition),
        (Traits::HISTORY, tuning.history, true),
        (Traits::PROJECT, tuning.project, true),
        (Traits::EMPTY | Traits::FURTHER, tuning.thin, true),
        (Traits::COMMANDS, tuning.commands, how),
        (Traits::CODE, tuning.code, how),
        (Traits::STEPS, tuning.steps, how),
        (Traits::FIRST, tuning.first, intent == Intent::Definition),
    ];
    for (index, scores) in indexes.iter().zip(scores) {
        for (traits, score) in index.traits.iter().zip(scores).filter(|(_, score)| **score > 0.0) {
            for (which, factor, counts) in factors {
                if counts && traits.any(which) {
                    *score *= factor;
                }
            }
        }
    }
}
