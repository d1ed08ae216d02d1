//! The primary is lost and a standby promoted: members who are known feel nothing, new ones little, and the old primary is
//! not believed when it comes back.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use docsgate_harness::authz::{self, Authz};
use docsgate_harness::postgres::{Options, Postgres};
use reqwest::StatusCode;

use crate::backend::Backend;
use crate::gate::{Ends, Gate, Wanted, client, eventually};

/// What happened when, for whoever reads the test's output.
struct Timeline {
    started: Instant,
    lines: Mutex<Vec<String>>,
}

impl Timeline {
    fn note(&self, what: &str) {
        self.lines.lock().unwrap().push(format!("{:7.3} s  {what}", self.started.elapsed().as_secs_f64()));
    }
}

/// The status of a request for the member corpus.
fn status(gate: &Gate, http: &reqwest::blocking::Client, token: &str) -> StatusCode {
    http.get(gate.url("/api/docs-search?q=x")).header("x-only", "members").bearer_auth(token).send().unwrap().status()
}

fn grant(gate: &Gate, on: &Postgres, action: &str, subject: &str) {
    let url = on.url(&gate.stack.database);
    let expected = &gate.stack.expectations;
    let (issuer, feature) = (expected.issuer.as_str(), expected.feature.as_str());
    authz::command(&["member", action, "--database-url", &url, "--issuer", issuer, "--feature", feature, subject])
        .unwrap();
}

#[test]
fn a_lost_primary_costs_known_members_nothing_and_is_not_believed_when_it_returns() {
    let backend = Backend::start(&[]);
    let wanted = Wanted { backend: Some(backend.address.clone()), own_postgres: true, ..Wanted::default() };
    let mut gate = Gate::with(wanted);
    let standby_folder = gate.folder.path().join("standby");
    let standby_options = Options { folder: standby_folder, durable: false, settings: Vec::new() };
    let standby = gate.stack.postgres.standby(&standby_options).unwrap();
    assert!(standby.is_standby().unwrap());

    // The same authz, told of both endpoints.
    gate.stack.authz.process.kill();
    let url = gate.stack.authz_options.database_url.take().unwrap();
    let primary = format!("127.0.0.1:{}", gate.stack.postgres.port());
    assert!(url.contains(&primary), "{url}");
    let both = format!("{primary},127.0.0.1:{}", standby.port());
    gate.stack.authz_options.database_url = Some(url.replace(&primary, &both));
    gate.stack.authz = Authz::start(&gate.stack.authz_options).unwrap();

    let known: Vec<(String, String)> =
        (0..8).map(|n| format!("known-{n}@example.org")).map(|subject| (gate.token(&subject), subject)).collect();
    for (_, subject) in &known {
        grant(&gate, &gate.stack.postgres, "grant", subject);
    }
    let late = gate.token("late@example.org");
    let evil = gate.token("evil@example.org");
    for (token, subject) in &known {
        eventually(subject, || (status(&gate, &gate.http, token) == StatusCode::OK).then_some(()));
    }
    let count = "SELECT count(*) FROM docsgate.entitlements";
    let database = gate.stack.database.clone();
    eventually("the standby to have caught up", || {
        (standby.sql(&database, count).ok()?.trim() == known.len().to_string()).then_some(())
    });

    let (done, asked) = (AtomicBool::new(false), AtomicU32::new(0));
    let failures = Mutex::new(Vec::new());
    let timeline = Timeline { started: Instant::now(), lines: Mutex::default() };
    std::thread::scope(|scope| {
        let _ends = Ends(&done);
        for thread in 0..2 {
            let (gate, known, done, asked, failures, timeline) = (&gate, &known, &done, &asked, &failures, &timeline);
            scope.spawn(move || {
                let http = client();
                while !done.load(Ordering::Relaxed) {
                    for (token, subject) in known.iter().skip(thread * 4).take(4) {
                        let got = status(gate, &http, token);
                        asked.fetch_add(1, Ordering::Relaxed);
                        if got != StatusCode::OK {
                            let at = timeline.started.elapsed().as_secs_f64();
                            failures.lock().unwrap().push(format!("{at:.3} s: {subject} got {got}"));
                        }
                    }
                }
            });
        }

        eventually("the load", || (asked.load(Ordering::Relaxed) > 50).then_some(()));
        gate.stack.postgres.process.kill();
        timeline.note("the primary is killed (SIGKILL)");
        // Somebody notices and decides; meanwhile nobody is the primary.
        let told = |by: u64| (gate.metric("docsgate_authz_database_listening") == by).then_some(());
        eventually("authz to miss the primary", || told(0));
        standby.promote().unwrap();
        timeline.note("the standby is promoted and takes writes");
        grant(&gate, &standby, "grant", "late@example.org");
        timeline.note("a new member is granted the entitlement there");
        eventually("the new member", || (status(&gate, &gate.http, &late) == StatusCode::OK).then_some(()));
        timeline.note("the new member reads the member corpus");
        eventually("changes to be told by the new primary", || told(1));
        timeline.note("changes are told by the new primary");

        // The old primary comes back, writable, with a history that ended: what is written there counts for nothing.
        let folder = gate.folder.path().join("postgres");
        let old = Postgres::start(&Options { folder, durable: false, settings: Vec::new() }).unwrap();
        assert_eq!(old.port(), gate.stack.postgres.port());
        assert!(!old.is_standby().unwrap());
        timeline.note("the old primary is back and takes writes");
        grant(&gate, &old, "grant", "evil@example.org");
        // authz asks it who it is, and what it has heard by the next question counts for nothing.
        let question = "SELECT max(query_start) FROM pg_stat_activity WHERE application_name = 'docsgate-authz'";
        let mut questions = BTreeSet::new();
        eventually("authz to ask the old primary who it is, again and again", || {
            assert_ne!(status(&gate, &gate.http, &evil), StatusCode::OK, "the old primary was believed");
            let asked = old.sql(&gate.stack.database, question).ok()?.trim().to_owned();
            questions.extend((!asked.is_empty()).then_some(asked));
            (questions.len() > 3).then_some(())
        });
        eventually("an answer about whom it knows", || {
            let got = status(&gate, &gate.http, &evil);
            assert_ne!(got, StatusCode::OK, "the old primary was believed");
            (got == StatusCode::FORBIDDEN).then_some(())
        });
        timeline.note("authz has asked it several times, and what was granted there still counts for nothing");
        grant(&gate, &standby, "revoke", "late@example.org");
        eventually("the revocation", || (status(&gate, &gate.http, &late) == StatusCode::FORBIDDEN).then_some(()));
        timeline.note("a revocation on the new primary has taken effect");
        drop(old);
    });
    let failures = failures.into_inner().unwrap();
    let asked = asked.into_inner();
    timeline.note(&format!("known members asked {asked} times, refused {} times", failures.len()));
    let lines = timeline.lines.into_inner().unwrap().join("\n");
    let _ = writeln!(std::io::stdout(), "{lines}");
    assert!(asked > 100 && failures.is_empty(), "{lines}\n{}", failures.join("\n"));
    // authz holds connections to both servers: it ends first.
    gate.stack.authz.process.stop(Duration::from_secs(8));
    drop(standby);
}
