//! What all requests share, whichever way they come.

#[cfg(test)]
pub(crate) mod fixture;

use std::{ops::Deref, sync::Arc};

use docsgate_service::Traces;

use crate::{
    answer,
    capacity::{SearchMemory, Streams},
    corpus::live::LiveIndexes,
    generate::Generator,
    grant_guard::{Granted, Guard},
    index::reader::LoadedIndex,
    metrics::Metrics,
    problem::Problem,
    search,
    unanswered::Unanswered,
};

/// Everything that requests share.
#[derive(Debug, Clone)]
pub struct App(Arc<Shared>);

/// The parts of [`App`].
#[derive(Debug)]
pub struct Shared {
    /// Corpora in service.
    pub live: LiveIndexes,
    /// Who may read what.
    pub guard: Guard,
    /// How sections are ranked.
    pub ranking: search::Settings,
    /// How questions are answered.
    pub answering: answer::Settings,
    /// Who writes answers, where the operator brought a model.
    pub generator: Option<Generator>,
    /// Counters and durations.
    pub metrics: Metrics,
    /// What the documents did not answer.
    pub unanswered: Unanswered,
    /// Spans of requests.
    pub traces: Traces,
    /// Memory for searches under way.
    pub memory: SearchMemory,
    /// Streams under way, per caller.
    pub streams: Streams,
}

impl App {
    /// Shares `parts`.
    #[must_use]
    pub fn new(parts: Shared) -> Self {
        Self(Arc::new(parts))
    }

    /// The indexes that `granted` opens.
    ///
    /// # Errors
    /// When it opens none, or none is in service yet.
    pub fn indexes(&self, granted: &Granted) -> Result<Vec<Arc<LoadedIndex>>, Problem> {
        if granted.corpora.is_empty() {
            return Err(Problem::no_corpus());
        }
        let indexes = self.live.granted(&granted.corpora);
        if indexes.is_empty() { Err(Problem::not_ready()) } else { Ok(indexes) }
    }

    /// Runs `work`, which takes `bytes` of memory at most, on a thread for work once that much is free.
    ///
    /// # Errors
    /// When it is not within the time that a reader waits, or the work broke off.
    pub async fn work<T: Send + 'static>(
        &self,
        bytes: u64,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let reservation = self.memory.reserve(bytes).await?;
        let app = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _reservation = reservation;
            work(&app)
        });
        done.await.map_err(|_| Problem::internal())
    }
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
