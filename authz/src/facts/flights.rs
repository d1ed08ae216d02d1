//! One read for all that need the same.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{OnceCell, watch};

type Cells<K, T> = Arc<Mutex<HashMap<K, Arc<Flight<T>>>>>;

/// Reads under way, by what is read. There are never more than callers that wait for their turn and reads that have it.
#[derive(Debug)]
pub(super) struct Flights<K, T>(Cells<K, T>);

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

impl<K, T> Flights<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    pub(super) fn new() -> Self {
        Self(Cells::default())
    }

    /// The result of `read`, or of the one that is under way; `None` when it was lost. Callers wait for `turn` themselves: one
    /// that goes away before leaves nothing behind. A read that has begun goes on without them.
    pub(super) async fn join<P, F>(&self, key: K, turn: impl Future<Output = P>, read: impl FnOnce(P) -> F) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let seat = self.seat(key);
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

    /// Whoever comes later reads anew; a read that is under way answers those who joined it before.
    pub(super) fn leave_behind(&self, key: &K) {
        self.0.lock().remove(key);
    }

    /// As [`leave_behind`](Self::leave_behind), of all reads.
    pub(super) fn leave_all_behind(&self) {
        self.0.lock().clear();
    }

    fn seat(&self, key: K) -> Seat<K, T> {
        let fresh = || Arc::new(Flight { begun: OnceCell::new(), stage: watch::Sender::new(Stage::Under) });
        let flight = Arc::clone(self.0.lock().entry(key.clone()).or_insert_with(fresh));
        Seat { cells: Arc::clone(&self.0), key, flight }
    }
}

/// A place in a flight.
struct Seat<K: Eq + Hash, T> {
    cells: Cells<K, T>,
    key: K,
    flight: Arc<Flight<T>>,
}

impl<K: Clone + Eq + Hash, T> Seat<K, T> {
    fn again(&self) -> Self {
        Self { cells: Arc::clone(&self.cells), key: self.key.clone(), flight: Arc::clone(&self.flight) }
    }
}

impl<K: Eq + Hash, T> Seat<K, T> {
    /// Whoever comes later reads anew.
    fn close(&self, holders: usize) {
        let mut cells = self.cells.lock();
        let ours = cells.get(&self.key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight));
        if ours && Arc::strong_count(&self.flight) <= holders {
            cells.remove(&self.key);
        }
    }
}

impl<K: Eq + Hash, T> Drop for Seat<K, T> {
    fn drop(&mut self) {
        // The last one: only the map holds it beside this seat.
        self.close(2);
    }
}

/// Ends the flight when the read does, however it ends.
struct End<K: Eq + Hash, T>(Seat<K, T>);

impl<K: Eq + Hash, T> Drop for End<K, T> {
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

    fn under_way<T>(flights: &Flights<&str, T>) -> usize {
        flights.0.lock().len()
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
        while !flights.0.lock().get("key").is_some_and(|flight| flight.begun.initialized()) {
            tokio::task::yield_now().await;
        }
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        let callers: Vec<_> = (0..50).map(|_| call()).collect();
        // The map, the read and the callers.
        while flights.0.lock().get("key").is_none_or(|flight| Arc::strong_count(flight) < 52) {
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
        let flights = Flights::<_, ()>::new();
        let mut caller = Box::pin(flights.join("key", pending::<()>(), |()| ready(())));
        let mut context = Context::from_waker(Waker::noop());
        assert!(caller.as_mut().poll(&mut context).is_pending());
        assert_eq!(under_way(&flights), 1);
        drop(caller);
        assert_eq!(under_way(&flights), 0);
    }

    #[tokio::test]
    async fn a_read_that_is_lost_is_told_and_leaves_nothing() {
        let flights = Flights::<_, ()>::new();
        let lost = flights.join("key", ready(()), |()| async { panic!("lost") }).await;
        assert_eq!((lost, under_way(&flights)), (None, 0));
    }

    /// As a member's first look-up on a busy machine: every caller's deadline ends before the read does.
    #[tokio::test]
    async fn callers_that_go_away_while_the_read_is_under_way_leave_nothing() {
        let (flights, reads, go) = (Flights::new(), Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let read = |()| {
            let (reads, go) = (Arc::clone(&reads), Arc::clone(&go));
            async move {
                let number = reads.fetch_add(1, Ordering::SeqCst);
                go.notified().await;
                number
            }
        };
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            let mut caller = Box::pin(flights.join("key", ready(()), read));
            assert!(caller.as_mut().poll(&mut context).is_pending());
            tokio::task::yield_now().await;
        }
        assert_eq!(
            (reads.load(Ordering::SeqCst), under_way(&flights)),
            (1, 1),
            "the read goes on, and is the only one"
        );
        go.notify_one();
        while under_way(&flights) > 0 {
            tokio::task::yield_now().await;
        }
        go.notify_one();
        assert_eq!(flights.join("key", ready(()), read).await, Some(1), "whoever comes later reads anew");
        assert_eq!(under_way(&flights), 0);
    }

    #[tokio::test]
    async fn a_read_that_was_left_behind_answers_those_who_joined_it_and_disturbs_no_later_one() {
        let (flights, [first, second]) = (Flights::new(), [(); 2].map(|()| Arc::new(Notify::new())));
        let read = |number, go: &Arc<Notify>| {
            let go = Arc::clone(go);
            move |()| async move {
                go.notified().await;
                number
            }
        };
        let mut context = Context::from_waker(Waker::noop());
        let mut before = Box::pin(flights.join("key", ready(()), read(1, &first)));
        assert!(before.as_mut().poll(&mut context).is_pending());
        flights.leave_behind(&"key");
        let mut after = Box::pin(flights.join("key", ready(()), read(2, &second)));
        assert!(after.as_mut().poll(&mut context).is_pending());
        first.notify_one();
        assert_eq!(before.await, Some(1));
        assert_eq!(under_way(&flights), 1, "the later read is still there to be joined");
        second.notify_one();
        assert_eq!(after.await, Some(2));
        assert_eq!(under_way(&flights), 0);
    }
}
