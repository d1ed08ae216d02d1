//! What a test needs and may miss: tools that only the system's package manager has (nginx, Redis, Chromium, …), and
//! the shared test data.
//!
//! A test asks for one by name. When it is missing the test is reported, not silently skipped: `cargo xtask test`
//! lists every such test in its last lines with the command that brings the tool, and under `CI=true` it fails.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use crate::paths;

/// The environment variable that names the file in which missing tools are noted; `cargo xtask test` sets it.
pub const REPORT: &str = "DOCSGATE_MISSING_TOOLS";

/// Debian's package for each program that tests ask for: the one list, which `.ci/run` installs as well.
pub const PACKAGES: &[(&str, &str)] = &[
    ("caddy", "caddy"),
    ("chromium", "chromium"),
    ("curl", "curl"),
    ("nginx", "nginx-light"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("openssl", "openssl"),
    ("pgbouncer", "pgbouncer"),
    ("prometheus", "prometheus"),
    ("promtool", "prometheus"),
    ("redis-server", "redis-server"),
];

/// Whether a program of [`PACKAGES`] is on this machine.
#[must_use]
pub fn is_installed(program: &str) -> bool {
    on_path(program).is_some()
}

/// The path of a system tool for the test that is running.
///
/// `None` means: return from the test, it has been reported. Debian keeps servers in `/usr/sbin`, which is not on
/// every user's `PATH`, so that is searched as well.
///
/// # Panics
/// Under `CI=true` when the tool is missing, and for a program that [`PACKAGES`] does not list.
#[must_use]
#[expect(clippy::panic, reason = "called by tests: a missing tool must fail the test under CI")]
pub fn system_tool(program: &str) -> Option<PathBuf> {
    let Some((_, package)) = PACKAGES.iter().find(|(name, _)| *name == program) else {
        panic!("`{program}` is not in system_tool::PACKAGES: add it with its Debian package");
    };
    if let Some(found) = on_path(program) {
        return Some(found);
    }
    not_run(&format!("`{program}`"), &format!("{INSTALL}{package}"));
    None
}

/// A folder of the shared test data for the test that is running; `None` as for [`system_tool`].
///
/// # Panics
/// Under `CI=true` when it is missing.
#[must_use]
pub fn shared_data(name: &str) -> Option<PathBuf> {
    match paths::test_data(name) {
        Ok(folder) => Some(folder),
        Err(_) => {
            not_run(&format!("test data `{name}`"), "put the shared data at ../shared/data or set DOCSGATE_TEST_DATA");
            None
        }
    }
}

/// How a remedy that installs a package begins; the package follows.
pub const INSTALL: &str = "sudo apt-get install ";

#[expect(clippy::panic, reason = "called by tests: what is missing must fail the test under CI")]
fn not_run(missing: &str, remedy: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    if env::var("CI").is_ok_and(|value| value == "true") {
        panic!("{test} needs {missing}, which is missing: {remedy}");
    }
    let line = format!("{test}\t{missing}\t{remedy}\n");
    let noted = env::var_os(REPORT)
        .and_then(|path| OpenOptions::new().create(true).append(true).open(path).ok())
        .is_some_and(|mut file| file.write_all(line.as_bytes()).is_ok());
    if !noted {
        let _ = writeln!(std::io::stderr(), "NOT RUN: {test} needs {missing}: {remedy}");
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}
