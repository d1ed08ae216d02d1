//! Tokens that this replica has taken from Redis in advance.
//!
//! Only keys that are asked again within the time of a lease are given one, so that a key which is asked once costs one
//! token and no more. A replica holds at most `lease` tokens of a key, which were charged before: all replicas together
//! admit at most `replicas × lease` more than burst and rate in any window. What is not used in time is lost.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Duration,
};

use authz_core::{
    limit::{Allowance, Charge, LimitState},
    policy::RedisPolicy,
    time::Timestamp,
};
use parking_lot::{Mutex, MutexGuard};

use super::shared::SharedState;

const SHARDS: usize = 16;
/// Keys of a shard. More get no lease and are asked of Redis every time.
const MAX_KEYS: usize = 8192;

/// What is held of one key.
#[derive(Debug)]
struct Lease {
    allowance: Allowance,
    tokens: u32,
    until: Timestamp,
    /// While a request is asking for more, others take their cost alone: what several got at once could not be held.
    asking_until: Timestamp,
    /// What Redis had left beyond the lease, and how full the bucket was.
    remaining: u32,
    reset_after: Duration,
}

/// All leases of this replica, by fingerprints of their keys.
#[derive(Debug, Default)]
pub(super) struct Leases {
    shards: [Mutex<HashMap<u64, Lease>>; SHARDS],
}

impl Leases {
    /// What can be done with them at this moment, as this policy has it.
    pub(super) fn at<'a>(&'a self, now: Timestamp, policy: &'a RedisPolicy) -> Lender<'a> {
        Lender { leases: self, policy, now }
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, HashMap<u64, Lease>> {
        let index = usize::try_from(key >> 60).unwrap_or(0) % SHARDS;
        self.shards[index].lock()
    }
}

/// Leases at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lender<'a> {
    leases: &'a Leases,
    policy: &'a RedisPolicy,
    now: Timestamp,
}

impl Lender<'_> {
    /// Takes the cost out of the lease, if that covers it.
    pub(super) fn spend(&self, key: u64, charge: &Charge) -> Option<LimitState> {
        let mut shard = self.leases.shard(key);
        let lease = shard.get_mut(&key)?;
        if lease.until <= self.now || lease.allowance != charge.allowance {
            return None;
        }
        lease.tokens = lease.tokens.checked_sub(charge.cost)?;
        Some(LimitState {
            name: charge.rule.name.clone(),
            allowance: charge.allowance,
            fits: true,
            shadow: charge.rule.shadow,
            remaining: lease.tokens.saturating_add(lease.remaining),
            reset_after: lease.reset_after,
            retry_after: Duration::ZERO,
        })
    }

    /// Puts back what a request took that another limit refused.
    pub(super) fn give_back(&self, key: u64, cost: u32) {
        if let Some(lease) = self.leases.shard(key).get_mut(&key) {
            lease.tokens = lease.tokens.saturating_add(cost).min(self.policy.lease);
        }
    }

    /// Tokens to take beyond the cost: none for a key that was not asked lately. Never so many that the replicas
    /// together could hold more than half of the burst.
    pub(super) fn wanted(&self, key: u64, charge: &Charge) -> u32 {
        let mut shard = self.leases.shard(key);
        let Some(lease) = shard.get_mut(&key).filter(|lease| lease.until > self.now && lease.asking_until <= self.now)
        else {
            return 0;
        };
        lease.asking_until = self.now.plus(self.policy.timeout);
        let most = self.policy.lease.min(charge.allowance.burst() / (2 * self.policy.replicas));
        most.saturating_sub(lease.tokens)
    }

    /// Keeps what Redis gave beyond the cost.
    pub(super) fn keep(&self, key: u64, charge: &Charge, shared: &SharedState) {
        if self.policy.lease == 0 {
            return;
        }
        let mut shard = self.leases.shard(key);
        if shard.len() >= MAX_KEYS && !shard.contains_key(&key) {
            shard.retain(|_, lease| lease.until > self.now);
            if shard.len() >= MAX_KEYS {
                return;
            }
        }
        let (until, remaining) = (self.now.plus(self.policy.lease_time), shared.state.remaining);
        let fresh = Lease {
            allowance: charge.allowance,
            tokens: shared.extra,
            until,
            asking_until: Timestamp::default(),
            remaining,
            reset_after: shared.state.reset_after,
        };
        match shard.entry(key) {
            Entry::Vacant(place) => {
                place.insert(fresh);
            }
            Entry::Occupied(mut place) => {
                let old = place.get();
                let left = if old.until > self.now && old.allowance == charge.allowance { old.tokens } else { 0 };
                let tokens = left.saturating_add(shared.extra).min(self.policy.lease);
                // What is left of an older lease lives no longer than that one did, unless there is something new.
                let until = if shared.extra == 0 && left > 0 { old.until } else { until };
                // Only who asked for more ends the asking.
                let asking_until = if shared.extra == 0 { old.asking_until } else { fresh.asking_until };
                place.insert(Lease { tokens, until, asking_until, ..fresh });
            }
        }
    }
}
