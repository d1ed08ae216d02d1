//! Publishing to real stores (moto's S3, nginx, a folder) and serving from them while it happens.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use copilot::corpus::artifact::{self, SigningKey};
use docsgate_harness::{
    process::{Launch, Process},
    system_tool::system_tool,
    tools::{self, Tool},
};
use object_store::{
    ObjectStoreExt,
    aws::{AmazonS3, AmazonS3Builder},
};
use serde_json::{Value, json};

use crate::server::{PROGRAM, Seen, build_with, get, load, start_with, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// moto's server with one bucket, and what programs must know to use it.
struct Bucket {
    _process: Process,
    endpoint: String,
    env: Vec<(&'static str, String)>,
}

async fn bucket(folder: &Path) -> Bucket {
    let tool = tools::python_tool(Tool::Moto).unwrap();
    let process = Launch::new("moto", &tool.python, folder.join("moto.log"))
        .args(["-B", "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"])
        .env("PYTHONPATH", &tool.modules)
        .spawn()
        .unwrap();
    let said = || {
        let text = fs::read_to_string(process.log()).ok()?;
        let (_, rest) = text.split_once("Running on ")?;
        Some(rest.split_once('\n')?.0.trim().to_owned())
    };
    let endpoint = process.until("moto's address", PATIENCE, said).unwrap();
    let made = reqwest::Client::new().put(format!("{endpoint}/docs")).send().await.unwrap();
    assert!(made.status().is_success());
    let env = [
        ("AWS_ENDPOINT", endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ALLOW_HTTP", "true"),
    ];
    let env = env.map(|(name, value)| (name, value.to_owned())).to_vec();
    Bucket { _process: process, endpoint, env }
}

impl Bucket {
    /// The same bucket for the test itself.
    fn store(&self) -> AmazonS3 {
        let builder =
            AmazonS3Builder::new().with_endpoint(&self.endpoint).with_allow_http(true).with_region("us-east-1");
        builder.with_access_key_id("test").with_secret_access_key("test").with_bucket_name("docs").build().unwrap()
    }
}

/// Keys, two signed editions of one corpus, and how to publish them.
struct Desk {
    folder: tempfile::TempDir,
    place: String,
    env: Vec<(&'static str, String)>,
}

impl Desk {
    fn new(place: &str, env: &[(&'static str, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let desk = Self { folder, place: place.to_owned(), env: env.to_vec() };
        let made = desk.copilot(&["index", "keygen", "--out", &desk.path("key")]);
        assert!(made.status.success());
        for edition in ["alpha", "omega"] {
            let text = format!("Backups are kept for {edition} days in this edition.");
            let out = PathBuf::from(desk.path(edition));
            build_with(desk.folder.path(), "public", &text, &out, &["--signing-key", &desk.path("key")]);
        }
        desk
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn copilot(&self, args: &[&str]) -> Output {
        let env = self.env.iter().map(|(name, value)| (*name, value.as_str()));
        Command::new(PROGRAM).args(args).envs(env).output().unwrap()
    }

    fn publish(&self, name: &str) -> String {
        let (file, key) = (self.path(name), self.path("key"));
        said(&self.copilot(&["index", "publish", &file, "--to", &self.place, "--signing-key", &key]))
    }

    fn rollback(&self) -> String {
        said(&self.copilot(&["index", "rollback", &self.place, "--signing-key", &self.path("key")]))
    }

    fn signing_key(&self) -> SigningKey {
        SigningKey::parse(&fs::read_to_string(self.path("key")).unwrap()).unwrap()
    }
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn version(line: &str) -> String {
    line.split("version ").nth(1).unwrap().split(' ').next().unwrap().to_owned()
}

/// Publishes, publishes again and rolls back under load.
async fn switches_under_load(desk: &Desk, source: &str) {
    let first = desk.publish("alpha");
    assert!(first.contains("sequence 1"), "{first}");
    let key = desk.path("key.pub");
    let server = start_with(desk.folder.path(), source, &["--verify-key", &key], &desk.env);
    until(&format!("{}/readyz", server.admin), |status, _| status == 200).await;
    let (stop, seen) = (Arc::new(AtomicBool::new(false)), Seen::default());
    let url = format!("{}/api/docs-search?q=backups+kept+days", server.http);
    let workers: Vec<_> =
        (0..4).map(|_| tokio::spawn(load(url.clone(), Arc::clone(&stop), Arc::clone(&seen)))).collect();
    let named = |version: &str| format!("public:{version}");
    let second = desk.publish("omega");
    until(&url, |_, body| body["index_version"] == named(&version(&second))).await;
    let again = desk.publish("omega");
    assert!(again.contains("was the latest already") && again.contains("sequence 2"), "{again}");
    let back = desk.rollback();
    assert!(back.contains("sequence 3") && version(&back) == version(&first), "{back}");
    until(&url, |_, body| body["index_version"] == named(&version(&first))).await;
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.unwrap();
    }
    let expected: BTreeSet<(String, String)> =
        [(named(&version(&first)), "alpha".to_owned()), (named(&version(&second)), "omega".to_owned())].into();
    assert_eq!(*seen.lock().unwrap(), expected, "every response is of one edition and names it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_is_published_to_served_from_and_attacked() {
    let scratch = tempfile::tempdir().unwrap();
    let bucket = bucket(scratch.path()).await;
    let desk = Desk::new("s3://docs/site", &bucket.env);
    switches_under_load(&desk, "s3://docs/site").await;

    // What somebody can do who can write to the bucket and has no key.
    let store = bucket.store();
    let pointer_name = "site/public.latest.json";
    let put = async |name: &str, bytes: Vec<u8>| {
        store.put(&name.into(), bytes.into()).await.unwrap();
    };
    let good = store.get(&pointer_name.into()).await.unwrap().bytes().await.unwrap().to_vec();
    let server = start_with(desk.folder.path(), "s3://docs/site", &["--verify-key", &desk.path("key.pub")], &desk.env);
    let ready = format!("{}/readyz", server.admin);
    let search = format!("{}/api/docs-search?q=backups+kept+days", server.http);
    until(&ready, |status, _| status == 200).await;
    let served = get(&search).await.1["index_version"].clone();

    // The pointer as it will be after one more publication, and an artifact that does not keep its word.
    let next = desk.publish("omega");
    assert!(next.contains("sequence 4"), "{next}");
    until(&search, |_, body| body["index_version"] != served).await;
    let served = get(&search).await.1["index_version"].clone();
    let newest = store.get(&pointer_name.into()).await.unwrap().bytes().await.unwrap().to_vec();
    let envelope: Value = serde_json::from_slice(&newest).unwrap();
    let text = envelope["pointer"].as_str().unwrap();
    let forged = |change: &dyn Fn(&mut Value), signed: bool| {
        let mut pointer: Value = serde_json::from_str(text).unwrap();
        pointer["sequence"] = json!(9);
        change(&mut pointer);
        let text = pointer.to_string();
        let signature = signed.then(|| {
            use base64::{Engine, prelude::BASE64_STANDARD};
            BASE64_STANDARD.encode(desk.signing_key().sign(text.as_bytes()))
        });
        json!({"pointer": text, "signature": signature}).to_string().into_bytes()
    };
    let older_schema = other_schema(&desk);
    put("site/old-schema", older_schema.clone()).await;
    put("site/cut", older_schema[..older_schema.len() / 2].to_vec()).await;
    let length = older_schema.len() as u64;
    let sha256 = copilot::corpus::manifest::hex(&<sha2::Sha256 as sha2::Digest>::digest(&older_schema));
    let artifact = move |name: &'static str, bytes: u64| {
        let sha256 = sha256.clone();
        move |pointer: &mut Value| {
            pointer["latest"] =
                json!({"artifact": name, "version": "0123456789abcdef", "bytes": bytes, "sha256": sha256});
        }
    };
    let attacks: Vec<(&str, Vec<u8>)> = vec![
        ("sequence 3", good),
        ("not signed", forged(&|_| {}, false)),
        ("corrupt", b"{\"pointer\":".to_vec()),
        ("expected `public`", forged(&|pointer| pointer["corpus"] = json!("member"), true)),
        ("another digest", forged(&artifact("cut", length), true)),
        ("build it again", forged(&artifact("old-schema", length), true)),
        ("there is room for", forged(&artifact("old-schema", u64::MAX), true)),
        ("not found", forged(&artifact("nowhere", length), true)),
        ("no plain file", forged(&artifact("../../etc/passwd", length), true)),
    ];
    for (reason, bytes) in attacks {
        put(pointer_name, bytes).await;
        let told =
            |body: &Value| body["corpora"][0]["fault"].as_str().unwrap_or_default().to_lowercase().contains(reason);
        let state = until(&ready, |_, body| told(body)).await;
        assert_eq!(state["ready"], true, "{reason}");
        let (status, body) = get(&search).await;
        assert_eq!((status, &body["index_version"]), (200, &served), "{reason}");
    }
    put(pointer_name, newest.clone()).await;
    until(&ready, |_, body| body["corpora"][0]["fault"].is_null()).await;

    // The sequence number outlives the process: an old pointer does not come in by a restart.
    drop(server);
    put(pointer_name, forged(&|pointer| pointer["sequence"] = json!(2), true)).await;
    let server = start_with(desk.folder.path(), "s3://docs/site", &["--verify-key", &desk.path("key.pub")], &desk.env);
    let ready = format!("{}/readyz", server.admin);
    until(&ready, |status, body| status == 503 && body["reasons"][0].to_string().contains("sequence 2")).await;
    put(pointer_name, newest).await;
    until(&ready, |status, _| status == 200).await;
}

/// A signed artifact that another version of the program has built.
fn other_schema(desk: &Desk) -> Vec<u8> {
    let cache = desk.folder.path().join("scratch");
    let alpha = PathBuf::from(desk.path("alpha"));
    let unpacked = artifact::open(&alpha, &cache, artifact::Expected::default()).unwrap();
    let mut manifest = unpacked.manifest;
    manifest.schema -= 1;
    let out = desk.folder.path().join("older");
    artifact::pack(&unpacked.dir, &manifest, Some(&desk.signing_key()), &out).unwrap();
    fs::read(out).unwrap()
}

/// An nginx that serves `folder`. It cannot be asked for a free port, so the next one is tried when another has it.
fn serve_folder(nginx: &Path, folder: &Path) -> (Process, u16) {
    // It drops root's rights, and must be able to enter the folder.
    fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let at = folder.display();
    let seed = u16::try_from(std::process::id() % 11_000).unwrap();
    for port in (0..50).map(|next| 32_000 + (seed + next) % 12_000) {
        let config = folder.join("nginx.conf");
        let text = format!(
            "daemon off; master_process off; pid {at}/pid; error_log stderr;\nevents {{ worker_connections 64; }}\n\
             http {{\n  access_log {at}/access.log;\n  client_body_temp_path {at}/t1; proxy_temp_path {at}/t2;\n  \
             fastcgi_temp_path {at}/t3; uwsgi_temp_path {at}/t4; scgi_temp_path {at}/t5;\n  \
             server {{ listen 127.0.0.1:{port}; root {at}; }}\n}}\n"
        );
        fs::write(&config, text).unwrap();
        let process = Launch::new("nginx", nginx, folder.join("nginx.log"))
            .args(["-e", "stderr", "-p", &at.to_string(), "-c", &config.display().to_string()])
            .spawn()
            .unwrap();
        let listens = || std::net::TcpStream::connect(("127.0.0.1", port)).ok();
        if process.until("nginx", PATIENCE, listens).is_ok() && process.exited().is_none() {
            return (process, port);
        }
    }
    panic!("nginx found no port");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_is_published_to_and_served_over_http_by_nginx() {
    let Some(nginx) = system_tool("nginx") else { return };
    let scratch = tempfile::tempdir().unwrap();
    let docs = scratch.path().join("docs");
    fs::create_dir(&docs).unwrap();
    let (_nginx, port) = serve_folder(&nginx, scratch.path());
    let desk = Desk::new(&docs.display().to_string(), &[]);
    switches_under_load(&desk, &format!("http://127.0.0.1:{port}/docs/")).await;
    // One artifact at an address, without a pointer.
    let direct = docs.join("one.docsgate");
    fs::copy(desk.path("alpha"), &direct).unwrap();
    let server = start_with(desk.folder.path(), &format!("http://127.0.0.1:{port}/docs/one.docsgate"), &[], &[]);
    let search = format!("{}/api/docs-search?q=backups+kept+days", server.http);
    let first = until(&search, |status, _| status == 200).await["index_version"].clone();
    crate::server::replace(Path::new(&desk.path("omega")), &direct);
    until(&search, |_, body| body["index_version"] != first).await;
    // What is as it was is not sent again.
    let logged = || fs::read_to_string(scratch.path().join("access.log")).unwrap();
    until(&search, |_, _| logged().contains("one.docsgate HTTP/1.1\" 304")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_is_published_to_and_served_from_within_the_caches_bound() {
    let scratch = tempfile::tempdir().unwrap();
    let place = scratch.path().join("docs").display().to_string();
    let desk = Desk::new(&place, &[]);
    switches_under_load(&desk, &place).await;
    // Unsigned work does not get in beside a key, and nothing is published over another name.
    build_with(desk.folder.path(), "public", "Unsigned.", Path::new(&desk.path("unsigned")), &[]);
    let refused =
        desk.copilot(&["index", "publish", &desk.path("unsigned"), "--to", &place, "--signing-key", &desk.path("key")]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not signed"));
    let refused =
        desk.copilot(&["index", "rollback", &place, "--to-version", "0000", "--signing-key", &desk.path("key")]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no such earlier version"));
    let refused = desk.copilot(&["index", "publish", &desk.path("alpha"), "--to", "ftp://x/"]);
    assert_eq!(refused.status.code(), Some(2));

    // With room for one edition the cache holds no more than what is served and the one before it.
    let cached = || {
        let entries = fs::read_dir(desk.folder.path().join("cache")).unwrap().flatten();
        entries.filter(|entry| entry.path().is_dir()).count()
    };
    let manifest: Value =
        serde_json::from_str(&said(&desk.copilot(&["index", "inspect", &desk.path("alpha")]))).unwrap();
    let room = (manifest["bytes"].as_u64().unwrap() * 3 / 2).to_string();
    let key = desk.path("key.pub");
    let options = ["--verify-key", key.as_str(), "--cache-size", room.as_str()];
    let server = start_with(desk.folder.path(), &place, &options, &[]);
    let search = format!("{}/api/docs-search?q=backups+days", server.http);
    until(&search, |status, _| status == 200).await;
    for edition in ["first", "second", "third", "fourth"] {
        let text = format!("Backups are kept for some days in the {edition} edition.");
        let out = desk.path(edition);
        build_with(desk.folder.path(), "public", &text, Path::new(&out), &["--signing-key", &desk.path("key")]);
        let published = version(&desk.publish(edition));
        until(&search, |_, body| body["index_version"] == format!("public:{published}")).await;
    }
    assert!(cached() <= 3, "{} editions are in the cache", cached());
}

/// Somebody who kept an old pointer cannot hand it to a pod without a past; a pod that follows one serves on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_or_old_pointer_is_followed_by_no_fresh_pod() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path().display().to_string();
    let desk = Desk::new(&place, &[]);
    let (key, public) = (desk.path("key"), desk.path("key.pub"));
    let verify = ["--verify-key", public.as_str()];
    let refresh = |lifetime: &str| {
        let args = ["index", "publish", "--refresh", "--to", &place, "--valid-for", lifetime, "--signing-key", &key];
        said(&desk.copilot(&args))
    };
    // Long enough to be followed once.
    let args = ["index", "publish", &desk.path("alpha"), "--to", &place, "--valid-for", "20s", "--signing-key", &key];
    assert!(said(&desk.copilot(&args)).contains("sequence 1, good for 0 days"));
    let old = start_with(desk.folder.path(), &place, &verify, &[]);
    let search = format!("{}/api/docs-search?q=backups+kept+days", old.http);
    until(&search, |status, _| status == 200).await;
    let expired = |body: &Value| body["corpora"][0]["fault"].as_str().is_some_and(|fault| fault.contains("expired"));
    let state = until(&format!("{}/readyz", old.admin), |_, body| expired(body)).await;
    assert_eq!(state["ready"], true, "what is in service stays: {state}");
    assert_eq!(get(&search).await.0, 200);
    let metrics = reqwest::get(format!("{}/metrics", old.admin)).await.unwrap().text().await.unwrap();
    assert!(
        metrics.contains(r#"docsgate_copilot_artifact_refusals_total{corpus="public",reason="expired"} 1"#),
        "{metrics}"
    );

    let fresh = tempfile::tempdir().unwrap();
    let new = start_with(fresh.path(), &place, &verify, &[]);
    let state = until(&format!("{}/readyz", new.admin), |_, body| expired(body)).await;
    assert_eq!(state["ready"], false, "{state}");
    // The old one, with its cache: it has followed this very pointer.
    drop(old);
    let again = start_with(desk.folder.path(), &place, &verify, &[]);
    let state = until(&format!("{}/readyz", again.admin), |status, body| status == 200 && expired(body)).await;
    assert_eq!(state["ready"], true, "{state}");

    assert!(refresh("1h").contains("is the latest now, sequence 2"));
    for server in [&new, &again] {
        let in_order = |status: u16, body: &Value| status == 200 && body["corpora"][0]["fault"].is_null();
        until(&format!("{}/readyz", server.admin), in_order).await;
    }
    // Half of its time is not over: publishing the same again changes nothing. With a longer life it does.
    let alpha = desk.path("alpha");
    let publish = |lifetime: &str| {
        let args = ["index", "publish", &alpha, "--to", &place, "--valid-for", lifetime, "--signing-key", &key];
        said(&desk.copilot(&args))
    };
    assert!(publish("1h").contains("was the latest already, sequence 2"));
    assert!(publish("90d").contains("is the latest now, sequence 3, good for 90 days"));

    // A pod without a past that is told what to expect.
    let told = tempfile::tempdir().unwrap();
    let told_server = start_with(told.path(), &place, &[&verify[..], &["--min-sequence", "public=4"]].concat(), &[]);
    let ready = format!("{}/readyz", told_server.admin);
    until(&ready, |status, body| status == 503 && body["reasons"][0].to_string().contains("--min-sequence says 4"))
        .await;
    assert!(refresh("never").contains("sequence 4, good without end"));
    until(&ready, |status, _| status == 200).await;

    // Without a key there is nothing to sign a pointer again with.
    let unsigned = desk.copilot(&["index", "publish", "--refresh", "--corpus", "member", "--to", &place]);
    assert_eq!(unsigned.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unsigned.stderr).contains("nothing of corpus member was published"));
}
