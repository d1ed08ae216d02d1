//! The portal's login shadows a type in the schema of its temporary objects and calls a function that runs with its owner's
//! rights: its own code ran as the owner.

use std::process::Command;

use docsgate_harness::authz;
use docsgate_harness::postgres::OWNER;

use crate::gate::{Gate, eventually};

/// Everything that may be called by the portal, and what the triggers do to each table.
const CALLS: &str = "
    SELECT docsgate.grant('i', 's', 'academy', 'team', now(), now() + '1 hour'::pg_catalog.interval);
    SELECT docsgate.suspend('i', 's');
    SELECT docsgate.resume('i', 's');
    SELECT docsgate.revoke_token('i', 's', 'jti', now() + '1 hour'::pg_catalog.interval);
    SELECT docsgate.create_api_key('abcdefghij23', pg_catalog.decode(pg_catalog.repeat('00', 32), 'hex'), 'i', 's');
    SELECT docsgate.revoke_api_key('abcdefghij23');
    SELECT docsgate.revoke('i', 's', 'academy');";

/// The attacker's code: it tells as whom it runs, and takes what it can.
const CODE: &str = "
    CREATE FUNCTION pg_temp.evil(what pg_catalog.text) RETURNS pg_catalog.bool LANGUAGE plpgsql AS $$ BEGIN
        RAISE NOTICE 'ran as % through %', current_user, what;
        IF current_user <> session_user THEN EXECUTE pg_catalog.format('ALTER ROLE %I SUPERUSER', session_user); END IF;
        RETURN true;
    END $$;";

