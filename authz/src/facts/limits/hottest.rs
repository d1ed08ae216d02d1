//! The keys that are counted most at the moment, for operators: who is hitting a limit?
//!
//! A space-saving sketch over every seventh charge: counts are estimates, and a key that makes up more than one part in
//! a hundred of what is counted is always among them.

use std::sync::atomic::{AtomicU64, Ordering};

use authz_core::{
    client_ip::around,
    limit::{Charge, LimitKeyPart, LimitState},
};
use parking_lot::Mutex;
use serde::Serialize;

/// Keys that are followed.
const FOLLOWED: usize = 128;
/// One charge in so many is looked at. A prime, so that it does not always meet the same limit of a request.
const EVERY: u64 = 7;

/// One of the hottest keys.
#[derive(Debug, Clone, Serialize)]
pub struct HotKey {
    /// The limit.
    pub limit: String,
    /// What is counted, without what would name a person: networks of addresses, and a number in the place of a member.
    pub key: String,
    /// About how many charges in the last minute or so.
    pub charges: u64,
    /// How many of them did not fit.
    pub refused: u64,
    #[serde(skip)]
    hash: u64,
}

/// The sketch.
#[derive(Debug, Default)]
pub(super) struct Hottest {
    seen: AtomicU64,
    followed: Mutex<Vec<HotKey>>,
}

impl Hottest {
    /// Looks at one charge, if it is its turn and nobody else is looking.
    pub(super) fn note(&self, charge: &Charge, state: &LimitState, fingerprint: impl FnOnce(&str) -> u64) {
        if !self.seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(EVERY) {
            return;
        }
        let Some(mut followed) = self.followed.try_lock() else { return };
        let hash = fingerprint(&charge.key.0);
        let index = match followed.iter().position(|one| one.hash == hash) {
            Some(index) => index,
            None => {
                let coldest = (0..followed.len()).min_by_key(|index| followed[*index].charges);
                let charges = match coldest {
                    Some(index) if followed.len() >= FOLLOWED => followed.swap_remove(index).charges,
                    _ => 0,
                };
                let key = masked(charge, hash);
                followed.push(HotKey { limit: charge.rule.name.to_string(), key, charges, refused: 0, hash });
                followed.len() - 1
            }
        };
        followed[index].charges += EVERY;
        if !state.fits {
            followed[index].refused += EVERY;
        }
    }

    /// Lets the past count for half; what is left of nothing is forgotten.
    pub(super) fn fade(&self) {
        let mut followed = self.followed.lock();
        for one in followed.iter_mut() {
            (one.charges, one.refused) = (one.charges / 2, one.refused / 2);
        }
        followed.retain(|one| one.charges > 0);
    }

    /// The ten hottest: most refused first, then most counted.
    pub(super) fn ten(&self) -> Vec<HotKey> {
        let mut all = self.followed.lock().clone();
        all.sort_by_key(|one| std::cmp::Reverse((one.refused, one.charges)));
        all.truncate(10);
        all
    }
}

/// The kinds of the key's parts, the network if it begins with an address, and a number that tells keys apart.
fn masked(charge: &Charge, hash: u64) -> String {
    let text = charge.key.0.get(charge.rule.name.len() + 1..).unwrap_or_default();
    let mut parts = Vec::new();
    for (index, part) in charge.rule.key.iter().enumerate() {
        parts.push(match part {
            LimitKeyPart::ClientIp | LimitKeyPart::IpPrefix | LimitKeyPart::Caller if index == 0 => {
                match text.strip_prefix("ip=") {
                    Some(rest) => network(rest.split('|').next().unwrap_or_default()),
                    None => text.split('=').next().unwrap_or_default().to_owned(),
                }
            }
            LimitKeyPart::ClientIp | LimitKeyPart::IpPrefix => "ip".to_owned(),
            LimitKeyPart::Member => "member".to_owned(),
            LimitKeyPart::ApiKey => "key".to_owned(),
            LimitKeyPart::Caller => "caller".to_owned(),
            LimitKeyPart::Route => "route".to_owned(),
            LimitKeyPart::Corpus => "corpus".to_owned(),
        });
    }
    format!("{} #{:08x}", parts.join("|"), hash >> 32)
}

/// The network around an address, wide enough that it names nobody.
fn network(text: &str) -> String {
    text.parse().map_or_else(|_| "unknown address".to_owned(), |network| around(network).to_string())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

    use authz_core::limit::{Allowance, LimitKey, LimitRule, Rate};

    use super::*;

    fn charge(part: LimitKeyPart, key: &str) -> Charge {
        let one = NonZeroU32::MIN;
        let allowance = Allowance::new(Rate { count: one, window: Duration::from_secs(1) }, one);
        let rule = LimitRule {
            name: "l".into(),
            key: vec![part],
            allowance,
            tiers: BTreeMap::new(),
            shadow: false,
            exempt_networks: Vec::new(),
            exempt_api_keys: Vec::new(),
        };
        Charge { rule: Arc::new(rule), allowance, key: LimitKey(format!("l|{key}").into()), cost: 1 }
    }

    fn said(charge: &Charge, fits: bool) -> LimitState {
        LimitState {
            name: Arc::clone(&charge.rule.name),
            allowance: charge.allowance,
            fits,
            shadow: false,
            remaining: 0,
            reset_after: Duration::ZERO,
            retry_after: Duration::ZERO,
        }
    }

    #[test]
    fn a_hot_key_stands_out_of_a_flood_of_cold_ones() {
        let hottest = Hottest::default();
        let hash =
            |text: &str| text.bytes().fold(7u64, |hash, byte| hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte));
        let hot = charge(LimitKeyPart::ClientIp, "ip=203.0.113.77/32");
        for index in 0..20_000u32 {
            let cold = charge(LimitKeyPart::ClientIp, &format!("ip={}/32", std::net::Ipv4Addr::from(index)));
            hottest.note(&cold, &said(&cold, true), hash);
            if index % 10 == 0 {
                hottest.note(&hot, &said(&hot, false), hash);
            }
        }
        let ten = hottest.ten();
        assert_eq!(ten.len(), 10);
        assert!(ten[0].key.starts_with("203.0.113.0/24 #"), "{ten:?}");
        assert!((1_400..=2_600).contains(&ten[0].refused), "{ten:?}");
        for _ in 0..64 {
            hottest.fade();
        }
        assert!(hottest.ten().is_empty());
    }

    #[test]
    fn nobody_can_be_told_from_a_masked_key() {
        for (part, key, expected) in [
            (LimitKeyPart::ClientIp, "ip=2001:db8:1:2::/64", "2001:db8:1::/48"),
            (LimitKeyPart::Caller, "member=https://issuer|ada@example.org", "member"),
            (LimitKeyPart::Caller, "ip=198.51.100.9/32", "198.51.100.0/24"),
            (LimitKeyPart::Member, "member=https://issuer|ip=1.2.3.4", "member"),
            (LimitKeyPart::ClientIp, "ip=unknown", "unknown address"),
        ] {
            assert_eq!(masked(&charge(part, key), 0xabcd_0123_0000_0000), format!("{expected} #abcd0123"));
        }
    }
}
