//! Random keys of the right form: each cost a transaction on the pool that members are read with.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use docsgate_harness::authz;
use sha2::{Digest, Sha256};

use crate::gate::{Ends, Gate, MEMBER, Wanted, eventually, problem};

/// The end of a made-up key.
#[derive(Clone, Copy)]
enum Check {
    /// As the page of the portal describes it.
    Right,
    Wrong,
    /// As keys were before there was one.
    Missing,
}

/// A key that nobody has.
fn made_up(number: u32, check: Check) -> String {
    let (id, secret) = (format!("{number:012}"), BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(number.to_string())));
    let right = Sha256::digest(format!("docsgate api key check v1|{id}|{secret}"));
    let end = match check {
        Check::Right => BASE64_URL_SAFE_NO_PAD.encode(right)[..6].to_owned(),
        Check::Wrong => "AAAAAA".to_owned(),
        Check::Missing => String::new(),
    };
    format!("dg_{id}_{secret}{end}")
}

/// Holds a table so that whoever reads it waits; ends its own session, and with it the lock.
struct Lock<'g> {
    gate: &'g Gate,
    psql: Child,
}

impl<'g> Lock<'g> {
    fn take(gate: &'g Gate) -> Self {
        let psql = Command::new(gate.stack.postgres.program("psql"))
            .args(["--no-psqlrc", "--quiet", "--dbname", &gate.stack.database_url()])
            .args(["--command", "BEGIN; LOCK TABLE docsgate.api_keys; SELECT pg_sleep(600)"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lock = Self { gate, psql };
        eventually("the lock", || {
            let held = "SELECT count(*) FROM pg_locks WHERE relation = 'docsgate.api_keys'::regclass AND mode = 'AccessExclusiveLock' AND granted";
            (lock.gate.stack.postgres.sql(&gate.stack.database, held).unwrap().trim() == "1").then_some(())
        });
        lock
    }

    /// Sessions that wait for it.
    fn waiting(&self) -> u32 {
        let sql = "SELECT count(*) FROM pg_locks WHERE relation = 'docsgate.api_keys'::regclass AND NOT granted";
        self.gate.stack.postgres.sql(&self.gate.stack.database, sql).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE relation = 'docsgate.api_keys'::regclass AND mode = 'AccessExclusiveLock' AND granted";
        let _ = self.gate.stack.postgres.sql(&self.gate.stack.database, end);
        let _ = self.psql.wait();
    }
}

fn gate() -> Gate {
    Gate::with(Wanted { policy: Some(|text| format!("{text}api_keys: {{}}\n")), ..Wanted::default() })
}

fn status(gate: &Gate, key: &str) -> u16 {
    gate.search("tides").header("x-api-key", key).send().unwrap().status().as_u16()
}

/// On a busy machine the first read may take longer than a decision may: 503, and ask again.
fn in_use(gate: &Gate, key: &str) {
    eventually("a key in use", || {
        let status = status(gate, key);
        assert!([200, 503].contains(&status), "{status}");
        (status == 200).then_some(())
    });
}

/// Look-ups of keys by their result.
fn lookups(gate: &Gate, result: &str) -> u64 {
    let metrics = gate.http.get(format!("{}/metrics", gate.stack.authz.admin_url)).send().unwrap().text().unwrap();
    let line = format!("docsgate_authz_api_key_lookups_total{{result=\"{result}\"}} ");
    metrics.lines().find_map(|text| text.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
}

fn new_key(gate: &Gate, subject: &str) -> String {
    let (url, issuer) = (gate.stack.database_url(), gate.stack.expectations.issuer.clone());
    let key = authz::command(&["api-key", "create", "--database-url", &url, "--issuer", &issuer, subject]).unwrap();
    key.trim().to_owned()
}

/// Transactions of the database that ended, as the server counts them.
fn transactions(gate: &Gate) -> u64 {
    let sql = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    gate.stack.postgres.sql(&gate.stack.database, sql).unwrap().trim().parse().unwrap()
}

#[test]
fn random_keys_without_the_checksum_cost_no_transaction() {
    const NOISE: u32 = 2000;
    let gate = gate();
    in_use(&gate, &new_key(&gate, MEMBER));
    let reads = || ["miss", "unknown", "stale", "unavailable"].map(|result| lookups(&gate, result)).iter().sum::<u64>();
    let (read, before) = (reads(), transactions(&gate));
    let (next, refused) = (AtomicU32::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let number @ 0..NOISE = next.fetch_add(1, Ordering::Relaxed) {
                    let check = if number % 2 == 0 { Check::Wrong } else { Check::Missing };
                    // On a busy machine Envoy may not wait for the answer: nobody is let in then either.
                    let status = status(&gate, &made_up(number, check));
                    assert!([401, 503].contains(&status), "{status}");
                    refused.fetch_add(u64::from(status == 401), Ordering::Relaxed);
                }
            });
        }
    });
    // authz asks every endpoint who it is, twice a second; nothing else is going on.
    let spent = transactions(&gate) - before;
    assert!(spent < u64::from(NOISE) / 4, "{spent} transactions for {NOISE} keys");
    let refused = refused.into_inner();
    assert!(refused > u64::from(NOISE) / 2, "{refused} of {NOISE} were answered");
    assert!(lookups(&gate, "malformed") >= refused);
    // A caller whom Envoy left counts nothing, and the key is remembered all the same.
    assert!(read + lookups(&gate, "hit") > 0, "a real key is looked up");
    assert_eq!(reads(), read, "noise is not");
}

