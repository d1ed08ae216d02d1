//! Bytes that what waits in a queue may take together. Counting entries would let whoever decides how large one is decide
//! how much memory they take.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Bytes for everything that waits in one place.
#[derive(Debug)]
pub struct ByteBudget {
    most: usize,
    taken: AtomicUsize,
}

impl ByteBudget {
    /// A budget of this many bytes.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: AtomicUsize::new(0) })
    }

    /// Takes a share; `None` when so much is not left.
    pub fn take(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        let with = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.most);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with).ok()?;
        Some(Share { budget: Arc::clone(self), bytes })
    }

    /// Bytes that are taken now.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

/// A share of a budget. Dropping it gives it back.
#[derive(Debug)]
pub struct Share {
    budget: Arc<ByteBudget>,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_bounded_and_comes_back() {
        let budget = ByteBudget::new(100);
        let first = budget.take(60).unwrap();
        assert!(budget.take(41).is_none());
        let second = budget.take(40).unwrap();
        assert!(budget.take(1).is_none() && budget.take(usize::MAX).is_none());
        drop(first);
        assert_eq!(budget.taken(), 40);
        drop(second);
        assert!(budget.take(100).is_some());
    }
}
