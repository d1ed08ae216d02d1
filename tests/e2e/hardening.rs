//! Each setting of `envoy/sidecar.yaml` that is there against somebody, and what that somebody would send. Times are those of the
//! shipped file divided, so that nobody waits for a minute; everything else is as it is shipped.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use docsgate_harness::envoy::{self, Envoy};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::backend::Backend;
use crate::gate::{Gate, Wanted, eventually};
use crate::wire;

const HCM: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

/// An Envoy as it is shipped but for `changes` (JSON pointers), in front of the same authz.
struct Changed {
    envoy: Envoy,
    _gate: Gate,
    _backend: Backend,
    _folder: TempDir,
}

impl Changed {
    fn start(changes: &[(&str, Value)]) -> Self {
        let backend = Backend::start(&[]);
        let gate = Gate::with(Wanted { backend: Some(backend.address.clone()), ..Wanted::default() });
        let folder = crate::gate::open_folder();
        let mut bootstrap = envoy::shipped().unwrap();
        for (at, value) in changes {
            let setting = bootstrap.pointer_mut(at).unwrap_or_else(|| panic!("{at} is not in the shipped file"));
            *setting = value.clone();
        }
        let log = folder.path().join("access.jsonl");
        let addresses = envoy::Addresses {
            listen: "127.0.0.1:0".parse().unwrap(),
            authz_socket: gate.stack.authz.socket.clone(),
            backend: backend.address.clone(),
            backend_grpc: None,
        };
        envoy::place_patiently(&mut bootstrap, &addresses, &log).unwrap();
        let envoy = Envoy::start_with(&bootstrap, log, folder.path()).unwrap();
        Self { envoy, _gate: gate, _backend: backend, _folder: folder }
    }

    fn connect(&self) -> TcpStream {
        connect(self.envoy.listen)
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// What comes until the other side closes.
fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hcm(setting: &str) -> String {
    format!("{HCM}/{setting}")
}

#[test]
fn slow_headers_bodies_and_silent_connections_end() {
    let headers = hcm("request_headers_timeout");
    let body = hcm("request_timeout");
    let idle = hcm("common_http_protocol_options/idle_timeout");
    let gate = Changed::start(&[(&headers, json!("1s")), (&body, json!("2s")), (&idle, json!("1s"))]);

    let mut slow = gate.connect();
    slow.write_all(b"GET /echo HTTP/1.1\r\nhost: x\r\nx-slow: ").unwrap();
    assert!(rest(&mut slow).starts_with("HTTP/1.1 408"), "headers that never end");

    let mut slow = gate.connect();
    slow.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nbegin").unwrap();
    assert!(rest(&mut slow).starts_with("HTTP/1.1 408"), "a body that never ends");

    let mut silent = gate.connect();
    silent.write_all(b"GET /echo HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert!(rest(&mut silent).starts_with("HTTP/1.1 200"), "the connection is closed when nobody uses it");
    let mut mute = gate.connect();
    assert_eq!(rest(&mut mute), "", "a connection on which nothing is ever said");
}

#[test]
fn connections_and_memory_beyond_the_bounds_are_turned_away() {
    let bound = "/overload_manager/resource_monitors/0/typed_config/max_active_downstream_connections";
    let gate = Changed::start(&[(bound, json!(3))]);
    let held: Vec<TcpStream> = (0..3)
        .map(|_| {
            let mut stream = gate.connect();
            stream.write_all(b"GET /echo HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            let mut first = [0; 12];
            stream.read_exact(&mut first).unwrap();
            assert_eq!(&first, b"HTTP/1.1 200");
            stream
        })
        .collect();
    let mut fourth = gate.connect();
    let _ = fourth.write_all(b"GET /echo HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(rest(&mut fourth), "", "a fourth connection");
    drop(held);
    eventually("room again", || (wire::get(gate.envoy.listen, "/echo", &[]).0 == 200).then_some(()));

    // Memory: the smallest heap is more than this bound, so what is to happen near the bound happens at once.
    let heap = "/overload_manager/resource_monitors/1/typed_config/max_heap_size_bytes";
    let gate = Changed::start(&[(heap, json!(1_000_000))]);
    eventually("a refusal for want of memory", || {
        let (status, text) = wire::get(gate.envoy.listen, "/echo", &[]);
        (status == 503 && text.contains("urn:docsgate:problem:gateway_unavailable")).then_some(())
    });
}

#[test]
fn the_admin_interface_is_nobodys() {
    let bootstrap = envoy::shipped().unwrap();
    assert_eq!(bootstrap["admin"]["address"]["socket_address"]["address"], "127.0.0.1");
    let gate = Changed::start(&[]);
    for path in ["/config_dump", "/quitquitquit", "/stats", "/server_info"] {
        assert_eq!(wire::get(gate.envoy.listen, path, &[]).0, 404, "{path}");
    }
    let answer = wire::get(gate.envoy.listen, "/echo", &[]).1.to_ascii_lowercase();
    assert!(!answer.contains("\r\nserver:") && !answer.contains("x-envoy-"), "{answer}");
}

/// HTTP/2, frame by frame.
struct H2(TcpStream);

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

impl H2 {
    fn open(address: SocketAddr) -> Self {
        let mut h2 = Self(connect(address));
        h2.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        assert!(h2.send(SETTINGS, 0, 0, &[]));
        h2
    }

    /// Whether the other side still listens.
    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).is_ok()
    }

    /// Headers of a request, as literals without a table.
    fn request(&mut self, stream: u32, flags: u8) -> bool {
        let mut block = Vec::new();
        for (name, value) in
            [(":method", "POST"), (":scheme", "http"), (":path", "/echo"), (":authority", "gate.example")]
        {
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).unwrap());
                block.extend(text.as_bytes());
            }
        }
        self.send(HEADERS, END_HEADERS | flags, stream, &block)
    }

