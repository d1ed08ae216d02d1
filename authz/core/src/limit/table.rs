//! The state of limits within a fixed amount of memory, for many threads.
//!
//! A table of sets with sixteen places each; the keyed hash of a key names its set. When a set is full, what would have
//! been a full bucket soonest makes room, and the set remembers the latest time that it gave up of each limit: a floor. A
//! key that is not held is taken to have been used up to its limit's floor, so a key that was evicted comes back with no
//! more than it left with. Floors are kept apart because a time means little to a limit of another scale: a key that is
//! used up for a day must not refuse those that are counted by the second.
//!
//! What follows from that, whatever arrives: the time kept for a key is never earlier than that of a table without
//! bounds which admitted the same requests. Hence every key stays within its burst and rate. The price is paid by keys
//! that are not held: in a set full of used ones they share what lies beyond the floor, with the other keys of their
//! limit, as if they were one client.

use std::{
    array,
    hash::BuildHasher,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::{Mutex, MutexGuard};

use super::{
    Charge, LimitState, StageOutcome,
    gcra::{self, Pace, Verdict},
};
use crate::time::Timestamp;

/// Places of a set.
const WAYS: usize = 16;
/// Sets are locked in this many groups.
const SHARDS: usize = 64;
/// Fewest keys of a table.
pub const MIN_KEYS: u32 = 1024;
/// Keys are counted under this many labels; which label a limit has is the caller's to say.
pub const LABELS: usize = 256;
/// Floors of a set.
const FLOORS: usize = 16;
/// Labels below this have a floor of their own. The others share the rest, by the pace of their keys.
const OWN_FLOORS: usize = FLOORS - 4;

/// Keys of one label.
#[derive(Debug, Default)]
struct Tally {
    /// Came in minus went out; both only grow, so that no order of threads makes it negative for long.
    came: AtomicU64,
    went: AtomicU64,
    evicted: AtomicU64,
}

/// Theoretical arrival times by key.
#[derive(Debug)]
pub struct Table<S> {
    hasher: S,
    sets: usize,
    shards: [Mutex<Shard>; SHARDS],
    tallies: Box<[Tally]>,
}

/// A hash of zero is an empty place. Arrays of numbers, because the system gives them zeroed: a page that no key has
/// reached costs nothing.
#[derive(Debug)]
struct Shard {
    hashes: Vec<[u64; WAYS]>,
    tats: Vec<[u64; WAYS]>,
    /// Label (8 bits) and [`Pace`] (24).
    marks: Vec<[u32; WAYS]>,
    floors: Vec<[u64; FLOORS]>,
    /// Its content has moved to another table.
    retired: bool,
}

/// Where a key is, or would be, and what is noted beside it: its label and [`Pace`].
#[derive(Debug, Clone, Copy)]
struct Place {
    hash: u64,
    shard: usize,
    set: usize,
    mark: u32,
}

/// A group that is locked, at one moment.
struct Locked<'a> {
    shard: &'a mut Shard,
    tallies: &'a [Tally],
    now: u64,
}

impl<S: BuildHasher> Table<S> {
    /// A table of at most `max_keys` keys, 1024 at the least. `hasher` must be keyed with what clients cannot know.
    pub fn new(max_keys: u32, hasher: S) -> Self {
        let sets = (max_keys.max(MIN_KEYS) as usize) / (SHARDS * WAYS);
        let shards = array::from_fn(|_| Mutex::new(Shard::new(sets)));
        let tallies = (0..LABELS).map(|_| Tally::default()).collect();
        Self { hasher, sets, shards, tallies }
    }

    /// Most keys.
    pub fn capacity(&self) -> usize {
        self.sets * SHARDS * WAYS
    }

    /// Keys held under this label, those included whose bucket is full and that nobody has swept yet.
    pub fn held(&self, label: u8) -> u64 {
        let tally = &self.tallies[usize::from(label)];
        let went = tally.went.load(Ordering::Relaxed);
        tally.came.load(Ordering::Relaxed).saturating_sub(went)
    }

    /// Keys of this label that made room while their bucket was not full.
    pub fn evicted(&self, label: u8) -> u64 {
        self.tallies[usize::from(label)].evicted.load(Ordering::Relaxed)
    }

