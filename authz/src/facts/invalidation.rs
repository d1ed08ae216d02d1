//! What was announced: which members changed, when everything may have, and whether anybody hears of it now.
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

/// The changes that were announced.
#[derive(Debug)]
pub struct Invalidations {
    start: Instant,
    hasher: RandomState,
    /// When a change of a member in this slot was last announced.
    members: Box<[AtomicI64]>,
    /// When a change of whomever was last announced.
    anybody: AtomicI64,
    /// When a change of everything was last announced.
    everything: AtomicI64,
    /// Grows when everything may have changed: announced, or perhaps not heard.
    epoch: AtomicU64,
    /// Whether changes are being announced.
    heard: AtomicBool,
}

impl Invalidations {
    /// Nothing was announced yet, and nobody is listening.
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

    /// A change of this member was announced just now: the moment.
    pub(super) fn member_changed(&self, member: &MemberId) -> Moment {
        let now = self.now();
        self.slot(member).fetch_max(now.0, Ordering::AcqRel);
        self.anybody.fetch_max(now.0, Ordering::AcqRel);
        now
    }

    /// A change of everything was announced just now.
    pub(super) fn everything_changed(&self) {
        self.everything.fetch_max(self.now().0, Ordering::AcqRel);
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Changes may not have been heard.
    pub(super) fn missed(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether a change of this member, or of one who shares its slot, was announced at that moment or later.
    pub(super) fn changed_since(&self, member: &MemberId, moment: Moment) -> bool {
        self.slot(member).load(Ordering::Acquire) >= moment.0
    }

    /// Whether a change of whomever was announced at that moment or later.
    pub(super) fn anything_changed_since(&self, moment: Moment) -> bool {
        self.anybody.load(Ordering::Acquire) >= moment.0 || self.everything_changed_since(moment)
    }

    /// Whether a change of everything was announced at that moment or later.
    pub(super) fn everything_changed_since(&self, moment: Moment) -> bool {
        self.everything.load(Ordering::Acquire) >= moment.0
    }

    /// What is read in an older epoch must be read again before it counts as fresh.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Whether changes are being announced now.
    pub(super) fn heard(&self) -> bool {
        self.heard.load(Ordering::Acquire)
    }

    /// Changes are announced from now on, or no more.
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
    fn other(invalidations: &Invalidations, than: &MemberId) -> MemberId {
        let apart = |other: &MemberId| !std::ptr::eq(invalidations.slot(other), invalidations.slot(than));
        (0..).map(|n| member(&format!("other-{n}"))).find(apart).unwrap()
    }

    #[test]
    fn a_change_voids_what_was_known_of_that_member_before_and_of_no_other() {
        let invalidations = Invalidations::new();
        let (before, bob) = (invalidations.now(), other(&invalidations, &member("ada")));
        assert!(!invalidations.changed_since(&member("ada"), before));
        invalidations.member_changed(&member("ada"));
        assert!(invalidations.changed_since(&member("ada"), before));
        // Even of what is as old as the process, or older.
        assert!(invalidations.changed_since(&member("ada"), before.before(Duration::from_secs(3600))));
        assert!(!invalidations.changed_since(&bob, before));
        let after = invalidations.now().after(Duration::from_nanos(1));
        assert!(!invalidations.changed_since(&member("ada"), after));
        assert!(!invalidations.everything_changed_since(before) && invalidations.anything_changed_since(before));
    }

    #[test]
    fn everything_is_one_epoch_and_so_is_a_silence() {
        let invalidations = Invalidations::new();
        let (before, epoch) = (invalidations.now(), invalidations.epoch());
        invalidations.missed();
        assert!(invalidations.epoch() > epoch && !invalidations.everything_changed_since(before));
        let epoch = invalidations.epoch();
        invalidations.everything_changed();
        assert!(invalidations.epoch() > epoch && invalidations.everything_changed_since(before));
        assert!(!invalidations.changed_since(&member("ada"), before), "one member was not named");
    }

    #[test]
    fn any_number_of_names_takes_the_same_memory() {
        let invalidations = Invalidations::new();
        for n in 0..300_000 {
            invalidations.member_changed(&member(&n.to_string()));
        }
        assert_eq!(invalidations.members.len(), SLOTS);
    }
}
