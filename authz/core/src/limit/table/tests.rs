use std::{
    collections::BTreeMap,
    hash::{BuildHasherDefault, Hasher, RandomState},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;

use super::*;
use crate::limit::{
    Allowance, LimitKey, LimitRule, Quota,
    memory::MemoryLimits,
    quota::interval_nanos,
    tests::{allowance, rule},
};

const START: u64 = 1_800_000_000_000_000_000;

/// Sends every key to the first set: the worst that a flood could do.
#[derive(Default)]
struct Crowd(u64);

impl Hasher for Crowd {
    fn finish(&self) -> u64 {
        self.0 & 0x3ff_ffff
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(0x0100_0000_01b3).wrapping_add(u64::from(*byte));
        }
    }
}

type Crowded = BuildHasherDefault<Crowd>;

fn charge(key: u32, allowance: Allowance, cost: u32, shadow: bool) -> Charge {
    Charge { rule: rule("l", allowance, shadow), allowance, key: LimitKey(format!("l|{key}").into()), cost }
}

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn fits<S: BuildHasher>(table: &Table<S>, charge: &Charge, now: u64) -> bool {
    table.charge(std::slice::from_ref(charge), &[0], at(now)).unwrap().states[0].fits
}

#[derive(Debug, Clone)]
struct Step {
    /// Milliseconds, also backwards.
    moved: i64,
    keys: Vec<(u32, usize, u32, bool)>,
}

fn steps(keys: u32, backwards: bool) -> impl Strategy<Value = Vec<Step>> {
    let moved = if backwards {
        prop_oneof![8 => 0i64..300, 1 => -20_000i64..0, 1 => 0i64..60_000].boxed()
    } else {
        prop_oneof![20 => 0i64..300, 1 => 0i64..60_000].boxed()
    };
    let one = (0..keys, 0usize..3, 1u32..4, proptest::bool::weighted(0.2));
    let step = (moved, proptest::collection::vec(one, 1..4)).prop_map(|(moved, mut keys)| {
        // One request never counts the same key twice.
        keys.sort_by_key(|key| key.0);
        keys.dedup_by_key(|key| key.0);
        Step { moved, keys }
    });
    proptest::collection::vec(step, 1..200)
}

/// A limit against floods, one for callers, and one for a day.
fn scales() -> [Allowance; 3] {
    [allowance(1200, 60, 20), allowance(60, 60, 5), allowance(1000, 86_400, 1000)]
}

/// Labels with floors of their own, and such as come after them.
fn mixed_labels() -> impl Strategy<Value = [u8; 3]> {
    prop_oneof![Just([0, 1, 2]), Just([7, 40, 11]), Just([200, 200, 200]), Just([255, 3, 255])]
}

fn mixed_steps(keys: u32) -> impl Strategy<Value = Vec<Step>> {
    let one = (0..keys, 0usize..3, prop_oneof![9 => 1u32..4, 1 => Just(5u32)], Just(false));
    let step = (0i64..300, proptest::collection::vec(one, 1..12)).prop_map(|(moved, keys)| Step { moved, keys });
    proptest::collection::vec(step, 1..150)
}

/// A charge of one of several limits.
fn scaled(key: u32, scale: usize, allowance: Allowance, cost: u32) -> Charge {
    let mut rule = LimitRule::clone(&rule("l", allowance, false));
    rule.name = format!("scale-{scale}").into();
    Charge { allowance, key: LimitKey(format!("scale-{scale}|{key}").into()), rule: Arc::new(rule), cost }
}

/// One key is counted under several quotas: tiers, and rates that a reload changed.
fn allowances() -> [Allowance; 3] {
    [allowance(20, 10, 5), allowance(3, 1, 12), allowance(60, 60, 1)]
}

fn charges(step: &Step) -> Vec<Charge> {
    step.keys.iter().map(|(key, which, cost, shadow)| charge(*key, allowances()[*which], *cost, *shadow)).collect()
}

