//! Chunks → one tantivy segment, with the same bytes for the same chunks.

use std::{collections::HashMap, fs, io, path::Path};

use sha2::{Digest, Sha256};
use tantivy::{
    Index, SingleSegmentIndexWriter, TantivyDocument,
    directory::MmapDirectory,
    tokenizer::{PreTokenizedString, Token},
};

use super::{
    chunk::Chunk,
    language::Language,
    lexicon::Lexicon,
    meaning::{self, MEANING_FILE},
    schema::{self, LEXICON_FILE, SEARCHED, Searched},
    tokenizer::{self, Tokens, Word},
    traits::Traits,
};

/// Memory that tantivy plans with; it takes more for a larger corpus rather than cutting a second segment.
const MEMORY_BYTES: usize = 64 << 20;

/// Gap between a heading and what follows, so that no phrase spans them.
const GAP: usize = 16;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterSummary {
    /// Chunks.
    pub documents: u64,
    /// Distinct pages.
    pub pages: u64,
    /// Words and identifiers over all fields.
    pub tokens: u64,
    /// Bytes of all files in the directory.
    pub bytes: u64,
}

/// Why an index could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteFault {
    /// The library refused.
    #[error("tantivy could not write the index: {0}")]
    Tantivy(#[from] tantivy::TantivyError),
    /// The directory cannot be opened for an index.
    #[error("the index directory cannot be used: {0}")]
    Directory(#[from] tantivy::directory::error::OpenDirectoryError),
    /// A file could not be written, read or renamed.
    #[error("the index directory cannot be written: {0}")]
    Io(#[from] io::Error),
    /// A chunk or the list of files could not be turned into JSON or back.
    #[error("a file of the index is not what was written: {0}")]
    Json(#[from] serde_json::Error),
    /// Nothing to index.
    #[error("there is nothing to index: no page has a section with text")]
    Empty,
}

/// Writes `chunks` to the empty directory `dir` as an index of a single segment, with its lexicon beside it.
///
/// # Errors
/// [`WriteFault`]; the directory then holds nothing of use.
pub fn write(dir: &Path, chunks: &[Chunk], language: Language) -> Result<WriterSummary, WriteFault> {
    if chunks.is_empty() {
        return Err(WriteFault::Empty);
    }
    let lexicon = Lexicon::learn(chunks, language);
    let (schema, fields) = schema::schema();
    let mut writer: SingleSegmentIndexWriter =
        Index::builder().schema(schema).single_segment_index_writer(MmapDirectory::open(dir)?, MEMORY_BYTES)?;
    let stemmer = language.stemmer();
    let mut pages: HashMap<&str, u64> = HashMap::new();
    let mut tokens = 0;
    for chunk in chunks {
        let next = pages.len() as u64;
        let page = *pages.entry(chunk.page_url.as_str()).or_insert(next);
        let mut document = TantivyDocument::default();
        for (field, text) in fields.searched.into_iter().zip(streams(chunk, stemmer.as_ref())) {
            tokens += text.len() as u64;
            document.add_pre_tokenized_text(field, PreTokenizedString { text: String::new(), tokens: text });
        }
        document.add_bytes(fields.record, &serde_json::to_vec(chunk)?);
        document.add_u64(fields.page, page);
        document.add_f64(fields.boost, f64::from(chunk.boost));
        document.add_u64(fields.traits, Traits::of(chunk).bits());
        document.add_u64(fields.section, lexicon.section(chunk.section.as_deref()));
        writer.add_document(document)?;
    }
    writer.finalize()?;
    fs::write(dir.join(LEXICON_FILE), serde_json::to_vec_pretty(&lexicon)?)?;
    fs::write(dir.join(MEANING_FILE), meaning::learn(chunks, language).to_bytes())?;
    name_after_content(dir)?;
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(WriterSummary { documents: chunks.len() as u64, pages: pages.len() as u64, tokens, bytes })
}

/// The tokens of each searched field.
fn streams(chunk: &Chunk, stemmer: Option<&frostem::Stemmer>) -> [Vec<Token>; SEARCHED] {
    let mut streams: [Vec<Token>; SEARCHED] = Default::default();
    let mut identifiers =
        |found: &Tokens| append(&mut streams[Searched::Identifier as usize], &found.identifiers, None);
    let body = tokenizer::tokenize(&chunk.body());
    let code = tokenizer::tokenize(&chunk.code());
    let title = tokenizer::tokenize(chunk.heading());
    for found in [&title, &body, &code] {
        identifiers(found);
    }
    append(&mut streams[Searched::BodyStem as usize], &body.words, stemmer);
    append(&mut streams[Searched::Body as usize], &body.words, None);
    append(&mut streams[Searched::Title as usize], &title.words, stemmer);
    append(&mut streams[Searched::Code as usize], &code.words, None);
    let above = chunk.heading_path.split_last().map_or(&[][..], |(_, above)| above);
    let path = &mut streams[Searched::Path as usize];
    if above.first() != Some(&chunk.page_title) {
        append(path, &tokenizer::tokenize(&chunk.page_title).words, stemmer);
    }
    for heading in above {
        append(path, &tokenizer::tokenize(heading).words, stemmer);
    }
    append(path, &tokenizer::tokenize(&url_words(&chunk.page_url)).words, stemmer);
    streams
}

/// The words of the URL's last two segments, which authors choose with care.
fn url_words(page_url: &str) -> String {
    let path = page_url.split_once("://").map_or(page_url, |(_, rest)| rest);
    let path = path.split_once('/').map_or("", |(_, path)| path);
    let mut segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let last = segments.split_off(segments.len().saturating_sub(2));
    last.join(" ").replace(['-', '_', '.'], " ")
}

fn append(stream: &mut Vec<Token>, words: &[Word], stemmer: Option<&frostem::Stemmer>) {
    let base = stream.last().map_or(0, |token| token.position + GAP);
    for word in words {
        let text = stemmer.map_or_else(|| word.text.clone(), |stemmer| stemmer.stem(&word.text).into_owned());
        stream.push(Token {
            offset_from: word.range.start,
            offset_to: word.range.end,
            position: base + word.position,
            text,
            position_length: 1,
        });
    }
}

/// tantivy names a segment's files at random; a name made of their content makes equal input give equal bytes.
fn name_after_content(dir: &Path) -> Result<(), WriteFault> {
    let meta_file = dir.join("meta.json");
    let meta = fs::read_to_string(&meta_file)?;
    let parsed: serde_json::Value = serde_json::from_str(&meta)?;
    let Some(id) = parsed["segments"][0]["segment_id"].as_str().map(str::to_owned) else {
        return Err(WriteFault::Io(io::Error::other("meta.json names no segment")));
    };
    let random = id.replace('-', "");
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(ending) = name.strip_prefix(&random) {
            files.push(ending.to_owned());
        } else if name.starts_with('.') {
            // Lock and list of managed files: of use to a writer only, and there will be none.
            fs::remove_file(dir.join(name))?;
        }
    }
    files.sort();
    let mut hasher = Sha256::new();
    for ending in &files {
        hasher.update(ending.as_bytes());
        hasher.update(fs::read(dir.join(format!("{random}{ending}")))?);
    }
    let digest = hasher.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    let chosen = uuid::Builder::from_custom_bytes(bytes).into_uuid();
    for ending in &files {
        let name = chosen.simple();
        fs::rename(dir.join(format!("{random}{ending}")), dir.join(format!("{name}{ending}")))?;
    }
    fs::write(&meta_file, meta.replace(&id, &chosen.to_string()).replace(&random, &chosen.simple().to_string()))?;
    Ok(())
}

#[cfg(test)]
mod tests;
