//! Hearing of changes: `LISTEN` on the primary, the proof that it is heard, and what its loss means.
//!
//! A connection that a gateway forgot, or that ends in a pooler, looks like one on which nothing happens. So a note to
//! itself is sent through the database every two seconds, over a connection beside it, and must arrive on the listening
//! one within three more. It is a transaction, too: standbys replay it, and are known to be as new as the last one.

use std::{convert::Infallible, sync::Arc, time::Duration};

use authz_core::entitlement::MemberId;
use docsgate_service::pauses::Pauses;
use serde::Deserialize;
use sqlx::{PgConnection, postgres::PgListener};
use tokio::{
    sync::watch,
    task::yield_now,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{Members, query};
use crate::postgres::Database;

const CHANNEL: &str = "docsgate_changed";
/// Pauses between attempts that failed: the first one, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How often a note is sent.
const BEAT: Duration = Duration::from_secs(2);
/// How long it may take to arrive.
const ECHO: Duration = Duration::from_secs(3);
/// Time to connect and to begin to listen.
const BEGIN: Duration = Duration::from_secs(5);
/// Notifications taken in one turn.
const TURN: u64 = 32;

#[derive(Deserialize)]
struct Changed {
    issuer: String,
    subject: String,
}

/// Why changes are not announced any more.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the connection was lost")]
    Lost,
    #[error(
        "nothing was heard in time: the connection is silent, or leads to a pooler that passes no notifications on"
    )]
    Silent,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Listens for ever, on whichever endpoint is the primary.
pub(super) async fn follow(database: Arc<Database>, members: Arc<Members>) {
    let mut primaries = database.primaries();
    let mut pauses = Pauses::new(PAUSES.0, PAUSES.1);
    loop {
        let Some(primary) = *primaries.borrow_and_update() else {
            if primaries.changed().await.is_err() {
                return;
            }
            continue;
        };
        let ended = tokio::select! {
            Err(ended) = listen(&database, primary, &members, &mut pauses) => Some(ended),
            _ = primaries.changed() => None,
        };
        members.listening(false);
        members.may_have_missed_changes();
        if let Some(error) = ended {
            tracing::warn!(%error, "changes are not being announced; entries are read again every second");
            sleep(pauses.after_failure()).await;
        }
    }
}

/// Listens until the connection is lost or silent.
async fn listen(
    database: &Database,
    primary: usize,
    members: &Members,
    pauses: &mut Pauses,
) -> Result<Infallible, Ended> {
    // Connections of its own: one that died would be kept from the others until the kernel gives it up.
    let pool = database.dedicated(primary, 2).ok_or(Ended::Lost)?;
    let heartbeat = format!("docsgate_heartbeat_{:032x}", rand::random::<u128>());
    let begin = async {
        // Detached: it is closed, and not asked whether it still lives, when it goes.
        let beats = pool.acquire().await?.detach();
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen_all([CHANNEL, heartbeat.as_str()]).await?;
        Ok::<_, sqlx::Error>((beats, listener))
    };
    let (mut beats, listener) = timeout(BEGIN, begin).await.map_err(|_| Ended::Silent)??;
    if let Err(Some(missing)) = query::check_schema(&mut beats).await {
        tracing::error!(missing, "members cannot be read");
    }
    // What changed before is not announced; what is cached from before may be old.
    members.may_have_missed_changes();
    let (echo, echoes) = watch::channel(0);
    tokio::select! {
        ended = receive(listener, members, &heartbeat, &echo) => ended,
        ended = beat(&mut beats, &heartbeat, echoes, || {
            pauses.reset();
            members.listening(true);
            tracing::info!("changes are being announced by the database");
        }) => ended,
    }
}

/// Takes what is announced, as fast as it comes and without keeping any of it.
async fn receive(
    mut listener: PgListener,
    members: &Members,
    heartbeat: &str,
    echo: &watch::Sender<u64>,
) -> Result<Infallible, Ended> {
    // The listener would connect again by itself, but to an endpoint that may no longer be the primary.
    listener.eager_reconnect(false);
    for number in 1_u64.. {
        if number % TURN == 0 {
            // What has arrived already is taken without waiting: a storm would keep this thread from decisions.
            yield_now().await;
        }
        let notification = listener.try_recv().await?.ok_or(Ended::Lost)?;
        if notification.channel() == heartbeat {
            // Whoever guesses the channel's name gains that a silence is noticed later.
            echo.send_if_modified(|heard| {
                notification.payload().parse().is_ok_and(|number| std::mem::replace(heard, number) != number)
            });
            continue;
        }
        // At most 8000 bytes, of which nothing is kept; Postgres and serde_json bound size and depth.
        match serde_json::from_str::<Changed>(notification.payload()) {
            Ok(Changed { issuer, subject }) => members.changed(MemberId { issuer, subject }),
            Err(_) => members.everything_changed(),
        }
    }
    Err(Ended::Lost)
}

/// Sends notes until one does not arrive; tells when the first one has.
async fn beat(
    beats: &mut PgConnection,
    heartbeat: &str,
    mut echoes: watch::Receiver<u64>,
    heard: impl FnOnce(),
) -> Result<Infallible, Ended> {
    let mut heard = Some(heard);
    for number in 1_u64.. {
        let sent = Instant::now();
        let round = async {
            let note =
                sqlx::query("SELECT pg_notify($1, $2)").persistent(false).bind(heartbeat).bind(number.to_string());
            note.execute(&mut *beats).await?;
            echoes.wait_for(|arrived| *arrived == number).await.map_err(|_| Ended::Lost)?;
            Ok::<_, Ended>(())
        };
        timeout(ECHO, round).await.map_err(|_| Ended::Silent)??;
        if let Some(heard) = heard.take() {
            heard();
        }
        sleep_until(sent + BEAT).await;
    }
    Err(Ended::Lost)
}
