//! Redis on a Unix socket: no port to choose, nothing kept on disk.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{Launch, Process};

/// A running Redis.
#[derive(Debug)]
pub struct Redis {
    /// The process.
    pub process: Process,
    /// Where it listens.
    pub socket: PathBuf,
}

impl Redis {
    /// Starts `program` with its socket and log in `folder`, and with further settings.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn start(program: &Path, folder: &Path, settings: &[&str]) -> Result<Self> {
        const PATIENCE: Duration = Duration::from_secs(20);
        let socket = folder.join("redis.sock");
        let process = Launch::new("Redis", program, folder.join("redis.log"))
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&socket)
            .arg("--dir")
            .arg(folder)
            .args(settings)
            .spawn()?;
        let redis = Self { process, socket };
        redis.process.until("an answer of Redis", PATIENCE, || redis.command("PING").ok())?;
        Ok(redis)
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket.display())
    }

    /// Says one line to it and returns the first line of the answer; an integer or a status, without its mark.
    ///
    /// # Errors
    /// When it does not answer within two seconds, or refuses.
    pub fn command(&self, line: &str) -> Result<String> {
        let mut stream = UnixStream::connect(&self.socket).context("cannot connect to Redis")?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(format!("{line}\r\n").as_bytes())?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        match answer.trim_end().split_at_checked(1) {
            Some(("-", refusal)) => bail!("Redis refused `{line}`: {refusal}"),
            Some((_, said)) => Ok(said.to_owned()),
            None => bail!("Redis said nothing to `{line}`"),
        }
    }
}
