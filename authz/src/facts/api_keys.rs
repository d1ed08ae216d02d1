//! API keys, from Postgres through caches of their own.
//!
//! - What has not the form of a key, checksum included, is refused without the database.
//! - One flight: however many requests send a key, one query runs; and no more than two at once, so that a flood of
//!   keys never takes the connections that members are read with.
//! - Whether a row can be believed is judged whenever it is used: a change that is announced between a read and its keeping voids
//!   it as one announced later does.
//! - While the database cannot be read, known keys serve up to `max_stale`, unless a change was announced. A standby's answer is
//!   as old as what it has replayed, and overrides nothing that was announced.

pub mod form;

use std::{sync::Arc, time::Duration};

use authz_core::{entitlement::MemberId, identity::ApiKeyFault, policy::EntitlementsPolicy, time::Timestamp};
use moka::sync::Cache;
use parking_lot::RwLock;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use sqlx::Row as _;
use tokio::{sync::Semaphore, time::timeout};

use self::form::ApiKey;
use super::{
    flights::Flights,
    invalidation::{Invalidations, Moment},
    members::{UNHEARD, query::timestamp},
};
use crate::postgres::{Answer, Database, Unanswered};

/// Reads of keys under way at once; the pool that they share with members has more connections.
const MOST_READS: usize = 2;
/// How long what the store said of a key is believed without asking again.
const FRESH: Duration = Duration::from_secs(60);
/// How long an id is believed to be nobody's. Ids are random: no key has one that was asked for before it was made.
const ABSENT: Duration = Duration::from_secs(10);
/// Most ids that are remembered as nobody's.
const MOST_ABSENT: u64 = 1000;
/// Most keys that are remembered.
const MOST_KNOWN: u64 = 10_000;
/// How long a request waits for a read when an older row would do.
const REVALIDATION: Duration = Duration::from_millis(50);

/// Whom a key stands for.
#[derive(Debug)]
pub struct KeyHolder {
    /// Public id of the key.
    pub id: String,
    /// The member.
    pub member: MemberId,
    /// How old that is, when the store cannot be read now, or only from a standby.
    pub stale_for: Option<Duration>,
}

/// What the database said of an id, and when.
#[derive(Debug)]
struct Row<K> {
    key: K,
    /// When it was read.
    read: Moment,
    /// All that was committed before is in it.
    as_of: Moment,
    /// Whether a standby said it.
    standby: bool,
    epoch: u64,
}

impl<K> Row<K> {
    fn is_fresh(&self, invalidations: &Invalidations, fresh_for: Duration) -> bool {
        let fresh_for = if self.standby || !invalidations.heard() { UNHEARD } else { fresh_for };
        self.epoch == invalidations.epoch() && self.read.age(invalidations.now()) < fresh_for
    }
}

/// A key that the database knows.
#[derive(Debug)]
struct KnownKey {
    digest: Vec<u8>,
    usable: bool,
    ends: Option<Timestamp>,
    member: MemberId,
}

type Known = Arc<Row<KnownKey>>;

/// The database cannot be read, or says less than is known.
#[derive(Debug, Clone, Copy)]
struct Unread;

/// What a read found.
type Found = Result<Option<Known>, Unread>;

/// Looks API keys up.
#[derive(Debug)]
pub struct ApiKeys {
    database: Option<Arc<Database>>,
    max_stale: RwLock<Duration>,
    known: Cache<String, Known>,
    /// Ids that are nobody's, apart from the known ones: no number of them takes a place of those.
    absent: Cache<String, Arc<Row<()>>>,
    flights: Flights<String, Found>,
    reads: Arc<Semaphore>,
    invalidations: Arc<Invalidations>,
    lookups: Family<LookupLabels, Counter>,
}

impl ApiKeys {
    /// Knows no key yet.
    pub fn new(
        database: Option<Arc<Database>>,
        invalidations: Arc<Invalidations>,
        policy: &EntitlementsPolicy,
        registry: &mut Registry,
    ) -> Arc<Self> {
        let lookups = Family::default();
        registry.register("docsgate_authz_api_key_lookups", "API keys that were sent, by result", lookups.clone());
        Arc::new(Self {
            database,
            max_stale: RwLock::new(policy.max_stale),
            known: Cache::builder().max_capacity(MOST_KNOWN).time_to_live(Duration::from_secs(3600)).build(),
            absent: Cache::builder().max_capacity(MOST_ABSENT).time_to_live(ABSENT).build(),
            flights: Flights::new(),
            reads: Arc::new(Semaphore::new(MOST_READS)),
            invalidations,
            lookups,
        })
    }

    /// Adopts new times.
    pub fn apply(&self, policy: &EntitlementsPolicy) {
        *self.max_stale.write() = policy.max_stale;
    }

