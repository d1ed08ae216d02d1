//! Test sets on disk.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, de::DeserializeOwned};
use tantivy::DocId;

use crate::index::{
    block::Block,
    build,
    chunk::Chunk,
    reader::{LoadedIndex, OpenFault},
    site::Site,
};

/// A corpus, queries, and which documents are relevant to which.
#[derive(Debug, Clone)]
pub struct TestSet {
    /// Name of the folder.
    pub name: String,
    /// The corpus.
    pub chunks: Vec<Chunk>,
    /// Text by id.
    pub queries: BTreeMap<String, String>,
    /// Grades by document, by query.
    pub judgements: HashMap<String, HashMap<String, f64>>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "_id")]
    id: String,
    #[serde(default)]
    title: String,
    text: String,
}

#[derive(Deserialize)]
struct Query {
    #[serde(rename = "_id")]
    id: String,
    text: String,
}

impl TestSet {
    /// Reads `corpus.jsonl`, `queries.jsonl` and `qrels.tsv` (or `qrels/test.tsv`) from `folder`. With `docs` the corpus is
    /// that tree of pages, and the judgements name pages by their paths in it.
    ///
    /// # Errors
    /// The file and line that cannot be read.
    pub fn load(folder: &Path, docs: Option<&Path>) -> anyhow::Result<Self> {
        let chunks = match docs {
            Some(docs) => {
                let site = Site::new("https://docs.example/", true).map_err(anyhow::Error::msg)?;
                build::read(&build::Documents::new(docs, &site), |_, _| {})?.chunks
            }
            None => lines(&folder.join("corpus.jsonl"))?.into_iter().map(Document::chunk).collect(),
        };
        let queries: Vec<Query> = lines(&folder.join("queries.jsonl"))?;
        let judged = ["qrels.tsv", "qrels/test.tsv"].map(|name| folder.join(name));
        let Some(judged) = judged.iter().find(|file| file.is_file()) else {
            bail!("{}: expected qrels.tsv or qrels/test.tsv", folder.display());
        };
        let mut judgements: HashMap<String, HashMap<String, f64>> = HashMap::new();
        let text = fs::read_to_string(judged).with_context(|| judged.display().to_string())?;
        for (number, line) in (1..).zip(text.lines()).skip(1).filter(|(_, line)| !line.trim().is_empty()) {
            let columns: Vec<&str> = line.split('\t').collect();
            let grade = columns.get(2).and_then(|grade| grade.trim().parse::<f64>().ok());
            let (Some(grade), [query, document, ..]) = (grade, columns.as_slice()) else {
                bail!("{} line {number}: expected query, document and grade, separated by tabs", judged.display());
            };
            if grade > 0.0 {
                judgements.entry((*query).to_owned()).or_default().insert((*document).to_owned(), grade);
            }
        }
        let name = folder.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        Ok(Self {
            name: name.unwrap_or_else(|| folder.display().to_string()),
            chunks,
            queries: queries.into_iter().map(|query| (query.id, query.text)).collect(),
            judgements,
        })
    }

    /// The same set for plain BM25: title and text in one field, no pages, no headings.
    #[must_use]
    pub fn in_one_field(&self) -> Self {
        let chunk = |chunk: &Chunk| {
            let title = chunk.heading_path.first().cloned().unwrap_or_default();
            Chunk {
                blocks: vec![Block::paragraph(&format!("{title}\n\n{}\n\n{}", chunk.body(), chunk.code()))],
                url: chunk.url.clone(),
                source_path: chunk.source_path.clone(),
                boost: 1.0,
                ..Chunk::default()
            }
        };
        Self { chunks: self.chunks.iter().map(chunk).collect(), ..self.clone() }
    }

    /// The set's id of an indexed document.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn id_of(&self, index: &LoadedIndex, doc: DocId) -> Result<String, OpenFault> {
        match self.chunks.get(doc as usize) {
            Some(chunk) => Ok(chunk.source_path.clone()),
            None => Ok(index.chunk(doc)?.source_path),
        }
    }
}

impl Document {
    /// A document of a set as a section: when its id is the URL of a section, the page is known as well.
    fn chunk(self) -> Chunk {
        let (page, anchor) = match self.id.split_once('#') {
            Some((page, anchor)) if page.contains("://") => (page.to_owned(), Some(anchor.to_owned())),
            _ => (self.id.clone(), None),
        };
        let body = match self.text.strip_prefix(&self.title) {
            Some(rest) if !self.title.is_empty() => rest.trim_start_matches([' ', '\n', '.']).to_owned(),
            _ => self.text.clone(),
        };
        Chunk {
            page_title: if anchor.is_some() { String::new() } else { self.title.clone() },
            heading_path: vec![self.title],
            page_url: page,
            anchor,
            blocks: body.split("\n\n").filter(|text| !text.trim().is_empty()).map(Block::paragraph).collect(),
            source_path: self.id.clone(),
            url: self.id,
            boost: 1.0,
            ..Chunk::default()
        }
    }
}

fn lines<T: DeserializeOwned>(file: &Path) -> anyhow::Result<Vec<T>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| serde_json::from_str(line).with_context(|| format!("{} line {number}", file.display())))
        .collect()
}
