//! `X-Forwarded-For` in any bytes. What a client writes to the left of what the proxies wrote never counts.
#![no_main]

use authz_core::{
    client_ip::{ClientIpPolicy, Trust, client_ip, parse_entry},
    request::{RawRequest, RequestView},
};
use libfuzzer_sys::fuzz_target;

const PEER: &str = "10.0.0.1";
const CLIENT: &str = "192.0.2.7";

fn address(policy: &ClientIpPolicy, lines: &[&[u8]]) -> Option<std::net::IpAddr> {
    let headers = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
    let peer = PEER.parse().ok();
    let raw = RawRequest { id: "", method: "GET", host: "h", path: "/", headers, peer };
    RequestView::parse(&raw).ok().and_then(|view| client_ip(policy, &view)).map(|ip| ip.address)
}

fuzz_target!(|forged: &[u8]| {
    let trust = [Trust::Hops(1), Trust::Proxies(vec!["10.0.0.0/8".parse().expect("a network")])];
    for trust in trust {
        let policy = ClientIpPolicy { trust, ..ClientIpPolicy::default() };
        // One proxy that appends to the client's line, and one that adds a line of its own.
        let appended = [forged, b", ", CLIENT.as_bytes()].concat();
        for lines in [vec![appended.as_slice()], vec![forged, CLIENT.as_bytes()]] {
            if let Some(seen) = address(&policy, &lines) {
                assert_eq!(seen.to_string(), CLIENT);
            }
        }
        // Alone, it is the peer or an address that stands in it.
        if let Some(seen) = address(&policy, &[forged]) {
            let entries = forged.split(|byte| *byte == b',');
            let mut parsed = entries.filter_map(|entry| std::str::from_utf8(entry).ok().and_then(parse_entry));
            assert!(seen.to_string() == PEER || parsed.any(|entry| entry == seen));
        }
    }
});
