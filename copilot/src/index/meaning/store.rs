//! The space as a file of the index. What is read comes from elsewhere and is not believed.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use super::{DIMENSIONS, MOST_TERMS, Meaning, norms};

/// Name of the file, beside tantivy's.
pub const MEANING_FILE: &str = "meaning.bin";
const MAGIC: &[u8; 8] = b"dgmean01";
/// Longest stem, in bytes.
const LONGEST: usize = 96;

/// Why the file is refused.
#[derive(Debug, thiserror::Error)]
pub enum MeaningFault {
    /// It cannot be read.
    #[error("{MEANING_FILE}: {0}")]
    Io(#[from] io::Error),
    /// It is not what the writer writes.
    #[error("{MEANING_FILE} is damaged: {0}")]
    Damaged(&'static str),
}

impl Meaning {
    /// The file's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for count in [self.dimensions, self.terms.len(), self.norms.len()] {
            bytes.extend(u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
        }
        for (term, scale) in self.terms.iter().zip(&self.scales) {
            bytes.push(u8::try_from(term.len()).unwrap_or(0));
            bytes.extend(term.as_bytes());
            bytes.extend(scale.to_le_bytes());
        }
        bytes.extend(self.words.iter().chain(&self.sections).map(|number| number.to_le_bytes()[0]));
        bytes
    }

    /// Reads the file of an index of `sections` sections, which bounds what it may hold.
    ///
    /// # Errors
    /// [`MeaningFault`].
    pub fn open(dir: &Path, sections: usize) -> Result<Self, MeaningFault> {
        let path = dir.join(MEANING_FILE);
        let longest = 20 + MOST_TERMS * (1 + LONGEST + 4 + DIMENSIONS) + sections.saturating_mul(DIMENSIONS);
        if fs::metadata(&path)?.len() > longest as u64 {
            return Err(MeaningFault::Damaged("it is larger than its index can need"));
        }
        let mut bytes = Vec::new();
        File::open(&path)?.take(longest as u64).read_to_end(&mut bytes)?;
        Self::from_bytes(&bytes, sections)
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// [`MeaningFault::Damaged`].
    pub fn from_bytes(bytes: &[u8], sections: usize) -> Result<Self, MeaningFault> {
        let mut rest = Rest(bytes);
        if rest.take(MAGIC.len())? != MAGIC {
            return Err(MeaningFault::Damaged("it does not begin as one"));
        }
        let (dimensions, count, of_sections) = (rest.count()?, rest.count()?, rest.count()?);
        if dimensions == 0 && count == 0 && of_sections == 0 && rest.0.is_empty() {
            return Ok(Self::default());
        }
        if !(1..=DIMENSIONS).contains(&dimensions) || count > MOST_TERMS || of_sections != sections {
            return Err(MeaningFault::Damaged("its counts are not those of its index"));
        }
        let (mut terms, mut scales): (Vec<Box<str>>, Vec<f32>) = Default::default();
        for _ in 0..count {
            let length = usize::from(rest.take(1)?[0]);
            let term = std::str::from_utf8(rest.take(length)?).ok().filter(|term| term.len() <= LONGEST);
            let term = term.ok_or(MeaningFault::Damaged("a word is none"))?;
            if terms.last().is_some_and(|last| **last >= *term) {
                return Err(MeaningFault::Damaged("its words are out of order"));
            }
            let scale = f32::from_le_bytes(rest.array()?);
            if !(0.0..=1e6).contains(&scale) {
                return Err(MeaningFault::Damaged("a weight is none"));
            }
            terms.push(term.into());
            scales.push(scale);
        }
        let numbers = |bytes: &[u8]| bytes.iter().map(|byte| i8::from_le_bytes([*byte])).collect::<Vec<i8>>();
        let words = numbers(rest.take(count * dimensions)?);
        let sections = numbers(rest.take(sections.saturating_mul(dimensions))?);
        if !rest.0.is_empty() {
            return Err(MeaningFault::Damaged("there is more in it than it says"));
        }
        let norms = norms(&sections, dimensions);
        Ok(Self { dimensions, terms, scales, words, sections, norms })
    }
}

/// Bytes that are not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], MeaningFault> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(MeaningFault::Damaged("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array(&mut self) -> Result<[u8; 4], MeaningFault> {
        self.take(4)?.try_into().map_err(|_| MeaningFault::Damaged("it ends too early"))
    }

    fn count(&mut self) -> Result<usize, MeaningFault> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }
}
