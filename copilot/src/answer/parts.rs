//! What an answer is put together from, and what comes of it.

use super::{
    AnswerBlock, Citation, Kind,
    atom::{Atom, Form},
};
use crate::search::Hit;

/// A section that may be quoted.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) hit: Hit,
    /// Its worth, 1 for the best.
    pub(super) weight: f32,
}

/// A piece that was chosen.
#[derive(Debug, Clone)]
pub(super) struct Part<'a> {
    pub(super) atom: &'a Atom,
    pub(super) section: usize,
    /// Lines that its code is cut to.
    pub(super) lines: Option<usize>,
}

impl Part<'_> {
    /// The kind of the block that it becomes; a note is text that the documents set apart.
    pub(super) fn kind(&self, note: bool) -> Kind {
        match self.atom.form {
            Form::Code => Kind::Code,
            Form::Table => Kind::Table,
            Form::Steps => Kind::Steps,
            Form::Text | Form::Item if note => Kind::Note,
            Form::Text | Form::Item => Kind::Text,
        }
    }
}

/// What was put together.
#[derive(Debug, Default)]
pub(super) struct Composed {
    pub(super) markdown: String,
    pub(super) blocks: Vec<AnswerBlock>,
    pub(super) citations: Vec<Citation>,
    /// The sections that are quoted, in the order of their citations.
    pub(super) sections: Vec<usize>,
    /// Share of the question's information that the best piece carries with its headings.
    pub(super) best: f32,
}
