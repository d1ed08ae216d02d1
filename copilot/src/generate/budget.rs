//! Tokens a day, for each caller and for the site: by the arithmetic of the gate's limits (GCRA), one number for each key. A
//! question reserves what it may cost and gives back what it did not.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// Nanoseconds of a day.
const DAY: u64 = 86_400_000_000_000;
/// Callers that are told apart; those beyond share one budget.
const MAX_CALLERS: usize = 50_000;
/// Least time between two looks for callers who have everything back.
const SWEEP: Duration = Duration::from_secs(60);

/// Tokens a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Daily {
    /// Of each member or API key.
    pub caller: u64,
    /// Of all callers together that have no name.
    pub anonymous: u64,
    /// Of everybody together.
    pub site: u64,
}

/// Who has used what. It lies in this process: a restart forgets it, and each replica counts by itself.
#[derive(Debug)]
pub struct Budget {
    daily: Daily,
    started: Instant,
    spent: Mutex<Spent>,
}

#[derive(Debug, Default)]
struct Spent {
    site: u64,
    anonymous: u64,
    /// Of callers who found no place in the table.
    others: u64,
    callers: HashMap<String, u64>,
    swept: u64,
}

/// The key that a reservation was charged to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    Anonymous,
    Others,
    Caller(String),
}

/// Tokens that are reserved. Dropped, it gives back what was not used.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    key: Key,
    reserved: u64,
    used: u64,
}

impl Budget {
    /// Nothing is used yet.
    #[must_use]
    pub fn new(daily: Daily) -> Arc<Self> {
        Arc::new(Self { daily, started: Instant::now(), spent: Mutex::default() })
    }

    /// Reserves `tokens` for `caller`; `None` when the caller's or the site's budget does not hold as many.
    #[must_use]
    pub fn reserve(self: &Arc<Self>, caller: Option<&str>, tokens: u64) -> Option<Charge> {
        let now = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX / 2);
        self.reserve_at(caller, tokens, now)
    }

    /// At `now`, in nanoseconds since the budget began.
    fn reserve_at(self: &Arc<Self>, caller: Option<&str>, tokens: u64, now: u64) -> Option<Charge> {
        // A time in the past stands for a full budget, so the clock starts a day late.
        let now = now.saturating_add(DAY);
        let mut spent = self.spent.lock();
        let key = spent.key(caller, now);
        let site = charged(spent.site, now, self.daily.site, tokens)?;
        let own = charged(*spent.of(&key), now, self.per_day(&key), tokens)?;
        spent.site = site;
        *spent.of(&key) = own;
        Some(Charge { budget: Arc::clone(self), key, reserved: tokens, used: 0 })
    }

    fn per_day(&self, key: &Key) -> u64 {
        if *key == Key::Anonymous { self.daily.anonymous } else { self.daily.caller }
    }
}

/// Time after which a token comes back.
fn interval(per_day: u64) -> u64 {
    (DAY / per_day.max(1)).max(1)
}

/// The arrival time to keep when `tokens` still fit.
fn charged(tat: u64, now: u64, per_day: u64, tokens: u64) -> Option<u64> {
    let wanted = tat.saturating_sub(now).checked_add(interval(per_day).checked_mul(tokens)?)?;
    let capacity = interval(per_day).saturating_mul(per_day);
    (wanted <= capacity).then(|| now.saturating_add(wanted))
}

impl Spent {
    fn key(&mut self, caller: Option<&str>, now: u64) -> Key {
        let Some(caller) = caller else { return Key::Anonymous };
        if self.callers.len() >= MAX_CALLERS && !self.callers.contains_key(caller) {
            let sweep = u64::try_from(SWEEP.as_nanos()).unwrap_or(u64::MAX);
            if now.saturating_sub(self.swept) >= sweep {
                self.swept = now;
                // Who has everything back loses nothing by being forgotten, and nobody else is.
                self.callers.retain(|_, tat| *tat > now);
            }
            if self.callers.len() >= MAX_CALLERS {
                return Key::Others;
            }
        }
        Key::Caller(caller.to_owned())
    }

