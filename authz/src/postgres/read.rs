//! One question to the database, and how old its answer is.

use std::time::{Duration, Instant, SystemTime};

use sqlx::{
    Connection, PgConnection, Postgres, Row,
    pool::PoolConnection,
    postgres::{PgPool, PgRow},
};
use tokio::time::timeout;

use super::{Database, Reading, freshness::Replayed};

/// Time for one question, once there is a connection.
const ANSWER: Duration = Duration::from_secs(2);
/// Begin a transaction whose statements end on the server before this side stops waiting for them: a session that waits for
/// a lock does not notice that its client has gone, so those left behind would add up.
const BEGIN_ON_STANDBY: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL statement_timeout = 1500";
const BEGIN_ON_PRIMARY: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL statement_timeout = 1500";

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The first row, if there is one.
    pub row: Option<PgRow>,
    /// How old it was when it was read; `None` if the primary said it.
    pub lag: Option<Duration>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// Neither a primary nor a standby can be used.
    #[error("no database endpoint can be used")]
    NoEndpoint,
    /// The connection, or the server, is silent.
    #[error("the database did not answer in time")]
    Silent,
    /// A standby whose replay stands still, or that has replayed nothing that tells its age.
    #[error("the standby cannot tell how old its answer is: its replay is paused, or has not begun")]
    UnknownAge,
    /// The database refused.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl Database {
    /// Asks the endpoint in use, in a transaction of its own. `sql` is one statement whose arguments are texts.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn ask(&self, sql: &'static str, arguments: &[&str]) -> Result<Answer, Unanswered> {
        let mut reading = self.reading.subscribe();
        loop {
            let chosen = (*reading.borrow_and_update()).ok_or(Unanswered::NoEndpoint)?;
            // Whoever waits for an endpoint that is given up asks the next one.
            tokio::select! {
                answer = self.ask_endpoint(chosen, sql, arguments) => return answer,
                _ = reading.changed() => {}
            }
        }
    }

    async fn ask_endpoint(&self, chosen: Reading, sql: &'static str, arguments: &[&str]) -> Result<Answer, Unanswered> {
        let endpoint = self.endpoints.get(chosen.endpoint).ok_or(Unanswered::NoEndpoint)?;
        let mut lease = Lease::take(&endpoint.pool).await?;
        let answer = async {
            let connection = lease.connection()?;
            match chosen.standby {
                true => self.ask_standby(connection, sql, arguments).await,
                false => ask_primary(connection, sql, arguments).await,
            }
        };
        let answer = timeout(ANSWER, answer).await.map_err(|_| Unanswered::Silent)?;
        lease.give_back();
        answer
    }

    async fn ask_standby(
        &self,
        connection: &mut PgConnection,
        sql: &'static str,
        arguments: &[&str],
    ) -> Result<Answer, Unanswered> {
        // Each statement sees the database as it is when the statement begins: what is said of the age first is true of
        // what is read next. Fails once the standby is promoted.
        const AGE: &str = "SELECT \
             CASE WHEN NOT pg_is_wal_replay_paused() THEN (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint END AS position, \
             extract(epoch FROM pg_last_xact_replay_timestamp())::double precision AS transaction";
        let mut transaction = connection.begin_with(BEGIN_ON_STANDBY).await?;
        let (asked, clock) = (Instant::now(), SystemTime::now());
        let age = sqlx::query(AGE).persistent(false).fetch_one(&mut *transaction).await?;
        let row = question(sql, arguments).fetch_optional(&mut *transaction).await?;
        transaction.commit().await?;
        let position = age.try_get::<Option<i64>, _>("position")?.and_then(|position| u64::try_from(position).ok());
        let replayed =
            Replayed { position: position.ok_or(Unanswered::UnknownAge)?, transaction: age.try_get("transaction")? };
        let lag = self.marks().age(replayed, asked, clock).ok_or(Unanswered::UnknownAge)?;
        // The answer came a little later than it was asked for.
        Ok(Answer { row, lag: Some(lag.saturating_add(asked.elapsed())) })
    }
}

async fn ask_primary(
    connection: &mut PgConnection,
    sql: &'static str,
    arguments: &[&str],
) -> Result<Answer, Unanswered> {
    // A server that became a standby since it was last asked who it is refuses to begin.
    let mut transaction = connection.begin_with(BEGIN_ON_PRIMARY).await?;
    let row = question(sql, arguments).fetch_optional(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(Answer { row, lag: None })
}

fn question<'q>(
    sql: &'static str,
    arguments: &'q [&'q str],
) -> sqlx::query::Query<'q, Postgres, sqlx::postgres::PgArguments> {
    // Unnamed: a pooler in transaction mode may know no prepared statements.
    arguments.iter().fold(sqlx::query(sql).persistent(false), |query, argument| query.bind(*argument))
}

/// A connection that is closed, not given back, unless its question was answered. The pool would ask a silent one whether
/// it still lives, without a limit in time, and have one connection less until then.
pub(super) struct Lease(Option<PoolConnection<Postgres>>);

impl Lease {
    pub(super) async fn take(pool: &PgPool) -> Result<Self, sqlx::Error> {
        Ok(Self(Some(pool.acquire().await?)))
    }

    pub(super) fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.0.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
    }

    pub(super) fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}
