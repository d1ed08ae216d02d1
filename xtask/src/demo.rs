//! `cargo xtask demo`: the whole gate on one machine, until Ctrl-C.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use docsgate_harness::copilot::Docs;
use docsgate_harness::progress::Step;
use docsgate_harness::stack::{self, Stack};
use docsgate_harness::{authz, interrupt, paths, port, tools};
use rustix::fs::{FlockOperation, flock};

use crate::build::cargo_build;

mod briefing;

/// Options of the demo.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where Envoy listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Policy file or directory; edits are felt at once. [default: policies/dev/policy.yaml]
    #[arg(long, value_name = "PATH")]
    policy: Option<PathBuf>,
    /// Documents that everybody may ask. [default: docs/public]
    #[arg(long, value_name = "DIR")]
    public_docs: Option<PathBuf>,
    /// Documents that entitled members may ask. [default: docs/member]
    #[arg(long, value_name = "DIR")]
    member_docs: Option<PathBuf>,
    /// Where the demo keeps its data, logs and `env`. [default: .demo]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Another HTTP server in copilot's place, such as http://127.0.0.1:9000.
    #[arg(long, value_name = "URL", value_parser = backend)]
    backend_url: Option<(String, u16)>,
    /// Redis or Valkey for limits shared by several gates.
    #[arg(long, value_name = "URL")]
    redis_url: Option<String>,
}

/// The site that the demo's citations point to.
const SITE_URL: &str = "https://docs.hybridops.tech/";

/// The demo's members: entitled, and known to the portal but not entitled.
const MEMBER: &str = "member@demo";
const OTHER: &str = "other@demo";

/// Starts everything, says how to use it, and waits for Ctrl-C or for a process to die.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    interrupt::watch()?;
    let root = paths::repository()?;
    let docs = [("public", &options.public_docs), ("member", &options.member_docs)].map(|(corpus, given)| Docs {
        corpus: corpus.to_owned(),
        folder: given.clone().unwrap_or_else(|| root.join("docs").join(corpus)),
        site_url: SITE_URL.to_owned(),
    });
    let policy = options.policy.clone().unwrap_or_else(|| root.join("policies/dev/policy.yaml"));
    if !policy.exists() {
        bail!("the policy {} does not exist", policy.display());
    }
    if options.backend_url.is_none() {
        for tree in &docs {
            tree.check()?;
        }
    }
    let state = options.state.clone().unwrap_or_else(|| root.join(".demo"));
    fs::create_dir_all(&state).with_context(|| format!("cannot create the state folder {}", state.display()))?;
    let state = state.canonicalize()?;
    let _alone = lock(&state)?;
    let _ = fs::remove_file(state.join("env")); // of an earlier demo: nobody may take it for this one's
    if options.listen.port() != 0 {
        port::ensure_free(options.listen)?;
    }

    cargo_build(&[])?;
    tools::envoy()?;
    tools::postgres()?;
    check_policy(&policy)?;

    let wanted = stack::Options {
        folder: state.clone(),
        listen: options.listen,
        policy,
        docs: docs.to_vec(),
        backend: options.backend_url.clone(),
        redis_url: options.redis_url.clone(),
        shared_postgres: None,
        talkative: true,
        authz_extra: Vec::new(),
    };
    let mut stack = Stack::start(&wanted)?;
    let result = welcome(&stack, &wanted, &state).and_then(|()| watch(&mut stack));
    let stopping = Step::start("stopping Envoy, authz, copilot, issuer, Postgres");
    stack.stop();
    stopping.done("done");
    result.map(|()| ExitCode::SUCCESS)
}

/// The operator's own file is checked, so that positions in errors are those of that file.
fn check_policy(policy: &Path) -> Result<()> {
    let path = policy.to_str().context("the path of the policy is not UTF-8")?;
    authz::command(&["check", path]).map(|_| ())
}

fn welcome(stack: &Stack, wanted: &stack::Options, state: &Path) -> Result<()> {
    let step = Step::start("members");
    stack.member("grant", MEMBER)?;
    let member_token = stack.token(MEMBER, "12h")?;
    let other_token = stack.token(OTHER, "12h")?;
    step.done(&format!("{MEMBER} has `{}`, {OTHER} has nothing", stack.expectations.feature));
    let briefing = briefing::Briefing { stack, docs: &wanted.docs, state, member_token, other_token };
    briefing.write_env()?;
    let mut out = std::io::stdout().lock();
    out.write_all(briefing.text().as_bytes())?;
    writeln!(out, "ready {}", stack.envoy.url())?;
    out.flush()?;
    Ok(())
}

/// Follows the policy's file until Ctrl-C; fails when a process dies.
fn watch(stack: &mut Stack) -> Result<()> {
    let mut complaint = String::new();
    while !interrupt::requested() {
        if let Some(dead) = stack.processes().find(|process| process.exited().is_some()) {
            bail!("a process of the demo ended, so all of it ends: {}", dead.obituary());
        }
        match stack.policy.refresh() {
            Ok(true) => crate::say(&format!("policy: {} changed, handed to authz", stack.policy.original().display())),
            Ok(false) => complaint.clear(),
            // An editor may be between removing the old file and writing the new one: said once, tried again.
            Err(error) => {
                let text = format!("policy: the last good one stays: {error:#}");
                if text != complaint {
                    crate::say(&text);
                    complaint = text;
                }
            }
        }
        std::thread::sleep(Duration::from_millis(150));
    }
    crate::say("");
    Ok(())
}

/// One demo for each state folder: a second one would share the database under the first one's feet.
fn lock(state: &Path) -> Result<File> {
    let path = state.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!("another demo uses {}: stop it, or give this one another folder with --state DIR", state.display());
    }
    Ok(file)
}

/// Host and port of `http://HOST[:PORT]`.
fn backend(url: &str) -> Result<(String, u16), String> {
    let expected = || format!("expected http://HOST:PORT without a path, not `{url}`");
    let rest = url.strip_prefix("http://").ok_or_else(expected)?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
        return Err(expected());
    }
    if let Ok(address) = authority.parse::<SocketAddr>() {
        return Ok((address.ip().to_string(), address.port()));
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !host.contains(':') => {
            Ok((host.to_owned(), port.parse().map_err(|_| expected())?))
        }
        None => Ok((authority.to_owned(), 80)),
        Some(_) => Err(expected()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_a_host_and_a_port() {
        assert_eq!(backend("http://127.0.0.1:9000"), Ok(("127.0.0.1".into(), 9000)));
        assert_eq!(backend("http://[::1]:9000/"), Ok(("::1".into(), 9000)));
        assert_eq!(backend("http://backend.example"), Ok(("backend.example".into(), 80)));
        for wrong in ["https://x", "x:1", "http://", "http://x/path", "http://x:port", "http://:80"] {
            assert!(backend(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_demo_for_each_state_folder() {
        let state = tempfile::tempdir().unwrap();
        let _first = lock(state.path()).unwrap();
        assert!(lock(state.path()).unwrap_err().to_string().contains("--state"));
    }
}
