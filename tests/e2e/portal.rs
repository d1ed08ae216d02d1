//! The portal's contract, as its developers read it: the examples of `docs/public/portal.md`, run as they stand there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use docsgate_harness::authz;
use docsgate_harness::paths;
use docsgate_harness::system_tool::system_tool;
use docsgate_harness::tools::{Tool, node, python_tool};
use serde_json::Value;

use crate::gate::{Gate, Wanted, eventually, ok, urls};

/// The code block of the page with this title.
fn example(title: &str) -> String {
    let page = fs::read_to_string(paths::repository().unwrap().join("docs/public/portal.md")).unwrap();
    let (_, rest) = page.split_once(&format!("title=\"{title}\"\n")).unwrap_or_else(|| panic!("no example {title}"));
    rest.split("```").next().unwrap().to_owned()
}

/// A portal in one language: how its example is called.
struct Portal {
    program: PathBuf,
    arguments: Vec<PathBuf>,
    environment: Vec<(&'static str, PathBuf)>,
    folder: PathBuf,
}

impl Portal {
    fn python(folder: &Path) -> Self {
        let tool = python_tool(Tool::PyJwt).unwrap();
        let script = folder.join("portal.py");
        fs::write(&script, example("portal.py")).unwrap();
        let environment = vec![("PYTHONPATH", tool.modules)];
        Self { program: tool.python, arguments: vec![script], environment, folder: folder.to_path_buf() }
    }

    /// Compiled by the real compiler, in its strict mode.
    fn typescript(folder: &Path, node: PathBuf, npm: &Path) -> Self {
        let modules = node::modules(npm, "portal").unwrap();
        std::os::unix::fs::symlink(modules.join("node_modules"), folder.join("node_modules")).unwrap();
        fs::copy(modules.join("package.json"), folder.join("package.json")).unwrap();
        fs::write(folder.join("portal.ts"), example("portal.ts")).unwrap();
        let compiled = Command::new(&node)
            .arg(modules.join("node_modules/typescript/bin/tsc"))
            .args(["--strict", "--module", "nodenext", "--target", "es2022", "--types", "node", "portal.ts"])
            .current_dir(folder)
            .output()
            .unwrap();
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
        let script = folder.join("portal.js");
        Self { program: node, arguments: vec![script], environment: Vec::new(), folder: folder.to_path_buf() }
    }

    fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).args(arguments).current_dir(&self.folder);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes a key and returns what the portal publishes of it.
    fn keys(&self) -> Vec<Value> {
        fs::write(self.folder.join("key.pem"), self.run(&["key"])).unwrap();
        let set: Value = serde_json::from_str(&self.run(&["jwks", "key.pem"])).unwrap();
        set["keys"].as_array().unwrap().clone()
    }

    fn token(&self, subject: &str) -> String {
        self.run(&["token", "key.pem", subject]).trim().to_owned()
    }
}

/// The SQL of the page, as the portal's login.
fn sell(gate: &Gate, subject: &str, sql: &str) {
    let url =
        gate.stack.postgres.login(&gate.stack.database, &format!("{}_portal", gate.stack.database), "docsgate_writer");
    let script = gate.folder.path().join("portal.sql");
    fs::write(&script, sql).unwrap();
    let output = Command::new(gate.stack.postgres.program("psql"))
        .args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", &url.unwrap()])
        .args([&format!("--set=issuer={}", gate.stack.expectations.issuer), &format!("--set=subject={subject}")])
        .arg("--file")
        .arg(&script)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_examples_of_the_portals_page_work_as_they_stand_there() {
    let (Some(node), Some(npm)) = (system_tool("node"), system_tool("npm")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let [in_python, in_typescript] = ["python", "typescript"].map(|name| folder.path().join(name));
    for folder in [&in_python, &in_typescript] {
        fs::create_dir(folder).unwrap();
    }
    let portals = [Portal::python(&in_python), Portal::typescript(&in_typescript, node, &npm)];
    let published = folder.path().join("jwks.json");
    let publish = |keys: &[Value]| {
        let fresh = folder.path().join("fresh");
        fs::write(&fresh, serde_json::json!({"keys": keys}).to_string()).unwrap();
        fs::rename(fresh, &published).unwrap();
    };
    let [python, typescript] = portals.each_ref().map(Portal::keys);
    // One issuer, first with the key of the Python portal, then, in a rotation, with that of the TypeScript portal too.
    publish(&python);
    let text = fs::read_to_string(crate::gate::data().join("policy.yaml")).unwrap().replace(
        "jwks_url: https://learn.example.org/.well-known/jwks.json",
        &format!("jwks_file: {}", published.display()),
    ) + "api_keys: {}\n";
    let gate = Gate::with(Wanted { policy_text: Some(text), ..Wanted::default() });
    let subject = "portal-member-1";
    let tokens = portals.each_ref().map(|portal| portal.token(subject));

    let inspect = |token: &str| {
        let policy = gate.stack.policy.served().display().to_string();
        let keys = published.display().to_string();
        authz::command(&["token", "inspect", "--policy", &policy, "--jwks", &keys, token])
    };
    inspect(&tokens[0]).unwrap();
    let error = inspect(&tokens[1]).unwrap_err().to_string();
    assert!(error.contains("key"), "{error}");

    let zanzibar = |token: &str| urls(&ok(gate.search("zanzibar").bearer_auth(token).send().unwrap())).len();
    assert_eq!(zanzibar(&tokens[0]), 0, "nothing is sold yet");
    sell(&gate, subject, &example("portal.sql"));
    eventually("the sale", || (zanzibar(&tokens[0]) > 0).then_some(()));

    // A key that each portal makes for a service of that member.
    for portal in &portals {
        let made: Value = serde_json::from_str(&portal.run(&["api-key"])).unwrap();
        let [id, digest, key] = ["id", "digest", "key"].map(|part| made[part].as_str().unwrap());
        sell(
            &gate,
            subject,
            &format!("SELECT docsgate.create_api_key('{id}', decode('{digest}', 'hex'), :'issuer', :'subject');"),
        );
        let found = eventually("the portal's key", || {
            let answer = gate.search("zanzibar").header("x-api-key", key).send().unwrap();
            (answer.status() == 200).then(|| ok(answer))
        });
        assert!(!urls(&found).is_empty(), "{found}");
    }

    // The rotation, step by step; the old token never stops.
    let both: Vec<Value> = python.iter().chain(&typescript).cloned().collect();
    publish(&both);
    eventually("the new key", || {
        let answer = gate.search("zanzibar").bearer_auth(&tokens[1]).send().unwrap();
        assert!([200, 401].contains(&answer.status().as_u16()), "{answer:?}");
        assert!(zanzibar(&tokens[0]) > 0, "the old key must go on");
        (answer.status() == 200).then_some(())
    });
    assert!(zanzibar(&tokens[1]) > 0);
    inspect(&tokens[1]).unwrap();
    publish(&typescript);
    eventually("the end of the old key", || {
        let answer = gate.search("zanzibar").bearer_auth(&tokens[0]).send().unwrap();
        (answer.status() == 401).then_some(())
    });
    assert!(zanzibar(&tokens[1]) > 0);
    sell(&gate, subject, "SELECT docsgate.revoke(:'issuer', :'subject', 'academy');");
    eventually("the revocation", || (zanzibar(&tokens[1]) == 0).then_some(()));
}
