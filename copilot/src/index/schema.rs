//! Fields of the index.

use tantivy::schema::{FAST, Field, INDEXED, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions};

/// Raised with every change of the fields or of what is written to them: a reader refuses any other.
pub const VERSION: u32 = 3;

/// Name of the file beside tantivy's that holds [`crate::index::lexicon::Lexicon`].
pub const LEXICON_FILE: &str = "lexicon.json";

/// The fields that are searched, in the order of [`Fields::searched`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Searched {
    /// Prose, stemmed, with positions.
    BodyStem = 0,
    /// Prose as written.
    Body = 1,
    /// The section's own heading, stemmed, with positions.
    Title = 2,
    /// The page's title, the headings above and the words of the URL, stemmed.
    Path = 3,
    /// Words of code blocks as written.
    Code = 4,
    /// Whole identifiers of prose, headings and code.
    Identifier = 5,
}

/// Number of searched fields.
pub const SEARCHED: usize = 6;

/// Handles of all fields.
#[derive(Debug, Clone, Copy)]
pub struct Fields {
    /// Searched fields, by [`Searched`].
    pub searched: [Field; SEARCHED],
    /// The chunk itself, as JSON.
    pub record: Field,
    /// Number of the page in the corpus.
    pub page: Field,
    /// Factor on the score.
    pub boost: Field,
    /// [`crate::index::traits::Traits`] of the section.
    pub traits: Field,
    /// Index in the lexicon's list of sections; 0 for none.
    pub section: Field,
}

/// The schema and its handles.
#[must_use]
pub fn schema() -> (Schema, Fields) {
    let mut builder = Schema::builder();
    let mut text = |name: &str, option| {
        let indexing = TextFieldIndexing::default().set_tokenizer("raw").set_index_option(option).set_fieldnorms(true);
        builder.add_text_field(name, TextOptions::default().set_indexing_options(indexing))
    };
    let searched = [
        text("body_stem", IndexRecordOption::WithFreqsAndPositions),
        text("body", IndexRecordOption::WithFreqs),
        text("title", IndexRecordOption::WithFreqsAndPositions),
        text("path", IndexRecordOption::WithFreqs),
        text("code", IndexRecordOption::WithFreqs),
        text("identifier", IndexRecordOption::WithFreqs),
    ];
    let record = builder.add_bytes_field("record", STORED);
    let page = builder.add_u64_field("page", FAST | INDEXED);
    let boost = builder.add_f64_field("boost", FAST);
    let traits = builder.add_u64_field("traits", FAST);
    let section = builder.add_u64_field("section", FAST);
    (builder.build(), Fields { searched, record, page, boost, traits, section })
}
