//! What is measured of a ranking, and how sure the numbers are.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// Rank that most measures look down to.
const K: usize = 10;
/// Resamples of an interval.
const RESAMPLES: usize = 2000;

/// Measures of one query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Normalised discounted cumulative gain at 10.
    pub ndcg: f64,
    /// Average precision over the whole ranking.
    pub map: f64,
    /// Reciprocal rank at 10.
    pub mrr: f64,
    /// Recall at 10.
    pub recall: f64,
    /// A relevant document is first.
    pub success_1: f64,
    /// A relevant document is among the first five.
    pub success_5: f64,
}

/// Names of the measures in the order of [`Measures::values`].
pub const NAMES: [&str; 6] = ["nDCG@10", "MAP", "MRR@10", "recall@10", "success@1", "success@5"];

impl Measures {
    /// Of a ranking, best first, against the judged documents and their grades.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "ranks and counts are small")]
    pub fn of(ranking: &[String], relevant: &HashMap<String, f64>) -> Self {
        let grade = |id: &String| relevant.get(id).copied().unwrap_or(0.0);
        let discount = |place: usize| 1.0 / ((place + 2) as f64).log2();
        let gain = |grades: &mut dyn Iterator<Item = f64>| -> f64 {
            grades.take(K).enumerate().map(|(place, grade)| grade * discount(place)).sum()
        };
        let mut ideal: Vec<f64> = relevant.values().copied().filter(|grade| *grade > 0.0).collect();
        ideal.sort_by(|a, b| b.total_cmp(a));
        let count = ideal.len();
        if count == 0 {
            return Self::default();
        }
        let hits: Vec<usize> =
            ranking.iter().enumerate().filter(|(_, id)| grade(id) > 0.0).map(|(place, _)| place).collect();
        let precision: f64 = hits.iter().enumerate().map(|(nth, place)| (nth + 1) as f64 / (place + 1) as f64).sum();
        let first = hits.first().copied();
        let within = |rank: usize| if first.is_some_and(|place| place < rank) { 1.0 } else { 0.0 };
        Self {
            ndcg: gain(&mut ranking.iter().map(grade)) / gain(&mut ideal.into_iter()),
            map: precision / count as f64,
            mrr: first.filter(|place| *place < K).map_or(0.0, |place| 1.0 / (place + 1) as f64),
            recall: hits.iter().filter(|place| **place < K).count() as f64 / count as f64,
            success_1: within(1),
            success_5: within(5),
        }
    }

    /// The numbers in the order of [`NAMES`].
    #[must_use]
    pub fn values(&self) -> [f64; 6] {
        [self.ndcg, self.map, self.mrr, self.recall, self.success_1, self.success_5]
    }
}

/// A mean over queries, with its 95 % bootstrap confidence interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Estimates the mean of `values` by the bootstrap; the same values always give the same interval.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of queries are small")]
pub fn estimate(values: &[f64]) -> Estimate {
    if values.is_empty() {
        return Estimate::default();
    }
    let count = values.len();
    let mean = |sum: f64| sum / count as f64;
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut means: Vec<f64> =
        (0..RESAMPLES).map(|_| mean((0..count).map(|_| values[random.below(count)]).sum())).collect();
    means.sort_by(f64::total_cmp);
    Estimate {
        mean: mean(values.iter().sum()),
        low: means[RESAMPLES / 40],
        high: means[RESAMPLES - RESAMPLES / 40 - 1],
    }
}

/// SplitMix64: small, seeded, good enough to draw queries with.
struct Random(u64);

impl Random {
    #[expect(clippy::cast_possible_truncation, reason = "the remainder is below a usize")]
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measures(ranking: &[&str], relevant: &[&str]) -> Measures {
        let ranking: Vec<String> = ranking.iter().map(|id| (*id).to_owned()).collect();
        Measures::of(&ranking, &relevant.iter().map(|id| ((*id).to_owned(), 1.0)).collect())
    }

    #[test]
    fn measures_agree_with_hand_calculation() {
        let perfect = measures(&["a", "b", "x"], &["a", "b"]);
        assert_eq!(perfect.values(), [1.0; 6]);
        let second = measures(&["x", "a", "y", "b"], &["a", "b"]);
        assert!((second.mrr - 0.5).abs() < 1e-9 && (second.map - 0.5).abs() < 1e-9);
        let expected = (1.0 / 3_f64.log2() + 1.0 / 5_f64.log2()) / (1.0 + 1.0 / 3_f64.log2());
        assert!((second.ndcg - expected).abs() < 1e-9);
        assert_eq!((second.success_1, second.success_5, second.recall), (0.0, 1.0, 1.0));
        assert_eq!(measures(&[], &["a"]).values(), [0.0; 6]);
    }

    #[test]
    fn an_interval_holds_its_mean_and_repeats() {
        let values: Vec<f64> = (0..100).map(|n| f64::from(n % 10) / 10.0).collect();
        let one = estimate(&values);
        assert!(one.low < one.mean && one.mean < one.high && one.high - one.low < 0.2);
        assert_eq!(one, estimate(&values));
    }
}
