//! Limits that several gates share through a real Redis.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use docsgate_harness::authz::Authz;
use docsgate_harness::redis::Redis;
use docsgate_harness::system_tool::system_tool;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::gate::{Ends, Gate, Wanted, eventually, open_folder};

/// One limit on addresses. Time enough for Redis on a busy machine: what is measured here is not speed.
fn policy(redis: &str, limit: &str) -> String {
    format!(
        "apiVersion: docsgate/v1
kind: Policy
client_ip: {{trusted_hops: 1}}
limiter: {{backend: redis, redis: {{timeout: 1s, {redis}}}}}
issuers:
  learn: {{issuer: https://learn.example.org, audiences: [docs], jwks_url: https://learn.example.org/jwks.json, algorithms: [EdDSA]}}
corpora:
  public: {{}}
  member: {{entitlement: academy}}
limits:
  address: {{key: client_ip, {limit}}}
  network: {{key: ip_prefix, rate: 1000/hour, burst: 1000}}
routes:
  - {{name: search, match: {{path: /api/docs-search}}, corpus: auto, limits: [network, address]}}
"
    )
}

/// Replicas have the same grant keys: what hides in Redis whom a limit counts is derived from them.
const GRANT_KEY: &str = "dev-1:6f1d0a5c9b3e7f2846c1d90be53a78f46f1d0a5c9b3e7f2846c1d90be53a78f4\n";

fn gate(redis: &Redis, policy: &str) -> Gate {
    let gate = Gate::with(Wanted {
        policy_text: Some(policy.to_owned()),
        redis_url: Some(redis.url()),
        grant_key: Some(GRANT_KEY),
        ..Wanted::default()
    });
    until_counted_in(&gate, "redis");
    gate
}

fn redis() -> Option<(TempDir, Redis)> {
    let program = system_tool("redis-server")?;
    let folder = open_folder();
    let redis = Redis::start(&program, folder.path(), &[]).unwrap();
    Some((folder, redis))
}

fn report(gate: &Gate) -> Value {
    gate.http.get(format!("{}/limits", gate.stack.authz.admin_url)).send().unwrap().json().unwrap()
}

fn until_counted_in(gate: &Gate, place: &str) {
    eventually(&format!("limits counted in {place}"), || (report(gate)["counted_in"] == place).then_some(()));
}

fn metric(gate: &Gate, name: &str) -> u64 {
    let text = gate.http.get(format!("{}/metrics", gate.stack.authz.admin_url)).send().unwrap().text().unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap_or_default();
    value.parse().unwrap_or_else(|_| panic!("{name} is not in\n{text}"))
}

fn search(gate: &Gate, address: &str) -> u16 {
    gate.search("tides").header("x-forwarded-for", address).send().unwrap().status().as_u16()
}

/// How many of `each` searches at every gate are admitted, all gates at once.
fn admitted(gates: &[&Gate], address: &str, each: usize) -> usize {
    std::thread::scope(|scope| {
        let threads: Vec<_> = gates
            .iter()
            .map(|gate| {
                scope.spawn(move || {
                    let statuses: Vec<u16> = (0..each).map(|_| search(gate, address)).collect();
                    assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
                    statuses.iter().filter(|status| **status == 200).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

#[test]
fn three_gates_admit_together_what_one_would() {
    let Some((_folder, redis)) = redis() else { return };
    let policy = policy("replicas: 3", "rate: 30/hour, burst: 30");
    let mut gates = [(); 3].map(|()| gate(&redis, &policy));
    assert_eq!(admitted(&gates.each_ref(), "203.0.113.1", 20), 30);
    assert_eq!(admitted(&gates.each_ref(), "203.0.113.1", 1), 0);
    // What the address refused was not charged to its network: thirty of the thousand are spent.
    let response = gates[0].search("tides").header("x-forwarded-for", "203.0.113.2").send().unwrap();
    let policy_header = response.headers()["ratelimit-policy"].to_str().unwrap().to_owned();
    assert_eq!(policy_header, "\"network\";q=1000;w=3600, \"address\";q=30;w=3600");
    // The scripts of a server can be lost without the server.
    redis.command("SCRIPT FLUSH").unwrap();
    assert_eq!(admitted(&gates.each_ref(), "203.0.113.2", 20), 29);
    // Nobody's address is written into Redis.
    let keys = redis.command("DBSIZE").unwrap();
    assert_eq!(keys, "3", "a network and two addresses");
    // A changed rate keeps what was spent: of forty, thirty are.
    let changed = policy_text_of(&gates[0]).replace("rate: 30/hour, burst: 30", "rate: 20/hour, burst: 40");
    std::fs::write(gates[0].stack.policy.original(), changed).unwrap();
    assert!(gates[0].stack.policy.refresh().unwrap());
    eventually("the new policy", || {
        let response = gates[0].search("tides").header("x-forwarded-for", "203.0.113.99").send().unwrap();
        response.headers()["ratelimit-policy"].to_str().unwrap().contains("q=20").then_some(())
    });
    assert_eq!(admitted(&[&gates[0]], "203.0.113.1", 12), 10);
    assert_eq!(gates.iter().map(|gate| metric(gate, "docsgate_authz_limit_fallbacks_total")).sum::<u64>(), 0);
}

fn policy_text_of(gate: &Gate) -> String {
    std::fs::read_to_string(gate.stack.policy.original()).unwrap()
}

#[test]
fn leases_save_round_trips_and_stay_within_their_bound() {
    let Some((_folder, redis)) = redis() else { return };
    let policy = policy("replicas: 3, lease: 10, lease_time: 1m", "rate: 120/hour, burst: 120");
    let gates = [(); 3].map(|()| gate(&redis, &policy));
    let started = Instant::now();
    let admitted = admitted(&gates.each_ref(), "203.0.113.1", 60);
    let given = usize::try_from(started.elapsed().as_secs() / 30).unwrap() + 1;
    // Burst, rate and three leases of ten, which is what the documentation promises; and no more than those are lost.
    assert!((120 - 30..=120 + given + 30).contains(&admitted), "{admitted}");
    let leased: u64 = gates.iter().map(|gate| metric(gate, "docsgate_authz_limit_leased_total")).sum();
    assert!(leased >= 60, "{leased} of 180 decisions needed no round trip");
}

#[test]
fn redis_may_die_stall_and_return_under_load() {
    let Some(program) = system_tool("redis-server") else { return };
    let folder = open_folder();
    let redis = Redis::start(&program, folder.path(), &[]).unwrap();
    let policy = policy("replicas: 2", "rate: 10000/hour, burst: 10000").replace("timeout: 1s", "timeout: 20ms");
    let gate = gate(&redis, &policy);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load: Vec<_> = (0..3)
            .map(|thread| {
                let (gate, ended) = (&gate, &ended);
                scope.spawn(move || {
                    let mut answered = 0;
                    while !ended.load(Ordering::Relaxed) {
                        let status = search(gate, &format!("203.0.113.{thread}"));
                        assert_eq!(status, 200);
                        answered += 1;
                    }
                    answered
                })
            })
            .collect();
        let ends = Ends(&ended);
        redis.process.kill();
        redis.process.wait_at_most(Duration::from_secs(10)).unwrap();
        until_counted_in(&gate, "away");
        let back = Redis::start(&program, folder.path(), &[]).unwrap();
        until_counted_in(&gate, "redis");
        back.process.signal(Signal::STOP);
        until_counted_in(&gate, "away");
        back.process.signal(Signal::CONT);
        until_counted_in(&gate, "redis");
        drop(ends);
        for thread in load {
            assert!(thread.join().unwrap() > 0);
        }
    });
    assert!(metric(&gate, "docsgate_authz_limit_fallbacks_total") > 0);
}

#[test]
fn without_redis_each_gate_has_its_share_or_what_the_policy_says() {
    let Some((_folder, redis)) = redis() else { return };
    let text = policy("replicas: 3", "rate: 30/hour, burst: 30");
    let gates =
        [text.clone(), text.replace("replicas: 3", "replicas: 3, when_down: full")].map(|text| gate(&redis, &text));
    let strict = gate(&redis, &text.replace("replicas: 3", "when_down: refuse"));
    // What Redis knew, this process knows: three of the ten tokens of its share are spent.
    assert_eq!(admitted(&[&gates[0]], "203.0.113.1", 3), 3);
    redis.process.kill();
    redis.process.wait_at_most(Duration::from_secs(10)).unwrap();
    for gate in &gates {
        search(gate, "198.51.100.1");
        until_counted_in(gate, "away");
    }
    assert_eq!(admitted(&[&gates[0]], "203.0.113.1", 12), 7);
    assert_eq!(admitted(&[&gates[0]], "203.0.113.2", 12), 10);
    assert_eq!(admitted(&[&gates[1]], "203.0.113.1", 32), 30);
    assert_eq!(search(&strict, "203.0.113.1"), 503);
}

#[test]
fn a_user_with_few_rights_is_enough_and_secrets_stay_secret() {
    let Some((_folder, redis)) = redis() else { return };
    redis.command("ACL SETUSER gate on >swordfish ~docsgate:* +evalsha +script|load +get +set +time").unwrap();
    let url = format!("{}?user=gate&pass=swordfish", redis.url());
    let text = policy("replicas: 1", "rate: 2/hour");
    let gate = Gate::with(Wanted { policy_text: Some(text), redis_url: Some(url), ..Wanted::default() });
    until_counted_in(&gate, "redis");
    assert_eq!(admitted(&[&gate], "203.0.113.1", 3), 2);
    assert_eq!(redis.command("DBSIZE").unwrap(), "2");
    let mut options = clone_of(&gate);
    options.socket = gate.folder.path().join("second.sock");
    for (url, said) in [
        (None, "there is no Redis URL; give --redis-url"),
        (Some("redis://u:swordfish@host:port"), "the Redis URL cannot be used; expected redis[s]://"),
    ] {
        options.redis_url = url.map(str::to_owned);
        let refused = format!("{:#}", Authz::start(&options).unwrap_err());
        assert!(refused.contains(said) && !refused.contains("swordfish"), "{refused}");
    }
}

/// Over TLS the certificate is checked: an authority that this process trusts, and the name that the URL has.
#[test]
fn redis_over_tls_is_used_when_its_certificate_is_good_and_never_otherwise() {
    let Some(program) = system_tool("redis-server") else { return };
    let folder = open_folder();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    for (name, text) in [("ca.pem", authority.pem()), ("own.pem", own.pem()), ("own.key", key.serialize_pem())] {
        std::fs::write(at(name), text).unwrap();
    }
    // Redis cannot be asked for a free port: it ends where somebody has the one that it is given, and is given another.
    let (redis, port) = (0..20)
        .find_map(|_| {
            let port = docsgate_harness::port::candidate().unwrap();
            let (number, certificate, key, authority) = (port.to_string(), at("own.pem"), at("own.key"), at("ca.pem"));
            let settings = [
                ["--tls-port", &number],
                ["--tls-cert-file", &certificate],
                ["--tls-key-file", &key],
                ["--tls-ca-cert-file", &authority],
                ["--tls-auth-clients", "no"],
            ];
            Redis::start(&program, folder.path(), settings.as_flattened()).ok().map(|redis| (redis, port))
        })
        .expect("a Redis with TLS");
    let text = policy("replicas: 1, when_down: refuse", "rate: 2/hour");
    let gate = Gate::with(Wanted { policy_text: Some(text), redis_url: Some(redis.url()), ..Wanted::default() });
    let counted_in = |url: String, authority: &str, name: &str| {
        let folder = gate.folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let mut options = clone_of(&gate);
        options.socket = folder.join("authz.sock");
        options.folder = folder;
        options.redis_url = Some(url);
        options.env = vec![("SSL_CERT_FILE".to_owned(), authority.to_owned())];
        let authz = Authz::start(&options).unwrap();
        let place = || {
            let report: Value = gate.http.get(format!("{}/limits", authz.admin_url)).send().ok()?.json().ok()?;
            Some(report["counted_in"].as_str()?.to_owned())
        };
        let metrics = || gate.http.get(format!("{}/metrics", authz.admin_url)).send().unwrap().text().unwrap();
        eventually("a connection, or a refused one", || {
            (place()? == "redis" || metrics().contains("redis_failures_total{kind=\"connect\"}")).then_some(())
        });
        place().unwrap()
    };
    assert_eq!(counted_in(format!("rediss://localhost:{port}"), &at("ca.pem"), "good"), "redis");
    assert_eq!(counted_in(format!("rediss://127.0.0.1:{port}"), &at("ca.pem"), "other-name"), "away");
    assert_eq!(counted_in(format!("rediss://localhost:{port}"), &at("own.pem"), "unknown-authority"), "away");
}

fn clone_of(gate: &Gate) -> docsgate_harness::authz::Options {
    let options = &gate.stack.authz_options;
    docsgate_harness::authz::Options {
        folder: gate.folder.path().join("second"),
        policy: options.policy.clone(),
        socket: options.socket.clone(),
        grant_key: options.grant_key.clone(),
        database_url: options.database_url.clone(),
        redis_url: None,
        extra: Vec::new(),
        env: Vec::new(),
    }
}
