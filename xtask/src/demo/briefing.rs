//! What the demo tells its user, on the screen and in `STATE/env`.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use docsgate_harness::copilot::Docs;
use docsgate_harness::stack::Stack;

/// Everything worth knowing about a running demo.
pub(crate) struct Briefing<'a> {
    /// The gate.
    pub(crate) stack: &'a Stack,
    /// What it answers from.
    pub(crate) docs: &'a [Docs],
    /// The state folder.
    pub(crate) state: &'a Path,
    /// Entitled.
    pub(crate) member_token: String,
    /// Valid, not entitled.
    pub(crate) other_token: String,
}

impl Briefing<'_> {
    /// Writes `STATE/env`: every address and secret of the demo, to be sourced by a shell.
    pub(crate) fn write_env(&self) -> Result<()> {
        let path = self.state.join("env");
        let _ = fs::remove_file(&path);
        let mut text = String::from("# Written by `cargo xtask demo`; valid while it runs. Use: . THIS_FILE\n");
        for (name, value) in self.variables() {
            let _ = writeln!(text, "export {name}={}", quoted(&value));
        }
        // It holds tokens and a database password: its owner's alone.
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let stack = self.stack;
        let mut variables = vec![
            ("DEMO_URL", stack.envoy.url()),
            ("DEMO_MEMBER_TOKEN", self.member_token.clone()),
            ("DEMO_OTHER_TOKEN", self.other_token.clone()),
            ("DEMO_DATABASE_URL", stack.database_url()),
            ("DEMO_ISSUER_KEY", stack.issuer.key.display().to_string()),
            ("DEMO_ISSUER", stack.expectations.issuer.clone()),
            ("DEMO_AUDIENCE", stack.expectations.audience.clone()),
            ("DEMO_JWKS_URL", stack.issuer.jwks_url.clone()),
            ("DEMO_POLICY", stack.policy.original().display().to_string()),
            ("DEMO_AUTHZ_ADMIN_URL", stack.authz.admin_url.clone()),
            ("DEMO_ENVOY_ADMIN_URL", stack.envoy.admin_url.clone()),
            ("DEMO_ENVOY_PID", stack.envoy.process.pid().to_string()),
            ("DEMO_AUTHZ_PID", stack.authz.process.pid().to_string()),
            ("DEMO_POSTGRES_PID", stack.postgres.process.pid().to_string()),
        ];
        if let Some(copilot) = &stack.copilot {
            variables.push(("DEMO_COPILOT_URL", copilot.url()));
            variables.push(("DEMO_COPILOT_ADMIN_URL", copilot.admin_url.clone()));
            variables.push(("DEMO_COPILOT_PID", copilot.process.pid().to_string()));
        }
        variables
    }

    /// The text before `ready …`.
    pub(crate) fn text(&self) -> String {
        let stack = self.stack;
        let url = stack.envoy.url();
        let mut text = String::new();
        let _ = writeln!(text, "\ngate          {url}");
        let _ = writeln!(text, "authz admin   {} (/metrics /healthz /readyz /policy)", stack.authz.admin_url);
        let _ = writeln!(text, "envoy admin   {}", stack.envoy.admin_url);
        match &stack.copilot {
            Some(copilot) => {
                let _ = writeln!(
                    text,
                    "copilot       {} (answers only with a grant), admin {}",
                    copilot.url(),
                    copilot.admin_url
                );
            }
            None => {
                let _ = writeln!(text, "backend       the server given with --backend-url; copilot is not started");
            }
        }
        let _ = writeln!(text, "database      {}", stack.database_url());
        let _ = writeln!(
            text,
            "policy        {}\n              followed on every change; its jwks_url is replaced by {}",
            stack.policy.original().display(),
            stack.issuer.jwks_url
        );
        let expected = &stack.expectations;
        let _ = writeln!(text, "tokens        issuer {}, audience {}", expected.issuer, expected.audience);
        let _ = writeln!(text, "logs          {}/*.log", self.state.display());
        let _ = writeln!(text, "variables     . {}/env", quoted(&self.state.display().to_string()));
        let _ = writeln!(text, "\nmember token (has `{}`):\n{}", expected.feature, self.member_token);
        let _ = writeln!(text, "\nother token (valid, entitled to nothing):\n{}\n", self.other_token);
        for (what, line) in self.examples(&url) {
            let _ = writeln!(text, "# {what}\n{line}\n");
        }
        text
    }

    /// Commands that work when they are pasted.
    fn examples(&self, url: &str) -> Vec<(&'static str, String)> {
        let question = |corpus: &str| {
            let docs = self.docs.iter().find(|docs| docs.corpus == corpus);
            docs.and_then(Docs::sample_question).unwrap_or_else(|| "rate limits".to_owned())
        };
        let (public, member) = (question("public"), question("member"));
        let search = |question: &str| quoted(&format!("{url}/api/docs-search?q={}", question.replace(' ', "+")));
        let body = quoted(&serde_json::json!({"question": member}).to_string());
        let chat = quoted(&format!("{url}/api/docs-chat"));
        let bearer = |token: &str| quoted(&format!("authorization: Bearer {token}"));
        let json = quoted("content-type: application/json");
        let mut examples = vec![
            ("anybody searches the public documents", format!("curl -sS {}", search(&public))),
            ("anybody asks: answered from the public documents only", format!("curl -sS {chat} -H {json} -d {body}")),
            (
                "a member asks: public and member documents",
                format!("curl -sS {chat} -H {} -H {json} -d {body}", bearer(&self.member_token)),
            ),
            (
                "a valid token without the entitlement: public documents only",
                format!("curl -sS {} -H {}", search(&member), bearer(&self.other_token)),
            ),
            ("a bad token: 401", format!("curl -sS -i {} -H {}", search(&public), bearer("not.a.token"))),
            (
                "an origin that is not allowed: 403",
                format!("curl -sS -i {} -H {}", search(&public), quoted("origin: https://evil.example")),
            ),
        ];
        if let Some(origin) = &self.stack.expectations.origin {
            let headers = [
                format!("origin: {origin}"),
                "access-control-request-method: POST".to_owned(),
                "access-control-request-headers: content-type".to_owned(),
            ];
            let headers = headers.map(|header| format!("-H {}", quoted(&header))).join(" ");
            examples.push((
                "a browser's preflight, answered by the gate: 204",
                format!("curl -sS -i -X OPTIONS {chat} {headers}"),
            ));
        }
        examples
    }
}

/// `text` as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_word_is_read_back_by_a_shell() {
        for text in ["plain", "it's", "a b\"c$d`e`", ""] {
            let output = std::process::Command::new("sh").args(["-c", &format!("printf %s {}", quoted(text))]).output();
            assert_eq!(String::from_utf8(output.unwrap().stdout).unwrap(), text);
        }
    }
}
