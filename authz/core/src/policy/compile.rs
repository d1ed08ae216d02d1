//! From the document as written to the snapshot as used. Everything that is wrong is reported at once.

mod cors;
mod issuers;
mod limits;
mod routes;
mod warnings;

use std::{sync::Arc, time::Duration};

use sha2::{Digest, Sha256};

use super::{
    EntitlementsPolicy, Snapshot,
    diagnostic::{Diagnostic, Findings, PolicyText, Position},
    document::{Mode, PolicyDocument},
    schema,
    yaml::{self, Node, Value},
};
use crate::{corpus::Corpus, route::Router, time::parse_duration};
use routes::Definitions;

/// Additions from the environment, used where the policy says `allow_env_overrides: true`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Origins of `CORS_ALLOW_ORIGIN`, separated by semicolons; added to every CORS profile.
    pub allow_origins: Option<String>,
    /// Networks of `FORWARDED_ALLOW_IPS`, separated by commas; added to `client_ip.trusted_proxies`.
    pub trusted_proxies: Option<String>,
}

/// A policy that can be used.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// What probably does not mean what it says.
    pub warnings: Vec<Diagnostic>,
}

/// Compiles the files of one policy: a union, in which whatever is defined twice is an error.
///
/// # Errors
/// Every finding, errors and warnings, in the order of the files.
pub fn compile(files: &[PolicyText], overrides: &Overrides) -> Result<Compiled, Vec<Diagnostic>> {
    let mut findings = Findings::new(files);
    let trees: Vec<Node> =
        files.iter().enumerate().filter_map(|(index, file)| yaml::parse(index, &file.text, &mut findings)).collect();
    if trees.is_empty() && !findings.any_error() {
        let help = "begin with `apiVersion: docsgate/v1` and `kind: Policy`".to_owned();
        findings.error(Position { file: 0, line: 1, column: 1 }, "the policy is empty", Some(help));
    }
    if findings.any_error() {
        return Err(findings.into_sorted());
    }
    let tree = merge(trees, &mut findings);
    schema::check(&schema::json_schema(), &tree, "the policy", &mut findings);
    if findings.any_error() {
        return Err(findings.into_sorted());
    }
    let document: PolicyDocument = match serde_json::from_value(tree.to_json()) {
        Ok(document) => document,
        Err(error) => {
            findings.error(tree.at, error.to_string(), None);
            return Err(findings.into_sorted());
        }
    };
    let permitted = document.allow_env_overrides == Some(true);
    let version = version(files, permitted.then_some(overrides));
    let snapshot = Compiler { document: &document, tree: &tree, overrides, findings: &mut findings }.snapshot(version);
    if findings.any_error() {
        return Err(findings.into_sorted());
    }
    Ok(Compiled { snapshot, warnings: findings.into_sorted() })
}

/// A short hash of all that decides: names and contents of the files, and what the environment adds. The same policy has the
/// same version everywhere, whatever folder it lies in.
fn version(files: &[PolicyText], additions: Option<&Overrides>) -> Arc<str> {
    let mut hash = Sha256::new();
    // With its length before it, no text can pass for the end of one and the beginning of the next.
    let mut add = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    for file in files {
        add(file.name.rsplit('/').next().unwrap_or_default());
        add(&file.text);
    }
    if let Some(Overrides { allow_origins, trusted_proxies }) = additions {
        for addition in [allow_origins, trusted_proxies] {
            add(addition.as_deref().unwrap_or_default());
        }
    }
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

/// Maps are united, lists are joined, and whatever else is given twice is an error that names both places.
fn merge(trees: Vec<Node>, findings: &mut Findings<'_>) -> Node {
    let mut trees = trees.into_iter();
    let Some(mut merged) = trees.next() else { return Node { at: Position::default(), value: Value::Null } };
    for tree in trees {
        let (Value::Map(into), Value::Map(from)) = (&mut merged.value, tree.value) else {
            findings.error(tree.at, "a policy file must be a map", None);
            continue;
        };
        for (key, at, node) in from {
            let Some((_, first, existing)) = into.iter_mut().find(|(name, _, _)| *name == key) else {
                into.push((key, at, node));
                continue;
            };
            let first = *first;
            match (&mut existing.value, node.value) {
                (Value::List(items), Value::List(more)) => items.extend(more),
                (Value::Map(entries), Value::Map(more)) => {
                    for (name, at, node) in more {
                        match entries.iter().find(|(known, _, _)| *known == name) {
                            Some((_, first, _)) => twice(&name, *first, at, findings),
                            None => entries.push((name, at, node)),
                        }
                    }
                }
                (existing, value) if matches!(key.as_str(), "apiVersion" | "kind") && *existing == value => {}
                _ => twice(&key, first, at, findings),
            }
        }
    }
    merged
}

fn twice(name: &str, first: Position, at: Position, findings: &mut Findings<'_>) {
    let file = findings.file_name(first.file).to_owned();
    let message = format!("`{name}` is already defined in {file}:{}:{}", first.line, first.column);
    findings.error(at, message, Some("files are merged without overriding: keep one of the two".into()));
}

struct Compiler<'d, 'f, 't> {
    document: &'d PolicyDocument,
    tree: &'d Node,
    overrides: &'d Overrides,
    findings: &'f mut Findings<'t>,
}

