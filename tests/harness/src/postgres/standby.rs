//! A real streaming standby of a running server, and its promotion.

use std::fs;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Account, Options, Postgres};

/// How long a copy or a promotion may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

impl Postgres {
    /// Copies this running server into `options.folder` and starts the copy as its streaming standby. Logins and
    /// passwords are the primary's.
    ///
    /// # Errors
    /// What `pg_basebackup` or the standby said.
    pub fn standby(&self, options: &Options) -> Result<Self> {
        fs::create_dir_all(&options.folder).with_context(|| format!("cannot create {}", options.folder.display()))?;
        let account = Account::fit()?;
        let data = account.data_folder(&options.folder)?;
        fs::write(options.folder.join("password"), &self.password).context("cannot write the standby's password")?;
        let mut copy = account.command(&self.bin.join("pg_basebackup"));
        copy.args(["--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "--no-sync", "--pgdata"])
            .arg(&data)
            .args(["--dbname", &self.url("postgres")]);
        succeeded("pg_basebackup", &copy.output().context("cannot run pg_basebackup")?)?;
        Self::start(options)
    }

    /// Makes a standby the primary; returns when it takes writes.
    ///
    /// # Errors
    /// What `pg_ctl` said.
    pub fn promote(&self) -> Result<()> {
        let mut promote = Account::fit()?.command(&self.bin.join("pg_ctl"));
        promote.args(["promote", "--wait", "--pgdata"]).arg(self.data());
        promote.args(["--timeout", &PATIENCE.as_secs().to_string()]);
        succeeded("pg_ctl promote", &promote.output().context("cannot run pg_ctl")?)
    }

    /// Whether this server is a standby.
    ///
    /// # Errors
    /// What the server said.
    pub fn is_standby(&self) -> Result<bool> {
        Ok(self.sql("postgres", "SELECT pg_is_in_recovery()")?.trim() == "t")
    }
}

fn succeeded(what: &str, output: &Output) -> Result<()> {
    if !output.status.success() {
        bail!("{what} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