    fn of(&mut self, key: &Key) -> &mut u64 {
        match key {
            Key::Anonymous => &mut self.anonymous,
            Key::Others => &mut self.others,
            Key::Caller(caller) => self.callers.entry(caller.clone()).or_default(),
        }
    }
}

impl Charge {
    /// As many tokens more were used.
    pub fn add(&mut self, tokens: u64) {
        self.used = self.used.saturating_add(tokens);
    }

    /// The model's own count, which outranks what was added.
    pub fn set(&mut self, tokens: u64) {
        self.used = tokens;
    }

    /// Tokens that were used so far.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let back = |tat: &mut u64, per_day: u64, reserved: u64, used: u64| {
            let interval = interval(per_day);
            *tat = tat.saturating_sub(interval.saturating_mul(reserved)).saturating_add(interval.saturating_mul(used));
        };
        let budget = Arc::clone(&self.budget);
        let mut spent = budget.spent.lock();
        back(&mut spent.site, budget.daily.site, self.reserved, self.used);
        back(spent.of(&self.key), budget.per_day(&self.key), self.reserved, self.used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = DAY / 24;

    fn budget(caller: u64, anonymous: u64, site: u64) -> Arc<Budget> {
        Budget::new(Daily { caller, anonymous, site })
    }

    fn spend(budget: &Arc<Budget>, caller: Option<&str>, tokens: u64, now: u64) -> bool {
        budget.reserve_at(caller, tokens, now).map(|mut charge| charge.set(tokens)).is_some()
    }

    #[test]
    fn a_day_has_its_tokens_and_they_come_back_evenly() {
        let budget = budget(2400, 100, 10_000);
        assert!(spend(&budget, Some("a"), 2400, 0) && !spend(&budget, Some("a"), 1, 0));
        assert!(spend(&budget, Some("b"), 2400, 0), "others have their own");
        assert!(!spend(&budget, Some("a"), 101, HOUR) && spend(&budget, Some("a"), 100, HOUR));
        assert!(spend(&budget, None, 100, 0) && !spend(&budget, None, 1, 0), "those without a name share one");
    }

    #[test]
    fn the_sites_budget_ends_everybodys_and_a_refusal_charges_nobody() {
        let budget = budget(1000, 1000, 1500);
        assert!(spend(&budget, Some("a"), 1000, 0) && !spend(&budget, Some("b"), 501, 0));
        assert!(spend(&budget, Some("b"), 500, 0) && !spend(&budget, None, 1, 0));
    }

    #[test]
    fn what_was_reserved_and_not_used_is_given_back() {
        let budget = budget(1000, 1000, 1000);
        let mut charge = budget.reserve_at(Some("a"), 900, 0).unwrap();
        assert!(!spend(&budget, Some("a"), 200, 0), "reserved is gone for others");
        charge.add(60);
        charge.add(40);
        assert_eq!(charge.used(), 100);
        drop(charge);
        assert!(spend(&budget, Some("a"), 900, 0) && !spend(&budget, Some("a"), 1, 0));
        let mut more = budget.reserve_at(Some("b"), 0, 0).unwrap();
        more.set(500);
        drop(more);
        assert!(!spend(&budget, Some("c"), 1, 0), "more than was reserved is charged all the same");
    }

    #[test]
    fn a_flood_of_callers_shares_one_budget_and_wins_nobody_a_fresh_one() {
        let budget = budget(10, 10, 10_000_000);
        assert!(spend(&budget, Some("known"), 10, 0));
        for n in 0..MAX_CALLERS {
            let _ = spend(&budget, Some(&format!("flood-{n}")), 10, 0);
        }
        assert_eq!(budget.spent.lock().callers.len(), MAX_CALLERS);
        assert!(!spend(&budget, Some("known"), 1, 0));
        assert!(!spend(&budget, Some("late"), 1, 0), "the last ones have spent what is shared");
        assert!(spend(&budget, Some("late"), 10, 2 * DAY) && budget.spent.lock().callers.len() < 3);
    }
}
