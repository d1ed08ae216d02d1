//! The names of limits' keys in Redis.

use std::fmt::Write as _;

use authz_core::limit::Charge;
use ipnet::IpNet;
use sha2::{Digest as _, Sha256};

/// `docsgate:{TAG}:LIMIT:DIGEST`. Nobody's address or name is written into Redis: both parts are digests. The part in
/// braces is the network around an address, where the key begins with one, so that the limits on an address and on its
/// network lie in one slot of a cluster.
pub(super) fn shared_key(charge: &Charge) -> String {
    let name = &*charge.rule.name;
    let counted = charge.key.0.get(name.len() + 1..).unwrap_or_default();
    let network = counted.strip_prefix("ip=").and_then(|rest| {
        let network: IpNet = rest.split('|').next()?.parse().ok()?;
        let bits = if network.addr().is_ipv4() { 24 } else { 48 };
        IpNet::new(network.addr(), network.prefix_len().min(bits)).ok()
    });
    let mut text = String::with_capacity(96);
    text.push_str("docsgate:{");
    match network {
        Some(network) => digest(&mut text, network.trunc().to_string().as_bytes(), 8),
        None => digest(&mut text, counted.as_bytes(), 8),
    }
    text.push_str("}:");
    text.push_str(name);
    text.push(':');
    digest(&mut text, counted.as_bytes(), 16);
    text
}

fn digest(text: &mut String, bytes: &[u8], length: usize) {
    for byte in Sha256::digest(bytes).iter().take(length) {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
}
