//! What can be done at a time: searches are bounded by the memory that they may take, not by their number; streamed answers
//! by their number for each caller.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{grant_guard::Granted, problem::Problem};

/// Longest that a reader waits for memory.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of one permit: a semaphore cannot count as many as there are bytes.
const UNIT: u64 = 1024;

/// Memory for searches under way.
#[derive(Debug)]
pub struct SearchMemory {
    units: u32,
    free: Arc<Semaphore>,
}

/// Memory that a search has reserved, until this is dropped.
#[derive(Debug)]
pub struct Reservation {
    _permit: OwnedSemaphorePermit,
}

impl SearchMemory {
    /// `bytes` for all searches together.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let units = units(bytes);
        Self { units, free: Arc::new(Semaphore::new(units as usize)) }
    }

    /// Waits, not for long, until `bytes` are free. A search that takes more than there is runs alone.
    ///
    /// # Errors
    /// [`Problem::busy`], with `Retry-After`.
    pub async fn reserve(&self, bytes: u64) -> Result<Reservation, Problem> {
        let waiting = Arc::clone(&self.free).acquire_many_owned(units(bytes).min(self.units));
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(Ok(permit)) => Ok(Reservation { _permit: permit }),
            _ => Err(Problem::busy()),
        }
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, u32::MAX >> 3)
}

/// Streams that are open, per caller.
#[derive(Debug, Clone)]
pub struct Streams {
    open: Arc<Mutex<HashMap<String, usize>>>,
    per_caller: usize,
    anonymous: usize,
}

/// One open stream; dropping it closes it.
#[derive(Debug)]
pub struct StreamPermit {
    open: Arc<Mutex<HashMap<String, usize>>>,
    caller: String,
}

impl Streams {
    /// At most `per_caller` for a member or key, and `anonymous` for all callers together that have no name.
    #[must_use]
    pub fn new(per_caller: usize, anonymous: usize) -> Self {
        Self { open: Arc::default(), per_caller, anonymous }
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// When the caller has as many as allowed.
    pub fn open(&self, granted: &Granted) -> Result<StreamPermit, Problem> {
        let caller = granted.subject.clone().unwrap_or_default();
        let limit = if caller.is_empty() { self.anonymous } else { self.per_caller };
        let mut open = self.open.lock();
        let count = open.entry(caller.clone()).or_default();
        if *count >= limit {
            return Err(Problem::too_many_streams(limit));
        }
        *count += 1;
        drop(open);
        Ok(StreamPermit { open: Arc::clone(&self.open), caller })
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        if let Some(count) = open.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_is_reserved_by_bytes_and_given_back() {
        let memory = SearchMemory::new(100 * UNIT);
        let first = memory.reserve(60 * UNIT).await.unwrap();
        let second = memory.reserve(40 * UNIT).await.unwrap();
        let refused = memory.reserve(1).await.unwrap_err();
        assert_eq!((refused.kind.status().as_u16(), refused.retry_after), (503, Some(1)));
        drop(first);
        drop(memory.reserve(50 * UNIT).await.unwrap());
        drop(second);
        let whole = memory.reserve(5000 * UNIT).await;
        assert!(whole.is_ok(), "it runs alone: {whole:?}");
    }
}
