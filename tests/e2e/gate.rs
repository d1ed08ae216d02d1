//! A gate for one test, and the requests that tests make.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use docsgate_harness::copilot::Docs;
use docsgate_harness::paths;
use docsgate_harness::postgres::{self, Postgres};
use docsgate_harness::stack::{Options, Stack};
use parking_lot::Mutex;
use reqwest::blocking::{Client, RequestBuilder, Response};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpSocket;

/// Where the tests' citations point to.
pub(crate) const SITE: &str = "https://docs.example.org/";

/// An origin that the tests' policy allows.
pub(crate) const ORIGIN: &str = "https://docs.example.org";

/// An entitled member.
pub(crate) const MEMBER: &str = "ada@example.org";

/// A running gate and everything it needs, ended when it goes out of scope.
pub(crate) struct Gate {
    pub(crate) stack: Stack,
    pub(crate) http: Client,
    // After the stack: processes end before their folders go.
    server: Option<SharedServer>,
    pub(crate) folder: TempDir,
}

/// How a gate differs from the usual one.
#[derive(Default)]
pub(crate) struct Wanted {
    /// Another HTTP server in copilot's place.
    pub(crate) backend: Option<(String, u16)>,
    /// A Postgres of its own, for tests that stop it.
    pub(crate) own_postgres: bool,
    /// Other documents: public and member.
    pub(crate) docs: Option<[PathBuf; 2]>,
    /// Further flags of `authz serve`.
    pub(crate) authz_extra: Vec<String>,
    /// Redis, for shared limits.
    pub(crate) redis_url: Option<String>,
    /// The grant keys, for gates that are replicas of each other.
    pub(crate) grant_key: Option<&'static str>,
    /// Changes to the text of the policy.
    pub(crate) policy: Option<fn(&str) -> String>,
    /// A policy of its own, in the place of the tests' one.
    pub(crate) policy_text: Option<String>,
}

impl Gate {
    pub(crate) fn start() -> Self {
        Self::with(Wanted::default())
    }

    pub(crate) fn with(wanted: Wanted) -> Self {
        let folder = open_folder();
        let data = data();
        let text = wanted.policy_text.unwrap_or_else(|| fs::read_to_string(data.join("policy.yaml")).unwrap());
        let policy = folder.path().join("written-policy.yaml");
        fs::write(&policy, wanted.policy.map_or(text.clone(), |change| change(&text))).unwrap();
        if let Some(key) = wanted.grant_key {
            fs::write(folder.path().join("grant.keys"), key).unwrap();
        }
        let [public, member] =
            wanted.docs.unwrap_or_else(|| ["public", "member"].map(|corpus| data.join("docs").join(corpus)));
        let docs = [("public", public), ("member", member)].map(|(corpus, folder)| Docs {
            corpus: corpus.to_owned(),
            folder,
            site_url: SITE.to_owned(),
        });
        let server = (!wanted.own_postgres).then(SharedServer::join);
        let options = Options {
            folder: folder.path().to_path_buf(),
            listen: "127.0.0.1:0".parse().unwrap(),
            policy,
            docs: docs.to_vec(),
            backend: wanted.backend,
            redis_url: wanted.redis_url,
            shared_postgres: server.as_ref().map(|server| (Arc::clone(&server.postgres), server.database.clone())),
            talkative: false,
            authz_extra: wanted.authz_extra,
        };
        // Roles belong to the server, not to a database: two migrations at once would collide on them.
        let stack = {
            let _one_at_a_time = server.as_ref().map(|_| STARTING.lock());
            Stack::start(&options).unwrap_or_else(|error| panic!("the gate does not start: {error:#}"))
        };
        Self { stack, http: client(), server, folder }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.stack.envoy.url())
    }

    pub(crate) fn search(&self, question: &str) -> RequestBuilder {
        self.http.get(self.url("/api/docs-search")).query(&[("q", question)])
    }

    /// Has a member looked up, for tests of what comes after: on a busy machine the first look-up may take longer than a
    /// decision has, and is then answered 503.
    pub(crate) fn look_up(&self, token: &str) {
        eventually("the member's entitlements", || {
            let asked = self.search("tides").header("x-only", "members").bearer_auth(token).send().ok()?;
            (asked.status() != 503).then_some(())
        });
    }

    pub(crate) fn ask(&self, question: &str) -> RequestBuilder {
        self.http.post(self.url("/api/docs-chat")).json(&serde_json::json!({"question": question}))
    }

    /// A valid token for somebody whom the database may or may not know.
    pub(crate) fn token(&self, subject: &str) -> String {
        self.stack.token(subject, "1h").unwrap()
    }

    /// A valid token for an entitled member.
    pub(crate) fn member_token(&self) -> String {
        self.stack.member("grant", MEMBER).unwrap();
        self.token(MEMBER)
    }

    /// What authz counts under this name, labels included; 0 for what it has not counted yet.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.http.get(format!("{}/metrics", self.stack.authz.admin_url)).send().unwrap().text().unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or(0)
    }

    /// Envoy's access log once it has a line for this request.
    pub(crate) fn access_log_of(&self, request_id: &str) -> Value {
        eventually("the line in Envoy's access log", || {
            let text = fs::read_to_string(&self.stack.envoy.access_log).ok()?;
            text.lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                .find(|line| line["request_id"] == request_id)
        })
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            // authz holds connections to the database: it ends first.
            self.stack.authz.process.stop(Duration::from_secs(8));
            let _ = server.postgres.drop_database(&server.database);
        }
    }
}

