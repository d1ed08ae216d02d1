//! Latent semantics of the corpus itself: sections and words as points of one space, in which words lie near each other that
//! stand in the same sections. Learned when the index is built, from nothing but the documents.

mod learn;
mod store;

pub use learn::learn;
pub use store::{MEANING_FILE, MeaningFault};

/// Dimensions of the space, at most.
pub const DIMENSIONS: usize = 64;
/// Words that have a place in it, at most: the most frequent.
pub const MOST_TERMS: usize = 32_768;
/// Fewer sections than these have no latent semantics worth the name.
const FEWEST_SECTIONS: usize = 64;

/// The space: unit vectors of sections, and of words with their weight. Empty for a corpus that is too small for one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Meaning {
    dimensions: usize,
    /// Stems in order.
    terms: Vec<Box<str>>,
    /// What one step of each stem's numbers is worth.
    scales: Vec<f32>,
    /// Numbers of the stems.
    words: Vec<i8>,
    /// Numbers of the sections.
    sections: Vec<i8>,
    /// One over the length of each section's vector.
    norms: Vec<f32>,
}

impl Meaning {
    /// Where a text of these stems lies; `None` when the space knows none of them.
    #[must_use]
    pub fn fold_in<'a>(&self, stems: impl Iterator<Item = &'a str>) -> Option<[f32; DIMENSIONS]> {
        let mut place = [0.0_f32; DIMENSIONS];
        let mut known = false;
        for stem in stems {
            let Ok(at) = self.terms.binary_search_by(|term| (**term).cmp(stem)) else { continue };
            known = true;
            for (sum, step) in place.iter_mut().zip(row(&self.words, at, self.dimensions)) {
                *sum += f32::from(*step) * self.scales[at];
            }
        }
        let length = place.iter().map(|x| x * x).sum::<f32>().sqrt();
        if !known || length <= f32::EPSILON {
            return None;
        }
        place.iter_mut().for_each(|x| *x /= length);
        Some(place)
    }

    /// Cosine of every section with a place.
    #[must_use]
    pub fn likeness(&self, place: &[f32; DIMENSIONS]) -> Vec<f32> {
        // Whole numbers are added faster than fractions, and to the same sum in any order.
        let steps = place.map(|x| i32::from(quantised(x, 1.0 / f32::from(i8::MAX))));
        let length = steps.iter().map(|x| x * x).sum::<i32>();
        #[expect(clippy::cast_precision_loss, reason = "at most 64 times 127 squared")]
        let scale = 1.0 / (length.max(1) as f32).sqrt();
        let steps = &steps[..self.dimensions.min(DIMENSIONS)];
        let cosine = |(section, norm): (&[i8], &f32)| {
            let sum: i32 = section.iter().zip(steps).map(|(a, b)| i32::from(*a) * b).sum();
            #[expect(clippy::cast_precision_loss, reason = "at most 64 times 127 squared")]
            let sum = sum as f32;
            sum * norm * scale
        };
        self.sections.chunks_exact(self.dimensions.max(1)).zip(&self.norms).map(cosine).collect()
    }

    /// Whether there is no space.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dimensions == 0
    }
}

fn row(numbers: &[i8], at: usize, dimensions: usize) -> &[i8] {
    numbers.get(at * dimensions..(at + 1) * dimensions).unwrap_or_default()
}

/// A number in steps of `step`.
#[expect(clippy::cast_possible_truncation, reason = "the value is clamped to the range first")]
fn quantised(value: f32, step: f32) -> i8 {
    if step > 0.0 { (value / step).round().clamp(-127.0, 127.0) as i8 } else { 0 }
}

/// One over the length of each row; 0 for a row of zeros.
fn norms(numbers: &[i8], dimensions: usize) -> Vec<f32> {
    let norm = |row: &[i8]| {
        let squares: i32 = row.iter().map(|x| i32::from(*x) * i32::from(*x)).sum();
        #[expect(clippy::cast_precision_loss, reason = "at most 64 times 127 squared")]
        if squares == 0 { 0.0 } else { 1.0 / (squares as f32).sqrt() }
    };
    numbers.chunks_exact(dimensions.max(1)).map(norm).collect()
}

#[cfg(test)]
mod tests;
