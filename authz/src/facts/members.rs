//! Members, from Postgres through a cache that forgets nothing it must know and believes nothing it must not.
//!
//! - One flight: however many requests need a member, one query runs.
//! - A change is announced by the database (`LISTEN`); it voids what was read of that member before, and disturbs no other.
//! - A change of everything, or a silence, marks every entry for revalidation; it deletes none.
//! - While the database cannot be read, entries serve up to `max_stale`; an entry that a change has voided does not.
//! - A standby's answer is as old as what it has replayed. It is said to be stale, and overrides nothing that was announced.

mod cache;
mod listen;
mod metrics;
pub(crate) mod query;

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use authz_core::{
    entitlement::{MemberId, Membership, StoreUnavailable},
    policy::EntitlementsPolicy,
};
use parking_lot::RwLock;
use prometheus_client::registry::Registry;
use tokio::{
    sync::{Notify, mpsc},
    time::{sleep, timeout},
};

pub(super) use self::cache::UNHEARD;
use self::{
    cache::{Entries, Entry, Freshness, freshness},
    metrics::MemberMetrics,
};
use super::{flights::Flights, invalidation::Invalidations};
use crate::postgres::{Database, DatabaseUrls, Unanswered};

/// How long a request waits for a read when an older entry would do: half of what a decision may take.
const REVALIDATION: Duration = Duration::from_millis(50);
/// Changes of everything are believed this often at the most.
const FLUSHES: Duration = Duration::from_secs(1);
/// A read that changes overtook answers whoever waits for it if it began within this time: a revocation has a second.
const OVERTAKEN: Duration = Duration::from_millis(500);
/// Known members who wait to be read again after a change, at the most; others are read when they ask.
const REREADS: usize = 1024;

/// What a read found.
type Read = Result<Arc<Entry>, StoreUnavailable>;

/// Looks members up.
#[derive(Debug)]
pub struct Members {
    database: Option<Arc<Database>>,
    policy: RwLock<EntitlementsPolicy>,
    entries: Entries,
    flights: Flights<MemberId, Read>,
    /// What was announced. Those who keep API keys look at it too.
    invalidations: Arc<Invalidations>,
    /// Everything changed, and nobody was informed of it yet.
    flush: Notify,
    rereads: mpsc::Sender<MemberId>,
    metrics: MemberMetrics,
}

impl Members {
    /// Starts without connecting: public documents do not wait for the database. Changes are announced over `listen` where
    /// the database itself is reached through a pooler that cannot pass them on.
    pub fn start(
        database: Option<Arc<Database>>,
        listen: Option<DatabaseUrls>,
        invalidations: Arc<Invalidations>,
        policy: &EntitlementsPolicy,
        registry: &mut Registry,
    ) -> Arc<Self> {
        if let Some(database) = &database {
            database.measure(registry);
        }
        let listen = listen.map(|urls| Database::new(&urls));
        let (rereads, to_reread) = mpsc::channel(REREADS);
        let members = Arc::new(Self {
            entries: Entries::new(policy.max_entries),
            database,
            policy: RwLock::new(policy.clone()),
            flights: Flights::new(),
            invalidations,
            flush: Notify::new(),
            rereads,
            metrics: MemberMetrics::new(registry),
        });
        if let Some(database) = &members.database {
            tokio::spawn(Arc::clone(database).follow());
            if let Some(direct) = &listen {
                tokio::spawn(Arc::clone(direct).follow());
            }
            let announced_on = listen.as_ref().unwrap_or(database);
            tokio::spawn(listen::follow(Arc::clone(announced_on), Arc::clone(&members)));
            tokio::spawn(Arc::clone(&members).flush_when_announced());
            tokio::spawn(Arc::clone(&members).read_again(to_reread));
        }
        members
    }

    /// Adopts new times; the bound on entries is set at start.
    pub fn apply(&self, policy: &EntitlementsPolicy) {
        *self.policy.write() = policy.clone();
    }

    fn policy(&self) -> EntitlementsPolicy {
        self.policy.read().clone()
    }

    /// What the store says of a member and of the token that names it.
    ///
    /// # Errors
    /// [`StoreUnavailable`] when the store cannot be read and nothing recent enough is cached.
    pub async fn membership(
        self: &Arc<Self>,
        member: &MemberId,
        token_id: Option<&str>,
    ) -> Result<Membership, StoreUnavailable> {
        let policy = self.policy();
        let cached = self.entries.get(member);
        if let Some(entry) = &cached {
            let now = self.invalidations.now();
            let freshness = freshness(entry, &policy, &self.invalidations, now);
            if freshness == Freshness::Ageing {
                // Ahead of its end, so that nobody waits for it.
                let (members, member) = (Arc::clone(self), member.clone());
                tokio::spawn(async move { members.load(&member).await });
            }
            if freshness != Freshness::Old {
                let lag = entry.lag(now);
                self.metrics.count(if lag.is_some() { "stale" } else { "hit" });
                return Ok(entry.membership(token_id, lag));
            }
        }
        // Whoever is known does not wait for a database that hangs: a read that takes longer counts as failed, and goes on
        // for the others.
        let read = self.load(member);
        let result = match cached {
            Some(_) => timeout(REVALIDATION, read).await.unwrap_or(Err(StoreUnavailable)),
            None => read.await,
        };
        match result {
            Ok(entry) => {
                let lag = entry.lag(self.invalidations.now());
                self.metrics.count(if lag.is_some() { "stale" } else { "miss" });
                Ok(entry.membership(token_id, lag))
            }
            Err(unavailable) => {
                // Looked up again: a change may have voided it while the read failed.
                let known = self.entries.get(member).filter(|entry| entry.record.is_some());
                let age = known.as_ref().map(|entry| entry.as_of.age(self.invalidations.now()));
                match known.zip(age.filter(|age| *age < policy.max_stale)) {
                    Some((entry, age)) => {
                        self.metrics.count("stale");
                        Ok(entry.membership(token_id, Some(age)))
                    }
                    None => {
                        self.metrics.count("unavailable");
                        Err(unavailable)
                    }
                }
            }
        }
    }