    /// Charges all limits at `now`, or none of them when an enforced one does not fit. `labels` has one for each
    /// charge. `None`: the content has moved to another table, ask there.
    pub fn charge(&self, charges: &[Charge], labels: &[u8], now: Timestamp) -> Option<StageOutcome> {
        let now = now.nanos();
        if let ([charge], [label]) = (charges, labels) {
            let place = self.place(charge, *label);
            let mut shard = self.lock(place.shard)?;
            let (way, verdict) = shard.check(place, charge, now);
            self.locked(&mut shard, now).settle(place, way, &verdict, verdict.fits);
            return Some(StageOutcome { states: vec![LimitState::of(charge, &verdict)], undecidable: false });
        }
        let places: Vec<Place> = charges.iter().zip(labels).map(|(charge, label)| self.place(charge, *label)).collect();
        let mut guards = self.lock_all(&places)?;
        let mut verdicts = Vec::with_capacity(charges.len());
        for (charge, place) in charges.iter().zip(&places) {
            verdicts.push(guards[place.shard].as_ref()?.check(*place, charge, now).1);
        }
        let admitted = charges.iter().zip(&verdicts).all(|(charge, verdict)| verdict.fits || charge.rule.shadow);
        let mut states = Vec::with_capacity(charges.len());
        for ((charge, place), verdict) in charges.iter().zip(places).zip(verdicts) {
            let shard = guards[place.shard].as_mut()?;
            // Looked for again: keeping another key of this request may have moved it out.
            let way = shard.find(place);
            self.locked(shard, now).settle(place, way, &verdict, admitted && verdict.fits);
            states.push(LimitState::of(charge, &verdict));
        }
        Some(StageOutcome { states, undecidable: false })
    }

    /// Makes a key at least as used as `ahead` nanoseconds, as another store reports. `None` as for
    /// [`charge`](Self::charge).
    pub fn raise(&self, charge: &Charge, label: u8, ahead: u64, now: Timestamp) -> Option<()> {
        let now = now.nanos();
        let place = self.place(charge, label);
        let mut shard = self.lock(place.shard)?;
        let (way, verdict) = shard.check(place, charge, now);
        let tat = now.saturating_add(ahead);
        if tat > verdict.uncharged.max(now) {
            self.locked(&mut shard, now).keep(place, way, tat);
        }
        Some(())
    }

