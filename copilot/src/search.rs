//! Finding the sections that answer a question, over one corpus or over several as one.

pub mod budget;
pub mod correct;
pub mod evidence;
pub mod expand;
pub mod intent;
mod meaning;
mod order;
pub mod plan;
mod prior;
pub mod query;
pub mod rank;
pub mod ranking;
pub mod scope;
pub mod settings;
pub mod snippet;
pub mod synonyms;
pub mod term;
mod thesaurus;
pub mod tuning;

use std::{collections::HashMap, sync::Arc};

use crate::index::{
    chunk::Chunk,
    reader::{LoadedIndex, OpenFault},
};

pub use budget::{Budget, Work};
pub use evidence::Evidence;
pub use intent::Intent;
pub use query::{MAX_QUERY_BYTES, Query};
pub use ranking::{Correction, Matchers, Ranking, Scored};
pub use scope::Scope;
pub use settings::Settings;
pub use synonyms::Synonyms;
pub use tuning::Tuning;

/// What to search for and which part of the ranking to return.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The question or keywords, of any bytes.
    pub text: &'a str,
    /// Most hits to return.
    pub limit: usize,
    /// Hits to pass over.
    pub offset: usize,
    /// Most hits of one page; 0 for no bound.
    pub per_page: usize,
    /// Only sections of this part of the site.
    pub section: Option<&'a str>,
    /// Make snippets of the hits.
    pub snippets: bool,
}

/// A section that was found.
#[derive(Debug, Clone)]
pub struct Hit {
    /// The section.
    pub chunk: Arc<Chunk>,
    /// Corpus it came from.
    pub corpus: String,
    /// Score; comparable within one response only.
    pub score: f32,
    /// Passage with the words of the query marked, HTML-escaped; empty unless asked for.
    pub snippet: String,
    /// Position of its index among those that were searched.
    pub index: usize,
    /// Document in that index.
    pub doc: tantivy::DocId,
}

/// The outcome of a search.
#[derive(Debug, Clone)]
pub struct SearchResults {
    /// The requested part of the ranking.
    pub hits: Vec<Hit>,
    /// Sections that match at all, after filters and grouping.
    pub total: usize,
    /// Words that were searched in another form.
    pub corrections: Vec<Correction>,
    /// How well the first hit carries the question.
    pub evidence: Evidence,
    /// The words that were looked for, for highlighting and quoting.
    pub matchers: Matchers,
    /// Something that was asked for was left out, because the work would have been too much.
    pub truncated: bool,
    /// What was done.
    pub work: Work,
    /// What the reader wants, by the form of the text.
    pub intent: Intent,
}

/// Searches `indexes` as one corpus with shared statistics. Only what is in `indexes` can influence the outcome.
///
/// # Errors
/// When an index file cannot be read.
pub fn search(
    indexes: &[Arc<LoadedIndex>],
    request: &Request<'_>,
    settings: &Settings,
) -> Result<SearchResults, OpenFault> {
    let query = Query::parse(request.text, indexes.first().map(|index| index.lexicon.language).unwrap_or_default());
    let intent = Intent::of(request.text, &query);
    let scope = Scope { indexes, query: &query, intent, settings };
    let mut budget = Budget::default();
    let ranking = rank::rank(&scope, &mut budget)?;
    let evidence = Evidence::gather(&scope, &ranking);
    let allowed: Vec<Option<u64>> =
        indexes.iter().map(|index| request.section.map(|name| index.lexicon.section(Some(name)))).collect();
    let mut of_page: HashMap<(usize, u32), usize> = HashMap::new();
    let mut total = 0;
    let mut hits = Vec::new();
    for scored in &ranking.scored {
        let index = &indexes[scored.index];
        let doc = scored.doc as usize;
        if let Some(section) = allowed[scored.index]
            && (section == 0 || u64::from(index.sections[doc]) != section)
        {
            continue;
        }
        let seen = of_page.entry((scored.index, index.pages[doc])).or_default();
        *seen += 1;
        if request.per_page > 0 && *seen > request.per_page {
            continue;
        }
        if total >= request.offset && hits.len() < request.limit {
            let chunk = Arc::new(index.chunk(scored.doc)?);
            let snippet = if request.snippets {
                snippet::snippet(&chunk, &ranking.matchers, index.lexicon.language)
            } else {
                String::new()
            };
            let (index, corpus) = (scored.index, index.corpus.clone());
            hits.push(Hit { chunk, corpus, score: scored.score, snippet, index, doc: scored.doc });
        }
        total += 1;
    }
    Ok(SearchResults {
        hits,
        total,
        corrections: ranking.corrections,
        evidence,
        matchers: ranking.matchers,
        truncated: budget.is_truncated(),
        work: budget.done(),
        intent,
    })
}

#[cfg(test)]
pub(crate) mod tests;
