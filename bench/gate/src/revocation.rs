//! From a revocation in Postgres to the first refusal at Envoy, while the gate is under load.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use docsgate_harness::stack::Stack;

use crate::load::{self, Connection};
use crate::{say, stack};

/// Options of `revocation`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Revocations that are measured.
    #[arg(long, default_value_t = 300)]
    count: usize,
    /// Connections that ask for other members all the while.
    #[arg(long, default_value_t = 4)]
    load: usize,
}

/// One psql that stays: a statement costs what a portal's own connection would take.
struct Portal {
    psql: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    issuer: String,
    feature: String,
}

impl Portal {
    fn connect(stack: &Stack) -> Result<Self> {
        let mut psql = Command::new(stack.postgres.program("psql"))
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--dbname", &stack.database_url()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run psql")?;
        let input = psql.stdin.take().context("psql has no input")?;
        let output = BufReader::new(psql.stdout.take().context("psql has no output")?);
        let expected = &stack.expectations;
        Ok(Self { psql, input, output, issuer: expected.issuer.clone(), feature: expected.feature.clone() })
    }

    /// Calls a function for a member and returns when it has committed.
    fn call(&mut self, function: &str, subject: &str) -> Result<()> {
        let (issuer, feature) = (&self.issuer, &self.feature);
        writeln!(self.input, "SELECT 'done', docsgate.{function}('{issuer}', '{subject}', '{feature}');")?;
        self.input.flush()?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if !line.starts_with("done") {
            bail!("psql said `{}`", line.trim());
        }
        Ok(())
    }
}

impl Drop for Portal {
    fn drop(&mut self) {
        let _ = self.psql.kill();
        let _ = self.psql.wait();
    }
}

/// Measures and prints the quantiles.
pub(crate) fn run(options: &Options) -> Result<()> {
    let folder = stack::folder()?;
    let stack = stack::start(folder.path())?;
    let envoy = stack::envoy(folder.path(), "gate", Some(&stack.authz.socket))?;
    let mut portal = Portal::connect(&stack)?;
    let others: Vec<Vec<u8>> = (0..50)
        .map(|n| {
            let subject = format!("other-{n}");
            portal.call("grant", &subject)?;
            Ok(load::get("/members", Some(&stack.token(&subject, "12h")?)))
        })
        .collect::<Result<_>>()?;
    let members: Vec<(String, Vec<u8>)> = (0..20)
        .map(|n| {
            let subject = format!("member-{n}");
            let request = load::get("/members", Some(&stack.token(&subject, "12h")?));
            Ok((subject, request))
        })
        .collect::<Result<_>>()?;

    let (done, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut latencies = std::thread::scope(|scope| {
        for _ in 0..options.load {
            scope.spawn(|| -> Result<()> {
                let mut connection = Connection::open(envoy.listen)?;
                for request in others.iter().cycle() {
                    if done.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                    connection.ask(request)?;
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            });
        }
        let measured = measure(options.count, &members, &mut portal, &mut Connection::open(envoy.listen)?);
        done.store(true, Ordering::Relaxed);
        measured
    })?;
    latencies.sort_unstable();
    let at = |share: usize| latencies.get((latencies.len() * share / 1000).min(latencies.len() - 1));
    let millis = |share| at(share).map_or(f64::NAN, |time: &Duration| time.as_secs_f64() * 1000.0);
    say(&format!(
        "{} revocations while {} connections sent {} requests: from the call in Postgres to the first refusal at Envoy\n\
         p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
        latencies.len(),
        options.load,
        asked.load(Ordering::Relaxed),
        millis(500),
        millis(900),
        millis(990),
        millis(1000)
    ))
}

/// Grants, waits until it is felt, revokes, and measures until that is felt.
fn measure(
    count: usize,
    members: &[(String, Vec<u8>)],
    portal: &mut Portal,
    connection: &mut Connection,
) -> Result<Vec<Duration>> {
    let mut latencies = Vec::with_capacity(count);
    for (subject, request) in members.iter().cycle().take(count) {
        portal.call("grant", subject)?;
        until(connection, request, 200)?;
        let told = Instant::now();
        portal.call("revoke", subject)?;
        until(connection, request, 403)?;
        latencies.push(told.elapsed());
    }
    Ok(latencies)
}

fn until(connection: &mut Connection, request: &[u8], wanted: u16) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while connection.ask(request)? != wanted {
        if Instant::now() >= deadline {
            bail!("status {wanted} did not come within 10 s");
        }
    }
    Ok(())
}
