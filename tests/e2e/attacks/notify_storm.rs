//! Changes by the ten thousand: a bulk enrolment, or a login that may do nothing in the database but `NOTIFY`.

use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::blocking::Client;

use crate::backend::Backend;
use crate::gate::{Ends, Gate, Wanted, client, eventually};

const CACHED: usize = 4;
const NEW: usize = 40;

/// A gate with members whom it knows, members whom it will meet, and whom both ask.
struct Stormed {
    gate: Gate,
    cached: Vec<String>,
    new: Vec<String>,
}

fn status(gate: &Gate, http: &Client, token: &str) -> StatusCode {
    let request = http.get(gate.url("/api/docs-search?q=x")).header("x-only", "members").bearer_auth(token);
    request.send().unwrap().status()
}

impl Stormed {
    fn start() -> Self {
        let backend = Backend::start(&[]);
        let gate =
            Gate::with(Wanted { backend: Some(backend.address.clone()), own_postgres: true, ..Wanted::default() });
        let issuer = &gate.stack.expectations.issuer;
        let feature = &gate.stack.expectations.feature;
        let granted = format!(
            "SELECT docsgate.grant('{issuer}', kind || '-' || n, '{feature}')
             FROM generate_series(0, {NEW}) AS n, (VALUES ('cached'), ('new')) AS kinds (kind)"
        );
        gate.stack.postgres.sql(&gate.stack.database, &granted).unwrap();
        let cached: Vec<String> = (0..CACHED).map(|n| gate.token(&format!("cached-{n}"))).collect();
        let new = (0..NEW).map(|n| gate.token(&format!("new-{n}"))).collect();
        for token in &cached {
            eventually("a known member", || (status(&gate, &gate.http, token) == StatusCode::OK).then_some(()));
        }
        Self { gate, cached, new }
    }

    /// Runs `storm` until `meanwhile` has ended (or it has done its worst), with known members asking all the while.
    /// None of them may be refused, and they are served from memory but after a flush: those are once a second at the most.
    fn under_load(&self, storm: impl Fn(&AtomicBool) + Sync, meanwhile: impl FnOnce(&AtomicBool)) {
        let (done, over) = (AtomicBool::new(false), AtomicBool::new(false));
        let (asked, failures) = (AtomicU32::new(0), Mutex::new(Vec::new()));
        let (began, read, flushed) = (Instant::now(), self.reads(), self.flushes());
        std::thread::scope(|scope| {
            let _ends = Ends(&done);
            scope.spawn(|| {
                storm(&done);
                over.store(true, Ordering::Relaxed);
            });
            scope.spawn(|| {
                let http = client();
                while !done.load(Ordering::Relaxed) {
                    for (number, token) in self.cached.iter().enumerate() {
                        let got = status(&self.gate, &http, token);
                        asked.fetch_add(1, Ordering::Relaxed);
                        if got != StatusCode::OK {
                            failures.lock().unwrap().push(format!("cached-{number} got {got}"));
                        }
                    }
                }
            });
            meanwhile(&over);
            eventually("the load", || (asked.load(Ordering::Relaxed) > 50).then_some(()));
        });
        let (failures, asked) = (failures.into_inner().unwrap(), asked.into_inner());
        assert!(failures.is_empty(), "of {asked} requests: {failures:?}");
        let (read, flushed) = (self.reads() - read, self.flushes() - flushed);
        assert!(flushed <= began.elapsed().as_secs() + 1, "{flushed} flushes in {:?}", began.elapsed());
        let known = CACHED as u64 * (flushed + u64::from(flushed > 0));
        assert!(
            read <= known + NEW as u64,
            "{read} reads for {asked} requests of {CACHED} known members, {NEW} new ones"
        );
    }

    /// Members who ask for the first time get the member corpus. A read may have to be repeated: one that takes half a second
    /// while everything is announced to have changed is not believed.
    fn new_members_are_read(&self, tokens: &[String]) {
        for token in tokens {
            eventually("a member who asks for the first time", || {
                let got = status(&self.gate, &self.gate.http, token);
                assert!([StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE].contains(&got), "{got}");
                (got == StatusCode::OK).then_some(())
            });
        }
    }

