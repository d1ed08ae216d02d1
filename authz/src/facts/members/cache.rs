//! What is remembered of members, and for how long which part of it may be said.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use authz_core::{
    entitlement::{MemberId, MemberRecord, Membership},
    policy::EntitlementsPolicy,
};
use moka::sync::Cache;

use crate::facts::invalidation::{Invalidations, Moment};

/// How long an entry is fresh while changes are not being told, and how long a standby's answer serves without asking it
/// again.
pub(in crate::facts) const UNHEARD: Duration = Duration::from_secs(1);

/// What the store said of a member.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: Option<Arc<MemberRecord>>,
    pub(super) revoked_tokens: Vec<String>,
    /// When it was read.
    pub(super) read: Moment,
    /// All that was committed before is in it: for a primary's answer when the read began, for a standby's what it had
    /// replayed then.
    pub(super) as_of: Moment,
    /// Whether a standby said it.
    pub(super) standby: bool,
    /// The epoch in which the read began; in a later one it must be read again.
    pub(super) epoch: u64,
    /// Between 0.8 and 1: entries that were loaded together do not expire together.
    pub(super) jitter: f64,
    /// A change of the member was told since: it says nothing any more.
    pub(super) void: AtomicBool,
}

impl Entry {
    /// What it says of the member and of the token that names it; `stale` if it could not be read again, or not from a
    /// primary.
    pub(super) fn membership(&self, token_id: Option<&str>, stale: Option<Duration>) -> Membership {
        Membership {
            record: self.record.clone(),
            token_revoked: token_id.is_some_and(|id| self.revoked_tokens.iter().any(|revoked| revoked == id)),
            stale_for: stale,
        }
    }

    /// How old a standby's answer is; a primary's is not.
    pub(super) fn lag(&self, now: Moment) -> Option<Duration> {
        self.standby.then(|| self.as_of.age(now))
    }
}

/// How an entry may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// As it is.
    Fresh,
    /// As it is, and it is time to read it again, ahead of its end.
    Ageing,
    /// Only when it cannot be read again.
    Old,
}

/// Entries by member, within a bound.
#[derive(Debug)]
pub(super) struct Entries(Cache<MemberId, Arc<Entry>>);

impl Entries {
    pub(super) fn new(most: u32) -> Self {
        Self(Cache::builder().max_capacity(most.into()).build())
    }

    /// What was said of the member, unless a change of the member was told since.
    pub(super) fn get(&self, member: &MemberId) -> Option<Arc<Entry>> {
        self.0.get(member).filter(|entry| !entry.void.load(Ordering::Acquire))
    }

    /// A change of the member was told at that moment. Tells whether that voids anything.
    pub(super) fn void(&self, member: &MemberId, told: Moment) -> bool {
        self.0.get(member).is_some_and(|entry| {
            let older = entry.as_of <= told;
            older && !entry.void.swap(true, Ordering::AcqRel)
        })
    }

    /// Remembers an answer, unless a newer one is known. Tells whether it was remembered.
    pub(super) fn insert(&self, member: &MemberId, entry: &Arc<Entry>) -> bool {
        // The same standby's age is not measured twice to the nanosecond.
        let exact = |known: &Entry| if known.standby { known.as_of.before(UNHEARD) } else { known.as_of };
        if self.0.get(member).is_some_and(|known| exact(&known) > entry.as_of) {
            return false;
        }
        self.0.insert(member.clone(), Arc::clone(entry));
        true
    }
}

