//! One read for all that need the same.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OnceCell, watch};

type Cells<T> = Arc<Mutex<HashMap<String, Arc<Flight<T>>>>>;

/// Reads under way, by name. There are never more than callers that wait for their turn and reads that have it.
#[derive(Debug)]
pub(super) struct Flights<T>(Cells<T>);

/// How far a read is.
#[derive(Debug, Clone)]
enum Stage<T> {
    Under,
    Done(T),
    /// It ended without a result.
    Lost,
}

#[derive(Debug)]
struct Flight<T> {
    begun: OnceCell<()>,
    stage: watch::Sender<Stage<T>>,
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    pub(super) fn new() -> Self {
        Self(Cells::default())
    }

    /// The result of `read`, or of the one that is under way; `None` when it was lost. Callers wait for `turn` themselves: one
    /// that goes away before leaves nothing behind. A read that has begun goes on without them.
    pub(super) async fn join<P, F>(
        &self,
        name: &str,
        turn: impl Future<Output = P>,
        read: impl FnOnce(P) -> F,
    ) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let seat = self.seat(name);
        let mut stage = seat.flight.stage.subscribe();
        let begin = || async {
            let read = read(turn.await);
            let end = End(seat.again());
            tokio::spawn(async move {
                let result = read.await;
                end.0.flight.stage.send_replace(Stage::Done(result));
            });
        };
        seat.flight.begun.get_or_init(begin).await;
        match &*stage.wait_for(|stage| !matches!(stage, Stage::Under)).await.ok()? {
            Stage::Done(result) => Some(result.clone()),
            Stage::Under | Stage::Lost => None,
        }
    }

    fn seat(&self, name: &str) -> Seat<T> {
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Arc::new(Flight { begun: OnceCell::new(), stage: watch::Sender::new(Stage::Under) });
        let flight = Arc::clone(cells.entry(name.to_owned()).or_insert_with(fresh));
        Seat { cells: Arc::clone(&self.0), name: name.to_owned(), flight }
    }
}

/// A place in a flight.
struct Seat<T> {
    cells: Cells<T>,
    name: String,
    flight: Arc<Flight<T>>,
}

impl<T> Seat<T> {
    fn again(&self) -> Self {
        Self { cells: Arc::clone(&self.cells), name: self.name.clone(), flight: Arc::clone(&self.flight) }
    }

    /// Whoever comes later reads anew.
    fn close(&self, holders: usize) {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = cells.get(&self.name).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight));
        if ours && Arc::strong_count(&self.flight) <= holders {
            cells.remove(&self.name);
        }
    }
}

impl<T> Drop for Seat<T> {
    fn drop(&mut self) {
        // The last one: only the map holds it beside this seat.
        self.close(2);
    }
}

/// Ends the flight when the read does, however it ends.
struct End<T>(Seat<T>);

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        self.0.close(usize::MAX);
        self.0.flight.stage.send_if_modified(|stage| {
            let lost = matches!(stage, Stage::Under);
            if lost {
                *stage = Stage::Lost;
            }
            lost
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, ready},
        sync::atomic::{AtomicU32, Ordering},
        task::{Context, Waker},
    };

    use tokio::sync::Notify;

    use super::*;

    fn under_way<T>(flights: &Flights<T>) -> usize {
        flights.0.lock().unwrap().len()
    }

    #[tokio::test]
    async fn many_callers_make_one_read_and_leave_nothing() {
        let (flights, reads, go) = (Arc::new(Flights::new()), Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let call = || {
            let (flights, reads, go) = (Arc::clone(&flights), Arc::clone(&reads), Arc::clone(&go));
            tokio::spawn(async move {
                let read = |()| async move {
                    go.notified().await;
                    reads.fetch_add(1, Ordering::SeqCst)
                };
                flights.join("key", ready(()), read).await
            })
        };
        // The one that began it goes away; the read goes on for the others.
        let first = call();
        while !flights.0.lock().unwrap().get("key").is_some_and(|flight| flight.begun.initialized()) {
            tokio::task::yield_now().await;
        }
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        let callers: Vec<_> = (0..50).map(|_| call()).collect();
        // The map, the read and the callers.
        while flights.0.lock().unwrap().get("key").is_none_or(|flight| Arc::strong_count(flight) < 52) {
            tokio::task::yield_now().await;
        }
        go.notify_one();
        for caller in callers {
            assert_eq!(caller.await.unwrap(), Some(0));
        }
        assert_eq!((reads.load(Ordering::SeqCst), under_way(&flights)), (1, 0));
    }

    #[test]
    fn a_caller_that_goes_away_before_its_turn_leaves_nothing() {
        let flights = Flights::<()>::new();
        let mut caller = Box::pin(flights.join("key", pending::<()>(), |()| ready(())));
        let mut context = Context::from_waker(Waker::noop());
        assert!(caller.as_mut().poll(&mut context).is_pending());
        assert_eq!(under_way(&flights), 1);
        drop(caller);
        assert_eq!(under_way(&flights), 0);
    }

    #[tokio::test]
    async fn a_read_that_is_lost_is_told_and_leaves_nothing() {
        let flights = Flights::<()>::new();
        let lost = flights.join("key", ready(()), |()| async { panic!("lost") }).await;
        assert_eq!((lost, under_way(&flights)), (None, 0));
    }
}