    /// Whom a key stands for.
    ///
    /// # Errors
    /// [`ApiKeyFault`].
    pub async fn holder(self: &Arc<Self>, text: &str, now: Timestamp) -> Result<KeyHolder, ApiKeyFault> {
        let Some(key) = ApiKey::parse(text) else {
            self.count("malformed");
            return Err(ApiKeyFault::Malformed);
        };
        let (row, stale_for) = self.row(key.id()).await?.ok_or(ApiKeyFault::Unknown)?;
        let same = aws_lc_rs::constant_time::verify_slices_are_equal(&row.key.digest, &key.digest()).is_ok();
        if !same || !row.key.usable || row.key.ends.is_some_and(|ends| now >= ends) {
            return Err(ApiKeyFault::Unknown);
        }
        Ok(KeyHolder { id: key.id().to_owned(), member: row.key.member.clone(), stale_for })
    }

    /// What is known of an id and how stale that is, from the caches or else from the database.
    async fn row(self: &Arc<Self>, id: &str) -> Result<Option<(Known, Option<Duration>)>, ApiKeyFault> {
        let known = self.known(id);
        if let Some(row) = known.as_ref().filter(|row| row.is_fresh(&self.invalidations, FRESH)) {
            return self.at_most_stale(Arc::clone(row), row.standby, "hit").map(Some);
        }
        if self.absent.get(id).is_some_and(|row| row.is_fresh(&self.invalidations, ABSENT)) {
            self.count("absent");
            return Ok(None);
        }
        let read = self.load(id);
        let found = match known {
            Some(_) => timeout(REVALIDATION, read).await.unwrap_or(Err(Unread)),
            None => read.await,
        };
        let found = match found {
            // Announced just after the read that was shared looked for it.
            Ok(Some(row)) if self.is_void(&row) => self.load(id).await,
            found => found,
        };
        match found {
            Ok(Some(row)) => {
                let standby = row.standby;
                self.at_most_stale(row, standby, "miss").map(Some)
            }
            Ok(None) => {
                self.count("unknown");
                Ok(None)
            }
            // Looked up again: a change may have voided it while the read failed.
            Err(Unread) => match self.known(id) {
                Some(row) => self.at_most_stale(row, true, "stale").map(Some),
                None => {
                    self.count("unavailable");
                    Err(ApiKeyFault::StoreUnavailable)
                }
            },
        }
    }

    /// The row, unless it is stale and too old.
    fn at_most_stale(
        &self,
        row: Known,
        stale: bool,
        result: &'static str,
    ) -> Result<(Known, Option<Duration>), ApiKeyFault> {
        let age = row.as_of.age(self.invalidations.now());
        if !stale {
            self.count(result);
            return Ok((row, None));
        }
        let max_stale = *self.max_stale.read();
        self.count(if age < max_stale { "stale" } else { "unavailable" });
        if age < max_stale { Ok((row, Some(age))) } else { Err(ApiKeyFault::StoreUnavailable) }
    }

    /// The row that is kept of an id, unless a change of its member was announced that is not in it.
    fn known(&self, id: &str) -> Option<Known> {
        self.known.get(id).filter(|row| !self.is_void(row))
    }

    fn is_void(&self, row: &Row<KnownKey>) -> bool {
        self.invalidations.changed_since(&row.key.member, row.as_of)
    }

    /// Reads an id; whoever needs the same one meanwhile shares the read.
    async fn load(self: &Arc<Self>, id: &str) -> Found {
        let read = |turn| {
            let (keys, id) = (Arc::clone(self), id.to_owned());
            async move {
                let _turn = turn;
                keys.read(&id).await
            }
        };
        self.flights.join(id.to_owned(), Arc::clone(&self.reads).acquire_owned(), read).await.unwrap_or(Err(Unread))
    }

    /// Reads until no change of the key's member was announced meanwhile, a few times at the most.
    async fn read(&self, id: &str) -> Found {
        let database = self.database.as_ref().ok_or(Unread)?;
        for _ in 0..4 {
            let (read, epoch) = (self.invalidations.now(), self.invalidations.epoch());
            let (found, lag) = ask(database, id).await.map_err(|error| {
                if !matches!(error, Unanswered::NoEndpoint) {
                    tracing::warn!(%error, "an API key cannot be read");
                }
                Unread
            })?;
            let as_of = lag.map_or(read, |lag| self.invalidations.now().before(lag));
            let standby = lag.is_some();
            // What a standby has not replayed may be this very key's beginning or end.
            if standby && self.invalidations.everything_changed_since(as_of) {
                return Err(Unread);
            }
            let Some(key) = found else {
                if standby && self.invalidations.anything_changed_since(as_of) {
                    return Err(Unread);
                }
                self.absent.insert(id.to_owned(), Arc::new(Row { key: (), read, as_of, standby, epoch }));
                return Ok(None);
            };
            let row = Arc::new(Row { key, read, as_of, standby, epoch });
            if standby && self.known.get(id).is_some_and(|known| known.as_of > as_of) {
                return Err(Unread);
            }
            if self.keep(id, &row) {
                return Ok(Some(row));
            }
            if standby {
                return Err(Unread);
            }
        }
        Err(Unread)
    }

