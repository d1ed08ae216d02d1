//! When a docsgate process is ready: it has written its ready file, and `/readyz` says yes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::http;
use crate::process::{Launch, Process};

/// What a process reports once all its listeners are bound.
#[derive(Debug, Deserialize)]
pub struct Ready {
    /// The process that wrote it.
    pub pid: i32,
    /// Listener name → `127.0.0.1:40123` or `unix:/path`.
    pub listeners: BTreeMap<String, String>,
}

impl Ready {
    /// The address of one listener.
    ///
    /// # Errors
    /// When the process reported no such listener.
    pub fn listener(&self, name: &str) -> Result<&str> {
        self.listeners.get(name).map(String::as_str).with_context(|| {
            let known: Vec<&str> = self.listeners.keys().map(String::as_str).collect();
            format!("process {} has no listener `{name}`, only {}", self.pid, known.join(", "))
        })
    }

    /// `http://` URL of one listener.
    ///
    /// # Errors
    /// When the process reported no such listener.
    pub fn url(&self, name: &str) -> Result<String> {
        Ok(format!("http://{}", self.listener(name)?))
    }
}

/// How long a process may take to bind its listeners, on a machine that is busy compiling.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a process that takes `--ready-file`, and waits until it has written it.
///
/// # Errors
/// When it ends or stays silent; the sentence has its last lines.
pub fn start(launch: Launch, ready_file: &Path) -> Result<(Process, Ready)> {
    match fs::remove_file(ready_file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove the old {}", ready_file.display()));
        }
        _ => {}
    }
    let process = launch.arg("--ready-file").arg(ready_file).spawn()?;
    let pid = process.pid();
    let ready = process.until("its ready file", PATIENCE, || read(ready_file).filter(|ready| ready.pid == pid))?;
    Ok((process, ready))
}

fn read(path: &Path) -> Option<Ready> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Waits until `URL/readyz` answers 200.
///
/// # Errors
/// When the process ends or is not ready in time.
pub fn wait_until_serving(process: &Process, admin_url: &str) -> Result<()> {
    let probe = format!("{admin_url}/readyz");
    process.until(&format!("200 from {probe}"), PATIENCE, || {
        http::get(&probe).ok().filter(|(status, _)| *status == 200).map(|_| ())
    })
}
