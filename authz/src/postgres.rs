//! Postgres at several addresses: which one is the primary now, and which must not be believed.
//!
//! libpq's multi-host URLs are understood (`postgresql://user:password@a:5432,b:5432/db?target_session_attrs=…`). Every
//! endpoint is asked in the background who it is; reads go to the writable one on the newest timeline. A standby serves
//! only while there is no primary, and an endpoint on an older timeline than one that was seen is refused: it is a
//! primary that was replaced and does not know it yet.

mod meters;

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use prometheus_client::{metrics::counter::Counter, registry::Registry};
use sqlx::{
    ConnectOptions, PgPool, Row,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{sync::watch, time::timeout};
use url::Url;

/// Most connections to one endpoint; a decision needs one only when a member is not cached.
const MAX_CONNECTIONS: u32 = 8;
/// Time for one connection or answer.
const ANSWER: Duration = Duration::from_secs(1);
/// How often every endpoint is asked who it is.
const EVERY: Duration = Duration::from_millis(500);
/// No endpoint is usable.
const NONE: usize = usize::MAX;

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
            let pool = PgPoolOptions::new()
                .max_connections(2)
                .acquire_timeout(Duration::from_secs(5))
                .connect_with(options.clone())
                .await;
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

/// One endpoint.
struct Endpoint {
    name: String,
    pool: PgPool,
}

/// Who an endpoint says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Role {
    standby: bool,
    timeline: i64,
}

async fn role(pool: &PgPool) -> Result<Role, String> {
    // The timeline of a primary stands in the name of the file it writes now; that of a standby in what it receives.
    const ASK: &str = "SELECT pg_is_in_recovery() AS standby, \
         CASE WHEN pg_is_in_recovery() \
              THEN (SELECT timeline_id::bigint FROM pg_control_checkpoint()) \
              ELSE ('x' || lpad(substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), 16, '0'))::bit(64)::bigint END AS timeline";
    // The simple protocol: one message, which a pooler in transaction mode sends to one server.
    let row = timeout(ANSWER, sqlx::raw_sql(ASK).fetch_one(pool))
        .await
        .map_err(|_| "no answer in time".to_owned())?
        .map_err(|error| error.to_string())?;
    Ok(Role {
        standby: row.try_get("standby").map_err(|error| error.to_string())?,
        timeline: row.try_get("timeline").map_err(|error| error.to_string())?,
    })
}

/// The endpoints, and which of them reads go to.
pub struct Database {
    endpoints: Vec<Endpoint>,
    /// Index of the endpoint in use, or [`NONE`].
    active: AtomicUsize,
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
            pool: PgPoolOptions::new()
                .max_connections(MAX_CONNECTIONS)
                .acquire_timeout(ANSWER)
                .idle_timeout(Duration::from_secs(300))
                .connect_lazy_with(options.clone()),
        });
        Arc::new(Self {
            endpoints: endpoints.collect(),
            active: AtomicUsize::new(NONE),
            newest_timeline: AtomicI64::new(0),
            switches: Counter::default(),
            primary: watch::Sender::new(None),
        })
    }

    /// Registers the metrics of these endpoints.
    pub fn measure(self: &Arc<Self>, registry: &mut Registry) {
        meters::register(self, registry);
    }

    /// Asks every endpoint who it is, for ever, and moves when the primary does.
    pub async fn follow(self: Arc<Self>) {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            self.elect().await;
        }
    }

    async fn elect(&self) {
        let mut roles: Vec<Option<Role>> = Vec::with_capacity(self.endpoints.len());
        let mut asked = tokio::task::JoinSet::new();
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let pool = endpoint.pool.clone();
            asked.spawn(async move { (index, role(&pool).await) });
            roles.push(None);
        }
        while let Some(answer) = asked.join_next().await {
            if let Ok((index, Ok(role))) = answer
                && let Some(slot) = roles.get_mut(index)
            {
                *slot = Some(role);
            }
        }
        let newest = roles.iter().flatten().filter(|role| !role.standby).map(|role| role.timeline).max().unwrap_or(0);
        let newest = self.newest_timeline.fetch_max(newest, Ordering::Relaxed).max(newest);
        let known = roles.iter().enumerate().filter_map(|(index, role)| role.map(|role| (index, role)));
        let primary = known.clone().find(|(_, role)| !role.standby && role.timeline >= newest).map(|(index, _)| index);
        let standby =
            known.filter(|(_, role)| role.standby).max_by_key(|(_, role)| role.timeline).map(|(index, _)| index);
        self.use_endpoint(primary.or(standby), primary.is_some());
        self.primary.send_if_modified(|before| std::mem::replace(before, primary) != primary);
    }

    fn use_endpoint(&self, index: Option<usize>, primary: bool) {
        let index = index.unwrap_or(NONE);
        let before = self.active.swap(index, Ordering::Relaxed);
        if before == index {
            return;
        }
        if before != NONE {
            self.switches.inc();
        }
        match self.endpoints.get(index) {
            Some(endpoint) if primary => tracing::info!(endpoint = endpoint.name, "the database's primary"),
            Some(endpoint) => tracing::warn!(endpoint = endpoint.name, "no primary; a standby serves"),
            None => tracing::error!("no database endpoint can be used"),
        }
    }

    /// The pool that reads go to; `None` while no endpoint can be used.
    pub fn pool(&self) -> Option<&PgPool> {
        self.endpoints.get(self.active.load(Ordering::Relaxed)).map(|endpoint| &endpoint.pool)
    }

    /// Whether a primary is in use, so that changes can be listened to.
    pub fn has_primary(&self) -> bool {
        self.primary.borrow().is_some()
    }

    /// Tells which endpoint is the primary, whenever that changes.
    pub fn primaries(&self) -> watch::Receiver<Option<usize>> {
        self.primary.subscribe()
    }

    /// The pool of an endpoint.
    pub fn endpoint(&self, index: usize) -> Option<&PgPool> {
        self.endpoints.get(index).map(|endpoint| &endpoint.pool)
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
