//! What is wrong with a policy, where, what was expected and what to do.

use std::fmt::{self, Write as _};

/// One file of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyText {
    /// The file's name, as the operator knows it.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// A place in a policy file. Lines and columns count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    /// Index of the file.
    pub file: usize,
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// Whether a policy with this diagnostic can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but probably does not mean what it says.
    Warning,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Where.
    pub position: Position,
    /// Name of the file.
    pub file: String,
    /// The line of the file.
    pub excerpt: String,
    /// What is wrong and what was expected.
    pub message: String,
    /// What to do, if there is more to say.
    pub help: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column, .. } = self.position;
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        writeln!(f, "{}:{line}:{column}: {severity}: {}", self.file, self.message)?;
        let number = line.to_string();
        writeln!(f, "{number} | {}", self.excerpt)?;
        write!(f, "{:width$} | {:>column$}", "", "^", width = number.len())?;
        if let Some(help) = &self.help {
            write!(f, "\n{:width$} = help: {help}", "", width = number.len())?;
        }
        Ok(())
    }
}

/// All findings, as an operator reads them.
pub fn render(diagnostics: &[Diagnostic]) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{diagnostic}\n");
    }
    text.truncate(text.trim_end().len());
    text
}

/// A line by its number from 1. YAML ends lines at `\n`, `\r\n` and a lone `\r` (YAML 1.2.2, section 5.4).
fn line(text: &str, number: usize) -> Option<&str> {
    let mut rest = text;
    for _ in 1..number {
        let end = rest.find(['\n', '\r'])?;
        let ending = if rest.get(end..)?.starts_with("\r\n") { 2 } else { 1 };
        rest = rest.get(end + ending..)?;
    }
    rest.split(['\n', '\r']).next()
}

/// Collects findings while a policy is read.
#[derive(Debug)]
pub(crate) struct Findings<'a> {
    files: &'a [PolicyText],
    found: Vec<Diagnostic>,
}

/// More findings than a person reads; a hostile file must not make a huge report.
const MAX_FINDINGS: usize = 200;

impl<'a> Findings<'a> {
    pub(crate) fn new(files: &'a [PolicyText]) -> Self {
        Self { files, found: Vec::new() }
    }

    pub(crate) fn error(&mut self, position: Position, message: impl Into<String>, help: Option<String>) {
        self.push(Severity::Error, position, message.into(), help);
    }

    pub(crate) fn warning(&mut self, position: Position, message: impl Into<String>, help: Option<String>) {
        self.push(Severity::Warning, position, message.into(), help);
    }

    fn push(&mut self, severity: Severity, position: Position, message: String, help: Option<String>) {
        if self.found.len() >= MAX_FINDINGS {
            return;
        }
        let file = self.files.get(position.file);
        let excerpt = file.and_then(|file| line(&file.text, position.line)).unwrap_or_default();
        self.found.push(Diagnostic {
            severity,
            position,
            file: file.map_or_else(String::new, |file| file.name.clone()),
            excerpt: excerpt.chars().take(160).map(|c| if c.is_control() { ' ' } else { c }).collect(),
            message,
            help,
        });
    }

    pub(crate) fn any_error(&self) -> bool {
        self.found.iter().any(|one| one.severity == Severity::Error)
    }

    pub(crate) fn file_name(&self, index: usize) -> &str {
        self.files.get(index).map_or("", |file| &file.name)
    }

    /// All findings, in the order of the files and lines.
    pub(crate) fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|one| (one.position, one.severity));
        self.found
    }
}

/// The known name that an unknown one was probably meant to be.
pub(crate) fn did_you_mean<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let (distance, nearest) = known.into_iter().map(|name| (edit_distance(unknown, name), name)).min()?;
    (distance <= 1 + nearest.len() / 4).then(|| format!("did you mean `{nearest}`?"))
}

/// Levenshtein distance over bytes; names are short and bounded.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes().get(..a.len().min(64)).unwrap_or_default(), b.as_bytes());
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut current = vec![i + 1];
        for (j, right) in b.iter().enumerate() {
            let substitute = previous.get(j).copied().unwrap_or(usize::MAX) + usize::from(left != right);
            let delete = previous.get(j + 1).copied().unwrap_or(usize::MAX) + 1;
            let insert = current.get(j).copied().unwrap_or(usize::MAX) + 1;
            current.push(substitute.min(delete).min(insert));
        }
        previous = current;
    }
    previous.last().copied().unwrap_or(usize::MAX)
}
