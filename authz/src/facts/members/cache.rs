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

/// How long an entry is fresh while no changes are heard of, and how long a standby's answer serves without asking it
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
    /// A change of the member was announced since: it says nothing any more.
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

    /// What was said of the member, unless a change of the member was announced since.
    pub(super) fn get(&self, member: &MemberId) -> Option<Arc<Entry>> {
        self.0.get(member).filter(|entry| !entry.void.load(Ordering::Acquire))
    }

    /// A change of the member was announced at that moment. Tells whether that voids anything.
    pub(super) fn void(&self, member: &MemberId, changed_at: Moment) -> bool {
        self.0.get(member).is_some_and(|entry| {
            let older = entry.as_of <= changed_at;
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
pub(super) fn freshness(
    entry: &Entry,
    policy: &EntitlementsPolicy,
    invalidations: &Invalidations,
    now: Moment,
) -> Freshness {
    let ttl = if entry.record.is_some() { policy.ttl } else { policy.negative_ttl };
    let unheard = entry.standby || !invalidations.heard();
    let fresh_for = if unheard { ttl.min(UNHEARD) } else { ttl.mul_f64(entry.jitter) };
    let age = entry.read.age(now);
    let too_old = entry.standby && entry.as_of.age(now) >= policy.max_stale;
    if entry.epoch != invalidations.epoch() || age >= fresh_for || too_old {
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

    fn entry(invalidations: &Invalidations, standby: bool, lag: Duration) -> Arc<Entry> {
        let read = invalidations.now();
        let record = MemberRecord { suspended: false, plan: None, entitlements: Entitlements::default() };
        let record = Some(Arc::new(record));
        let (epoch, as_of) = (invalidations.epoch(), read.before(lag));
        let void = AtomicBool::new(false);
        Arc::new(Entry { record, revoked_tokens: Vec::new(), read, as_of, standby, epoch, jitter: 0.9, void })
    }

    fn later(seconds: u64, invalidations: &Invalidations) -> Moment {
        invalidations.now().after(Duration::from_secs(seconds))
    }

    #[test]
    fn an_entry_is_fresh_for_its_time_only_while_changes_are_told() {
        let (invalidations, policy) = (Invalidations::new(), EntitlementsPolicy::default());
        invalidations.set_heard(true);
        let entry = entry(&invalidations, false, Duration::ZERO);
        assert_eq!(freshness(&entry, &policy, &invalidations, later(10, &invalidations)), Freshness::Fresh);
        assert_eq!(freshness(&entry, &policy, &invalidations, later(50, &invalidations)), Freshness::Ageing);
        assert_eq!(freshness(&entry, &policy, &invalidations, later(55, &invalidations)), Freshness::Old);
        invalidations.set_heard(false);
        assert_eq!(freshness(&entry, &policy, &invalidations, invalidations.now()), Freshness::Fresh);
        assert_eq!(freshness(&entry, &policy, &invalidations, later(2, &invalidations)), Freshness::Old);
        invalidations.set_heard(true);
        invalidations.missed();
        assert_eq!(freshness(&entry, &policy, &invalidations, invalidations.now()), Freshness::Old);
    }

    #[test]
    fn a_standbys_answer_counts_from_its_last_replay_and_is_asked_for_again_soon() {
        let (invalidations, policy) = (Invalidations::new(), EntitlementsPolicy::default());
        invalidations.set_heard(true);
        let recent = entry(&invalidations, true, Duration::from_secs(30));
        assert_eq!(freshness(&recent, &policy, &invalidations, invalidations.now()), Freshness::Fresh);
        assert_eq!(freshness(&recent, &policy, &invalidations, later(2, &invalidations)), Freshness::Old);
        assert!(recent.lag(invalidations.now()).unwrap() >= Duration::from_secs(30));
        let beyond = entry(&invalidations, true, policy.max_stale);
        assert_eq!(freshness(&beyond, &policy, &invalidations, invalidations.now()), Freshness::Old);
    }

    #[test]
    fn neither_an_older_answer_nor_a_change_that_was_told_is_overridden() {
        let (invalidations, entries) = (Invalidations::new(), Entries::new(10));
        let primary = entry(&invalidations, false, Duration::ZERO);
        assert!(entries.insert(&ada(), &primary));
        assert!(!entries.insert(&ada(), &entry(&invalidations, true, Duration::from_secs(5))));
        assert!(entries.get(&ada()).is_some_and(|entry| !entry.standby));
        let changed_at = invalidations.member_changed(&ada());
        let newer = entry(&invalidations, false, Duration::ZERO);
        assert!(entries.void(&ada(), changed_at) && entries.get(&ada()).is_none());
        assert!(!entries.void(&ada(), changed_at), "it is void already");
        assert!(entries.insert(&ada(), &newer));
        assert!(!entries.void(&ada(), changed_at) && entries.get(&ada()).is_some(), "read after the change");
    }
}
