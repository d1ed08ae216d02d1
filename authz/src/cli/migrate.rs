//! `authz migrate`: the schema, version by version, and whose it is.

use std::{io::Write, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;
use docsgate_service::exit::UsageError;
use sqlx::{PgConnection, Row, migrate::Migrator};

use super::database::{DatabaseArgs, refused};

/// The schema `docsgate`, version by version.
static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Settings of `authz migrate`.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Hand the schema and all that is in it to this role afterwards. The login must be a superuser or have the role.
    #[arg(long, env = "DOCSGATE_SCHEMA_OWNER", value_name = "ROLE")]
    owner: Option<String>,
}

/// Brings the schema to this version. Running it again changes nothing.
///
/// # Errors
/// When the database cannot be reached, has a schema newer than this program, or a table of migrations that is not to be
/// trusted.
pub async fn run(args: &MigrateArgs) -> Result<ExitCode> {
    let pool = args.database.connect().await?;
    let mut connection = pool.acquire().await.context("the database")?;
    // The table of migrations stands in `public`, whatever the login is called: a login named `docsgate` would otherwise
    // look for it in the schema of its own name once that exists. `pg_temp` last, as in the functions.
    sqlx::query("SET search_path TO public, pg_temp").execute(&mut *connection).await.map_err(refused)?;
    refuse_foreign_history(&mut connection).await?;
    MIGRATIONS.run(&mut *connection).await.context("the schema cannot be brought to this version")?;
    if let Some(owner) = &args.owner {
        hand_over(&mut connection, owner).await?;
    }
    warn_of_superuser(&mut connection).await?;
    let version = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    writeln!(std::io::stdout(), "schema docsgate is at version {version}")?;
    Ok(ExitCode::SUCCESS)
}

/// Where others may create in `public`, somebody may have made the table of migrations before us, with a trigger that would
/// run with our rights.
async fn refuse_foreign_history(connection: &mut PgConnection) -> Result<()> {
    const ASK: &str = "SELECT pg_catalog.pg_get_userbyid(c.relowner)::pg_catalog.text AS owner \
         FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_roles AS r ON r.oid = c.relowner \
         WHERE c.relnamespace = pg_catalog.to_regnamespace('public') AND c.relname = '_sqlx_migrations' \
         AND r.rolname <> current_user AND NOT r.rolsuper \
         AND c.relowner IS DISTINCT FROM (SELECT nspowner FROM pg_catalog.pg_namespace WHERE nspname = 'docsgate')";
    if let Some(row) = sqlx::query(ASK).fetch_optional(connection).await.map_err(refused)? {
        let owner: String = row.try_get("owner")?;
        bail!(
            "the table public._sqlx_migrations belongs to `{owner}`, who owns no schema docsgate: a trigger on it would run with \
             this login's rights. Find out who made it, drop it, and revoke what allowed it: REVOKE CREATE ON SCHEMA public FROM PUBLIC"
        );
    }
    Ok(())
}

/// Makes `owner` the owner of the schema, its tables and functions, and of the table of migrations.
async fn hand_over(connection: &mut PgConnection, owner: &str) -> Result<()> {
    const ASK: &str = "SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = $1";
    let Some(row) = sqlx::query(ASK).bind(owner).fetch_optional(&mut *connection).await.map_err(refused)? else {
        return Err(UsageError(format!("--owner: there is no role `{owner}`; CREATE ROLE {owner} NOLOGIN")).into());
    };
    if row.try_get::<bool, _>("rolsuper")? {
        return Err(UsageError(format!("--owner: `{owner}` is a superuser; name a role that is not")).into());
    }
    // Sequences of identity columns follow their tables.
    const STATEMENTS: &str = "SELECT pg_catalog.format('ALTER SCHEMA docsgate OWNER TO %I', $1) AS statement \
         UNION ALL SELECT pg_catalog.format('ALTER TABLE %s OWNER TO %I', oid::pg_catalog.regclass, $1) FROM pg_catalog.pg_class \
             WHERE relkind IN ('r', 'p', 'v') AND (relnamespace = 'docsgate'::pg_catalog.regnamespace \
                 OR oid = pg_catalog.to_regclass('public._sqlx_migrations')) \
         UNION ALL SELECT pg_catalog.format('ALTER ROUTINE %s OWNER TO %I', oid::pg_catalog.regprocedure, $1) FROM pg_catalog.pg_proc \
             WHERE pronamespace = 'docsgate'::pg_catalog.regnamespace";
    let rows = sqlx::query(STATEMENTS).bind(owner).fetch_all(&mut *connection).await.map_err(refused)?;
    for row in rows {
        let statement: String = row.try_get("statement")?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut *connection).await.map_err(refused)?;
    }
    Ok(())
}

/// The portal's functions run with their owner's rights. A mistake in one of them must not be worth the whole server.
async fn warn_of_superuser(connection: &mut PgConnection) -> Result<()> {
    const ASK: &str = "SELECT r.rolname::pg_catalog.text AS owner FROM pg_catalog.pg_roles AS r WHERE r.rolsuper AND r.oid IN \
         (SELECT nspowner FROM pg_catalog.pg_namespace WHERE nspname = 'docsgate' \
          UNION SELECT proowner FROM pg_catalog.pg_proc WHERE pronamespace = 'docsgate'::pg_catalog.regnamespace) ORDER BY 1";
    for row in sqlx::query(ASK).fetch_all(connection).await.map_err(refused)? {
        let owner: String = row.try_get("owner")?;
        writeln!(
            std::io::stderr(),
            "warning: the schema docsgate belongs to `{owner}`, a superuser: its functions, which the portal calls, run with \
             rights over the whole server. Hand it to a role that has none: CREATE ROLE docsgate_owner NOLOGIN, then \
             `authz migrate --owner docsgate_owner`"
        )?;
    }
    Ok(())
}
