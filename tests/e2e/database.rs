//! The database as operators really have it: behind a pooler, with too few rights, without the schema, or with a newer one.

use std::fs;
use std::path::Path;
use std::time::Duration;

use docsgate_harness::authz::{self, Authz};
use docsgate_harness::port;
use docsgate_harness::postgres::Account;
use docsgate_harness::process::{Launch, Process};
use docsgate_harness::system_tool::system_tool;

use crate::backend::Backend;
use crate::gate::{Gate, MEMBER, Wanted, eventually, problem};

/// Role and password of `postgres://ROLE:PASSWORD@…`.
fn login(url: &str) -> (&str, &str) {
    let (login, _) = url.strip_prefix("postgres://").unwrap().split_once('@').unwrap();
    login.split_once(':').unwrap()
}

/// A real PgBouncer in transaction mode in front of the gate's Postgres.
/// Changes that the database told authz of.
const TOLD: &str = "docsgate_authz_member_invalidations_total";

fn pgbouncer(program: &Path, gate: &Gate, reader_url: &str) -> (Process, u16) {
    let folder = gate.folder.path();
    let (role, password) = login(reader_url);
    let users = folder.join("pgbouncer-users.txt");
    fs::write(&users, format!("\"{role}\" \"{password}\"\n")).unwrap();
    for _ in 0..20 {
        let port = port::candidate().unwrap();
        let config = folder.join(format!("pgbouncer-{port}.ini"));
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = scram-sha-256\nauth_file = {}\npool_mode = transaction\ndefault_pool_size = 4\n\
             ignore_startup_parameters = extra_float_digits\n",
            gate.stack.postgres.port(),
            users.display()
        );
        fs::write(&config, text).unwrap();
        let log = folder.join("pgbouncer.log");
        // PgBouncer refuses root as Postgres does.
        let launch = Launch::new("pgbouncer", program, log.clone()).arg(&config);
        let process = Account::fit().unwrap().apply(launch).spawn().unwrap();
        let up = process.until("PgBouncer", Duration::from_secs(30), || {
            fs::read_to_string(&log).ok().filter(|text| text.contains("process up"))
        });
        if up.is_ok() {
            return (process, port);
        }
    }
    panic!("no port for PgBouncer");
}

#[test]
fn members_are_read_through_pgbouncer_and_changes_told_directly() {
    let Some(program) = system_tool("pgbouncer") else { return };
    let backend = Backend::start(&[]);
    let mut gate =
        Gate::with(Wanted { backend: Some(backend.address.clone()), own_postgres: true, ..Wanted::default() });
    let direct = gate.stack.authz_options.database_url.clone().unwrap();
    let (pooler, port) = pgbouncer(&program, &gate, &direct);
    gate.stack.authz.process.kill();
    let through = direct.replace(&format!(":{}/", gate.stack.postgres.port()), &format!(":{port}/"));
    gate.stack.authz_options.database_url = Some(through);
    let listen = gate.folder.path().join("listen-url");
    fs::write(&listen, &direct).unwrap();
    gate.stack.authz_options.extra.extend(["--database-listen-url-file".into(), listen.display().to_string()]);
    gate.stack.authz = Authz::start(&gate.stack.authz_options).unwrap();

    let token = gate.token(MEMBER);
    let status = || {
        let request = gate.http.get(gate.url("/api/docs-search?q=x")).header("x-only", "members").bearer_auth(&token);
        request.send().unwrap().status().as_u16()
    };
    eventually("an answer that knows the member's standing", || (status() == 403).then_some(()));
    for (action, expected) in [("grant", 200), ("revoke", 403), ("grant", 200), ("suspend", 401)] {
        let told = gate.metric(TOLD);
        if action == "suspend" {
            let url = gate.stack.database_url();
            let issuer = gate.stack.expectations.issuer.clone();
            authz::command(&["member", "suspend", "--database-url", &url, "--issuer", &issuer, MEMBER]).unwrap();
        } else {
            gate.stack.member(action, MEMBER).unwrap();
        }
        eventually(action, || (status() == expected).then_some(()));
        eventually("the change to be told", || (gate.metric(TOLD) > told).then_some(()));
    }
    // Many members at once, so that one client's statements meet several servers.
    let tokens: Vec<String> = (0..40).map(|n| gate.token(&format!("pooled-{n}"))).collect();
    std::thread::scope(|scope| {
        for chunk in tokens.chunks(10) {
            let gate = &gate;
            scope.spawn(move || {
                for token in chunk {
                    // On a busy machine the first read may take longer than a decision may: 503, and ask again.
                    eventually("a decision on a member that nobody asked for before", || {
                        let request = gate.http.get(gate.url("/api/docs-search?q=x")).header("x-only", "members");
                        let status = request.bearer_auth(token).send().unwrap().status();
                        assert!([403, 503].contains(&status.as_u16()), "{status}");
                        (status == 403).then_some(())
                    });
                }
            });
        }
    });
    let log = fs::read_to_string(gate.folder.path().join("authz.log")).unwrap();
    assert!(!log.contains("a member cannot be read"), "{log}");
    gate.stack.authz.process.stop(Duration::from_secs(8));
    drop(pooler);
}