proptest! {
    /// With room for all keys the table is the model: same verdicts, same numbers in headers, on a clock that jumps.
    #[test]
    fn with_room_it_is_exact(steps in steps(12, true)) {
        let (table, mut model, mut now) = (Table::new(0, RandomState::new()), MemoryLimits::default(), START);
        for step in steps {
            now = now.saturating_add_signed(step.moved * 1_000_000);
            let charges = charges(&step);
            let labels = vec![0; charges.len()];
            prop_assert_eq!(table.charge(&charges, &labels, at(now)).unwrap(), model.charge(&charges, at(now)));
        }
    }

    /// Without room it only ever admits what the model, which forgets nothing, admits after the same requests.
    #[test]
    fn eviction_never_gives_a_budget_back(steps in steps(80, false)) {
        let (table, mut model, mut now) = (Table::new(0, Crowded::default()), MemoryLimits::default(), START);
        for step in steps {
            now = now.saturating_add_signed(step.moved * 1_000_000);
            // One quota: what the floor promises does not reach across a change of the rate.
            let charges: Vec<Charge> =
                step.keys.iter().map(|(key, _, cost, _)| charge(*key, allowances()[0], *cost, false)).collect();
            let labels = vec![0; charges.len()];
            if table.charge(&charges, &labels, at(now)).unwrap().refusing().is_none() {
                let outcome = model.charge(&charges, at(now));
                prop_assert!(outcome.refusing().is_none(), "{outcome:?}");
            }
        }
    }

    /// Never more than burst and rate over any window, for every key, in a set that is far too small.
    #[test]
    fn every_key_stays_within_burst_and_rate(steps in steps(60, false)) {
        let (table, mut now) = (Table::new(0, Crowded::default()), START);
        let allowance = allowances()[0];
        let mut admitted: BTreeMap<u32, Vec<(u64, u64)>> = BTreeMap::new();
        for step in steps {
            now = now.saturating_add_signed(step.moved * 1_000_000);
            for (key, _, cost, _) in &step.keys {
                if fits(&table, &charge(*key, allowance, *cost, false), now) {
                    admitted.entry(*key).or_default().push((now, u64::from(*cost)));
                }
            }
        }
        for admitted in admitted.values() {
            for (first, (from, _)) in admitted.iter().enumerate() {
                let mut sum = 0;
                for (until, cost) in &admitted[first..] {
                    sum += cost;
                    prop_assert!(sum <= u64::from(allowance.burst()) + (until - from) / interval_nanos(&allowance.quota) + 1);
                }
            }
        }
    }

    /// Whatever lies in the set, a caller who waits as long as the whole burst takes is served: nobody starves while
    /// others are quiet.
    #[test]
    fn nobody_starves(steps in steps(200, false)) {
        let (table, mut now) = (Table::new(0, Crowded::default()), START);
        for step in steps {
            now = now.saturating_add_signed(step.moved * 1_000_000);
            let charges = charges(&step);
            table.charge(&charges, &vec![0; charges.len()], at(now)).unwrap();
        }
        now += 60_000_000_000;
        for (key, allowance) in (1_000..).zip(allowances()) {
            prop_assert!(fits(&table, &charge(key, allowance, 1, false), now));
        }
    }

    /// Limits of other time scales in the same set take nothing from each other: whatever would fit if all callers of a
    /// limit were one caller, and the other limits did not exist, is admitted. And no eviction gives anything back.
    #[test]
    fn scales_share_places_and_never_floors(steps in mixed_steps(120), labels in mixed_labels()) {
        let (table, mut now) = (Table::new(0, Crowded::default()), START);
        let (mut together, mut apart) = (MemoryLimits::default(), MemoryLimits::default());
        for step in steps {
            now += step.moved.unsigned_abs() * 1_000_000;
            for (key, scale, cost, _) in step.keys {
                let allowance = scales()[scale];
                let one = [scaled(key, scale, allowance, cost)];
                let as_one = [scaled(0, scale, allowance, cost)];
                let admitted = table.charge(&one, &[labels[scale]], at(now)).unwrap().refusing().is_none();
                if admitted {
                    prop_assert!(apart.charge(&one, at(now)).refusing().is_none(), "an eviction gave something back");
                    // What was admitted counts for all of them, whether or not one caller would have been.
                    let spare = [scaled(0, scale, Allowance::new(allowance.rate, NonZeroU32::MAX), cost)];
                    together.charge(&spare, at(now));
                } else {
                    let outcome = together.clone().charge(&as_one, at(now));
                    prop_assert!(outcome.refusing().is_some(), "{allowance} was refused for others' sake");
                }
            }
        }
    }

    /// A table that grows or shrinks gives nothing back either.
    #[test]
    fn a_resize_gives_no_budget_back(before in steps(60, false), sizes in proptest::collection::vec(1_000u32..20_000, 1..4), after in steps(60, false)) {
        let (mut table, mut model, mut now) = (Table::new(0, Crowded::default()), MemoryLimits::default(), START);
        let mut run = |table: &Table<Crowded>, steps: Vec<Step>| {
            for step in steps {
                now += u64::try_from(step.moved).unwrap() * 1_000_000;
                let charge = [charge(step.keys[0].0, allowances()[0], step.keys[0].2, false)];
                if table.charge(&charge, &[0], at(now)).unwrap().refusing().is_none() {
                    assert!(model.charge(&charge, at(now)).refusing().is_none());
                }
            }
            now
        };
        let now = run(&table, before);
        for size in sizes {
            let mut moved = None;
            table.resize(size, at(now), |other| moved = Some(other));
            prop_assert!(table.charge(&[charge(0, allowances()[0], 1, false)], &[0], at(now)).is_none(), "the old one is retired");
            table = moved.unwrap();
        }
        run(&table, after);
    }

    #[test]
    fn a_pace_is_kept_within_four_millionths(interval in 1_000_000u64..90_000_000_000_000) {
        let every = |nanos| Quota::with_period(Duration::from_nanos(nanos)).unwrap();
        let quota = every(interval);
        let kept = Pace::from_bits(Pace::of(&quota).bits());
        let (tat, now) = (2_000 * interval, 1_000 * interval);
        prop_assert_eq!(kept.carry(tat, now, &quota), tat);
        let double = every(interval * 2);
        let carried = kept.carry(tat, now, &double) - now;
        prop_assert!(carried <= 2_000 * interval + 1 && carried >= 2_000 * interval - interval / 100, "{carried}");
    }
}

