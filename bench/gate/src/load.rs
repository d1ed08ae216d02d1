//! Load: connections that are kept open, each with one request under way, counted in microseconds.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// One kept connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self { stream, buffer: vec![0; 64 * 1024] })
    }

    /// Sends a request and returns the status of its answer, which must have a `content-length`.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Result<u16> {
        self.stream.write_all(request)?;
        let mut filled = 0;
        loop {
            let read = self.stream.read(self.buffer.get_mut(filled..).unwrap_or_default())?;
            if read == 0 {
                bail!("the connection was closed");
            }
            filled += read;
            let answer = self.buffer.get(..filled).unwrap_or_default();
            let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = std::str::from_utf8(answer.get(..end).unwrap_or_default())?;
            let status = head.get(9..12).context("no status line")?.parse()?;
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(Ok(0), str::parse)
                .context("content-length")?;
            if filled >= end + 4 + length {
                return Ok(status);
            }
        }
    }
}

/// The bytes of a GET.
pub(crate) fn get(path: &str, bearer: Option<&str>) -> Vec<u8> {
    let authorization = bearer.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nhost: docs.example.org\r\n{authorization}\r\n").into_bytes()
}

/// What one phase of load saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Microseconds of each request, sorted.
    pub(crate) micros: Vec<u32>,
    pub(crate) seconds: f64,
}

impl Seen {
    pub(crate) fn per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
        let count = self.micros.len() as f64;
        count / self.seconds
    }

    /// The value below which `share` of the requests lie.
    pub(crate) fn quantile(&self, share: f64) -> u32 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index into a list of requests"
        )]
        let at = (self.micros.len() as f64 * share) as usize;
        self.micros.get(at.min(self.micros.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

/// Asks over `connections` connections for `time`; every answer must be 200.
pub(crate) fn run(address: SocketAddr, request: &[u8], connections: usize, time: Duration) -> Result<Seen> {
    let done = AtomicBool::new(false);
    let started = Instant::now();
    let parts = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..connections)
            .map(|_| {
                scope.spawn(|| -> Result<Vec<u32>> {
                    let mut connection = Connection::open(address)?;
                    let mut micros = Vec::with_capacity(1 << 16);
                    while !done.load(Ordering::Relaxed) {
                        let asked = Instant::now();
                        let status = connection.ask(request)?;
                        if status != 200 {
                            bail!("status {status} under load");
                        }
                        micros.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
                    }
                    Ok(micros)
                })
            })
            .collect();
        std::thread::sleep(time);
        done.store(true, Ordering::Relaxed);
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap_or_else(|_| bail!("a thread of the load ended")))
            .collect::<Result<Vec<_>>>()
    })?;
    let mut micros = parts.concat();
    micros.sort_unstable();
    Ok(Seen { micros, seconds: started.elapsed().as_secs_f64() })
}
