//! Servers that cannot be asked to listen at a free port.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use docsgate_harness::process::{Launch, Process};

/// Starts a server whose configuration names its port, and returns when it listens. The ports lie below those that the
/// system gives to whoever asks for any, so that only another run of these tests could take one meanwhile: then the next is
/// tried.
pub(crate) fn on_a_free_port(
    program: &Path,
    folder: &Path,
    config: impl Fn(u16) -> String,
    arguments: impl Fn(&str) -> Vec<String>,
) -> (Process, u16) {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let seed = u16::try_from(std::process::id() % 11_000).unwrap();
    let name = program.file_name().unwrap().to_string_lossy().into_owned();
    for _ in 0..50 {
        let port = 20_000 + (seed + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        // nginx that finds its port taken tries for seconds: look first.
        if TcpListener::bind(("127.0.0.1", port)).is_err() {
            continue;
        }
        let file = folder.join(format!("{name}-{port}.conf"));
        fs::write(&file, config(port)).unwrap();
        let log = folder.join(format!("{name}-{port}.log"));
        let launch = Launch::new(&name, program, log.clone())
            .args(arguments(&file.display().to_string()))
            .env("HOME", folder.display().to_string());
        let process = launch.spawn().unwrap();
        let listening = process.until(&name, Duration::from_secs(20), || TcpStream::connect(("127.0.0.1", port)).ok());
        if listening.is_ok() && process.exited().is_none() {
            return (process, port);
        }
        let said = fs::read_to_string(&log).unwrap_or_default();
        assert!(said.to_ascii_lowercase().contains("in use"), "{name} does not start: {said}");
    }
    panic!("{name} found no free port");
}
