//! Where the database is, and the commands about members.

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::{Result, anyhow};
use clap::{Args, Subcommand};
use docsgate_service::exit::UsageError;
use sqlx::{PgPool, Row};

use super::Output;
use crate::{postgres::DatabaseUrls, settings::secret};

/// Where the database is.
#[derive(Debug, Args)]
pub struct DatabaseArgs {
    /// Postgres, as a URL; several hosts separated by commas. Every process of the machine can read a command line: give it
    /// by the environment, or in a file.
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
    /// File with the Postgres URL.
    #[arg(long, env = "DOCSGATE_DATABASE_URL_FILE", value_name = "FILE")]
    database_url_file: Option<PathBuf>,
}

impl DatabaseArgs {
    pub(super) async fn connect(&self) -> Result<PgPool> {
        let url = secret(self.database_url.as_deref(), self.database_url_file.as_ref(), "--database-url-file")?;
        let Some(url) = url else {
            let expected = "expected DATABASE_URL in the environment, or --database-url-file FILE";
            return Err(UsageError(format!("no database is named: {expected}")).into());
        };
        let named = if self.database_url_file.is_some() { "--database-url-file" } else { "--database-url" };
        let urls = DatabaseUrls::parse(&url).map_err(|error| UsageError(format!("{named}: {error}")))?;
        urls.writable().await.map_err(|error| anyhow!(error))
    }
}

/// Manage members and their entitlements.
#[derive(Debug, Args)]
pub struct MemberArgs {
    #[command(subcommand)]
    action: MemberAction,
}

#[derive(Debug, Args)]
pub(super) struct MemberRef {
    #[command(flatten)]
    pub(super) database: DatabaseArgs,
    /// `iss` of the member's tokens.
    #[arg(long, env = "DOCSGATE_ISSUER", value_name = "URL")]
    pub(super) issuer: String,
    /// `sub` of the member's tokens.
    #[arg(value_name = "SUBJECT")]
    pub(super) subject: String,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(super) output: Output,
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

/// What Postgres said, with what to do about the usual mistakes.
#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
pub(super) fn refused(error: sqlx::Error) -> anyhow::Error {
    let hint = match error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() {
        Some("3F000" | "42P01" | "42883") => "; run `authz migrate` first",
        Some("42501") => "; use a login that has the role docsgate_writer",
        _ => "",
    };
    anyhow!("the database refused: {error}{hint}")
}
