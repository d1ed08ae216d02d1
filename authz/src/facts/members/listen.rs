//! Being told of changes: `LISTEN` on the primary, and what its loss means.

use std::{sync::Arc, time::Duration};

use authz_core::entitlement::MemberId;
use serde::Deserialize;
use sqlx::postgres::PgListener;
use tokio::time::sleep;

use super::{Members, query};
use crate::postgres::Database;

const CHANNEL: &str = "docsgate_changed";
/// First pause after a failure; doubles up to five seconds.
const RETRY: Duration = Duration::from_millis(100);

#[derive(Deserialize)]
struct Changed {
    issuer: String,
    subject: String,
}

/// Listens for ever, on whichever endpoint is the primary.
pub(super) async fn follow(database: Arc<Database>, members: Arc<Members>) {
    let mut primaries = database.primaries();
    let mut retry = RETRY;
    loop {
        let primary = *primaries.borrow_and_update();
        let Some(pool) = primary.and_then(|index| database.endpoint(index)) else {
            if primaries.changed().await.is_err() {
                return;
            }
            continue;
        };
        let ended = tokio::select! {
            ended = listen(pool, &members, &mut retry) => ended,
            _ = primaries.changed() => Ok(()),
        };
        members.listening(false);
        members.may_have_missed_changes();
        if let Err(error) = ended {
            tracing::warn!(%error, "changes are not being told; entries are revalidated");
            retry = (retry * 2).min(Duration::from_secs(5));
            sleep(retry.mul_f64(rand::random_range(0.7..1.0))).await;
        }
    }
}

/// Listens until the connection is lost.
async fn listen(pool: &sqlx::PgPool, members: &Members, retry: &mut Duration) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    if let Err(Some(missing)) = query::check_schema(pool).await {
        tracing::error!(missing, "members cannot be read");
    }
    // What changed before is not told; what is cached from before may be old.
    members.may_have_missed_changes();
    members.listening(true);
    *retry = RETRY;
    tracing::info!("changes are being told by the database");
    loop {
        // `None`: the connection was lost. The listener would connect again by itself, but to an endpoint that may no
        // longer be the primary.
        let Some(notification) = listener.try_recv().await? else { return Ok(()) };
        match serde_json::from_str::<Changed>(notification.payload()) {
            Ok(Changed { issuer, subject }) => members.changed(Some(&MemberId { issuer, subject })),
            Err(_) => members.changed(None),
        }
    }
}
