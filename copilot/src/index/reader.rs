//! An index opened for searching: immutable, shared, warmed before anybody sees it.

mod similar;

pub use similar::{Neighbours, Walk};

use std::{collections::HashMap, fs, io, path::Path, sync::Arc};

use tantivy::{
    DocId, Index, InvertedIndexReader, ReloadPolicy, Searcher, Term,
    fieldnorm::FieldNormReader,
    postings::SegmentPostings,
    schema::{IndexRecordOption, Value},
};

use super::{
    chunk::Chunk,
    lexicon::Lexicon,
    meaning::{Meaning, MeaningFault},
    schema::{self, Fields, LEXICON_FILE, SEARCHED, Searched},
    tokenizer,
    traits::Traits,
};

/// Largest lexicon that is read.
const MAX_LEXICON_BYTES: u64 = 8 << 20;

/// Why an index cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenFault {
    /// The library refused.
    #[error("the index cannot be opened: {0}")]
    Tantivy(#[from] tantivy::TantivyError),
    /// A file is missing or cannot be read.
    #[error("the index cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The lexicon or a record is not what the writer writes.
    #[error("a file of the index is damaged: {0}")]
    Json(#[from] serde_json::Error),
    /// The latent semantics are not what the writer writes.
    #[error("the index cannot be read: {0}")]
    Meaning(#[from] MeaningFault),
    /// Written by another version.
    #[error("the index has {what} version {found}, this program reads version {expected}: build the index again")]
    Version {
        /// Schema or tokenizer.
        what: &'static str,
        /// In the index.
        found: u32,
        /// In this program.
        expected: u32,
    },
    /// The fields are not ours, or there is more than one segment.
    #[error("the index is not of one segment with the fields of this program")]
    Foreign,
}

/// One corpus, ready to be searched.
pub struct LoadedIndex {
    /// Name of the corpus.
    pub corpus: String,
    /// Version of the artifact, as every response names it.
    pub version: String,
    /// What the corpus taught about its words.
    pub lexicon: Lexicon,
    /// Page of each document.
    pub pages: Vec<u32>,
    /// Factor on each document's score.
    pub boosts: Vec<f32>,
    /// What kind of section each document is.
    pub traits: Vec<Traits>,
    /// Section of each document, index in the lexicon's list.
    pub sections: Vec<u32>,
    /// What lies near what in the corpus.
    pub meaning: Meaning,
    fields: Fields,
    searcher: Searcher,
    inverted: [Arc<InvertedIndexReader>; SEARCHED],
    norms: [FieldNormReader; SEARCHED],
}

impl LoadedIndex {
    /// Opens the index in `dir` and reads what every query needs.
    ///
    /// # Errors
    /// [`OpenFault`]: nothing of a doubtful index is served.
    pub fn open(dir: &Path, corpus: &str, version: &str) -> Result<Self, OpenFault> {
        let lexicon_file = dir.join(LEXICON_FILE);
        if fs::metadata(&lexicon_file)?.len() > MAX_LEXICON_BYTES {
            return Err(OpenFault::Foreign);
        }
        let lexicon: Lexicon = serde_json::from_slice(&fs::read(&lexicon_file)?)?;
        for (what, found, expected) in
            [("schema", lexicon.schema, schema::VERSION), ("tokenizer", lexicon.tokenizer, tokenizer::VERSION)]
        {
            if found != expected {
                return Err(OpenFault::Version { what, found, expected });
            }
        }
        let index = Index::open_in_dir(dir)?;
        let (schema, fields) = schema::schema();
        if index.schema() != schema {
            return Err(OpenFault::Foreign);
        }
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let searcher = reader.searcher();
        let [segment] = searcher.segment_readers() else { return Err(OpenFault::Foreign) };
        let mut inverted = Vec::with_capacity(SEARCHED);
        let mut norms = Vec::with_capacity(SEARCHED);
        for field in fields.searched {
            inverted.push(segment.inverted_index(field)?);
            norms.push(segment.get_fieldnorms_reader(field)?);
        }
        let inverted = inverted.try_into().map_err(|_| OpenFault::Foreign)?;
        let norms: [FieldNormReader; SEARCHED] = norms.try_into().map_err(|_| OpenFault::Foreign)?;
        let count = segment.max_doc();
        // What is kept for each document is made by this number, which another file must bear out.
        if norms.iter().any(|norms: &FieldNormReader| norms.num_docs() != count) {
            return Err(OpenFault::Foreign);
        }
        let meaning = Meaning::open(dir, count as usize)?;
        let page = segment.fast_fields().u64("page")?;
        let section = segment.fast_fields().u64("section")?;
        let traits = segment.fast_fields().u64("traits")?;
        let boost = segment.fast_fields().f64("boost")?;
        let narrow = |value: Option<u64>| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
        #[expect(clippy::cast_possible_truncation, reason = "a boost is written from an f32")]
        let boosts = (0..count).map(|doc| boost.first(doc).map_or(1.0, |value| value as f32)).collect();
        Ok(Self {
            corpus: corpus.to_owned(),
            version: version.to_owned(),
            pages: (0..count).map(|doc| narrow(page.first(doc))).collect(),
            traits: (0..count).map(|doc| Traits::from_bits(traits.first(doc).unwrap_or(0))).collect(),
            sections: (0..count).map(|doc| narrow(section.first(doc))).collect(),
            boosts,
            meaning,
            lexicon,
            fields,
            inverted,
            norms,
            searcher,
        })
    }

    /// Number of documents.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// True of an index without documents.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Sum of the lengths of a field over all documents.
    #[must_use]
    pub fn total_tokens(&self, field: Searched) -> u64 {
        self.inverted[field as usize].total_num_tokens()
    }

    /// Length of a field in a document.
    #[must_use]
    pub fn length(&self, field: Searched, doc: DocId) -> u32 {
        self.norms[field as usize].fieldnorm(doc)
    }

    /// Documents that hold `term` in `field`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn doc_freq(&self, field: Searched, term: &str) -> io::Result<u32> {
        self.inverted[field as usize].doc_freq(&self.term(field, term))
    }

    /// Postings of `term` in `field`, with positions when asked for and indexed.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn postings(&self, field: Searched, term: &str, positions: bool) -> io::Result<Option<SegmentPostings>> {
        let option = if positions { IndexRecordOption::WithFreqsAndPositions } else { IndexRecordOption::WithFreqs };
        self.inverted[field as usize].read_postings(&self.term(field, term), option)
    }

    /// Calls `see` with the terms of a field that begin with `prefix`, in order, with their document counts, until it
    /// says false.
    ///
    /// # Errors
    /// When the dictionary cannot be read.
    pub fn terms(&self, field: Searched, prefix: &str, mut see: impl FnMut(&str, u32) -> bool) -> io::Result<()> {
        let mut stream = self.inverted[field as usize].terms().range().ge(prefix).into_stream()?;
        while stream.advance() {
            let Ok(term) = std::str::from_utf8(stream.key()) else { continue };
            if !term.starts_with(prefix) || !see(term, stream.value().doc_freq) {
                break;
            }
        }
        Ok(())
    }

    /// The chunk that a document was made from.
    ///
    /// # Errors
    /// When the store cannot be read or holds something else.
    pub fn chunk(&self, doc: DocId) -> Result<Chunk, OpenFault> {
        let document: HashMap<_, _> = self
            .searcher
            .doc::<tantivy::TantivyDocument>(tantivy::DocAddress::new(0, doc))?
            .field_values()
            .filter_map(|(field, value)| value.as_bytes().map(|bytes| (field, bytes.to_vec())))
            .collect();
        let record = document.get(&self.fields.record).ok_or(OpenFault::Foreign)?;
        Ok(serde_json::from_slice(record)?)
    }

    /// Touches what queries touch, so that the first one does not wait for the disk.
    ///
    /// # Errors
    /// When the index turns out to be unreadable.
    pub fn warm(&self) -> Result<(), OpenFault> {
        for field in [Searched::BodyStem, Searched::Title, Searched::Path, Searched::Code, Searched::Identifier] {
            let mut budget = 2_000;
            self.terms(field, "", |_, _| {
                budget -= 1;
                budget > 0
            })?;
        }
        for doc in [0, self.pages.len() / 2, self.pages.len().saturating_sub(1)] {
            if let Ok(doc) = u32::try_from(doc)
                && !self.is_empty()
            {
                self.chunk(doc)?;
            }
        }
        Ok(())
    }

    fn term(&self, field: Searched, text: &str) -> Term {
        Term::from_field_text(self.fields.searched[field as usize], text)
    }
}

impl std::fmt::Debug for LoadedIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadedIndex")
            .field("corpus", &self.corpus)
            .field("version", &self.version)
            .field("documents", &self.pages.len())
            .finish_non_exhaustive()
    }
}