    /// Empties the places whose bucket is full, in one of the groups: that changes no decision.
    pub fn sweep(&self, group: usize, now: Timestamp) {
        let mut shard = lock(&self.shards[group % SHARDS]);
        let Shard { hashes, tats, marks, .. } = &mut *shard;
        for ((hashes, tats), marks) in hashes.iter_mut().zip(tats.iter_mut()).zip(marks.iter()) {
            for way in 0..WAYS {
                if hashes[way] != 0 && tats[way] <= now.nanos() {
                    (hashes[way], tats[way]) = (0, 0);
                    self.tallies[label(marks[way])].went.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Number of groups for [`sweep`](Self::sweep).
    pub const GROUPS: usize = SHARDS;

    /// Moves everything into a table of another size and hands that to `publish`. No charge is made meanwhile.
    pub fn resize(&self, max_keys: u32, now: Timestamp, publish: impl FnOnce(Self))
    where
        S: Clone,
    {
        let other = Self::new(max_keys, self.hasher.clone());
        let mut guards: Vec<_> = self.shards.iter().map(lock).collect();
        for (index, shard) in guards.iter_mut().enumerate() {
            let mut target = lock(&other.shards[index]);
            for set in 0..self.sets {
                for hash_set in spans(set, self.sets, other.sets) {
                    for (floor, old) in target.floors[hash_set].iter_mut().zip(shard.floors[set]) {
                        *floor = (*floor).max(old);
                    }
                }
            }
            for set in 0..self.sets {
                for way in 0..WAYS {
                    let (hash, tat) = (shard.hashes[set][way], shard.tats[set][way]);
                    if hash != 0 && tat > now.nanos() {
                        let place = other.place_of(hash, shard.marks[set][way]);
                        other.locked(&mut target, now.nanos()).keep(place, None, tat);
                    }
                }
            }
            shard.retired = true;
        }
        for (tally, mine) in other.tallies.iter().zip(&self.tallies) {
            tally.evicted.fetch_add(mine.evicted.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        publish(other);
    }

    /// A number for a text, keyed as the table's own.
    pub fn fingerprint(&self, text: &str) -> u64 {
        self.hasher.hash_one(text)
    }

    /// One group; `None` if it has moved.
    fn lock(&self, shard: usize) -> Option<MutexGuard<'_, Shard>> {
        Some(lock(&self.shards[shard])).filter(|guard| !guard.retired)
    }

    /// The groups of these places, in ascending order, so that two threads never wait for each other.
    fn lock_all(&self, places: &[Place]) -> Option<[Option<MutexGuard<'_, Shard>>; SHARDS]> {
        let mut wanted = places.iter().fold(0u64, |all, place| all | 1 << place.shard);
        let mut guards = [const { None }; SHARDS];
        while wanted != 0 {
            let shard = wanted.trailing_zeros() as usize;
            wanted &= wanted - 1;
            guards[shard] = Some(self.lock(shard)?);
        }
        Some(guards)
    }

    fn place(&self, charge: &Charge, label: u8) -> Place {
        self.place_of(self.hasher.hash_one(&charge.key).max(1), mark(label, charge))
    }

    /// The highest bits name the group, the next ones the set within it.
    fn place_of(&self, hash: u64, mark: u32) -> Place {
        let shard = index(hash >> (64 - SHARDS.ilog2()));
        let within = (hash << SHARDS.ilog2()) >> 32;
        Place { hash, shard, set: index((within * self.sets as u64) >> 32), mark }
    }

    fn locked<'a>(&'a self, shard: &'a mut Shard, now: u64) -> Locked<'a> {
        Locked { shard, tallies: &self.tallies, now }
    }
}

impl Locked<'_> {
    fn settle(&mut self, place: Place, way: Option<usize>, verdict: &Verdict, charged: bool) {
        // An unheld key that was refused leaves no trace: the floor already stands for it.
        if charged || way.is_some() {
            self.keep(place, way, if charged { verdict.tat } else { verdict.uncharged });
        }
    }

    fn keep(&mut self, place: Place, way: Option<usize>, tat: u64) {
        let Place { hash, set, mark, .. } = place;
        let shard = &mut *self.shard;
        if let Some(way) = way {
            if label(shard.marks[set][way]) != label(mark) {
                self.tallies[label(shard.marks[set][way])].went.fetch_add(1, Ordering::Relaxed);
                self.tallies[label(mark)].came.fetch_add(1, Ordering::Relaxed);
            }
            (shard.tats[set][way], shard.marks[set][way]) = (tat, mark);
            return;
        }
        let tats = &shard.tats[set];
        let way = (0..WAYS).min_by_key(|way| tats[*way]).unwrap_or(0);
        let victim = tats[way];
        let tally = &self.tallies[label(mark)];
        if victim > tat {
            // Among the full set, the newcomer itself is the one that will be a full bucket soonest.
            shard.raise_floor(set, mark, tat);
            tally.evicted.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if shard.hashes[set][way] != 0 {
            let evicted = &self.tallies[label(shard.marks[set][way])];
            evicted.went.fetch_add(1, Ordering::Relaxed);
            if victim > self.now {
                evicted.evicted.fetch_add(1, Ordering::Relaxed);
            }
            // Also when it is in the past: the clock may jump back.
            shard.raise_floor(set, shard.marks[set][way], victim);
        }
        tally.came.fetch_add(1, Ordering::Relaxed);
        (shard.hashes[set][way], shard.tats[set][way], shard.marks[set][way]) = (hash, tat, mark);
    }
}

impl Shard {
    fn new(sets: usize) -> Self {
        Self {
            hashes: vec![[0; WAYS]; sets],
            tats: vec![[0; WAYS]; sets],
            marks: vec![[0; WAYS]; sets],
            floors: vec![[0; FLOORS]; sets],
            retired: false,
        }
    }

    fn find(&self, place: Place) -> Option<usize> {
        self.hashes[place.set].iter().position(|hash| *hash == place.hash)
    }

    fn raise_floor(&mut self, set: usize, mark: u32, tat: u64) {
        let floor = &mut self.floors[set][floor(mark)];
        *floor = (*floor).max(tat);
    }

    fn check(&self, place: Place, charge: &Charge, now: u64) -> (Option<usize>, Verdict) {
        let quota = &charge.allowance.quota;
        let way = self.find(place);
        let tat = match way {
            Some(way) => {
                let pace = Pace::from_bits(self.marks[place.set][way]);
                pace.carry(self.tats[place.set][way], now, quota)
            }
            None => self.floors[place.set][floor(place.mark)],
        };
        (way, gcra::check(tat, now, quota, charge.cost))
    }
}

fn mark(label: u8, charge: &Charge) -> u32 {
    u32::from(label) << Pace::BITS | Pace::of(&charge.allowance.quota).bits()
}

/// The floor that stands for keys of this mark. By the label alone where there are enough: then it is the same for all
/// quotas that one key may be counted under.
fn floor(mark: u32) -> usize {
    match label(mark) {
        own if own < OWN_FLOORS => own,
        _ => OWN_FLOORS + Pace::from_bits(mark).scale(),
    }
}

fn label(mark: u32) -> usize {
    (mark >> Pace::BITS) as usize % LABELS
}

/// The sets of a group of `to` sets that hold the keys of set `set` of a group of `from` sets.
fn spans(set: usize, from: usize, to: usize) -> impl Iterator<Item = usize> {
    let first_of = |set: usize| ((set as u64) << 32).div_ceil(from as u64);
    let target = |within: u64| index((within * to as u64) >> 32);
    target(first_of(set))..=target(first_of(set + 1) - 1)
}

/// What is shifted right to fit.
fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock()
}

#[cfg(test)]
mod tests;
