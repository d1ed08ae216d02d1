//! Members, from Postgres through a cache that forgets nothing it must know and believes nothing it must not.
//!
//! - One flight: however many requests need a member, one query runs.
//! - A change is told by the database (`LISTEN`) and voids the entry and whatever read is under way.
//! - While the database cannot be read, entries serve up to `max_stale`; an entry that a change has voided does not.
//! - Losing the listener marks every entry for revalidation; it deletes none.

mod listen;
pub(crate) mod query;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use authz_core::{
    entitlement::{MemberId, MemberRecord, Standing, StoreUnavailable},
    policy::EntitlementsPolicy,
    time::Timestamp,
};
use moka::sync::Cache;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::{sync::OnceCell, time::timeout};

use super::api_keys::ApiKeys;
use crate::postgres::{Database, DatabaseUrls};

/// What the store said of a member.
#[derive(Debug)]
struct Entry {
    record: Option<MemberRecord>,
    revoked_tokens: Vec<String>,
    loaded: Instant,
    /// Between 0.8 and 1: entries that were loaded together do not expire together.
    jitter: f64,
    /// The listener's epoch when it was loaded; an older one must be revalidated.
    epoch: u64,
}

/// How long a request waits for a read when an older entry would do: half of what a decision may take.
const REVALIDATION: Duration = Duration::from_millis(50);

/// A read under way, shared by all that need it.
type Flight = Arc<OnceCell<Result<Arc<Entry>, StoreUnavailable>>>;

/// Looks members up.
#[derive(Debug)]
pub struct Members {
    database: Option<Arc<Database>>,
    policy: RwLock<EntitlementsPolicy>,
    entries: Cache<MemberId, Arc<Entry>>,
    /// Told of the same changes.
    api_keys: Arc<ApiKeys>,
    flights: Mutex<HashMap<MemberId, Flight>>,
    /// Grows with every change that is told; a read that began before one is read again.
    changes: AtomicU64,
    /// Grows whenever changes may have been missed.
    epoch: AtomicU64,
    metrics: MemberMetrics,
}

impl Members {
    /// Starts without connecting: public documents do not wait for the database. Changes are told over `listen` where
    /// the database itself is reached through a pooler that cannot pass them on.
    pub fn start(
        database: Option<Arc<Database>>,
        listen: Option<DatabaseUrls>,
        api_keys: Arc<ApiKeys>,
        policy: &EntitlementsPolicy,
        registry: &mut Registry,
    ) -> Arc<Self> {
        if let Some(database) = &database {
            database.measure(registry);
        }
        let listen = listen.map(|urls| Database::new(&urls));
        let members = Arc::new(Self {
            entries: Cache::builder().max_capacity(policy.max_entries.into()).build(),
            api_keys,
            database,
            policy: RwLock::new(policy.clone()),
            flights: Mutex::default(),
            changes: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            metrics: MemberMetrics::new(registry),
        });
        if let Some(database) = &members.database {
            tokio::spawn(Arc::clone(database).follow());
            if let Some(direct) = &listen {
                tokio::spawn(Arc::clone(direct).follow());
            }
            let told_by = listen.as_ref().unwrap_or(database);
            tokio::spawn(listen::follow(Arc::clone(told_by), Arc::clone(&members)));
        }
        members
    }

