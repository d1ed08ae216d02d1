//! Commands about API keys.

use std::{
    io::{BufRead, Read, Write},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use docsgate_service::exit::UsageError;
use sqlx::Row;

use super::{
    Output,
    database::{DatabaseArgs, MemberRef, refused},
};
use crate::facts::api_keys::form::ApiKey;

/// No key is longer.
const LONGEST_LINE: u64 = 1024;

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
    /// Print a key of the form without a checksum, read from standard input, in the form with one. It is the same key: the
    /// database needs no change.
    AddChecksum,
    /// Revoke a key by its public id, at once.
    Revoke {
        #[command(flatten)]
        database: DatabaseArgs,
        /// The public id: the part between the first two underscores.
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
pub async fn run(args: &ApiKeyArgs) -> Result<ExitCode> {
    let mut out = std::io::stdout();
    match &args.action {
        ApiKeyAction::Create { member, label, expires } => {
            let key = ApiKey::generate()?;
            let ask = sqlx::query("SELECT docsgate.create_api_key($1, $2, $3, $4, $5, $6::text::timestamptz)");
            ask.bind(key.id())
                .bind(key.digest().as_slice())
                .bind(&member.issuer)
                .bind(&member.subject)
                .bind(label)
                .bind(expires)
                .execute(&member.database.connect().await?)
                .await
                .map_err(refused)?;
            match member.output {
                Output::Text => writeln!(out, "{}", key.reveal())?,
                Output::Json => writeln!(out, "{}", serde_json::json!({"id": key.id(), "key": key.reveal()}))?,
            }
            Ok(ExitCode::SUCCESS)
        }
        ApiKeyAction::AddChecksum => {
            let mut line = String::new();
            std::io::stdin().lock().take(LONGEST_LINE).read_line(&mut line).context("standard input")?;
            let Some(key) = ApiKey::parse_without_checksum(line.trim()) else {
                let expected = "expected dg_ID_SECRET with an ID of 12 and a SECRET of 43 characters";
                return Err(UsageError(format!("standard input: not a key without a checksum; {expected}")).into());
            };
            writeln!(out, "{}", key.reveal())?;
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
