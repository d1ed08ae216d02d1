//! Step 4: the address of the client, from the right-most untrusted hop.
//!
//! Proxies append to `X-Forwarded-For`, so what stands at its right was written by those near to us and what stands at
//! its left may be anything. The chain is read from the right, beginning with the TCP peer, and never past an entry
//! that is not an address.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::request::RequestView;

/// Most `X-Forwarded-For` entries that are looked at, from the right.
const MAX_ENTRIES: usize = 64;

/// How the address is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// This many proxies stand in front of Envoy.
    Hops(usize),
    /// Proxies are known by their networks.
    Proxies(Vec<IpNet>),
}

/// Compiled settings for the client's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIpPolicy {
    /// Whom to believe.
    pub trust: Trust,
    /// A header with the address alone, in lower case; used only when the peer is a trusted proxy.
    pub header: Option<String>,
    /// Envoy appends its peer to `X-Forwarded-For` before it asks: that entry is not a hop.
    pub envoy_appends: bool,
    /// Bits of an IPv6 address that make one client.
    pub ipv6_prefix: u8,
    /// Clients in these networks are refused.
    pub deny: Vec<IpNet>,
}

impl ClientIpPolicy {
    /// Whether a client is refused for its address alone.
    pub fn denies(&self, client: &ClientIp) -> bool {
        self.deny.iter().any(|network| network.contains(&client.address))
    }
}

impl Default for ClientIpPolicy {
    fn default() -> Self {
        Self { trust: Trust::Hops(0), header: None, envoy_appends: false, ipv6_prefix: 64, deny: Vec::new() }
    }
}

/// The address of the client, in its canonical form (IPv4-mapped IPv6 is IPv4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientIp {
    /// The address.
    pub address: IpAddr,
    ipv6_prefix: u8,
}

impl ClientIp {
    /// An address and the number of IPv6 bits that make one client.
    pub fn new(address: IpAddr, ipv6_prefix: u8) -> Self {
        Self { address: address.to_canonical(), ipv6_prefix: ipv6_prefix.clamp(1, 128) }
    }

    /// What counts as one client: IPv4 /32, IPv6 by the policy's prefix.
    pub fn client(&self) -> IpNet {
        let prefix = if self.address.is_ipv4() { 32 } else { self.ipv6_prefix };
        within(self.address.into(), prefix)
    }

    /// The network around it; see [`around`].
    pub fn wider(&self) -> IpNet {
        around(self.client())
    }
}

/// The network around an address, or around a network that is narrower: IPv4 /24, IPv6 /48. What logs, reports and limits on
/// networks say in place of an address.
pub fn around(network: IpNet) -> IpNet {
    within(network, if network.addr().is_ipv4() { 24 } else { 48 })
}

/// The same network with no more than `prefix` bits.
fn within(network: IpNet, prefix: u8) -> IpNet {
    IpNet::new(network.addr(), network.prefix_len().min(prefix)).unwrap_or(network).trunc()
}

/// Finds the client's address, or `None` when the peer is unknown.
pub fn client_ip(policy: &ClientIpPolicy, request: &RequestView) -> Option<ClientIp> {
    let peer = request.peer?.to_canonical();
    let entries = forwarded_for(request, policy.envoy_appends.then_some(peer));
    let address = match &policy.trust {
        // Fewer entries than hops: someone came around the proxies, and only the peer is known.
        Trust::Hops(0) => peer,
        Trust::Hops(hops) => entries.get(hops - 1).copied().flatten().unwrap_or(peer),
        Trust::Proxies(networks) => {
            let trusted = |address: &IpAddr| networks.iter().any(|network| network.contains(address));
            let named =
                policy.header.as_deref().filter(|_| trusted(&peer)).and_then(|name| named_header(request, name));
            named.unwrap_or_else(|| right_most_untrusted(peer, &entries, trusted))
        }
    };
    Some(ClientIp::new(address, policy.ipv6_prefix))
}

/// From the peer leftwards while each hop is trusted. An entry that is not an address ends the walk at the last hop
/// that is known.
fn right_most_untrusted(peer: IpAddr, entries: &[Option<IpAddr>], trusted: impl Fn(&IpAddr) -> bool) -> IpAddr {
    let mut current = peer;
    for entry in entries {
        if !trusted(&current) {
            break;
        }
        match entry {
            Some(address) => current = *address,
            None => break,
        }
    }
    current
}

fn named_header(request: &RequestView, name: &str) -> Option<IpAddr> {
    request.headers.single(name).ok().flatten().and_then(parse_entry)
}

/// The entries of all `X-Forwarded-For` lines from the right, without the one that Envoy itself `appended` for its peer. An
/// entry that merely equals the peer was written by a proxy, for a client that has the proxy's address: it is kept.
fn forwarded_for(request: &RequestView, appended: Option<IpAddr>) -> Vec<Option<IpAddr>> {
    let lines: Vec<&[u8]> = request.headers.all("x-forwarded-for").collect();
    let mut entries: Vec<Option<IpAddr>> = lines
        .iter()
        .rev()
        .flat_map(|line| line.rsplit(|b| *b == b','))
        .filter(|entry| !entry.trim_ascii().is_empty())
        .take(MAX_ENTRIES)
        .map(|entry| std::str::from_utf8(entry).ok().and_then(parse_entry))
        .collect();
    if appended.is_some() && entries.first() == Some(&appended) {
        entries.remove(0);
    }
    entries
}

/// One entry: an address, with or without a port, brackets or quotes (RFC 7239, section 6).
pub fn parse_entry(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    if text.len() > 64 {
        return None;
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port_is_valid = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
        return if port_is_valid {
            address.parse::<std::net::Ipv6Addr>().ok().map(|v6| IpAddr::V6(v6).to_canonical())
        } else {
            None
        };
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (address, port) = text.split_once(':')?;
    port.parse::<u16>().ok()?;
    address.parse::<std::net::Ipv4Addr>().ok().map(IpAddr::V4)
}

#[cfg(test)]
mod tests;