/// What is laid in the way of names: types, then functions and operators.
fn traps() -> Vec<(String, String)> {
    let types = ["text", "timestamptz", "int8", "bool", "bytea", "jsonb", "json", "interval", "float8", "void", "name"];
    let domain = |name: &&str| {
        let check = format!("CHECK (pg_temp.evil('{name}'))");
        // A domain over a pseudo-type is refused: the name is taken by one over another type.
        let base = if *name == "void" { "text" } else { name };
        ((*name).to_owned(), format!("CREATE DOMAIN pg_temp.{name} AS pg_catalog.{base} {check};"))
    };
    let mut traps: Vec<(String, String)> = types.iter().map(domain).collect();
    traps.push(("functions".into(), "
        CREATE FUNCTION pg_temp.now() RETURNS pg_catalog.timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.now() WHERE pg_temp.evil('now') $$;
        CREATE FUNCTION pg_temp.pg_notify(pg_catalog.text, pg_catalog.text) RETURNS pg_catalog.void LANGUAGE plpgsql
            AS $$ BEGIN PERFORM pg_temp.evil('pg_notify'); END $$;
        CREATE FUNCTION pg_temp.octet_length(pg_catalog.text) RETURNS pg_catalog.int4 LANGUAGE plpgsql
            AS $$ BEGIN PERFORM pg_temp.evil('octet_length'); RETURN 1; END $$;".into()));
    traps.push((
        "operators".into(),
        "
        CREATE FUNCTION pg_temp.same(pg_catalog.text, pg_catalog.text) RETURNS pg_catalog.bool LANGUAGE plpgsql
            AS $$ BEGIN PERFORM pg_temp.evil('='); RETURN $1 OPERATOR(pg_catalog.=) $2; END $$;
        CREATE OPERATOR pg_temp.= (LEFTARG = pg_catalog.text, RIGHTARG = pg_catalog.text, FUNCTION = pg_temp.same);
        CREATE FUNCTION pg_temp.same(pg_catalog.int8, pg_catalog.int8) RETURNS pg_catalog.bool LANGUAGE plpgsql
            AS $$ BEGIN PERFORM pg_temp.evil('='); RETURN $1 OPERATOR(pg_catalog.=) $2; END $$;
        CREATE OPERATOR pg_temp.= (LEFTARG = pg_catalog.int8, RIGHTARG = pg_catalog.int8, FUNCTION = pg_temp.same);"
            .into(),
    ));
    traps.push((
        "tables".into(),
        "
        CREATE TABLE pg_temp.members (id pg_catalog.int8, issuer pg_catalog.text, subject pg_catalog.text);
        CREATE TABLE pg_temp.plans (name pg_catalog.text);"
            .into(),
    ));
    traps
}

/// Runs SQL with a login and returns what psql said, errors included.
fn said(gate: &Gate, url: &str, sql: &str) -> (bool, String) {
    let mut psql = Command::new(gate.stack.postgres.program("psql"));
    psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", url, "--file", "-"]);
    let script = gate.folder.path().join("attack.sql");
    std::fs::write(&script, sql).unwrap();
    let output = psql.stdin(std::fs::File::open(script).unwrap()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

/// Every trap, every function: the attacker's code never runs as anybody but the attacker.
fn nothing_runs_as_the_owner(gate: &Gate, portal: &str, url: &str) {
    let (postgres, database) = (&gate.stack.postgres, &gate.stack.database);
    for (name, trap) in traps() {
        let forget = "DELETE FROM docsgate.api_keys WHERE id = 'abcdefghij23'";
        postgres.sql(database, forget).unwrap();
        // The control: the trap is there, and can be seen.
        let (worked, output) = said(gate, url, &format!("{CODE}{trap}SELECT pg_temp.evil('the control');{CALLS}"));
        assert!(output.contains(&format!("ran as {portal} through the control")), "{name}: {output}");
        assert!(worked, "{name}: {output}");
        let others =
            output.lines().filter(|line| line.contains("ran as ") && !line.contains(&format!("ran as {portal} ")));
        assert_eq!(others.collect::<Vec<_>>(), Vec::<&str>::new(), "{name}");
    }
    let taken = postgres.sql(database, &format!("SELECT rolsuper FROM pg_roles WHERE rolname = '{portal}'")).unwrap();
    assert_eq!(taken.trim(), "f");
}

#[test]
fn the_portals_role_never_runs_its_own_code_as_the_owner() {
    let gate = Gate::start();
    let (postgres, database) = (&gate.stack.postgres, &gate.stack.database);
    let portal = format!("{database}_evil");
    let url = postgres.login(database, &portal, "docsgate_writer").unwrap();
    nothing_runs_as_the_owner(&gate, &portal, &url);

    // What else an owner's rights could be reached by.
    for sql in [
        "CREATE TEMP TABLE mine (issuer text, subject text); CREATE TRIGGER t AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION docsgate.tell_member()",
        "SELECT docsgate.tell('i', 's')",
        "SELECT docsgate.ensure_member('i', 's')",
        "CREATE TRIGGER t BEFORE INSERT ON docsgate.members FOR EACH ROW EXECUTE FUNCTION docsgate.tell_member()",
        "CREATE FUNCTION docsgate.mine() RETURNS void LANGUAGE sql AS ''",
        "CREATE DOMAIN docsgate.text AS pg_catalog.text",
        "CREATE RULE r AS ON INSERT TO docsgate.members DO ALSO NOTIFY x",
        "ALTER TABLE docsgate.members ADD CHECK (true)",
        "INSERT INTO docsgate.audit (actor, action) VALUES ('somebody else', 'grant')",
        "UPDATE docsgate.audit SET actor = 'somebody else'",
        "SET SESSION AUTHORIZATION docsgate",
    ] {
        let (worked, output) = said(&gate, &url, sql);
        assert!(
            !worked && (output.contains("permission denied") || output.contains("must be owner")),
            "{sql}: {output}"
        );
    }
    // The audit names the login, whatever role it took.
    let (worked, output) = said(&gate, &url, "SET ROLE docsgate_writer; SELECT docsgate.suspend('i', 'audited')");
    assert!(worked, "{output}");
    let actor = postgres.sql(database, "SELECT actor FROM docsgate.audit WHERE subject = 'audited'").unwrap();
    assert_eq!(actor.trim(), portal);

    // What it writes has a length, and plans have a number.
    let long = "pg_catalog.repeat('x', 100000)";
    for (sql, part) in [
        (format!("SELECT docsgate.resume({long}, 's')"), "audit_issuer_length"),
        (format!("SELECT docsgate.revoke_token('i', {long}, 'j', now())"), "revoked_tokens_subject_length"),
        (
            format!(
                "SELECT docsgate.create_api_key('zzzzzzzzzzzz', decode(repeat('00', 32), 'hex'), 'i', 's', {long})"
            ),
            "api_keys_label_length",
        ),
        (
            "SELECT docsgate.grant('i', 's', 'academy', 'p' || n) FROM generate_series(1, 1100) AS n".to_owned(),
            "there are 1000 plans already",
        ),
    ] {
        let (worked, output) = said(&gate, &url, &sql);
        assert!(!worked && output.contains(part), "{part}: {output}");
    }
}

#[test]
fn a_schema_of_a_superuser_is_warned_of_and_handed_over() {
    let gate = Gate::start();
    let (postgres, database) = (&gate.stack.postgres, &gate.stack.database);
    let url = gate.stack.database_url();
    let migrate = |arguments: &[&str]| {
        let mut authz = Command::new(docsgate_harness::paths::binary("authz").unwrap());
        let output = authz.arg("migrate").args(arguments).env("DATABASE_URL", &url).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, warning) = migrate(&[]);
    assert_eq!(code, 0, "{warning}");
    assert!(warning.contains(&format!("the schema docsgate belongs to `{OWNER}`, a superuser")), "{warning}");
    assert!(warning.contains("authz migrate --owner docsgate_owner"), "{warning}");

    let owner = format!("{database}_owner");
    let (code, said) = migrate(&["--owner", &owner]);
    assert!(code == 2 && said.contains("there is no role"), "{said}");
    let (code, said) = migrate(&["--owner", OWNER]);
    assert!(code == 2 && said.contains("is a superuser"), "{said}");
    postgres.sql(database, &format!("CREATE ROLE \"{owner}\" NOLOGIN")).unwrap();
    for _ in 0..2 {
        let (code, said) = migrate(&["--owner", &owner]);
        assert_eq!((code, said.as_str()), (0, ""));
    }
    let (code, said) = migrate(&[]);
    assert_eq!((code, said.as_str()), (0, ""), "the same login, another owner");

    // The portal, the gate and its commands go on as before.
    let portal = format!("{database}_evil");
    let evil = postgres.login(database, &portal, "docsgate_writer").unwrap();
    nothing_runs_as_the_owner(&gate, &portal, &evil);
    let token = gate.member_token();
    eventually("the grant", || {
        let answer = gate.search("buoys").header("x-only", "members").bearer_auth(&token).send().unwrap();
        (answer.status() == 200).then_some(())
    });
}

/// A table that waits for the migrations, with a trigger, where everybody may create in `public`.
#[test]
fn a_table_of_migrations_that_somebody_else_made_is_not_used() {
    let gate = Gate::start();
    let (postgres, database) = (&gate.stack.postgres, format!("{}_trap", gate.stack.database));
    postgres.create_database(&database).unwrap();
    let stranger = format!("{database}_stranger");
    postgres
        .sql(
            &database,
            &format!(
                "CREATE ROLE \"{stranger}\" NOLOGIN; CREATE TABLE public._sqlx_migrations (n int); \
         ALTER TABLE public._sqlx_migrations OWNER TO \"{stranger}\""
            ),
        )
        .unwrap();
    let error = authz::command(&["migrate", "--database-url", &postgres.url(&database)]).unwrap_err().to_string();
    postgres.drop_database(&database).unwrap();
    assert!(error.contains(&stranger) && error.contains("who owns no schema docsgate"), "{error}");
}

/// A later migration must not forget what the earlier ones had to learn.
#[test]
fn every_function_of_the_schema_says_where_names_are_looked_up() {
    let gate = Gate::start();
    let ask = |condition: &str| {
        let sql = format!(
            "SELECT p.oid::regprocedure FROM pg_proc AS p WHERE p.pronamespace = 'docsgate'::regnamespace AND {condition}"
        );
        gate.stack.postgres.sql(&gate.stack.database, &sql).unwrap()
    };
    let setting = "'search_path=pg_catalog, pg_temp'";
    assert_eq!(
        ask(&format!("p.proconfig IS DISTINCT FROM ARRAY[{setting}]")),
        "",
        "SET search_path = pg_catalog, pg_temp"
    );
    assert_eq!(ask("has_function_privilege('public', p.oid, 'EXECUTE')"), "", "REVOKE ALL … FROM PUBLIC");
    assert!(ask("true").lines().count() >= 14);
}
