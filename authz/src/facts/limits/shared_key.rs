//! The names of limits' keys in Redis.

use std::fmt::Write as _;

use authz_core::{client_ip::around, limit::Charge};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use ipnet::IpNet;

/// What keys of limits are hashed with: whoever reads Redis can neither read nor guess whom they count, for there are few
/// enough addresses to try all of them.
#[derive(Clone)]
pub(super) struct Secret(Key);

impl Secret {
    /// The same on every replica.
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        Self(Key::new(HMAC_SHA256, secret))
    }
}

/// `docsgate:{TAG}:LIMIT:DIGEST`. Nobody's address or name is written into Redis: both parts are keyed digests. The part in
/// braces is of the network around an address, where the key begins with one, so that the limits on an address and on its
/// network lie in one slot of a cluster.
pub(super) fn shared_key(charge: &Charge, secret: &Secret) -> String {
    let name = &*charge.rule.name;
    let counted = charge.key.0.get(name.len() + 1..).unwrap_or_default();
    let network = counted.strip_prefix("ip=").and_then(|rest| {
        let network: IpNet = rest.split('|').next()?.parse().ok()?;
        Some(around(network))
    });
    let mut text = String::with_capacity(96);
    text.push_str("docsgate:{");
    match network {
        Some(network) => digest(&mut text, secret, network.to_string().as_bytes(), 8),
        None => digest(&mut text, secret, counted.as_bytes(), 8),
    }
    text.push_str("}:");
    text.push_str(name);
    text.push(':');
    digest(&mut text, secret, counted.as_bytes(), 16);
    text
}

fn digest(text: &mut String, secret: &Secret, bytes: &[u8], length: usize) {
    for byte in sign(&secret.0, bytes).as_ref().iter().take(length) {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

    use authz_core::limit::{Allowance, LimitKey, LimitKeyPart, LimitRule, Rate};
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn charge(counted: &str) -> Charge {
        let one = NonZeroU32::MIN;
        let allowance = Allowance::new(Rate { count: one, window: Duration::from_secs(1) }, one);
        let rule = LimitRule {
            name: "flood".into(),
            key: vec![LimitKeyPart::ClientIp],
            allowance,
            tiers: BTreeMap::new(),
            shadow: false,
            exempt_networks: Vec::new(),
            exempt_api_keys: Vec::new(),
        };
        Charge { rule: Arc::new(rule), allowance, key: LimitKey(format!("flood|{counted}").into()), cost: 1 }
    }

    #[test]
    fn only_who_has_the_secret_can_tell_whom_a_key_counts() {
        let (ours, theirs) = (Secret::new(&[1; 32]), Secret::new(&[2; 32]));
        for counted in ["ip=203.0.113.7/32", "member=https://learn.example|ada"] {
            let key = shared_key(&charge(counted), &ours);
            assert_eq!(key, shared_key(&charge(counted), &Secret::new(&[1; 32])), "every replica agrees");
            let (_, rest) = key.split_once('{').unwrap();
            let (tag, digest) = rest.split_once("}:flood:").unwrap();
            let guess = shared_key(&charge(counted), &theirs);
            assert!(!guess.contains(tag) && !guess.contains(digest), "{key} {guess}");
            for text in [counted, "203.0.113.0/24"] {
                let plain: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
                assert!(!plain.starts_with(tag) && !plain.starts_with(digest), "{key}");
            }
        }
    }

    #[test]
    fn an_address_and_its_network_lie_in_one_slot() {
        let secret = Secret::new(&[1; 32]);
        let slot = |counted: &str| shared_key(&charge(counted), &secret).split_once('}').unwrap().0.to_owned();
        assert_eq!(slot("ip=203.0.113.7/32"), slot("ip=203.0.113.0/24"));
        assert_ne!(slot("ip=203.0.113.7/32"), slot("ip=203.0.114.7/32"));
    }
}
