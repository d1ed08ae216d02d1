//! Room for searches: how many run at a time is decided by the memory that they may take, not by their number.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;

/// Longest that a reader waits for room.
const PATIENCE: Duration = Duration::from_secs(2);
/// What is counted in: a semaphore has no numbers for bytes.
const UNIT: u64 = 1024;

/// Memory for searches under way.
#[derive(Debug)]
pub struct Room {
    units: u32,
    free: Arc<Semaphore>,
}

/// A part of the room, until it is dropped.
#[derive(Debug)]
pub struct Place {
    _taken: OwnedSemaphorePermit,
}

impl Room {
    /// Room of `bytes`.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let units = units(bytes);
        Self { units, free: Arc::new(Semaphore::new(units as usize)) }
    }

    /// Waits, not for long, until `bytes` are free. A search that takes more than there is runs alone.
    ///
    /// # Errors
    /// [`Problem::busy`], with `Retry-After`.
    pub async fn take(&self, bytes: u64) -> Result<Place, Problem> {
        let waiting = Arc::clone(&self.free).acquire_many_owned(units(bytes).min(self.units));
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(Ok(taken)) => Ok(Place { _taken: taken }),
            _ => Err(Problem::busy()),
        }
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, u32::MAX >> 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_is_given_by_bytes_and_given_back() {
        let room = Room::new(100 * UNIT);
        let first = room.take(60 * UNIT).await.unwrap();
        let second = room.take(40 * UNIT).await.unwrap();
        let refused = room.take(1).await.unwrap_err();
        assert_eq!((refused.kind.status().as_u16(), refused.retry_after), (503, Some(1)));
        drop(first);
        drop(room.take(50 * UNIT).await.unwrap());
        drop(second);
        let whole = room.take(5000 * UNIT).await;
        assert!(whole.is_ok(), "it runs alone: {whole:?}");
    }
}