#[test]
fn a_changed_rate_keeps_what_was_used() {
    let table = Table::new(0, RandomState::new());
    let spend = |allowance: Allowance, cost: u32, now: u64| {
        table.charge(&[charge(1, allowance, cost, false)], &[0], at(START + now)).unwrap().states[0].clone()
    };
    assert_eq!(spend(allowance(60, 60, 20), 18, 0).remaining, 2);
    // Slower: the eighteen stay spent. Faster: the same, and no lock-out from the slow times.
    assert_eq!(spend(allowance(1, 60, 20), 1, 0).remaining, 1);
    assert_eq!(spend(allowance(600, 60, 20), 1, 0).remaining, 0);
    assert!(!spend(allowance(600, 60, 20), 1, 0).fits);
    assert!(spend(allowance(600, 60, 20), 1, 100_000_000).fits);
}

#[test]
fn a_clock_that_jumps_back_locks_nobody_out_for_longer_than_the_burst_takes() {
    let table = Table::new(0, RandomState::new());
    let one = charge(1, allowance(60, 60, 2), 1, false);
    assert!(fits(&table, &one, START));
    let back = START - 86_400_000_000_000;
    assert!(!fits(&table, &one, back), "taken for used up");
    assert!(fits(&table, &one, back + 1_000_000_000));
}

/// What `docs/public/limits.md` says of the price: many keys that are used up for a day delay nobody whom another limit
/// counts.
#[test]
fn keys_that_are_used_up_for_a_day_refuse_no_key_of_a_limit_against_floods() {
    let table = Table::new(0, RandomState::new());
    let (day, flood) = (allowance(1000, 86_400, 1000), allowance(1200, 60, 200));
    for key in 0..20_000 {
        table.charge(&[scaled(key, 2, day, 1000)], &[2], at(START)).unwrap();
    }
    assert!(table.evicted(2) > 50, "every set is full");
    let newcomer = table.charge(&[scaled(99_999, 2, day, 1000)], &[2], at(START)).unwrap();
    assert!(newcomer.refusing().is_some(), "the day's own floor stands");
    for key in 0..5_000 {
        let outcome = table.charge(&[scaled(key, 0, flood, 1)], &[0], at(START + u64::from(key) * 1_000_000)).unwrap();
        assert!(outcome.refusing().is_none(), "{key}: {outcome:?}");
    }
}

#[test]
fn keys_are_counted_by_label_swept_and_evicted() {
    let table = Table::new(0, Crowded::default());
    let allowance = allowance(60, 60, 2);
    for key in 0..16 {
        table.charge(&[charge(key, allowance, 1, false)], &[3], at(START)).unwrap();
    }
    assert_eq!((table.held(3), table.held(4), table.evicted(3)), (16, 0, 0));
    table.charge(&[charge(16, allowance, 2, false)], &[4], at(START)).unwrap();
    assert_eq!((table.held(3), table.held(4), table.evicted(3)), (15, 1, 1));
    // The floor of the first limit is one token: a stranger has one left there, and two elsewhere.
    let left = |label: u8, key| table.charge(&[charge(key, allowance, 0, false)], &[label], at(START)).unwrap();
    assert_eq!((left(4, 98).states[0].remaining, left(3, 99).states[0].remaining), (2, 1));
    for group in 0..Table::<Crowded>::GROUPS {
        table.sweep(group, at(START + 60_000_000_000));
    }
    assert_eq!((table.held(3), table.held(4)), (0, 0));
}

#[test]
fn exactly_the_budget_is_admitted_under_contention() {
    let table = Table::new(0, RandomState::new());
    let (wide, narrow) =
        (charge(1, allowance(1, 86_400, 1_000), 1, false), charge(2, allowance(1, 86_400, 100), 1, false));
    let admitted: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let mut both = [wide.clone(), narrow.clone()];
                if thread % 2 == 0 {
                    both.reverse();
                }
                let table = &table;
                scope.spawn(move || {
                    (0..250).filter(|_| table.charge(&both, &[0, 0], at(START)).unwrap().refusing().is_none()).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(admitted, 100);
    assert_eq!(table.charge(&[wide], &[0], at(START)).unwrap().states[0].remaining, 899);
}