/// A step into the tree.
#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}
use Step::{Index, Key};

impl<'d> Compiler<'d, '_, '_> {
    /// The place of what a path leads to, or of the nearest node above it.
    fn at(&self, path: &[Step<'_>]) -> Position {
        let mut node = self.tree;
        for step in path {
            let next = match step {
                Key(key) => node.get(key),
                Index(index) => node.item(*index),
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node.at
    }

    fn error(&mut self, path: &[Step<'_>], message: impl Into<String>) {
        self.findings.error(self.at(path), message, None);
    }

    fn snapshot(&mut self, version: Arc<str>) -> Snapshot {
        let document = self.document;
        let defined = Definitions {
            limits: document.limits.iter().map(|(name, limit)| Arc::new(self.limit(name, limit))).collect(),
            corpora: self.corpora(),
            cors: document.cors.iter().map(|(name, profile)| Arc::new(self.cors(name, profile))).collect(),
            issuers: document.issuers.iter().map(|(name, issuer)| Arc::new(self.issuer(name, issuer))).collect(),
        };
        let routes = self.routes(&defined);
        if routes.is_empty() && document.allow_nothing != Some(true) {
            self.error(
                &[],
                "the policy has no routes and would refuse every request; add `routes`, or say `allow_nothing: true`",
            );
        }
        // A name that is misspelt would also be one that is never used.
        if !self.findings.any_error() {
            self.warnings(&routes, &defined);
        }
        Snapshot {
            version,
            shadow: document.mode == Some(Mode::Shadow),
            allow_env_overrides: document.allow_env_overrides == Some(true),
            sign_in_url: self.sign_in_url(),
            client_ip: self.client_ip(),
            cors: defined.cors,
            issuers: defined.issuers,
            api_key_header: document
                .api_keys
                .as_ref()
                .map(|keys| keys.header.as_deref().unwrap_or("x-api-key").to_ascii_lowercase()),
            entitlements: self.entitlements(),
            corpora: defined.corpora,
            limits: defined.limits,
            limiter: self.limiter(),
            preflight_limit: self.preflight_limit(),
            noise_limit: self.noise_limit(),
            router: Router::new(routes),
        }
    }

    /// Names appear in headers, metrics and logs.
    fn name(&mut self, kind: &str, name: &str, path: &[Step<'_>]) {
        let valid = name.len() <= 63
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b))
            && name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !valid {
            self.error(path, format!("the {kind} name `{name}` must match [a-z0-9][a-z0-9_.-]{{0,62}}"));
        }
    }

    fn duration(
        &mut self,
        text: Option<&str>,
        default: Duration,
        range: (Duration, Duration),
        path: &[Step<'_>],
    ) -> Duration {
        let Some(text) = text else { return default };
        match parse_duration(text) {
            Ok(duration) if duration < range.0 || duration > range.1 => {
                self.error(
                    path,
                    format!(
                        "`{text}` is out of range; expected {} s to {} s",
                        range.0.as_secs_f64(),
                        range.1.as_secs()
                    ),
                );
                default
            }
            Ok(duration) => duration,
            Err(error) => {
                self.error(path, error);
                default
            }
        }
    }

    fn corpora(&mut self) -> Vec<Arc<Corpus>> {
        let document = self.document;
        let mut corpora = Vec::new();
        for (name, corpus) in &document.corpora {
            self.name("corpus", name, &[Key("corpora"), Key(name)]);
            if matches!(name.as_str(), "auto" | "none") {
                self.error(
                    &[Key("corpora"), Key(name)],
                    format!("`{name}` cannot name a corpus: it has a meaning of its own in routes"),
                );
            }
            corpora.push(Arc::new(Corpus { name: name.as_str().into(), entitlement: corpus.entitlement.clone() }));
        }
        corpora
    }

    fn sign_in_url(&mut self) -> Option<String> {
        let url = self.document.sign_in_url.clone()?;
        if !url::Url::parse(&url).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
            self.error(&[Key("sign_in_url")], format!("`{url}` is not an http or https URL"));
        }
        Some(url)
    }

    fn entitlements(&mut self) -> EntitlementsPolicy {
        let document = self.document.entitlements.clone().unwrap_or_default();
        let default = EntitlementsPolicy::default();
        let range = (Duration::from_millis(100), Duration::from_secs(7 * 86_400));
        let at = |key| [Key("entitlements"), Key(key)];
        EntitlementsPolicy {
            ttl: self.duration(document.ttl.as_deref(), default.ttl, range, &at("ttl")),
            negative_ttl: self.duration(
                document.negative_ttl.as_deref(),
                default.negative_ttl,
                range,
                &at("negative_ttl"),
            ),
            max_stale: self.duration(
                document.max_stale.as_deref(),
                default.max_stale,
                (Duration::ZERO, range.1),
                &at("max_stale"),
            ),
            max_entries: document.max_entries.unwrap_or(default.max_entries).max(1),
            on_store_down: document.on_store_down.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests;
