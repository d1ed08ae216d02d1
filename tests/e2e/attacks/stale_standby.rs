//! The primary is lost while its standby lags: whoever was revoked meanwhile is still entitled there.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use docsgate_harness::authz::{self, Authz};
use docsgate_harness::postgres::{Options, Postgres};
use serde_json::Value;

use crate::backend::Backend;
use crate::gate::{Gate, Wanted, eventually};

/// A gate with a primary and a standby, and a backend that tells which corpus was allowed.
struct Lagging {
    gate: Gate,
    backend: Backend,
    standby: Postgres,
    tokens: HashMap<&'static str, String>,
}

/// Entitled on the standby for ever; two of them no longer on the primary.
const KEPT: &str = "kept@example.org";
const REVOKED: &str = "revoked@example.org";
const SUSPENDED: &str = "suspended@example.org";
const OTHER: &str = "other@example.org";

impl Lagging {
    /// Members are granted the entitlement, the standby has it, and its replication ends.
    fn start(policy: fn(&str) -> String) -> Self {
        let backend = Backend::start(&[]);
        let mut gate = Gate::with(Wanted {
            backend: Some(backend.address.clone()),
            own_postgres: true,
            policy: Some(policy),
            ..Wanted::default()
        });
        let options = Options { folder: gate.folder.path().join("standby"), durable: false, settings: Vec::new() };
        let standby = gate.stack.postgres.standby(&options).unwrap();
        gate.stack.authz.process.kill();
        let url = gate.stack.authz_options.database_url.take().unwrap();
        let primary = format!("127.0.0.1:{}", gate.stack.postgres.port());
        let both = format!("{primary},127.0.0.1:{}", standby.port());
        gate.stack.authz_options.database_url = Some(url.replace(&primary, &both));
        let log = gate.folder.path().join("decisions.jsonl");
        gate.stack.authz_options.extra.extend(["--decision-log".into(), log.display().to_string()]);
        gate.stack.authz = Authz::start(&gate.stack.authz_options).unwrap();
        let tokens =
            [KEPT, REVOKED, SUSPENDED, OTHER].into_iter().map(|subject| (subject, gate.token(subject))).collect();
        let lagging = Self { gate, backend, standby, tokens };
        lagging.wait_for("docsgate_authz_database_listening", 1);

        for subject in [KEPT, REVOKED, SUSPENDED, OTHER] {
            lagging.gate.stack.member("grant", subject).unwrap();
        }
        lagging.wait_for("docsgate_authz_member_invalidations_total", 4);
        // Something that comes after all of that, so that the standby is known to be newer than what was told.
        lagging.gate.stack.member("grant", "last@example.org").unwrap();
        let asked = "SELECT count(*) FROM docsgate.entitlements";
        eventually("the standby to have caught up", || {
            (lagging.standby.sql(&lagging.gate.stack.database, asked).ok()?.trim() == "5").then_some(())
        });
        lagging.standby.sql("postgres", "ALTER SYSTEM SET primary_conninfo = ''").unwrap();
        lagging.standby.sql("postgres", "SELECT pg_reload_conf()").unwrap();
        eventually("the end of the replication", || {
            lagging.standby_says("SELECT count(*) = 0 FROM pg_stat_wal_receiver")
        });
        lagging
    }

    fn standby_says(&self, question: &str) -> Option<()> {
        (self.standby.sql("postgres", question).ok()?.trim() == "t").then_some(())
    }

    /// Revoked and suspended on the primary, which authz is told; then the primary is gone.
    fn revoke_and_lose_the_primary(&self) {
        let stack = &self.gate.stack;
        stack.member("revoke", REVOKED).unwrap();
        let (url, issuer) = (stack.database_url(), &stack.expectations.issuer);
        authz::command(&["member", "suspend", "--database-url", &url, "--issuer", issuer, SUSPENDED]).unwrap();
        self.wait_for("docsgate_authz_member_invalidations_total", 7);
        stack.postgres.process.kill();
        self.wait_for_standby();
    }

    fn wait_for_standby(&self) {
        let port = self.standby.port();
        self.wait_for(&format!("docsgate_authz_database_endpoint{{endpoint=\"127.0.0.1:{port}\"}}"), 1);
    }

    fn wait_for(&self, name: &str, at_least: u64) {
        eventually(name, || (self.gate.metric(name) >= at_least).then_some(()));
    }

