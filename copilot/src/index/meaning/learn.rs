//! Sections → the space: tf-idf of stems, and its truncated singular value decomposition by subspace iteration.
//!
//! The small symmetric eigenproblems are nalgebra's; products with the sparse matrix are ours, one after the other, so that the
//! same sections give the same bytes.

use std::collections::{BTreeMap, HashMap};

use nalgebra::{DMatrix, SymmetricEigen};

use super::{DIMENSIONS, FEWEST_SECTIONS, MOST_TERMS, Meaning, norms, quantised};
use crate::index::{chunk::Chunk, language::Language, tokenizer};

/// Directions beyond those that are kept, for accuracy.
const MORE: usize = 8;
/// Rounds of the iteration: more change nothing that survives eight bits.
const ROUNDS: usize = 3;
/// Sections that a stem must stand in.
const LEAST_SECTIONS: u32 = 2;
/// A stem that stands in more than one of these many sections says nothing.
const MOST_SHARE: usize = 4;
/// Words for which a small corpus has room in any case.
const ROOM: usize = 4_096;

/// Learns the space of these sections.
#[must_use]
pub fn learn(chunks: &[Chunk], language: Language) -> Meaning {
    if chunks.len() < FEWEST_SECTIONS {
        return Meaning::default();
    }
    let (terms, matrix) = Matrix::of(chunks, language);
    if terms.len() <= DIMENSIONS + MORE {
        return Meaning::default();
    }
    let wide = DIMENSIONS + MORE;
    let mut words = beginning(terms.len(), wide);
    for _ in 0..ROUNDS {
        let mut sections = matrix.times(&words, wide);
        orthonormalise(&mut sections, wide);
        words = matrix.transposed_times(&sections, wide);
        orthonormalise(&mut words, wide);
    }
    let sections = matrix.times(&words, wide);
    let turn = principal(&sections, wide);
    let words = turned(&words, &turn, wide);
    let sections = turned(&sections, &turn, wide);
    let weight = |(row, idf): (&[f32], &f32)| row.iter().map(|x| x * idf).collect::<Vec<f32>>();
    let words: Vec<Vec<f32>> = words.chunks_exact(DIMENSIONS).zip(&matrix.idf).map(weight).collect();
    let scales: Vec<f32> = words.iter().map(|row| largest(row) / f32::from(i8::MAX)).collect();
    let steps = |(row, step): (&[f32], f32)| row.iter().map(|x| quantised(*x, step)).collect::<Vec<i8>>();
    let words = words.iter().zip(&scales).flat_map(|(row, step)| steps((row, *step))).collect();
    let sections: Vec<i8> =
        sections.chunks_exact(DIMENSIONS).flat_map(|row| steps((row, largest(row) / f32::from(i8::MAX)))).collect();
    let norms = norms(&sections, DIMENSIONS);
    Meaning { dimensions: DIMENSIONS, terms, scales, words, sections, norms }
}

fn largest(row: &[f32]) -> f32 {
    row.iter().fold(0.0, |most, x| most.max(x.abs()))
}

/// Sections by stems, sparse, each row of length one.
struct Matrix {
    /// Stems of all sections, one after the other, with their weights.
    entries: Vec<(u32, f32)>,
    /// Where each section's entries end.
    ends: Vec<usize>,
    idf: Vec<f32>,
}

impl Matrix {
    fn of(chunks: &[Chunk], language: Language) -> (Vec<Box<str>>, Self) {
        let stemmer = language.stemmer();
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let mut stems: HashMap<String, u32> = HashMap::new();
        let mut sections: Vec<BTreeMap<u32, u32>> = Vec::with_capacity(chunks.len());
        let mut frequency: Vec<u32> = Vec::new();
        for chunk in chunks {
            let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
            let text = format!("{}\n{}", chunk.heading_path.join("\n"), chunk.body());
            for word in tokenizer::tokenize(&text).words {
                let stem = *stems.entry(word.text).or_insert_with_key(|word| {
                    let stem = stemmer.as_ref().map_or_else(|| word.clone(), |s| s.stem(word).into_owned());
                    let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
                    *numbers.entry(stem).or_insert(next)
                });
                *counts.entry(stem).or_default() += 1;
            }
            frequency.resize(numbers.len(), 0);
            counts.keys().for_each(|stem| frequency[*stem as usize] += 1);
            sections.push(counts);
        }
        let most = u32::try_from(chunks.len() / MOST_SHARE).unwrap_or(u32::MAX).max(LEAST_SECTIONS);
        let mut kept: Vec<(&str, u32)> = numbers
            .iter()
            .filter(|(stem, number)| {
                (LEAST_SECTIONS..=most).contains(&frequency[**number as usize]) && stem.chars().any(char::is_alphabetic)
            })
            .map(|(stem, number)| (stem.as_str(), *number))
            .collect();
        kept.sort_unstable_by(|a, b| frequency[b.1 as usize].cmp(&frequency[a.1 as usize]).then(a.0.cmp(b.0)));
        kept.truncate(chunks.len().clamp(ROOM, MOST_TERMS));
        kept.sort_unstable();
        let mut column = vec![u32::MAX; numbers.len()];
        let mut idf = Vec::with_capacity(kept.len());
        #[expect(clippy::cast_precision_loss, reason = "logarithms need no more digits")]
        for (at, (_, number)) in (0..).zip(&kept) {
            column[*number as usize] = at;
            idf.push((chunks.len() as f32 / frequency[*number as usize] as f32).ln());
        }
        let mut matrix = Self { entries: Vec::new(), ends: Vec::with_capacity(chunks.len()), idf };
        for counts in &sections {
            matrix.add(counts, &column);
        }
        (kept.into_iter().map(|(stem, _)| stem.into()).collect(), matrix)
    }

