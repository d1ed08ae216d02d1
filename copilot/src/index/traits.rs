//! What kind of section a section is: what a ranking may know of it besides its words.

use super::{
    block::{Block, BlockKind},
    chunk::Chunk,
};

/// Words of a path that name reference material.
const REFERENCE: [&str; 11] =
    ["reference", "references", "api", "apis", "glossary", "cli", "generated", "config-api", "sdk", "man", "schema"];
/// Words of a path or title that name a history of changes.
const HISTORY: [&str; 10] = [
    "changelog",
    "changes",
    "release-notes",
    "release_notes",
    "releases",
    "history",
    "whatsnew",
    "whats-new",
    "blog",
    "news",
];
/// Words of a path that name pages about making the documentation or the project.
const PROJECT: [&str; 9] = [
    "contribute",
    "contributing",
    "contributors",
    "development",
    "governance",
    "code-of-conduct",
    "doc-contributor-tools",
    "translations",
    "style-guide",
];
/// Headings under which nothing is explained.
const FURTHER: [&str; 10] = [
    "what's next",
    "see also",
    "further reading",
    "next steps",
    "related",
    "references",
    "learn more",
    "more info",
    "related documentation",
    "more information",
];
/// Languages of commands.
const SHELLS: [&str; 14] = [
    "bash",
    "sh",
    "shell",
    "console",
    "zsh",
    "powershell",
    "cmd",
    "terminal",
    "shell-session",
    "ps1",
    "fish",
    "bat",
    "shellsession",
    "pwsh",
];

/// A set of traits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traits(u64);

impl Traits {
    /// It shows code.
    pub const CODE: u64 = 1;
    /// It shows commands.
    pub const COMMANDS: u64 = 1 << 1;
    /// It has numbered steps.
    pub const STEPS: u64 = 1 << 2;
    /// It belongs to a reference.
    pub const REFERENCE: u64 = 1 << 3;
    /// It belongs to a history of changes.
    pub const HISTORY: u64 = 1 << 4;
    /// It is about the making of the documents.
    pub const PROJECT: u64 = 1 << 5;
    /// It has next to no text.
    pub const EMPTY: u64 = 1 << 6;
    /// It only leads further.
    pub const FURTHER: u64 = 1 << 7;
    /// It is the beginning of its page.
    pub const FIRST: u64 = 1 << 8;

    /// Of a section.
    #[must_use]
    pub fn of(chunk: &Chunk) -> Self {
        let mut bits = 0;
        let mut set = |trait_: u64, holds: bool| {
            if holds {
                bits |= trait_;
            }
        };
        let words: usize = chunk.blocks.iter().map(|block| block.text.split_whitespace().count()).sum();
        let path = chunk.source_path.to_lowercase();
        let parts: Vec<&str> = path.split(['/', '\\']).map(|part| part.split('.').next().unwrap_or(part)).collect();
        let title = chunk.page_title.to_lowercase().replace(' ', "-");
        let heading = chunk.heading().to_lowercase().replace('’', "'");
        set(Self::CODE, chunk.blocks.iter().any(Block::is_code));
        set(
            Self::COMMANDS,
            chunk.blocks.iter().any(|b| b.is_code() && SHELLS.contains(&b.language.to_lowercase().as_str())),
        );
        set(Self::STEPS, chunk.blocks.iter().filter(|block| block.number.is_some()).count() > 1);
        set(Self::REFERENCE, parts.iter().any(|part| REFERENCE.contains(part)));
        set(Self::HISTORY, parts.iter().any(|part| HISTORY.contains(part)) || HISTORY.contains(&title.as_str()));
        set(Self::PROJECT, parts.iter().any(|part| PROJECT.contains(part)));
        set(Self::EMPTY, words < 8 && !chunk.blocks.iter().any(|block| block.kind != BlockKind::Text));
        set(Self::FURTHER, FURTHER.contains(&heading.trim_end_matches(['.', ':'])));
        set(Self::FIRST, chunk.ordinal == 0);
        Self(bits)
    }

    /// As stored.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// From what was stored.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Whether any of `traits` holds.
    #[must_use]
    pub fn any(self, traits: u64) -> bool {
        self.0 & traits != 0
    }
}
