//! The runbooks, tried: what they say to type is typed here, against a running gate, a primary with its standby and published
//! indexes; what needs a cluster is held against the objects that the chart renders.

mod kubectl;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use docsgate_harness::authz::Authz;
use docsgate_harness::postgres::{self, Postgres};
use docsgate_harness::stack::{Options, Stack};
use docsgate_harness::system_tool::system_tool;
use docsgate_harness::{paths, tools};

use crate::gate::{Gate, MEMBER, SITE, Wanted, data, eventually, ok, open_folder, problem, urls};

fn folder_of_pages() -> PathBuf {
    paths::repository().unwrap().join("docs/member")
}

fn pages() -> Vec<(String, String)> {
    let mut pages: Vec<(String, String)> = fs::read_dir(folder_of_pages())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect();
    pages.sort();
    pages
}

/// The code blocks of a language.
fn blocks<'p>(page: &'p str, language: &str) -> Vec<&'p str> {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// Puts what an operator has checked out into a folder.
fn furnish(folder: &Path) {
    let root = paths::repository().unwrap();
    for name in ["charts", "policies", "docs"] {
        std::os::unix::fs::symlink(root.join(name), folder.join(name)).unwrap();
    }
}

/// The URL of a database as a section of psql's `pg_service.conf`.
fn service(name: &str, url: &str) -> String {
    let (login, place) = url.strip_prefix("postgres://").unwrap().split_once('@').unwrap();
    let (user, password) = login.split_once(':').unwrap();
    let (address, database) = place.split_once('/').unwrap();
    let (host, port) = address.split_once(':').unwrap();
    format!("[{name}]\nhost={host}\nport={port}\ndbname={database}\nuser={user}\npassword={password}\n")
}