    fn add(&mut self, counts: &BTreeMap<u32, u32>, column: &[u32]) {
        let start = self.entries.len();
        for (stem, count) in counts {
            let at = column[*stem as usize];
            if at != u32::MAX {
                #[expect(clippy::cast_precision_loss, reason = "counts of words in a section are small")]
                let weight = (1.0 + (*count as f32).ln()) * self.idf[at as usize];
                self.entries.push((at, weight));
            }
        }
        let row = self.entries.get_mut(start..).unwrap_or_default();
        row.sort_unstable_by_key(|(at, _)| *at);
        let length = row.iter().map(|(_, x)| x * x).sum::<f32>().sqrt();
        row.iter_mut().for_each(|(_, x)| *x /= length.max(f32::EPSILON));
        self.ends.push(self.entries.len());
    }

    fn rows(&self) -> impl Iterator<Item = &[(u32, f32)]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.entries[start..*end])
    }

    /// The matrix times a dense one of `wide` columns, which has a row for each stem.
    fn times(&self, dense: &[f32], wide: usize) -> Vec<f32> {
        let mut out = vec![0.0; self.ends.len() * wide];
        for (sum, entries) in out.chunks_exact_mut(wide).zip(self.rows()) {
            for (at, weight) in entries {
                add(sum, &dense[*at as usize * wide..][..wide], *weight);
            }
        }
        out
    }

    /// The transposed matrix times a dense one, which has a row for each section.
    fn transposed_times(&self, dense: &[f32], wide: usize) -> Vec<f32> {
        let mut out = vec![0.0; self.idf.len() * wide];
        for (row, entries) in dense.chunks_exact(wide).zip(self.rows()) {
            for (at, weight) in entries {
                add(&mut out[*at as usize * wide..][..wide], row, *weight);
            }
        }
        out
    }
}

fn add(sum: &mut [f32], row: &[f32], weight: f32) {
    for (sum, x) in sum.iter_mut().zip(row) {
        *sum += x * weight;
    }
}

/// Numbers without a pattern, the same ones every time (splitmix64).
fn beginning(rows: usize, wide: usize) -> Vec<f32> {
    let mut state = 0_u64;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        #[expect(clippy::cast_precision_loss, reason = "any number will do")]
        let number = ((z ^ (z >> 31)) >> 40) as f32 / (1_u64 << 23) as f32 - 1.0;
        number
    };
    (0..rows * wide).map(|_| next()).collect()
}

/// Products of the columns with each other.
fn gram(dense: &[f32], wide: usize) -> DMatrix<f64> {
    let mut products = vec![0.0_f64; wide * wide];
    for row in dense.chunks_exact(wide) {
        for (a, sums) in row.iter().zip(products.chunks_exact_mut(wide)) {
            for (b, sum) in row.iter().zip(sums) {
                *sum += f64::from(*a) * f64::from(*b);
            }
        }
    }
    DMatrix::from_row_slice(wide, wide, &products)
}

/// Directions in which the rows are spread, the widest first, with the square of their extent. A direction's sign is chosen: it
/// is arbitrary, and must be the same every time.
fn spread(dense: &[f32], wide: usize) -> Vec<(f64, Vec<f64>)> {
    let eigen = SymmetricEigen::new(gram(dense, wide));
    let mut directions: Vec<(f64, Vec<f64>)> = eigen
        .eigenvalues
        .iter()
        .zip(eigen.eigenvectors.column_iter())
        .map(|(value, vector)| (*value, vector.iter().copied().collect()))
        .collect();
    directions.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (_, direction) in &mut directions {
        let widest = direction.iter().copied().fold(0.0_f64, |most, x| if x.abs() > most.abs() { x } else { most });
        if widest < 0.0 {
            direction.iter_mut().for_each(|x| *x = -*x);
        }
    }
    directions
}

/// Makes the columns orthonormal; those that depend on others become zero.
fn orthonormalise(dense: &mut [f32], wide: usize) {
    let directions = spread(dense, wide);
    let most = directions.first().map_or(0.0, |(value, _)| *value);
    let scaled: Vec<Vec<f64>> = directions
        .into_iter()
        .map(|(value, direction)| {
            let scale = if value > most * 1e-10 { value.sqrt().recip() } else { 0.0 };
            direction.into_iter().map(|x| x * scale).collect()
        })
        .collect();
    for row in dense.chunks_exact_mut(wide) {
        let new = product(row, &scaled);
        row.copy_from_slice(&new);
    }
}

/// The directions that are kept.
fn principal(sections: &[f32], wide: usize) -> Vec<Vec<f64>> {
    spread(sections, wide).into_iter().take(DIMENSIONS).map(|(_, direction)| direction).collect()
}

fn turned(dense: &[f32], directions: &[Vec<f64>], wide: usize) -> Vec<f32> {
    dense.chunks_exact(wide).flat_map(|row| product(row, directions)).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "the digits of an f32 are kept")]
fn product(row: &[f32], directions: &[Vec<f64>]) -> Vec<f32> {
    directions.iter().map(|d| row.iter().zip(d).map(|(a, b)| f64::from(*a) * b).sum::<f64>() as f32).collect()
}
