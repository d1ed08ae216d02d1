//! `copilot ask` and `copilot search`: what a server would answer, from artifacts, in a terminal.

use std::{
    fmt::Write as _,
    io::{IsTerminal as _, Write as _, stdout},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::{Failure, Output, index::verify_key, values::probability};
use crate::{
    answer::{self, Answer, AnswerBlock, AnswerKind, Kind, confidence::THRESHOLD},
    api::search::ResultsBody,
    corpus::{artifact::Expected, files},
    index::reader::LoadedIndex,
    retrieval::{MAX_LIMIT, SearchParameters},
    search::{self, Correction, MAX_QUERY_BYTES, Request, SearchResults},
};

/// What is asked, and of what.
#[derive(Debug, Args)]
struct Asked {
    /// Artifacts, the best first, and then the question or the words.
    #[arg(value_names = ["FILE", "TEXT"], num_args = 2.., required = true)]
    of: Vec<String>,
    /// File with the public key that the artifacts must be signed with.
    #[arg(long, value_name = "FILE")]
    verify_key: Option<PathBuf>,
    /// Form of the result.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// `copilot ask FILE… QUESTION`
#[derive(Debug, Args)]
pub struct AskArgs {
    #[command(flatten)]
    asked: Asked,
    /// Least probability with which the question is answered.
    #[arg(long, default_value_t = THRESHOLD, value_parser = probability)]
    confidence: f32,
}

/// `copilot search FILE… WORDS`
#[derive(Debug, Args)]
pub struct SearchArgs {
    #[command(flatten)]
    asked: Asked,
    /// Most hits.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=MAX_LIMIT as i64))]
    limit: u16,
}

/// Answers a question. Exit code 1 when the documents do not.
///
/// # Errors
/// A wrong argument, an artifact that cannot be opened.
pub fn ask(args: &AskArgs) -> Result<ExitCode, Failure> {
    let (indexes, question) = args.asked.open()?;
    let settings = answer::Settings { confidence: args.confidence, ..answer::Settings::default() };
    let outcome = answer::answer(&indexes, question, &search::Settings::default(), &settings).context("searching")?;
    let answer = outcome.answer;
    args.asked.print(&answer, |links| shown(&answer, links))?;
    Ok(if answer.kind == AnswerKind::None { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Searches. Exit code 1 when nothing is found.
///
/// # Errors
/// A wrong argument, an artifact that cannot be opened.
pub fn search(args: &SearchArgs) -> Result<ExitCode, Failure> {
    let (indexes, text) = args.asked.open()?;
    let usual = SearchParameters::default();
    let (limit, per_page) = (usize::from(args.limit), usual.per_page);
    let request = Request { text, limit, offset: 0, per_page, section: None, snippets: true };
    let results = search::search(&indexes, &request, &search::Settings::default()).context("searching")?;
    let found = results.total;
    let text = hits(&results);
    args.asked.print(&ResultsBody::from(results), text)?;
    Ok(if found == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Asked {
    /// The artifacts as one list of indexes, and the text.
    fn open(&self) -> Result<(Vec<Arc<LoadedIndex>>, &str), Failure> {
        let (text, files) = self.of.split_last().ok_or_else(|| Failure::Usage("nothing is asked".to_owned()))?;
        if text.trim().is_empty() {
            return Err(Failure::Usage("the question is empty; it is the last argument".to_owned()));
        }
        if text.len() > MAX_QUERY_BYTES {
            return Err(Failure::Usage(format!("the question is longer than {MAX_QUERY_BYTES} bytes")));
        }
        let key = verify_key(self.verify_key.as_deref())?;
        Ok((files::open(files, Expected { key: key.as_ref(), ..Expected::default() })?, text))
    }

    /// `text` is told whether links can be clicked.
    fn print(&self, body: &impl Serialize, text: impl FnOnce(bool) -> String) -> Result<(), Failure> {
        let mut out = stdout().lock();
        let text = match self.output {
            Output::Json => serde_json::to_string_pretty(body).context("the result")? + "\n",
            Output::Text => text(out.is_terminal()),
        };
        out.write_all(text.as_bytes()).context("standard output")?;
        Ok(())
    }
}

/// The answer with its blocks and what it rests on, as text.
fn shown(answer: &Answer, links: bool) -> String {
    let mut text = corrected(&answer.corrections);
    for block in &answer.blocks {
        let _ = write!(text, "{}\n\n", block_text(block));
    }
    if answer.blocks.is_empty() {
        let _ = write!(text, "{}\n\n", plain(&answer.text));
    }
    for citation in &answer.citations {
        let path =
            if citation.heading_path.is_empty() { citation.title.clone() } else { citation.heading_path.join(" › ") };
        let _ = writeln!(text, "{}", linked(&format!("[{}] {}", citation.n, plain(&path)), &citation.url, links));
    }
    for page in &answer.nearest {
        let _ = writeln!(text, "{}", linked(&format!("see {}", plain(&page.title)), &page.url, links));
    }
    text
}

fn block_text(block: &AnswerBlock) -> String {
    let (body, citation) = (plain(&block.text), format!("[{}]", block.citation));
    let context = if block.context.is_empty() { String::new() } else { format!("{}:\n", plain(&block.context)) };
    match block.kind {
        Kind::Text | Kind::Steps => format!("{context}{body} {citation}"),
        Kind::Note => format!("{context}Note: {body} {citation}"),
        Kind::Table => format!("{context}{body}\n{citation}"),
        Kind::Code => {
            let lines: Vec<String> = body.lines().map(|line| format!("    {line}")).collect();
            format!("{context}{}\n{citation}", lines.join("\n"))
        }
    }
}

/// The hits, as text.
fn hits(results: &SearchResults) -> impl Fn(bool) -> String + use<> {
    let mut lines: Vec<(String, String, String)> = Vec::new();
    for (n, hit) in results.hits.iter().enumerate() {
        let title = format!("{}. {}", n + 1, plain(&hit.chunk.heading_path.join(" › ")));
        lines.push((title, hit.chunk.url.clone(), plain(&without_marks(&hit.snippet))));
    }
    let (head, total) = (corrected(&results.corrections), results.total);
    move |links| {
        let mut text = head.clone();
        if lines.is_empty() {
            text.push_str("nothing is found\n");
        }
        for (title, url, snippet) in &lines {
            let _ = write!(text, "{}\n    {snippet}\n\n", linked(title, url, links));
        }
        if total > lines.len() {
            let _ = writeln!(text, "{} of {total}", lines.len());
        }
        text
    }
}

fn corrected(corrections: &[Correction]) -> String {
    let said =
        corrections.iter().map(|word| format!("searched for “{}”, not “{}”\n", plain(&word.to), plain(&word.from)));
    said.collect()
}

/// A line and where it leads: a link that a terminal can follow (OSC 8), or the address below it.
fn linked(text: &str, url: &str, links: bool) -> String {
    let url = plain(url);
    if links { format!("\x1b]8;;{url}\x1b\\{text}\x1b]8;;\x1b\\") } else { format!("{text}\n    {url}") }
}

/// Text of the documents, without what a terminal would obey: control characters, and marks that turn a line around.
fn plain(text: &str) -> String {
    let obeyed = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().filter(|c| (!c.is_control() || matches!(c, '\n' | '\t')) && !obeyed(*c)).collect()
}

/// A snippet as it was before it became HTML.
fn without_marks(snippet: &str) -> String {
    let mut text = snippet.replace("<mark>", "").replace("</mark>", "");
    for (entity, c) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")] {
        text = text.replace(entity, c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_of_the_documents() {
        assert_eq!(plain("a\x1b[31mb\x07\r\n\tc\u{202e}d\u{9b}e"), "a[31mb\n\tcde");
        let link = linked("text", "https://example.org/\x1b\\", true);
        assert_eq!(link.matches('\x1b').count(), 4, "{link:?}");
        assert_eq!(linked("text", "https://example.org/", false), "text\n    https://example.org/");
    }

    #[test]
    fn a_snippet_is_read_as_it_was_written() {
        assert_eq!(without_marks("&lt;b&gt; <mark>it&#39;s</mark> &amp;lt; &quot;x&quot;"), "<b> it's &lt; \"x\"");
    }

    #[test]
    fn code_is_set_in_and_every_block_names_its_citation() {
        let block = |kind, text: &str, context: &str| AnswerBlock {
            kind,
            text: text.to_owned(),
            language: None,
            context: context.to_owned(),
            citation: 2,
        };
        assert_eq!(block_text(&block(Kind::Code, "a\nb", "Bash")), "Bash:\n    a\n    b\n[2]");
        assert_eq!(block_text(&block(Kind::Text, "a", "")), "a [2]");
        assert_eq!(block_text(&block(Kind::Note, "a", "")), "Note: a [2]");
    }
}
