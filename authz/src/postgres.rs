//! Postgres at several addresses: which one is the primary now, and which must not be believed.
//!
//! libpq's multi-host URLs are understood (`postgresql://user:password@a:5432,b:5432/db?target_session_attrs=…`). Every
//! endpoint is asked in the background who it is; reads go to the writable one on the newest timeline. A standby serves
//! only while there is no primary, with answers as old as what it has replayed; and an endpoint on an older timeline than
//! one that was seen is refused: it is a primary that was replaced and does not know it yet, or its standby.

mod freshness;
mod meters;
mod read;

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use sqlx::{
    ConnectOptions, PgPool, Row,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use url::Url;

pub use self::read::{Answer, Unanswered};
use self::{freshness::Marks, read::Lease};

/// Most connections to one endpoint; a decision needs one only when a member is not cached.
const MAX_CONNECTIONS: u32 = 8;
/// Time for one answer to the question who an endpoint is.
const ANSWER: Duration = Duration::from_secs(1);
/// Time to get a connection. No decision waits that long; an attempt that is given up too early is begun anew by the next
/// one, and on a machine that is short of processor never ends.
const CONNECT: Duration = Duration::from_secs(3);
/// How often every endpoint is asked who it is.
const EVERY: Duration = Duration::from_millis(500);
/// The driver cannot have the kernel look after its sockets, so the server's kernel is asked to, on every connection: a
/// probe after 15 idle seconds and every 5 from then on, and the end after 3 that were not answered, or after 30 seconds
/// in which something that was sent was not acknowledged. The probes also keep gateways from forgetting an idle connection.
const KEEPALIVES: &str = "SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; \
     SET tcp_user_timeout = 30000";

/// The endpoints of a database URL.
#[derive(Debug, Clone)]
pub struct DatabaseUrls {
    endpoints: Vec<PgConnectOptions>,
}

impl DatabaseUrls {
    /// Parses a URL with one or several hosts.
    ///
    /// # Errors
    /// A sentence that says what is wrong, without the password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = "expected postgresql://USER:PASSWORD@HOST[:PORT][,HOST[:PORT]…]/DATABASE";
        let (scheme, rest) = text.trim().split_once("://").ok_or_else(|| format!("not a URL; {expected}"))?;
        if !matches!(scheme, "postgres" | "postgresql") {
            return Err(format!("the scheme is `{scheme}`; {expected}"));
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
        let separator = if user.is_empty() { "" } else { "@" };
        let mut endpoints = Vec::new();
        for host in hosts.split(',') {
            let mut url = Url::parse(&format!("postgresql://{user}{separator}{host}{tail}"))
                .map_err(|error| format!("the endpoint `{host}` is not valid ({error}); {expected}"))?;
            // libpq's, and meaningless for one endpoint: the role of every endpoint is asked for anyway.
            if let Some((_, wanted)) = url.query_pairs().find(|(name, _)| name == "target_session_attrs")
                && !matches!(wanted.as_ref(), "any" | "read-write" | "primary" | "prefer-standby")
            {
                let known =
                    "expected `read-write`, `primary`, `prefer-standby` or `any`; reads go to the primary in any case";
                return Err(format!("target_session_attrs is `{wanted}`; {known}"));
            }
            let kept: Vec<(String, String)> = url
                .query_pairs()
                .filter(|(name, _)| !matches!(name.as_ref(), "target_session_attrs" | "load_balance_hosts"))
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect();
            url.set_query(None);
            if !kept.is_empty() {
                url.query_pairs_mut().extend_pairs(kept);
            }
            let options = PgConnectOptions::from_str(url.as_str()).map_err(|error| format!("{error}; {expected}"))?;
            endpoints.push(options.application_name("docsgate-authz").log_statements(tracing::log::LevelFilter::Off));
        }
        Ok(Self { endpoints })
    }

    /// The first endpoint that can be connected to and written to, for commands that change something.
    ///
    /// # Errors
    /// What each endpoint said.
    pub async fn writable(&self) -> Result<PgPool, String> {
        let mut said = Vec::new();
        for options in &self.endpoints {
            let name = name(options);
            let pool = pool(2).acquire_timeout(Duration::from_secs(5)).connect_with(options.clone()).await;
            match pool {
                Ok(pool) => match role(&pool).await {
                    Ok(Role { standby: false, .. }) => return Ok(pool),
                    Ok(_) => said.push(format!("{name}: a standby, which cannot be written to")),
                    Err(error) => said.push(format!("{name}: {error}")),
                },
                Err(error) => said.push(format!("{name}: {error}")),
            }
        }
        Err(format!("no endpoint can be written to: {}", said.join("; ")))
    }
}

fn name(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(path) => path.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

/// A pool whose connections are looked after.
fn pool(most: u32) -> PgPoolOptions {
    PgPoolOptions::new().max_connections(most).after_connect(|connection, _| {
        Box::pin(async move {
            // A server or pooler that knows no such settings is none the worse for it.
            if let Err(error) = sqlx::raw_sql(KEEPALIVES).execute(connection).await {
                tracing::debug!(%error, "the server does not look after its connections");
            }
            Ok(())
        })
    })
}

/// One endpoint.
struct Endpoint {
    name: String,
    options: PgConnectOptions,
    pool: PgPool,
    /// A connection of its own to ask who it is: reads that wait for connections must not look like a server that is away.
    probe: PgPool,
}

/// Who an endpoint says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Role {
    standby: bool,
    timeline: i64,
    /// Where the log of a primary ends, or what a standby has replayed; `None` for one whose replay stands still.
    position: Option<i64>,
}

impl Role {
    fn position(&self) -> Option<u64> {
        self.position.and_then(|position| u64::try_from(position).ok())
    }
}

async fn role(pool: &PgPool) -> Result<Role, String> {
    // The timeline of a primary stands in the name of the file it writes now; that of a standby in what it has replayed.
    // All that a primary has told anybody lies before the place where it inserts, also what is not on its disk yet.
    const ASK: &str = "SELECT pg_is_in_recovery() AS standby, \
         CASE WHEN pg_is_in_recovery() \
              THEN (SELECT GREATEST(c.timeline_id, r.min_recovery_end_timeline)::bigint FROM pg_control_checkpoint() AS c, pg_control_recovery() AS r) \
              ELSE ('x' || lpad(substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), 16, '0'))::bit(64)::bigint END AS timeline, \
         CASE WHEN NOT pg_is_in_recovery() THEN (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint \
              WHEN pg_is_wal_replay_paused() THEN NULL \
              ELSE (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint END AS position";
    let asked = async {
        let mut lease = Lease::take(pool).await?;
        // The simple protocol: one message, which a pooler in transaction mode sends to one server.
        let row = timeout(ANSWER, sqlx::raw_sql(ASK).fetch_one(lease.connection()?)).await;
        if row.is_ok() {
            lease.give_back();
        }
        let row = row.map_err(|_| sqlx::Error::PoolTimedOut)??;
        Ok::<_, sqlx::Error>(Role {
            standby: row.try_get("standby")?,
            timeline: row.try_get("timeline")?,
            position: row.try_get("position")?,
        })
    };
    asked.await.map_err(|error| match error {
        sqlx::Error::PoolTimedOut => "no answer in time".to_owned(),
        error => error.to_string(),
    })
}

/// Where reads go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    /// Index of the endpoint.
    endpoint: usize,
    standby: bool,
}