/// Where a runbook's commands run: a folder with the repository's charts, policies and documents, and what its pages name.
struct Desk {
    gate: Gate,
    standby: Arc<Postgres>,
    folder: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Desk {
    fn start() -> Self {
        let folder = open_folder();
        let log = folder.path().join("decisions.jsonl");
        let flags = ["--decision-log".to_owned(), log.display().to_string()];
        let mut gate = Gate::with(Wanted { own_postgres: true, authz_extra: flags.to_vec(), ..Wanted::default() });
        let options =
            postgres::Options { folder: gate.folder.path().join("standby"), durable: false, settings: Vec::new() };
        let standby = Arc::new(gate.stack.postgres.standby(&options).unwrap());
        // The same authz, told of both endpoints.
        gate.stack.authz.process.kill();
        let url = gate.stack.authz_options.database_url.take().unwrap();
        let primary = format!("127.0.0.1:{}", gate.stack.postgres.port());
        let both = url.replace(&primary, &format!("{primary},127.0.0.1:{}", standby.port()));
        gate.stack.authz_options.database_url = Some(both);
        gate.stack.authz = Authz::start(&gate.stack.authz_options).unwrap();

        furnish(folder.path());
        fs::create_dir(folder.path().join("index")).unwrap();
        let token = gate.member_token();
        gate.stack.member("grant", "reader@example.org").unwrap();
        let refused = gate.http.get(gate.url("/nowhere")).send().unwrap();
        let refused = problem(refused, 404, "no_route")["request_id"].as_str().unwrap().to_owned();
        eventually("the decision log", || fs::read_to_string(&log).ok()?.contains(&refused).then_some(()));
        let database = gate.stack.database.clone();
        let variables = vec![
            ("ADMIN", gate.stack.authz.admin_url.clone()),
            ("COPILOT_ADMIN", gate.stack.copilot.as_ref().unwrap().admin_url.clone()),
            ("GATE", gate.stack.envoy.url()),
            ("INDEX", folder.path().join("index").display().to_string()),
            ("POLICY", gate.stack.policy.served().display().to_string()),
            ("DECISIONS", log.display().to_string()),
            ("TOKEN", token),
            ("JWKS_URL", gate.stack.issuer.jwks_url.clone()),
            ("ISSUER", gate.stack.expectations.issuer.clone()),
            ("REQUEST_ID", refused),
            ("PGSERVICEFILE", folder.path().join("pg_service.conf").display().to_string()),
        ];
        // What an operator writes with an editor.
        let (primary, second) = (gate.stack.database_url(), standby.url(&database));
        let mut services = String::new();
        for (name, url) in [("owner", &primary), ("primary", &primary), ("standby", &second)] {
            fs::write(folder.path().join(format!("{name}.url")), format!("{url}\n")).unwrap();
            services += &service(name, url);
        }
        fs::write(folder.path().join("pg_service.conf"), services).unwrap();
        Self { gate, standby, folder, variables }
    }

    /// Types a page's commands, one after the other, as an operator does: the first that fails stops.
    fn follow(&self, page: &str) -> String {
        let text = fs::read_to_string(folder_of_pages().join(page)).unwrap();
        let script = blocks(&text, "sh").concat();
        assert!(!script.is_empty(), "{page} has no command to try");
        self.run(page, &script)
    }

    /// In a folder of its own: another cluster, another day.
    fn follow_anew(&self, page: &str) -> String {
        let folder = self.folder.path().join(page);
        fs::create_dir(&folder).unwrap();
        furnish(&folder);
        fs::copy(self.folder.path().join("owner.url"), folder.join("owner.url")).unwrap();
        let text = fs::read_to_string(folder_of_pages().join(page)).unwrap();
        self.run_in(&folder, page, &blocks(&text, "sh").concat())
    }

    fn run(&self, what: &str, script: &str) -> String {
        self.run_in(self.folder.path(), what, script)
    }

    fn run_in(&self, folder: &Path, what: &str, script: &str) -> String {
        let mut search: Vec<PathBuf> = vec![paths::binary("authz").unwrap().parent().unwrap().to_path_buf()];
        search.push(self.gate.stack.postgres.program("psql").parent().unwrap().to_path_buf());
        search.push(tools::helm().unwrap().parent().unwrap().to_path_buf());
        search.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-x", "-c", script]).current_dir(folder);
        bash.envs(self.variables.iter().map(|(name, value)| (name, value)));
        bash.env("PATH", std::env::join_paths(search).unwrap()).env("NO_PROXY", "*");
        let output = bash.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{what}:\n{}\n{said}", String::from_utf8_lossy(&output.stderr));
        said
    }
}

#[test]
fn every_command_of_the_runbooks_does_what_it_says() {
    if system_tool("curl").is_none() || system_tool("openssl").is_none() {
        return;
    }
    let desk = Desk::start();
    let said = desk.follow("install-doks.md");
    assert!(said.contains("\"hits\""), "{said}");
    // A second edition, so that there is one to go back to; and a good file beside the one in service.
    desk.run(
        "a second edition",
        "copilot index build docs --site-url https://docs.example.org/ --include 'public/*' --out second.tar.zst --signing-key docs.key\n\
         copilot index publish second.tar.zst --to \"$INDEX\" --signing-key docs.key\n\
         cp public.tar.zst public.docsgate && cp public.docsgate public.docsgate.good",
    );
    let said = desk.follow("roll-back-index.md");
    assert!(said.contains("is the latest now, sequence 3"), "{said}");
    let said = desk.follow_anew("install-rke2.md");
    assert!(said.contains("\"hits\"") && said.contains("signature good"), "{said}");
    desk.follow_anew("rotate-grant-key.md");
    desk.follow("rotate-issuer-key.md");
    let said = desk.follow("roll-back-policy.md");
    assert!(said.contains("\"version\""), "{said}");
    let said = desk.follow("under-attack.md");
    assert!(said.contains("no_route"), "{said}");

    // Both at once, so that the order of the page is tried: the primary is told apart, the standby becomes one.
    desk.gate.stack.postgres.process.kill();
    let said = desk.follow("promote-postgres.md");
    assert!(said.contains("the primary is away") && said.contains(MEMBER), "{said}");
    assert!(!desk.standby.is_standby().unwrap());
    let moved = format!("docsgate_authz_database_endpoint{{endpoint=\"127.0.0.1:{}\"}} 1", desk.standby.port());
    let metrics =
        || desk.gate.http.get(format!("{}/metrics", desk.gate.stack.authz.admin_url)).send().unwrap().text().unwrap();
    eventually("the gate to read from the new primary", || {
        let text = metrics();
        (text.contains(&moved) && text.contains("docsgate_authz_database_listening 1")).then_some(())
    });
    desk.follow("cluster-loss.md");
    the_cluster_is_lost(desk);
}

#[expect(clippy::print_stderr, reason = "a time for whoever reads the test's output; never an assertion")]
fn tell(what: &str, since: Instant) {
    eprintln!("{what}: {:.1} s", since.elapsed().as_secs_f64());
}

/// Everything is gone but the promoted database, the documents and the policy: a new gate answers from them.
fn the_cluster_is_lost(desk: Desk) {
    let Desk { gate, standby, folder: _kept, .. } = desk;
    let database = gate.stack.database.clone();
    for process in gate.stack.processes() {
        process.kill();
    }
    let lost = Instant::now();
    let anew = open_folder();
    let docs = ["public", "member"].map(|corpus| docsgate_harness::copilot::Docs {
        corpus: corpus.to_owned(),
        folder: data().join("docs").join(corpus),
        site_url: SITE.to_owned(),
    });
    let options = Options {
        folder: anew.path().to_path_buf(),
        listen: "127.0.0.1:0".parse().unwrap(),
        policy: data().join("policy.yaml"),
        docs: docs.to_vec(),
        backend: None,
        redis_url: None,
        shared_postgres: Some((Arc::clone(&standby), database)),
        talkative: false,
        authz_extra: Vec::new(),
    };
    let stack = Stack::start(&options).unwrap();
    let token = stack.token(MEMBER, "1h").unwrap();
    let http = crate::gate::client();
    let found = eventually("an answer from the member corpus", || {
        let url = format!("{}/api/docs-search?q=pilots", stack.envoy.url());
        let found = ok(http.get(url).bearer_auth(&token).send().ok()?);
        found["corpus"].as_str().is_some_and(|corpus| corpus == "member").then_some(found)
    });
    assert!(!urls(&found).is_empty());
    tell("from the loss of everything to the first member search", lost);
    stack.authz.process.stop(Duration::from_secs(8));
}

/// The pages that `every_command_of_the_runbooks_does_what_it_says` follows.
const FOLLOWED: [&str; 9] = [
    "cluster-loss.md",
    "install-doks.md",
    "install-rke2.md",
    "promote-postgres.md",
    "roll-back-index.md",
    "roll-back-policy.md",
    "rotate-grant-key.md",
    "rotate-issuer-key.md",
    "under-attack.md",
];

#[test]
fn no_page_has_a_command_that_nobody_types() {
    let with_commands = pages().into_iter().filter(|(_, text)| !blocks(text, "sh").is_empty()).map(|(name, _)| name);
    assert_eq!(with_commands.collect::<Vec<_>>(), FOLLOWED);
}

/// Pages that the index lists exist, and no page is left out.
#[test]
fn the_index_lists_every_runbook() {
    let all = pages();
    let (_, index) = all.iter().find(|(name, _)| name == "index.md").unwrap();
    for (name, text) in all.iter().filter(|(name, _)| name != "index.md") {
        assert!(index.contains(&format!("({name})")), "{name} is not listed");
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let link = link.split('#').next().unwrap();
            assert!(link.starts_with("https://") || folder_of_pages().join(link).is_file(), "{name} links to {link}");
        }
    }
}

/// A name of a resource in a cluster's command is one that the chart renders, or a Secret that the values name.
#[test]
fn what_needs_a_cluster_names_what_the_chart_renders() {
    let mut checked = 0;
    for (name, text) in pages() {
        for block in blocks(&text, "console") {
            checked += kubectl::check(&name, block);
        }
    }
    assert!(checked > 15, "{checked} names");
}
