//! A TCP proxy that can go silent: connections stay open, and nothing passes in either direction any more, as behind a
//! gateway that has forgotten them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result};

/// A running proxy; it ends with its process.
#[derive(Debug)]
pub struct TcpProxy {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Connections that are accepted now pass nothing.
    silent: AtomicBool,
    /// Number of connections accepted so far.
    accepted: AtomicU64,
    /// Connections with a number up to this one pass nothing, for ever.
    forgotten: AtomicU64,
}

impl State {
    fn passes(&self, connection: u64) -> bool {
        !self.silent.load(Ordering::SeqCst) && connection > self.forgotten.load(Ordering::SeqCst)
    }
}

impl TcpProxy {
    /// Listens on a port of 127.0.0.1 that the kernel chooses, and forwards to `port` of 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start(port: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("the proxy cannot listen")?;
        let address = listener.local_addr().context("the proxy has no address")?;
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let number = shared.accepted.fetch_add(1, Ordering::SeqCst) + 1;
                // While it is silent a connection is taken all the same, and leads nowhere.
                if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                    join(&client, &server, number, &shared);
                    join(&server, &client, number, &shared);
                }
            }
        });
        Ok(Self { address, state })
    }

    /// The port to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on nothing passes; whatever is sent is taken and dropped.
    pub fn go_silent(&self) {
        self.state.silent.store(true, Ordering::SeqCst);
    }

    /// New connections pass again. Those that there are stay silent: whoever holds one must give it up by itself.
    pub fn heal(&self) {
        self.state.forgotten.store(self.state.accepted.load(Ordering::SeqCst), Ordering::SeqCst);
        self.state.silent.store(false, Ordering::SeqCst);
    }
}

/// Copies one direction until its sender ends. A connection that was forgotten hides the end of its other side as well.
fn join(from: &TcpStream, to: &TcpStream, connection: u64, state: &Arc<State>) {
    let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { return };
    let state = Arc::clone(state);
    std::thread::spawn(move || {
        let mut bytes = [0; 16 * 1024];
        loop {
            let length = from.read(&mut bytes).unwrap_or(0);
            let passes = state.passes(connection);
            if length == 0 {
                if passes {
                    let _ = to.shutdown(Shutdown::Both);
                }
                return;
            }
            if passes && to.write_all(bytes.get(..length).unwrap_or_default()).is_err() {
                let _ = from.shutdown(Shutdown::Both);
                return;
            }
        }
    });
}
