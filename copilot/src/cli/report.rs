//! `copilot report`: what a running server can tell the docs team.

use std::io::Write as _;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::{Failure, Output};
use crate::unanswered::{self, Row};

/// `copilot report …`
#[derive(Debug, Args)]
pub struct ReportArgs {
    #[command(subcommand)]
    command: Report,
}

#[derive(Debug, Subcommand)]
enum Report {
    /// Searches that found nothing and questions that the documents do not answer, those asked most first
    Unanswered(UnansweredArgs),
}

/// `copilot report unanswered`
#[derive(Debug, Args)]
struct UnansweredArgs {
    /// Admin listener of a running server; repeatable, for several replicas.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9903")]
    admin: Vec<String>,
    /// Most questions to print.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// How to print them.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Asks the servers and prints.
///
/// # Errors
/// When one of them cannot be asked.
pub fn run(args: &ReportArgs) -> Result<(), Failure> {
    let Report::Unanswered(args) = &args.command;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime")?;
    let lists = args.admin.iter().map(|admin| runtime.block_on(ask(admin)));
    let mut rows = unanswered::merged(lists.collect::<Result<Vec<_>, _>>()?);
    rows.truncate(args.limit);
    let mut out = std::io::stdout().lock();
    let text = match args.output {
        Output::Json => serde_json::to_string_pretty(&rows).context("the report")? + "\n",
        Output::Text if rows.is_empty() => "every question was answered since the server started\n".to_owned(),
        Output::Text => table(&rows),
    };
    out.write_all(text.as_bytes()).context("standard output")?;
    Ok(())
}

async fn ask(admin: &str) -> anyhow::Result<Vec<Row>> {
    let url = format!("{}/unanswered", admin.trim_end_matches('/'));
    let asking = async {
        let client = reqwest::Client::builder().timeout(std::time::Duration::from_secs(10)).build()?;
        client.get(&url).send().await?.error_for_status()?.json().await
    };
    asking.await.with_context(|| format!("{url} does not answer; expected the admin listener of `copilot serve`"))
}

fn table(rows: &[Row]) -> String {
    let mut text = format!("{:>6}  {:<7} {:<10} question\n", "asked", "by", "corpus");
    for row in rows {
        let kind = match row.kind {
            unanswered::Kind::Search => "search",
            unanswered::Kind::Chat => "chat",
        };
        text += &format!("{:>6}  {kind:<7} {:<10} {}\n", row.count, row.corpus, row.question);
    }
    text
}
