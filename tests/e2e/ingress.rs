//! The client's address behind a real nginx, configured as ingress controllers configure theirs.

use std::{
    io::{Read, Write},
    net::{IpAddr, TcpStream},
    path::Path,
    time::Duration,
};

use docsgate_harness::{process::Process, system_tool::system_tool};
use reqwest::blocking::Client;

use crate::{
    gate::{Gate, Wanted, eventually, header, ok},
    server,
};

/// Everything with which a client could try to move its address.
const FORGED: [(&str, &str); 7] = [
    ("x-forwarded-for", "198.51.100.66, 203.0.113.66"),
    ("forwarded", "for=198.51.100.66"),
    ("x-real-ip", "198.51.100.66"),
    ("x-original-forwarded-for", "198.51.100.66"),
    ("cf-connecting-ip", "198.51.100.66"),
    ("x-envoy-external-address", "198.51.100.66"),
    ("x-envoy-original-path", "/healthz"),
];

/// A running nginx in front of a gate.
struct Ingress {
    _process: Process,
    port: u16,
}

impl Ingress {
    /// `listen` goes behind the address of the `listen` directive, `forwarded_for` is what nginx sends on.
    fn start(nginx: &Path, gate: &Gate, listen: &str, forwarded_for: &str) -> Self {
        let folder = gate.folder.path();
        let upstream = gate.stack.envoy.listen;
        let real_ip = if listen.is_empty() { "" } else { "set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol;" };
        let (process, port) = server::nginx(nginx, folder, |port| {
            format!(
                "server {{
                     listen 127.0.0.1:{port} {listen};
                     {real_ip}
                     location / {{
                         proxy_pass http://{upstream};
                         proxy_http_version 1.1;
                         proxy_set_header Host $host;
                         proxy_set_header X-Real-IP $remote_addr;
                         proxy_set_header X-Forwarded-For {forwarded_for};
                         proxy_set_header X-Original-Forwarded-For $http_x_forwarded_for;
                     }}
                 }}"
            )
        });
        Self { _process: process, port }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/api/docs-search?q=tides", self.port)
    }
}

/// A client with an address of its own.
fn client(address: &str) -> Client {
    let address: IpAddr = address.parse().unwrap();
    Client::builder().local_address(address).no_proxy().timeout(Duration::from_secs(20)).build().unwrap()
}

fn behind_one_proxy() -> Gate {
    Gate::with(Wanted { policy: Some(|text| text.replace("trusted_hops: 0", "trusted_hops: 1")), ..Wanted::default() })
}

/// The address that the gate decided with.
fn seen(gate: &Gate, request_id: &str) -> String {
    gate.access_log_of(request_id)["client_ip"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_client_behind_nginx_cannot_move_its_address() {
    let Some(nginx) = system_tool("nginx") else { return };
    let gate = behind_one_proxy();
    // One overwrites the header, as ingress-nginx does by default; the other appends to it, as most proxies do.
    let mut sent: Vec<(String, &str, String)> = Vec::new();
    for forwarded_for in ["$remote_addr", "$proxy_add_x_forwarded_for"] {
        let ingress = Ingress::start(&nginx, &gate, "", forwarded_for);
        // The last one has nginx's own address: its entry equals Envoy's peer and is a hop all the same.
        for address in ["127.0.0.5", "127.0.0.6", "127.0.0.1"] {
            let client = client(address);
            let honest = ok_id(client.get(ingress.url()).send().unwrap());
            sent.push((honest, address, format!("nothing forged, {forwarded_for}")));
            for (name, value) in FORGED {
                let lying = ok_id(client.get(ingress.url()).header(name, value).send().unwrap());
                sent.push((lying, address, format!("{name} through {forwarded_for}")));
            }
        }
    }
    // Envoy writes its log every few seconds: all requests first, then all lines.
    for (id, address, what) in sent {
        assert_eq!(seen(&gate, &id), address, "{what}");
    }
}

#[test]
fn with_proxy_protocol_the_load_balancers_word_counts() {
    let Some(nginx) = system_tool("nginx") else { return };
    let gate = behind_one_proxy();
    let ingress = Ingress::start(&nginx, &gate, "proxy_protocol", "$remote_addr");
    let id = eventually("an answer through PROXY protocol", || {
        let mut stream = TcpStream::connect(("127.0.0.1", ingress.port)).ok()?;
        let forged: String = FORGED.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!(
            "GET /api/docs-search?q=tides HTTP/1.1\r\nhost: docs.example.org\r\n{forged}connection: close\r\n\r\n"
        );
        stream.write_all(format!("PROXY TCP4 192.0.2.77 192.0.2.1 40000 80\r\n{request}").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("x-request-id: ").map(str::to_owned))
    });
    assert_eq!(seen(&gate, &id), "192.0.2.77");
}

#[test]
fn a_client_that_comes_around_the_proxy_is_limited_by_its_own_address() {
    let gate = behind_one_proxy();
    let direct = client("127.0.0.7").get(gate.url("/api/docs-search?q=tides"));
    assert_eq!(seen(&gate, &ok_id(direct.send().unwrap())), "127.0.0.7");
}

fn ok_id(response: reqwest::blocking::Response) -> String {
    let id = header(&response, "x-request-id").to_owned();
    ok(response);
    id
}