/// The endpoints, and which of them reads go to.
pub struct Database {
    endpoints: Vec<Endpoint>,
    /// The endpoint in use; `None` while none can be used. Changes tell questions that wait to move.
    reading: watch::Sender<Option<Reading>>,
    /// Where the primary was, and when: what tells the age of a standby.
    marks: Mutex<Marks>,
    newest_timeline: AtomicI64,
    switches: Counter,
    /// Index of the primary; changes tell listeners to move.
    primary: watch::Sender<Option<usize>>,
}

impl Database {
    /// Connects to nothing yet: an unreachable database must not delay the start.
    pub fn new(urls: &DatabaseUrls) -> Arc<Self> {
        let endpoints = urls.endpoints.iter().map(|options| Endpoint {
            name: name(options),
            options: options.clone(),
            pool: pool(MAX_CONNECTIONS)
                .acquire_timeout(CONNECT)
                .idle_timeout(Duration::from_secs(300))
                .connect_lazy_with(options.clone()),
            probe: pool(1).acquire_timeout(CONNECT).connect_lazy_with(options.clone()),
        });
        Arc::new(Self {
            endpoints: endpoints.collect(),
            reading: watch::Sender::new(None),
            marks: Mutex::default(),
            newest_timeline: AtomicI64::new(0),
            switches: Counter::default(),
            primary: watch::Sender::new(None),
        })
    }

    /// Registers the metrics of these endpoints.
    pub fn measure(self: &Arc<Self>, registry: &mut Registry) {
        meters::register(self, registry);
    }

    /// Asks every endpoint who it is, for ever, and moves when the primary does. One that is silent keeps none of the others
    /// waiting.
    pub async fn follow(self: Arc<Self>) {
        let (said, mut answers) = mpsc::channel(self.endpoints.len().max(1));
        for index in 0..self.endpoints.len() {
            tokio::spawn(Arc::clone(&self).ask_again_and_again(index, said.clone()));
        }
        let began = Instant::now();
        let mut asked = vec![false; self.endpoints.len()];
        let mut roles = vec![None; self.endpoints.len()];
        while let Some((index, role)) = answers.recv().await {
            if let (Some(known), Some(asked)) = (roles.get_mut(index), asked.get_mut(index)) {
                (*known, *asked) = (role, true);
            }
            // At the start the primary is given the time to answer after its standby.
            if asked.iter().all(|asked| *asked) || began.elapsed() >= ANSWER {
                self.elect(&roles);
            }
        }
    }

