//! A gate with everything switched on, used until every metric has something to say.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use docsgate_harness::redis::Redis;
use docsgate_harness::system_tool::system_tool;
use rustix::process::Signal;
use tempfile::TempDir;

use super::PATIENCE;
use super::families::Family;
use crate::gate::{Gate, ORIGIN, Wanted, client, data, ok, open_folder};

/// The gate and what it uses.
pub(super) struct Exercised {
    pub(super) gate: Gate,
    redis: Redis,
    artifact: PathBuf,
    _folder: TempDir,
}

impl Exercised {
    pub(super) fn start() -> Option<Self> {
        let redis_server = system_tool("redis-server")?;
        let folder = open_folder();
        let redis = Redis::start(&redis_server, folder.path(), &[]).unwrap();
        let policy = fs::read_to_string(data().join("policy.yaml")).unwrap();
        let candidate = folder.path().join("candidate.yaml");
        fs::write(&candidate, policy.replace("https://docs.example.org\"", "https://new.example.org\"")).unwrap();
        let flags = [
            format!("--candidate-policy={}", candidate.display()),
            format!("--decision-log={}", folder.path().join("decisions.jsonl").display()),
        ];
        let gate = Gate::with(Wanted {
            policy_text: Some(format!(
                "{policy}api_keys: {{}}\nlimiter: {{backend: redis, redis: {{timeout: 1s, lease: 5}}}}\n"
            )),
            redis_url: Some(redis.url()),
            authz_extra: flags.to_vec(),
            ..Wanted::default()
        });
        let artifact = find(gate.folder.path(), "public.docsgate").expect("the public artifact");
        Some(Self { gate, redis, artifact, _folder: folder })
    }

    /// Does what makes each metric appear, and returns them all.
    pub(super) fn run(&self) -> Vec<Family> {
        let gate = &self.gate;
        let token = gate.member_token();
        ok(gate.search("tides").header("origin", ORIGIN).send().unwrap());
        ok(gate.search("pilots").bearer_auth(&token).send().unwrap());
        ok(gate.search("zzzunknownzzz").send().unwrap());
        assert_eq!(gate.search("tides").header("x-api-key", "none").send().unwrap().status(), 401);
        ok(gate.ask("How high are the tides?").send().unwrap());
        assert_eq!(gate.http.get(gate.url("/nowhere")).send().unwrap().status(), 404);
        // Twice, so that a change told by the database finds something to forget.
        gate.stack.member("revoke", crate::gate::MEMBER).unwrap();
        // Around the gate.
        let around = format!("{}/api/docs-search?q=tides", gate.stack.copilot.as_ref().unwrap().url());
        assert_eq!(client().get(around).send().unwrap().status(), 403);
        // A policy with a mistake.
        let policy = gate.stack.policy.served();
        let before = fs::read_to_string(policy).unwrap();
        fs::write(policy, "routes: [").unwrap();
        // An artifact that is none.
        fs::write(&self.artifact, b"not an artifact").unwrap();
        // Redis that is stuck, then lost.
        self.redis.process.signal(Signal::STOP);
        let _ = gate.search("tides").send().unwrap();
        self.redis.process.kill();
        let wanted = super::families::registered();
        let deadline = Instant::now() + PATIENCE;
        let families = loop {
            gate.search("tides").send().unwrap();
            let families = super::scrape(gate);
            let missing = wanted.iter().find(|name| !families.iter().any(|family| family.name == **name));
            let Some(missing) = missing else { break families };
            assert!(Instant::now() < deadline, "{missing} was not seen");
        };
        fs::write(policy, before).unwrap();
        families
    }
}

fn find(folder: &std::path::Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() { find(&path, name) } else { path.ends_with(name).then_some(path) }
    })
}