static STARTING: Mutex<()> = Mutex::new(());

/// One database on a server that all tests of this run use; the last one to leave ends the server.
struct SharedServer {
    database: String,
    postgres: Arc<Postgres>,
    _folder: Arc<TempDir>,
}

impl SharedServer {
    fn join() -> Self {
        static SERVER: Mutex<(Weak<Postgres>, Weak<TempDir>, u32)> = Mutex::new((Weak::new(), Weak::new(), 0));
        let mut shared = SERVER.lock();
        shared.2 += 1;
        let database = format!("gate_{}", shared.2);
        if let (Some(postgres), Some(folder)) = (shared.0.upgrade(), shared.1.upgrade()) {
            return Self { database, postgres, _folder: folder };
        }
        let folder = Arc::new(open_folder());
        let options = postgres::Options { folder: folder.path().to_path_buf(), durable: false, settings: Vec::new() };
        let postgres = Arc::new(Postgres::start(&options).unwrap());
        shared.0 = Arc::downgrade(&postgres);
        shared.1 = Arc::downgrade(&folder);
        Self { database, postgres, _folder: folder }
    }
}

/// A temporary folder that the unprivileged user of a root's Postgres can enter.
pub(crate) fn open_folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("docsgate-test-").tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// The tests' own documents and policy.
pub(crate) fn data() -> PathBuf {
    paths::repository().unwrap().join("tests/e2e/data")
}

pub(crate) fn client() -> Client {
    Client::builder()
        .timeout(Duration::from_secs(30))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap()
}

/// Sets a flag when it goes out of scope: whatever goes wrong in a test, its load ends.
pub(crate) struct Ends<'a>(pub(crate) &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An address at which connections are refused, for as long as what holds its port lives.
pub(crate) fn nobody() -> (TcpSocket, SocketAddr) {
    let held = TcpSocket::new_v4().unwrap();
    // Bound, and never listened at.
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = held.local_addr().unwrap();
    (held, address)
}

/// Polls until there is a value; a test that waits for something names it.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    const PATIENCE: Duration = Duration::from_secs(60);
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what} did not come within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One header of a response; "" when it is absent, and a failure when it is there twice.
pub(crate) fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    let values: Vec<_> = response.headers().get_all(name).iter().collect();
    assert!(values.len() <= 1, "{name} is there {} times: {values:?}", values.len());
    values.first().map_or("", |value| value.to_str().unwrap())
}

/// Checks that a response is a well-formed problem and returns its body.
pub(crate) fn problem(response: Response, status: u16, kind: &str) -> Value {
    let got = response.status().as_u16();
    let content_type = header(&response, "content-type").to_owned();
    let request_id = header(&response, "x-request-id").to_owned();
    let text = response.text().unwrap();
    assert_eq!(got, status, "{text}");
    assert!(content_type.starts_with("application/problem+json"), "{content_type}: {text}");
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(body["type"], format!("urn:docsgate:problem:{kind}"), "{text}");
    assert_eq!(body["status"], status, "{text}");
    assert!(!request_id.is_empty() && body["request_id"] == request_id, "x-request-id {request_id}: {text}");
    body
}

/// The URLs that a search or an answer points to.
pub(crate) fn urls(body: &Value) -> Vec<String> {
    let list = body["hits"].as_array().or_else(|| body["citations"].as_array()).unwrap_or_else(|| panic!("{body:#}"));
    list.iter().map(|hit| hit["url"].as_str().unwrap().to_owned()).collect()
}

/// The body of a successful answer.
pub(crate) fn ok(response: Response) -> Value {
    let status = response.status();
    let text = response.text().unwrap();
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Whether a file of this name lies in `folder`.
pub(crate) fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap()
}