    /// Reads a member; whoever needs the same one meanwhile shares the read.
    async fn load(self: &Arc<Self>, member: &MemberId) -> Read {
        let read = |()| {
            let (members, member) = (Arc::clone(self), member.clone());
            async move { members.read(&member).await }
        };
        self.flights.join(member.clone(), ready(()), read).await.unwrap_or(Err(StoreUnavailable))
    }

    /// Reads until nothing was announced of this member meanwhile, a few times at the most.
    async fn read(&self, member: &MemberId) -> Read {
        let database = self.database.as_ref().ok_or(StoreUnavailable)?;
        let mut overtaken = None;
        for _ in 0..4 {
            let (began, epoch) = (self.invalidations.now(), self.invalidations.epoch());
            let (row, lag) = query::membership(database, member).await.map_err(|error| {
                // That there is no endpoint was said when it was lost, and not by every request.
                if !matches!(error, Unanswered::NoEndpoint) {
                    tracing::warn!(%error, "a member cannot be read");
                }
                StoreUnavailable
            })?;
            let entry = Arc::new(Entry {
                record: row.record,
                revoked_tokens: row.revoked_tokens,
                read: began,
                as_of: lag.map_or(began, |lag| self.invalidations.now().before(lag)),
                standby: lag.is_some(),
                epoch,
                jitter: rand::random_range(0.8..1.0),
                void: AtomicBool::new(false),
            });
            if entry.standby {
                return self.of_standby(member, entry);
            }
            // Kept before it is looked whether something was announced: what is announced later finds it.
            self.entries.insert(member, &entry);
            let changed = self.invalidations.changed_since(member, began);
            if !changed && self.invalidations.epoch() == epoch {
                return Ok(entry);
            }
            // Set, never cleared: whoever announced it may have found the entry already.
            entry.void.fetch_or(changed, Ordering::AcqRel);
            overtaken = Some(entry);
        }
        // Changes that are announced all the time must not keep a member out. What was read is not kept, but it is younger than a
        // change may be to take effect.
        overtaken.filter(|entry| entry.read.age(self.invalidations.now()) < OVERTAKEN).ok_or(StoreUnavailable)
    }

    /// A standby's answer counts unless it is too old, older than what is known, or older than what was announced.
    fn of_standby(&self, member: &MemberId, entry: Arc<Entry>) -> Read {
        let age = entry.as_of.age(self.invalidations.now());
        if age >= self.policy().max_stale {
            tracing::warn!(age = age.as_secs(), "a member is not read: the standby's last replay is beyond max_stale");
            return Err(StoreUnavailable);
        }
        let changed = || {
            self.invalidations.changed_since(member, entry.as_of)
                || self.invalidations.everything_changed_since(entry.as_of)
        };
        if changed() || !self.entries.insert(member, &entry) {
            tracing::debug!(age = age.as_secs(), "a standby's answer is older than what is known of the member");
            return Err(StoreUnavailable);
        }
        if changed() {
            entry.void.store(true, Ordering::Release);
            return Err(StoreUnavailable);
        }
        Ok(entry)
    }

    /// A change of a member was announced.
    fn changed(&self, member: MemberId) {
        self.metrics.invalidations.inc();
        let changed_at = self.invalidations.member_changed(&member);
        // New requests must not join a read that began before the change.
        self.flights.leave_behind(&member);
        // Whoever is known is read again at once, so that the database's end a moment later finds an entry.
        if self.entries.void(&member, changed_at) {
            let _ = self.rereads.try_send(member);
        }
    }

    /// A change of everything was announced. Whoever may log in can announce that, so it waits for its turn.
    fn everything_changed(&self) {
        self.metrics.invalidations.inc();
        self.flush.notify_one();
    }

    /// Believes that everything changed, once for however often it was announced within a second; the last time counts.
    async fn flush_when_announced(self: Arc<Self>) {
        loop {
            self.flush.notified().await;
            self.invalidations.everything_changed();
            self.flights.leave_all_behind();
            self.metrics.flushes.inc();
            sleep(FLUSHES).await;
        }
    }

    /// Reads known members again after their changes, one after the other.
    async fn read_again(self: Arc<Self>, mut members: mpsc::Receiver<MemberId>) {
        while let Some(member) = members.recv().await {
            if self.entries.get(&member).is_none() {
                let _ = self.load(&member).await;
            }
        }
    }

    /// Changes may have been missed: every entry is read again before it counts as fresh.
    fn may_have_missed_changes(&self) {
        self.invalidations.missed();
    }

    fn listening(&self, connected: bool) {
        self.invalidations.set_heard(connected);
        self.metrics.listening.set(i64::from(connected));
    }
}
