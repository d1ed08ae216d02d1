//! Commands that change what the database knows: migrations, members, API keys.

use std::{io::Write, process::ExitCode};

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use clap::{Args, Subcommand};
use sqlx::{PgPool, Row, migrate::Migrator};

use super::{Output, UsageError};
use crate::{facts::api_keys, postgres::DatabaseUrls};

/// The schema `docsgate`, version by version.
static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Where the database is.
#[derive(Debug, Args)]
pub struct DatabaseArgs {
    /// Postgres, as a URL; several hosts separated by commas.
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: String,
}

impl DatabaseArgs {
    async fn connect(&self) -> Result<PgPool> {
        let urls =
            DatabaseUrls::parse(&self.database_url).map_err(|error| UsageError(format!("--database-url: {error}")))?;
        urls.writable().await.map_err(|error| anyhow!(error))
    }
}

/// `authz migrate`: brings the schema to this version. Running it again changes nothing.
///
/// # Errors
/// When the database cannot be reached, or has a schema newer than this program.
pub async fn migrate(args: &DatabaseArgs) -> Result<ExitCode> {
    let pool = args.connect().await?;
    let mut connection = pool.acquire().await.context("the database")?;
    // The table of migrations stands in `public`, whatever the login is called: a login named `docsgate` would otherwise
    // look for it in the schema of its own name once that exists.
    sqlx::query("SET search_path TO public").execute(&mut *connection).await.map_err(refused)?;
    MIGRATIONS.run(&mut *connection).await.context("the schema cannot be brought to this version")?;
    let version = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    writeln!(std::io::stdout(), "schema docsgate is at version {version}")?;
    Ok(ExitCode::SUCCESS)
}

/// Manage members and their entitlements.
#[derive(Debug, Args)]
pub struct MemberArgs {
    #[command(subcommand)]
    action: MemberAction,
}

