//! `authz drain`: tells the Envoy of the same pod to let go of its clients before it is stopped.
//!
//! Envoy ends at once on SIGTERM. Its image has no shell and no HTTP client that a hook could run; authz stands in the same
//! pod and reaches Envoy's admin interface on loopback. The kubelet runs the hooks of sidecars when the pod begins to end,
//! beside Envoy's own.

use std::{io::Write as _, time::Duration};

use anyhow::Context as _;
use clap::Args;

/// Arguments of `authz drain`.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// Envoy's admin interface.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9901")]
    envoy_admin: String,
    /// How long to wait until Envoy has no client left.
    #[arg(long, value_name = "S", default_value_t = 10)]
    wait_seconds: u64,
}

const ANSWER: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Asks Envoy to end keep-alive connections with their next answer, and waits until none is left or time is over.
///
/// # Errors
/// When Envoy's admin interface does not do it.
pub async fn run(args: &DrainArgs) -> anyhow::Result<()> {
    let admin = args.envoy_admin.trim_end_matches('/');
    let client = reqwest::Client::builder().timeout(ANSWER).no_proxy().build()?;
    // `skip_exit`: new connections are still served, for a load balancer that has not heard yet.
    let url = format!("{admin}/drain_listeners?graceful&skip_exit");
    let asked = client.post(&url).send().await.and_then(reqwest::Response::error_for_status);
    asked.with_context(|| format!("Envoy's admin interface did not take POST {url}"))?;
    let until = tokio::time::Instant::now() + Duration::from_secs(args.wait_seconds);
    let mut left = connections(&client, admin).await?;
    while left > 0 && tokio::time::Instant::now() < until {
        tokio::time::sleep(LOOK_EVERY).await;
        left = connections(&client, admin).await?;
    }
    writeln!(std::io::stdout(), "Envoy drains; connections of clients left: {left}")?;
    Ok(())
}

/// Connections of clients, without those to the admin interface itself.
async fn connections(client: &reqwest::Client, admin: &str) -> anyhow::Result<u64> {
    let url = format!("{admin}/stats?filter=^http\\.edge\\.downstream_cx_active$");
    let text = client.get(&url).send().await?.error_for_status()?.text().await?;
    Ok(text.lines().filter_map(|line| line.rsplit_once(": ")?.1.trim().parse::<u64>().ok()).sum())
}