#[test]
fn the_reader_cannot_write_and_the_writer_only_through_functions() {
    let gate = Gate::start();
    let (postgres, database) = (&gate.stack.postgres, &gate.stack.database);
    let reader = gate.stack.authz_options.database_url.clone().unwrap();
    let writer = postgres.login(database, &format!("{database}_portal"), "docsgate_writer").unwrap();
    let run = |url: &str, sql: &str| {
        let output = std::process::Command::new(postgres.program("psql"))
            .args(["--no-psqlrc", "--tuples-only", "--no-align", "--dbname", url, "--command", sql])
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let denied = |url: &str, sql: &str| {
        let (succeeded, said) = run(url, sql);
        assert!(!succeeded && said.contains("permission denied"), "{sql}: {said}");
    };
    for sql in [
        "INSERT INTO docsgate.members (issuer, subject) VALUES ('i', 's')",
        "UPDATE docsgate.members SET plan = 'team'",
        "DELETE FROM docsgate.revoked_tokens",
        "TRUNCATE docsgate.entitlements",
        "SELECT docsgate.grant('i', 's', 'academy')",
        "SELECT docsgate.revoke('i', 's', 'academy')",
        "SELECT docsgate.create_api_key('abcdef012345', repeat('x', 32)::bytea, 'i', 's')",
        "SELECT * FROM docsgate.audit",
        "CREATE TABLE docsgate.mine (n int)",
        "DROP FUNCTION docsgate.standing(text, text)",
    ] {
        denied_or_owner(&run(&reader, sql), sql);
    }
    for sql in [
        "INSERT INTO docsgate.entitlements (member_id, feature) VALUES (1, 'academy')",
        "UPDATE docsgate.members SET suspended_at = NULL",
        "DELETE FROM docsgate.audit",
        "SELECT digest FROM docsgate.api_keys",
        "SELECT docsgate.ensure_member('i', 's')",
    ] {
        denied(&writer, sql);
    }
    // What the portal does, twice: calling again changes nothing and is no error.
    for _ in 0..2 {
        for sql in [
            "SELECT docsgate.grant('i', 's', 'academy', 'team')",
            "SELECT docsgate.suspend('i', 's')",
            "SELECT docsgate.resume('i', 's')",
            "SELECT docsgate.revoke_token('i', 's', 'jti-1', now() + interval '1 hour')",
            "SELECT docsgate.revoke('i', 's', 'academy')",
        ] {
            let (succeeded, said) = run(&writer, sql);
            assert!(succeeded, "{sql}: {said}");
        }
    }
    let audit = postgres.sql(database, "SELECT action FROM docsgate.audit WHERE subject = 's' ORDER BY id").unwrap();
    assert!(audit.starts_with("grant\nsuspend\nresume\nrevoke_token\nrevoke\n"), "{audit}");
}

fn denied_or_owner((succeeded, said): &(bool, String), sql: &str) {
    assert!(!succeeded && (said.contains("permission denied") || said.contains("must be owner")), "{sql}: {said}");
}

#[test]
fn a_schema_or_a_right_that_is_missing_is_named_with_the_remedy() {
    let mut gate = Gate::start();
    let token = gate.token(MEMBER);
    let (postgres, database) = (std::sync::Arc::clone(&gate.stack.postgres), gate.stack.database.clone());
    let reader = gate.stack.authz_options.database_url.clone().unwrap();
    postgres.create_database(&format!("{database}_empty")).unwrap();
    let (role, password) = login(&reader);
    let stranger = {
        let name = format!("{database}_stranger");
        postgres.sql(&database, &format!("CREATE ROLE \"{name}\" LOGIN PASSWORD 'x'")).unwrap();
        postgres.url_as(&name, "x", &database)
    };
    let cases = [
        (postgres.url_as(role, password, &format!("{database}_empty")), "run `authz migrate`"),
        (stranger, "give it the role docsgate_reader"),
    ];
    for (url, remedy) in cases {
        gate.stack.authz.process.kill();
        gate.stack.authz_options.database_url = Some(url);
        gate.stack.authz = Authz::start(&gate.stack.authz_options).unwrap();
        let log = || fs::read_to_string(gate.folder.path().join("authz.log")).unwrap();
        eventually(remedy, || log().contains(remedy).then_some(()));
        // Public documents do not depend on it; members' do, and nobody is let in.
        eventually("the public answer", || {
            gate.search("tides").send().ok().filter(|answer| answer.status() == 200).map(|_| ())
        });
        let closed = gate.search("buoys").header("x-only", "members").bearer_auth(&token).send().unwrap();
        problem(closed, 503, "undecidable");
    }
    gate.stack.authz.process.kill();
    postgres.drop_database(&format!("{database}_empty")).unwrap();
}

#[test]
fn migrations_run_again_change_nothing_and_a_newer_schema_is_refused() {
    let gate = Gate::start();
    let url = gate.stack.database_url();
    let said = authz::command(&["migrate", "--database-url", &url]).unwrap();
    assert!(said.contains("schema docsgate is at version"), "{said}");
    let newer = "INSERT INTO public._sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'from the future', true, '\\x00', 0)";
    gate.stack.postgres.sql(&gate.stack.database, newer).unwrap();
    let error = authz::command(&["migrate", "--database-url", &url]).unwrap_err().to_string();
    assert!(error.contains("9999"), "{error}");
    for (url, part) in [
        ("postgresql://127.0.0.1:1/docsgate", "no endpoint can be written to"),
        ("mysql://127.0.0.1/docsgate", "expected postgresql://"),
        ("postgresql://u@127.0.0.1:1,127.0.0.1:2/d?target_session_attrs=standby", "expected `read-write`"),
    ] {
        let error = authz::command(&["migrate", "--database-url", url]).unwrap_err().to_string();
        assert!(error.contains(part), "{url}: {error}");
    }
}
