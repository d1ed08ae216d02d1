use std::num::NonZeroU32;

use governor::{
    RateLimiter,
    clock::FakeRelativeClock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use proptest::prelude::*;

use super::{gcra, memory::MemoryLimits, quota::interval_nanos, *};
use crate::time::Timestamp;

const START: u64 = 1_800_000_000_000_000_000;

pub(super) fn allowance(count: u32, seconds: u64, burst: u32) -> Allowance {
    let nonzero = |number| NonZeroU32::new(number).unwrap();
    Allowance::new(Rate { count: nonzero(count), window: Duration::from_secs(seconds) }, nonzero(burst))
}

pub(super) fn rule(name: &str, allowance: Allowance, shadow: bool) -> Arc<LimitRule> {
    Arc::new(LimitRule {
        name: name.into(),
        key: vec![LimitKeyPart::ClientIp],
        allowance,
        tiers: BTreeMap::new(),
        shadow,
        exempt_networks: Vec::new(),
        exempt_api_keys: Vec::new(),
    })
}

fn charge(rule: &Arc<LimitRule>, key: &str, cost: u32) -> Charge {
    Charge { rule: Arc::clone(rule), allowance: rule.allowance, key: LimitKey(key.into()), cost }
}

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(START + nanos)
}

#[test]
fn a_refusal_by_one_limit_charges_none() {
    let mut limits = MemoryLimits::default();
    let (wide, narrow) = (rule("wide", allowance(60, 60, 10), false), rule("narrow", allowance(60, 60, 1), false));
    let both = [charge(&wide, "w", 1), charge(&narrow, "n", 1)];
    assert!(limits.charge(&both, at(0)).refusing().is_none());
    let refused = limits.charge(&both, at(0));
    assert_eq!(&*refused.refusing().unwrap().name, "narrow");
    let after = limits.charge(&[charge(&wide, "w", 1)], at(0));
    assert_eq!(after.states[0].remaining, 8, "the refused request took nothing from the wide limit");
}

#[test]
fn a_shadow_limit_only_counts() {
    let mut limits = MemoryLimits::default();
    let shadow = rule("shadow", allowance(1, 60, 1), true);
    assert!(limits.charge(&[charge(&shadow, "s", 1)], at(0)).refusing().is_none());
    let second = limits.charge(&[charge(&shadow, "s", 1)], at(0));
    assert!(second.refusing().is_none() && !second.states[0].fits);
    assert!(headers(&second.states).is_empty(), "nor does it speak in headers");
}

#[test]
fn headers_tell_the_tightest_limit_and_how_long_to_wait() {
    let mut limits = MemoryLimits::default();
    let (wide, narrow) = (rule("wide", allowance(60, 60, 10), false), rule("narrow", allowance(6, 60, 2), false));
    let both = [charge(&wide, "w", 1), charge(&narrow, "n", 2)];
    let allowed = limits.charge(&both, at(0));
    let shown =
        |lines: Vec<HeaderLine>| lines.iter().map(|(name, value)| format!("{name}: {value}\n")).collect::<String>();
    insta::assert_snapshot!(shown(headers(&allowed.states)), @r#"
    ratelimit: "narrow";r=0;t=20
    ratelimit-policy: "wide";q=60;w=60, "narrow";q=6;w=60
    "#);
    let refused = limits.charge(&both, at(500_000_000));
    insta::assert_snapshot!(shown(headers(&refused.states)), @r#"
    ratelimit: "narrow";r=0;t=20
    ratelimit-policy: "wide";q=60;w=60, "narrow";q=6;w=60
    retry-after: 20
    "#);
}

#[test]
fn rates_are_refused_with_what_was_expected() {
    for text in ["60", "0/min", "60/fortnight", "-1/s", "x/s", "99999999999/s", "2000000000/s", "/s"] {
        assert!(Rate::parse(text).unwrap_err().contains("expected"), "{text}");
    }
    let daily = Rate::parse("1000/day").unwrap();
    assert_eq!((daily.count.get(), daily.window), (1000, Duration::from_secs(86_400)));
}

proptest! {
    /// The oracle: another implementation of the same algorithm gives the same verdicts.
    #[test]
    fn verdicts_are_governors(
        per_second in 1u32..50, burst in 1u32..20,
        steps in proptest::collection::vec((0u64..400, 1u32..4), 1..200),
    ) {
        let quota = allowance(per_second, 1, burst).quota;
        let clock = FakeRelativeClock::default();
        let oracle: RateLimiter<NotKeyed, InMemoryState, FakeRelativeClock, NoOpMiddleware<_>> = RateLimiter::direct_with_clock(quota, clock.clone());
        let (mut tat, mut now) = (0, START);
        for (millis, cost) in steps {
            clock.advance(Duration::from_millis(millis));
            now += millis * 1_000_000;
            let verdict = gcra::check(tat, now, &quota, cost);
            let expected = matches!(oracle.check_n(NonZeroU32::new(cost).unwrap()), Ok(Ok(())));
            prop_assert_eq!(verdict.fits, expected);
            if verdict.fits {
                tat = verdict.tat;
            }
        }
    }

    /// Never more than the burst and what the rate gives in the time.
    #[test]
    fn admission_is_bounded_over_any_window(
        count in 1u32..100, burst in 1u32..50,
        steps in proptest::collection::vec((0u64..2_000, 1u32..5), 1..300),
    ) {
        let quota = allowance(count, 10, burst).quota;
        let (mut tat, mut now, mut admitted) = (0, START, Vec::new());
        for (millis, cost) in steps {
            now += millis * 1_000_000;
            let verdict = gcra::check(tat, now, &quota, cost);
            if verdict.fits {
                tat = verdict.tat;
                admitted.push((now, u64::from(cost)));
            }
        }
        for (first, (from, _)) in admitted.iter().enumerate() {
            let mut sum = 0;
            for (until, cost) in &admitted[first..] {
                sum += cost;
                let given = (until - from) / interval_nanos(&quota) + 1;
                prop_assert!(sum <= u64::from(burst) + given, "{sum} admitted");
            }
        }
    }

    /// Whoever waits as long as it is told is not refused again.
    #[test]
    fn an_obedient_client_is_never_refused_twice(count in 1u32..100, burst in 1u32..20, costs in proptest::collection::vec(1u32..20, 1..100)) {
        let quota = allowance(count, 60, burst).quota;
        let (mut tat, mut now) = (0, START);
        for cost in costs.into_iter().filter(|cost| *cost <= burst) {
            let mut verdict = gcra::check(tat, now, &quota, cost);
            if !verdict.fits {
                now += u64::try_from(verdict.retry_after.as_nanos()).unwrap();
                verdict = gcra::check(tat, now, &quota, cost);
                prop_assert!(verdict.fits);
            }
            tat = verdict.tat;
        }
    }

    /// A clock that jumps, in either direction, never locks a client out for longer than the whole burst takes.
    #[test]
    fn jumps_of_the_clock_are_bounded(tat in any::<u64>(), now in any::<u64>(), count in 1u32..1000, burst in 1u32..1000, cost in 1u32..10) {
        let quota = allowance(count, 60, burst).quota;
        let verdict = gcra::check(tat, now, &quota, cost);
        if cost <= burst {
            let whole = Duration::from_nanos(interval_nanos(&quota)) * burst;
            prop_assert!(verdict.retry_after <= whole && verdict.reset_after <= whole);
        }
    }
}
