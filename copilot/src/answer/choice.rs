//! The numbers of the choice of an answer's pieces, in one place.

/// Most blocks of an answer.
pub(super) const MOST_BLOCKS: usize = 5;
/// Most characters of its blocks together.
pub(super) const MOST_CHARS: usize = 1_200;

/// The numbers of the choice, in one place.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Choice {
    /// Sections that are looked at.
    pub sections: usize,
    /// How much the section's rank counts (an exponent).
    pub rank: f32,
    /// What a word counts that stands in the headings and not in the piece.
    pub heading: f32,
    /// Least worth of a further piece, relative to the first.
    pub least: f32,
    /// Factor of code when the question asks how.
    pub how_to_code: f32,
    /// Factor of steps when the question asks how.
    pub how_to_steps: f32,
    /// Factor of code for any other question.
    pub other_code: f32,
    /// Factor of a sentence that defines what is asked for.
    pub defines: f32,
    /// Factor of a piece with a number, when a quantity is asked for.
    pub number: f32,
    /// What the first pieces of a section get.
    pub early: f32,
    /// Share of its neighbour's worth that a section of the same page inherits.
    pub neighbour: f32,
    /// How much it counts that a section's page holds a large part of what was found.
    pub page: f32,
    /// What a piece gets of its section's words, which it need not repeat.
    pub section: f32,
    /// The same for commands, code and steps when the question asks how.
    pub how_to_section: f32,
    /// Worth of the further sections of the best page when the question asks how, of sections with usual headings for
    /// commands ("Usage").
    pub usage: f32,
    /// Sections, of those that are quoted, that must show a command when the question asks how.
    pub show: usize,
    /// Sections, of those that are quoted, whose commands fill the room that is left when the question asks how.
    pub complete: usize,
    /// The same for other questions.
    pub complete_other: usize,
    /// Factor of code that a program printed.
    pub output: f32,
    /// How much it counts against a piece that it fills an answer alone.
    pub bulk: f32,
}

impl Default for Choice {
    fn default() -> Self {
        Self {
            sections: 8,
            rank: 1.5,
            heading: 0.6,
            least: 0.3,
            how_to_code: 2.0,
            how_to_steps: 1.5,
            other_code: 0.8,
            defines: 2.2,
            number: 1.25,
            early: 0.4,
            neighbour: 0.55,
            page: 0.8,
            section: 0.15,
            how_to_section: 0.3,
            usage: 0.9,
            show: 3,
            complete: 2,
            complete_other: 1,
            output: 0.5,
            bulk: 0.4,
        }
    }
}
