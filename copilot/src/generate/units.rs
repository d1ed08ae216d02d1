//! Tokens of the model's text → the units that are checked: sentences with their citations, and code.

use super::citations::{Scanner, Token};

/// Longest sentence that is checked, in bytes; a longer one is none.
const MAX_SENTENCE: usize = 2000;
/// Endings of words that a full stop belongs to.
const ABBREVIATIONS: [&str; 8] = ["e.g.", "i.e.", "etc.", "vs.", "cf.", "approx.", "resp.", "no."];

/// What stands between a unit and the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lead {
    /// They stand in one line.
    Space,
    /// A new line.
    Line,
    /// An empty line.
    Paragraph,
}

/// A stretch of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// Prose.
    Text(String),
    /// Code within the line.
    Code(String),
}

/// What a unit is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A sentence, or an item of a list.
    Sentence(Vec<Run>),
    /// Code in lines of its own.
    Code {
        /// Its language, or nothing.
        language: String,
        /// The lines.
        text: String,
    },
}

/// A piece of the model's answer that is kept or removed whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// How it follows the unit before it.
    pub lead: Lead,
    /// `- ` or `1. ` where it begins an item.
    pub marker: String,
    /// What it says.
    pub body: Body,
    /// The numbers that it cites, as the model wrote them.
    pub citations: Vec<u32>,
}

#[derive(Debug)]
struct Sentence {
    lead: Lead,
    marker: String,
    runs: Vec<Run>,
    citations: Vec<u32>,
    bytes: usize,
}

/// Puts units together from a text that comes in pieces.
#[derive(Debug, Default)]
pub struct Assembler {
    scanner: Scanner,
    layout: Layout,
}

/// Where in its line and sentence the text is.
#[derive(Debug)]
struct Layout {
    sentence: Option<Sentence>,
    /// White space that has not been written.
    gap: bool,
    /// Ends of lines since the last word.
    lines: usize,
    /// What may be the mark of a list's item; `None` after the beginning of a line.
    prefix: Option<String>,
    /// The last word ends a sentence, unless what follows says otherwise.
    terminated: bool,
    /// And a citation came after it.
    cited: bool,
    lead: Lead,
    done: Vec<Unit>,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            sentence: None,
            gap: false,
            lines: 0,
            prefix: Some(String::new()),
            terminated: false,
            cited: false,
            lead: Lead::Space,
            done: Vec::new(),
        }
    }
}

impl Assembler {
    /// Takes the next piece of text; says what is complete.
    pub fn push(&mut self, text: &str) -> Vec<Unit> {
        for c in text.chars() {
            self.scanner.push(c, &mut |token| self.layout.token(token));
        }
        std::mem::take(&mut self.layout.done)
    }

    /// The text has ended; where that was not the model's own end, what is incomplete is left out.
    #[must_use]
    pub fn end(mut self, whole: bool) -> Vec<Unit> {
        if whole {
            let layout = &mut self.layout;
            self.scanner.end(&mut |token| layout.token(token));
            self.layout.flush();
            self.layout.close();
        } else if self.layout.terminated {
            self.layout.close();
        }
        self.layout.done
    }
}

impl Layout {
    fn token(&mut self, token: Token) {
        match token {
            Token::Line => self.line(),
            Token::Char(c) if self.prefix.is_some() => self.at_line_start(c),
            Token::Char(c) if c.is_whitespace() => self.gap = true,
            Token::Char(c) => self.visible(c),
            Token::Cite(n) => self.cite(n),
            Token::Span(code) => self.span(code),
            Token::Fence { info, code } => {
                self.flush();
                self.close();
                let language = info.split_whitespace().next().unwrap_or_default();
                let language = language.chars().filter(|c| c.is_ascii_alphanumeric() || "+-_#".contains(*c)).take(20);
                let body = Body::Code { language: language.collect(), text: code.trim_end().to_owned() };
                self.done.push(Unit { lead: Lead::Paragraph, marker: String::new(), body, citations: Vec::new() });
                self.lead = Lead::Paragraph;
            }
        }
    }

    fn line(&mut self) {
        self.flush();
        self.lines += 1;
        self.gap = true;
        self.prefix = Some(String::new());
        if self.lines > 1 {
            self.close();
            self.lead = Lead::Paragraph;
        }
    }

