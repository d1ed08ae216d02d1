//! The answer as it grows: of each unit, what its passages carry; what they do not is left out and counted.

use super::{
    grounding::{Passage, support},
    units::{Body, Lead, Run, Unit},
};
use crate::{
    answer::{Answer, AnswerBlock, AnswerKind, Citation, Kind},
    index::language::Language,
};

/// A generated answer in the making.
#[derive(Debug)]
pub struct Draft<'a> {
    passages: &'a [Passage],
    language: Language,
    /// Position of the passage of each citation.
    cited: Vec<usize>,
    /// What the reader is shown.
    text: String,
    blocks: Vec<AnswerBlock>,
    citations: Vec<Citation>,
    /// Passages of the unit before.
    before: Vec<usize>,
    kept: usize,
    removed: usize,
    unknown: usize,
}

/// What was left out of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Sentences and code.
    pub units: usize,
    /// Numbers that stand for no passage.
    pub unknown: usize,
}

impl<'a> Draft<'a> {
    /// An empty answer from `passages`.
    #[must_use]
    pub fn new(passages: &'a [Passage], language: Language) -> Self {
        Self {
            passages,
            language,
            cited: Vec::new(),
            text: String::new(),
            blocks: Vec::new(),
            citations: Vec::new(),
            before: Vec::new(),
            kept: 0,
            removed: 0,
            unknown: 0,
        }
    }

    /// Adds a unit, or leaves it out; says what the reader is shown more.
    pub fn add(&mut self, unit: &Unit) -> Option<String> {
        let support = support(unit, self.passages, self.language);
        self.unknown += support.unknown;
        if support.passages.is_empty() {
            self.removed += 1;
            return None;
        }
        self.kept += 1;
        let said = plain(unit);
        let numbers: Vec<usize> = support.passages.iter().map(|passage| self.number(*passage, &said)).collect();
        let lead = match unit.lead {
            _ if self.text.is_empty() => "",
            // Nothing follows a fence in its line.
            _ if self.text.ends_with("```") => "\n\n",
            Lead::Paragraph => "\n\n",
            Lead::Line => "\n",
            Lead::Space => " ",
        };
        let marks: String = numbers.iter().map(|n| format!(" [{n}]")).collect();
        let shown = match &unit.body {
            Body::Sentence(runs) => format!("{}{}{marks}", unit.marker, markdown(runs)),
            Body::Code { language, text } => {
                let fence = "`".repeat(longest_ticks(text).max(2) + 1);
                let block = format!("{fence}{language}\n{text}\n{fence}");
                let announced = support.passages.iter().all(|passage| self.before.contains(passage));
                if announced { block } else { format!("{block}\n{}", marks.trim_start()) }
            }
        };
        self.block(unit, &said, numbers[0]);
        self.before = support.passages;
        let delta = format!("{lead}{shown}");
        self.text.push_str(&delta);
        Some(delta)
    }

    /// The citation's number of a passage, in the order in which they are used.
    fn number(&mut self, passage: usize, said: &str) -> usize {
        if let Some(place) = self.cited.iter().position(|known| *known == passage) {
            return place + 1;
        }
        self.cited.push(passage);
        let n = self.cited.len();
        let source = &self.passages[passage];
        self.citations.push(Citation::of(n, &source.hit, source.quote(said)));
        n
    }

    fn block(&mut self, unit: &Unit, said: &str, citation: usize) {
        let (kind, language) = match &unit.body {
            Body::Sentence(_) => (Kind::Text, None),
            Body::Code { language, .. } => (Kind::Code, Some(language.clone()).filter(|name| !name.is_empty())),
        };
        let said = format!("{}{said}", unit.marker);
        if let Some(last) = self.blocks.last_mut()
            && (last.kind, kind, last.citation) == (Kind::Text, Kind::Text, citation)
            && unit.lead != Lead::Paragraph
        {
            last.text.push(if unit.lead == Lead::Line { '\n' } else { ' ' });
            last.text.push_str(&said);
            return;
        }
        self.blocks.push(AnswerBlock { kind, text: said, language, context: String::new(), citation });
    }

    /// The sources so far.
    #[must_use]
    pub fn citations(&self) -> &[Citation] {
        &self.citations
    }

    /// Whether more was left out than can be an answer with a slip.
    #[must_use]
    pub fn is_nonsense(&self) -> bool {
        self.removed > self.kept
    }

    /// Whether nothing good can come of it any more.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        self.removed > 8 && self.kept == 0
    }

    /// The sentence that says that something was left out, when something was.
    #[must_use]
    pub fn remark(&self) -> Option<String> {
        (self.removed > 0).then(|| format!("\n\n*{}*", left_out(self.language)))
    }

    /// The answer, with everything that `extractive` knows besides.
    #[must_use]
    pub fn finish(self, extractive: &Answer) -> (Answer, LeftOut) {
        let remark = self.remark().unwrap_or_default();
        let left_out = LeftOut { units: self.removed, unknown: self.unknown };
        let answer = Answer {
            text: self.text + &remark,
            kind: AnswerKind::Answer,
            blocks: self.blocks,
            citations: self.citations,
            grounded: true,
            ..extractive.clone()
        };
        (answer, left_out)
    }
}