    /// Adopts new times; the bound on entries is set at start.
    pub fn apply(&self, policy: &EntitlementsPolicy) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = policy.clone();
    }

    /// What the store says of a member and of the token that names it.
    ///
    /// # Errors
    /// [`StoreUnavailable`] when the store cannot be read and nothing recent enough is cached.
    pub async fn standing(
        self: &Arc<Self>,
        member: &MemberId,
        token_id: Option<&str>,
        _now: Timestamp,
    ) -> Result<Standing, StoreUnavailable> {
        let policy = self.policy.read().unwrap_or_else(PoisonError::into_inner).clone();
        let cached = self.entries.get(member);
        if let Some(entry) = &cached {
            let ttl = if entry.record.is_some() { policy.ttl } else { policy.negative_ttl };
            let fresh_for = ttl.mul_f64(entry.jitter);
            let age = entry.loaded.elapsed();
            if entry.epoch == self.epoch.load(Ordering::Acquire) && age < fresh_for {
                self.metrics.count("hit");
                // Ahead of its end, so that nobody waits for it.
                if entry.record.is_some() && age > fresh_for.mul_f64(0.75) {
                    let (members, member) = (Arc::clone(self), member.clone());
                    tokio::spawn(async move { members.load(&member).await });
                }
                return Ok(standing(entry, token_id, None));
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
                self.metrics.count("miss");
                Ok(standing(&entry, token_id, None))
            }
            Err(unavailable) => {
                // Looked up again: a change may have voided it while the read failed.
                let kept = self
                    .entries
                    .get(member)
                    .filter(|entry| entry.record.is_some() && entry.loaded.elapsed() < policy.max_stale);
                match kept {
                    Some(entry) => {
                        self.metrics.count("stale");
                        Ok(standing(&entry, token_id, Some(entry.loaded.elapsed())))
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
    async fn load(self: &Arc<Self>, member: &MemberId) -> Result<Arc<Entry>, StoreUnavailable> {
        let flight =
            Arc::clone(self.flights.lock().unwrap_or_else(PoisonError::into_inner).entry(member.clone()).or_default());
        let result = flight
            .get_or_init(|| async {
                // A caller that goes away (its deadline has passed) must not end the read for the others.
                let (members, member) = (Arc::clone(self), member.clone());
                tokio::spawn(async move { members.read(&member).await }).await.unwrap_or(Err(StoreUnavailable))
            })
            .await
            .clone();
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if flights.get(member).is_some_and(|current| Arc::ptr_eq(current, &flight)) {
            flights.remove(member);
        }
        result
    }

    /// Reads until no change was told meanwhile, a few times at the most.
    async fn read(&self, member: &MemberId) -> Result<Arc<Entry>, StoreUnavailable> {
        let pool = self.database.as_ref().and_then(|database| database.pool()).ok_or(StoreUnavailable)?;
        for _ in 0..4 {
            let (changes, epoch) = (self.changes.load(Ordering::Acquire), self.epoch.load(Ordering::Acquire));
            let row = query::standing(pool, member).await.map_err(|error| {
                tracing::warn!(%error, "a member cannot be read");
                StoreUnavailable
            })?;
            if self.changes.load(Ordering::Acquire) != changes {
                continue;
            }
            let entry = Arc::new(Entry {
                record: row.record,
                revoked_tokens: row.revoked_tokens,
                loaded: Instant::now(),
                jitter: rand::random_range(0.8..1.0),
                epoch,
            });
            self.entries.insert(member.clone(), Arc::clone(&entry));
            // A change between the check and the insertion would otherwise be forgotten.
            if self.changes.load(Ordering::Acquire) != changes {
                self.entries.invalidate(member);
                continue;
            }
            return Ok(entry);
        }
        Err(StoreUnavailable)
    }

    /// A change was told: of one member, or (with `None`) of anything.
    fn changed(&self, member: Option<&MemberId>) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.api_keys.changed();
        match member {
            Some(member) => {
                // New requests must not join a read that began before the change.
                self.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(member);
                self.entries.invalidate(member);
            }
            None => {
                self.flights.lock().unwrap_or_else(PoisonError::into_inner).clear();
                self.entries.invalidate_all();
            }
        }
        self.metrics.invalidations.inc();
    }

    /// Changes may have been missed: every entry is read again before it counts as fresh.
    fn may_have_missed_changes(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.api_keys.may_have_missed_changes();
    }

    fn listening(&self, connected: bool) {
        self.metrics.listening.set(i64::from(connected));
    }
}

fn standing(entry: &Entry, token_id: Option<&str>, stale_for: Option<Duration>) -> Standing {
    Standing {
        record: entry.record.clone(),
        token_revoked: token_id.is_some_and(|id| entry.revoked_tokens.iter().any(|revoked| revoked == id)),
        stale_for,
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LookupLabels {
    result: &'static str,
}

#[derive(Debug)]
struct MemberMetrics {
    lookups: Family<LookupLabels, Counter>,
    invalidations: Counter,
    listening: Gauge,
}

impl MemberMetrics {
    fn new(registry: &mut Registry) -> Self {
        let metrics =
            Self { lookups: Family::default(), invalidations: Counter::default(), listening: Gauge::default() };
        registry.register("docsgate_authz_member_lookups", "Look-ups of members, by result", metrics.lookups.clone());
        registry.register(
            "docsgate_authz_member_invalidations",
            "Changes of members told by the database",
            metrics.invalidations.clone(),
        );
        registry.register(
            "docsgate_authz_database_listening",
            "Whether changes are being told by the database",
            metrics.listening.clone(),
        );
        metrics
    }

    fn count(&self, result: &'static str) {
        self.lookups.get_or_create(&LookupLabels { result }).inc();
    }
}
