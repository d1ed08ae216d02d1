//! What is asked of the database about members, and whether it can be asked at all.
//!
//! Every question is an unnamed statement in a transaction of its own: a pooler in transaction mode (PgBouncer before 1.21
//! knows no prepared statements) may otherwise send its parts to different servers.

use std::{sync::Arc, time::Duration};

use authz_core::{
    entitlement::{Entitlement, Entitlements, MemberId, MemberRecord},
    time::Timestamp,
};
use sqlx::{PgConnection, Row, postgres::PgRow};
use tokio::time::timeout;

use crate::postgres::{Answer, Database, Unanswered};

/// Time for one answer.
const ANSWER: Duration = Duration::from_secs(2);

/// One member, as the store knows it.
pub(super) struct MembershipRow {
    pub(super) record: Option<Arc<MemberRecord>>,
    pub(super) revoked_tokens: Vec<String>,
}

/// The member, and how old that is if a standby said it.
///
/// # Errors
/// [`Unanswered`].
pub(super) async fn membership(
    database: &Database,
    member: &MemberId,
) -> Result<(MembershipRow, Option<Duration>), Unanswered> {
    let Answer { row, lag } =
        database.ask("SELECT * FROM docsgate.standing($1, $2)", &[&member.issuer, &member.subject]).await?;
    Ok((membership_row(&row.ok_or(sqlx::Error::RowNotFound)?)?, lag))
}

fn membership_row(row: &PgRow) -> Result<MembershipRow, sqlx::Error> {
    let revoked_tokens = row.try_get("revoked_tokens")?;
    if !row.try_get::<bool, _>("known")? {
        return Ok(MembershipRow { record: None, revoked_tokens });
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
    Ok(MembershipRow { record: Some(Arc::new(record)), revoked_tokens })
}

/// Asks whether this login can ask at all, so that an operator reads of it before a member does.
///
/// # Errors
/// A sentence that says what is missing and what to do; `None` inside when the database could not be asked.
pub(super) async fn check_schema(connection: &mut PgConnection) -> Result<(), Option<&'static str>> {
    // Nested: each part is evaluated only where the one before it holds.
    const ASK: &str = "SELECT CASE \
        WHEN to_regnamespace('docsgate') IS NULL THEN 'no schema' \
        WHEN NOT has_schema_privilege('docsgate', 'USAGE') THEN 'no rights' \
        WHEN to_regprocedure('docsgate.standing(text,text)') IS NULL OR to_regprocedure('docsgate.api_key(text)') IS NULL THEN 'too old' \
        WHEN NOT has_function_privilege('docsgate.standing(text,text)', 'EXECUTE') THEN 'no rights' \
        WHEN NOT has_function_privilege('docsgate.api_key(text)', 'EXECUTE') THEN 'no rights' \
        ELSE 'fit' END";
    let asked = timeout(ANSWER, sqlx::raw_sql(ASK).fetch_one(connection)).await;
    let said: String = asked.map_err(|_| None)?.and_then(|row| row.try_get(0)).map_err(|_| None)?;
    match said.as_str() {
        "fit" => Ok(()),
        "no schema" => Err(Some("the database has no schema `docsgate`: run `authz migrate` with the owner's login")),
        "too old" => {
            Err(Some("the schema `docsgate` is older than this authz: run `authz migrate` with the owner's login"))
        }
        _ => Err(Some("this login may not read the schema `docsgate`: give it the role docsgate_reader")),
    }
}

/// Seconds since the epoch; Postgres knows times before it and `infinity`, which saturate.
pub(in crate::facts) fn timestamp(seconds: f64) -> Timestamp {
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
    fn times_saturate() {
        assert_eq!(timestamp(1.5), Timestamp::from_nanos(1_500_000_000));
        assert_eq!(timestamp(-1.0), Timestamp::from_nanos(0));
        assert_eq!(timestamp(f64::INFINITY), Timestamp::from_nanos(u64::MAX));
        assert_eq!(timestamp(f64::NEG_INFINITY), Timestamp::from_nanos(0));
    }
}