#[derive(Debug, Args)]
struct MemberRef {
    #[command(flatten)]
    database: DatabaseArgs,
    /// `iss` of the member's tokens.
    #[arg(long, env = "DOCSGATE_ISSUER", value_name = "URL")]
    issuer: String,
    /// `sub` of the member's tokens.
    #[arg(value_name = "SUBJECT")]
    subject: String,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum MemberAction {
    /// Give a feature, from now or from a time, for ever or until a time.
    Grant {
        #[command(flatten)]
        member: MemberRef,
        /// The feature.
        #[arg(long)]
        feature: String,
        /// The plan, which selects the tier of rate limits; without it the plan stays.
        #[arg(long)]
        plan: Option<String>,
        /// When it starts, such as 2026-12-01T00:00:00Z.
        #[arg(long, value_name = "TIME")]
        starts: Option<String>,
        /// When it ends.
        #[arg(long, value_name = "TIME")]
        ends: Option<String>,
    },
    /// Take a feature away, at once.
    Revoke {
        #[command(flatten)]
        member: MemberRef,
        /// The feature.
        #[arg(long)]
        feature: String,
    },
    /// Serve a member as an anonymous reader.
    Suspend {
        #[command(flatten)]
        member: MemberRef,
    },
    /// End a suspension.
    Resume {
        #[command(flatten)]
        member: MemberRef,
    },
    /// Show one member.
    Show {
        #[command(flatten)]
        member: MemberRef,
    },
    /// List members.
    List {
        #[command(flatten)]
        database: DatabaseArgs,
        /// Of this issuer only.
        #[arg(long, value_name = "URL")]
        issuer: Option<String>,
        /// Members listed at the most.
        #[arg(long, default_value_t = 1000)]
        limit: i64,
        /// How to print the result.
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
}

/// Every entitlement of the members that match, one row each; a member without any has one row.
const LIST: &str = "SELECT m.issuer, m.subject, m.plan, m.suspended_at IS NOT NULL AS suspended, e.feature, \
     to_char(e.starts_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS starts, \
     to_char(e.ends_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS ends \
     FROM docsgate.members AS m LEFT JOIN docsgate.entitlements AS e ON e.member_id = m.id \
     WHERE ($1::text IS NULL OR m.issuer = $1) AND ($2::text IS NULL OR m.subject = $2) \
     ORDER BY m.issuer, m.subject, e.feature LIMIT $3";

/// `authz member …`
///
/// # Errors
/// When the database refuses or cannot be reached.
pub async fn member(args: &MemberArgs) -> Result<ExitCode> {
    match &args.action {
        MemberAction::Grant { member, feature, plan, starts, ends } => {
            let ask =
                sqlx::query("SELECT docsgate.grant($1, $2, $3, $4, $5::text::timestamptz, $6::text::timestamptz)");
            ask.bind(&member.issuer)
                .bind(&member.subject)
                .bind(feature)
                .bind(plan)
                .bind(starts)
                .bind(ends)
                .execute(&member.database.connect().await?)
                .await
                .map_err(refused)?;
            said(member, &format!("{} has {feature}", member.subject), true)
        }
        MemberAction::Revoke { member, feature } => {
            let ask = sqlx::query("SELECT docsgate.revoke($1, $2, $3) AS gone");
            let row = ask
                .bind(&member.issuer)
                .bind(&member.subject)
                .bind(feature)
                .fetch_one(&member.database.connect().await?)
                .await;
            let gone: bool = row.map_err(refused)?.try_get("gone")?;
            let text = if gone {
                format!("{} no longer has {feature}", member.subject)
            } else {
                format!("{} did not have {feature}", member.subject)
            };
            said(member, &text, gone)
        }
        MemberAction::Suspend { member } => {
            call(member, "SELECT docsgate.suspend($1, $2)").await?;
            said(member, &format!("{} is suspended", member.subject), true)
        }
        MemberAction::Resume { member } => {
            call(member, "SELECT docsgate.resume($1, $2)").await?;
            said(member, &format!("{} is not suspended", member.subject), true)
        }
        MemberAction::Show { member } => {
            let shown =
                list(&member.database, Some(&member.issuer), Some(&member.subject), 1000, member.output).await?;
            if shown == 0 {
                anyhow::bail!("no member {} of {}", member.subject, member.issuer);
            }
            Ok(ExitCode::SUCCESS)
        }
        MemberAction::List { database, issuer, limit, output } => {
            list(database, issuer.as_deref(), None, *limit, *output).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn call(member: &MemberRef, sql: &'static str) -> Result<()> {
    sqlx::query(sql)
        .bind(&member.issuer)
        .bind(&member.subject)
        .execute(&member.database.connect().await?)
        .await
        .map_err(refused)?;
    Ok(())
}

fn said(member: &MemberRef, text: &str, changed: bool) -> Result<ExitCode> {
    let mut out = std::io::stdout();
    match member.output {
        Output::Text => writeln!(out, "{text}")?,
        Output::Json => {
            let value = serde_json::json!({"issuer": member.issuer, "subject": member.subject, "changed": changed, "message": text});
            writeln!(out, "{value}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(
    database: &DatabaseArgs,
    issuer: Option<&str>,
    subject: Option<&str>,
    limit: i64,
    output: Output,
) -> Result<usize> {
    let pool = database.connect().await?;
    let rows = sqlx::query(LIST).bind(issuer).bind(subject).bind(limit).fetch_all(&pool).await.map_err(refused)?;
    let mut out = std::io::stdout().lock();
    for row in &rows {
        let text = |name: &str| row.try_get::<Option<String>, _>(name);
        let (issuer, subject, plan) =
            (text("issuer")?.unwrap_or_default(), text("subject")?.unwrap_or_default(), text("plan")?);
        let (feature, starts, ends) = (text("feature")?, text("starts")?, text("ends")?);
        let suspended: bool = row.try_get("suspended")?;
        match output {
            Output::Text => {
                let state = if suspended { " suspended" } else { "" };
                let plan = plan.map(|plan| format!(" plan {plan}")).unwrap_or_default();
                let feature = feature.map_or_else(
                    || " no entitlement".to_owned(),
                    |feature| {
                        format!(
                            " {feature} from {} to {}",
                            starts.unwrap_or_default(),
                            ends.unwrap_or_else(|| "for ever".into())
                        )
                    },
                );
                writeln!(out, "{issuer} {subject}{plan}{state}{feature}")?;
            }
            Output::Json => {
                let value = serde_json::json!({
                    "issuer": issuer, "subject": subject, "plan": plan, "suspended": suspended,
                    "feature": feature, "starts": starts, "ends": ends,
                });
                writeln!(out, "{value}")?;
            }
        }
    }
    Ok(rows.len())
}

/// Manage API keys of services.
#[derive(Debug, Args)]
pub struct ApiKeyArgs {
    #[command(subcommand)]
    action: ApiKeyAction,
}

#[derive(Debug, Subcommand)]
enum ApiKeyAction {
    /// Make a key that stands for a member. It is printed once and stored nowhere.
    Create {
        #[command(flatten)]
        member: MemberRef,
        /// What it is for.
        #[arg(long, default_value = "")]
        label: String,
        /// When it ends.
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
    },
    /// Revoke a key by its public id, at once.
    Revoke {
        #[command(flatten)]
        database: DatabaseArgs,
        /// The public id: the part between the underscores.
        #[arg(value_name = "ID")]
        id: String,
    },
    /// List keys, without secrets.
    List {
        #[command(flatten)]
        database: DatabaseArgs,
        /// How to print the result.
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
}

/// `authz api-key …`
///
/// # Errors
/// When the database refuses or cannot be reached.
pub async fn api_key(args: &ApiKeyArgs) -> Result<ExitCode> {
    let mut out = std::io::stdout();
    match &args.action {
        ApiKeyAction::Create { member, label, expires } => {
            let (id, secret) = new_key()?;
            let ask = sqlx::query("SELECT docsgate.create_api_key($1, $2, $3, $4, $5, $6::text::timestamptz)");
            ask.bind(&id)
                .bind(api_keys::digest(&id, &secret).as_slice())
                .bind(&member.issuer)
                .bind(&member.subject)
                .bind(label)
                .bind(expires)
                .execute(&member.database.connect().await?)
                .await
                .map_err(refused)?;
            match member.output {
                Output::Text => writeln!(out, "dg_{id}_{secret}")?,
                Output::Json => writeln!(out, "{}", serde_json::json!({"id": id, "key": format!("dg_{id}_{secret}")}))?,
            }
            Ok(ExitCode::SUCCESS)
        }
        ApiKeyAction::Revoke { database, id } => {
            let row = sqlx::query("SELECT docsgate.revoke_api_key($1) AS gone")
                .bind(id)
                .fetch_one(&database.connect().await?)
                .await;
            let gone: bool = row.map_err(refused)?.try_get("gone")?;
            writeln!(out, "{}", if gone { "revoked" } else { "there was no such key in force" })?;
            Ok(if gone { ExitCode::SUCCESS } else { ExitCode::from(1) })
        }
        ApiKeyAction::List { database, output } => {
            let ask = "SELECT k.id, k.label, m.issuer, m.subject, k.revoked_at IS NOT NULL AS revoked \
                 FROM docsgate.api_keys AS k JOIN docsgate.members AS m ON m.id = k.member_id ORDER BY k.created_at LIMIT 10000";
            for row in sqlx::query(ask).fetch_all(&database.connect().await?).await.map_err(refused)? {
                let text = |name: &str| row.try_get::<String, _>(name);
                let (id, label, issuer, subject) = (text("id")?, text("label")?, text("issuer")?, text("subject")?);
                let revoked: bool = row.try_get("revoked")?;
                match output {
                    Output::Text => {
                        writeln!(out, "{id} {issuer} {subject}{} {label}", if revoked { " revoked" } else { "" })?;
                    }
                    Output::Json => {
                        let value = serde_json::json!({"id": id, "label": label, "issuer": issuer, "subject": subject, "revoked": revoked});
                        writeln!(out, "{value}")?;
                    }
                }
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A public id and a secret of 256 random bits.
fn new_key() -> Result<(String, String)> {
    let random = SystemRandom::new();
    let (mut id, mut secret) = ([0u8; 12], [0u8; 32]);
    random
        .fill(&mut id)
        .and_then(|()| random.fill(&mut secret))
        .map_err(|_| anyhow!("no random numbers can be had"))?;
    let letters = b"abcdefghijklmnopqrstuvwxyz234567";
    let id = id.iter().map(|byte| char::from(letters.get(usize::from(byte % 32)).copied().unwrap_or(b'a'))).collect();
    Ok((id, BASE64_URL_SAFE_NO_PAD.encode(secret)))
}

/// What Postgres said, with what to do about the usual mistakes.
#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn refused(error: sqlx::Error) -> anyhow::Error {
    let hint = match error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() {
        Some("3F000" | "42P01" | "42883") => "; run `authz migrate` first",
        Some("42501") => "; use a login that has the role docsgate_writer",
        _ => "",
    };
    anyhow!("the database refused: {error}{hint}")
}
