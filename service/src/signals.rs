//! Going away without a failed request: a signal cancels one token, and everything that serves or watches holds a clone of it.

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Catches SIGTERM and SIGINT from now on; the future resolves at the first of them.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn ended() -> Result<impl Future<Output = ()> + use<>> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be caught")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be caught")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// A token that is cancelled at SIGTERM or SIGINT.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn cancelled_at_signal() -> Result<CancellationToken> {
    let ended = ended()?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        ended.await;
        cancelled.cancel();
    });
    Ok(token)
}
