//! YAML text → a tree in which every node knows where it stands.
//!
//! A policy needs maps, lists and scalars. Anchors, aliases, tags and several documents in a file are refused: they are
//! how small files become huge and how two readers come to understand two things.

use granit_parser::{Event, Parser, ScalarStyle, Span};

use super::diagnostic::{Findings, Position};

/// Largest policy file.
pub(crate) const MAX_FILE_BYTES: usize = 8 * 1024 * 1024;
/// Deepest nesting; the document's own depth is 6.
const MAX_DEPTH: usize = 32;
/// Most nodes in one file.
const MAX_NODES: usize = 1_000_000;

/// A node and its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) value: Value,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    String(String),
    List(Vec<Node>),
    /// Keys in order, each with its own place.
    Map(Vec<(String, Position, Node)>),
}

impl Value {
    /// What to call it in a message.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::String(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

impl Node {
    /// The node as JSON, for serde.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Integer(value) => (*value).into(),
            Value::Float(value) => (*value).into(),
            Value::String(value) => value.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|(key, _, value)| (key.clone(), value.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }

    /// The value of a key, if this is a map that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(name, _, _)| name == key).map(|(_, _, value)| value),
            _ => None,
        }
    }

    /// The item at an index, if this is a list that has it.
    pub(crate) fn item(&self, index: usize) -> Option<&Self> {
        match &self.value {
            Value::List(items) => items.get(index),
            _ => None,
        }
    }
}

/// Parses one file. `None` when it is empty or too broken to go on; the reason is in `findings`.
pub(crate) fn parse(file: usize, text: &str, findings: &mut Findings<'_>) -> Option<Node> {
    let start = Position { file, line: 1, column: 1 };
    if text.len() > MAX_FILE_BYTES {
        let message = format!("the file has {} bytes; a policy file has at most {MAX_FILE_BYTES}", text.len());
        findings.error(start, message, Some("split it into several files of one directory".into()));
        return None;
    }
    if let Some(at) = text.find('\0') {
        let line = text.get(..at).unwrap_or_default().lines().count().max(1);
        findings.error(Position { file, line, column: 1 }, "the file is binary; expected YAML in UTF-8", None);
        return None;
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder { file, events: Parser::new_from_str(text), nodes: 0 };
    match builder.document() {
        Ok(node) => node,
        Err(Broken { at, message, help }) => {
            findings.error(at, message, help);
            None
        }
    }
}

/// Why a file cannot be read further.
struct Broken {
    at: Position,
    message: String,
    help: Option<String>,
}

struct Builder<'a, I: granit_parser::BorrowedInput<'a>> {
    file: usize,
    events: Parser<'a, I>,
    nodes: usize,
}

impl<'a, I: granit_parser::BorrowedInput<'a>> Builder<'a, I> {
    fn at(&self, span: &Span) -> Position {
        Position { file: self.file, line: span.start.line().max(1), column: span.start.col() + 1 }
    }

    fn next(&mut self) -> Result<(Event<'a>, Position), Broken> {
        // Comments are events too.
        let event = self.events.by_ref().find(|event| !matches!(event, Ok((Event::Comment(..), _))));
        match event {
            Some(Ok((event, span))) => Ok((event, self.at(&span))),
            Some(Err(error)) => {
                let at =
                    Position { file: self.file, line: error.marker().line().max(1), column: error.marker().col() + 1 };
                let tab = error.info().contains("tab");
                let help = tab.then(|| "YAML indents with spaces: replace the tab".to_owned());
                Err(Broken { at, message: format!("not YAML: {}", error.info()), help })
            }
            None => Ok((Event::StreamEnd, Position { file: self.file, line: 1, column: 1 })),
        }
    }

    fn document(&mut self) -> Result<Option<Node>, Broken> {
        let mut found = None;
        loop {
            let (event, at) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(found),
                Event::DocumentStart(..) if found.is_some() => {
                    let help = "put each policy into a file of its own; the files of a directory are merged".to_owned();
                    return Err(Broken { at, message: "a second document in one file".into(), help: Some(help) });
                }
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event => found = Some(self.node(event, at, 0)?),
            }
        }
    }

    fn node(&mut self, event: Event<'a>, at: Position, depth: usize) -> Result<Node, Broken> {
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            let message = if depth > MAX_DEPTH {
                format!("nested deeper than {MAX_DEPTH}")
            } else {
                format!("more than {MAX_NODES} values")
            };
            return Err(Broken { at, message, help: None });
        }
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag) => (*anchor, tag.is_some()),
            Event::SequenceStart(_, anchor, tag) | Event::MappingStart(_, anchor, tag) => (*anchor, tag.is_some()),
            Event::Alias(_) => (1, false),
            _ => (0, false),
        };
        if anchor > 0 {
            let help = "write the value out, or give it a name in the policy and refer to that".to_owned();
            return Err(Broken { at, message: "anchors and aliases are not supported".into(), help: Some(help) });
        }
        if tag {
            return Err(Broken {
                at, message: "tags are not supported".into(), help: Some("remove the `!…`".into())
            });
        }
        let value = match event {
            Event::Scalar(text, style, _, _) => scalar(&text, style),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break Value::List(items),
                        (event, at) => items.push(self.node(event, at, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => self.map(depth)?,
            _ => return Err(Broken { at, message: "not a value".into(), help: None }),
        };
        Ok(Node { at, value })
    }

    fn map(&mut self, depth: usize) -> Result<Value, Broken> {
        let mut entries: Vec<(String, Position, Node)> = Vec::new();
        let mut seen: std::collections::HashMap<String, Position> = std::collections::HashMap::new();
        loop {
            let (key, at) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Value::Map(entries)),
                (Event::Scalar(key, _, 0, None), at) => (key.into_owned(), at),
                (_, at) => return Err(Broken { at, message: "a key must be plain text".into(), help: None }),
            };
            if let Some(first) = seen.get(&key) {
                let message =
                    format!("`{key}` appears twice; the first time in line {}, column {}", first.line, first.column);
                return Err(Broken { at, message, help: Some("keep one of the two".into()) });
            }
            let (event, value_at) = self.next()?;
            let value = self.node(event, value_at, depth + 1)?;
            seen.insert(key.clone(), at);
            entries.push((key, at, value));
        }
    }
}

/// A plain scalar by the YAML 1.2 core schema; anything quoted is text.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::String(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => {
            let digits = text.trim_start_matches(['+', '-']);
            let numeric = digits.starts_with(|c: char| c.is_ascii_digit());
            if let (true, Ok(integer)) = (numeric, text.parse::<i64>()) {
                Value::Integer(integer)
            } else if let (true, Ok(float)) = (numeric, text.parse::<f64>()) {
                Value::Float(float)
            } else {
                Value::String(text.to_owned())
            }
        }
    }
}
