//! Going away without a failed request: first not ready, then no new work, then the end.

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Tells everybody that the process is going away.
#[derive(Debug, Clone)]
pub struct Drain(watch::Sender<bool>);

impl Drain {
    /// Not begun.
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Begins; a second time changes nothing.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Resolves once it has begun.
    pub async fn begun(&self) {
        let mut receiver = self.0.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = receiver.wait_for(|begun| *begun).await;
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

/// Resolves at SIGTERM or SIGINT.
///
/// # Errors
/// When the handlers cannot be installed.
pub async fn signalled() -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