    async fn ask_again_and_again(self: Arc<Self>, index: usize, said: mpsc::Sender<(usize, Option<(Role, Instant)>)>) {
        let Some(endpoint) = self.endpoints.get(index) else { return };
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let began = Instant::now();
            let answer = role(&endpoint.probe).await.ok().map(|role| (role, began));
            // A connection to read over is there before anybody needs it: to make one takes longer than a decision may.
            // One that is being made counts.
            if answer.is_some() && endpoint.pool.size() == 0 {
                let pool = endpoint.pool.clone();
                tokio::spawn(async move { pool.acquire().await.map(drop) });
            }
            if said.send((index, answer)).await.is_err() {
                return;
            }
        }
    }

    fn elect(&self, roles: &[Option<(Role, Instant)>]) {
        let primaries = roles.iter().flatten().filter(|(role, _)| !role.standby);
        let newest = primaries.map(|(role, _)| role.timeline).max().unwrap_or(0);
        let newest = self.newest_timeline.fetch_max(newest, Ordering::Relaxed).max(newest);
        let known = roles.iter().enumerate().filter_map(|(index, role)| role.map(|(role, asked)| (index, role, asked)));
        let current = known.filter(|(_, role, _)| role.timeline >= newest);
        let primary = current.clone().find(|(_, role, _)| !role.standby);
        if let Some((_, role, asked)) = primary
            && let Some(position) = role.position()
        {
            self.marks().note(role.timeline, position, asked);
        }
        let standby = current
            .filter(|(_, role, _)| role.standby && role.position.is_some())
            .max_by_key(|(_, role, _)| (role.timeline, role.position));
        let chosen = primary.or(standby).map(|(endpoint, role, _)| Reading { endpoint, standby: role.standby });
        self.read_from(chosen);
        let primary = primary.map(|(index, ..)| index);
        self.primary.send_if_modified(|before| std::mem::replace(before, primary) != primary);
    }

    fn read_from(&self, chosen: Option<Reading>) {
        let before = *self.reading.borrow();
        if before == chosen {
            return;
        }
        self.reading.send_replace(chosen);
        if before.is_some_and(|before| chosen.is_none_or(|chosen| chosen.endpoint != before.endpoint)) {
            self.switches.inc();
        }
        match chosen.and_then(|chosen| Some((self.endpoints.get(chosen.endpoint)?, chosen.standby))) {
            Some((endpoint, false)) => tracing::info!(endpoint = endpoint.name, "the database's primary"),
            Some((endpoint, true)) => {
                tracing::warn!(endpoint = endpoint.name, "no primary; a standby serves, and what it says is stale");
            }
            None => tracing::error!("no database endpoint can be used"),
        }
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock()
    }

    /// The pool that reads go to; `None` while no endpoint can be used.
    pub fn pool(&self) -> Option<&PgPool> {
        let reading = (*self.reading.borrow())?;
        self.endpoints.get(reading.endpoint).map(|endpoint| &endpoint.pool)
    }

    /// Tells which endpoint is the primary, whenever that changes.
    pub fn primaries(&self) -> watch::Receiver<Option<usize>> {
        self.primary.subscribe()
    }

    /// A pool of its own for connections to an endpoint that are kept.
    pub fn dedicated(&self, index: usize, most: u32) -> Option<PgPool> {
        let options = self.endpoints.get(index)?.options.clone();
        Some(pool(most).acquire_timeout(CONNECT).idle_timeout(None).max_lifetime(None).connect_lazy_with(options))
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
        f.debug_struct("Database").field("endpoints", &names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_hosts_become_several_endpoints() {
        let names =
            |text: &str| -> Vec<String> { DatabaseUrls::parse(text).unwrap().endpoints.iter().map(name).collect() };
        assert_eq!(
            names("postgresql://u:p@a:5433,b/db?target_session_attrs=read-write&sslmode=require"),
            ["a:5433", "b:5432"]
        );
        assert_eq!(names("postgres://u@localhost/db"), ["localhost:5432"]);
        assert_eq!(names("postgresql://u:p%40x@[::1]:5432,10.0.0.1/db").len(), 2);
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        let error = DatabaseUrls::parse("postgresql://u:secret@h/db?target_session_attrs=standby").unwrap_err();
        assert!(error.contains("expected `read-write`") && !error.contains("secret"), "{error}");
        for text in ["", "localhost", "mysql://u:secret@h/db", "postgresql://u:secret@h:99999/db"] {
            let error = DatabaseUrls::parse(text).unwrap_err();
            assert!(error.contains("expected postgresql://"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