    /// Keeps a row, and looks afterwards whether a change of its member was announced that is not in it.
    fn keep(&self, id: &str, row: &Known) -> bool {
        self.known.insert(id.to_owned(), Arc::clone(row));
        !self.is_void(row)
    }

    fn count(&self, result: &'static str) {
        self.lookups.get_or_create(&LookupLabels { result }).inc();
    }
}

/// The key, and how old that is if a standby said it.
async fn ask(database: &Database, id: &str) -> Result<(Option<KnownKey>, Option<Duration>), Unanswered> {
    let Answer { row, lag } = database.ask("SELECT * FROM docsgate.api_key($1)", &[id]).await?;
    let Some(row) = row else { return Ok((None, lag)) };
    let key = KnownKey {
        digest: row.try_get("digest")?,
        usable: row.try_get("usable")?,
        ends: row.try_get::<Option<f64>, _>("ends")?.map(timestamp),
        member: MemberId { issuer: row.try_get("issuer")?, subject: row.try_get("subject")? },
    };
    Ok((Some(key), lag))
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LookupLabels {
    result: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "abcdefghij23";

    fn member(subject: &str) -> MemberId {
        MemberId { issuer: "https://learn.example.org".into(), subject: subject.into() }
    }

    fn row(keys: &ApiKeys, read: Moment, standby: bool) -> Known {
        let key = KnownKey { digest: vec![0; 32], usable: true, ends: None, member: member("ada") };
        Arc::new(Row { key, read, as_of: read, standby, epoch: keys.invalidations.epoch() })
    }

    fn keys(max_stale: Duration) -> Arc<ApiKeys> {
        let policy = EntitlementsPolicy { max_stale, ..EntitlementsPolicy::default() };
        let invalidations = Invalidations::new();
        invalidations.set_heard(true);
        ApiKeys::new(None, invalidations, &policy, &mut Registry::default())
    }

    /// The change comes after the read's last look at what was announced, and before its row is kept.
    #[tokio::test]
    async fn a_change_between_the_check_and_the_insertion_is_not_forgotten() {
        let keys = keys(Duration::from_secs(3600));
        let read = keys.invalidations.now();
        assert!(!keys.invalidations.changed_since(&member("ada"), read), "the check");
        keys.invalidations.member_changed(&member("ada"));
        assert!(!keys.keep(ID, &row(&keys, read, false)), "looked at once more");
        assert!(keys.known(ID).is_none());
        assert!(matches!(keys.row(ID).await, Err(ApiKeyFault::StoreUnavailable)), "nor served stale");
    }

    #[tokio::test]
    async fn a_known_key_serves_while_the_database_is_away_unless_a_change_was_told() {
        let keys = keys(Duration::from_secs(3600));
        assert!(keys.keep(ID, &row(&keys, keys.invalidations.now(), false)));
        assert!(keys.row(ID).await.unwrap().unwrap().1.is_none(), "fresh");
        keys.invalidations.missed();
        assert!(keys.row(ID).await.unwrap().unwrap().1.is_some(), "stale");
        keys.invalidations.member_changed(&member("ada"));
        assert!(matches!(keys.row(ID).await, Err(ApiKeyFault::StoreUnavailable)));
    }

    #[tokio::test]
    async fn what_a_standby_said_is_stale_and_has_an_end() {
        let (patient, strict) = (keys(Duration::from_secs(3600)), keys(Duration::ZERO));
        for keys in [&patient, &strict] {
            assert!(keys.keep(ID, &row(keys, keys.invalidations.now(), true)));
        }
        assert!(patient.row(ID).await.unwrap().unwrap().1.is_some());
        assert!(matches!(strict.row(ID).await, Err(ApiKeyFault::StoreUnavailable)));
    }

    #[tokio::test]
    async fn what_has_no_checksum_is_noise() {
        let keys = keys(Duration::from_secs(3600));
        let text = format!("dg_{ID}_{}", "A".repeat(43));
        let now = Timestamp::from_nanos(0);
        assert!(matches!(keys.holder(&text, now).await, Err(ApiKeyFault::Malformed)));
        let right = ApiKey::parse_without_checksum(&text).unwrap().reveal();
        assert!(matches!(keys.holder(&right, now).await, Err(ApiKeyFault::StoreUnavailable)), "there is no database");
    }
}