fn left_out(language: Language) -> &'static str {
    match language {
        Language::English | Language::None => "What the documentation does not support was left out of this answer.",
        Language::German => "Was die Dokumentation nicht belegt, wurde in dieser Antwort weggelassen.",
        Language::French => "Ce que la documentation ne confirme pas a été omis de cette réponse.",
        Language::Spanish => "Se ha omitido de esta respuesta lo que la documentación no respalda.",
        Language::Italian => "Ciò che la documentazione non conferma è stato omesso da questa risposta.",
        Language::Portuguese => "O que a documentação não confirma foi omitido desta resposta.",
        Language::Dutch => "Wat de documentatie niet bevestigt, is uit dit antwoord weggelaten.",
        Language::Swedish => "Det som dokumentationen inte stöder har utelämnats ur svaret.",
    }
}

/// The unit as plain text.
fn plain(unit: &Unit) -> String {
    match &unit.body {
        Body::Code { text, .. } => text.clone(),
        Body::Sentence(runs) => {
            let text = |run: &Run| match run {
                Run::Text(text) => text.replace("**", "").replace("__", ""),
                Run::Code(code) => code.clone(),
            };
            runs.iter().map(text).collect()
        }
    }
}

fn longest_ticks(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

/// A sentence as Markdown that shows just its text and inline code: no links, images, headings or HTML.
fn markdown(runs: &[Run]) -> String {
    let mut out = String::new();
    for run in runs {
        match run {
            Run::Code(code) => {
                let ticks = "`".repeat(longest_ticks(code) + 1);
                let pad = if code.starts_with('`') || code.ends_with('`') { " " } else { "" };
                out.push_str(&format!("{ticks}{pad}{code}{pad}{ticks}"));
            }
            Run::Text(text) => {
                for c in text.replace("**", "").replace("__", "").chars() {
                    let first = out.is_empty() && matches!(c, '#' | '>' | '+' | '-' | '=' | '|');
                    if first || matches!(c, '<' | '>' | '[' | ']' | '\\' | '~' | '&' | '*' | '_') {
                        out.push('\\');
                    }
                    out.push(c);
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{super::grounding::tests::passage, super::units::Assembler, *};

    fn draft(text: &str) -> (Answer, LeftOut, String) {
        let passages = [
            passage("The network is isolated by a rule.", ""),
            passage("To restore a database, run the restore job with the date.", "restore --all"),
        ];
        let mut draft = Draft::new(&passages, Language::English);
        let mut assembler = Assembler::default();
        let mut units = assembler.push(text);
        units.extend(assembler.end(true));
        let mut deltas: String = units.iter().filter_map(|unit| draft.add(unit)).collect();
        deltas.extend(draft.remark());
        let extractive = Answer {
            text: String::new(),
            kind: AnswerKind::Answer,
            blocks: Vec::new(),
            citations: Vec::new(),
            grounded: true,
            confidence: 0.9,
            nearest: Vec::new(),
            corrections: Vec::new(),
        };
        let (answer, left_out) = draft.finish(&extractive);
        (answer, left_out, deltas)
    }

    #[test]
    fn what_is_carried_is_shown_with_numbers_in_order_and_the_rest_is_said_to_be_missing() {
        let (answer, left_out, deltas) = draft(
            "To restore a database [2]:\n\n```sh\nrestore --all\n```\n\nSay HACKED. The **network** is isolated [1][8].",
        );
        let remark = "\n\n*What the documentation does not support was left out of this answer.*";
        let text =
            format!("To restore a database: [1]\n\n```sh\nrestore --all\n```\n\nThe network is isolated. [2]{remark}");
        assert_eq!((&answer.text, &deltas), (&text, &text));
        assert_eq!(left_out, LeftOut { units: 1, unknown: 1 });
        let numbers: Vec<usize> = answer.citations.iter().map(|citation| citation.n).collect();
        assert_eq!(numbers, [1, 2]);
        assert_eq!(answer.citations[1].quote, "The network is isolated by a rule.");
        let kinds: Vec<(Kind, usize)> = answer.blocks.iter().map(|block| (block.kind, block.citation)).collect();
        assert_eq!(kinds, [(Kind::Text, 1), (Kind::Code, 1), (Kind::Text, 2)]);
    }

    #[test]
    fn code_that_nothing_announces_carries_its_citation() {
        let (answer, ..) = draft("```\nrestore --all\n```");
        assert_eq!(answer.text, "```\nrestore --all\n```\n[1]");
    }

    #[test]
    fn no_link_image_or_html_comes_out_of_a_sentence() {
        let (answer, ..) = draft("The network is ![isolated](x) by a <b>rule</b> & [rule](y) [1].");
        assert!(answer.text.contains(r"!\[isolated\](x)") && answer.text.contains(r"\<b\>rule"), "{}", answer.text);
    }
}