#[test]
fn members_are_served_through_a_flood_of_keys_with_the_right_checksum() {
    let gate = gate();
    let (mine, known) = (new_key(&gate, MEMBER), new_key(&gate, MEMBER));
    in_use(&gate, &known);
    let tokens: Vec<String> = (0..20).map(|n| gate.token(&format!("member-{n}@example.org"))).collect();
    let (next, over) = (AtomicU32::new(0), AtomicBool::new(false));
    // Every look-up of a key takes as long as it may: the worst that a flood can do.
    let lock = Lock::take(&gate);
    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let status = status(&gate, &made_up(next.fetch_add(1, Ordering::Relaxed), Check::Right));
                    assert_eq!(status, 503, "not known, and not let in");
                }
            });
        }
        let _ends = Ends(&over);
        eventually("a flood that waits for the database", || (lock.waiting() > 0).then_some(()));
        let mut most = 0;
        for token in &tokens {
            // On a busy machine a first read may take longer than a decision may; with every connection taken all would.
            eventually("a member who was not cached", || {
                most = most.max(lock.waiting());
                let answer = gate.search("tides").header("x-only", "members").bearer_auth(token).send().unwrap();
                assert!([403, 503].contains(&answer.status().as_u16()), "{}", answer.status());
                (answer.status() == 403).then_some(())
            });
        }
        assert!(most <= 2, "{most} connections wait for keys");
        assert_eq!(status(&gate, &known), 200, "a key that is known");
    });
    drop(lock);
    in_use(&gate, &mine);
    eventually("an answer about a key that nobody has", || {
        (status(&gate, &made_up(1, Check::Right)) == 401).then_some(())
    });
    problem(gate.search("tides").header("x-api-key", made_up(1, Check::Right)).send().unwrap(), 401, "invalid_api_key");
}

#[test]
fn many_requests_with_one_new_key_make_one_look_up() {
    let gate = gate();
    let key = new_key(&gate, MEMBER);
    let lock = Lock::take(&gate);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| status(&gate, &key));
        }
        eventually("the look-up", || (lock.waiting() > 0).then_some(()));
        assert_eq!(lock.waiting(), 1);
    });
    drop(lock);
    in_use(&gate, &key);
}

#[test]
fn a_key_of_the_old_form_is_made_usable_without_the_database() {
    let gate = gate();
    let key = new_key(&gate, MEMBER);
    let old = &key[..key.len() - 6];
    assert_eq!(status(&gate, old), 401);
    let folder = gate.folder.path();
    std::fs::write(folder.join("old.key"), old).unwrap();
    let run = || {
        let mut authz = Command::new(docsgate_harness::paths::binary("authz").unwrap());
        let given = std::fs::File::open(folder.join("old.key")).unwrap();
        authz.args(["api-key", "add-checksum"]).env_remove("DATABASE_URL").stdin(given).output().unwrap()
    };
    let renewed = String::from_utf8(run().stdout).unwrap();
    assert_eq!(renewed.trim(), key);
    in_use(&gate, renewed.trim());
    std::fs::write(folder.join("old.key"), "dg_half").unwrap();
    let refused = run();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("expected dg_ID_SECRET"));
}
