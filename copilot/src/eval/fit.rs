//! Fitting the probability that a question is answered: logistic regression with a small penalty, by gradient descent.

use crate::answer::confidence::{FEATURES, Features, Model};

/// Steps of the descent.
const STEPS: usize = 20_000;
/// Length of a step.
const RATE: f64 = 0.5;
/// Weight of the squares of the weights.
const PENALTY: f64 = 0.002;

/// One question: what was seen, whether the documents answer it, and what it counts.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// What was seen.
    pub features: Features,
    /// Whether the documents answer.
    pub answerable: bool,
    /// What it counts.
    pub weight: f64,
}

/// Fits a model. Both classes count the same together, however many questions they have.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "weights need no more digits than features have")]
pub fn fit(examples: &[Example]) -> Model {
    let sum = |answerable: bool| -> f64 {
        examples.iter().filter(|example| example.answerable == answerable).map(|example| example.weight).sum()
    };
    let (yes, no) = (sum(true).max(1e-9), sum(false).max(1e-9));
    let mut weights = [0.0_f64; FEATURES];
    let mut bias = 0.0_f64;
    for _ in 0..STEPS {
        let mut slope = [0.0_f64; FEATURES];
        let mut slope_bias = 0.0;
        for example in examples {
            let value: f64 = weights
                .iter()
                .zip(example.features.0)
                .map(|(weight, feature)| weight * f64::from(feature))
                .sum::<f64>()
                + bias;
            let probability = 1.0 / (1.0 + (-value).exp());
            let share = example.weight / if example.answerable { yes } else { no } / 2.0;
            let error = (probability - if example.answerable { 1.0 } else { 0.0 }) * share;
            for (slope, feature) in slope.iter_mut().zip(example.features.0) {
                *slope += error * f64::from(feature);
            }
            slope_bias += error;
        }
        for (weight, slope) in weights.iter_mut().zip(slope) {
            *weight -= RATE * (slope + PENALTY * *weight);
        }
        bias -= RATE * slope_bias;
    }
    Model { weights: weights.map(|weight| weight as f32), bias: bias as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_separates_gets_the_weight() {
        let example = |value: f32, answerable| {
            let mut features = [0.5; FEATURES];
            features[3] = value;
            Example { features: Features(features), answerable, weight: 1.0 }
        };
        let examples: Vec<Example> = (0..20_u8).map(|n| example(f32::from(n) / 20.0, n >= 8)).collect();
        let model = fit(&examples);
        let best = model.weights.iter().copied().fold(f32::MIN, f32::max);
        assert!((model.weights[3] - best).abs() < f32::EPSILON, "{model:?}");
        let probability = |value| model.probability(&example(value, true).features);
        assert!(probability(0.9) > 0.7 && probability(0.05) < 0.3, "{model:?}");
    }
}