/// How an entry that no change has voided may be used at `now`.
pub(super) fn freshness(entry: &Entry, policy: &EntitlementsPolicy, told: &Invalidations, now: Moment) -> Freshness {
    let ttl = if entry.record.is_some() { policy.ttl } else { policy.negative_ttl };
    let unheard = entry.standby || !told.heard();
    let fresh_for = if unheard { ttl.min(UNHEARD) } else { ttl.mul_f64(entry.jitter) };
    let age = entry.read.age(now);
    let too_old = entry.standby && entry.as_of.age(now) >= policy.max_stale;
    if entry.epoch != told.epoch() || age >= fresh_for || too_old {
        Freshness::Old
    } else if entry.record.is_some() && age > fresh_for.mul_f64(0.75) {
        Freshness::Ageing
    } else {
        Freshness::Fresh
    }
}

#[cfg(test)]
mod tests {
    use authz_core::entitlement::Entitlements;

    use super::*;

    fn ada() -> MemberId {
        MemberId { issuer: "https://learn.example.org".into(), subject: "ada".into() }
    }

    fn entry(told: &Invalidations, standby: bool, lag: Duration) -> Arc<Entry> {
        let read = told.now();
        let record = MemberRecord { suspended: false, plan: None, entitlements: Entitlements::default() };
        let record = Some(Arc::new(record));
        let (epoch, as_of) = (told.epoch(), read.before(lag));
        let void = AtomicBool::new(false);
        Arc::new(Entry { record, revoked_tokens: Vec::new(), read, as_of, standby, epoch, jitter: 0.9, void })
    }

    fn later(seconds: u64, told: &Invalidations) -> Moment {
        told.now().after(Duration::from_secs(seconds))
    }

    #[test]
    fn an_entry_is_fresh_for_its_time_only_while_changes_are_told() {
        let (told, policy) = (Invalidations::new(), EntitlementsPolicy::default());
        told.set_heard(true);
        let entry = entry(&told, false, Duration::ZERO);
        assert_eq!(freshness(&entry, &policy, &told, later(10, &told)), Freshness::Fresh);
        assert_eq!(freshness(&entry, &policy, &told, later(50, &told)), Freshness::Ageing);
        assert_eq!(freshness(&entry, &policy, &told, later(55, &told)), Freshness::Old);
        told.set_heard(false);
        assert_eq!(freshness(&entry, &policy, &told, told.now()), Freshness::Fresh);
        assert_eq!(freshness(&entry, &policy, &told, later(2, &told)), Freshness::Old);
        told.set_heard(true);
        told.missed();
        assert_eq!(freshness(&entry, &policy, &told, told.now()), Freshness::Old);
    }

    #[test]
    fn a_standbys_answer_counts_from_its_last_replay_and_is_asked_for_again_soon() {
        let (told, policy) = (Invalidations::new(), EntitlementsPolicy::default());
        told.set_heard(true);
        let recent = entry(&told, true, Duration::from_secs(30));
        assert_eq!(freshness(&recent, &policy, &told, told.now()), Freshness::Fresh);
        assert_eq!(freshness(&recent, &policy, &told, later(2, &told)), Freshness::Old);
        assert!(recent.lag(told.now()).unwrap() >= Duration::from_secs(30));
        let beyond = entry(&told, true, policy.max_stale);
        assert_eq!(freshness(&beyond, &policy, &told, told.now()), Freshness::Old);
    }

    #[test]
    fn neither_an_older_answer_nor_a_change_that_was_told_is_overridden() {
        let (told, entries) = (Invalidations::new(), Entries::new(10));
        let primary = entry(&told, false, Duration::ZERO);
        assert!(entries.insert(&ada(), &primary));
        assert!(!entries.insert(&ada(), &entry(&told, true, Duration::from_secs(5))));
        assert!(entries.get(&ada()).is_some_and(|entry| !entry.standby));
        let told_then = told.tell(&ada());
        let newer = entry(&told, false, Duration::ZERO);
        assert!(entries.void(&ada(), told_then) && entries.get(&ada()).is_none());
        assert!(!entries.void(&ada(), told_then), "it is void already");
        assert!(entries.insert(&ada(), &newer));
        assert!(!entries.void(&ada(), told_then) && entries.get(&ada()).is_some(), "read after the change");
    }
}