    /// The next frame: kind, stream, payload.
    fn next(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.0.read_exact(&mut payload).ok()?;
        Some((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
    }

    /// Whether the connection comes to an end, with GOAWAY or without.
    fn ends(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            match self.next() {
                Some((GOAWAY, _, payload)) => return payload[4..8] != [0; 4],
                Some(_) => {}
                None => return true,
            }
        }
        false
    }
}

#[test]
fn http2_streams_beyond_the_bound_are_refused_and_the_bound_is_announced() {
    let gate = Changed::start(&[]);
    let mut h2 = H2::open(gate.envoy.listen);
    let (_, _, settings) = std::iter::from_fn(|| h2.next()).find(|(kind, ..)| *kind == SETTINGS).unwrap();
    let settings: Vec<(u16, u32)> = settings
        .chunks_exact(6)
        .map(|one| (u16::from_be_bytes([one[0], one[1]]), u32::from_be_bytes([one[2], one[3], one[4], one[5]])))
        .collect();
    assert!(settings.contains(&(3, 100)) && settings.contains(&(4, 65_536)), "{settings:?}");
    // A client that does not care: bodies that never end on more streams than are allowed.
    for stream in 0..130 {
        h2.request(stream * 2 + 1, 0);
    }
    const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];
    let refused = std::iter::from_fn(|| h2.next())
        .take(400)
        .find(|(kind, _, payload)| (*kind == RST_STREAM && payload[..] == REFUSED_STREAM) || *kind == GOAWAY);
    assert!(refused.is_some(), "130 streams at once");
}

#[test]
fn http2_floods_end_the_connection_and_nobody_elses() {
    let gate = Changed::start(&[]);
    let mut reset = H2::open(gate.envoy.listen);
    // CVE-2023-44487: requests that are taken back at once.
    for stream in 0..2000 {
        if !reset.request(stream * 2 + 1, END_STREAM) || !reset.send(RST_STREAM, 0, stream * 2 + 1, &[0, 0, 0, 8]) {
            break;
        }
    }
    assert!(reset.ends(), "resets");
    let mut empty = H2::open(gate.envoy.listen);
    empty.request(1, 0);
    for _ in 0..200 {
        if !empty.send(0, 0, 1, &[]) {
            break;
        }
    }
    assert!(empty.ends(), "frames that hold nothing");
    let mut ping = H2::open(gate.envoy.listen);
    // Answers that are never read pile up on the other side: it must not keep them all.
    ping.0.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    for _ in 0..200_000 {
        if !ping.send(PING, 0, 0, &[0; 8]) {
            break;
        }
    }
    assert!(ping.ends(), "pings");
    assert_eq!(wire::get(gate.envoy.listen, "/echo", &[]).0, 200, "others are served");
}
