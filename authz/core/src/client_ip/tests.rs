use proptest::prelude::*;

use super::*;
use crate::request::RawRequest;

fn find(policy: &ClientIpPolicy, peer: &str, lines: &[(&str, &str)]) -> String {
    let headers = lines.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let raw =
        RawRequest { method: "GET", host: "h", path: "/", headers, peer: peer.parse().ok(), ..RawRequest::default() };
    client_ip(policy, &RequestView::parse(&raw).unwrap()).unwrap().address.to_string()
}

fn hops(count: usize) -> ClientIpPolicy {
    ClientIpPolicy { trust: Trust::Hops(count), ..ClientIpPolicy::default() }
}

fn proxies(networks: &[&str], header: Option<&str>) -> ClientIpPolicy {
    let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
    ClientIpPolicy { trust: Trust::Proxies(networks), header: header.map(str::to_owned), ..ClientIpPolicy::default() }
}

fn appending(policy: ClientIpPolicy) -> ClientIpPolicy {
    ClientIpPolicy { envoy_appends: true, ..policy }
}

const XFF: &str = "x-forwarded-for";

#[test]
fn no_hop_means_the_peer_whatever_is_claimed() {
    assert_eq!(find(&hops(0), "203.0.113.9", &[(XFF, "198.51.100.1")]), "203.0.113.9");
    assert_eq!(find(&hops(0), "::ffff:203.0.113.9", &[]), "203.0.113.9");
}

#[test]
fn hops_count_from_the_right_without_envoys_own_entry() {
    let line = "6.6.6.6, 198.51.100.1, 10.0.0.2, 10.0.0.3";
    assert_eq!(find(&appending(hops(1)), "10.0.0.3", &[(XFF, line)]), "10.0.0.2");
    assert_eq!(find(&appending(hops(2)), "10.0.0.3", &[(XFF, line)]), "198.51.100.1");
    assert_eq!(
        find(&appending(hops(2)), "10.0.0.3", &[(XFF, "6.6.6.6, 198.51.100.1"), (XFF, "10.0.0.2, 10.0.0.3")]),
        "198.51.100.1"
    );
    // Envoy did not append: the last entry is the ingress's.
    assert_eq!(find(&hops(1), "10.0.0.3", &[(XFF, "6.6.6.6, 198.51.100.1")]), "198.51.100.1");
}

/// A client on the proxy's own machine, or behind the same address: its entry equals the peer and is all that is true.
#[test]
fn an_entry_that_equals_the_peer_is_a_hop_unless_envoy_appended_it() {
    let line = [(XFF, "6.6.6.6, 10.0.0.3")];
    assert_eq!(find(&hops(1), "10.0.0.3", &line), "10.0.0.3");
    assert_eq!(find(&hops(2), "10.0.0.3", &[(XFF, "6.6.6.6, 10.0.0.3, 10.0.0.3")]), "10.0.0.3");
    assert_eq!(find(&appending(hops(1)), "10.0.0.3", &[(XFF, "6.6.6.6, 10.0.0.3, 10.0.0.3")]), "10.0.0.3");
}

#[test]
fn fewer_entries_than_hops_or_garbage_means_the_peer() {
    assert_eq!(find(&hops(2), "10.0.0.3", &[(XFF, "198.51.100.1")]), "10.0.0.3");
    assert_eq!(find(&hops(1), "10.0.0.3", &[]), "10.0.0.3");
    assert_eq!(find(&hops(1), "10.0.0.3", &[(XFF, "198.51.100.1, unknown")]), "10.0.0.3");
    assert_eq!(find(&hops(1), "10.0.0.3", &[(XFF, "198.51.100.1, , ,")]), "198.51.100.1");
}