    /// Whether what stands at the line's beginning is the mark of an item is not known before its end.
    fn at_line_start(&mut self, c: char) {
        let held = self.prefix.take().unwrap_or_default();
        let number = held.trim_end_matches(['.', ')']);
        let digits = !number.is_empty() && number.len() <= 3 && number.bytes().all(|b| b.is_ascii_digit());
        let may_go_on = match c {
            ' ' | '\t' if held.is_empty() => return self.prefix = Some(held),
            '-' | '*' | '+' | '•' | '>' => held.is_empty(),
            '#' => held.len() < 6 && held.bytes().all(|b| b == b'#'),
            '0'..='9' => held.is_empty() || digits && number == held,
            '.' | ')' => digits && number == held,
            _ => false,
        };
        if may_go_on {
            return self.prefix = Some(held + &c.to_string());
        }
        if c.is_whitespace() && !held.is_empty() {
            let marker = if digits && number.len() < held.len() {
                format!("{number}. ")
            } else if matches!(&*held, "-" | "*" | "+" | "•") {
                "- ".to_owned()
            } else if held.bytes().all(|b| b == b'#' || b == b'>') {
                String::new()
            } else {
                held.chars().for_each(|c| self.visible(c));
                return self.gap = true;
            };
            self.close();
            let lead = if self.lines > 0 { self.lead.max(Lead::Line) } else { self.lead };
            self.open(lead, marker);
            (self.lines, self.gap) = (0, false);
            return;
        }
        held.chars().chain([c]).for_each(|c| if c.is_whitespace() { self.gap = true } else { self.visible(c) });
    }

    /// What looked like the mark of an item is text.
    fn flush(&mut self) {
        for c in self.prefix.take().unwrap_or_default().chars() {
            self.visible(c);
        }
    }

    /// Begins a sentence before the next word where the last one has ended.
    fn begin(&mut self, next: Option<char>) {
        let wrapped = self.lines > 0;
        let small = next.is_some_and(char::is_lowercase);
        let ends = self.terminated && (self.cited || wrapped || self.gap && !small);
        if ends {
            self.close();
            self.lead = self.lead.max(if wrapped { Lead::Line } else { Lead::Space });
        }
        if self.sentence.is_none() {
            self.open(self.lead, String::new());
            self.gap = false;
        }
        (self.lines, self.terminated, self.cited) = (0, false, false);
    }

    fn open(&mut self, lead: Lead, marker: String) {
        let (runs, citations) = (Vec::new(), Vec::new());
        self.sentence = Some(Sentence { lead, marker, runs, citations, bytes: 0 });
        self.lead = Lead::Space;
    }

    fn visible(&mut self, c: char) {
        let punctuation = matches!(c, '.' | ',' | ';' | ':' | '!' | '?' | ')' | '。' | '，');
        let closer = matches!(c, ')' | '"' | '\'' | '”' | '’' | '*' | '_' | '»');
        if self.terminated && !self.gap && closer {
            return self.write(c);
        }
        // A full stop after a citation that came after the full stop.
        if self.terminated && self.cited && !self.gap && punctuation {
            return;
        }
        self.begin(Some(c));
        let cited = self.sentence.as_ref().is_some_and(|sentence| !sentence.citations.is_empty());
        if std::mem::take(&mut self.gap) && !(punctuation && cited) {
            self.write(' ');
        }
        self.write(c);
        self.terminated = matches!(c, '.' | '!' | '?' | '。' | '！' | '？') && !self.abbreviated();
        // Full-width marks need no white space after them.
        self.cited = matches!(c, '。' | '！' | '？');
    }

    fn write(&mut self, c: char) {
        let Some(sentence) = &mut self.sentence else { return };
        sentence.bytes += c.len_utf8();
        if sentence.bytes > MAX_SENTENCE || c == ' ' && sentence.runs.is_empty() {
            return;
        }
        match sentence.runs.last_mut() {
            Some(Run::Text(text)) => text.push(c),
            _ => sentence.runs.push(Run::Text(c.to_string())),
        }
    }

    fn abbreviated(&self) -> bool {
        let Some(Run::Text(text)) = self.sentence.as_ref().and_then(|sentence| sentence.runs.last()) else {
            return false;
        };
        let word = text.rsplit([' ', '(']).next().unwrap_or_default().to_lowercase();
        ABBREVIATIONS.contains(&word.as_str())
    }

    fn span(&mut self, code: String) {
        self.flush();
        self.begin(None);
        if std::mem::take(&mut self.gap) {
            self.write(' ');
        }
        if let Some(sentence) = &mut self.sentence {
            sentence.bytes += code.len();
            sentence.runs.push(Run::Code(code));
        }
    }

    /// A citation belongs to the sentence that it stands in or after; one at the beginning, to what follows.
    fn cite(&mut self, n: u32) {
        self.flush();
        if self.sentence.is_none() {
            self.open(self.lead, String::new());
            (self.gap, self.lines) = (false, 0);
        }
        self.cited = self.terminated;
        if let Some(sentence) = &mut self.sentence
            && sentence.citations.len() < 16
            && !sentence.citations.contains(&n)
        {
            sentence.citations.push(n);
        }
    }

