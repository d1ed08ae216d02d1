//! Languages that words can be reduced to their stems in.

use std::fmt;

use frostem::{Algorithm, Stemmer};
use serde::{Deserialize, Serialize};

/// The language of a corpus.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English, the default.
    #[default]
    English,
    /// Dutch.
    Dutch,
    /// French.
    French,
    /// German.
    German,
    /// Italian.
    Italian,
    /// Portuguese.
    Portuguese,
    /// Spanish.
    Spanish,
    /// Swedish.
    Swedish,
    /// Words are indexed as they are written.
    None,
}

impl Language {
    /// The stemmer of the language, if words are stemmed at all.
    #[must_use]
    pub fn stemmer(self) -> Option<Stemmer> {
        let algorithm = match self {
            Self::English => Algorithm::English,
            Self::Dutch => Algorithm::Dutch,
            Self::French => Algorithm::French,
            Self::German => Algorithm::German,
            Self::Italian => Algorithm::Italian,
            Self::Portuguese => Algorithm::Portuguese,
            Self::Spanish => Algorithm::Spanish,
            Self::Swedish => Algorithm::Swedish,
            Self::None => return None,
        };
        Some(Stemmer::new(algorithm))
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::English => "english",
            Self::Dutch => "dutch",
            Self::French => "french",
            Self::German => "german",
            Self::Italian => "italian",
            Self::Portuguese => "portuguese",
            Self::Spanish => "spanish",
            Self::Swedish => "swedish",
            Self::None => "none",
        })
    }
}
