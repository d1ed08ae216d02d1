//! API keys, from Postgres through a cache of their own.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use authz_core::{entitlement::MemberId, identity::ApiKeyFault, policy::EntitlementsPolicy, time::Timestamp};
use moka::sync::Cache;
use sha2::{Digest, Sha256};
use sqlx::Row;

use super::{
    invalidation::{Invalidations, Moment},
    members::{UNHEARD, query::timestamp},
};
use crate::postgres::{Answer, Database, Unanswered};

/// How long what the store said of a key is believed without asking again.
const FRESH: Duration = Duration::from_secs(60);

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

/// One API key, or that there is none.
#[derive(Debug)]
struct KeyRow {
    found: Option<FoundKey>,
    /// When it was read.
    read: Moment,
    /// All that was committed before is in it.
    as_of: Moment,
    /// Whether a standby said it.
    standby: bool,
    epoch: u64,
}

impl KeyRow {
    /// Whether a change was told that is not in it: of its member, or, for a key that was not there, of anybody.
    fn is_void(&self, told: &Invalidations) -> bool {
        match &self.found {
            Some(found) => told.told_since(&found.member, self.as_of),
            None => told.told_anything_since(self.as_of),
        }
    }

    fn is_fresh(&self, told: &Invalidations) -> bool {
        let fresh_for = if self.standby || !told.heard() { UNHEARD } else { FRESH };
        self.epoch == told.epoch() && self.read.age(told.now()) < fresh_for
    }
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
    told: Arc<Invalidations>,
}

impl ApiKeys {
    /// Knows no key yet.
    pub fn new(database: Option<Arc<Database>>, told: Arc<Invalidations>, policy: &EntitlementsPolicy) -> Arc<Self> {
        Arc::new(Self {
            database,
            max_stale: RwLock::new(policy.max_stale),
            rows: Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(3600)).build(),
            told,
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
        let max_stale = *self.max_stale.read().unwrap_or_else(PoisonError::into_inner);
        let cached = self.rows.get(id).filter(|row| !row.is_void(&self.told));
        let (row, current) = match cached {
            Some(row) if row.is_fresh(&self.told) => (row, true),
            _ => match self.read(id).await {
                Ok(row) => (row, true),
                // Looked up again: a change may have voided it while the read failed.
                Err(()) => (
                    self.rows.get(id).filter(|row| !row.is_void(&self.told)).ok_or(ApiKeyFault::StoreUnavailable)?,
                    false,
                ),
            },
        };
        let age = row.as_of.age(self.told.now());
        let stale_for = (!current || row.standby).then_some(age);
        if stale_for.is_some_and(|age| age >= max_stale) {
            return Err(ApiKeyFault::StoreUnavailable);
        }
        let Some(found) = &row.found else { return Err(ApiKeyFault::Unknown) };
        let same = aws_lc_rs::constant_time::verify_slices_are_equal(&found.digest, &digest).is_ok();
        if !same || !found.usable || found.ends.is_some_and(|ends| now >= ends) {
            return Err(ApiKeyFault::Unknown);
        }
        Ok(KeyHolder { id: id.to_owned(), member: found.member.clone(), stale_for })
    }

    /// Reads a key, and remembers it unless something newer is known. What a change overtook is read once more; whoever
    /// looks it up later sees whether that sufficed.
    async fn read(&self, id: &str) -> Result<Arc<KeyRow>, ()> {
        let database = self.database.as_ref().ok_or(())?;
        let mut row = self.read_once(database, id).await?;
        if row.is_void(&self.told) && !row.standby {
            row = self.read_once(database, id).await?;
        }
        // What a standby has not replayed may be this very key's end.
        if row.standby && (row.is_void(&self.told) || self.told.told_everything_since(row.as_of)) {
            return Err(());
        }
        if self.rows.get(id).is_some_and(|known| !known.standby && known.as_of > row.as_of) {
            return if row.standby { Err(()) } else { Ok(row) };
        }
        self.rows.insert(id.to_owned(), Arc::clone(&row));
        Ok(row)
    }

    async fn read_once(&self, database: &Database, id: &str) -> Result<Arc<KeyRow>, ()> {
        let (read, epoch) = (self.told.now(), self.told.epoch());
        let (found, lag) = ask(database, id).await.map_err(|error| {
            if !matches!(error, Unanswered::NoEndpoint) {
                tracing::warn!(%error, "an API key cannot be read");
            }
        })?;
        let as_of = lag.map_or(read, |lag| self.told.now().before(lag));
        Ok(Arc::new(KeyRow { found, read, as_of, standby: lag.is_some(), epoch }))
    }
}

/// The key, and how old that is if a standby said it.
async fn ask(database: &Database, id: &str) -> Result<(Option<FoundKey>, Option<Duration>), Unanswered> {
    let Answer { row, lag } = database.ask("SELECT * FROM docsgate.api_key($1)", &[id]).await?;
    let Some(row) = row else { return Ok((None, lag)) };
    let found = FoundKey {
        digest: row.try_get("digest")?,
        usable: row.try_get("usable")?,
        ends: row.try_get::<Option<f64>, _>("ends")?.map(timestamp),
        member: MemberId { issuer: row.try_get("issuer")?, subject: row.try_get("subject")? },
    };
    Ok((Some(found), lag))
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
