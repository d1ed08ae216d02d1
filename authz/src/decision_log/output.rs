//! The target of the decision log: standard output, a collector, or a file that is set aside when it is large.

use std::{
    fs::{File, OpenOptions},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use authz_core::record::DecisionRecord;
use docsgate_service::Records;

use super::{DecisionLogConfig, LogTarget};

/// Where lines are written.
pub(super) enum Output {
    Stdout(BufWriter<std::io::Stdout>),
    /// With the number of records that the collector has not confirmed.
    Otlp(Records, u64),
    File {
        file: BufWriter<File>,
        path: PathBuf,
        bytes: u64,
        most: u64,
        keep: u32,
    },
}

impl Output {
    /// Opens the target.
    pub(super) fn open(target: &LogTarget, config: &DecisionLogConfig) -> Result<Self, String> {
        match target {
            LogTarget::Stdout => Ok(Self::Stdout(BufWriter::new(std::io::stdout()))),
            LogTarget::Otlp => Records::from_environment("authz", docsgate_service::revision::version())
                .map(|records| Self::Otlp(records, 0))
                .map_err(|error| format!("--decision-log otlp: {error}")),
            LogTarget::File(path) => {
                let (file, bytes) =
                    append(path).map_err(|error| format!("--decision-log {}: {error}", path.display()))?;
                // A pipe cannot be set aside.
                let most = if file.get_ref().metadata().is_ok_and(|metadata| metadata.is_file()) {
                    config.decision_log_max_bytes.max(1)
                } else {
                    u64::MAX
                };
                let keep = config.decision_log_keep;
                Ok(Self::File { file, path: path.clone(), bytes, most, keep })
            }
        }
    }

    /// Writes a record, of which `line` is the JSON.
    pub(super) fn line(&mut self, record: &DecisionRecord, mut line: Vec<u8>) -> std::io::Result<()> {
        if !matches!(self, Self::Otlp(..)) {
            line.push(b'\n');
        }
        match self {
            Self::Stdout(out) => out.write_all(&line),
            Self::Otlp(records, waiting) => {
                let attributes = [
                    ("docsgate.request_id", record.id.as_str()),
                    ("docsgate.outcome", record.decision.outcome.as_str()),
                ];
                records.emit("docsgate.decision", String::from_utf8_lossy(&line).into_owned(), &attributes);
                *waiting += 1;
                // What waits for the collector waits in our queue, where what is lost is counted.
                if *waiting < Records::BATCH { Ok(()) } else { self.flush() }
            }
            Self::File { file, path, bytes, most, keep } => {
                let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
                if *bytes > 0 && bytes.saturating_add(length) > *most {
                    file.flush()?;
                    rotate(path, *keep)?;
                    (*file, *bytes) = append(path)?;
                }
                *bytes = bytes.saturating_add(length);
                file.write_all(&line)
            }
        }
    }

    /// How many lines an error has cost.
    pub(super) fn lost(&mut self) -> u64 {
        match self {
            Self::Otlp(_, waiting) => std::mem::take(waiting).max(1),
            Self::Stdout(_) | Self::File { .. } => 1,
        }
    }

    /// Whether lines are kept in memory until a flush; what a file's buffer holds is bounded and small.
    pub(super) fn holds_lines(&self) -> bool {
        matches!(self, Self::Otlp(_, waiting) if *waiting > 0)
    }

    /// Writes what is buffered.
    pub(super) fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::Otlp(_, 0) => Ok(()),
            Self::Otlp(records, waiting) => {
                records.flush()?;
                *waiting = 0;
                Ok(())
            }
            Self::File { file, .. } => file.flush(),
        }
    }
}

fn append(path: &Path) -> std::io::Result<(BufWriter<File>, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let bytes = file.metadata()?.len();
    Ok((BufWriter::new(file), bytes))
}

/// FILE.1 becomes FILE.2 and so on; the oldest goes.
fn rotate(path: &Path, keep: u32) -> std::io::Result<()> {
    let aside = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    if keep == 0 {
        return std::fs::remove_file(path);
    }
    for number in (1..keep).rev() {
        if aside(number).exists() {
            std::fs::rename(aside(number), aside(number + 1))?;
        }
    }
    std::fs::rename(path, aside(1))
}