#[test]
fn proxies_are_passed_over_while_trusted() {
    let policy = proxies(&["10.0.0.0/8", "2001:db8::/32"], None);
    assert_eq!(find(&policy, "10.0.0.3", &[(XFF, "6.6.6.6, 198.51.100.1, 10.0.0.2")]), "198.51.100.1");
    assert_eq!(find(&policy, "10.0.0.3", &[(XFF, "[2001:db8::5]:443, 10.9.9.9:80")]), "2001:db8::5");
    assert_eq!(find(&policy, "203.0.113.9", &[(XFF, "198.51.100.1, 10.0.0.2")]), "203.0.113.9");
    assert_eq!(find(&policy, "10.0.0.3", &[(XFF, "198.51.100.1, nonsense, 10.0.0.2")]), "10.0.0.2");
}

#[test]
fn a_named_header_counts_only_from_a_trusted_peer() {
    let policy = proxies(&["10.0.0.0/8"], Some("cf-connecting-ip"));
    assert_eq!(find(&policy, "10.0.0.3", &[("cf-connecting-ip", "198.51.100.7"), (XFF, "6.6.6.6")]), "198.51.100.7");
    assert_eq!(find(&policy, "203.0.113.9", &[("cf-connecting-ip", "198.51.100.7")]), "203.0.113.9");
    let twice = [("cf-connecting-ip", "198.51.100.7"), ("cf-connecting-ip", "6.6.6.6"), (XFF, "198.51.100.8")];
    assert_eq!(find(&policy, "10.0.0.3", &twice), "198.51.100.8");
}

#[test]
fn entries_in_every_spelling() {
    for (text, address) in [
        ("198.51.100.1", Some("198.51.100.1")),
        (" 198.51.100.1:4711 ", Some("198.51.100.1")),
        ("\"[2001:db8::1]:4711\"", Some("2001:db8::1")),
        ("2001:db8::1", Some("2001:db8::1")),
        ("::ffff:198.51.100.1", Some("198.51.100.1")),
        ("[::ffff:198.51.100.1]", Some("198.51.100.1")),
        ("198.51.100.1:x", None),
        ("198.51.100.256", None),
        ("0198.51.100.1", None),
        ("unknown", None),
        ("_hidden", None),
        ("[2001:db8::1", None),
        ("[198.51.100.1]", None),
        ("", None),
    ] {
        assert_eq!(parse_entry(text).map(|ip| ip.to_string()).as_deref(), address, "{text}");
    }
}

#[test]
fn clients_and_networks() {
    let ip = |text: &str| ClientIp::new(text.parse().unwrap(), 64);
    assert_eq!(ip("198.51.100.7").client().to_string(), "198.51.100.7/32");
    assert_eq!(ip("198.51.100.7").wider().to_string(), "198.51.100.0/24");
    assert_eq!(ip("2001:db8:1:2:3::4").client().to_string(), "2001:db8:1:2::/64");
    assert_eq!(ip("2001:db8:1:2:3::4").wider().to_string(), "2001:db8:1::/48");
    assert_eq!(ip("::ffff:198.51.100.7").client(), ip("198.51.100.7").client());
    // A network that is wide already stays as it is.
    for (network, wide) in [
        ("198.51.100.7/32", "198.51.100.0/24"),
        ("198.51.0.0/16", "198.51.0.0/16"),
        ("2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("2001:db8::/32", "2001:db8::/32"),
    ] {
        assert_eq!(around(network.parse().unwrap()).to_string(), wide);
    }
}

proptest! {
    /// Whatever a client puts at the left of the line, the address it is limited by does not change.
    #[test]
    fn a_forger_never_moves_its_address(forged in "[ -+\\--~]{0,60}", hop_count in 0usize..3) {
        let truth = ["198.51.100.1, 10.0.0.2", "10.0.0.3"];
        let honest = find(&hops(hop_count), "10.0.0.3", &[(XFF, &truth.join(", "))]);
        let lying = find(&hops(hop_count), "10.0.0.3", &[(XFF, &format!("{forged}, {}", truth.join(", ")))]);
        prop_assert_eq!(honest, lying);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,80}") {
        let _ = parse_entry(&text);
    }
}