    /// The best corpus for `subject`, and the notes of the decision.
    fn ask(&self, subject: &str) -> (String, Vec<String>) {
        let answer = self.gate.http.get(self.gate.url("/echo")).bearer_auth(&self.tokens[subject]).send().unwrap();
        assert_eq!(answer.status(), 200, "{answer:?}");
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        let log = self.gate.folder.path().join("decisions.jsonl");
        let decision = eventually("the decision's line in the log", || {
            let text = fs::read_to_string(&log).ok()?;
            let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.into_iter().find(|line| line.to_string().contains(&id))
        });
        let notes = decision.to_string();
        let notes = ["stale_entitlements", "store_down"].into_iter().filter(|note| notes.contains(note));
        (self.backend.latest_corpus(), notes.map(str::to_owned).collect())
    }

    /// Asked often enough for every cache on the way to be met.
    fn nobody_is_let_in(&self, subjects: &[&str]) {
        for _ in 0..10 {
            for subject in subjects {
                assert_eq!(self.ask(subject).0, "public", "{subject}");
            }
        }
    }

    fn restart_authz(&mut self) {
        self.gate.stack.authz.process.kill();
        self.gate.stack.authz = Authz::start(&self.gate.stack.authz_options).unwrap();
        eventually("Envoy's connection to the new authz", || {
            self.gate.http.get(self.gate.url("/echo")).send().ok().filter(|answer| answer.status() == 200)
        });
        self.wait_for_standby();
    }

    fn stop(self) {
        // authz holds connections to the standby: it ends first.
        self.gate.stack.authz.process.stop(Duration::from_secs(8));
    }
}

#[test]
fn what_was_told_outlives_the_primary_and_the_rest_is_served_as_stale() {
    let mut lagging = Lagging::start(str::to_owned);
    lagging.revoke_and_lose_the_primary();
    // Nobody is cached: whatever is known of them is what was told, and what the standby says.
    lagging.nobody_is_let_in(&[REVOKED, SUSPENDED]);
    let kept = eventually("the member who was not changed", || {
        let (corpus, notes) = lagging.ask(KEPT);
        (corpus == "member").then_some(notes)
    });
    assert_eq!(kept, ["stale_entitlements"]);
    // Cached now, and still as old as the standby.
    assert_eq!(lagging.ask(KEPT), ("member".into(), vec!["stale_entitlements".into()]));
    lagging.wait_for("docsgate_authz_member_lookups_total{result=\"stale\"}", 2);
    lagging.nobody_is_let_in(&[REVOKED, SUSPENDED]);

    // An authz that starts now knows the standby's age by the standby alone.
    lagging.restart_authz();
    let fresh = eventually("the member who was not changed", || {
        let (corpus, notes) = lagging.ask(KEPT);
        (corpus == "member").then_some(notes)
    });
    assert_eq!(fresh, ["stale_entitlements"]);

    // A standby that is told to stand still has no age that means anything.
    lagging.standby.sql("postgres", "SELECT pg_wal_replay_pause()").unwrap();
    lagging.restart_authz_with_nothing_to_read();
    lagging.nobody_is_let_in(&[KEPT, OTHER, REVOKED, SUSPENDED]);
    lagging.stop();
}

impl Lagging {
    /// A new authz, which must find that no endpoint can be read from.
    fn restart_authz_with_nothing_to_read(&mut self) {
        self.gate.stack.authz.process.kill();
        self.gate.stack.authz = Authz::start(&self.gate.stack.authz_options).unwrap();
        eventually("Envoy's connection to the new authz", || {
            self.gate.http.get(self.gate.url("/echo")).send().ok().filter(|answer| answer.status() == 200)
        });
    }
}

#[test]
fn a_standby_that_lags_beyond_max_stale_lets_nobody_in() {
    let mut lagging = Lagging::start(|text| text.replace("entitlements: {", "entitlements: {max_stale: 3s, "));
    let age = "SELECT clock_timestamp() - pg_last_xact_replay_timestamp() > interval '3 s'";
    eventually("the standby's last replay to be long ago", || lagging.standby_says(age));
    lagging.revoke_and_lose_the_primary();
    let everybody = [KEPT, OTHER, REVOKED, SUSPENDED];
    lagging.nobody_is_let_in(&everybody);
    // A fresh authz was told nothing and has cached nothing: only the age of the standby protects it.
    lagging.restart_authz();
    lagging.nobody_is_let_in(&everybody);
    assert_eq!(lagging.ask(REVOKED).1, ["store_down"]);
    lagging.stop();
}