    fn close(&mut self) {
        (self.terminated, self.cited) = (false, false);
        let Some(mut sentence) = self.sentence.take() else { return };
        if let Some(Run::Text(text)) = sentence.runs.last_mut() {
            text.truncate(text.trim_end().len());
        }
        let says = |run: &Run| match run {
            Run::Text(text) | Run::Code(text) => text.chars().any(char::is_alphanumeric),
        };
        if !sentence.runs.iter().any(says) {
            self.lead = self.lead.max(sentence.lead);
            return;
        }
        if sentence.bytes > MAX_SENTENCE {
            // Nothing can support it.
            sentence.citations.clear();
        }
        let Sentence { lead, marker, runs, citations, .. } = sentence;
        self.done.push(Unit { lead, marker, body: Body::Sentence(runs), citations });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn units(parts: &[&str]) -> Vec<Unit> {
        let mut assembler = Assembler::default();
        let mut units: Vec<Unit> = parts.iter().flat_map(|part| assembler.push(part)).collect();
        units.extend(assembler.end(true));
        units
    }

    fn shown(text: &str) -> Vec<String> {
        let show = |unit: Unit| {
            let lead = match unit.lead {
                Lead::Space => "",
                Lead::Line => "⏎",
                Lead::Paragraph => "¶",
            };
            let body = match unit.body {
                Body::Code { language, text } => format!("{{{language}|{text}}}"),
                Body::Sentence(runs) => runs
                    .iter()
                    .map(|run| match run {
                        Run::Text(text) => text.clone(),
                        Run::Code(code) => format!("`{code}`"),
                    })
                    .collect(),
            };
            format!("{lead}{}{body} {:?}", unit.marker, unit.citations)
        };
        units(&[text]).into_iter().map(show).collect()
    }

    #[test]
    fn sentences_carry_the_citations_in_and_after_them() {
        for (text, expected) in [
            ("Run it [1]. Then wait. [2] Done.[3] End", &["Run it. [1]", "Then wait. [2]", "Done. [3]", "End []"][..]),
            ("It is 1.27, e.g. here [1][2].", &["It is 1.27, e.g. here. [1, 2]"]),
            ("Use `a.b` [1].\nNext line [2].", &["Use `a.b`. [1]", "⏎Next line. [2]"]),
            ("A wrapped\nsentence [1].", &["A wrapped sentence. [1]"]),
            (
                "Steps [1]:\n\n1. Run x [1]\n2. Stop. [2]\n- So\n",
                &["Steps: [1]", "¶1. Run x [1]", "⏎2. Stop. [2]", "⏎- So []"],
            ),
            ("Run: [1]\n```sh\nx --y\n```\nThen [2].", &["Run: [1]", "¶{sh|x --y} []", "¶Then. [2]"]),
            ("# Title\n\n**Bold** says [1].", &["Title []", "¶**Bold** says. [1]"]),
            ("[1] says so. 再起動。次に [2]。", &["says so. [1]", "再起動。 []", "次に。 [2]"]),
            ("---\n\n[1]\n\nX y z [7]", &["¶X y z [7]"]),
            ("3 replicas run [1]. 10. ", &["3 replicas run. [1]", "10. []"]),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_complete_is_left_out_of_a_cut_answer() {
        let cut = |text: &str| {
            let mut assembler = Assembler::default();
            let mut units = assembler.push(text);
            units.extend(assembler.end(false));
            units.len()
        };
        assert_eq!((cut("One [1]. Two [2]"), cut("One [1]. Two. [2]"), cut("One [1]. Two:\n```\nrm")), (1, 2, 1));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_units(
            text in "([a-zA-Z]{1,6}|[.!?:] |\\[[0-9]{1,2}\\]|\\[|\\]|`|```|\n|\n\n|- |1\\. |#|。| |~~~|é){0,60}",
            cuts in proptest::collection::vec(0..400usize, 0..12),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| text.is_char_boundary(*cut)).collect();
            cuts.sort_unstable();
            let mut parts = Vec::new();
            let mut from = 0;
            for cut in cuts {
                parts.push(&text[from..cut]);
                from = cut;
            }
            parts.push(&text[from..]);
            prop_assert_eq!(units(&parts), units(&[&text]));
        }

        #[test]
        fn no_text_is_said_twice_or_made_up(text in ".{0,300}") {
            let said: usize = units(&[&text]).iter().map(|unit| match &unit.body {
                Body::Code { text, .. } => text.len(),
                Body::Sentence(runs) => runs.iter().map(|run| match run {
                    Run::Text(text) | Run::Code(text) => text.len(),
                }).sum(),
            }).sum();
            prop_assert!(said <= text.len());
        }
    }
}
