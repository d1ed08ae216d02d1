//! The corpora in service. Each can be replaced while requests run; a request works with what it took at its start.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwapOption;

use crate::index::reader::LoadedIndex;

/// One corpus and its state.
#[derive(Debug, Default)]
struct Slot {
    current: ArcSwapOption<LoadedIndex>,
    previous: ArcSwapOption<LoadedIndex>,
    /// Why the newest artifact was not taken, if it was not.
    fault: ArcSwapOption<String>,
}

/// All corpora that this process serves.
#[derive(Debug)]
pub struct LiveIndexes {
    slots: BTreeMap<String, Slot>,
}

/// State of one corpus, for `/readyz` and metrics.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct State {
    /// Name of the corpus.
    pub corpus: String,
    /// Version in service.
    pub version: Option<String>,
    /// Sections in service.
    pub sections: usize,
    /// Why the newest artifact was not taken.
    pub fault: Option<String>,
}

impl LiveIndexes {
    /// For the named corpora, none of which has an index yet.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self { slots: names.into_iter().map(|name| (name, Slot::default())).collect() }
    }

    /// Puts a warmed index in service; the one before is kept. False when its corpus is not served.
    pub fn put(&self, index: Arc<LoadedIndex>) -> bool {
        let Some(slot) = self.slots.get(&index.corpus) else { return false };
        slot.previous.store(slot.current.swap(Some(index)));
        slot.fault.store(None);
        true
    }

    /// Notes why an artifact was refused; what is in service stays.
    pub fn refuse(&self, corpus: &str, reason: String) {
        if let Some(slot) = self.slots.get(corpus) {
            slot.fault.store(Some(Arc::new(reason)));
        }
    }

    /// Forgets a refusal, because the source offers again what is in service.
    pub fn clear_fault(&self, corpus: &str) {
        if let Some(slot) = self.slots.get(corpus) {
            slot.fault.store(None);
        }
    }

    /// The indexes of the granted corpora that are in service, in the grant's order, each once. This is the only way
    /// from a request to an index.
    #[must_use]
    pub fn granted(&self, corpora: &[String]) -> Vec<Arc<LoadedIndex>> {
        let mut indexes: Vec<Arc<LoadedIndex>> = Vec::new();
        for name in corpora {
            if let Some(index) = self.slots.get(name).and_then(|slot| slot.current.load_full())
                && !indexes.iter().any(|known| known.corpus == index.corpus)
            {
                indexes.push(index);
            }
        }
        indexes
    }

    /// The index of a corpus, for its own loader.
    #[must_use]
    pub fn current(&self, corpus: &str) -> Option<Arc<LoadedIndex>> {
        self.slots.get(corpus).and_then(|slot| slot.current.load_full())
    }

    /// Names in the cache of what is served or kept to go back to.
    #[must_use]
    pub fn in_use(&self) -> Vec<String> {
        let kept = self.slots.values().flat_map(|slot| [slot.current.load_full(), slot.previous.load_full()]);
        kept.flatten().map(|index| format!("{}-{}", index.corpus, index.version)).collect()
    }

    /// State of every corpus, in order of their names.
    #[must_use]
    pub fn states(&self) -> Vec<State> {
        let state = |(name, slot): (&String, &Slot)| {
            let index = slot.current.load_full();
            State {
                corpus: name.clone(),
                version: index.as_ref().map(|index| index.version.clone()),
                sections: index.as_ref().map_or(0, |index| index.len()),
                fault: slot.fault.load_full().map(|fault| fault.as_ref().clone()),
            }
        };
        self.slots.iter().map(state).collect()
    }
}
