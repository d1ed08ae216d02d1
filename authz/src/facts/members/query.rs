//! What is asked of the database: two functions of the schema, as unnamed statements.

use std::time::{Duration, Instant};

use authz_core::{
    entitlement::{Entitlement, Entitlements, MemberId, MemberRecord},
    time::Timestamp,
};
use sha2::{Digest, Sha256};
use sqlx::{PgPool, Row};
use tokio::time::timeout;

/// Time for one answer.
const ANSWER: Duration = Duration::from_secs(2);

/// One member, as the store knows it.
pub(super) struct StandingRow {
    pub(super) record: Option<MemberRecord>,
    pub(super) revoked_tokens: Vec<String>,
}

/// One API key, or that there is none.
#[derive(Debug)]
pub(super) struct KeyRow {
    pub(super) found: Option<FoundKey>,
    pub(super) loaded: Instant,
    pub(super) epoch: u64,
}

#[derive(Debug)]
pub(super) struct FoundKey {
    pub(super) digest: Vec<u8>,
    pub(super) usable: bool,
    pub(super) ends: Option<Timestamp>,
    pub(super) member: MemberId,
}

pub(super) async fn standing(pool: &PgPool, member: &MemberId) -> Result<StandingRow, sqlx::Error> {
    let asked = sqlx::query("SELECT * FROM docsgate.standing($1, $2)")
        .persistent(false)
        .bind(&member.issuer)
        .bind(&member.subject)
        .fetch_one(pool);
    let row = timeout(ANSWER, asked).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
    let revoked_tokens = row.try_get("revoked_tokens")?;
    if !row.try_get::<bool, _>("known")? {
        return Ok(StandingRow { record: None, revoked_tokens });
    }
    let features: Vec<String> = row.try_get("features")?;
    let starts: Vec<f64> = row.try_get("starts")?;
    let ends: Vec<Option<f64>> = row.try_get("ends")?;
    let entitlements = features.into_iter().zip(starts).zip(ends).map(|((feature, starts), ends)| Entitlement {
        feature,
        starts: timestamp(starts),
        ends: ends.map(timestamp),
    });
    let record = MemberRecord {
        suspended: row.try_get("suspended")?,
        plan: row.try_get("plan")?,
        entitlements: Entitlements(entitlements.collect()),
    };
    Ok(StandingRow { record: Some(record), revoked_tokens })
}

pub(super) async fn api_key(pool: &PgPool, id: &str) -> Result<Option<FoundKey>, sqlx::Error> {
    let asked = sqlx::query("SELECT * FROM docsgate.api_key($1)").persistent(false).bind(id).fetch_optional(pool);
    let Some(row) = timeout(ANSWER, asked).await.map_err(|_| sqlx::Error::PoolTimedOut)?? else { return Ok(None) };
    Ok(Some(FoundKey {
        digest: row.try_get("digest")?,
        usable: row.try_get("usable")?,
        ends: row.try_get::<Option<f64>, _>("ends")?.map(timestamp),
        member: MemberId { issuer: row.try_get("issuer")?, subject: row.try_get("subject")? },
    }))
}

/// Id and digest of an API key `dg_ID_SECRET`; `None` if it has not that form.
pub(super) fn split_key(key: &str) -> Option<(&str, [u8; 32])> {
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

/// Seconds since the epoch; Postgres knows times before it and `infinity`, which saturate.
fn timestamp(seconds: f64) -> Timestamp {
    if seconds.is_nan() || seconds <= 0.0 {
        return Timestamp::from_nanos(0);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates at both ends, which is meant"
    )]
    Timestamp::from_nanos((seconds * 1e9) as u64)
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

    #[test]
    fn times_saturate() {
        assert_eq!(timestamp(1.5), Timestamp::from_nanos(1_500_000_000));
        assert_eq!(timestamp(-1.0), Timestamp::from_nanos(0));
        assert_eq!(timestamp(f64::INFINITY), Timestamp::from_nanos(u64::MAX));
        assert_eq!(timestamp(f64::NEG_INFINITY), Timestamp::from_nanos(0));
    }
}
