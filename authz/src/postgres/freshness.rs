//! How old a standby's answer is.
//!
//! A standby answers with what it has replayed, and says nothing of what it has not. Two things tell its age:
//!
//! - Marks: where the primary's log ended when it was asked, and when that was. A standby that has replayed up to a mark
//!   knows all that was committed before it. Marks also tell the age where nothing is written for hours.
//! - The time of the last transaction that it replayed, by the primary's clock: all that an authz has that started after the
//!   primary was lost.

use std::{
    collections::VecDeque,
    time::{Duration, Instant, SystemTime},
};

/// Marks kept at the most: the recent past in steps of a probe, the distant one in coarser ones.
const MARKS: usize = 512;
/// A transaction from further in our future than this tells of a clock that is wrong, and of no age.
const CLOCKS: Duration = Duration::from_secs(30);

/// What a standby has replayed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Replayed {
    /// Bytes of log, counted from its beginning.
    pub(super) position: u64,
    /// The last transaction, in seconds since the epoch by the clock of the primary that ran it.
    pub(super) transaction: Option<f64>,
}

/// Where the primary's log was, and when.
#[derive(Debug, Default)]
pub(super) struct Marks {
    timeline: i64,
    /// Positions and moments grow.
    marks: VecDeque<(u64, Instant)>,
}

impl Marks {
    /// The primary's log ended at `position` or later when it was asked at `asked`. On a new timeline all that was known
    /// of the old one is forgotten: part of it may never have happened.
    pub(super) fn note(&mut self, timeline: i64, position: u64, asked: Instant) {
        if timeline != self.timeline {
            self.marks.clear();
            self.timeline = timeline;
        }
        match self.marks.back_mut() {
            // Nothing was written: whoever has replayed this is as new as the latest question.
            Some((last, moment)) if *last == position => *moment = asked.max(*moment),
            // A log that got shorter is another log.
            Some((last, _)) if *last > position => {
                self.marks.clear();
                self.marks.push_back((position, asked));
            }
            _ => self.marks.push_back((position, asked)),
        }
        if self.marks.len() > MARKS {
            // A mark that is missing makes a standby older than it is, never newer.
            let mut number = 0;
            self.marks.retain(|_| {
                number += 1;
                number > MARKS / 2 || number % 2 == 0
            });
        }
    }

    /// How old an answer is that is read at `now` from a standby that has replayed this much; `None`: nobody knows.
    pub(super) fn age(&self, replayed: Replayed, now: Instant, clock: SystemTime) -> Option<Duration> {
        let reached = self.marks.partition_point(|(position, _)| *position <= replayed.position);
        let by_mark = reached
            .checked_sub(1)
            .and_then(|index| self.marks.get(index))
            .map(|(_, moment)| now.saturating_duration_since(*moment));
        let by_transaction = replayed.transaction.and_then(|seconds| {
            let at = SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
            match clock.duration_since(at) {
                Ok(age) => Some(age),
                // By a clock that is a little ahead of ours it was just now.
                Err(ahead) if ahead.duration() <= CLOCKS => Some(Duration::ZERO),
                Err(_) => None,
            }
        });
        by_mark.into_iter().chain(by_transaction).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn clock(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + SECOND * u32::try_from(seconds).unwrap()
    }

    fn replayed(position: u64, transaction: Option<f64>) -> Replayed {
        Replayed { position, transaction }
    }

    #[test]
    fn a_standby_is_as_new_as_the_last_mark_that_it_reached() {
        let (mut marks, start) = (Marks::default(), Instant::now());
        for (position, after) in [(100, 0), (200, 1), (300, 2)] {
            marks.note(1, position, start + SECOND * after);
        }
        let age = |position| marks.age(replayed(position, None), start + SECOND * 10, clock(1000));
        assert_eq!(age(99), None);
        assert_eq!(age(100), Some(SECOND * 10));
        assert_eq!(age(299), Some(SECOND * 9));
        assert_eq!(age(300), Some(SECOND * 8));
        assert_eq!(age(9000), Some(SECOND * 8));
    }

    #[test]
    fn a_primary_that_writes_nothing_keeps_its_standby_new() {
        let (mut marks, start) = (Marks::default(), Instant::now());
        for after in 0..100_000 {
            marks.note(1, 100, start + SECOND * after);
        }
        assert_eq!(marks.marks.len(), 1);
        let age = marks.age(replayed(100, Some(5.0)), start + SECOND * 100_000, clock(100_005));
        assert_eq!(age, Some(SECOND));
    }

    #[test]
    fn without_a_mark_the_last_transaction_tells_and_a_wrong_clock_does_not() {
        let marks = Marks::default();
        let age = |seconds| marks.age(replayed(100, seconds), Instant::now(), clock(1000));
        assert_eq!(age(Some(990.0)), Some(SECOND * 10));
        assert_eq!(age(Some(1001.0)), Some(Duration::ZERO));
        assert_eq!(age(Some(1031.0)), None);
        for nonsense in [None, Some(f64::NAN), Some(f64::INFINITY), Some(-1.0)] {
            assert_eq!(age(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn another_timeline_or_a_shorter_log_forgets_the_marks() {
        let (mut marks, start) = (Marks::default(), Instant::now());
        marks.note(1, 500, start);
        marks.note(2, 400, start + SECOND);
        assert_eq!(marks.age(replayed(450, None), start + SECOND * 2, clock(0)), Some(SECOND));
        marks.note(2, 300, start + SECOND * 3);
        assert_eq!(marks.age(replayed(299, None), start + SECOND * 4, clock(0)), None);
    }

    #[test]
    fn marks_are_bounded_and_thinning_them_never_makes_a_standby_newer() {
        let (mut marks, start) = (Marks::default(), Instant::now());
        for n in 0..20_000_u32 {
            marks.note(1, u64::from(n), start + SECOND * n);
            assert!(marks.marks.len() <= MARKS);
        }
        let now = start + SECOND * 20_000;
        for position in 0..20_000_u64 {
            let true_age = Duration::from_secs(20_000 - position);
            let assumed = marks.age(replayed(position, None), now, clock(0));
            assert!(assumed.is_none_or(|age| age >= true_age), "{position}: {assumed:?}");
        }
        assert_eq!(marks.age(replayed(19_999, None), now, clock(0)), Some(SECOND));
    }
}
