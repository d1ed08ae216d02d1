//! The YAML of `mkdocs.yml`: a tree that keeps tags, because MkDocs' extensions say things with them (`!ENV`,
//! `!!python/name:…`) that no reader of plain values sees.

use std::{collections::HashMap, rc::Rc};

use granit_parser::{BorrowedInput, Event, Parser, ScalarStyle, Tag};

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 64;
/// Most nodes of a file, each alias counted with all that it stands for.
const MAX_NODES: usize = 200_000;

/// A node with the tag that is written before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// As it is written, such as `!ENV`; empty without one.
    tag: String,
    value: Value,
    /// Nodes in it, itself included.
    nodes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    /// Text, and whether it stands without quotes.
    Scalar(String, bool),
    List(Vec<Rc<Node>>),
    /// Keys in order; a key that is not text is left out.
    Map(Vec<(String, Rc<Node>)>),
}

impl Node {
    /// The tag as it is written; empty without one.
    pub(super) fn tag(&self) -> &str {
        &self.tag
    }

    /// The value of a key. Of several the last counts, as PyYAML has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().rev().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// Keys and values of a map.
    pub(super) fn entries(&self) -> impl DoubleEndedIterator<Item = (&str, &Self)> {
        let entries: &[(String, Rc<Self>)] = if let Value::Map(entries) = &self.value { entries } else { &[] };
        entries.iter().map(|(key, value)| (key.as_str(), &**value))
    }

    /// Items of a list.
    pub(super) fn items(&self) -> impl Iterator<Item = &Self> {
        let items: &[Rc<Self>] = if let Value::List(items) = &self.value { items } else { &[] };
        items.iter().map(|item| &**item)
    }

    /// Text; a plain scalar that stands for nothing is none.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text, true) if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") => None,
            Value::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// Whether it is a map.
    pub(super) fn is_map(&self) -> bool {
        matches!(self.value, Value::Map(_))
    }

    /// The entries of this map, and those of `base` that it lacks.
    pub(super) fn over(self, base: Self) -> Self {
        let tag = self.tag.clone();
        match (base.value, self.value) {
            (Value::Map(mut entries), Value::Map(own)) => {
                entries.extend(own);
                Self { tag, value: Value::Map(entries), nodes: self.nodes + base.nodes }
            }
            (_, value) => Self { tag, value, nodes: self.nodes },
        }
    }
}

/// Reads the first document of a file.
///
/// # Errors
/// A sentence, with the line where there is one.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder { events: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    loop {
        match builder.next()? {
            Event::StreamStart | Event::DocumentStart(..) => {}
            Event::DocumentEnd | Event::StreamEnd => return Ok(empty()),
            event => return builder.node(event, 0).map(Rc::unwrap_or_clone),
        }
    }
}

fn empty() -> Node {
    Node { tag: String::new(), value: Value::Scalar(String::new(), true), nodes: 1 }
}

struct Builder<'a, I: BorrowedInput<'a>> {
    events: Parser<'a, I>,
    anchors: HashMap<usize, Rc<Node>>,
    nodes: usize,
}

impl<'a, I: BorrowedInput<'a>> Builder<'a, I> {
    /// The next event that is data: comments are events too.
    fn next(&mut self) -> Result<Event<'a>, String> {
        match self.events.by_ref().find(|event| !matches!(event, Ok((Event::Comment(..), _)))) {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(format!("line {}: {}", error.marker().line().max(1), error.info())),
            None => Ok(Event::StreamEnd),
        }
    }

    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<Rc<Node>, String> {
        if depth > MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH}"));
        }
        let written = |tag: Option<std::borrow::Cow<'_, Tag>>| tag.map(|tag| tag.original()).unwrap_or_default();
        let (tag, anchor, value) = match event {
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned().ok_or("an alias within what it stands for")?;
                self.count(node.nodes)?;
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => {
                (written(tag), anchor, Value::Scalar(text.into_owned(), style == ScalarStyle::Plain))
            }
            Event::SequenceStart(_, anchor, tag) => (written(tag), anchor, self.list(depth)?),
            Event::MappingStart(_, anchor, tag) => (written(tag), anchor, self.map(depth)?),
            _ => return Err("not a value".to_owned()),
        };
        self.count(1)?;
        let inside: usize = match &value {
            Value::Scalar(..) => 0,
            Value::List(items) => items.iter().map(|item| item.nodes).sum(),
            Value::Map(entries) => entries.iter().map(|(_, value)| value.nodes).sum(),
        };
        let node = Rc::new(Node { tag, value, nodes: inside + 1 });
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        Ok(node)
    }

    fn count(&mut self, nodes: usize) -> Result<(), String> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES { Err(format!("more than {MAX_NODES} values")) } else { Ok(()) }
    }

    fn list(&mut self, depth: usize) -> Result<Value, String> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(Value::List(items)),
                event => items.push(self.node(event, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, String> {
        let (mut merged, mut entries) = (Vec::new(), Vec::new());
        loop {
            let key = match self.next()? {
                // What a map says itself comes before what it merges.
                Event::MappingEnd => {
                    merged.extend(entries);
                    return Ok(Value::Map(merged));
                }
                event => self.node(event, depth + 1)?,
            };
            let event = self.next()?;
            let value = self.node(event, depth + 1)?;
            match &key.value {
                Value::Scalar(name, true) if name == "<<" => {
                    for source in std::iter::once(&*value).chain(value.items()) {
                        merged.extend(source.entries().map(|(key, value)| (key.to_owned(), Rc::new(value.clone()))));
                    }
                    self.count(value.nodes)?;
                }
                Value::Scalar(name, _) => entries.push((name.clone(), value)),
                _ => {}
            }
        }
    }
}
