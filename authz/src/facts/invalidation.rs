//! What was told: which members changed, when everything may have, and whether anybody is told anything now.
//!
//! Whoever may log into the database may tell anything. So a change costs a fixed amount of memory whatever it names, and
//! disturbs the one member that it names; "everything" is believed once a second at the most.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use authz_core::entitlement::MemberId;

/// Slots for members, 1 MiB. A change of a member who shares a slot restarts a read that is under way, and keeps a standby
/// that has not replayed it from being believed: both are rare, and safe.
const SLOTS: usize = 1 << 17;

/// A moment: nanoseconds since this process started to count; negative before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(i64);

impl Moment {
    /// The moment `age` earlier.
    pub(super) fn before(self, age: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// The moment `time` later.
    #[cfg(test)]
    pub(super) fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// How long before `now` it was.
    pub(super) fn age(self, now: Self) -> Duration {
        Duration::from_nanos(u64::try_from(now.0.saturating_sub(self.0)).unwrap_or(0))
    }
}

/// The changes that were told.
#[derive(Debug)]
pub struct Invalidations {
    start: Instant,
    hasher: RandomState,
    /// When a change of a member in this slot was last told.
    members: Box<[AtomicI64]>,
    /// When a change of whomever was last told.
    anybody: AtomicI64,
    /// When a change of everything was last told.
    everything: AtomicI64,
    /// Grows when everything may have changed: told, or perhaps not heard.
    epoch: AtomicU64,
    /// Whether changes are being told.
    heard: AtomicBool,
}

impl Invalidations {
    /// Nothing was told yet, and nobody is listening.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            hasher: RandomState::new(),
            members: (0..SLOTS).map(|_| AtomicI64::new(i64::MIN)).collect(),
            anybody: AtomicI64::new(i64::MIN),
            everything: AtomicI64::new(i64::MIN),
            epoch: AtomicU64::new(0),
            heard: AtomicBool::new(false),
        })
    }

    /// The present moment.
    pub(super) fn now(&self) -> Moment {
        Moment(i64::try_from(self.start.elapsed().as_nanos()).unwrap_or(i64::MAX))
    }

    /// A change of this member was told just now: the moment.
    pub(super) fn tell(&self, member: &MemberId) -> Moment {
        let now = self.now();
        self.slot(member).fetch_max(now.0, Ordering::AcqRel);
        self.anybody.fetch_max(now.0, Ordering::AcqRel);
        now
    }

    /// A change of everything was told just now.
    pub(super) fn tell_everything(&self) {
        self.everything.fetch_max(self.now().0, Ordering::AcqRel);
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Changes may not have been heard.
    pub(super) fn missed(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether a change of this member, or of one who shares its slot, was told at that moment or later.
    pub(super) fn told_since(&self, member: &MemberId, moment: Moment) -> bool {
        self.slot(member).load(Ordering::Acquire) >= moment.0
    }

    /// Whether a change of whomever was told at that moment or later.
    pub(super) fn told_anything_since(&self, moment: Moment) -> bool {
        self.anybody.load(Ordering::Acquire) >= moment.0 || self.told_everything_since(moment)
    }

    /// Whether a change of everything was told at that moment or later.
    pub(super) fn told_everything_since(&self, moment: Moment) -> bool {
        self.everything.load(Ordering::Acquire) >= moment.0
    }

    /// What is read in an older epoch must be read again before it counts as fresh.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Whether changes are being told now.
    pub(super) fn heard(&self) -> bool {
        self.heard.load(Ordering::Acquire)
    }

    /// Changes are told from now on, or no more.
    pub(super) fn set_heard(&self, heard: bool) {
        self.heard.store(heard, Ordering::Release);
    }

    fn slot(&self, member: &MemberId) -> &AtomicI64 {
        #[expect(clippy::cast_possible_truncation, reason = "reduced to the number of slots")]
        let index = self.hasher.hash_one(member) as usize % SLOTS;
        #[expect(clippy::indexing_slicing, reason = "the remainder is below the length")]
        &self.members[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(subject: &str) -> MemberId {
        MemberId { issuer: "https://learn.example.org".into(), subject: subject.into() }
    }

    /// A member who shares no slot with this one.
    fn other(told: &Invalidations, than: &MemberId) -> MemberId {
        let apart = |other: &MemberId| !std::ptr::eq(told.slot(other), told.slot(than));
        (0..).map(|n| member(&format!("other-{n}"))).find(apart).unwrap()
    }

    #[test]
    fn a_change_voids_what_was_known_of_that_member_before_and_of_no_other() {
        let told = Invalidations::new();
        let (before, bob) = (told.now(), other(&told, &member("ada")));
        assert!(!told.told_since(&member("ada"), before));
        told.tell(&member("ada"));
        assert!(told.told_since(&member("ada"), before));
        // Even of what is as old as the process, or older.
        assert!(told.told_since(&member("ada"), before.before(Duration::from_secs(3600))));
        assert!(!told.told_since(&bob, before));
        let after = told.now().after(Duration::from_nanos(1));
        assert!(!told.told_since(&member("ada"), after));
        assert!(!told.told_everything_since(before) && told.told_anything_since(before));
    }

    #[test]
    fn everything_is_one_epoch_and_so_is_a_silence() {
        let told = Invalidations::new();
        let (before, epoch) = (told.now(), told.epoch());
        told.missed();
        assert!(told.epoch() > epoch && !told.told_everything_since(before));
        let epoch = told.epoch();
        told.tell_everything();
        assert!(told.epoch() > epoch && told.told_everything_since(before));
        assert!(!told.told_since(&member("ada"), before), "a member of its own is not told of");
    }

    #[test]
    fn any_number_of_names_takes_the_same_memory() {
        let told = Invalidations::new();
        for n in 0..300_000 {
            told.tell(&member(&n.to_string()));
        }
        assert_eq!(told.members.len(), SLOTS);
    }
}
