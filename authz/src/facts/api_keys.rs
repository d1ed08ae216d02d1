//! API keys, from Postgres through a cache of their own.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use authz_core::{entitlement::MemberId, identity::ApiKeyFault, policy::EntitlementsPolicy, time::Timestamp};
use moka::sync::Cache;
use sha2::{Digest, Sha256};
use sqlx::{PgPool, Row};
use tokio::time::timeout;

use super::members::query::{ANSWER, timestamp};
use crate::postgres::Database;

/// How long what the store said of a key is believed without asking again.
const FRESH: Duration = Duration::from_secs(60);

/// Whom a key stands for.
#[derive(Debug)]
pub struct KeyHolder {
    /// Public id of the key.
    pub id: String,
    /// The member.
    pub member: MemberId,
}

/// One API key, or that there is none.
#[derive(Debug)]
struct KeyRow {
    found: Option<FoundKey>,
    loaded: Instant,
    epoch: u64,
}

#[derive(Debug)]
struct FoundKey {
    digest: Vec<u8>,
    usable: bool,
    ends: Option<Timestamp>,
    member: MemberId,
}

/// Looks API keys up.
#[derive(Debug)]
pub struct ApiKeys {
    database: Option<Arc<Database>>,
    max_stale: RwLock<Duration>,
    rows: Cache<String, Arc<KeyRow>>,
    /// Grows with every change that is told.
    changes: AtomicU64,
    /// Grows whenever changes may have been missed.
    epoch: AtomicU64,
}

impl ApiKeys {
    /// Knows no key yet.
    pub fn new(database: Option<Arc<Database>>, policy: &EntitlementsPolicy) -> Arc<Self> {
        Arc::new(Self {
            database,
            max_stale: RwLock::new(policy.max_stale),
            rows: Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(3600)).build(),
            changes: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
        })
    }

    /// Adopts new times.
    pub fn apply(&self, policy: &EntitlementsPolicy) {
        *self.max_stale.write().unwrap_or_else(PoisonError::into_inner) = policy.max_stale;
    }

    /// Whom a key stands for: `dg_ID_SECRET`, of which the store knows the id and a digest of the secret.
    ///
    /// # Errors
    /// [`ApiKeyFault`].
    pub async fn holder(&self, key: &str, now: Timestamp) -> Result<KeyHolder, ApiKeyFault> {
        let (id, digest) = split_key(key).ok_or(ApiKeyFault::Malformed)?;
        let row = match self.rows.get(id) {
            Some(row) if row.epoch == self.epoch.load(Ordering::Acquire) && row.loaded.elapsed() < FRESH => row,
            cached => match self.read(id).await {
                Ok(row) => row,
                Err(()) => {
                    let max_stale = *self.max_stale.read().unwrap_or_else(PoisonError::into_inner);
                    cached.filter(|row| row.loaded.elapsed() < max_stale).ok_or(ApiKeyFault::StoreUnavailable)?
                }
            },
        };
        let Some(found) = &row.found else { return Err(ApiKeyFault::Unknown) };
        let same = aws_lc_rs::constant_time::verify_slices_are_equal(&found.digest, &digest).is_ok();
        if !same || !found.usable || found.ends.is_some_and(|ends| now >= ends) {
            return Err(ApiKeyFault::Unknown);
        }
        Ok(KeyHolder { id: id.to_owned(), member: found.member.clone() })
    }

    async fn read(&self, id: &str) -> Result<Arc<KeyRow>, ()> {
        let pool = self.database.as_ref().and_then(|database| database.pool()).ok_or(())?;
        let (changes, epoch) = (self.changes.load(Ordering::Acquire), self.epoch.load(Ordering::Acquire));
        let found = ask(pool, id).await.map_err(|error| tracing::warn!(%error, "an API key cannot be read"))?;
        let row = Arc::new(KeyRow { found, loaded: Instant::now(), epoch });
        if self.changes.load(Ordering::Acquire) == changes {
            self.rows.insert(id.to_owned(), Arc::clone(&row));
        }
        Ok(row)
    }

    /// A change was told: a key of whoever it concerns may have gone.
    pub fn changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.rows.invalidate_all();
    }

    /// Changes may have been missed: every key is read again before it counts as fresh.
    pub fn may_have_missed_changes(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }
}

async fn ask(pool: &PgPool, id: &str) -> Result<Option<FoundKey>, sqlx::Error> {
    let asked = async {
        let mut transaction = pool.begin().await?;
        let ask = sqlx::query("SELECT * FROM docsgate.api_key($1)").persistent(false).bind(id);
        let row = ask.fetch_optional(&mut *transaction).await?;
        transaction.commit().await?;
        Ok::<_, sqlx::Error>(row)
    };
    let Some(row) = timeout(ANSWER, asked).await.map_err(|_| sqlx::Error::PoolTimedOut)?? else { return Ok(None) };
    Ok(Some(FoundKey {
        digest: row.try_get("digest")?,
        usable: row.try_get("usable")?,
        ends: row.try_get::<Option<f64>, _>("ends")?.map(timestamp),
        member: MemberId { issuer: row.try_get("issuer")?, subject: row.try_get("subject")? },
    }))
}

/// Id and digest of an API key `dg_ID_SECRET`; `None` if it has not that form.
fn split_key(key: &str) -> Option<(&str, [u8; 32])> {
    let (id, secret) = key.strip_prefix("dg_")?.split_once('_')?;
    let id_fits = id.len() == 12 && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let secret_fits = secret.len() == 43 && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    (id_fits && secret_fits).then(|| (id, digest(id, secret)))
}

/// What the store keeps of a key. The secret has 256 random bits, so a plain hash cannot be reversed; the id binds the
/// digest to its row.
pub(crate) fn digest(id: &str, secret: &str) -> [u8; 32] {
    Sha256::digest(format!("docsgate api key v1|{id}|{secret}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_one_form() {
        let secret = "A".repeat(43);
        assert!(split_key(&format!("dg_abcdef012345_{secret}")).is_some());
        for bad in ["", "dg_", "dg_abcdef012345_", "xx_abcdef012345_AAA", "dg_ABCDEF012345_AAA"] {
            assert!(split_key(bad).is_none(), "{bad}");
        }
        assert!(split_key(&format!("dg_abcdef012345_{secret}A")).is_none());
    }
}