    /// How often everybody was voided.
    fn flushes(&self) -> u64 {
        self.gate.metric("docsgate_authz_member_flushes_total")
    }

    /// How often somebody waited for the database.
    fn reads(&self) -> u64 {
        self.gate.metric("docsgate_authz_member_lookups_total{result=\"miss\"}")
    }

    /// The database is gone: everybody who was seen is served from memory.
    fn the_stale_fallback_holds(&self) {
        self.gate.stack.postgres.process.kill();
        for token in self.cached.iter().chain(&self.new) {
            assert_eq!(status(&self.gate, &self.gate.http, token), StatusCode::OK);
        }
    }

    fn invalidations(&self) -> u64 {
        self.gate.metric("docsgate_authz_member_invalidations_total")
    }

    /// Resident memory of authz, in KiB.
    fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.gate.stack.authz.process.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    }
}

#[test]
fn fifty_thousand_grants_in_one_transaction_disturb_nobody_else() {
    const GRANTS: u64 = 50_000;
    let stormed = Stormed::start();
    let expected = &stormed.gate.stack.expectations;
    let enrol = format!(
        "SELECT count(docsgate.grant('{}', 'enrolled-' || n, '{}')) FROM generate_series(1, {GRANTS}) AS n",
        expected.issuer, expected.feature
    );
    let before = stormed.invalidations();
    let enrolment = |_: &AtomicBool| {
        stormed.gate.stack.postgres.sql(&stormed.gate.stack.database, &enrol).unwrap();
    };
    let (first, second) = stormed.new.split_at(NEW / 2);
    stormed.under_load(enrolment, |over| {
        stormed.new_members_are_read(first);
        stormed.new_members_are_read(first);
        while !over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        // Committed: all of it is being told now.
        stormed.new_members_are_read(second);
        let mut told = before;
        while told < before + GRANTS {
            told = eventually("the next change to be told", || {
                let now = stormed.invalidations();
                (now > told).then_some(now)
            });
        }
    });
    let enrolled = stormed.gate.token("enrolled-49999");
    stormed.new_members_are_read(&[enrolled]);
    stormed.the_stale_fallback_holds();
}

#[test]
fn a_login_without_rights_that_notifies_in_a_loop_voids_nothing() {
    /// As many rounds as the storm takes at the most; each is a thousand transactions.
    const ROUNDS: usize = 400;
    let stormed = Stormed::start();
    let (postgres, database) = (&stormed.gate.stack.postgres, &stormed.gate.stack.database);
    postgres.sql(database, "CREATE ROLE nobody LOGIN PASSWORD 'nobody'").unwrap();
    let url = postgres.url_as("nobody", "nobody", database);
    // Names that nobody has, everything at once, no JSON, too much of it, and too deep.
    let attack = "DO $$ BEGIN FOR n IN 1..1000 LOOP
        PERFORM pg_notify('docsgate_changed', CASE n % 5
            WHEN 0 THEN ''
            WHEN 1 THEN json_build_object('issuer', 'x' || random(), 'subject', repeat('y', 7000) || n)::text
            WHEN 2 THEN repeat('[', 7000)
            WHEN 3 THEN '{\"issuer\": \"' || repeat('z', 7000)
            ELSE json_build_object('issuer', n, 'subject', null)::text END);
        COMMIT;
    END LOOP; END $$";
    let notify = |done: &AtomicBool| {
        for _ in 0..ROUNDS {
            if done.load(Ordering::Relaxed) {
                return;
            }
            let mut psql = Command::new(postgres.program("psql"));
            psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", &url]);
            psql.args(["--command", "SET synchronous_commit = off", "--command", attack]);
            let output = psql.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    };
    let before = stormed.resident();
    let told = stormed.invalidations();
    stormed.under_load(notify, |over| {
        eventually("the storm", || (stormed.invalidations() > told).then_some(()));
        stormed.new_members_are_read(&stormed.new);
        assert!(!over.load(Ordering::Relaxed), "the members were read only after the storm");
        eventually("a good part of the storm", || (stormed.invalidations() > told + 5_000).then_some(()));
    });
    let grown = stormed.resident().saturating_sub(before);
    assert!(grown < 64 * 1024, "authz grew by {grown} KiB");
    stormed.the_stale_fallback_holds();
}
